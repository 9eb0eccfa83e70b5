//! Where a state is played alone: views, contexts, and calls of methods, whose panics are caught.

use bytes::Bytes;
use vsync_core::wire::{self, LeftReason, NodeId};

use super::check::{Failure, Kind};
use crate::view::{Meta, Time};
use crate::watch::{Seen, watch};
use crate::{Ctx, MemberId, Replicated, Reply, View};

/// A state with all that a group would give it.
pub(crate) struct Stage<S: Replicated> {
    pub(crate) state: S,
    view: View,
    members: Vec<wire::Member>,
    ctx: Ctx<S>,
}

/// A checkpoint, to compare and to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) bytes: Vec<u8>,
    /// Field and value, in words.
    pub(crate) fields: Vec<(&'static str, String)>,
}

/// The result of an update: its bytes, and its value in words.
pub(crate) type Said = Option<(Vec<u8>, String)>;

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
        stage.ctx = Ctx::new(stage.view.clone());
        stage
    }

    fn unseen(state: S, members: &[wire::Member]) -> Self {
        let none = wire::View { number: 0, members: Vec::new(), active: 0 };
        let view = View::new(&none, &[], &[], &[]);
        Stage { state, ctx: Ctx::new(view.clone()), view, members: members.to_vec() }
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
        self.ctx = Ctx::new(self.view.clone());
        let Stage { state, view, ctx, .. } = self;
        guarded("the `#[on_view]` method", || state.on_view(ctx, view))
    }

    /// Applies an update of a member; one that is not in the view has not sent it.
    pub(crate) fn apply(
        &mut self,
        update: &[u8],
        sender: usize,
        time: Time,
    ) -> Result<Said, Failure> {
        let node = node(sender);
        let Some(rank) = self.members.iter().position(|it| it.id.node == node) else {
            return Ok(None);
        };
        self.ctx.deliver(self.members[rank].id, rank, time);
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

    /// The checkpoint of the state as it is.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, Failure> {
        snapshot(&self.state)
    }
}

/// The checkpoint of a state.
pub(crate) fn snapshot<S: Replicated>(state: &S) -> Result<Snapshot, Failure> {
    let (saved, Seen { parts, .. }) = watch(|| guarded("saving", || state.save()));
    match saved? {
        Ok(bytes) => Ok(Snapshot { bytes, fields: parts }),
        Err(error) => {
            let report = format!("the state of `{}` does not make a checkpoint: {error}", S::NAME);
            Err(Failure::new(Kind::Checkpoint, report))
        }
    }
}

/// The state of a checkpoint.
pub(crate) fn load<S: Replicated>(local: S, bytes: &[u8]) -> Result<S, Failure> {
    guarded("loading", || S::load(bytes, local))?.map_err(|error| {
        let name = S::NAME;
        let report = format!("a checkpoint of `{name}` that was taken does not load: {error}");
        Failure::new(Kind::Checkpoint, report)
    })
}

/// Runs code of the user's. A panic is told in the report, with its place, and not printed.
pub(crate) fn guarded<R>(what: &str, run: impl FnOnce() -> R) -> Result<R, Failure> {
    vsync_sim::catch(run)
        .map_err(|panic| Failure::new(Kind::Panicked, format!("{what} panicked: {panic}")))
}

/// What a node says of itself.
pub(crate) fn meta(member: usize) -> Bytes {
    Meta { name: format!("member{member}"), address: String::new() }.encode()
}

fn node(member: usize) -> NodeId {
    NodeId(member as u64 + 1)
}

fn fresh(member: usize, view: u64) -> wire::Member {
    let id = MemberId { node: node(member), entry: view };
    wire::Member { id, meta: meta(member), nonce: 0, transfer: None }
}

impl Snapshot {
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
