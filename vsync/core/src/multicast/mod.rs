//! Floor 2: the multicast of one view. Built at its install, closed at the next: there is no reset.

mod pace;
mod stability;
mod tally;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::bugs::{Bug, Bugs};
use crate::engine::{Delivery, DropReason, EngineConfig, Run};
use crate::moment::Moment;
use crate::ordering::{Batch, Deliver, Lane, Log, Number, Piece, Push, Stabilise, Walk};
use crate::seldom::Seldom;
use crate::wire::messages::{BatchHead, Data, Hurry, Record, Records};
use crate::wire::{Cut, GroupId, Micros, Rank, SharedView, codec};
use pace::Pace;
use tally::Tally;

/// What a submitted piece costs beyond its bytes, here and on the wire: charged to the window, so
/// that its bound holds for small updates, too.
const OVERHEAD: usize = 64;

/// Most bytes of one message that sends again.
const RESEND: usize = 1 << 20;

/// One view's lanes, order, acknowledgements and marks, as one member sees them.
#[derive(Clone, Debug)]
pub(crate) struct Multicast {
    pub(crate) view: SharedView,
    pub(crate) me: Rank,
    causal: bool,
    bugs: Bugs,
    pub(crate) lanes: Box<[Lane]>,
    pub(crate) log: Log,
    /// What was delivered here.
    pub(crate) delivered: Walk,
    /// What is stable, as far as is known here.
    pub(crate) stable: Walk,
    /// Sequencer: what has been considered for a position.
    numbered: Walk,
    tally: Seldom<Tally>,
    /// When an acknowledgement that is owed goes out at the latest.
    ack_due: Moment,
    /// It is asked for, and goes with the next batch.
    ack_asked: bool,
    /// Somebody has asked everybody lately: until then it may wait for what was on its way.
    pub(crate) asked_until: Micros,
    /// Ask for acknowledgements with the next batch.
    hurry: Hurry,
    /// Only with S10's planted bug: the stamp of the moment when the batch opened.
    opened_at: Option<Box<(Vec<u64>, u64)>>,
    /// Only with the planted bug: records that wait, and for how much of lane 0.
    #[expect(clippy::box_collection, reason = "nobody has any: a pointer, not an empty queue")]
    late: Option<Box<VecDeque<(u64, Records)>>>,
    pub(crate) pace: Pace,
    /// When the slowest member last made progress on the own lane.
    pub(crate) progress: Micros,
    /// Nothing is acknowledged: the application cannot keep up.
    pub(crate) holds: bool,
    /// When a member that does not acknowledge is asked what it has.
    pub(crate) nag_due: Moment,
}

impl Multicast {
    pub(crate) fn new(
        view: SharedView,
        me: Rank,
        (causal, window): (bool, usize),
        engine: &EngineConfig,
        time: u64,
    ) -> Self {
        let n = view.members.len();
        Multicast {
            me,
            causal,
            bugs: engine.bugs,
            lanes: alloc::vec![Lane::default(); n].into(),
            log: Log::new(time),
            delivered: Walk::new(n),
            stable: Walk::new(n),
            numbered: Walk::new(if me == 0 { n } else { 0 }),
            tally: Seldom::default(),
            ack_due: Moment::NONE,
            ack_asked: false,
            asked_until: 0,
            hurry: Hurry::No,
            opened_at: None,
            late: None,
            pace: Pace::new(window, engine.least_window),
            progress: 0,
            holds: false,
            nag_due: Moment::NONE,
            view,
        }
    }

    fn is_sequencer(&self) -> bool {
        self.me == 0
    }

    /// What was received, as acknowledgements, promises and handshakes tell it: closed batches and
    /// the order extent (L5).
    pub(crate) fn received(&self) -> Cut {
        let counts = self.lanes.iter().map(Lane::closed).collect();
        Cut { counts, extent: self.log.extent() }
    }

    /// Own updates numbered in this view.
    pub(crate) fn own_end(&self) -> u64 {
        self.lanes[self.me].end()
    }

    /// Nothing is under way: gives back the room of what is empty.
    pub(crate) fn rest(&mut self) {
        self.lanes.iter_mut().for_each(Lane::rest);
        self.log.rest();
        if let Some(tally) = self.tally.made() {
            tally.rest();
        }
        self.tally.rest();
    }

    /// Bytes of batches kept.
    pub(crate) fn retained(&self) -> usize {
        self.lanes.iter().map(Lane::bytes).sum()
    }

    /// Own bytes not yet known to be held by all.
    pub(crate) fn own_bytes(&self) -> usize {
        self.tally.own_bytes
    }

    /// Whether no more own updates may be numbered now.
    pub(crate) fn is_full(&self) -> bool {
        self.tally.own_bytes >= self.pace.limit()
    }

    /// Numbers own updates of one class; returns the number of the first.
    pub(crate) fn submit(&mut self, run: Run, body: Bytes, wall: u64, urgent: bool) -> u64 {
        let first = self.own_end();
        if !self.lanes[self.me].is_open() && self.bugs.has(Bug::StampAtOpen) {
            let counts = self.delivered.counts.to_vec();
            self.opened_at = Some(Box::new((counts, self.delivered.order.position)));
        }
        let count = u64::from(run.count);
        let bytes = body.len() + OVERHEAD;
        let tally = self.tally.make();
        tally.own_bytes += bytes;
        tally.own.push_back((first + count, bytes));
        // The batch has one time: what is delivered here before it closes must show the same.
        let wall = self.lanes[self.me].open_wall().unwrap_or(wall);
        let runs = alloc::vec![run];
        let batch = Batch { first, count, stamp: None, k: 0, wall, runs, body };
        self.lanes[self.me].push_open(batch);
        if urgent {
            self.hurry = self.hurry.max(Hurry::Sender);
        }
        first
    }

    /// Closes the open batch: its stamp is taken now (S10).
    pub(crate) fn close_batch(&mut self) {
        let (counts, k) = match self.opened_at.take() {
            Some(opened) => *opened,
            None => (self.delivered.counts.to_vec(), self.delivered.order.position),
        };
        self.lanes[self.me].close(self.causal.then_some(counts), k);
        if self.is_sequencer() {
            self.number();
        }
    }

    /// Gives positions to the totals that are ready.
    fn number(&mut self) {
        if self.numbered.is_through(&self.lanes) {
            return;
        }
        // The own open batch has no stamp yet, so it can't be ready: its lane ends before it.
        let mut rule = Closed { inner: Number { log: &mut self.log }, lanes: &self.lanes };
        self.numbered.advance(&self.lanes, &mut rule);
    }

    /// What waits to be sent: own batches, records, and an acknowledgement if one is owed.
    pub(crate) fn take_data(&mut self, now: Micros) -> Option<(Data, Vec<Bytes>)> {
        let mut data = Data { hurry: self.hurry, ..Data::default() };
        let mut bodies = Vec::new();
        let lane = &self.lanes[self.me];
        for batch in lane.range(self.tally.sent, lane.closed()) {
            data.batches.push(batch.head());
            bodies.push(batch.body.clone());
        }
        if self.tally.sent < lane.closed() {
            self.tally.make().sent = lane.closed();
        }
        let announced = self.tally.announced;
        if self.is_sequencer() && announced < self.log.extent() {
            data.records = Some(self.log.range(announced, self.log.extent()));
            self.tally.make().announced = self.log.extent();
            if self.waited_for() {
                data.hurry = Hurry::All;
            }
        }
        let news = !data.batches.is_empty() || data.records.is_some();
        if news || data.hurry != Hurry::No || self.ack_is_due(now) {
            self.hurry = Hurry::No;
            data.ack = self.take_ack();
            if data.ack.is_some() || news || data.hurry != Hurry::No {
                return Some((data, bodies));
            }
        }
        None
    }

    /// Everything of the own lane (and, sequencer, of the order) beyond what a peer has, in
    /// messages of bounded size.
    pub(crate) fn resend(&mut self, have: &Cut) -> Vec<(Data, Vec<Bytes>)> {
        if self.bugs.has(Bug::NoResend) {
            return Vec::new();
        }
        let mut messages = Vec::new();
        let fresh = || (Data { hurry: Hurry::All, ..Data::default() }, Vec::new());
        let (mut data, mut bodies) = fresh();
        let mut bytes = 0;
        for batch in self.lanes[self.me].range(have.count(self.me), self.tally.sent) {
            if bytes > 0 && bytes + batch.body.len() > RESEND {
                let (next, none) = fresh();
                messages.push((
                    core::mem::replace(&mut data, next),
                    core::mem::replace(&mut bodies, none),
                ));
                bytes = 0;
            }
            bytes += batch.body.len() + OVERHEAD;
            data.batches.push(batch.head());
            bodies.push(batch.body.clone());
        }
        if self.is_sequencer()
            && have.extent < self.tally.announced
            && !self.bugs.has(Bug::RecordsNotResent)
        {
            data.records = Some(self.log.range(have.extent, self.tally.announced));
        }
        if !data.batches.is_empty() || data.records.is_some() {
            messages.push((data, bodies));
        }
        if let Some((last, _)) = messages.last_mut() {
            last.ack = (!self.holds).then(|| self.received());
        }
        messages
    }

    /// Takes a member's batches in.
    pub(crate) fn receive(
        &mut self,
        from: Rank,
        heads: Vec<BatchHead>,
        bodies: &mut Bytes,
    ) -> Result<bool, DropReason> {
        let mut new = false;
        for head in heads {
            let body = bodies.split_to((head.length as usize).min(bodies.len()));
            let bytes = body.len();
            let batch = Batch::new(head, body).ok_or(DropReason::Invalid)?;
            let (stamp, count) = (batch.stamp.as_ref().map(Vec::len), batch.count as usize);
            if stamp != self.causal.then_some(self.lanes.len()) || !self.view.is_active(from) {
                return Err(DropReason::Invalid);
            }
            match self.lanes[from].push(batch) {
                Push::New => {
                    new = true;
                    self.owe(from, bytes, count);
                }
                Push::Known if self.bugs.has(Bug::ReceiveTwice) => self.push_again(from),
                Push::Known => {}
                Push::Gap => return Err(DropReason::Gap),
                Push::Invalid => return Err(DropReason::Invalid),
            }
        }
        Ok(new)
    }

    /// Only with the planted bug: the last batch counts once more.
    fn push_again(&mut self, from: Rank) {
        let end = self.lanes[from].end();
        if let Some(last) = self.lanes[from].at(end.saturating_sub(1)).cloned() {
            self.lanes[from].push(Batch { first: end, ..last });
        }
    }

    /// Only with the planted bug: records wait until what the sequencer sent before them is
    /// delivered.
    fn late_records(&mut self) {
        while let Some(late) = &mut self.late
            && let Some((after, _)) = late.front()
            && *after <= self.delivered.counts[0]
            && let Some((_, records)) = late.pop_front()
        {
            self.log.receive(&records);
        }
    }

    /// Takes order records in: they take effect on receipt.
    pub(crate) fn receive_records(&mut self, records: &Records) -> Result<(), DropReason> {
        let known = |rank: u32| self.view.is_active(rank as usize);
        if !records.runs.iter().all(|r| known(r.rank) && r.count > 0) {
            return Err(DropReason::Invalid);
        }
        if self.bugs.has(Bug::RecordsOnDelivery) {
            let late = self.late.get_or_insert_default();
            late.push_back((self.lanes[0].end(), records.clone()));
            return Ok(());
        }
        if self.log.receive(records) { Ok(()) } else { Err(DropReason::Gap) }
    }

    /// Delivers what the orders allow. Sequencer: numbers first.
    pub(crate) fn pump(&mut self, group: GroupId, out: &mut Vec<Delivery>) {
        if self.is_sequencer() {
            self.number();
        }
        self.late_records();
        if self.delivered.is_through(&self.lanes) {
            return;
        }
        let mut pieces = Vec::new();
        let limit: Vec<u64> = self.lanes.iter().map(Lane::end).collect();
        let mut rule = Deliver {
            log: &self.log,
            limit: &limit,
            stable: Some(&self.stable.counts),
            pieces: &mut pieces,
            bugs: self.bugs,
        };
        self.delivered.advance(&self.lanes, &mut rule);
        self.emit(group, pieces, out);
    }

    /// Whether all of a final cut can be delivered here in the decided order: what
    /// [`Multicast::finish`] relies on.
    pub(crate) fn fits(&self, cut: &[u64], base: u64, tail: &[Record]) -> bool {
        let mut walk = self.delivered.clone();
        let ahead = |(&delivered, &count): (&u64, &u64)| delivered > count;
        if walk.counts.iter().zip(cut).any(ahead)
            || !(walk.order.position..=self.log.extent()).contains(&base)
        {
            return false;
        }
        let mut log = self.log.clone();
        log.decide(base, tail);
        let mut pieces = Vec::new();
        let (bugs, pieces) = (self.bugs, &mut pieces);
        let mut rule = Deliver { log: &log, limit: cut, stable: None, pieces, bugs };
        walk.advance(&self.lanes, &mut rule);
        *walk.counts == *cut
    }

    /// Delivers the rest of the final cut in the decided order; all of it is stable.
    pub(crate) fn finish(
        &mut self,
        group: GroupId,
        cut: &[u64],
        base: u64,
        tail: &[Record],
        out: &mut Vec<Delivery>,
    ) {
        assert!(
            self.delivered.counts.iter().zip(cut).all(|(&d, &c)| d <= c),
            "delivered {:?} beyond the cut {cut:?} of view {}, and survives",
            self.delivered.counts,
            self.view.number
        );
        assert!(
            self.delivered.order.position <= base && base <= self.log.extent(),
            "the decided order keeps {base} positions; {} delivered, {} known",
            self.delivered.order.position,
            self.log.extent()
        );
        self.log.decide(base, tail);
        let mut pieces = Vec::new();
        let mut rule = Deliver {
            log: &self.log,
            limit: cut,
            stable: None,
            pieces: &mut pieces,
            bugs: self.bugs,
        };
        self.delivered.advance(&self.lanes, &mut rule);
        assert!(
            *self.delivered.counts == *cut,
            "the cut {cut:?} of view {} cannot be delivered beyond {:?}",
            self.view.number,
            self.delivered.counts
        );
        self.emit(group, pieces, out);
    }

    fn emit(&self, group: GroupId, pieces: Vec<Piece>, out: &mut Vec<Delivery>) {
        for piece in pieces {
            let lane = &self.lanes[piece.rank];
            let Some(batch) = lane.at(piece.seq) else {
                panic!("a piece just passed is in its lane")
            };
            let cut = || {
                if piece.count == batch.count {
                    return Some(batch.body.clone());
                }
                let from = codec::skip(&batch.body, 0, piece.seq - batch.first)?;
                let to = codec::skip(&batch.body, from, piece.count)?;
                Some(batch.body.slice(from..to))
            };
            let Some(body) = cut() else { panic!("bodies are checked when they come in") };
            out.push(Delivery {
                group,
                view: self.view.number,
                sender: self.view.members[piece.rank].id,
                rank: piece.rank,
                seq: piece.seq,
                count: piece.count as u32,
                class: piece.run.class,
                level: piece.run.level,
                position: piece.position.map(|(position, _)| position),
                time: piece.position.map_or(piece.wall, |(_, time)| time),
                body,
            });
        }
    }

    /// Whether another member's batch of `rank` can be answered with: what a fetch brings.
    pub(crate) fn lane_range(&self, rank: Rank, from: u64, to: u64) -> Vec<&Batch> {
        self.lanes.get(rank).map(|lane| lane.range(from, to).collect()).unwrap_or_default()
    }

    /// Finds the stable cut anew; returns it if it grew.
    pub(crate) fn stabilise(&mut self) -> Option<Cut> {
        if self.stable.is_through(&self.lanes) {
            return None;
        }
        let marks = self.quorum_marks();
        let mut rule = Stabilise {
            log: &self.log,
            marks: &marks.counts,
            extent: marks.extent,
            bugs: self.bugs,
        };
        self.stable.advance(&self.lanes, &mut rule).then(|| self.stable_cut())
    }

    pub(crate) fn stable_cut(&self) -> Cut {
        Cut { counts: self.stable.counts.to_vec(), extent: self.stable.order.position }
    }

    pub(crate) fn delivered_cut(&self) -> Cut {
        Cut { counts: self.delivered.counts.to_vec(), extent: self.delivered.order.position }
    }
}

/// A rule kept to the closed batches.
struct Closed<'a, R> {
    inner: R,
    lanes: &'a [Lane],
}

impl<R: crate::ordering::Rule> crate::ordering::Rule for Closed<'_, R> {
    fn allow(&mut self, walk: &mut Walk, head: &crate::ordering::Head<'_>) -> u64 {
        let closed = self.lanes[head.rank].closed();
        self.inner.allow(walk, head).min(closed.saturating_sub(head.seq))
    }

    fn passed(&mut self, walk: &mut Walk, head: &crate::ordering::Head<'_>, count: u64) {
        self.inner.passed(walk, head, count);
    }
}
