//! What no member can see and the simulator can: one decision per view, bodies that arrive as they
//! were sent, states that are equal at every install, what excluded members were told.

use std::collections::{BTreeMap, HashMap};

use vsync_core::engine::{Class, Delivery, Install, Level, Run};
use vsync_core::wire::{Cut, GroupId, MemberId, NodeId, View};

use super::app::{App, updates};

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which check found it.
    pub check: &'static str,
    /// What is wrong.
    pub what: String,
}

/// An update as its sender submitted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Submitted {
    /// Names it: the first eight bytes of its body.
    pub(crate) id: u64,
    /// Length of its body.
    pub(crate) length: u32,
    /// Its order.
    pub(crate) class: Class,
    /// Its level.
    pub(crate) level: Level,
}

/// What was decided about a view.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    /// The view.
    pub(crate) view: View,
    /// Final cut of the view before.
    pub(crate) cut: Cut,
    /// State at the install.
    state: App,
    /// Who has installed it.
    installers: Vec<MemberId>,
}

/// More changes in a row that change nothing than all faults of a run can bring about.
const MOST_IDLE_CHANGES: u64 = 30;

/// The oracle of one run.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    failures: Vec<Failure>,
    sent: HashMap<(GroupId, u64, MemberId), Vec<Submitted>>,
    decisions: BTreeMap<(GroupId, u64), Decision>,
    /// The newest view that anybody has told the decision of, whether or not it was installed.
    decided: BTreeMap<GroupId, View>,
    /// How many views in a row have had the same members.
    idle_changes: BTreeMap<GroupId, u64>,
    /// (group, view left, member, how many own updates it was told are in the final cut)
    told: Vec<(GroupId, u64, MemberId, u64)>,
}

impl Judge {
    /// Reports a failure.
    pub(crate) fn fail(&mut self, check: &'static str, what: String) {
        if self.failures.len() < 8 {
            self.failures.push(Failure { check, what });
        }
    }

    /// What was found so far.
    pub(crate) fn failures(&self) -> &[Failure] {
        &self.failures
    }

    /// The newest view that anybody installed.
    pub(crate) fn newest(&self, group: GroupId) -> Option<&View> {
        let range = self.decisions.range((group, 0)..=(group, u64::MAX));
        range.last().map(|(_, decision)| &decision.view)
    }

    /// The newest view that was installed by a member of which something is so.
    pub(crate) fn newest_of(&self, group: GroupId, is: impl Fn(MemberId) -> bool) -> Option<&View> {
        let range = self.decisions.range((group, 0)..=(group, u64::MAX)).rev();
        let mut known = range.filter(|(_, it)| it.installers.iter().any(|&member| is(member)));
        known.next().map(|(_, decision)| &decision.view)
    }

    /// Somebody tells that a view is decided.
    pub(crate) fn decided(&mut self, group: GroupId, view: View) {
        let known = self.decided.get(&group).map_or(0, |known| known.number);
        if view.number > known {
            self.decided.insert(group, view);
        }
    }

    /// The newest view that was decided, if nobody has installed it.
    pub(crate) fn pending(&self, group: GroupId) -> Option<&View> {
        let installed = self.newest(group).map_or(0, |view| view.number);
        self.decided.get(&group).filter(|view| view.number > installed)
    }

    /// Whether a member has installed a view.
    pub(crate) fn has_installed(&self, group: GroupId, view: u64, member: MemberId) -> bool {
        let decision = self.decisions.get(&(group, view));
        decision.is_some_and(|decision| decision.installers.contains(&member))
    }

    /// The final cut of a view, and its members, where anybody has installed the next.
    pub(crate) fn closed(&self, group: GroupId, view: u64) -> Option<(&Cut, &View)> {
        let (closed, next) =
            (self.decisions.get(&(group, view))?, self.decisions.get(&(group, view + 1))?);
        Some((&next.cut, &closed.view))
    }

    /// Own updates got their numbers.
    pub(crate) fn sent(
        &mut self,
        group: GroupId,
        view: u64,
        member: MemberId,
        run: Run,
        updates: impl Iterator<Item = Submitted>,
    ) {
        let lane = self.sent.entry((group, view, member)).or_default();
        let before = lane.len();
        lane.extend(updates);
        let right = lane[before..]
            .iter()
            .all(|update| (update.class, update.level) == (run.class, run.level));
        if !right || lane.len() - before != run.count as usize {
            let what = format!("{member:?} in view {view}: {run:?} is not what was submitted");
            self.fail("submission", what);
        }
    }

    /// A delivery: its bodies are those that were submitted. Applies it.
    pub(crate) fn deliver(&mut self, host: usize, delivery: &Delivery, app: &mut App) {
        let key = (delivery.group, delivery.view, delivery.sender);
        let lane = self.sent.get(&key).map_or(&[][..], Vec::as_slice);
        let from = delivery.seq as usize;
        let Some(range) = lane.get(from..from + delivery.count as usize) else {
            let what = format!("n{host} delivers what nobody sent: {}", brief(delivery));
            return self.fail("bodies", what);
        };
        let Some(bodies) = updates(&delivery.body).filter(|list| list.len() == range.len()) else {
            let what = format!("n{host}: the body is not the updates of {}", brief(delivery));
            return self.fail("bodies", what);
        };
        let mut wrong = None;
        for ((submitted, body), seq) in range.iter().zip(bodies).zip(delivery.seq..) {
            let id = body.first_chunk().map(|id| u64::from_le_bytes(*id));
            let same = id == Some(submitted.id)
                && body.len() == submitted.length as usize
                && (submitted.class, submitted.level) == (delivery.class, delivery.level);
            if !same {
                wrong = Some(seq);
            }
            app.apply(delivery, seq, body);
        }
        if let Some(seq) = wrong {
            let what = format!("n{host}: update {seq} is not as sent: {}", brief(delivery));
            self.fail("bodies", what);
        }
    }

    /// An install: one number, one list, one cut of the view before, one state. Returns whether
    /// nobody had installed it before.
    pub(crate) fn install(&mut self, host: usize, install: &Install, state: App) -> bool {
        let (group, number) = (install.group, install.view.number);
        let me = install.view.members.get(install.rank).map(|member| member.id);
        let Some(known) = self.decisions.get_mut(&(group, number)) else {
            self.note_change(group, &install.view);
            let (view, cut) = ((*install.view).clone(), install.cut.clone());
            self.decisions.insert(
                (group, number),
                Decision { view, cut, state, installers: me.into_iter().collect() },
            );
            return true;
        };
        known.installers.extend(me);
        let what = if known.view != *install.view {
            Some(format!("{:?}, not {:?}", install.view, known.view))
        } else if known.cut != install.cut {
            Some(format!("after {:?}, not {:?}", install.cut, known.cut))
        } else if known.state != state {
            Some(format!("with {state:?}, not {:?}", known.state))
        } else {
            None
        };
        if let Some(what) = what {
            self.fail("decision", format!("n{host} installs view {number} {what}"));
        }
        false
    }

    /// A change that changes nothing may come, by a suspicion that was wrong, but not for ever.
    fn note_change(&mut self, group: GroupId, view: &View) {
        let before = self.decisions.get(&(group, view.number.wrapping_sub(1)));
        let same = before.is_some_and(|before| {
            let ids = |view: &View| view.members.iter().map(|it| it.id).collect::<Vec<_>>();
            before.view.active == view.active && ids(&before.view) == ids(view)
        });
        let changes = self.idle_changes.entry(group).or_default();
        *changes = if same { *changes + 1 } else { 0 };
        if *changes > MOST_IDLE_CHANGES {
            let what = format!("{changes} views in a row up to {} list the same", view.number);
            self.fail("churn", what);
        }
    }

    /// A member was told how many of its own updates are in the final cut of its last view.
    pub(crate) fn told(&mut self, group: GroupId, view: u64, member: MemberId, own: u64) {
        self.told.push((group, view, member, own));
    }

    /// The newest view of which a node was told that it is over.
    pub(crate) fn told_of(&self, group: GroupId, node: NodeId) -> Option<u64> {
        let of = self.told.iter().filter(|told| told.0 == group && told.2.node == node);
        of.map(|told| told.1).max()
    }

    /// Whether a member was told of the decision that ended its view.
    pub(crate) fn was_told_to(&self, group: GroupId, view: u64, member: MemberId) -> bool {
        self.told.iter().any(|told| (told.0, told.1, told.2) == (group, view, member))
    }

    /// Whether anybody was told of a decision that ended a view.
    pub(crate) fn was_told(&self, group: GroupId, view: u64) -> bool {
        self.told.iter().any(|told| (told.0, told.1) == (group, view))
    }

    /// Whether those who were told anything were told the truth.
    pub(crate) fn conclude(&mut self) {
        for (group, view, member, own) in std::mem::take(&mut self.told) {
            let Some(left) = self.decisions.get(&(group, view)) else {
                continue;
            };
            let Some(next) = self.decisions.get(&(group, view + 1)) else {
                continue;
            };
            let rank = left.view.rank_of(member);
            let count = rank.map(|rank| next.cut.count(rank));
            if count != Some(own) {
                let what = format!(
                    "{member:?} was told that {own} of its updates survive view {view}: {count:?}"
                );
                self.fail("outcome", what);
            }
        }
    }

    /// How many updates a member sent in a view.
    pub(crate) fn count(&self, group: GroupId, view: u64, member: MemberId) -> u64 {
        self.sent.get(&(group, view, member)).map_or(0, |lane| lane.len() as u64)
    }
}

fn brief(delivery: &Delivery) -> String {
    format!(
        "{:?} {}..{} of {:?} in view {}",
        delivery.class,
        delivery.seq,
        delivery.seq + u64::from(delivery.count),
        delivery.sender,
        delivery.view
    )
}
