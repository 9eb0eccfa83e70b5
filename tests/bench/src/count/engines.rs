//! The engines alone: what all members' do for an update, without runtime and network.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use vsync_core::engine::{
    Class, Delivery, Engine, EngineConfig, GroupConfig, Input, Level, Output, Outputs, Run,
};
use vsync_core::wire::{GroupId, NodeId};

use super::{MEMBERS, PATIENCE, PAYLOAD, counted};

const GROUP: GroupId = GroupId(1);
/// How long one round takes, by the engines' clock: so often do they send heartbeats.
const ROUND: u64 = 100;

/// The way from the submission at one member to the delivery at all, acknowledgements and order
/// records included: what all members' engines do for an update. The members send in turn.
pub(super) fn run(batches: u64, batch: u32) -> Result<(), String> {
    let mut net = Net::form()?;
    counted(|| net.carry(batches, batch))
}

/// As many updates as a batch has, each after its length. Engines do not look into them.
fn body(count: u32) -> Bytes {
    let mut one = (PAYLOAD as u32).to_le_bytes().to_vec();
    one.resize(4 + PAYLOAD, b'x');
    one.repeat(count as usize).into()
}

/// Engines on a network that delivers everything, in order, in the next round.
struct Net {
    now: u64,
    engines: BTreeMap<NodeId, Engine>,
    inboxes: BTreeMap<NodeId, VecDeque<(NodeId, Bytes)>>,
    delivered: BTreeMap<NodeId, u64>,
    out: Outputs,
}

impl Net {
    fn form() -> Result<Net, String> {
        let ids = || (1..=MEMBERS).map(NodeId);
        let mut net = Net {
            now: 1_000,
            engines: ids().map(|id| (id, Engine::new(EngineConfig::new(id)))).collect(),
            inboxes: ids().map(|id| (id, VecDeque::new())).collect(),
            delivered: ids().map(|id| (id, 0)).collect(),
            out: Outputs::new(),
        };
        for id in ids() {
            for peer in ids().filter(|peer| *peer != id) {
                net.input(id, Input::Connected { peer });
            }
        }
        for id in ids() {
            let config = group();
            let input = match id.0 {
                1 => Input::Create { group: GROUP, config },
                _ => Input::Join { group: GROUP, contacts: vec![NodeId(1)], nonce: 1, config },
            };
            net.input(id, input);
            net.until_active(id)?;
        }
        Ok(net)
    }

    /// The members send so many batches in turn, and all take in all of them.
    fn carry(&mut self, batches: u64, batch: u32) -> Result<(), String> {
        let body = body(batch);
        for number in 0..batches {
            self.submit(NodeId(number % MEMBERS + 1), body.clone(), batch);
            self.round();
        }
        let wanted = batches * u64::from(batch);
        for _ in 0..PATIENCE {
            if self.settled(wanted) {
                return Ok(());
            }
            self.round();
        }
        Err(format!("of {wanted} updates the members have delivered {:?}", self.delivered))
    }

    fn until_active(&mut self, id: NodeId) -> Result<(), String> {
        for _ in 0..PATIENCE {
            let all = (1..=id.0).all(|node| self.active(NodeId(node)) == id.0 as usize);
            if all {
                return Ok(());
            }
            self.round();
        }
        Err(format!("member {} has not joined", id.0))
    }

    fn active(&self, id: NodeId) -> usize {
        let status = self.engines.get(&id).and_then(|engine| engine.status(GROUP));
        status.and_then(|status| status.view).map_or(0, |view| view.active)
    }

    fn submit(&mut self, id: NodeId, body: Bytes, count: u32) {
        let runs = vec![Run { class: Class::Total, level: Level::Optimistic, count }];
        let wall = self.now;
        self.input(id, Input::Submit { group: GROUP, runs, body, wall, urgent: false });
    }

    /// Everybody takes in what was sent before, and lets go what it has, as a driver does.
    fn round(&mut self) {
        self.now += ROUND;
        for id in (1..=MEMBERS).map(NodeId) {
            let inbox = self.inboxes.get_mut(&id).map(std::mem::take).unwrap_or_default();
            for (peer, frame) in inbox {
                self.input(id, Input::Frame { peer, frame });
            }
            let due = self.engines.get(&id).and_then(Engine::deadline);
            if due.is_some_and(|due| due <= self.now) {
                self.input(id, Input::Tick);
            }
            self.input(id, Input::Close);
        }
    }

    fn input(&mut self, id: NodeId, input: Input) {
        let mut next = Some(input);
        let Some(engine) = self.engines.get_mut(&id) else { return };
        while let Some(input) = next.take() {
            engine.handle(self.now, input, &mut self.out);
            for output in self.out.drain() {
                match output {
                    Output::Send { peer, frame, .. } => {
                        self.inboxes.entry(peer).or_default().push_back((id, frame));
                    }
                    Output::Deliver(Delivery { count, .. }) => {
                        *self.delivered.entry(id).or_default() += u64::from(count);
                    }
                    Output::TakeCheckpoint { group, label, .. } => {
                        let bytes = Bytes::new();
                        next = Some(Input::Checkpoint { group, label, bytes, last: true });
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether all have delivered so many, and keep nothing.
    fn settled(&self, wanted: u64) -> bool {
        let status = |engine: &Engine| engine.status(GROUP);
        self.delivered.values().all(|delivered| *delivered == wanted)
            && self.engines.values().filter_map(status).all(|status| status.retained == 0)
    }
}

fn group() -> GroupConfig {
    GroupConfig {
        generation: 1,
        schema: 1,
        causal: false,
        meta: Bytes::new(),
        window: 8 << 20,
        join_buffer: 8 << 20,
    }
}
