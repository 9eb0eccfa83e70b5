//! A UDP relay in front of a process: what the network does to it, done on purpose.
//!
//! Only UDP passes, so the liveness link cannot be opened through it: what the tests see here
//! comes from QUIC alone.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;

const DATAGRAM: usize = 65_536;

#[derive(Default)]
struct State {
    target: Option<SocketAddr>,
    blocked: HashSet<SocketAddr>,
    /// The socket that speaks to the target for each source.
    sides: HashMap<SocketAddr, Arc<UdpSocket>>,
}

#[derive(Clone)]
pub(crate) struct Relay {
    addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Relay {
    /// Starts on the current runtime, which ends it.
    pub(crate) fn start() -> Self {
        let front = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        front.set_nonblocking(true).unwrap();
        let front = Arc::new(UdpSocket::from_std(front).unwrap());
        let relay = Self { addr: front.local_addr().unwrap(), state: Arc::default() };
        tokio::spawn(relay.clone().forward(front));
        relay
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn lead_to(&self, target: SocketAddr) {
        let mut state = self.state.lock().unwrap();
        state.target = Some(target);
        state.sides.clear();
    }

    pub(crate) fn block(&self, source: SocketAddr) {
        self.state.lock().unwrap().blocked.insert(source);
    }

    pub(crate) fn unblock(&self, source: SocketAddr) {
        self.state.lock().unwrap().blocked.remove(&source);
    }

    fn blocked(&self, source: SocketAddr) -> bool {
        self.state.lock().unwrap().blocked.contains(&source)
    }

    async fn forward(self, front: Arc<UdpSocket>) {
        let mut buffer = vec![0; DATAGRAM];
        while let Ok((len, source)) = front.recv_from(&mut buffer).await {
            if self.blocked(source) {
                continue;
            }
            let (known, target) = {
                let state = self.state.lock().unwrap();
                (state.sides.get(&source).cloned(), state.target)
            };
            let Some(target) = target else { continue };
            let side = match known {
                Some(side) => side,
                None => {
                    let side = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                    self.state.lock().unwrap().sides.insert(source, side.clone());
                    tokio::spawn(self.clone().back(front.clone(), side.clone(), source));
                    side
                }
            };
            let _ = side.send_to(&buffer[..len], target).await;
        }
    }

    async fn back(self, front: Arc<UdpSocket>, side: Arc<UdpSocket>, source: SocketAddr) {
        let mut buffer = vec![0; DATAGRAM];
        while let Ok(len) = side.recv(&mut buffer).await {
            if !self.blocked(source) {
                let _ = front.send_to(&buffer[..len], source).await;
            }
        }
    }
}
