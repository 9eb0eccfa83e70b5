//! [`Rare`]: what a membership has only while something is up in its group.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};

use super::Early;
use super::install::Closed;
use super::times::Times;
use super::transfer::Outgoing;
use crate::engine::Install;
use crate::seldom::Blank;
use crate::wire::messages::JoinRequest;
use crate::wire::{Micros, NodeId, Rank};

/// Of each of these there is mostly nothing: who wants in, who must go, what the next view or the
/// one before is still owed.
#[derive(Clone, Debug)]
pub(crate) struct Rare {
    /// How the installed view will be told to the application, as long as it is not.
    pub(crate) install: Option<Box<Install>>,
    /// The view before, as long as others may need it.
    pub(crate) closed: Option<Box<Closed>>,
    /// While this member has checkpoints to hand out.
    pub(crate) outgoing: Option<Box<Outgoing>>,
    pub(crate) joins: BTreeMap<NodeId, JoinRequest>,
    /// Nodes of the view that say they are not in it.
    pub(crate) ended: BTreeSet<NodeId>,
    /// Members that have shown, since it was installed, that they are in the installed view, too.
    /// When they last did.
    pub(crate) abreast: Times,
    /// A former member knows a successor of the installed view.
    /// Since when that is known.
    pub(crate) superseded: Option<Micros>,
    /// Ranks that somebody can't go on with (L1).
    pub(crate) evict: BTreeSet<Rank>,
    pub(crate) early: Option<Box<Early>>,
    /// How often the change under way was retried since it last made progress.
    pub(crate) retries: u64,
    /// Old members answered lately: one answer serves a burst.
    pub(crate) answered: Times,
    /// Since when no quorum is in sight.
    pub(crate) blocked: Option<Micros>,
}

static NONE: Rare = Rare {
    install: None,
    closed: None,
    outgoing: None,
    joins: BTreeMap::new(),
    ended: BTreeSet::new(),
    abreast: Times::NONE,
    superseded: None,
    evict: BTreeSet::new(),
    early: None,
    retries: 0,
    answered: Times::NONE,
    blocked: None,
};

impl Blank for Rare {
    fn blank() -> &'static Self {
        &NONE
    }

    fn is_blank(&self) -> bool {
        // By name, so that none that is added is given back with something in it.
        let Rare {
            install,
            closed,
            outgoing,
            joins,
            ended,
            abreast,
            superseded,
            evict,
            early,
            retries,
            answered,
            blocked,
        } = self;
        install.is_none()
            && closed.is_none()
            && outgoing.is_none()
            && joins.is_empty()
            && ended.is_empty()
            && abreast.is_empty()
            && superseded.is_none()
            && evict.is_empty()
            && early.is_none()
            && *retries == 0
            && answered.is_empty()
            && blocked.is_none()
    }
}

impl Rare {
    /// A view was installed: of what was up in the one before, only some joiners still matter, and
    /// what is still handed out or kept for others.
    pub(crate) fn next_view(&mut self, keeps: impl Fn(NodeId, &JoinRequest) -> bool) {
        self.evict.clear();
        self.ended.clear();
        self.superseded = None;
        self.abreast.clear();
        self.answered.clear();
        self.retries = 0;
        self.joins.retain(|&node, join| keeps(node, join));
        if self.joins.is_empty() {
            // An emptied map keeps a node: half a kilobyte, in every group.
            self.joins = BTreeMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use bytes::Bytes;

    use super::*;
    use crate::engine::EngineConfig;
    use crate::multicast::Multicast;
    use crate::seldom::lasts;
    use crate::wire::{Cut, GroupId, SharedView, View};

    fn view() -> SharedView {
        SharedView::new(View { number: 1, members: Vec::new(), active: 0 })
    }

    fn install() -> Install {
        let (group, together, joined) = (GroupId(1), Vec::new(), Vec::new());
        let (left, cut) = (Vec::new(), Cut::default());
        Install { group, view: view(), rank: 0, together, joined, left, cut }
    }

    fn closed() -> Closed {
        let config = EngineConfig::new(NodeId(1));
        let multicast = Multicast::new(view(), 0, (false, 1), &config, 0);
        Closed { multicast, installed: BTreeSet::new(), since: 0 }
    }

    /// Whatever is up alone keeps it.
    #[test]
    fn nothing_that_is_up_is_given_back() {
        let node = NodeId(2);
        let join = || JoinRequest { node, nonce: 1, schema: 1, meta: Bytes::new() };
        assert!(!lasts::<Rare>(|_| ()));
        assert!(lasts::<Rare>(|rare| rare.install = Some(Box::new(install()))));
        assert!(lasts::<Rare>(|rare| rare.closed = Some(Box::new(closed()))));
        assert!(lasts::<Rare>(|rare| rare.outgoing = Some(Box::default())));
        assert!(lasts::<Rare>(|rare| _ = rare.joins.insert(node, join())));
        assert!(lasts::<Rare>(|rare| _ = rare.ended.insert(node)));
        assert!(lasts::<Rare>(|rare| rare.abreast.insert(node, 1)));
        assert!(lasts::<Rare>(|rare| rare.superseded = Some(0)));
        assert!(lasts::<Rare>(|rare| _ = rare.evict.insert(0)));
        assert!(lasts::<Rare>(|rare| rare.early = Some(Box::default())));
        assert!(lasts::<Rare>(|rare| rare.retries = 1));
        assert!(lasts::<Rare>(|rare| rare.answered.insert(node, 1)));
        assert!(lasts::<Rare>(|rare| rare.blocked = Some(0)));
    }

    #[test]
    fn only_some_joiners_and_what_is_handed_out_outlast_a_view() {
        let mut rare = NONE.clone();
        for node in [NodeId(2), NodeId(3)] {
            let join = JoinRequest { node, nonce: 1, schema: 1, meta: Bytes::new() };
            rare.joins.insert(node, join);
            rare.ended.insert(node);
            rare.abreast.insert(node, 1);
            rare.answered.insert(node, 1);
        }
        rare.evict.insert(1);
        (rare.superseded, rare.blocked, rare.retries) = (Some(1), Some(1), 1);
        rare.closed = Some(Box::new(closed()));
        rare.outgoing = Some(Box::default());
        rare.next_view(|node, _| node == NodeId(3));
        assert_eq!(rare.joins.keys().copied().collect::<Vec<_>>(), [NodeId(3)]);
        assert!(rare.closed.take().is_some() && rare.outgoing.take().is_some());
        assert_eq!(rare.blocked.take(), Some(1), "whether a quorum is in sight is looked at then");
        assert!(!rare.is_blank());
        rare.next_view(|_, _| false);
        assert!(rare.is_blank(), "{rare:?}");
    }
}
