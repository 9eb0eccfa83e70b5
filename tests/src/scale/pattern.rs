//! Who sends a frame on to whom. The protocol sends everything from each to each; the two trees are
//! not in it. Here they are put under it: the engines hear the same frames from the same senders,
//! only the way of the frames, and what it costs, is another one.

use std::rc::Rc;

use bytes::Bytes;
use vsync_core::wire::FrameKind;

use super::cluster::{Cluster, shared};
use super::node::Load;

/// How frames to all members travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// From each to each: what is built.
    Direct,
    /// Batches and order records go to so many members, and each of them passes them on to as many.
    Relay(usize),
    /// Acknowledgements go up a tree of this fan-out, are combined on the way, and what they come
    /// to goes down.
    Acks(usize),
}

impl Cluster {
    /// Sends what an engine sent to one or more nodes.
    pub(crate) fn cast(&mut self, from: usize, to: &[usize], frame: &Bytes) {
        let kind = FrameKind::of(frame).unwrap_or(FrameKind::Heartbeat);
        let payload = matches!(kind, FrameKind::Batches | FrameKind::Records);
        match self.pattern {
            Pattern::Relay(fan) if payload && to.len() > fan => {
                // Each sender's tree begins with other members: the work of passing on is shared.
                let mut targets = to.to_vec();
                targets.rotate_left(from * fan % to.len());
                let tree = shared(&targets);
                self.pass_down(from, from, frame, &tree, 0..fan);
            }
            Pattern::Acks(_) if kind == FrameKind::Ack && to.len() > 1 => {
                let up = &mut self.nodes[from].up;
                // A later acknowledgement says all that an earlier one says.
                up.retain(|(origin, _)| *origin != from);
                up.push((from, frame.clone()));
            }
            _ => {
                let live =
                    matches!(kind, FrameKind::Heartbeat | FrameKind::Probe | FrameKind::Heard);
                for &to in to {
                    let load = Load::Frame { from, frame: frame.clone(), live };
                    self.transmit(from, to, kind, load);
                }
            }
        }
    }

    /// Passes a frame on to the children of a place in its tree. The tree is complete: the children
    /// of the sender come first, then those of the first of them, and so on.
    pub(crate) fn pass_on(&mut self, origin: usize, frame: &Bytes, tree: &Rc<[u32]>, at: usize) {
        if let Pattern::Relay(fan) = self.pattern {
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
        children: std::ops::Range<usize>,
    ) {
        for at in children.start.min(tree.len())..children.end.min(tree.len()) {
            let load =
                Load::Relay { from: origin, frame: frame.clone(), tree: Rc::clone(tree), at };
            self.transmit(by, tree[at] as usize, FrameKind::Batches, load);
        }
    }

    /// Acknowledgements came along the tree. Those that come down are everybody's.
    pub(crate) fn take_acks(&mut self, node: usize, acks: &Rc<[(usize, Bytes)]>, down: bool) {
        if !down {
            for (origin, frame) in acks.iter() {
                let up = &mut self.nodes[node].up;
                up.retain(|(other, _)| other != origin);
                up.push((*origin, frame.clone()));
            }
            return;
        }
        self.acks_down(node, acks);
        for (origin, frame) in acks.iter().filter(|(origin, _)| *origin != node) {
            self.hand_in(node, *origin, frame.clone());
        }
    }

    /// Passes on what has gathered, when the inbox is empty: up, or at the root down.
    pub(crate) fn send_acks(&mut self, node: usize) {
        let Pattern::Acks(fan) = self.pattern else { return };
        if self.nodes[node].up.is_empty() || !self.nodes[node].inbox.is_empty() {
            return;
        }
        let acks: Rc<[(usize, Bytes)]> = std::mem::take(&mut self.nodes[node].up).into();
        if node > 0 {
            let load = Load::Acks { acks, down: false };
            return self.transmit(node, (node - 1) / fan, FrameKind::Ack, load);
        }
        self.acks_down(node, &acks);
        for (origin, frame) in acks.iter().filter(|(origin, _)| *origin != node) {
            self.hand_in(node, *origin, frame.clone());
        }
    }

    fn acks_down(&mut self, node: usize, acks: &Rc<[(usize, Bytes)]>) {
        let Pattern::Acks(fan) = self.pattern else { return };
        let members = self.nodes[node].members;
        for child in fan * node + 1..(fan * node + fan + 1).min(members) {
            let load = Load::Acks { acks: Rc::clone(acks), down: true };
            self.transmit(node, child, FrameKind::Ack, load);
        }
    }
}
