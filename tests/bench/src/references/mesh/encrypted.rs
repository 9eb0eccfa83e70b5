//! The mesh over the transport that ours runs on: what another system does behind the same
//! encryption.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{sleep, timeout};
use vsync_net::{Class, Event, PeerId, Quic, QuicConfig, Secret, Transport};

use super::{cut, text};

/// Bytes that may wait for a peer before no more are handed over: as many as ours lets wait.
const ROOM: usize = 256 * 1024;
/// How soon it is looked for room again: as soon as ours does.
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How long the connections may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// This member's end.
pub(crate) struct Process(Arc<Quic>);

/// Another member.
pub(super) struct Peer {
    transport: Arc<Quic>,
    id: PeerId,
}

impl Process {
    pub(super) async fn start(me: usize) -> Result<Process, String> {
        let secret = Secret::new("the benchmark's own secret").map_err(text)?;
        let config = QuicConfig::new(me.to_string(), "127.0.0.1:0", secret);
        Ok(Process(Arc::new(Quic::start(config).await.map_err(text)?)))
    }

    pub(super) fn address(&self) -> String {
        self.0.bound().to_string()
    }

    /// Bytes of UDP payload sent so far.
    pub(super) fn wire(&self) -> u64 {
        self.0.stats().wire_sent
    }

    /// Connects to those before it, and waits for those after it. With what has come meanwhile:
    /// others may be connected earlier, and begin.
    pub(super) async fn connect(
        &self,
        me: usize,
        peers: &[String],
    ) -> Result<(Vec<(usize, Peer)>, Vec<Bytes>), String> {
        for address in peers.iter().take(me) {
            self.0.connect(address).await.map_err(text)?;
        }
        let (mut others, mut early) = (Vec::new(), Vec::new());
        while others.len() + 1 < peers.len() {
            let event = timeout(PATIENCE, self.0.next()).await;
            match event.map_err(|_| "a member does not connect")? {
                Some(Event::Up(info)) => {
                    let peer = Peer { transport: Arc::clone(&self.0), id: info.id };
                    others.push((info.name.parse().map_err(text)?, peer));
                }
                Some(Event::Frame { frame, .. }) => early.push(frame),
                _ => return Err("a connection broke".to_owned()),
            }
        }
        Ok((others, early))
    }

    /// Takes what the others send, until the end.
    pub(super) fn receive<M>(&self, early: Vec<Bytes>, received: UnboundedSender<Vec<M>>)
    where
        M: DeserializeOwned + Send + 'static,
    {
        let transport = Arc::clone(&self.0);
        let hand_on = move |frame: &Bytes| {
            let (messages, _) = cut(frame)?;
            received.send(messages).map_err(text)
        };
        tokio::spawn(async move {
            let mut done = early.iter().try_for_each(&hand_on);
            while done.is_ok()
                && let Some(event) = transport.next().await
            {
                if let Event::Frame { frame, .. } = event {
                    done = hand_on(&frame);
                }
            }
        });
    }
}

impl Peer {
    pub(super) fn has_room(&self) -> bool {
        self.transport.backlog(self.id) < ROOM
    }

    /// Hands over all that waits, as one frame, if there is room.
    pub(super) fn send(&self, waiting: &mut Vec<u8>) {
        if !waiting.is_empty() && self.has_room() {
            self.transport.send(self.id, Class::Updates, std::mem::take(waiting).into());
        }
    }
}

/// Returns when it is time to look for room again: the transport does not say when there is.
pub(super) async fn room() {
    sleep(LOOK_AGAIN).await;
}
