//! After the trouble: everything is healed, and the groups must come to rest and serve.
//!
//! Liveness is demanded only where a quorum of the newest view lives that has installed it, or
//! still can: those who decided it may have died with all that the others lack of the view before.
//! Whoever is left behind must learn it in any case, if somebody that lives knows.

use vsync_core::wire::{GroupId, MemberId, View};
use vsync_history::{Expectations, check_with};

use super::event::Event;
use super::host::{Host, Run};
use super::judge::Failure;
use super::record::Recorder;
use super::seat::Phase;
use super::world::{LOOK, Stage, World};

/// How long the first members may take to come in before trouble begins anyway.
const BOOT: u64 = 4_000_000;

/// How long a healed group may take to come to rest.
const PATIENCE: u64 = 30_000_000;

/// How long a group without a quorum is watched.
const WAKE: u64 = 1_500_000;

impl World {
    /// Looks how far things are.
    pub(crate) fn look(&mut self) {
        self.queue.push(self.now + LOOK, Event::Look);
        match self.stage {
            Stage::Boot => {
                let early = self.plan.early && self.dice.chance(300);
                if early || self.complete() || self.now > BOOT {
                    self.trouble();
                }
            }
            Stage::Trouble { until } if self.now >= until => self.heal(),
            Stage::Trouble { .. } | Stage::Over => {}
            Stage::Healed { since, served } => self.settle(since, served),
        }
    }

    /// Whether the first members are all in.
    fn complete(&self) -> bool {
        (0..self.plan.groups).map(GroupId).all(|group| {
            self.books.judge.newest(group).is_some_and(|view| view.active == self.plan.members)
        })
    }

    /// Ends all trouble: what lives is connected, at normal speed.
    fn heal(&mut self) {
        self.stage = Stage::Healed { since: self.now, served: false };
        self.note(format_args!("healed"));
        self.network.calm(self.now);
        for host in 0..self.hosts.len() {
            if let Run::Paused { until } = &mut self.hosts[host].run {
                *until = self.now;
                self.queue.push(self.now + 1, Event::Resume { host });
            }
            for other in 0..host {
                self.mend(host, other);
            }
            for group in (0..self.plan.groups).map(GroupId) {
                if self.hosts[host].seat(group).wanted {
                    self.queue.push(self.now + 2, Event::Join { host, group });
                }
            }
        }
    }

    /// Whether a quorum of the newest view lives, without some hosts, and one of the newest view
    /// that anybody alive has installed: else nobody can find out about a newer one.
    pub(crate) fn has_quorum(&self, group: GroupId, without: &[usize]) -> bool {
        let Some(newest) = self.books.judge.newest(group) else { return true };
        // Also by members that have ended since: they knew no better.
        let known = self.books.judge.newest_of(group, |member| self.lives(member, without));
        let lives = |view: &View| self.quorum_lives(group, view, without);
        lives(newest) && known.is_none_or(|known| known.number == newest.number || lives(known))
    }

    /// Whether a view is decided that nobody has installed and of which no quorum lives: whoever
    /// decided it is not in it, or has died, and those who are in it did before they heard of it
    /// (seed 16505102). No other view can follow, and the quorum of the one before is void.
    fn is_doomed(&self, group: GroupId) -> bool {
        let pending = self.books.judge.pending(group);
        pending.is_some_and(|view| !self.quorum_lives(group, view, &[]))
    }

    fn quorum_lives(&self, group: GroupId, view: &View, without: &[usize]) -> bool {
        let members = view.members[..view.active].iter();
        let comes = self.may_enter(group, view, without);
        let lives: Vec<bool> = members
            .map(|member| {
                let id = member.id;
                let installed = self.books.judge.has_installed(group, view.number, id);
                self.lives(id, without) && (installed || comes)
            })
            .collect();
        let count = lives.iter().filter(|&&lives| lives).count();
        2 * count > view.active || (2 * count == view.active && lives.first() == Some(&true))
    }

    /// Whether a member that has not installed a view can do so: somebody that lives still has all
    /// of the view before it. Those who decided it may have died with it, a quorum of it, too.
    fn may_enter(&self, group: GroupId, view: &View, without: &[usize]) -> bool {
        let judge = &self.books.judge;
        let before = view.number.saturating_sub(1);
        let Some((cut, closed)) = judge.closed(group, before) else { return true };
        let alive = closed.members.iter().map(|member| member.id);
        let alive: Vec<MemberId> = alive.filter(|&id| self.lives(id, without)).collect();
        let whole = |id: &MemberId| {
            judge.has_installed(group, view.number, *id) || judge.was_told_to(group, before, *id)
        };
        // Each may hold another part of it.
        let holds = |rank: usize| {
            alive.iter().any(|id| {
                let host = self.hosts.iter().find(|host| host.node == id.node);
                let status = host.and_then(|host| host.engine.status(group));
                status.is_some_and(|status| {
                    let same = status.view.is_some_and(|view| view.number == before);
                    same && status.received.count(rank) >= cut.count(rank)
                })
            })
        };
        alive.iter().any(whole) || (0..cut.counts.len()).all(holds)
    }

    /// Whether the others no longer need a member that has left after a view: somebody has
    /// installed the next one, or nobody else was left in it.
    pub(crate) fn is_free(&self, group: GroupId, member: MemberId, view: u64) -> bool {
        self.books.judge.newest(group).is_none_or(|newest| {
            let mut others = newest.members[..newest.active].iter().filter(|it| it.id != member);
            newest.number > view || !others.any(|other| self.lives(other.id, &[]))
        })
    }

    /// Whether a member's process lives and has not forgotten it.
    fn lives(&self, member: MemberId, without: &[usize]) -> bool {
        let host = self.hosts.iter().find(|host| host.node == member.node);
        let alive = host.is_some_and(|host| host.is_alive() && !without.contains(&host.index));
        alive && !self.gone.contains(&member)
    }

    fn settle(&mut self, since: u64, served: bool) {
        let waited = self.now - since;
        let mut open = None;
        for group in (0..self.plan.groups).map(GroupId) {
            let lost = !self.has_quorum(group, &[]) || self.is_doomed(group);
            let excused = lost || self.may_be_over(group);
            let unrest = match self.rest(group) {
                Err(_) if excused && waited > WAKE => self.uninformed(group),
                rest => rest.err(),
            };
            if let Some(why) = unrest {
                open = Some(format!("{group:?}: {why}"));
            }
        }
        match open {
            None if served => self.stage = Stage::Over,
            None => {
                self.stage = Stage::Healed { since: self.now, served: true };
                self.note(format_args!("at rest, fresh work"));
                self.serve();
            }
            Some(why) if waited > PATIENCE => self.books.judge.fail("liveness", why),
            Some(_) => {}
        }
    }

    /// Whether nobody is in the group any more, and so nobody can come in. Who is stuck in an older
    /// view without a place in the newest is not in it. A leaver alone cannot end it if it has
    /// handed over to a member that died before it installed: only that one could.
    fn is_over(&self, group: GroupId) -> bool {
        let listed = |host: &Host| {
            let newest = self.books.judge.newest(group);
            let active = newest.map_or(&[][..], |view| &view.members[..view.active]);
            active.iter().any(|member| Some(member.id) == host.member(group))
        };
        let any = |wanted: Phase| {
            let is = |host: &Host| {
                let seat = &host.seats[group.0 as usize];
                seat.phase == wanted && seat.is_active()
            };
            let counts = |host: &Host| host.is_alive() && is(host) && listed(host);
            self.hosts.iter().any(counts)
        };
        let newest = self.books.judge.newest(group);
        let whole = newest.is_some_and(|view| {
            view.members[..view.active].iter().all(|member| self.lives(member.id, &[]))
        });
        let leaver = any(Phase::Leaving) && whole;
        !(any(Phase::Member) || leaver)
    }

    /// Whether it may be that nobody is in the group any more although a quorum of the newest view
    /// lives: some decision that all of these are out has reached those who were to be in, and they
    /// died before they installed it. Somebody must have been told of that decision.
    fn may_be_over(&self, group: GroupId) -> bool {
        let newest = self.books.judge.newest(group).map_or(0, |view| view.number);
        // A leaver whose membership is over knows a decision, and waits for those it hands over to.
        let handed = self.hosts.iter().any(|host| {
            let leaves = host.seats[group.0 as usize].phase == Phase::Leaving;
            host.is_alive()
                && leaves
                && host.engine.status(group).is_some_and(|it| it.view.is_none())
        });
        self.is_over(group) && (handed || self.books.judge.was_told(group, newest))
    }

    /// A member of a view although somebody that lives knows of one two views later: whatever
    /// became of the group, it must learn that its membership is over.
    fn uninformed(&self, group: GroupId) -> Option<String> {
        let alive = || self.hosts.iter().filter(|host| host.is_alive());
        let seat = |host: &Host| {
            let seat = &host.seats[group.0 as usize];
            if seat.phase == Phase::Member { seat.number() } else { 0 }
        };
        let known = alive().map(|host| {
            let told = self.books.judge.told_of(group, host.node).map_or(0, |view| view + 1);
            told.max(seat(host))
        });
        let known = known.max().unwrap_or(0);
        let behind = alive().find(|host| seat(host) > 0 && seat(host) + 2 <= known)?;
        Some(format!("n{} in view {}, others know of {known}", behind.index, seat(behind)))
    }

    /// Whether all who want to be are members of one view, with nothing under way.
    fn rest(&self, group: GroupId) -> Result<(), String> {
        let newest = self.books.judge.newest(group).map_or(0, |view: &View| view.number);
        for host in self.hosts.iter().filter(|host| host.is_alive()) {
            let index = host.index;
            let seat = &host.seats[group.0 as usize];
            match seat.phase {
                Phase::Out if !seat.wanted => {
                    if host.engine.status(group).is_some() {
                        return Err(format!("n{index} is out, but its engine is not"));
                    }
                    continue;
                }
                Phase::Member => {}
                phase => return Err(format!("n{index} is {phase:?}")),
            }
            if seat.number() != newest {
                return Err(format!("n{index} is in view {}, not {newest}", seat.number()));
            }
            seat.at_rest(&self.books.judge).map_err(|why| format!("n{index}: {why}"))?;
            let Some(status) = host.engine.status(group) else {
                return Err(format!("n{index} has no status"));
            };
            if status.frozen || !status.loaded {
                return Err(format!("n{index}: frozen or not loaded"));
            }
            if status.retained > 0 || status.queued > 0 {
                let (retained, queued) = (status.retained, status.queued);
                return Err(format!("n{index}: {retained} bytes retained, {queued} queued"));
            }
        }
        Ok(())
    }

    /// Judges the run as a whole.
    pub(crate) fn conclude(&mut self) {
        let over = self.stage == Stage::Over;
        let mut settled = Vec::new();
        let mut healed = over;
        for group in (0..self.plan.groups).map(GroupId) {
            if !over || self.rest(group).is_err() || self.is_over(group) {
                healed = false;
                match self.is_over(group) {
                    true => self.totals.over += u64::from(over),
                    false => self.totals.lost += u64::from(over),
                }
                continue;
            }
            for host in &mut self.hosts {
                let in_it = host.seats[group.0 as usize].phase == Phase::Member;
                if let Some(me) = host.member(group).filter(|_| in_it && host.is_alive()) {
                    settled.push(self.books.recorder.id(me).to_string());
                    host.write_state(self.now, group, &mut self.books);
                }
            }
        }
        self.totals.healed += u64::from(healed);
        for host in &self.hosts {
            self.totals.marks.add(&host.engine.marks());
        }
        self.books.judge.conclude();
        // Members are named by node and entry, the same in every group: each group is judged alone.
        let alone = self.plan.groups == 1;
        let settled = if alone { settled } else { Vec::new() };
        let expectations = Expectations { complete: true, divergent: false, settled };
        for violation in check_with(self.books.recorder.history(), &expectations) {
            let place = self.books.recorder.first_step(violation.property);
            let place = place.map_or(String::new(), |place| format!(" (first seen at {place})"));
            self.books.judge.fail(violation.property, format!("{violation}{place}"));
        }
    }

    /// Runs to the end; the checkers judge what there is after every so many lines of the history,
    /// not only the whole.
    pub(crate) fn run_by_steps(&mut self, every: usize) {
        let mut judged = 0;
        while self.advance() {
            let lines = self.books.recorder.lines();
            if lines < judged + every {
                continue;
            }
            judged = lines;
            for violation in check_with(self.books.recorder.history(), &Recorder::PREFIX) {
                self.books.judge.fail(violation.property, violation.to_string());
            }
        }
        self.conclude();
    }

    /// What is wrong with the run; nothing, if all is well.
    pub(crate) fn failures(&self) -> &[Failure] {
        self.books.judge.failures()
    }
}
