//! What one member has told its application: the material of the properties.

use std::collections::{BTreeMap, BTreeSet};

use vsync_core::engine::{Delivery, Install, Output};
use vsync_core::wire::{Ballot, Cut, MemberId, ViewNumber};
use xxhash_rust::xxh3::xxh3_64;

/// Place of an update in its view: lane and number.
pub type Place = (usize, u64);

/// One member's history, from the view on in which the model begins.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// By view.
    pub views: BTreeMap<ViewNumber, InView>,
    /// Its membership ended against its will.
    pub excluded: bool,
    /// A check of its own history that failed.
    pub broken: Option<String>,
}

/// One member's history in one view.
#[derive(Clone, Debug)]
pub struct InView {
    /// How it was installed.
    pub install: Install,
    /// What was delivered: content and position in the total order.
    pub delivered: BTreeMap<Place, (u64, Option<u64>)>,
    /// What was called stable.
    pub stable: Cut,
    /// Own updates that got a number.
    pub sent: u64,
    /// Proposals for the successor that were accepted.
    pub accepted: BTreeSet<(Ballot, u64)>,
    last_position: Option<u64>,
}

impl Log {
    /// The latest view.
    pub fn last(&self) -> Option<(ViewNumber, &InView)> {
        self.views.last_key_value().map(|(&number, view)| (number, view))
    }

    /// Forgets the views before `first`.
    pub fn start_at(&mut self, first: ViewNumber) {
        self.views.retain(|&number, _| number >= first);
    }

    /// Takes an output in.
    pub fn record(&mut self, me: u64, output: &Output) {
        match output {
            Output::Deliver(delivery) => self.delivery(delivery),
            Output::Install(install) => self.install(me, install),
            Output::Stable { view, cut, .. } => {
                if let Some(known) = self.views.get_mut(view) {
                    known.stable.raise(cut);
                }
            }
            Output::Sent { view, seq, run, .. } => {
                if let Some(known) = self.views.get_mut(view) {
                    known.sent = known.sent.max(seq + u64::from(run.count));
                }
            }
            Output::Accepted { view, ballot, proposal, .. } => {
                if let Some(known) = self.views.get_mut(view) {
                    known.accepted.insert((*ballot, *proposal));
                }
            }
            Output::Excluded { .. } => self.excluded = true,
            _ => {}
        }
    }

    fn delivery(&mut self, delivery: &Delivery) {
        let current = self.views.keys().next_back().copied();
        if current != Some(delivery.view) {
            return self.broke(format!("view {current:?}, but delivers {delivery:?}"));
        }
        let Some(view) = self.views.get_mut(&delivery.view) else { return };
        let mut rest: &[u8] = &delivery.body;
        let mut complaint = None;
        for index in 0..u64::from(delivery.count) {
            let seq = delivery.seq + index;
            let position = delivery.position.map(|position| position + index);
            let before = view.delivered.range((delivery.rank, 0)..(delivery.rank + 1, 0)).count();
            if before as u64 != seq {
                complaint = Some(format!("{before} of the lane delivered, then {delivery:?}"));
            }
            if position.is_some() {
                if view.last_position >= position {
                    complaint = Some(format!("after {:?} {delivery:?}", view.last_position));
                }
                view.last_position = position;
            }
            let (content, tail) = split(rest);
            rest = tail;
            view.delivered.insert((delivery.rank, seq), (xxh3_64(content), position));
        }
        if let Some(complaint) = complaint {
            self.broke(complaint);
        }
    }

    fn install(&mut self, me: u64, install: &Install) {
        let listed = install.view.members.get(install.rank).map(|member| member.id.node.0);
        if listed != Some(me) {
            self.broke(format!("not in its own view: {install:?}"));
        }
        if let Some((number, old)) = self.last() {
            if install.view.number != number + 1 {
                return self.broke(format!("after view {number} {install:?}"));
            }
            let delivered = |rank| old.delivered.range((rank, 0)..(rank + 1, 0)).count() as u64;
            if install.cut.counts.iter().enumerate().any(|(rank, &c)| delivered(rank) != c) {
                self.broke(format!("not the cut was delivered: {install:?}"));
            }
        }
        if let Some((_, old)) = self.last()
            && old.sent > install.cut.count(old.install.rank)
        {
            self.broke(format!("a survivor lost updates: {install:?}"));
        }
        let view = InView {
            install: install.clone(),
            delivered: BTreeMap::new(),
            stable: Cut::new(install.view.members.len()),
            sent: 0,
            accepted: BTreeSet::new(),
            last_position: None,
        };
        self.views.insert(install.view.number, view);
    }

    /// Notes a failed check; the first counts.
    pub fn broke(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }
}

impl InView {
    /// The members that an install made, and the end of the view before.
    pub fn decision(&self) -> (Vec<MemberId>, usize, &Cut) {
        let view = &self.install.view;
        (view.members.iter().map(|member| member.id).collect(), view.active, &self.install.cut)
    }
}

/// The first update of a body, and the rest.
fn split(body: &[u8]) -> (&[u8], &[u8]) {
    let Some((length, rest)) = body.split_first_chunk::<4>() else {
        return (body, &[]);
    };
    rest.split_at((u32::from_le_bytes(*length) as usize).min(rest.len()))
}
