//! The in-memory twin: the same contract as over QUIC, without network, tasks or time.
//!
//! Everything happens at once under one lock, so a test decides what happens when: it cuts and
//! heals links and crashes endpoints through [`MemoryNet`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::inbox::{Inbox, Intake, lock};
use crate::{Class, ConnectError, Event, MAX_FRAME, PeerId, PeerInfo, Stats, Transport};

/// What a link carries beyond what its receiver has taken before `backlog` grows at the sender.
const WINDOW: usize = 8 << 20;

/// A network inside one process. Clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNet {
    net: Arc<Mutex<Net>>,
}

/// One endpoint of a [`MemoryNet`]. Dropping it is a crash, which its peers see.
pub struct Memory {
    net: Arc<Mutex<Net>>,
    info: PeerInfo,
    inbox: Arc<Inbox>,
}

type Pair = (PeerId, PeerId);

fn pair(a: PeerId, b: PeerId) -> Pair {
    (a.min(b), a.max(b))
}

#[derive(Default)]
struct Net {
    started: u64,
    endpoints: BTreeMap<PeerId, Endpoint>,
    links: HashMap<Pair, Link>,
    cuts: HashSet<Pair>,
}

struct Endpoint {
    info: PeerInfo,
    inbox: Arc<Inbox>,
    alive: bool,
    wanted: BTreeSet<PeerId>,
    /// Peers that have been up and whose end has not been told.
    met: BTreeSet<PeerId>,
    stats: Stats,
}

/// A connection: what each end, by its identity, has waiting from the other.
struct Link {
    intakes: [(PeerId, Arc<Intake>); 2],
}

impl Link {
    fn intake_at(&self, receiver: PeerId) -> &Arc<Intake> {
        let [(first, intake), (_, other)] = &self.intakes;
        if *first == receiver { intake } else { other }
    }
}

impl MemoryNet {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a node whose address is its name. A node of the same name may have been there
    /// before: the new one is another peer.
    pub fn endpoint(&self, name: &str) -> Memory {
        self.start(name, 0)
    }

    /// Starts a client (role 1).
    pub fn client(&self, name: &str) -> Memory {
        self.start(name, 1)
    }

    fn start(&self, name: &str, role: u8) -> Memory {
        let mut net = lock(&self.net);
        net.started += 1;
        // Spread by an odd factor: the order of identities is not the order of starts.
        let id = PeerId(net.started.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let info = PeerInfo { id, name: name.to_owned(), addr: name.to_owned(), role };
        let inbox = Arc::new(Inbox::default());
        net.endpoints.insert(
            id,
            Endpoint {
                info: info.clone(),
                inbox: inbox.clone(),
                alive: true,
                wanted: BTreeSet::new(),
                met: BTreeSet::new(),
                stats: Stats::default(),
            },
        );
        drop(net);
        Memory { net: self.net.clone(), info, inbox }
    }

    /// Breaks the connection of two endpoints and lets none come up until [`heal`](Self::heal).
    pub fn cut(&self, a: PeerId, b: PeerId) {
        let mut net = lock(&self.net);
        net.cuts.insert(pair(a, b));
        net.disconnect(a, b);
    }

    /// Lets two endpoints connect again; they do at once where one wants the other.
    pub fn heal(&self, a: PeerId, b: PeerId) {
        let mut net = lock(&self.net);
        net.cuts.remove(&pair(a, b));
        net.tell_end(a, b);
        net.tell_end(b, a);
        net.restore(a, b);
    }

    /// Ends an endpoint as `kill -9` ends a process. Peers that can reach it see `Down` and
    /// `Ended`; those behind a cut see the end when it heals.
    pub fn crash(&self, id: PeerId) {
        lock(&self.net).end(id);
    }
}

impl Net {
    fn alive(&self, id: PeerId) -> bool {
        self.endpoints.get(&id).is_some_and(|endpoint| endpoint.alive)
    }

    fn connect(&mut self, a: PeerId, b: PeerId) {
        if a == b || !self.alive(a) || !self.alive(b) || self.links.contains_key(&pair(a, b)) {
            return;
        }
        let link = Link { intakes: [(a, Intake::new(b, WINDOW)), (b, Intake::new(a, WINDOW))] };
        self.links.insert(pair(a, b), link);
        for (at, other) in [(a, b), (b, a)] {
            let info = self.endpoints[&other].info.clone();
            for predecessor in self.predecessors(at, &info) {
                self.tell_end(predecessor, at);
            }
            if let Some(endpoint) = self.endpoints.get_mut(&at) {
                let again = !endpoint.met.insert(other);
                endpoint.stats.reconnects += u64::from(again);
                endpoint.inbox.up(info);
            }
        }
    }

    /// Peers that an endpoint has met at the address where it meets another now.
    fn predecessors(&self, at: PeerId, info: &PeerInfo) -> Vec<PeerId> {
        let met = self.endpoints[&at].met.iter().copied();
        met.filter(|id| *id != info.id && self.endpoints[id].info.addr == info.addr).collect()
    }

    fn disconnect(&mut self, a: PeerId, b: PeerId) {
        if let Some(link) = self.links.remove(&pair(a, b)) {
            for (at, intake) in &link.intakes {
                self.endpoints[at].inbox.down(intake);
            }
        }
    }

    /// Connects two endpoints if one wants it and nothing stands between them.
    fn restore(&mut self, a: PeerId, b: PeerId) {
        let wants = |from, to| {
            self.endpoints
                .get(&from)
                .is_some_and(|endpoint: &Endpoint| endpoint.wanted.contains(to))
        };
        if !self.cuts.contains(&pair(a, b)) && (wants(a, &b) || wants(b, &a)) {
            self.connect(a, b);
        }
    }

    fn end(&mut self, id: PeerId) {
        let Some(endpoint) = self.endpoints.get_mut(&id) else {
            return;
        };
        if !std::mem::take(&mut endpoint.alive) {
            return;
        }
        let others: Vec<PeerId> = self.endpoints.keys().copied().filter(|o| *o != id).collect();
        for other in others {
            self.disconnect(id, other);
            if !self.cuts.contains(&pair(id, other)) {
                self.tell_end(id, other);
            }
        }
        self.endpoints[&id].inbox.close();
    }

    /// Tells `to` that `ended` has ended, if so and not told yet.
    fn tell_end(&mut self, ended: PeerId, to: PeerId) {
        if self.alive(ended) {
            return;
        }
        let Some(endpoint) = self.endpoints.get_mut(&to) else {
            return;
        };
        if endpoint.met.remove(&ended) {
            endpoint.wanted.remove(&ended);
            endpoint.inbox.ended(ended);
        }
    }

    fn send(&mut self, from: PeerId, to: PeerId, class: Class, frame: Bytes) {
        let Self { endpoints, links, .. } = self;
        let Some(sender) = endpoints.get_mut(&from) else {
            return;
        };
        let bytes = frame.len() as u64;
        match links.get(&pair(from, to)) {
            Some(link) if frame.len() <= MAX_FRAME => {
                let counts = &mut sender.stats.classes[class.index()];
                counts.frames_sent += 1;
                counts.bytes_sent += bytes;
                if let Some(receiver) = endpoints.get_mut(&to) {
                    let counts = &mut receiver.stats.classes[class.index()];
                    counts.frames_received += 1;
                    counts.bytes_received += bytes;
                    receiver.inbox.frames(link.intake_at(to), class, &mut vec![frame]);
                }
            }
            _ => sender.stats.dropped += 1,
        }
    }
}

#[async_trait]
impl Transport for Memory {
    fn local(&self) -> &PeerInfo {
        &self.info
    }

    async fn connect(&self, addr: &str) -> Result<PeerInfo, ConnectError> {
        let mut net = lock(&self.net);
        let own = self.info.id;
        if !net.alive(own) {
            return Err(ConnectError::ShutDown);
        }
        let found = net.endpoints.values().find(|e| e.alive && e.info.addr == addr);
        let Some(info) = found.map(|endpoint| endpoint.info.clone()) else {
            return Err(ConnectError::Unreachable { addr: addr.to_owned(), millis: 0 });
        };
        if info.id == own {
            return Err(ConnectError::Itself { addr: addr.to_owned() });
        }
        if net.cuts.contains(&pair(own, info.id)) {
            return Err(ConnectError::Unreachable { addr: addr.to_owned(), millis: 0 });
        }
        net.connect(own, info.id);
        if let Some(endpoint) = net.endpoints.get_mut(&own) {
            endpoint.wanted.insert(info.id);
        }
        Ok(info)
    }

    fn want(&self, peer: PeerId, _addr: &str) {
        let mut net = lock(&self.net);
        if peer == self.info.id {
            return;
        }
        if let Some(endpoint) = net.endpoints.get_mut(&self.info.id) {
            endpoint.wanted.insert(peer);
        }
        net.restore(self.info.id, peer);
    }

    fn forget(&self, peer: PeerId) {
        let mut net = lock(&self.net);
        if let Some(endpoint) = net.endpoints.get_mut(&self.info.id) {
            endpoint.wanted.remove(&peer);
        }
        net.disconnect(self.info.id, peer);
        net.restore(self.info.id, peer);
    }

    fn send(&self, peer: PeerId, class: Class, frame: Bytes) {
        lock(&self.net).send(self.info.id, peer, class, frame);
    }

    fn backlog(&self, peer: PeerId) -> usize {
        let net = lock(&self.net);
        let Some(link) = net.links.get(&pair(self.info.id, peer)) else {
            return 0;
        };
        let intake = link.intake_at(peer);
        let held = |class| intake.held(class).saturating_sub(WINDOW);
        Class::ALL.into_iter().map(held).sum()
    }

    async fn next(&self) -> Option<Event> {
        self.inbox.next().await
    }

    fn try_next(&self) -> Option<Event> {
        self.inbox.try_next()
    }

    /// What was queued has arrived already, so this never waits.
    async fn shutdown(&self, _deadline: Duration) {
        lock(&self.net).end(self.info.id);
    }

    fn stats(&self) -> Stats {
        let net = lock(&self.net);
        let own = self.info.id;
        let connections = net.links.keys().filter(|(a, b)| *a == own || *b == own).count() as u64;
        match net.endpoints.get(&own) {
            Some(endpoint) => Stats { connections, ..endpoint.stats },
            None => Stats::default(),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        lock(&self.net).end(self.info.id);
    }
}
