//! What a contract test runs on: endpoints by name, links that can be cut.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::timeout;
use vsync_net::{
    Class, Event, Memory, MemoryNet, PeerId, PeerInfo, Quic, QuicConfig, Secret, Transport,
};

use crate::relay::Relay;

/// Nothing here takes seconds, but a loaded machine may.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

#[async_trait]
pub(crate) trait Bed: Sync {
    type End: Transport;

    /// Starts a process; one of the same name may have been there before it.
    async fn start(&self, name: &str, role: u8) -> Self::End;
    /// Breaks the way between two processes, by their names.
    fn cut(&self, a: &Self::End, b: &Self::End);
    fn heal(&self, a: &Self::End, b: &Self::End);

    async fn node(&self, name: &str) -> Probe<Self::End> {
        Probe { end: self.start(name, 0).await }
    }
}

#[derive(Default)]
pub(crate) struct MemoryBed {
    net: MemoryNet,
}

#[async_trait]
impl Bed for MemoryBed {
    type End = Memory;

    async fn start(&self, name: &str, role: u8) -> Memory {
        if role == 0 { self.net.endpoint(name) } else { self.net.client(name) }
    }

    fn cut(&self, a: &Memory, b: &Memory) {
        self.net.cut(a.local().id, b.local().id);
    }

    fn heal(&self, a: &Memory, b: &Memory) {
        self.net.heal(a.local().id, b.local().id);
    }
}

/// Every process is reached through a relay of its own, which can lose what one peer sends.
#[derive(Default)]
pub(crate) struct QuicBed {
    relays: Mutex<HashMap<String, Relay>>,
}

impl QuicBed {
    fn relay(&self, name: &str) -> Relay {
        self.relays.lock().unwrap().entry(name.into()).or_insert_with(Relay::start).clone()
    }
}

pub(crate) fn secret() -> Secret {
    Secret::new("the secret of the contract").unwrap()
}

#[async_trait]
impl Bed for QuicBed {
    type End = Quic;

    async fn start(&self, name: &str, role: u8) -> Quic {
        let relay = self.relay(name);
        let quic = Quic::start(QuicConfig {
            advertise: Some(relay.addr().to_string()),
            role,
            idle_timeout: Duration::from_millis(1_500),
            ..QuicConfig::new(name, "127.0.0.1:0", secret())
        })
        .await
        .unwrap();
        relay.lead_to(quic.bound());
        quic
    }

    fn cut(&self, a: &Quic, b: &Quic) {
        self.relay(&a.local().name).block(b.bound());
        self.relay(&b.local().name).block(a.bound());
    }

    fn heal(&self, a: &Quic, b: &Quic) {
        self.relay(&a.local().name).unblock(b.bound());
        self.relay(&b.local().name).unblock(a.bound());
    }
}

/// An endpoint, and what one waits for at it.
pub(crate) struct Probe<T> {
    pub(crate) end: T,
}

impl<T: Transport> Probe<T> {
    pub(crate) fn id(&self) -> PeerId {
        self.end.local().id
    }

    pub(crate) fn addr(&self) -> &str {
        &self.end.local().addr
    }

    /// The next event, within reason.
    pub(crate) async fn next(&self) -> Event {
        let next = timeout(PATIENCE, self.end.next()).await;
        next.expect("no event came").expect("the transport has ended")
    }

    pub(crate) async fn up(&self) -> PeerInfo {
        match self.next().await {
            Event::Up(info) => info,
            other => panic!("expected an Up, got {other:?}"),
        }
    }

    /// The next frame of a peer; a connection may not break meanwhile.
    pub(crate) async fn frame(&self, from: PeerId) -> (Class, Bytes) {
        match self.next().await {
            Event::Frame { peer, class, frame } if peer == from => (class, frame),
            other => panic!("expected a frame, got {}", brief(&other)),
        }
    }

    /// Waits for an event, past others.
    pub(crate) async fn until(&self, wanted: &Event) {
        while self.next().await != *wanted {}
    }

    /// Connects to another and waits until both know.
    pub(crate) async fn meet(&self, other: &Self) {
        self.end.connect(other.addr()).await.unwrap();
        assert_eq!(self.up().await.id, other.id());
        assert_eq!(other.up().await.id, self.id());
    }
}

fn brief(event: &Event) -> String {
    match event {
        Event::Frame { peer, class, frame } => {
            format!("a frame of {} bytes, {class:?}, from {peer}", frame.len())
        }
        other => format!("{other:?}"),
    }
}
