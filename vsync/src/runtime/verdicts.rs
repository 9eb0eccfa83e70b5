//! [`Verdicts`]: whether an update that failed here failed everywhere.
//!
//! Update methods are deterministic: one that panics at a replica panics at all, half way at the
//! same place, and the states stay equal. If it does not, the states differ from there on, and
//! nobody would notice. So each member for which an update failed says so by an update of the
//! runtime's own, a total; every other member then says how it went there; and the majority of
//! those who applied it is right. Where it is even, the member of the lowest rank is. Since all
//! hear the same verdicts in the same order they decide alike, and a member that finds itself
//! among the others ends its membership as a crash would.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use vsync_core::wire::MemberId;

use super::inner::{Inner, Sending};
use super::seldom::{Blank, Seldom};
use crate::view::View;

/// What failed: an update by its place, or the beginning of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) view: u64,
    /// The sender's rank in the view and the update's number; none where the view began.
    pub(crate) update: Option<(u32, u64)>,
}

/// How it went at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    /// It panicked, or did not decode.
    Failed,
    /// It was applied.
    Sound,
    /// It was in the state that this member was given.
    Absent,
}

/// What a member that is not like the others is told.
const DIFFERS: &str = "an update failed here and not at most others, or the other way round: this \
                       replica differs";

/// The verdicts of one membership.
#[derive(Debug, Default)]
pub(crate) struct Verdicts {
    /// The first view whose updates were applied here.
    since: u64,
    cases: Seldom<Cases>,
}

/// All that was said, and what there is to say.
#[derive(Debug, Default, PartialEq)]
struct Cases {
    /// What failed here.
    failed: BTreeSet<Place>,
    /// What somebody has spoken of, until all have who can.
    open: BTreeMap<Place, Case>,
    /// What is not applied here yet, and spoken of by others.
    ahead: BTreeSet<Place>,
    /// What this member has spoken of.
    said: BTreeSet<Place>,
    sending: VecDeque<Inner>,
}

static NONE: Cases = Cases {
    failed: BTreeSet::new(),
    open: BTreeMap::new(),
    ahead: BTreeSet::new(),
    said: BTreeSet::new(),
    sending: VecDeque::new(),
};

impl Blank for Cases {
    fn blank() -> &'static Self {
        &NONE
    }
}

/// What was said of one update.
#[derive(Debug, Default, PartialEq)]
struct Case {
    votes: BTreeMap<MemberId, Verdict>,
    /// Whether it failed, once that is decided.
    outcome: Option<bool>,
}

impl Verdicts {
    /// The state is that of the beginning of this view.
    pub(crate) fn begin(&mut self, since: u64) {
        *self = Verdicts { since, ..Verdicts::default() };
    }

    /// The next verdict to send.
    pub(crate) fn send(&mut self) -> Option<Sending> {
        self.cases.made()?.sending.pop_front()?.sending(false)
    }

    /// Whether there is one to send.
    pub(crate) fn is_sending(&self) -> bool {
        !self.cases.sending.is_empty()
    }

    /// Whether something waits to be applied here.
    pub(crate) fn is_open(&self) -> bool {
        !self.cases.ahead.is_empty()
    }

    /// It failed here.
    pub(crate) fn failed(&mut self, place: Place) -> Result<(), String> {
        self.cases.failed.insert(place);
        self.cases.ahead.remove(&place);
        self.say(place, Verdict::Failed);
        self.compare(place)
    }

    /// A member has spoken, in this view; `applied` is whether it has been applied here.
    pub(crate) fn heard(
        &mut self,
        from: MemberId,
        view: &View,
        place: Place,
        verdict: Verdict,
        applied: bool,
    ) -> Result<(), String> {
        let number = view.number();
        let late = verdict == Verdict::Absent && !self.cases.open.contains_key(&place);
        if late || old(place, number) {
            return Ok(());
        }
        self.cases.open.entry(place).or_default().votes.insert(from, verdict);
        if place.view < self.since {
            self.say(place, Verdict::Absent);
        } else if applied || place.view < number || place.update.is_none() {
            self.tell(place);
        } else {
            self.cases.ahead.insert(place);
        }
        self.judge(place, view)
    }

    /// The updates of this sender in the installed view are applied up to `end`.
    pub(crate) fn applied(&mut self, rank: usize, end: u64) -> Result<(), String> {
        let reached =
            |place: &Place| place.update.is_some_and(|(of, seq)| of as usize == rank && seq < end);
        let Some(cases) = self.cases.made() else { return Ok(()) };
        for place in cases.ahead.extract_if(.., reached).collect::<Vec<_>>() {
            self.tell(place);
            self.compare(place)?;
        }
        Ok(())
    }

    /// A view is installed, and everything before it is applied. Those who are gone have no voice.
    pub(crate) fn installed(&mut self, view: &View) -> Result<(), String> {
        let number = view.number();
        let Some(cases) = self.cases.made() else { return Ok(()) };
        for place in std::mem::take(&mut cases.ahead) {
            self.tell(place);
            self.compare(place)?;
        }
        let Cases { open, said, failed, .. } = &mut *self.cases;
        open.retain(|place, _| !old(*place, number));
        said.retain(|place| !old(*place, number) || open.contains_key(place));
        failed.retain(|place| !old(*place, number) || open.contains_key(place));
        for place in self.cases.open.keys().copied().collect::<Vec<_>>() {
            self.judge(place, view)?;
        }
        Ok(())
    }

    /// Says how it went here, which is known.
    fn tell(&mut self, place: Place) {
        let failed = self.cases.failed.contains(&place);
        self.say(place, if failed { Verdict::Failed } else { Verdict::Sound });
    }

    fn say(&mut self, place: Place, verdict: Verdict) {
        if self.cases.said.insert(place) {
            self.cases.sending.push_back(Inner::Verdict(place, verdict));
        }
    }

    /// Decides what the verdicts heard so far decide. When all have spoken who can, it is over, and
    /// nothing is kept of it. A member that is joining can: it will when it is active.
    fn judge(&mut self, place: Place, view: &View) -> Result<(), String> {
        let Some(case) = self.cases.open.get_mut(&place) else { return Ok(()) };
        let voters = view.members().iter().map(|member| member.id);
        let voters = voters.filter(|id| id.entry <= place.view);
        let votes: Vec<_> = voters.map(|id| case.votes.get(&id).copied()).collect();
        let count = |wanted| votes.iter().filter(|vote| **vote == Some(wanted)).count();
        let (failed, sound) = (count(Verdict::Failed), count(Verdict::Sound));
        let voters = votes.len() - count(Verdict::Absent);
        let over = failed + sound == voters;
        let outcome = if 2 * failed > voters {
            Some(true)
        } else if 2 * sound > voters {
            Some(false)
        } else {
            // By rank: the first who has seen it is right.
            let first = votes.iter().flatten().find(|vote| **vote != Verdict::Absent);
            first.filter(|_| over).map(|vote| *vote == Verdict::Failed)
        };
        case.outcome = case.outcome.or(outcome);
        self.compare(place)?;
        if over && !self.cases.ahead.contains(&place) {
            self.cases.open.remove(&place);
            self.cases.failed.remove(&place);
            self.cases.said.remove(&place);
        }
        Ok(())
    }

    /// Whether this replica is as was decided, if it was.
    fn compare(&self, place: Place) -> Result<(), String> {
        let known = place.view >= self.since && !self.cases.ahead.contains(&place);
        match self.cases.open.get(&place).and_then(|case| case.outcome) {
            Some(failed) if known && failed != self.cases.failed.contains(&place) => {
                Err(DIFFERS.to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Whether it is too long ago to be spoken of: everybody has had the time of several views.
fn old(place: Place, view: u64) -> bool {
    place.view + 8 < view
}

#[cfg(test)]
mod tests {
    use std::ops::{Deref, DerefMut};

    use Verdict::{Absent, Failed, Sound};
    use vsync_core::wire::{self, NodeId};

    use super::*;

    fn id(node: u64) -> MemberId {
        MemberId { node: NodeId(node), entry: if node < 10 { 1 } else { node } }
    }

    /// A view; nodes from 10 on came in by the view of that number.
    fn view(number: u64, nodes: &[u64]) -> View {
        let member = |node: &u64| wire::Member {
            id: id(*node),
            meta: bytes::Bytes::new(),
            nonce: 0,
            transfer: None,
        };
        let members: Vec<_> = nodes.iter().map(member).collect();
        View::new(&wire::View { number, active: members.len(), members }, &[], &[], &[])
    }

    /// Those of a member, in its view.
    struct Begun {
        verdicts: Verdicts,
        view: View,
    }

    impl Begun {
        fn since(number: u64, view: View) -> Begun {
            let mut verdicts = Verdicts::default();
            verdicts.begin(number);
            verdicts.installed(&view).expect("nothing was said");
            Begun { verdicts, view }
        }

        fn installed(&mut self, view: View) -> Result<(), String> {
            self.view = view;
            self.verdicts.installed(&self.view)
        }

        fn heard(
            &mut self,
            from: MemberId,
            place: Place,
            verdict: Verdict,
            applied: bool,
        ) -> Result<(), String> {
            self.verdicts.heard(from, &self.view, place, verdict, applied)
        }
    }

    impl Deref for Begun {
        type Target = Verdicts;

        fn deref(&self) -> &Verdicts {
            &self.verdicts
        }
    }

    impl DerefMut for Begun {
        fn deref_mut(&mut self) -> &mut Verdicts {
            &mut self.verdicts
        }
    }

    fn begun(nodes: &[u64]) -> Begun {
        Begun::since(1, view(9, nodes))
    }

    fn outcome(verdicts: &Verdicts) -> Option<bool> {
        verdicts.cases.open.get(&PLACE).expect("open").outcome
    }

    /// Whether nothing is kept.
    fn is_empty(verdicts: &Verdicts) -> bool {
        let Cases { failed, open, ahead, said, .. } = &*verdicts.cases;
        failed.is_empty() && open.is_empty() && ahead.is_empty() && said.is_empty()
    }

    const PLACE: Place = Place { view: 9, update: Some((0, 5)) };

    fn said(verdicts: &mut Verdicts) -> Vec<Verdict> {
        let inner = verdicts.cases.sending.drain(..).map(|inner| match inner {
            Inner::Verdict(_, verdict) => verdict,
            other => panic!("{other:?}"),
        });
        inner.collect()
    }

    #[test]
    fn each_speaks_once_and_the_majority_decides() {
        let mut verdicts = begun(&[1, 2, 3]);
        verdicts.failed(PLACE).expect("not decided");
        assert_eq!(said(&mut verdicts), [Failed]);
        assert_eq!(verdicts.heard(id(1), PLACE, Failed, true), Ok(()));
        assert_eq!(verdicts.heard(id(2), PLACE, Sound, true), Ok(()));
        assert_eq!(outcome(&verdicts), None);
        assert_eq!(verdicts.heard(id(3), PLACE, Failed, true), Ok(()));
        assert!(is_empty(&verdicts), "all have spoken");
        assert_eq!(said(&mut verdicts), []);

        let mut verdicts = begun(&[1, 2, 3]);
        assert_eq!(verdicts.heard(id(1), PLACE, Failed, true), Ok(()));
        assert_eq!(said(&mut verdicts), [Sound]);
        assert!(verdicts.heard(id(2), PLACE, Failed, true).is_err());
    }

    #[test]
    fn of_two_the_senior_is_right() {
        let mut verdicts = begun(&[1, 2]);
        verdicts.failed(PLACE).expect("not decided");
        assert_eq!(verdicts.heard(id(2), PLACE, Failed, true), Ok(()));
        assert!(verdicts.heard(id(1), PLACE, Sound, true).is_err());
    }

    #[test]
    fn what_is_ahead_is_compared_when_it_comes() {
        let mut verdicts = begun(&[1, 2, 3]);
        for from in [1, 2] {
            assert_eq!(verdicts.heard(id(from), PLACE, Failed, false), Ok(()));
        }
        assert!(verdicts.is_open() && said(&mut verdicts).is_empty());
        assert_eq!(verdicts.applied(0, 5), Ok(()), "up to, but without");
        assert_eq!(verdicts.applied(1, 6), Ok(()), "of another");
        assert!(verdicts.applied(0, 6).is_err());
        assert_eq!(said(&mut verdicts), [Sound]);

        let mut verdicts = begun(&[1, 2, 3]);
        for from in [1, 2] {
            assert_eq!(verdicts.heard(id(from), PLACE, Failed, false), Ok(()));
        }
        assert_eq!(outcome(&verdicts), Some(true));
        assert_eq!(verdicts.failed(PLACE), Ok(()));
        assert_eq!(verdicts.applied(0, 6), Ok(()));
        assert_eq!(said(&mut verdicts), [Failed]);
    }

    #[test]
    fn who_is_gone_or_was_not_there_has_no_voice() {
        let mut verdicts = begun(&[1, 2, 3, 4]);
        verdicts.failed(PLACE).expect("not decided");
        for (from, verdict) in [(1, Sound), (3, Failed), (4, Failed)] {
            assert_eq!(verdicts.heard(id(from), PLACE, verdict, true), Ok(()));
        }
        assert_eq!(outcome(&verdicts), None);
        let mut other = begun(&[1, 2, 3, 4]);
        other.heard(id(3), PLACE, Failed, true).expect("open");
        assert_eq!(said(&mut other), [Sound]);
        // One and four are gone, and somebody came.
        assert_eq!(verdicts.installed(view(10, &[2, 3, 10])), Ok(()));
        assert_eq!(verdicts.heard(id(2), PLACE, Absent, true), Ok(()));
        assert!(is_empty(&verdicts));
        assert_eq!(verdicts.heard(id(10), PLACE, Absent, true), Ok(()));
        assert!(is_empty(&verdicts), "it comes too late to matter");
        other.installed(view(10, &[2, 3, 10])).expect("open");
        assert!(other.heard(id(2), PLACE, Absent, true).is_err());
    }

    #[test]
    fn a_view_decides_where_who_is_gone_had_not_spoken() {
        let mut verdicts = begun(&[1, 2, 3]);
        assert_eq!(verdicts.heard(id(1), PLACE, Failed, true), Ok(()));
        assert_eq!(verdicts.heard(id(3), PLACE, Sound, true), Ok(()));
        assert_eq!((outcome(&verdicts), said(&mut verdicts)), (None, vec![Sound]));
        assert!(verdicts.installed(view(10, &[1, 3])).is_err(), "the senior is right");
    }

    #[test]
    fn a_member_that_is_joining_speaks_when_it_is_active() {
        let mut verdicts = begun(&[1, 2]);
        verdicts.failed(PLACE).expect("not decided");
        let nodes = [1, 2, 3].map(|node| wire::Member {
            id: id(node),
            meta: bytes::Bytes::new(),
            nonce: 0,
            transfer: None,
        });
        let joining = wire::View { number: 9, active: 2, members: nodes.into() };
        verdicts.installed(View::new(&joining, &[], &[], &[])).expect("not decided");
        for from in [1, 2] {
            assert_eq!(verdicts.heard(id(from), PLACE, Failed, true), Ok(()));
        }
        assert_eq!(outcome(&verdicts), Some(true));
        assert_eq!(verdicts.installed(view(10, &[1, 2, 3])), Ok(()));
        assert_eq!(verdicts.heard(id(3), PLACE, Failed, true), Ok(()));
        assert!(is_empty(&verdicts));
    }

    #[test]
    fn a_joiner_says_that_it_was_not_there_and_differs_from_nobody() {
        let mut verdicts = Begun::since(11, view(11, &[1, 2, 10]));
        for from in [1, 2] {
            assert_eq!(verdicts.heard(id(from), PLACE, Failed, true), Ok(()));
        }
        assert_eq!(said(&mut verdicts), [Absent]);
        assert!(is_empty(&verdicts));
    }
}
