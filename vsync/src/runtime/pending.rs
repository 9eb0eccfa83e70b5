//! [`Pending`]: the requests that are asked for and not answered yet, as a part of the replicated
//! state.
//!
//! A request is first ordered as it is ([`Wanted`]), so that all members agree on what is pending
//! and on who coordinates it. It ends by the first of these in the order: its [`Finish`], with all
//! its effects and its answer; a cancellation; its deadline or the lease of its session, which are
//! ordered as well. Whatever comes later under its name changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use vsync_core::wire::Micros;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::sessions::{Recorded, RequestId};
use crate::request::{Policy, RequestInfo};
use crate::view::{MemberId, View};

/// Most requests of a group that are pending.
pub(crate) const PENDING: usize = 4096;
/// Most steps of one request.
const STEPS: u32 = 1024;
/// The longest patience: what never ends would be kept for ever.
const LONGEST: Micros = 86_400_000_000;
/// Bytes that are kept free for the answer of each. A longer one is kept if there is room.
pub(crate) const ANSWER: usize = 4096;

/// A request's name in the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Name {
    /// A session's number, and the request's in it.
    Numbered(u64, u64),
    Key(Vec<u8>),
}

impl Name {
    fn hash(&self) -> u64 {
        match self {
            Name::Numbered(session, number) => {
                xxh3_64(&[session.to_le_bytes(), number.to_le_bytes()].concat())
            }
            Name::Key(key) => xxh3_64(key),
        }
    }
}

impl From<&RequestId> for Name {
    fn from(id: &RequestId) -> Name {
        match id {
            RequestId::Numbered { session, number, .. } => Name::Numbered(session.number, *number),
            RequestId::Key(key) => Name::Key(key.clone()),
        }
    }
}

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) id: RequestId,
    /// Method id and arguments.
    pub(crate) call: Vec<u8>,
    /// Hash of the argument by which its coordinator is chosen.
    pub(crate) key: Option<u64>,
    /// How long it may take from when it is ordered.
    pub(crate) patience: Micros,
}

/// What an attempt at a request has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finish {
    pub(crate) name: Name,
    /// Applied together, in this order.
    pub(crate) updates: Vec<Vec<u8>>,
    pub(crate) given: Given,
}

/// What a request answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Given {
    /// This, encoded.
    Answer(Vec<u8>),
    /// What the update of this index gives.
    Of(u32),
    /// What it ends with instead of an answer.
    Ends(Recorded),
}

/// A part of a request's work that its handler has to know the result of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) name: Name,
    /// Which of the request's steps, from 0 on.
    pub(crate) index: u32,
    pub(crate) work: Work,
}

/// What is done in a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// These updates; the result is that of one of them, if of any.
    Updates(Vec<Vec<u8>>, Option<u32>),
    /// Nothing: the coordinator has found this out.
    Found(Vec<u8>),
}

impl Work {
    /// What the same step of another attempt must have in common with this one.
    pub(crate) fn hash(&self) -> u128 {
        match self {
            Work::Updates(updates, of) => {
                let mut bytes = of.map_or(u64::MAX, u64::from).to_le_bytes().to_vec();
                for update in updates {
                    bytes.extend_from_slice(&(update.len() as u64).to_le_bytes());
                    bytes.extend_from_slice(update);
                }
                xxh3_128(&bytes)
            }
            // What is found out may differ; the first that is recorded holds.
            Work::Found(_) => 0,
        }
    }
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stepped {
    /// Its result, now or at an earlier attempt.
    Done(Vec<u8>),
    /// An earlier attempt has done something else in this step.
    Differs,
    /// The request is over.
    Over,
}

/// A step that was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) hash: u128,
    pub(crate) result: Vec<u8>,
}

/// A pending request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: RequestId,
    pub(crate) call: Vec<u8>,
    pub(crate) hash: u128,
    key: Option<u64>,
    pub(crate) deadline: Micros,
    /// Who coordinates it; nobody where every member runs it.
    pub(crate) chosen: Option<MemberId>,
    /// How many have begun it, as far as that is agreed on.
    pub(crate) attempt: u32,
    pub(crate) steps: BTreeMap<u32, Done>,
}

impl Entry {
    fn bytes(&self) -> usize {
        let key = match &self.id {
            RequestId::Numbered { .. } => 0,
            RequestId::Key(key) => key.len(),
        };
        let steps: usize = self.steps.values().map(|step| step.result.len() + 20).sum();
        self.call.len() + key + steps + ANSWER
    }

    /// What its coordinator is chosen by.
    pub(crate) fn place(&self, name: &Name) -> u64 {
        self.key.unwrap_or_else(|| name.hash())
    }
}

/// Something that has changed, for who acts on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    Begun(Name),
    /// By the update of this number.
    Ended(u64, Name, Recorded),
}

/// The table as it is in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    entries: BTreeMap<Name, Entry>,
}

/// The table.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Pending {
    saved: Saved,
    bytes: usize,
    deadlines: BTreeSet<(Micros, Name)>,
    /// How many each member coordinates.
    loads: BTreeMap<MemberId, usize>,
    news: Vec<News>,
}

impl Pending {
    /// None.
    pub(super) const NONE: Pending = Pending {
        saved: Saved { entries: BTreeMap::new() },
        bytes: 0,
        deadlines: BTreeSet::new(),
        loads: BTreeMap::new(),
        news: Vec::new(),
    };

    pub(crate) fn get(&self, name: &Name) -> Option<&Entry> {
        self.saved.entries.get(name)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&Name, &Entry)> {
        self.saved.entries.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.saved.entries.len()
    }

    /// Bytes that it takes or keeps free.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many each member coordinates.
    pub(crate) fn loads(&self) -> &BTreeMap<MemberId, usize> {
        &self.loads
    }

    /// What has changed since this was last asked.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    pub(crate) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// One more, at `now`.
    pub(crate) fn begin(
        &mut self,
        wanted: Wanted,
        hash: u128,
        now: Micros,
        (policy, method, view): (Policy, &str, &View),
    ) {
        let Wanted { id, call, key, patience } = wanted;
        let name = Name::from(&id);
        let info = RequestInfo { method, hash: name.hash(), key, loads: &self.loads };
        let chosen = policy.choose(&info, view, None);
        let deadline = now.saturating_add(patience.min(LONGEST));
        let entry =
            Entry { id, call, hash, key, deadline, chosen, attempt: 1, steps: BTreeMap::new() };
        self.insert(name.clone(), entry);
        self.news.push(News::Begun(name));
    }

    fn insert(&mut self, name: Name, entry: Entry) {
        self.bytes += entry.bytes();
        self.deadlines.insert((entry.deadline, name.clone()));
        if let Some(chosen) = entry.chosen {
            *self.loads.entry(chosen).or_default() += 1;
        }
        self.saved.entries.insert(name, entry);
    }

    /// One is over, by the update `seq`, with this.
    pub(crate) fn end(&mut self, name: Name, seq: u64, recorded: Recorded) -> Option<Entry> {
        let entry = self.saved.entries.remove(&name)?;
        self.bytes -= entry.bytes();
        self.deadlines.remove(&(entry.deadline, name.clone()));
        if let Some(chosen) = entry.chosen {
            unload(&mut self.loads, chosen);
        }
        self.news.push(News::Ended(seq, name, recorded));
        Some(entry)
    }

    /// The requests of a session.
    pub(crate) fn of_session(&self, session: u64) -> Vec<Name> {
        let (first, last) = (Name::Numbered(session, 0), Name::Numbered(session, u64::MAX));
        self.saved.entries.range(first..=last).map(|(name, _)| name.clone()).collect()
    }

    /// When the first deadline comes.
    pub(crate) fn due(&self) -> Option<Micros> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// The next whose deadline has come at `now`.
    pub(crate) fn late(&self, now: Micros) -> Option<Name> {
        let (_, name) = self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        Some(name.clone())
    }

    /// What is known of a step; `None` if it is to be done.
    pub(crate) fn stepped(&self, name: &Name, index: u32, hash: u128) -> Option<Stepped> {
        let Some(entry) = self.get(name) else { return Some(Stepped::Over) };
        match entry.steps.get(&index) {
            Some(done) if done.hash == hash => Some(Stepped::Done(done.result.clone())),
            None if index < STEPS => None,
            _ => Some(Stepped::Differs),
        }
    }

    /// A step was done.
    pub(crate) fn step(&mut self, name: &Name, index: u32, done: Done) {
        if let Some(entry) = self.saved.entries.get_mut(name) {
            self.bytes -= entry.bytes();
            entry.steps.insert(index, done);
            self.bytes += entry.bytes();
        }
    }

    /// A view has begun: whose coordinator is gone goes to another. It may be told of the same
    /// view again, behind a checkpoint that was taken in it.
    pub(crate) fn installed(
        &mut self,
        coordination: impl Fn(&[u8]) -> (Policy, &'static str),
        view: &View,
    ) {
        for (name, entry) in &mut self.saved.entries {
            let (policy, method) = coordination(&entry.call);
            let info =
                RequestInfo { method, hash: name.hash(), key: entry.key, loads: &self.loads };
            let chosen = policy.choose(&info, view, entry.chosen);
            if chosen == entry.chosen {
                continue;
            }
            if let Some(before) = std::mem::replace(&mut entry.chosen, chosen) {
                unload(&mut self.loads, before);
            }
            if let Some(chosen) = chosen {
                *self.loads.entry(chosen).or_default() += 1;
            }
            entry.attempt = entry.attempt.saturating_add(1);
        }
    }

    /// For a checkpoint.
    pub(crate) fn saved(&self) -> Saved {
        self.saved.clone()
    }
}

fn unload(loads: &mut BTreeMap<MemberId, usize>, member: MemberId) {
    if let Some(load) = loads.get_mut(&member) {
        *load -= 1;
        if *load == 0 {
            loads.remove(&member);
        }
    }
}

impl Saved {
    /// The table of a checkpoint.
    pub(crate) fn pending(self) -> Pending {
        let mut pending = Pending::default();
        for (name, entry) in self.entries {
            pending.insert(name, entry);
        }
        pending
    }
}

#[cfg(test)]
mod tests {
    use vsync_core::wire::{self, NodeId};

    use super::super::sessions::{Begun, Refusal, SessionId, Sessions};
    use super::*;

    const GROUP: u64 = 7;

    fn view(nodes: &[u64]) -> View {
        let member = |node: &u64| wire::Member {
            id: id(*node),
            meta: bytes::Bytes::new(),
            nonce: 0,
            transfer: None,
        };
        let members: Vec<_> = nodes.iter().map(member).collect();
        View::new(&wire::View { number: 1, active: members.len(), members }, &[], &[], &[])
    }

    fn id(node: u64) -> MemberId {
        MemberId { node: NodeId(node), entry: 1 }
    }

    fn numbered(session: u64, number: u64, acknowledged: u64) -> RequestId {
        let session = SessionId { group: GROUP, number: session };
        RequestId::Numbered { session, number, acknowledged }
    }

    fn wanted(id: RequestId, patience: Micros) -> Wanted {
        Wanted { id, call: vec![1, 2, 3], key: None, patience }
    }

    fn begin(pending: &mut Pending, number: u64, policy: Policy, view: &View) -> Name {
        let id = numbered(1, number, 0);
        pending.begin(wanted(id.clone(), 100), 5, 1000, (policy, "price", view));
        Name::from(&id)
    }

    fn chosen(pending: &Pending, name: &Name) -> (Option<MemberId>, u32) {
        let entry = pending.get(name).expect("pending");
        (entry.chosen, entry.attempt)
    }

    #[test]
    fn an_attempt_is_counted_when_its_coordinator_is_gone() {
        let mut pending = Pending::default();
        let name = begin(&mut pending, 1, Policy::Primary, &view(&[1, 2, 3]));
        let install = |pending: &mut Pending, nodes: &[u64]| {
            pending.installed(|_| (Policy::Primary, "price"), &view(nodes));
        };
        assert_eq!(chosen(&pending, &name), (Some(id(1)), 1));
        install(&mut pending, &[1, 2, 3, 4]);
        assert_eq!(chosen(&pending, &name), (Some(id(1)), 1), "a joiner takes nothing");
        install(&mut pending, &[2, 3, 4]);
        assert_eq!(chosen(&pending, &name), (Some(id(2)), 2));
        assert_eq!(pending.loads(), &BTreeMap::from([(id(2), 1)]));
        // Who has the table from a checkpoint of this view is told of the view once more.
        let mut loaded = pending.saved().pending();
        install(&mut loaded, &[2, 3, 4]);
        assert_eq!(chosen(&loaded, &name), (Some(id(2)), 2));
        assert_eq!((loaded.loads(), loaded.bytes()), (pending.loads(), pending.bytes()));
        assert_eq!(loaded.due(), pending.due());
    }

    #[test]
    fn load_goes_to_who_has_the_least() {
        let mut pending = Pending::default();
        let before = view(&[1, 2, 3]);
        let names: Vec<_> =
            (0..9).map(|number| begin(&mut pending, number, Policy::Load, &before)).collect();
        assert!(pending.loads().values().all(|load| *load == 3), "{:?}", pending.loads());
        pending.end(names[0].clone(), 1, Recorded::Late).expect("pending");
        pending.installed(|_| (Policy::Load, "price"), &view(&[1, 3]));
        assert_eq!(pending.loads().values().copied().collect::<Vec<_>>(), [4, 4]);
    }

    #[test]
    fn what_is_over_leaves_nothing() {
        let mut pending = Pending::default();
        let name = begin(&mut pending, 1, Policy::Rendezvous, &view(&[1, 2]));
        pending.step(&name, 0, Done { hash: 1, result: vec![0; 50] });
        assert_eq!(pending.due(), Some(1100));
        assert_eq!(pending.late(1099), None);
        assert_eq!(pending.late(1100), Some(name.clone()));
        assert!(pending.end(name.clone(), 7, Recorded::Late).is_some());
        assert!(pending.end(name.clone(), 8, Recorded::Cancelled).is_none(), "once");
        assert_eq!((pending.len(), pending.bytes(), pending.due()), (0, 0, None));
        assert!(pending.loads().is_empty());
        let news = [News::Begun(name.clone()), News::Ended(7, name, Recorded::Late)];
        assert_eq!(pending.take_news(), news);
        assert!(!pending.has_news());
    }

    #[test]
    fn a_step_is_known_by_its_number_and_its_content() {
        let mut pending = Pending::default();
        let name = begin(&mut pending, 1, Policy::Rendezvous, &view(&[1]));
        let work = Work::Updates(vec![vec![1], vec![2, 3]], Some(0));
        let others = [
            Work::Updates(vec![vec![1, 2], vec![3]], Some(0)),
            Work::Updates(vec![vec![1], vec![2, 3]], Some(1)),
            Work::Updates(vec![vec![1], vec![2, 3]], None),
            Work::Found(vec![1]),
        ];
        assert_eq!(pending.stepped(&name, 1, work.hash()), None, "in any order");
        pending.step(&name, 1, Done { hash: work.hash(), result: vec![9] });
        let known = pending.stepped(&name, 1, work.hash());
        assert_eq!(known, Some(Stepped::Done(vec![9])));
        for other in others {
            assert_eq!(pending.stepped(&name, 1, other.hash()), Some(Stepped::Differs));
        }
        assert_eq!(pending.stepped(&name, STEPS, 0), Some(Stepped::Differs), "too many");
        let over = Name::Key(vec![1]);
        assert_eq!(pending.stepped(&over, 0, 0), Some(Stepped::Over));
    }

    #[test]
    fn one_name_is_pending_or_recorded_or_neither() {
        let mut sessions = Sessions::default();
        sessions.open(GROUP, 500, 0);
        let view = view(&[1, 2]);
        let first = numbered(1, 1, 0);
        assert_eq!(sessions.begin(&first, 5, GROUP, 0), Begun::CarryOut);
        let by = (Policy::Rendezvous, "price", &view);
        sessions.pending.begin(wanted(first.clone(), 100), 5, 0, by);
        assert_eq!(sessions.begin(&first, 5, GROUP, 10), Begun::Pending);
        let other = sessions.begin(&first, 6, GROUP, 10);
        assert_eq!(other, Begun::Refused(Refusal::OtherContent));
        // A client that does not wait any more still has its request carried out; nothing is kept.
        assert_eq!(sessions.begin(&numbered(1, 2, 1), 7, GROUP, 10), Begun::CarryOut);
        let late = sessions.begin(&first, 5, GROUP, 10);
        assert_eq!(late, Begun::Refused(Refusal::Acknowledged));
        let ended = sessions.pending.end(Name::from(&first), 3, Recorded::Late).expect("pending");
        let before = sessions.saved();
        sessions.record(&ended.id, ended.hash, Recorded::Late, 20);
        assert_eq!(sessions.saved(), before);
        assert_eq!(sessions.due(), Some(510), "the lease, renewed");
    }

    #[test]
    fn the_lease_of_a_session_ends_its_requests() {
        let mut sessions = Sessions::default();
        let view = view(&[1, 2]);
        for session in 1..=2 {
            sessions.open(GROUP, 100 * session, 0);
            for number in 1..=2 {
                let id = numbered(session, number, 0);
                let by = (Policy::Rendezvous, "price", &view);
                sessions.pending.begin(wanted(id, 1_000_000), 5, 0, by);
            }
        }
        assert_eq!(sessions.due(), Some(100));
        assert_eq!(sessions.expire(100), [1]);
        let names = sessions.pending.of_session(1);
        assert_eq!(names, [Name::Numbered(1, 1), Name::Numbered(1, 2)]);
    }

    #[test]
    fn what_is_kept_for_answers_is_bounded() {
        let mut sessions = Sessions::default();
        sessions.open(GROUP, 1_000_000, 0);
        let view = view(&[1, 2]);
        let mut number = 0;
        let refused = loop {
            number += 1;
            let id = numbered(1, number, 0);
            match sessions.begin(&id, 5, GROUP, 0) {
                Begun::CarryOut => {
                    let call = vec![0; 1 << 20];
                    let wanted = Wanted { call, ..wanted(id, 1_000_000) };
                    let by = (Policy::Rendezvous, "price", &view);
                    sessions.pending.begin(wanted, 5, 0, by);
                }
                other => break other,
            }
        };
        assert_eq!(refused, Begun::Refused(Refusal::Full));
        assert!((50..65).contains(&number), "{number} of a MiB each");
        let short = Recorded::Result(vec![0; ANSWER]);
        assert_eq!(sessions.fitting(short.clone()), short, "room was kept for it");
        let long = sessions.fitting(Recorded::Result(vec![0; 4 << 20]));
        assert_eq!(long, Recorded::TooLarge(4 << 20));
    }
}
