//! Fetching in a view change: what some promiser has and this member lacks.

use alloc::vec::Vec;

use bytes::Bytes;

use super::Turn;
use super::member::Membership;
use crate::engine::{DropReason, Traffic};
use crate::multicast::Multicast;
use crate::wire::messages::{BatchHead, Message, Records};
use crate::wire::{Cut, NodeId, ViewNumber};

/// Most bytes of bodies in one answer; the rest is fetched again.
const ANSWER: usize = 1 << 20;

/// What is missing up to `want`: lanes with range, and the range of positions.
pub(crate) fn missing(multicast: &Multicast, want: &Cut) -> Option<Message> {
    let mut lanes = Vec::new();
    for (rank, lane) in multicast.lanes.iter().enumerate() {
        if lane.end() < want.count(rank) {
            lanes.push((rank as u32, lane.end(), want.count(rank)));
        }
    }
    let have = multicast.log.extent();
    let records = (have, want.extent.max(have));
    (!lanes.is_empty() || records.0 < records.1).then_some(Message::Fetch { lanes, records })
}

/// Answers a fetch from a view's lanes, as far as one message carries.
pub(crate) fn answer(
    multicast: &Multicast,
    peer: NodeId,
    lanes: &[(u32, u64, u64)],
    records: (u64, u64),
) -> Option<(Message, Vec<Bytes>)> {
    // Only members of the view have to do with what was said in it.
    multicast.view.rank_of_node(peer)?;
    let mut bodies: Vec<Bytes> = Vec::new();
    let mut bytes = 0;
    let mut found = Vec::new();
    for &(rank, from, to) in lanes {
        let mut heads = Vec::new();
        for batch in multicast.lane_range(rank as usize, from, to) {
            if bytes > 0 && bytes + batch.body.len() > ANSWER {
                break;
            }
            bytes += batch.body.len();
            heads.push(batch.head());
            bodies.push(batch.body.clone());
        }
        if !heads.is_empty() {
            found.push((rank, heads));
        }
    }
    let wanted = records.0 < records.1.min(multicast.log.extent());
    // Where all of it was freed there is nothing to answer.
    let records = wanted.then(|| multicast.log.range(records.0, records.1));
    let records = records.filter(|records| !records.runs.is_empty());
    let any = !found.is_empty() || records.is_some();
    any.then_some((Message::Fetched { lanes: found, records }, bodies))
}

impl Membership {
    /// Asks `from` for what is missing up to `want`. Returns whether anything is.
    pub(crate) fn fetch(&mut self, turn: &mut Turn<'_>, from: NodeId, want: &Cut) -> bool {
        match missing(&self.multicast, want) {
            Some(message) => {
                self.send(turn, [from], Traffic::Control, message);
                true
            }
            None => false,
        }
    }

    /// Answers from the installed view or from the one before.
    pub(crate) fn on_fetch(
        &mut self,
        turn: &mut Turn<'_>,
        peer: NodeId,
        view: ViewNumber,
        lanes: &[(u32, u64, u64)],
        records: (u64, u64),
    ) {
        let source = if view == self.view().number {
            Some(&self.multicast)
        } else {
            let closed = self.rare.closed.as_ref().map(|closed| &closed.multicast);
            closed.filter(|multicast| multicast.view.number == view)
        };
        let Some(source) = source else {
            return turn.dropped(peer, DropReason::OldView);
        };
        if let Some((message, bodies)) = answer(source, peer, lanes, records) {
            let header = super::Header { view, ..self.header() };
            turn.cast(header, [peer], Traffic::Bulk, message, &bodies);
        }
    }

    /// Holds what a fetch brought: it is delivered at the install, or never.
    pub(crate) fn on_fetched(
        &mut self,
        turn: &mut Turn<'_>,
        peer: NodeId,
        lanes: Vec<(u32, Vec<BatchHead>)>,
        records: Option<Records>,
        mut bodies: Bytes,
    ) {
        if !self.is_frozen() {
            return turn.dropped(peer, DropReason::OldView);
        }
        let mut new = false;
        for (rank, heads) in lanes {
            let rank = rank as usize;
            // The own lane is complete here by definition.
            if rank >= self.view().members.len() || rank == self.rank() {
                return turn.dropped(peer, DropReason::Invalid);
            }
            turn.marks.fetched += heads.len() as u64;
            match self.multicast.receive(rank, heads, &mut bodies) {
                Ok(some) => new |= some,
                Err(reason) => return turn.dropped(peer, reason),
            }
        }
        if let Some(records) = records
            && let Err(reason) = self.multicast.receive_records(&records)
        {
            turn.dropped(peer, reason);
            if !new {
                // No progress: to ask again at once would go on for ever.
                return;
            }
        }
        self.progress = turn.now;
        if turn.bugs().has(crate::bugs::Bug::DeliverHeld) && self.loading.is_done() {
            let mut deliveries = Vec::new();
            self.multicast.pump(self.id, &mut deliveries);
            for delivery in deliveries {
                turn.out.push(crate::engine::Output::Deliver(delivery));
            }
        }
        self.advance_change(turn, Some(peer));
    }
}
