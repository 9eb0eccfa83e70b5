//! A membership that is over, as long as others may need what it knows (L4): it answers every
//! message of its last view with the decision, until a quorum of the next view has installed it.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::member::Membership;
use super::{Header, Incoming, Turn, fetch};
use crate::bugs::Bug;
use crate::engine::{Output, Traffic};
use crate::membership::is_quorum;
use crate::multicast::Multicast;
use crate::wire::messages::{Digest, Message, Proposal};
use crate::wire::{Micros, NodeId, ViewNumber, codec};

/// How often the decision is told before it is given up: the others are unreachable then.
const TRIES: u32 = 600;

/// The same where all of them are suspected.
const LONELY: u32 = 20;

#[derive(Clone, Debug)]
pub(crate) struct Departed {
    header: Header,
    /// This node.
    node: NodeId,
    /// The view that it left, where it had installed that.
    multicast: Option<Multicast>,
    decision: Bytes,
    decided: Proposal,
    /// Nodes known to have installed the decision, or a later view.
    installed: BTreeSet<NodeId>,
    /// A leaver is told when it may exit; with its own updates in the final cut.
    leaver: Option<u64>,
    due: Micros,
    tries: u32,
    /// All who should confirm it are silent: strangers are asked (seed 45275).
    lost: bool,
    done: bool,
}

impl Departed {
    pub(crate) fn new(
        turn: &mut Turn<'_>,
        member: Membership,
        decided: Proposal,
        leaver: Option<u64>,
    ) -> Self {
        let header = member.header();
        let decision = member.decision.unwrap_or_default();
        Self::begin(turn, header, (decision, decided), Some(member.multicast), leaver)
    }

    /// Of a member that was told the end of a view which it never installed. It has nothing of that
    /// view, but its decision.
    pub(crate) fn overtaken(turn: &mut Turn<'_>, header: Header, decision: Bytes) -> Option<Self> {
        let decided = codec::decode_proposal(&decision)?;
        let header = Header { view: decided.view.number - 1, ..header };
        Some(Self::begin(turn, header, (decision, decided), None, None))
    }

    fn begin(
        turn: &mut Turn<'_>,
        header: Header,
        (decision, decided): (Bytes, Proposal),
        multicast: Option<Multicast>,
        leaver: Option<u64>,
    ) -> Self {
        let mut departed = Departed {
            header,
            node: turn.config.node,
            multicast,
            decision,
            decided,
            installed: BTreeSet::new(),
            leaver,
            due: turn.now + turn.config.change_retry,
            tries: 0,
            lost: false,
            done: false,
        };
        departed.finish(turn);
        departed
    }

    /// The application does not wait for it any more.
    pub(crate) fn silence(&mut self) {
        self.leaver = None;
    }

    /// Whether the application waits for the end of its leave.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaver.is_some() && !self.done
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether nobody who should confirm the decision is heard any more.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost && !self.done
    }

    /// Where it stands, for heartbeats: whoever has gone on since knows the decision. It names no
    /// entry: it is no member of the view any more.
    pub(crate) fn digest(&self) -> Digest {
        let Header { group, generation, view, .. } = self.header;
        (group, generation, view, 0)
    }

    /// The view that is decided.
    pub(crate) fn next(&self) -> ViewNumber {
        self.header.view + 1
    }

    pub(crate) fn generation(&self) -> u32 {
        self.header.generation
    }

    pub(crate) fn deadline(&self) -> Micros {
        self.due
    }

    pub(crate) fn watched(&self) -> Vec<NodeId> {
        self.audience().into_iter().filter(|&node| node != self.node).collect()
    }

    pub(crate) fn answers(&self, view: ViewNumber) -> bool {
        view == self.header.view
    }

    /// Who must have installed the decision: the active members of the next view, or where there is
    /// none, those of the last.
    fn audience(&self) -> Vec<NodeId> {
        let next = &self.decided.view;
        let last = self.multicast.as_ref().map(|multicast| &*multicast.view);
        let view = if next.members.is_empty() { last } else { Some(next) };
        // Who is left of a view that this node never knew asks for itself.
        let active = view.map_or(&[][..], |view| &view.members[..view.active]);
        active.iter().map(|member| member.id.node).collect()
    }

    /// Whether those who still count know it.
    fn is_known(&self, turn: &Turn<'_>) -> bool {
        let next = &self.decided.view;
        if next.members.is_empty() {
            return self.audience().iter().all(|&node| {
                node == self.node || self.installed.contains(&node) || turn.detector.has_ended(node)
            });
        }
        is_quorum(next, turn.bugs(), |rank| self.installed.contains(&next.members[rank].id.node))
    }

    /// Whether nobody is left who could ask: their processes have ended, or they have been
    /// suspected for long and could find a decision of their own without this member.
    fn is_alone(&self, turn: &Turn<'_>) -> bool {
        let mut audience = self.audience().into_iter();
        let ended = |node| self.installed.contains(&node) || turn.detector.has_ended(node);
        let gone = |node| self.installed.contains(&node) || turn.detector.suspects(node);
        let next = &self.decided.view;
        let remains = |multicast: &Multicast| {
            let old = &multicast.view;
            let stays = |rank: usize| next.rank_of(old.members[rank].id).is_some();
            is_quorum(old, turn.bugs(), stays)
        };
        audience.clone().all(ended)
            || self.tries > LONELY
                && audience.all(gone)
                && self.multicast.as_ref().is_some_and(remains)
    }

    fn finish(&mut self, turn: &mut Turn<'_>) {
        if self.done || !(self.is_known(turn) || self.is_alone(turn) || self.tries > TRIES) {
            return;
        }
        self.done = true;
        if let Some(decided) = self.leaver {
            let (group, view) = (self.header.group, self.header.view);
            turn.out.push(Output::Left { group, view, decided });
        }
    }

    /// Answers what concerns the last view.
    pub(crate) fn hear(&mut self, turn: &mut Turn<'_>, incoming: &Incoming) {
        let peer = incoming.peer;
        match &incoming.message {
            Message::Installed if incoming.view > self.header.view => {
                self.installed.insert(peer);
                self.finish(turn);
            }
            Message::NotHere { .. } if incoming.view == self.header.view => {
                self.installed.insert(peer);
                self.finish(turn);
            }
            // Beyond the next view: a quorum of that has installed it, else there were no later
            // one. Who is in the next view itself speaks for itself alone (seed 206395).
            Message::Excluded { entry } if *entry == self.header.entry || *entry == 0 => {
                match incoming.view > self.header.view + 1 {
                    true => self.installed.extend(self.audience()),
                    false => drop(self.installed.insert(peer)),
                }
                self.finish(turn);
            }
            Message::Install { proposal }
                if *proposal == self.decision && incoming.view > self.header.view =>
            {
                self.installed.insert(peer);
                self.finish(turn);
            }
            Message::Fetch { lanes, records } if incoming.view == self.header.view => {
                if let Some(multicast) = &self.multicast
                    && let Some((message, bodies)) = fetch::answer(multicast, peer, lanes, *records)
                {
                    turn.cast(self.header, [peer], Traffic::Bulk, message, &bodies);
                }
            }
            Message::Install { proposal }
                if self.decided.view.members.is_empty()
                    && *proposal == self.decision
                    && self.installed.insert(peer) =>
            {
                // Everybody leaves: whoever tells the decision knows it.
                self.tell(turn, [peer]);
                self.finish(turn);
            }
            Message::Data(_)
            | Message::Sync { .. }
            | Message::Prepare { .. }
            | Message::Promise { .. }
            | Message::Propose { .. }
            | Message::Nudge(_)
                if incoming.view == self.header.view =>
            {
                self.tell(turn, [peer]);
            }
            _ => {}
        }
    }

    /// A peer's heartbeat says that it is still in the last view (L3).
    pub(crate) fn on_digest(&self, turn: &mut Turn<'_>, peer: NodeId, view: ViewNumber) {
        if view == self.header.view {
            self.tell(turn, [peer]);
        }
    }

    fn tell(&self, turn: &mut Turn<'_>, to: impl IntoIterator<Item = NodeId>) {
        turn.marks.told_after += 1;
        let message = Message::Install { proposal: self.decision.clone() };
        turn.cast(self.header, to, Traffic::Control, message, &[]);
    }

    /// Tells the decision to those who have not confirmed it.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        if turn.now < self.due {
            return;
        }
        self.tries += 1;
        self.due = turn.now + turn.config.change_retry * u64::from(self.tries.min(10));
        let audience = self.audience();
        let to = audience.into_iter().filter(|node| !self.installed.contains(node));
        self.tell(turn, to);
        // Others may vouch for one that cannot be reached from here.
        let silent = |node: &NodeId| {
            self.installed.contains(node)
                || turn.detector.suspects(*node)
                || !turn.detector.is_connected(*node)
        };
        let asks = !turn.bugs().has(Bug::AskNoStrangers);
        self.lost = asks && self.audience().iter().all(silent);
        self.finish(turn);
    }
}
