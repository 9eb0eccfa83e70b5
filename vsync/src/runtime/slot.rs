//! [`Slot`]: one group at the driver.

mod encoded;
mod held;
mod report;

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use vsync_core::engine::{Delivery, GroupConfig, Install, Level, Output, Run};
use vsync_core::wire::{self, Cut, GroupId, MemberId, Micros, NodeId};
use vsync_history::event::Event;

use self::encoded::Encoded;
pub(crate) use self::held::Held;
use self::held::is_of_transfer;
use super::away::{Absent, Applied, Entered, Entering, Job, Pace, Results};
use super::callers::{Callers, Ending, Takes};
use super::checkpoint::{Opened, Sealed};
use super::counts::Counts;
use super::history::{self, Names, Subject, Writer};
use super::inner::Sending;
use super::replica::{Broken, Installed, Loading, Replica, Taken};
use super::room::Room;
use super::seat::Seat;
use super::seldom::Seldom;
use super::transfer::{Handing, Incoming};
use super::{Opening, Outcome, Point, Progress};
use crate::alike::Latest;
use crate::error::NotApplied;
use crate::group::GroupEvent;
use crate::view::View;

/// Most groups of a type are configured alike.
static CONFIGS: Latest<GroupConfig> = Latest::new();

/// One group at the driver: its replica, who waits for it, and where this node stands in it.
pub(crate) struct Slot {
    pub(crate) seat: Arc<Seat>,
    pub(crate) config: Arc<GroupConfig>,
    pub(crate) callers: Callers,
    _last: Last,
    /// What it has gone through.
    pub(crate) counts: Counts,
    /// Who wants to know how becoming a member goes; `None` once it is active.
    pub(crate) progress: Option<mpsc::UnboundedSender<Progress>>,
    /// Who waits for the leave.
    pub(crate) leaving: Vec<oneshot::Sender<()>>,
    replica: Box<dyn Replica>,
    pace: Pace,
    /// The next range is applied elsewhere, however quick it is: the driver has others to serve.
    pub(crate) gives_way: bool,
    /// How long beginning a view takes.
    view_pace: Pace,
    /// Its membership was given up here, and what the engine still has to say of it is void.
    pub(crate) given_up: bool,
    /// What the replica is away for is void: another group of the name has begun since,
    starts_over: bool,
    /// by being made here.
    creates: bool,
    /// When the driver knows that this group has something to send of its own.
    pub(crate) alarm: Option<Micros>,
    /// While the replica works away from the driver: what waits for it.
    pub(crate) held: Option<Box<Held>>,
    /// Copies of the state that are being encoded beside delivery.
    encoding: Seldom<Encoded>,
    /// The checkpoint that is on its way to this member.
    pub(crate) incoming: Option<Box<Incoming>>,
    standing: Option<Standing>,
    /// The state knows of all views up to this one: the checkpoint was taken after their install.
    label: u64,
    /// History: how lines of this membership begin, and the names in its view.
    subject: Option<Box<Subject>>,
    names: Seldom<Names>,
}

/// When a slot is dropped, with its whole node, nobody hangs.
struct Last(Arc<Room>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Where this node stands, once a view is installed.
struct Standing {
    view: Arc<wire::View>,
    rank: usize,
}

/// What a step at this group is recorded to.
pub(crate) struct Record<'a> {
    pub(crate) writer: Option<&'a mut Writer>,
    pub(crate) now: Micros,
}

impl Record<'_> {
    fn write(&mut self, subject: Option<&Subject>, event: impl FnOnce() -> Event) {
        if let (Some(writer), Some(subject)) = (&mut self.writer, subject) {
            writer.write(self.now, subject, event());
        }
    }

    fn on(&self) -> bool {
        self.writer.is_some()
    }

    fn flush(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.flush();
        }
    }
}

impl Slot {
    pub(crate) fn new(opening: Opening) -> Slot {
        let Opening { seat, mut replica, config, contacts, progress, group } = opening;
        if contacts.is_none() {
            replica.create();
        }
        seat.begin(group, config.generation);
        let room = &seat.outbox.room;
        let (callers, last) = (Callers::new(Arc::clone(room)), Last(Arc::clone(room)));
        Slot {
            seat,
            config: CONFIGS.share(config),
            callers,
            _last: last,
            counts: Counts::default(),
            progress: Some(progress),
            leaving: Vec::new(),
            replica,
            pace: Pace::default(),
            gives_way: false,
            view_pace: Pace::default(),
            given_up: false,
            starts_over: false,
            creates: false,
            alarm: None,
            held: None,
            encoding: Seldom::default(),
            incoming: None,
            standing: None,
            label: 0,
            subject: None,
            names: Seldom::default(),
        }
    }

    /// What this node has becomes the state of the group that it makes: at once, or when the
    /// replica is done with what is void.
    pub(crate) fn create(&mut self) {
        match self.held {
            Some(_) => self.creates = true,
            None => self.replica.create(),
        }
    }

    /// The group is given up for another of its name: what the replica is away for is void, and so
    /// is what waits for that. Returns the bytes of updates that did.
    pub(crate) fn start_over(&mut self) -> usize {
        self.incoming = None;
        self.encoding = Seldom::default();
        self.label = 0;
        self.starts_over = self.held.is_some();
        self.held.as_mut().map_or(0, |held| held.clear())
    }

    /// Whether what the replica is away for is void.
    pub(crate) fn starts_over(&self) -> bool {
        self.starts_over
    }

    /// The replica is done with what is void, and that is all that came of it.
    pub(crate) fn started_over(&mut self, outcome: Outcome) -> Result<(), Broken> {
        self.starts_over = false;
        match outcome {
            Outcome::Applied(Applied { replica, .. })
            | Outcome::Entered(Entered { replica, .. }) => self.replica = replica,
            Outcome::Panicked(why) => return Err(Broken(format!("it panicked at work: {why}"))),
            Outcome::Copied(..) | Outcome::Saved(..) | Outcome::Loaded(..) => {}
        }
        self.replica.void();
        if std::mem::take(&mut self.creates) {
            self.replica.create();
        }
        Ok(())
    }

    /// This node's rank in the installed view.
    fn rank(&self) -> Option<usize> {
        self.standing.as_ref().map(|standing| standing.rank)
    }

    /// The installed view.
    pub(crate) fn view(&self) -> Option<&wire::View> {
        self.standing.as_ref().map(|standing| &*standing.view)
    }

    /// The nodes in the installed view.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        let members = self.view().into_iter().flat_map(|view| &view.members);
        members.map(|member| member.id.node).collect()
    }

    /// Own updates are about to be handed to the engine.
    pub(crate) fn submitted(&self, runs: &[Run], record: &mut Record<'_>) {
        if record.on() {
            for run in runs.chunk_by(|one, other| one.class == other.class) {
                record.write(self.subject.as_deref(), || history::submit(run));
            }
        }
    }

    /// Own updates got their numbers.
    pub(crate) fn sent(&mut self, view: u64, seq: u64, run: Run, record: &mut Record<'_>) {
        record.write(self.subject.as_deref(), || history::send(view, seq, run));
        self.counts.sent += u64::from(run.count);
        self.callers.sent(view, seq, run.count.into());
    }

    /// Applies a range.
    pub(crate) fn deliver(
        &mut self,
        range: &Delivery,
        record: &mut Record<'_>,
    ) -> Result<(), Broken> {
        let own = self.begin(range, record);
        let begun = Instant::now();
        let takes = own.then_some(&mut self.callers as &mut dyn Takes);
        self.replica.deliver(range, takes)?;
        self.pace.took(begun.elapsed());
        if own {
            self.callers.settle();
        }
        Ok(())
    }

    /// A range is about to be applied; whether it is this member's own.
    fn begin(&mut self, range: &Delivery, record: &mut Record<'_>) -> bool {
        record.write(self.subject.as_deref(), || history::deliver(range, &self.names));
        self.counts.applied += u64::from(range.count);
        self.callers.flush_anew();
        self.rank() == Some(range.rank)
    }

    /// Whether a range had better be applied away from the driver: it takes long, or has to wait
    /// for a query, which may take long.
    pub(crate) fn is_slow(&self, range: &Delivery) -> bool {
        // Comparisons are asked for by such updates.
        let compares = range.level == Level::Stable && self.replica.compares();
        let end = range.seq + u64::from(range.count);
        let wanted = || self.callers.all_wanted(range.view, range.seq, end).next().is_some();
        let wakes = self.replica.is_asleep() && self.rank() == Some(range.rank) && wanted();
        self.gives_way || self.pace == Pace::Slow || compares || wakes || self.replica.is_read()
    }

    /// Whether the replica was found not to be like the others.
    pub(crate) fn differs(&self) -> bool {
        self.replica.differs()
    }

    /// Lets a range be applied away from the driver; until it is back nothing else is asked of the
    /// replica.
    pub(crate) fn depart(&mut self, range: Delivery, record: &mut Record<'_>) -> Job {
        let own = self.begin(&range, record);
        let results = own.then(|| Results::of(&range, &self.callers));
        let replica = std::mem::replace(&mut self.replica, Box::new(Absent));
        Job { replica, range: Some(range), results }
    }

    /// Lets a replica wake away from the driver, if it sleeps and somebody needs it.
    pub(crate) fn depart_to_wake(&mut self) -> Option<Job> {
        if self.held.is_some() || !self.replica.is_asleep() || !self.seat.is_called() {
            return None;
        }
        let replica = std::mem::replace(&mut self.replica, Box::new(Absent));
        Some(Job { replica, range: None, results: None })
    }

    /// The replica is back.
    pub(crate) fn back(&mut self, applied: Applied) -> Result<(), Broken> {
        let Applied { replica, results, done, time } = applied;
        self.replica = replica;
        self.pace.took(time);
        if let Some(results) = results {
            results.tell(&mut self.callers);
        }
        done
    }

    /// Installs a view, but for the replica: returns what that has to know.
    pub(crate) fn install(&mut self, install: Install, record: &mut Record<'_>) -> Installed {
        let view = View::new(&install.view, &install.together, &install.joined, &install.left);
        let me = install.view.members.get(install.rank).map(|member| member.id);
        if record.on() {
            let names = Names::new(&install.view);
            self.subject = me.map(|me| Box::new(self.subject_of(me, &names)));
            let event = history::view(&install, &names, &self.names);
            record.write(self.subject.as_deref(), || event);
            self.names = names.into();
        }
        self.counts.installed(install.view.number);
        self.callers.installed(install.view.number);
        let told = install.view.number > self.label;
        self.standing = Some(Standing { view: install.view, rank: install.rank });
        Installed { group: install.group, view, me, rank: install.rank, told }
    }

    /// Whether the replica had better be told of a view away from the driver: that takes long, or
    /// has to wait for a query, which may take long.
    pub(crate) fn is_long(&self, installed: &Installed) -> bool {
        self.view_pace == Pace::Slow || self.replica.is_long(installed)
    }

    /// Lets the replica be told of a view away from the driver, as [`depart`](Self::depart) does.
    pub(crate) fn depart_for(&mut self, installed: Installed) -> Entering {
        let replica = std::mem::replace(&mut self.replica, Box::new(Absent));
        Entering { replica, installed }
    }

    /// The replica has been told of a view.
    pub(crate) fn entered(&mut self, entered: Entered) -> Result<(), Broken> {
        let Entered { replica, view, done, time } = entered;
        self.replica = replica;
        self.view_pace.took(time);
        done?;
        self.seat.event(GroupEvent::View(view));
        Ok(())
    }

    /// When it has something to send without a caller, by the wall clock.
    pub(crate) fn due(&self) -> Option<Micros> {
        self.replica.due()
    }

    /// Whether it is for this node to ask for a new view now.
    pub(crate) fn wants_view(&mut self) -> bool {
        self.replica.wants_view()
    }

    /// Leaves what is due with what callers have left.
    pub(crate) fn send_due(&mut self, now: Micros) {
        while let Some(Sending { method, update }) = self.replica.send_due(now) {
            drop(self.seat.outbox.leave_inner(method, &update, None));
        }
    }

    /// Tells who waits for it that this node is an active member, once it is.
    pub(crate) fn activated(&mut self) {
        let standing = self.standing.as_ref();
        if standing.is_some_and(|standing| standing.view.is_active(standing.rank))
            && let Some(progress) = self.progress.take()
        {
            drop(progress.send(Progress::Active));
        }
    }

    fn subject_of(&self, me: MemberId, names: &Names) -> Subject {
        Subject {
            group: Arc::clone(&self.seat.name),
            generation: self.config.generation,
            me: names.id(me),
        }
    }

    /// The stable cut has grown.
    pub(crate) fn stable(&mut self, view: u64, cut: Cut, record: &mut Record<'_>) {
        record.write(self.subject.as_deref(), || history::stable(view, &cut, &self.names));
        if let Some(rank) = self.rank() {
            self.callers.stable(view, cut.count(rank));
        }
        self.seat.stable(view, cut);
        self.replica.stabilised();
    }

    /// Whether it waits for what comes of this work.
    pub(crate) fn is_at(&self, work: u64) -> bool {
        let held = self.held.as_ref().is_some_and(|held| held.work == work);
        held || self.encoding.contains(work)
    }

    /// Whether an output has to wait for the replica, which is away. What has to do with the
    /// checkpoint that it loads has not, unless that is another membership's.
    pub(crate) fn holds(&self, output: &Output) -> bool {
        let Some(held) = &self.held else { return false };
        !(self.incoming.is_some() && is_of_transfer(output) && !held.has_end())
    }

    /// What has waited for the replica, which is back or will never be.
    pub(crate) fn release(&mut self) -> Option<Box<Held>> {
        self.held.take()
    }

    /// Takes a checkpoint, wherever that is run, for these.
    pub(crate) fn saving(
        &self,
        label: u64,
        joiners: Vec<MemberId>,
    ) -> impl FnOnce(Handing) -> Outcome + Send + 'static {
        let delivered = self.seat.status().delivered.counts.iter().sum();
        let group = &*self.seat.name;
        let span = tracing::info_span!("save_checkpoint", group, view = label);
        let point = Point { label, delivered, joiners, begun: Instant::now(), span };
        let save = self.replica.saving();
        move |to| match save(to) {
            Taken::Checkpoint(saved) => Outcome::Saved(point, saved),
            Taken::Copy(encode) => Outcome::Copied(point, encode),
        }
    }

    /// A checkpoint was taken.
    pub(crate) fn saved(&mut self, point: &Point, sealed: &Sealed, record: &mut Record<'_>) {
        let bytes = sealed.bytes;
        self.counts.saved(bytes, point.begun.elapsed());
        point.span.in_scope(|| tracing::debug!(bytes, "taken"));
        if !record.on() {
            return;
        }
        let hash = history::hash(sealed.hash);
        for joiner in &point.joiners {
            record.write(self.subject.as_deref(), || Event::Checkpoint {
                view: point.label,
                delivered: Some(point.delivered),
                bytes,
                hash: hash.clone(),
                r#for: self.names.id(*joiner),
            });
        }
        // Updates after it may be written already: if the joiner has it, so has the history.
        record.flush();
    }

    /// Makes a checkpoint the state, wherever that is run, which was taken at the install of this
    /// view.
    pub(crate) fn loading(&mut self, label: u64) -> Loading {
        self.label = label;
        self.counts.loading(&self.seat.name, label);
        self.replica.loading()
    }

    /// It is the state now. The view is not installed for the application yet.
    pub(crate) fn loaded(&mut self, of: &Incoming, opened: Opened, record: &mut Record<'_>) {
        if record.on()
            && let Some((me, view)) = of.status()
        {
            let names = Names::new(view);
            self.subject = Some(Box::new(self.subject_of(*me, &names)));
            record.write(self.subject.as_deref(), || Event::Loaded {
                view: of.label(),
                bytes: opened.bytes,
                hash: history::hash(opened.hash),
                from: names.id(of.donor()),
            });
        }
        self.counts.loaded(opened.bytes);
        self.replica.loaded(opened.beside);
    }

    /// Writes a line that says only that something happened.
    pub(crate) fn note(&mut self, event: impl FnOnce(u64) -> Event, record: &mut Record<'_>) {
        let number = self.view().map_or(0, |view| view.number);
        record.write(self.subject.as_deref(), || event(number));
    }

    /// A proposal is held and accepted.
    pub(crate) fn accepted(
        &mut self,
        view: u64,
        ballot: wire::Ballot,
        proposal: u64,
        cut: &Cut,
        record: &mut Record<'_>,
    ) {
        record.write(self.subject.as_deref(), || {
            history::accepted(view, ballot, proposal, cut, &self.names)
        });
    }

    /// The others went on without this node: callers are told, the state is void, and the slot is
    /// ready to join again.
    pub(crate) fn excluded(&mut self, view: u64, decided: Option<u64>, record: &mut Record<'_>) {
        record.write(self.subject.as_deref(), || Event::Excluded { view, own: decided });
        self.counts.excluded();
        self.seat.outbox.reset(&NotApplied::Excluded);
        self.callers.end(Ending::Excluded { decided });
        self.replica.void();
        self.encoding = Seldom::default();
        self.incoming = None;
        self.standing = None;
        self.subject = None;
        self.names = Seldom::default();
        self.label = 0;
        self.seat.vacate();
        self.seat.event(GroupEvent::Excluded);
    }

    /// The membership is over for good.
    pub(crate) fn close(mut self, decided: Option<u64>, why: &str, record: &mut Record<'_>) {
        let number = self.view().map_or(0, |view| view.number);
        if decided.is_some() && record.on() {
            if let Ok(bytes) = self.replica.save() {
                let cut = self.seat.status().delivered.clone();
                record.write(self.subject.as_deref(), || {
                    history::state(number, &cut, &bytes, &self.names)
                });
            }
            let event = || Event::Closed { view: number, own: decided };
            record.write(self.subject.as_deref(), event);
        }
        self.seat.close();
        self.seat.outbox.reset(&NotApplied::Closed);
        self.callers.end(Ending::Closed { decided });
        // Dropping it tells whoever still waits for the membership.
        self.progress = None;
        self.seat.event(GroupEvent::Closed { why: why.to_owned() });
    }

    /// The group is known under another number or generation now.
    pub(crate) fn renumber(&mut self, group: GroupId, generation: u32) {
        let config = GroupConfig { generation, ..GroupConfig::clone(&self.config) };
        self.config = CONFIGS.share(config);
        self.seat.begin(group, generation);
    }
}
