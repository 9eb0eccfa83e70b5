//! Who sends a frame on to whom. The protocol sends everything from each to each; the two trees are
//! not in it. Here they are put under it: the engines hear the same frames from the same senders,
//! only the way of the frames, and what it costs, is another one.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::{iter, mem};

use bytes::Bytes;
use vsync_core::wire::FrameKind;

use super::cluster::{Cluster, shared};
use super::costs::Nanos;
use super::node::Load;

/// An acknowledgement waits for so long at most for those of the members below: half as long as
/// its member may have made it wait before.
const HOLD: Nanos = 1_000_000;

/// How frames to all members travel: from each to each, which is what is built, or by trees of so
/// large a fan-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// Batches and order records go to so many members, and each of them passes them on to as many.
    pub(crate) relay: Option<usize>,
    /// Acknowledgements go up a tree, are combined on the way, and what they come to goes down.
    pub(crate) acks: Option<usize>,
}

/// Acknowledgements that gather at a member to be passed on together, by who made them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gathered {
    acks: BTreeMap<usize, Bytes>,
    /// They are passed on then, whoever is missing.
    due: Nanos,
}

impl Cluster {
    /// Sends what an engine sent to one or more nodes.
    pub(crate) fn cast(&mut self, from: usize, to: &[usize], frame: &Bytes) {
        let kind = FrameKind::of(frame).unwrap_or(FrameKind::Heartbeat);
        let payload = matches!(kind, FrameKind::Batches | FrameKind::Records);
        let Pattern { relay, acks } = self.pattern;
        if let Some(fan) = relay.filter(|&fan| payload && to.len() > fan) {
            // Each sender's tree begins with other members: the work of passing on is shared.
            let mut targets = to.to_vec();
            targets.rotate_left(from * fan % to.len());
            let tree = shared(&targets);
            return self.pass_down(from, from, frame, &tree, 0..fan);
        }
        if acks.is_some() && kind == FrameKind::Ack && to.len() > 1 {
            return self.gather(from, [(from, frame.clone())]);
        }
        let live = matches!(kind, FrameKind::Heartbeat | FrameKind::Probe | FrameKind::Heard);
        for &to in to {
            let load = Load::Frame { from, frame: frame.clone(), live };
            self.transmit(from, to, kind, load);
        }
    }

    /// Passes a frame on to the children of a place in its tree. The tree is complete: the children
    /// of the sender come first, then those of the first of them, and so on.
    pub(crate) fn pass_on(&mut self, origin: usize, frame: &Bytes, tree: &Rc<[u32]>, at: usize) {
        if let Some(fan) = self.pattern.relay {
            let first = fan * (at + 1);
            self.pass_down(tree[at] as usize, origin, frame, tree, first..first + fan);
        }
    }

    fn pass_down(
        &mut self,
        by: usize,
        origin: usize,
        frame: &Bytes,
        tree: &Rc<[u32]>,
        children: Range<usize>,
    ) {
        for at in children.start.min(tree.len())..children.end.min(tree.len()) {
            let load =
                Load::Relay { from: origin, frame: frame.clone(), tree: Rc::clone(tree), at };
            self.transmit(by, tree[at] as usize, FrameKind::Batches, load);
        }
    }

    /// Acknowledgements came along the tree. Those that come down are everybody's.
    pub(crate) fn take_acks(&mut self, node: usize, acks: &Rc<[(usize, Bytes)]>, down: bool) {
        if down {
            self.acks_down(node, acks);
        } else {
            self.gather(node, acks.iter().cloned());
        }
    }

    /// A later acknowledgement says all that an earlier one says.
    fn gather(&mut self, node: usize, acks: impl IntoIterator<Item = (usize, Bytes)>) {
        let due = self.nodes[node].busy + HOLD;
        let gathered = &mut self.nodes[node].gathered;
        let first = gathered.acks.is_empty();
        gathered.acks.extend(acks);
        if first {
            gathered.due = due;
            self.look_at(node, due);
        }
    }

    /// Passes on what has gathered, up, or at the root down: when all are there that are waited
    /// for, or one has waited long enough. Those of members that stream ride on their batches.
    pub(crate) fn send_acks(&mut self, node: usize) {
        let Some(fan) = self.pattern.acks else { return };
        let it = &self.nodes[node];
        if it.gathered.acks.is_empty() {
            return;
        }
        let missing = |&below: &usize| {
            !self.nodes[below].app.streams && !it.gathered.acks.contains_key(&below)
        };
        if it.busy < it.gathered.due && below(node, fan, it.members).any(|it| missing(&it)) {
            return;
        }
        let acks: Rc<[_]> = mem::take(&mut self.nodes[node].gathered.acks).into_iter().collect();
        if node > 0 {
            let load = Load::Acks { acks, down: false };
            self.transmit(node, (node - 1) / fan, FrameKind::Ack, load);
        } else {
            self.acks_down(node, &acks);
        }
    }

    fn acks_down(&mut self, node: usize, acks: &Rc<[(usize, Bytes)]>) {
        let Some(fan) = self.pattern.acks else { return };
        for child in children(node..node + 1, fan, self.nodes[node].members) {
            let load = Load::Acks { acks: Rc::clone(acks), down: true };
            self.transmit(node, child, FrameKind::Ack, load);
        }
        for (origin, frame) in acks.iter().filter(|(origin, _)| *origin != node) {
            self.hand_in(node, *origin, frame.clone());
        }
    }
}

/// The children of some members in the tree of acknowledgements, which is complete.
fn children(of: Range<usize>, fan: usize, members: usize) -> Range<usize> {
    (fan * of.start + 1).min(members)..(fan * of.end + 1).min(members)
}

/// A member and all that are below it.
fn below(node: usize, fan: usize, members: usize) -> impl Iterator<Item = usize> {
    let levels = iter::successors(Some(node..node + 1), move |level| {
        Some(children(level.clone(), fan, members)).filter(|level| !level.is_empty())
    });
    levels.flatten()
}
