//! What a history says about one group, as things that can be drawn.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::names::{Names, process};
use super::window::Window;
use crate::event::{Class, Event, Id, Level, Line, Reason};
use crate::read::{History, Log};

/// Microseconds since the first process started.
pub(super) type Time = i64;

/// Everything of one group.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// One per process.
    pub(super) lanes: Vec<Lane>,
    /// What the views are.
    pub(super) views: BTreeMap<u64, View>,
    /// Multicasts on their way to one member.
    pub(super) arrows: Vec<Arrow>,
    /// Checkpoints on their way.
    pub(super) transfers: Vec<Transfer>,
    /// Deliveries of updates whose sending nobody wrote down.
    pub(super) untold: u64,
    /// What the processes are called.
    pub(super) names: Names,
}

/// A process.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// `name#incarnation`.
    pub(super) process: String,
    /// Whether it left a file; if not, others told about it.
    pub(super) told: bool,
    /// From its start to its last line.
    pub(super) life: (Time, Time),
    /// Its views.
    pub(super) bands: Vec<Band>,
    /// When it sent something: time, class, how many.
    pub(super) sends: Vec<(Time, Class, u64)>,
    /// When it had no quorum.
    pub(super) blocked: Vec<(Time, Time)>,
    /// How its memberships ended.
    pub(super) ends: Vec<(Time, End)>,
}

/// A member's stay in a view.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    /// The view.
    pub(super) view: u64,
    /// The member's rank in it.
    pub(super) rank: usize,
    /// Whether it is active in it.
    pub(super) active: bool,
    /// From its install to the next or the end.
    pub(super) span: (Time, Time),
}

/// How a membership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// The others agreed that it failed, and it wrote no more.
    Crash,
    /// Its lines end and nobody says why.
    Open,
    /// The others went on without it.
    Excluded,
    /// By its own wish.
    Closed,
}

/// A view.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The members' ids, by rank, and whether they are active.
    pub(super) members: Vec<(Id, bool)>,
    /// Who is new.
    pub(super) joined: Vec<Id>,
    /// Who is gone, and why.
    pub(super) left: Vec<(Id, Reason)>,
    /// The first install of it.
    pub(super) first: Time,
}

/// A range of updates on its way from its sender to one member.
#[derive(Clone, Debug)]
pub(super) struct Arrow {
    /// Lane and time of the sending.
    pub(super) from: (usize, Time),
    /// Lane and time of the delivery.
    pub(super) to: (usize, Time),
    /// The view.
    pub(super) view: u64,
    /// The first update's number, and how many with it.
    pub(super) range: (u64, u64),
    /// Their order.
    pub(super) class: Class,
    /// Their level.
    pub(super) level: Level,
    /// Position of the first, for totals.
    pub(super) position: Option<u64>,
}

/// A checkpoint on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    /// Lane and time of the donor.
    pub(super) from: (usize, Time),
    /// Lane and time of the joiner.
    pub(super) to: (usize, Time),
    /// The label.
    pub(super) view: u64,
    /// Its size.
    pub(super) bytes: u64,
}

/// A moment as a file says it. A number that cannot be true must not overflow.
fn moment(micros: u64) -> Time {
    micros.min(1 << 50) as Time
}

/// The groups of a history, and how many updates were delivered in each.
pub(super) fn groups(history: &History) -> BTreeMap<(Id, u32), u64> {
    let mut groups = BTreeMap::new();
    for line in history.logs.iter().flat_map(|log| &log.lines) {
        let Some(name) = &line.group else { continue };
        let deliveries = groups.entry((name.clone(), line.generation.unwrap_or(0))).or_insert(0);
        if let Event::Deliver { count, .. } = &line.event {
            *deliveries = u64::saturating_add(*deliveries, *count);
        }
    }
    groups
}

impl Scene {
    /// Everything that the history says about this group.
    pub(super) fn of(history: &History, group: &Id, generation: u32) -> Scene {
        let mut reading = Reading::default();
        let start = |log: &Log| match log.lines.first().map(|line| &line.event) {
            Some(Event::Start { wall_us, .. }) => Some(*wall_us),
            _ => None,
        };
        let origin = history.logs.iter().filter_map(start).min().unwrap_or(0);
        for log in &history.logs {
            let offset = start(log).map_or(0, |wall| moment(wall - origin));
            let mine = |line: &&Line| {
                line.group.as_ref() == Some(group) && line.generation.unwrap_or(0) == generation
            };
            let mut lines = log.lines.iter().filter(mine).peekable();
            let (Some(first), Some(last)) = (lines.peek(), log.lines.last()) else {
                continue;
            };
            let lane = reading.lane(process(&first.node));
            reading.scene.lanes[lane].told = true;
            reading.scene.lanes[lane].life = (offset, moment(last.t) + offset);
            for line in lines {
                reading.read(lane, line, moment(line.t) + offset);
            }
        }
        reading.finish()
    }

    /// Leaves out what is not in the window. Arrows that cross its edge stay.
    pub(super) fn keep(&mut self, window: Window) {
        for lane in &mut self.lanes {
            lane.bands.retain(|band| window.meets(band.span.0, band.span.1));
            lane.sends.retain(|send| window.holds(send.0));
            lane.blocked.retain(|span| window.meets(span.0, span.1));
            lane.ends.retain(|end| window.holds(end.0));
        }
        let seen = |number: u64, lanes: &[Lane]| {
            lanes.iter().any(|lane| lane.bands.iter().any(|band| band.view == number))
        };
        self.views.retain(|number, _| seen(*number, &self.lanes));
        let there = |lane: &Lane| !lane.bands.is_empty();
        let lanes = self.lanes.iter().enumerate().filter(|(_, lane)| there(lane));
        let order: Vec<usize> = lanes.map(|(at, _)| at).collect();
        let kept = |lane: usize| there(&self.lanes[lane]);
        self.arrows.retain(|arrow| {
            window.meets(arrow.from.1, arrow.to.1) && kept(arrow.from.0) && kept(arrow.to.0)
        });
        self.transfers.retain(|transfer| {
            window.meets(transfer.from.1, transfer.to.1)
                && kept(transfer.from.0)
                && kept(transfer.to.0)
        });
        self.sort_lanes(&order);
    }

    /// When the group's history begins and ends.
    pub(super) fn span(&self) -> (Time, Time) {
        let bands = || self.lanes.iter().flat_map(|lane| &lane.bands);
        let begin = bands().map(|band| band.span.0).min().unwrap_or(0);
        let starts = self.transfers.iter().map(|transfer| transfer.from.1);
        let end = bands().map(|band| band.span.1).max().unwrap_or(0);
        (starts.chain([begin]).min().unwrap_or(begin), end)
    }
}

/// Who sent what: by view and member, in the order of the numbers.
type Sends = HashMap<(u64, Id), Vec<Sent>>;

#[derive(Clone, Copy, Debug)]
struct Sent {
    seq: u64,
    count: u64,
    at: (usize, Time),
}

impl Sent {
    /// The number behind the last.
    fn end(&self) -> u64 {
        self.seq.saturating_add(self.count)
    }
}

/// A delivery that waits for its arrows.
#[derive(Debug)]
struct Delivered<'a> {
    at: (usize, Time),
    event: &'a Event,
}

#[derive(Debug, Default)]
struct Reading<'a> {
    scene: Scene,
    numbers: HashMap<String, usize>,
    sends: Sends,
    deliveries: Vec<Delivered<'a>>,
    /// Checkpoints taken: view, joiner, where and when.
    points: HashMap<(u64, Id), (usize, Time)>,
    loads: Vec<Delivered<'a>>,
    /// Who reads `loads`, in the same order.
    joiners: Vec<Id>,
    /// Memberships whose end is not known: member and lane.
    open: BTreeMap<Id, usize>,
    blocked: HashMap<Id, Time>,
}

impl<'a> Reading<'a> {
    fn lane(&mut self, process: &str) -> usize {
        if let Some(&lane) = self.numbers.get(process) {
            return lane;
        }
        let lane = self.scene.lanes.len();
        self.scene.lanes.push(Lane { process: process.to_owned(), ..Lane::default() });
        self.numbers.insert(process.to_owned(), lane);
        lane
    }

    fn read(&mut self, lane: usize, line: &'a Line, t: Time) {
        let at = (lane, t);
        match &line.event {
            Event::View { .. } => self.view(lane, line, t),
            Event::Send { view, seq, count, class } => {
                let sends = &mut self.scene.lanes[lane].sends;
                match sends.last_mut().filter(|last| (last.0, last.1) == (t, *class)) {
                    Some(last) => last.2 = last.2.saturating_add(*count),
                    None => sends.push((t, *class, *count)),
                }
                let sent = Sent { seq: *seq, count: *count, at };
                self.sends.entry((*view, line.node.clone())).or_default().push(sent);
            }
            Event::Deliver { .. } => self.deliveries.push(Delivered { at, event: &line.event }),
            Event::Checkpoint { view, r#for, .. } => {
                self.points.insert((*view, r#for.clone()), at);
            }
            Event::Loaded { .. } => {
                self.loads.push(Delivered { at, event: &line.event });
                self.joiners.push(line.node.clone());
            }
            Event::Blocked { .. } => {
                self.blocked.insert(line.node.clone(), t);
            }
            Event::Resumed { .. } => self.unblock(lane, &line.node, t),
            Event::Excluded { .. } => self.end(lane, &line.node, t, End::Excluded),
            Event::Closed { .. } => self.end(lane, &line.node, t, End::Closed),
            _ => {}
        }
    }

    fn view(&mut self, lane: usize, line: &Line, t: Time) {
        let Event::View { view, members, joined, left, .. } = &line.event else {
            return;
        };
        let known = self.scene.views.entry(*view).or_insert_with(|| View {
            members: members.iter().map(|member| (member.id.clone(), member.active)).collect(),
            joined: joined.clone(),
            left: left.iter().map(|gone| (gone.id.clone(), gone.reason)).collect(),
            first: t,
        });
        known.first = known.first.min(t);
        let Some(rank) = members.iter().position(|member| member.id == line.node) else {
            return;
        };
        self.close_band(lane, &line.node, t);
        self.open.insert(line.node.clone(), lane);
        let lane = &mut self.scene.lanes[lane];
        let span = (t, lane.life.1);
        let active = members[rank].active;
        lane.bands.push(Band { view: *view, rank, active, span });
    }

    fn close_band(&mut self, lane: usize, member: &Id, t: Time) {
        if self.open.contains_key(member)
            && let Some(band) = self.scene.lanes[lane].bands.last_mut()
        {
            band.span.1 = t;
        }
    }

    fn unblock(&mut self, lane: usize, member: &Id, t: Time) {
        if let Some(since) = self.blocked.remove(member) {
            self.scene.lanes[lane].blocked.push((since, t));
        }
    }

    fn end(&mut self, lane: usize, member: &Id, t: Time, end: End) {
        self.close_band(lane, member, t);
        self.unblock(lane, member, t);
        self.open.remove(member);
        self.scene.lanes[lane].ends.push((t, end));
    }

    fn finish(mut self) -> Scene {
        for (member, lane) in std::mem::take(&mut self.open) {
            let gone = self.scene.views.values().flat_map(|view| &view.left);
            let failed = gone.filter(|(id, _)| *id == member).count() > 0;
            let end = if failed { End::Crash } else { End::Open };
            let t = self.scene.lanes[lane].life.1;
            self.unblock(lane, &member, t);
            self.scene.lanes[lane].ends.push((t, end));
        }
        self.untold_members();
        for sends in self.sends.values_mut() {
            sends.sort_by_key(|sent| sent.seq);
        }
        self.arrows();
        self.transfers();
        let mut order: Vec<usize> = (0..self.scene.lanes.len()).collect();
        let entry = |lane: &Lane| lane.bands.first().map_or((u64::MAX, 0), |b| (b.view, b.rank));
        order.sort_by_key(|&lane| (entry(&self.scene.lanes[lane]), lane));
        self.scene.sort_lanes(&order);
        let processes = self.scene.lanes.iter().map(|lane| lane.process.as_str());
        self.scene.names = Names::of(processes);
        self.scene
    }

    /// Members that left no file, as the others tell about them.
    fn untold_members(&mut self) {
        let views: Vec<(u64, View)> =
            self.scene.views.iter().map(|(number, view)| (*number, view.clone())).collect();
        let last = self.scene.lanes.iter().map(|lane| lane.life.1).max().unwrap_or(0);
        for (at, (number, view)) in views.iter().enumerate() {
            let until = views.get(at + 1).map_or(last, |(_, next)| next.first);
            for (rank, (id, active)) in view.members.iter().enumerate() {
                let lane = self.lane(process(id));
                let lane = &mut self.scene.lanes[lane];
                if lane.told {
                    continue;
                }
                let since = lane.bands.first().map_or(view.first, |band| band.span.0);
                lane.life = (since, until);
                let span = (view.first, until);
                lane.bands.push(Band { view: *number, rank, active: *active, span });
            }
            for (id, reason) in &view.left {
                let lane = self.lane(process(id));
                let lane = &mut self.scene.lanes[lane];
                if !lane.told && !lane.bands.is_empty() {
                    let end = if *reason == Reason::Left { End::Closed } else { End::Crash };
                    lane.ends.push((view.first, end));
                }
            }
        }
    }

    fn arrows(&mut self) {
        let mut seen = HashMap::new();
        for delivered in &self.deliveries {
            let Event::Deliver { view, sender, seq, count, class, position, level } =
                delivered.event
            else {
                continue;
            };
            let sends = self.sends.get(&(*view, sender.clone())).map_or(&[][..], Vec::as_slice);
            let first = sends.partition_point(|sent| sent.end() <= *seq);
            let meant: Vec<&Sent> = sends[first..]
                .iter()
                .take_while(|sent| sent.seq < seq.saturating_add(*count))
                .collect();
            if meant.is_empty() {
                self.scene.untold = self.scene.untold.saturating_add(*count);
            }
            for sent in meant {
                let from = sent.seq.max(*seq);
                let to = sent.end().min(seq.saturating_add(*count));
                let arrow = Arrow {
                    from: sent.at,
                    to: delivered.at,
                    view: *view,
                    range: (from, to.saturating_sub(from)),
                    class: *class,
                    level: *level,
                    position: position.map(|position| position.saturating_add(from - seq)),
                };
                let key = (arrow.from, arrow.to, *view, *class, *level);
                match seen.entry(key) {
                    Entry::Vacant(place) => {
                        place.insert(self.scene.arrows.len());
                        self.scene.arrows.push(arrow);
                    }
                    // What went and came together is one arrow.
                    Entry::Occupied(place) => {
                        let count = &mut self.scene.arrows[*place.get()].range.1;
                        *count = count.saturating_add(arrow.range.1);
                    }
                }
            }
        }
    }

    fn transfers(&mut self) {
        for (load, joiner) in self.loads.iter().zip(&self.joiners) {
            let Event::Loaded { view, bytes, from, .. } = load.event else { continue };
            let taken = self.points.get(&(*view, joiner.clone())).copied();
            // Without the donor's line, it can only have been taken at the install of that view.
            let donor = self.numbers.get(process(from));
            let first = self.scene.views.get(view).map(|view| view.first);
            let taken = taken.or_else(|| Some((*donor?, first?)));
            if let Some(from) = taken {
                let (to, view, bytes) = (load.at, *view, *bytes);
                self.scene.transfers.push(Transfer { from, to, view, bytes });
            }
        }
    }
}

impl Scene {
    /// What the process of this lane is called.
    pub(super) fn who(&self, lane: usize) -> &str {
        self.names.get(&self.lanes[lane].process)
    }

    /// Puts these lanes into this order; nothing may refer to the others.
    fn sort_lanes(&mut self, order: &[usize]) {
        let mut place = vec![0; self.lanes.len()];
        for (new, &old) in order.iter().enumerate() {
            place[old] = new;
        }
        let mut lanes: Vec<Option<Lane>> =
            std::mem::take(&mut self.lanes).into_iter().map(Some).collect();
        self.lanes = order.iter().filter_map(|&old| lanes[old].take()).collect();
        for arrow in &mut self.arrows {
            arrow.from.0 = place[arrow.from.0];
            arrow.to.0 = place[arrow.to.0];
        }
        for transfer in &mut self.transfers {
            transfer.from.0 = place[transfer.from.0];
            transfer.to.0 = place[transfer.to.0];
        }
    }
}
