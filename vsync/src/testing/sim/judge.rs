//! What no member can see and the simulation can: states of equal cuts are equal, survivors lose
//! nothing, what is stable stays.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vsync_core::engine::{Install, Run};
use vsync_core::wire::{Cut, MemberId, View};

use super::host::Replica;
use crate::Replicated;
use crate::runtime::timers::Saved;
use crate::runtime::{pending, sessions};
use crate::testing::check::{Draw, Failure, Kind};
use crate::testing::stage::{guarded, load, snapshot};

/// How many updates of a replica are shown.
const MOST_SHOWN: usize = 20;

/// A point of the group's history: a view, and how many of each member's updates are delivered.
type Point = (u64, Vec<u64>);

/// What was asked for and what came of it.
pub(super) type Table = (sessions::Saved, pending::Saved);

/// What a replica was when it came to a point.
struct Witness {
    host: usize,
    checkpoint: Vec<u8>,
    timers: Saved,
    table: Option<Table>,
    /// What it had applied since it came into the view.
    applied: Vec<(usize, u64)>,
}

/// The judge of one run.
#[derive(Default)]
pub(super) struct Judge {
    witnesses: HashMap<Point, Witness>,
    /// By view and member: its updates, numbered.
    sent: HashMap<(u64, MemberId), Vec<Arc<Draw>>>,
    /// By view: what was reported stable, at most.
    stable: BTreeMap<u64, (usize, Cut)>,
    newest: Option<View>,
    /// How often a replica was compared with another one.
    pub(super) compared: u64,
    /// Views that were installed.
    pub(super) views: u64,
}

impl Judge {
    /// The newest view that anybody has installed.
    pub(super) fn newest(&self) -> Option<&View> {
        self.newest.as_ref()
    }

    /// Updates of a member got their numbers.
    pub(super) fn number(
        &mut self,
        view: u64,
        member: MemberId,
        run: Run,
        updates: impl Iterator<Item = Arc<Draw>>,
    ) -> Result<(), Failure> {
        let lane = self.sent.entry((view, member)).or_default();
        let before = lane.len();
        lane.extend(updates);
        let right = lane[before..]
            .iter()
            .all(|draw| (draw.method.class, draw.method.level) == (run.class, run.level));
        match right && lane.len() - before == run.count as usize {
            true => Ok(()),
            false => protocol(format!("{member:?} in view {view}: {run:?} is not what it sent")),
        }
    }

    /// How many updates a member has sent in a view.
    pub(super) fn count(&self, view: u64, member: MemberId) -> u64 {
        self.sent.get(&(view, member)).map_or(0, |lane| lane.len() as u64)
    }

    /// An update, by its number.
    pub(super) fn update(&self, view: u64, member: MemberId, seq: u64) -> Option<&Arc<Draw>> {
        self.sent.get(&(view, member))?.get(seq as usize)
    }

    /// A cut was reported stable.
    pub(super) fn report(&mut self, host: usize, view: u64, cut: &Cut) {
        let (_, most) = self.stable.entry(view).or_insert_with(|| (host, cut.clone()));
        most.raise(cut);
    }

    /// A member leaves a view with this final cut.
    pub(super) fn close<S: Replicated>(
        &mut self,
        host: usize,
        replica: &Replica<S>,
        install: &Install,
    ) -> Result<(), Failure> {
        if self.newest.as_ref().is_none_or(|newest| newest.number < install.view.number) {
            self.newest = Some((*install.view).clone());
            self.views += 1;
        }
        let (Some(view), Some(me)) = (&replica.view, replica.me) else { return Ok(()) };
        let cut = &install.cut;
        if replica.delivered != cut.counts {
            let what = format!("n{host} leaves view {} before its final cut", view.number);
            return protocol(what);
        }
        let sent = self.count(view.number, me);
        let survives = cut.count(replica.rank);
        if survives != sent {
            let what = format!(
                "n{host} stays a member after view {}, but only {survives} of the {sent} updates \
                 that it sent there are delivered",
                view.number
            );
            return protocol(what);
        }
        match self.stable.get(&view.number) {
            Some((by, most)) if !cut.covers(most) => protocol(format!(
                "in view {} {:?} was reported stable, at n{by} first; only {:?} stays",
                view.number, most.counts, cut.counts
            )),
            _ => Ok(()),
        }
    }

    /// A replica is where others were: it must be what they were.
    pub(super) fn compare<S: Replicated>(
        &mut self,
        host: usize,
        replica: &Replica<S>,
        start: &dyn Fn() -> S,
    ) -> Result<(), Failure> {
        let (Some(view), Some(state)) = (&replica.view, &replica.state) else { return Ok(()) };
        let save = guarded("saving", || state.save())?;
        let checkpoint = match save {
            Ok(checkpoint) => checkpoint,
            // To say it in the same words as everywhere.
            Err(_) => snapshot(state)?.state,
        };
        let (timers, table) = (replica.saved_timers(), replica.table());
        let point = (view.number, replica.delivered.clone());
        let Some(witness) = self.witnesses.get(&point) else {
            let applied = replica.applied.clone();
            let witness = Witness { host, checkpoint, timers, table, applied };
            self.witnesses.insert(point, witness);
            return Ok(());
        };
        if witness.host != host {
            self.compared += 1;
        }
        if (&witness.checkpoint, &witness.timers) == (&checkpoint, &timers) {
            return self.agree(witness, (host, table), view);
        }
        let one = snapshot(&load(start(), &witness.checkpoint)?)?.with(&witness.timers);
        let other = snapshot(state)?.with(&timers);
        let names = [format!("n{}", witness.host), format!("n{host}")];
        let how = one.differences(&other, [&names[0], &names[1]]);
        let orders = self.orders(view, [&witness.applied, &replica.applied], &names);
        let report = format!(
            "n{} and n{host} have delivered the same updates, but their states differ, in view {} \
             after {:?} updates of its members:\n{how}{orders}",
            witness.host, view.number, point.1
        );
        Err(Failure::new(Kind::Diverged, report))
    }

    /// Of two replicas in one state: what was asked for is known alike.
    fn agree(
        &self,
        witness: &Witness,
        (host, table): (usize, Option<Table>),
        view: &View,
    ) -> Result<(), Failure> {
        if witness.table == table {
            return Ok(());
        }
        let report = format!(
            "n{} and n{host} have delivered the same updates and are in one state, but what they \
             know of requests differs, in view {}: their coordinators, attempts, steps or answers. \
             A `requests = …` function must go by its arguments alone.\n\n{:?}\n\n{table:?}",
            witness.host, view.number, witness.table
        );
        Err(Failure::new(Kind::Diverged, report))
    }

    /// In which orders two replicas have applied what they have not in common at the beginning and
    /// at the end.
    fn orders(&self, view: &View, applied: [&[(usize, u64)]; 2], names: &[String; 2]) -> String {
        let [one, other] = applied;
        let same = one.iter().zip(other).take_while(|(a, b)| a == b).count();
        let (one, other) = (&one[same..], &other[same..]);
        if one.is_empty() || other.is_empty() {
            return "\nThey have applied them in one order. One of them may have joined with a \
                    checkpoint: `checkpointed` and `deterministic` look closer.\n"
                .to_owned();
        }
        let ends = one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
        let mut text = String::new();
        for (name, list) in names.iter().zip([one, other]) {
            text += &format!("\n{name} has applied, where they are not of one order:\n");
            let list = &list[..list.len() - ends.min(list.len())];
            for &(rank, seq) in list.iter().take(MOST_SHOWN) {
                let member = view.members[rank].id;
                let update = self.update(view.number, member, seq);
                let words = update.map_or("?", |draw| &draw.words);
                text += &format!("  {words} of n{}\n", member.node.0);
            }
            if list.len() > MOST_SHOWN {
                text += &format!("  and {} more\n", list.len() - MOST_SHOWN);
            }
        }
        text += "\n`commute` finds the two updates that do not commute, and the least it takes.\n";
        text
    }
}

/// A promise of the group's that is broken.
pub(super) fn protocol<T>(what: String) -> Result<T, Failure> {
    let report = format!("{what}\nThis is a defect of vsync: please report it with this text.");
    Err(Failure::new(Kind::Protocol, report))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vsync_core::engine::{Class, Level};
    use vsync_core::wire::{GroupId, Member, NodeId};

    use super::*;
    use crate as vsync;
    use crate::testing::sim::host::Phase;

    #[vsync::replicated(crate = "crate")]
    #[derive(Default)]
    struct Count {
        count: u64,
    }

    #[vsync::replicated(crate = "crate")]
    impl Count {
        #[update(order = "total")]
        fn add(&mut self, by: u64) {
            self.count += by;
        }
    }

    fn view(number: u64) -> View {
        let member = |node| Member {
            id: MemberId { node: NodeId(node), entry: 1 },
            meta: Bytes::new(),
            nonce: 0,
            transfer: None,
        };
        View { number, members: vec![member(0), member(1)], active: 2 }
    }

    fn replica(delivered: [u64; 2], count: u64) -> Replica<Count> {
        let mut replica = Replica::new(Phase::Member);
        replica.view = Some(view(4));
        replica.me = Some(view(4).members[0].id);
        replica.delivered = delivered.to_vec();
        replica.state = Some(Count { count });
        replica
    }

    fn install(counts: [u64; 2]) -> Install {
        Install {
            group: GroupId(1),
            view: view(5).into(),
            rank: 0,
            together: Vec::new(),
            joined: Vec::new(),
            left: Vec::new(),
            cut: Cut { counts: counts.to_vec(), extent: 0 },
        }
    }

    /// A judge that saw a member send so many updates.
    fn judge(sent: u32) -> Judge {
        let mut judge = Judge::default();
        let draws = (0..sent).map(|_| Draw::new::<Count>(&CountUpdate::Add { by: 1 }));
        let run = Run { class: Class::Total, level: Level::Optimistic, count: sent };
        let draws = draws.map(|draw| Arc::new(draw.expect("it encodes")));
        judge.number(4, view(4).members[0].id, run, draws).expect("as it was sent");
        judge
    }

    #[test]
    fn a_right_install_passes() {
        let mut judge = judge(2);
        judge.report(1, 4, &Cut { counts: vec![1, 0], extent: 0 });
        judge.close(0, &replica([2, 1], 3), &install([2, 1])).expect("nothing is lost");
        assert_eq!(judge.newest().map(|view| view.number), Some(5));
    }

    #[test]
    fn a_survivor_that_loses_an_update_is_found() {
        let closed = judge(3).close(0, &replica([2, 1], 3), &install([2, 1]));
        let failure = closed.expect_err("the third is lost");
        assert_eq!(failure.kind, Kind::Protocol);
        assert!(failure.report.contains("only 2 of the 3 updates"), "{failure}");
    }

    #[test]
    fn stability_that_does_not_stay_is_found() {
        let mut judge = judge(2);
        judge.report(1, 4, &Cut { counts: vec![2, 2], extent: 0 });
        let failure = judge.close(0, &replica([2, 1], 3), &install([2, 1]));
        let failure = failure.expect_err("one that was stable is gone");
        assert!(failure.report.contains("was reported stable"), "{failure}");
    }

    #[test]
    fn a_replica_that_leaves_a_view_early_is_found() {
        let closed = judge(2).close(0, &replica([2, 0], 2), &install([2, 1]));
        assert!(closed.expect_err("not all").report.contains("before its final cut"));
    }

    #[test]
    fn updates_that_get_the_numbers_of_others_are_found() {
        let draw = Draw::new::<Count>(&CountUpdate::Add { by: 1 }).expect("it encodes");
        let run = Run { class: Class::Fifo, level: Level::Optimistic, count: 1 };
        let member = view(4).members[0].id;
        let wrong = Judge::default().number(4, member, run, [Arc::new(draw)].into_iter());
        assert_eq!(wrong.expect_err("it was total").kind, Kind::Protocol);
    }

    #[test]
    fn states_are_compared_at_one_cut_only() {
        let mut judge = Judge::default();
        judge.compare(0, &replica([1, 1], 2), &Count::default).expect("the first");
        judge.compare(1, &replica([1, 2], 3), &Count::default).expect("elsewhere");
        judge.compare(1, &replica([1, 1], 2), &Count::default).expect("the same");
        assert_eq!(judge.compared, 1);
        let failure = judge.compare(2, &replica([1, 1], 9), &Count::default);
        let failure = failure.expect_err("another state");
        assert_eq!(failure.kind, Kind::Diverged);
        assert!(failure.report.contains("n0  2\n    n2  9"), "{failure}");
    }
}
