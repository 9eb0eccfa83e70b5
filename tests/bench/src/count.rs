//! `count`: a fixed piece of work without network, clock or threads, for a tool that counts
//! instructions. What two runs of different length differ by is what the updates cost, and not the
//! start of the program: `.ci/instructions` does that.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use vsync::__private::ctx;
use vsync::{Ctx, Replicated, Reply};
use vsync_core::engine::{
    Class, Delivery, Engine, EngineConfig, GroupConfig, Input, Level, Output, Outputs, Run,
};
use vsync_core::wire::{GroupId, Member, MemberId, NodeId, View};

use crate::member::{Sink, SinkUpdate};
use crate::options::{CountOptions, Path};

const GROUP: GroupId = GroupId(1);
const MEMBERS: u64 = 3;
/// Bytes of payload per update.
const PAYLOAD: usize = 100;
/// How long one round takes, by the engines' clock: so often do they send heartbeats.
const ROUND: u64 = 100;
/// Rounds in which the group must have formed, and in which the last updates must be stable.
const PATIENCE: u64 = 100_000;

/// Does the work, and checks that it was done.
pub(crate) fn run(options: &CountOptions) -> Result<(), String> {
    let updates = u64::from(options.updates);
    let batch = u64::from(options.batch);
    if batch == 0 || !updates.is_multiple_of(batch) {
        return Err(format!("{updates} updates are no whole number of batches of {batch}"));
    }
    match options.path {
        Path::Apply => apply(updates / batch, options.batch)?,
        Path::Engine => engine(updates / batch, options.batch)?,
    }
    println!("{updates} updates");
    Ok(())
}

/// As many updates as a batch has, as they are delivered: each after its length.
fn body(count: u32) -> Result<Bytes, String> {
    let update = SinkUpdate::Total { payload: "x".repeat(PAYLOAD) };
    let mut one = Vec::new();
    Sink::encode(&update, &mut one).map_err(|error| error.to_string())?;
    let length = u32::try_from(one.len()).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    for _ in 0..count {
        all.extend_from_slice(&length.to_le_bytes());
        all.extend_from_slice(&one);
    }
    Ok(all.into())
}

/// The way of a range that was delivered through the code that the macro generates.
fn apply(batches: u64, batch: u32) -> Result<(), String> {
    let id = |node| MemberId { node: NodeId(node), entry: 1 };
    let member = |node| Member { id: id(node), meta: Bytes::new(), nonce: 0, transfer: None };
    let members: Vec<Member> = (1..=MEMBERS).map(member).collect();
    let view = View { number: 1, active: members.len(), members };
    let ctx = ctx::<Sink>(&view, 0, 0);
    let (body, mut sink) = (body(batch)?, Sink::default());
    for _ in 0..batches {
        apply_range(&mut sink, &ctx, &body)?;
    }
    match sink.updates() == batches * u64::from(batch) {
        true => Ok(()),
        false => Err(format!("{} updates were applied", sink.updates())),
    }
}

/// As the library's replica does it, nobody waiting for an answer.
fn apply_range(sink: &mut Sink, ctx: &Ctx<Sink>, mut body: &[u8]) -> Result<(), String> {
    while let Some((length, rest)) = body.split_first_chunk::<4>() {
        let split = rest.split_at_checked(u32::from_le_bytes(*length) as usize);
        let (update, rest) = split.ok_or("a body that ends within an update")?;
        body = rest;
        sink.apply(ctx, update, &mut Reply::none()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The way from the submission at one member to the delivery at all, acknowledgements and order
/// records included: what all members' engines do for an update. The members send in turn.
fn engine(batches: u64, batch: u32) -> Result<(), String> {
    let mut net = Net::form()?;
    let body = body(batch)?;
    for number in 0..batches {
        net.submit(NodeId(number % MEMBERS + 1), body.clone(), batch);
        net.round();
    }
    let wanted = batches * u64::from(batch);
    for _ in 0..PATIENCE {
        if net.settled(wanted) {
            return Ok(());
        }
        net.round();
    }
    Err(format!("of {wanted} updates the members have delivered {:?}", net.delivered))
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
