//! Where a state is played alone: views, contexts, and calls of methods, whose panics are caught.

use bytes::Bytes;
use vsync_core::wire::{self, GroupId, LeftReason, NodeId};

use super::check::{Failure, Kind};
use crate::runtime::timers::Saved;
use crate::view::{Meta, Time};
use crate::watch::{Seen, watch};
use crate::{CheckpointError, Ctx, MemberId, QueryCtx, Replicated, Reply, View};

/// A state with all that a group would give it.
pub(crate) struct Stage<S: Replicated> {
    pub(crate) state: S,
    view: View,
    members: Vec<wire::Member>,
    /// How many updates each has sent in the view.
    sent: Vec<u64>,
    /// What was sent last.
    time: Time,
    ctx: Ctx<S>,
}

/// A checkpoint, to compare and to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The state alone: what is loaded.
    pub(crate) state: Vec<u8>,
    /// All that replicas must agree on, which is the state and the timers that it has set.
    pub(crate) bytes: Vec<u8>,
    /// Field and value, in words.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// How many events were emitted in the view so far.
    pub(crate) events: u64,
}

/// The result of an update: its bytes, and its value in words.
pub(crate) type Said = Option<(Vec<u8>, String)>;

/// The group, for all that is derived from its name.
pub(crate) const GROUP: GroupId = GroupId(1);

/// How many members are in the first view.
pub(crate) const FIRST: usize = 3;

impl<S: Replicated> Stage<S> {
    /// A state that has seen its first view.
    pub(crate) fn new(state: S) -> Result<Self, Failure> {
        let mut stage = Stage::unseen(state, &[]);
        let first: Vec<usize> = (0..FIRST).collect();
        stage.install(&first)?;
        Ok(stage)
    }

    /// A state that goes on where another one is.
    pub(crate) fn beside(state: S, other: &Stage<S>) -> Self {
        let mut stage = Stage::unseen(state, &other.members);
        stage.view = other.view.clone();
        (stage.sent, stage.time) = (other.sent.clone(), other.time);
        stage.ctx = Ctx::new(GROUP, stage.view.clone());
        stage.ctx.begin(other.ctx.saved_timers().timers(other.time).into(), other.time);
        stage
    }

    fn unseen(state: S, members: &[wire::Member]) -> Self {
        let none = wire::View { number: 0, members: Vec::new(), active: 0 };
        let view = View::new(&none, &[], &[], &[]);
        let (ctx, sent) = (Ctx::new(GROUP, view.clone()), vec![0; members.len()]);
        Stage { state, view, members: members.to_vec(), sent, time: 0, ctx }
    }

    /// Installs the next view, of these members.
    pub(crate) fn install(&mut self, members: &[usize]) -> Result<(), Failure> {
        let number = self.view.number() + 1;
        let old = std::mem::take(&mut self.members);
        for &member in members {
            let node = node(member);
            let known = old.iter().find(|it| it.id.node == node).cloned();
            self.members.push(known.unwrap_or_else(|| fresh(member, number)));
        }
        let ids = |list: &[wire::Member]| list.iter().map(|it| it.id).collect::<Vec<MemberId>>();
        let (before, now) = (ids(&old), ids(&self.members));
        let joined: Vec<_> = now.iter().copied().filter(|id| !before.contains(id)).collect();
        let left: Vec<_> = before
            .iter()
            .filter(|id| !now.contains(id))
            .map(|&id| wire::Left { id, reason: LeftReason::Failed })
            .collect();
        let members = self.members.clone();
        let view = wire::View { number, active: members.len(), members };
        self.view = View::new(&view, &[], &joined, &left);
        self.sent = vec![0; self.members.len()];
        let ctx = Ctx::new(GROUP, self.view.clone());
        let timers = std::mem::replace(&mut self.ctx, ctx).into_timers();
        self.ctx.begin(timers, self.time);
        let Stage { state, view, ctx, .. } = self;
        guarded("the `#[on_view]` method", || state.on_view(ctx, view))
    }

    /// Applies an update of a member; one that is not in the view has not sent it.
    pub(crate) fn apply(
        &mut self,
        update: &[u8],
        sender: usize,
        (time, total): (Time, bool),
    ) -> Result<Said, Failure> {
        let node = node(sender);
        match self.members.iter().position(|it| it.id.node == node) {
            Some(rank) => self.apply_of(rank, update, (time, total)),
            None => Ok(None),
        }
    }

    /// Fires the timers that are due at a moment.
    pub(crate) fn fire(&mut self, time: Time) -> Result<(), Failure> {
        while let Some((timer, _)) = self.ctx.ask(time) {
            if let Some(update) = self.ctx.fire(timer) {
                self.apply_of(0, &update, (time, true)).map_err(|mut failure| {
                    failure.report = format!("a timer: {}", failure.report);
                    failure
                })?;
            }
        }
        Ok(())
    }

    fn apply_of(
        &mut self,
        rank: usize,
        update: &[u8],
        (time, total): (Time, bool),
    ) -> Result<Said, Failure> {
        self.ctx.deliver(self.members[rank].id, rank, time, total);
        self.ctx.next(self.sent[rank]);
        self.sent[rank] += 1;
        self.time = self.time.max(time);
        let Stage { state, ctx, .. } = self;
        let mut reply = Reply::none();
        let (done, seen) = watch(|| guarded("an update", || state.apply(ctx, update, &mut reply)));
        match done? {
            Ok(()) => Ok(seen.result),
            Err(error) => {
                let report = format!("an update that was encoded does not decode: {error}");
                Err(Failure::new(Kind::Wire, report))
            }
        }
    }

    /// What a query knows that the first member answers alone.
    pub(crate) fn query_ctx(&self) -> QueryCtx {
        QueryCtx::new(self.view.clone(), Some(0), 0, 1)
    }

    /// The checkpoint of the state as it is.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Failure> {
        let mut snapshot = snapshot(&self.state)?.with(&self.ctx.saved_timers());
        snapshot.events = self.ctx.emitted();
        Ok(snapshot)
    }
}

/// The checkpoint of a state.
pub(crate) fn snapshot<S: Replicated>(state: &S) -> Result<Snapshot, Failure> {
    let (saved, Seen { parts, .. }) = watch(|| guarded("saving", || state.save()));
    match saved? {
        Ok(bytes) => Ok(Snapshot { state: bytes.clone(), bytes, fields: parts, events: 0 }),
        Err(error) => {
            let report = format!("the state of `{}` does not make a checkpoint: {error}", S::NAME);
            Err(Failure::new(Kind::Checkpoint, report))
        }
    }
}

/// The state of a checkpoint.
pub(crate) fn load<S: Replicated>(local: S, bytes: &[u8]) -> Result<S, Failure> {
    guarded("loading", || S::load(bytes, local))?.map_err(|error| does_not_load::<S>(&error))
}

/// What is said of a checkpoint that was taken and cannot be loaded.
pub(crate) fn does_not_load<S: Replicated>(error: &CheckpointError) -> Failure {
    let name = S::NAME;
    let report = format!("a checkpoint of `{name}` that was taken does not load: {error}");
    Failure::new(Kind::Checkpoint, report)
}

/// Runs code of the user's. A panic is told in the report, with its place, and not printed.
pub(crate) fn guarded<R>(what: &str, run: impl FnOnce() -> R) -> Result<R, Failure> {
    vsync_sim::catch(run)
        .map_err(|panic| Failure::new(Kind::Panicked, format!("{what} panicked: {panic}")))
}

/// What a node says of itself.
pub(crate) fn meta(member: usize) -> Bytes {
    Meta { name: format!("member{member}"), address: String::new(), version: 1 }.encode()
}

fn node(member: usize) -> NodeId {
    NodeId(member as u64 + 1)
}

fn fresh(member: usize, view: u64) -> wire::Member {
    let id = MemberId { node: node(member), entry: view };
    wire::Member { id, meta: meta(member), nonce: 0, transfer: None }
}

impl Snapshot {
    /// Whether something has happened since `before`: another state, or an event.
    pub(crate) fn tells(&self, before: &Snapshot) -> bool {
        self.bytes != before.bytes || self.events != before.events
    }

    /// With the timers that the state has set, where there are or were any.
    pub(crate) fn with(mut self, timers: &Saved) -> Snapshot {
        if *timers != Saved::default() {
            // Numbers and bytes into a growing vector: postcard has nothing to refuse there.
            self.bytes.extend(postcard::to_stdvec(timers).unwrap_or_default());
            self.fields.push(("(timers)", format!("{timers:?}")));
        }
        self
    }

    /// The fields in which two states differ, with what they hold: one line each.
    pub(crate) fn differences(&self, other: &Snapshot, names: [&str; 2]) -> String {
        let width = names[0].chars().count().max(names[1].chars().count());
        let mut text = String::new();
        let mut equal = 0;
        for (one, another) in self.fields.iter().zip(&other.fields) {
            if one == another {
                equal += 1;
                continue;
            }
            text += &format!("  field `{}`\n", one.0);
            for (name, value) in [(names[0], &one.1), (names[1], &another.1)] {
                text += &format!("    {name:width$}  {}\n", short(value));
            }
        }
        if equal == self.fields.len() && self.bytes != other.bytes {
            // The same words for other bytes: a map that is written in another order, a NaN.
            text += "  the same values, written as other bytes\n";
        } else if equal > 0 {
            text += &format!("  {equal} more equal\n");
        }
        text
    }

    /// All fields, one line each.
    pub(crate) fn lines(&self) -> String {
        if self.fields.is_empty() {
            return "  (no replicated field)\n".to_owned();
        }
        let lines = self.fields.iter();
        lines.map(|(name, value)| format!("  {name}: {}\n", short(value))).collect()
    }
}

/// A value that fits on a few lines.
pub(crate) fn short(value: &str) -> String {
    const MOST: usize = 400;
    match value.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}… ({} bytes)", &value[..end], value.len()),
        None => value.to_owned(),
    }
}
