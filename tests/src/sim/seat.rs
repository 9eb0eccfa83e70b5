//! What a host is to one group: its membership as the application sees it. Every output of the
//! engine is held against what came before it.

use std::collections::{BTreeMap, VecDeque};

use vsync_core::engine::{Delivery, Install, Run};
use vsync_core::wire::{Cut, GroupId, MemberId, NodeId, View};
use vsync_history::event::Event;

use super::app::App;
use super::judge::{Judge, Submitted};
use super::record::{Pen, Recorder};

/// How far the host is with the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not in it.
    Out,
    /// Asked to come in, with this nonce.
    Joining(u64),
    /// In a view, as far as the application knows.
    Member,
    /// Asked to leave.
    Leaving,
}

/// What was there when a flush was asked for.
#[derive(Clone, Debug)]
struct Wait {
    view: u64,
    delivered: Vec<u64>,
    submitted: u64,
}

/// A membership.
#[derive(Debug)]
pub(crate) struct Seat {
    /// The group.
    pub(crate) group: GroupId,
    /// How far it is.
    pub(crate) phase: Phase,
    /// Whether the host wants to be a member.
    pub(crate) wanted: bool,
    /// The member, from its first install on.
    pub(crate) me: Option<MemberId>,
    /// The view of the application.
    pub(crate) view: Option<View>,
    /// Own rank in it.
    pub(crate) rank: usize,
    /// The state.
    pub(crate) app: App,
    /// Delivered in this view, by rank.
    pub(crate) delivered: Vec<u64>,
    /// The stable cut.
    pub(crate) stable: Cut,
    /// Bytes that may be submitted.
    pub(crate) credit: i64,
    /// Submitted, without a number yet.
    pub(crate) pending: VecDeque<Submitted>,
    /// Whether the engine said that there is no quorum.
    pub(crate) blocked: bool,
    positions: u64,
    sent: u64,
    submitted: u64,
    /// Own updates that got their number: the view and the number, by order of submission.
    numbered: Vec<(u64, u64)>,
    waits: BTreeMap<u64, Wait>,
    loaded: Option<Event>,
    /// The checkpoint as far as it has come, of which view and whom.
    pieces: Option<((u64, MemberId), Vec<u8>)>,
}

/// Where a seat writes and complains.
pub(crate) struct Desk<'a> {
    /// The host.
    pub(crate) host: usize,
    /// Its node.
    pub(crate) node: NodeId,
    /// The time of the world.
    pub(crate) t: u64,
    /// The oracle.
    pub(crate) judge: &'a mut Judge,
    /// The history.
    pub(crate) recorder: &'a mut Recorder,
}

impl Desk<'_> {
    fn fail(&mut self, check: &'static str, what: String) {
        let host = self.host;
        self.judge.fail(check, format!("n{host}: {what}"));
    }
}

impl Seat {
    /// Not in the group.
    pub(crate) fn new(group: GroupId) -> Self {
        Seat {
            group,
            phase: Phase::Out,
            wanted: false,
            me: None,
            view: None,
            rank: 0,
            app: App::default(),
            delivered: Vec::new(),
            stable: Cut::default(),
            credit: 0,
            pending: VecDeque::new(),
            blocked: false,
            positions: 0,
            sent: 0,
            submitted: 0,
            numbered: Vec::new(),
            waits: BTreeMap::new(),
            loaded: None,
            pieces: None,
        }
    }

    /// The membership is over, or another one begins.
    pub(crate) fn reset(&mut self, phase: Phase) {
        let wanted = self.wanted;
        *self = Seat { phase, wanted, ..Seat::new(self.group) };
    }

    /// The installed view's number; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.view.as_ref().map_or(0, |view| view.number)
    }

    /// Whether it is active in its view.
    pub(crate) fn is_active(&self) -> bool {
        self.view.as_ref().is_some_and(|view| view.is_active(self.rank))
    }

    /// Updates are handed to the engine.
    pub(crate) fn submit(&mut self, desk: &mut Desk<'_>, updates: &[Submitted], bytes: u64) {
        if let Some(pen) = self.pen(desk) {
            updates.chunk_by(|one, other| one.class == other.class).for_each(|run| {
                desk.recorder.submit(pen, run.len() as u64, run[0].class);
            });
        }
        self.submitted += updates.len() as u64;
        self.pending.extend(updates);
        self.credit -= bytes as i64;
    }

    /// A flush is asked for.
    pub(crate) fn flush(&mut self, desk: &mut Desk<'_>, id: u64) {
        self.write(desk, Event::Flush { id });
        let (view, delivered) = (self.number(), self.delivered.clone());
        self.waits.insert(id, Wait { view, delivered, submitted: self.submitted });
    }

    fn pen(&self, desk: &Desk<'_>) -> Option<Pen> {
        Some(Pen { host: desk.host, t: desk.t, group: self.group, member: self.me? })
    }

    /// Writes a line, if the application is in a view.
    pub(crate) fn write(&self, desk: &mut Desk<'_>, event: Event) {
        if let Some(pen) = self.pen(desk) {
            desk.recorder.write(pen, event);
        }
    }

    /// `Output::Sent`.
    pub(crate) fn on_sent(&mut self, desk: &mut Desk<'_>, view: u64, seq: u64, run: Run) {
        let (Some(me), Some(pen)) = (self.me, self.pen(desk)) else {
            return desk.fail("outputs", format!("Sent in view {view} before the first view"));
        };
        if view != self.number() || seq != self.sent || !self.is_active() || run.count == 0 {
            let what = format!("Sent {view}/{seq}, expected {}/{}", self.number(), self.sent);
            desk.fail("outputs", what);
        }
        self.sent = seq + u64::from(run.count);
        self.numbered.extend((seq..self.sent).map(|seq| (view, seq)));
        let count = self.pending.len().min(run.count as usize);
        desk.judge.sent(self.group, view, me, run, self.pending.drain(..count));
        desk.recorder.send(pen, view, seq, run);
    }

    /// `Output::Deliver`.
    pub(crate) fn on_deliver(&mut self, desk: &mut Desk<'_>, delivery: &Delivery) {
        let Some(pen) = self.pen(desk) else {
            return desk.fail("outputs", "Deliver before the first view".into());
        };
        let Some(view) = &self.view else { return };
        let sender = view.members.get(delivery.rank).map(|member| member.id);
        if view.number != delivery.view || sender != Some(delivery.sender) {
            let what = format!("Deliver of view {} in {}", delivery.view, view.number);
            return desk.fail("outputs", what);
        }
        if self.delivered[delivery.rank] != delivery.seq || delivery.count == 0 {
            let have = self.delivered[delivery.rank];
            let what = format!("Deliver {} of {:?} after {have}", delivery.seq, delivery.sender);
            desk.fail("outputs", what);
        }
        let count = u64::from(delivery.count);
        self.delivered[delivery.rank] = delivery.seq + count;
        let total = delivery.class == vsync_core::engine::Class::Total;
        let right = match delivery.position {
            Some(position) => total && position == self.positions,
            None => !total,
        };
        if !right {
            let what = format!("position {:?} after {}", delivery.position, self.positions);
            desk.fail("outputs", what);
        }
        self.positions += delivery.position.map_or(0, |_| count);
        desk.judge.deliver(desk.host, delivery, &mut self.app);
        desk.recorder.deliver(pen, delivery);
    }

    /// `Output::Install`. Returns whether nobody had installed this view before.
    pub(crate) fn on_install(&mut self, desk: &mut Desk<'_>, install: &Install) -> bool {
        let number = install.view.number;
        let Some(me) = install.view.members.get(install.rank).map(|member| member.id) else {
            desk.fail("outputs", format!("Install {number} with rank {}", install.rank));
            return false;
        };
        if me.node != desk.node || self.me.is_some_and(|before| before != me) {
            desk.fail("outputs", format!("Install {number} as {me:?}, not {:?}", self.me));
        }
        if self.view.is_some() && self.delivered != install.cut.counts {
            let what = format!(
                "Install {number} with {:?} delivered, not {:?}",
                self.delivered, install.cut.counts
            );
            desk.fail("outputs", what);
        }
        self.me = Some(me);
        let Some(pen) = self.pen(desk) else {
            return false;
        };
        if self.view.is_none() {
            match self.loaded.take() {
                Some(event) => desk.recorder.write(pen, event),
                None if number == 1 => {}
                None => desk.fail("outputs", format!("first Install {number} before Loaded")),
            }
        }
        let fresh = desk.judge.install(desk.host, install, self.app);
        desk.recorder.view(pen, install);
        self.rank = install.rank;
        self.delivered = vec![0; install.view.members.len()];
        self.stable = Cut::new(install.view.members.len());
        self.view = Some((*install.view).clone());
        (self.positions, self.sent) = (0, 0);
        if matches!(self.phase, Phase::Joining(_)) {
            self.phase = Phase::Member;
        }
        fresh
    }

    /// `Output::TakeCheckpoint`.
    pub(crate) fn on_checkpoint(&mut self, desk: &mut Desk<'_>, label: u64, joiners: &[MemberId]) {
        if label != self.number() || self.delivered.iter().any(|&count| count > 0) {
            let what = format!("TakeCheckpoint {label} in view {}", self.number());
            desk.fail("outputs", what);
        }
        let bytes = self.app.save().len() as u64;
        let hash = format!("{:016x}", self.app.digest());
        for &joiner in joiners {
            let r#for = desk.recorder.id(joiner);
            let event = Event::Checkpoint {
                view: label,
                delivered: None,
                bytes,
                hash: hash.clone(),
                r#for,
            };
            self.write(desk, event);
        }
    }

    /// `Output::Load`.
    pub(crate) fn on_load(
        &mut self,
        desk: &mut Desk<'_>,
        of: (u64, MemberId),
        offset: u64,
        bytes: &[u8],
    ) {
        if offset == 0 {
            self.pieces = Some((of, Vec::new()));
        }
        match &mut self.pieces {
            Some((transfer, pieces)) if *transfer == of && pieces.len() as u64 == offset => {
                pieces.extend_from_slice(bytes);
            }
            other => {
                let what = format!("Load {of:?} at {offset} after {other:?}");
                desk.fail("outputs", what);
            }
        }
    }

    /// `Output::Loaded`.
    pub(crate) fn on_loaded(&mut self, desk: &mut Desk<'_>, label: u64, donor: MemberId) {
        let pieces = self.pieces.take().filter(|(of, _)| *of == (label, donor));
        let bytes = &pieces.map(|(_, bytes)| bytes).unwrap_or_default();
        if self.view.is_some() || self.loaded.is_some() {
            desk.fail("outputs", format!("Loaded {label} in the middle"));
        }
        let Some(app) = App::load(bytes) else {
            return desk.fail("outputs", format!("Loaded {label}: {} wrong bytes", bytes.len()));
        };
        self.app = app;
        self.loaded = Some(Event::Loaded {
            view: label,
            bytes: bytes.len() as u64,
            hash: format!("{:016x}", app.digest()),
            from: desk.recorder.id(donor),
        });
    }

    /// `Output::Stable`.
    pub(crate) fn on_stable(&mut self, desk: &mut Desk<'_>, number: u64, cut: &Cut) {
        let Some(view) = self.view.as_ref().filter(|view| view.number == number) else {
            let what = format!("Stable of view {number} in view {}", self.number());
            return desk.fail("outputs", what);
        };
        if !cut.covers(&self.stable) || cut.counts.len() != view.members.len() {
            desk.fail("outputs", format!("Stable {cut:?} after {:?}", self.stable));
        }
        let counts = desk.recorder.cut(view, cut);
        self.stable = cut.clone();
        self.write(desk, Event::Stable { view: number, cut: counts, extent: cut.extent });
    }

    /// `Output::Accepted`. A joiner may accept before its application has come that far.
    pub(crate) fn on_accepted(
        &self,
        desk: &mut Desk<'_>,
        number: u64,
        event: impl FnOnce() -> Event,
    ) {
        if self.number() == number {
            self.write(desk, event());
        }
    }

    /// `Output::Flushed`.
    pub(crate) fn on_flushed(&mut self, desk: &mut Desk<'_>, id: u64) {
        let Some(wait) = self.waits.remove(&id) else {
            return desk.fail("flush", format!("flush {id} was not asked for"));
        };
        self.write(desk, Event::Flushed { id });
        let now = self.number();
        let covered = |rank: usize, count: u64| count <= self.stable.count(rank);
        if wait.view == now
            && wait.delivered.iter().enumerate().any(|(rank, &count)| !covered(rank, count))
        {
            let what = format!("{:?} delivered, only {:?} stable", wait.delivered, self.stable);
            desk.fail("flush", what);
        }
        let own = self.numbered.iter().take(wait.submitted as usize);
        let stable = own.filter(|(view, seq)| *view < now || covered(self.rank, seq + 1)).count();
        if (stable as u64) < wait.submitted {
            let what = format!("{stable} of {} own updates are stable", wait.submitted);
            desk.fail("flush", what);
        }
    }

    /// `Output::Credit`.
    pub(crate) fn on_credit(&mut self, desk: &mut Desk<'_>, bytes: u64, window: usize) {
        self.credit += bytes as i64;
        // A view's window opens while the one before is still being freed.
        if self.credit > 2 * window as i64 {
            desk.fail("credit", format!("{} bytes of credit, window {window}", self.credit));
        }
    }

    /// `Output::Excluded` or `Output::Left`.
    pub(crate) fn on_end(
        &mut self,
        desk: &mut Desk<'_>,
        number: u64,
        own: Option<u64>,
        event: Event,
    ) {
        // The protocol may be ahead of an application whose checkpoint is still under way.
        if self.view.is_some() && number != self.number() {
            desk.fail("outputs", format!("the end in view {number}, not {}", self.number()));
        }
        if let (Some(own), Some(me)) = (own, self.me) {
            desk.judge.told(self.group, number, me, own);
        }
        self.write(desk, event);
        self.reset(Phase::Out);
    }

    /// Whether nothing is under way here.
    ///
    /// # Errors
    /// What is.
    pub(crate) fn at_rest(&self, judge: &Judge) -> Result<(), String> {
        let Some(view) = &self.view else {
            return Err("has no view".into());
        };
        if !self.is_active() {
            return Err(format!("is not active in view {}", view.number));
        }
        if !self.pending.is_empty() {
            return Err(format!("{} updates without a number", self.pending.len()));
        }
        if !self.waits.is_empty() {
            return Err(format!("{} flushes without an answer", self.waits.len()));
        }
        if self.blocked {
            return Err("is blocked".into());
        }
        for (rank, member) in view.members.iter().enumerate() {
            let sent = judge.count(self.group, view.number, member.id);
            let (delivered, stable) = (self.delivered[rank], self.stable.count(rank));
            if delivered != sent || stable != sent {
                let of = member.id;
                return Err(format!("{delivered} delivered, {stable} stable of {sent} of {of:?}"));
            }
        }
        Ok(())
    }
}
