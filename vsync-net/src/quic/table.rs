//! Who is known, connected and wanted: one table, and every decision about connections.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::hello::{Have, Token, Verdict};
use super::link::Link;
use crate::{PeerId, PeerInfo};

/// Peers that are neither connected nor wanted are remembered up to this many: to tell their end
/// when another process comes up at their address.
const REMEMBERED: usize = 1_024;

/// A peer that has been up or is wanted.
#[derive(Default)]
pub(super) struct Entry {
    /// Who it is; absent until it has been up.
    pub(super) info: Option<PeerInfo>,
    /// What opens a liveness link to it.
    pub(super) token: Option<Token>,
    /// It has answered on the liveness port of its address: a refusal there means something.
    pub(super) answered: bool,
    pub(super) link: Option<Arc<Link>>,
    /// The number of its last connection.
    pub(super) last: u64,
    pub(super) want: Option<Want>,
    /// Ends the liveness link that is held from here, if one is.
    pub(super) watch: Option<CancellationToken>,
}

/// A connection that is to be kept up.
pub(super) struct Want {
    /// Where it was dialled, or is to be.
    pub(super) addr: String,
    /// Cancelled when it is not wanted any more.
    pub(super) over: CancellationToken,
}

#[derive(Default)]
pub(super) struct Table {
    pub(super) entries: HashMap<PeerId, Entry>,
    /// The last peers that have ended: a late wish for one is not followed.
    pub(super) gone: VecDeque<PeerId>,
    /// The transport is shutting down: no connection is registered any more.
    pub(super) closed: bool,
    /// The number of the last connection that was decided here.
    pub(super) decided: u64,
}

impl Table {
    pub(super) fn link(&self, peer: PeerId) -> Option<&Arc<Link>> {
        self.entries.get(&peer)?.link.as_ref()
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.entries.values().filter_map(|entry| entry.link.as_ref())
    }

    /// What the side that does not decide tells the other.
    pub(super) fn have(&self, peer: PeerId) -> Have {
        let Some(entry) = self.entries.get(&peer) else {
            return Have::default();
        };
        let up = entry.link.as_ref().map_or(0, |link| link.number);
        Have { up, last: entry.last }
    }

    /// Decides about a connection that has just greeted, on the side that decides.
    pub(super) fn decide(&mut self, peer: PeerId, have: Have, patience: Duration) -> Verdict {
        let existing = self.link(peer).map(|link| (link.number, link.since.elapsed()));
        match existing {
            Some((number, age)) if keeps(number, age, have, patience) => Verdict::Keep(number),
            _ => {
                self.decided += 1;
                Verdict::Use(self.decided)
            }
        }
    }

    /// Peers other than this one that were, or were wanted, at its address: they have ended.
    pub(super) fn predecessors(&self, info: &PeerInfo) -> Vec<PeerId> {
        let there = |entry: &Entry| match (&entry.info, &entry.want) {
            (Some(known), _) => known.addr == info.addr,
            (None, Some(want)) => want.addr == info.addr,
            (None, None) => false,
        };
        let others = self.entries.iter().filter(|(id, entry)| **id != info.id && there(entry));
        others.map(|(id, _)| *id).collect()
    }

    /// Remembers for a while that a peer has ended.
    pub(super) fn remember_gone(&mut self, peer: PeerId) {
        if self.gone.len() >= REMEMBERED {
            self.gone.pop_front();
        }
        self.gone.push_back(peer);
    }

    /// Forgets the oldest of those who are neither connected nor wanted.
    pub(super) fn prune(&mut self) {
        let idle = |entry: &Entry| entry.link.is_none() && entry.want.is_none();
        if self.entries.values().filter(|entry| idle(entry)).count() <= REMEMBERED {
            return;
        }
        let oldest = self.entries.iter().filter(|(_, e)| idle(e)).min_by_key(|(_, e)| e.last);
        if let Some((peer, _)) = oldest.map(|(peer, entry)| (*peer, entry.last)) {
            self.entries.remove(&peer);
        }
    }
}

/// Whether an existing connection stays when the peer greets on another one.
fn keeps(number: u64, age: Duration, have: Have, patience: Duration) -> bool {
    if have.up == number {
        return true;
    }
    if have.last >= number {
        // The peer knew it and has lost it.
        return false;
    }
    // The peer does not know of it yet: both have dialled at once, and word of it is on its way.
    // Unless that takes too long: then it broke before the peer heard of it.
    age < patience
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(3);
    const YOUNG: Duration = Duration::from_millis(5);
    const OLD: Duration = Duration::from_secs(30);

    #[test]
    fn a_connection_that_both_have_is_kept() {
        assert!(keeps(4, OLD, Have { up: 4, last: 4 }, PATIENCE));
    }

    #[test]
    fn a_connection_that_the_peer_lost_is_replaced() {
        assert!(!keeps(4, YOUNG, Have { up: 0, last: 4 }, PATIENCE));
    }

    #[test]
    fn simultaneous_dials_keep_the_first() {
        assert!(keeps(4, YOUNG, Have { up: 0, last: 0 }, PATIENCE));
        assert!(keeps(4, YOUNG, Have { up: 3, last: 3 }, PATIENCE));
    }

    #[test]
    fn a_connection_that_the_peer_never_saw_is_replaced_in_the_end() {
        assert!(!keeps(4, OLD, Have { up: 0, last: 3 }, PATIENCE));
    }

    #[test]
    fn without_a_connection_the_new_one_is_used() {
        let mut table = Table::default();
        assert_eq!(table.decide(PeerId(1), Have::default(), PATIENCE), Verdict::Use(1));
        assert_eq!(table.decide(PeerId(1), Have::default(), PATIENCE), Verdict::Use(2));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut table = Table::default();
        table.entries.insert(PeerId(0), Entry::default());
        let want = Want { addr: "q:1".into(), over: CancellationToken::new() };
        table.entries.insert(PeerId(1), Entry { want: Some(want), ..Entry::default() });
        for number in 2..2 * REMEMBERED as u64 {
            table.entries.insert(PeerId(number), Entry { last: number, ..Entry::default() });
            table.prune();
            table.remember_gone(PeerId(number));
        }
        assert_eq!(table.entries.len(), REMEMBERED + 1);
        assert_eq!(table.gone.len(), REMEMBERED);
        // The oldest have gone, who is wanted stays.
        assert!(!table.entries.contains_key(&PeerId(0)));
        assert!(table.entries.contains_key(&PeerId(1)));
    }

    #[test]
    fn who_is_or_was_to_be_at_an_address_is_found() {
        let info = |id| PeerInfo { id: PeerId(id), name: "p".into(), addr: "p:1".into(), role: 0 };
        let mut table = Table::default();
        table.entries.insert(PeerId(1), Entry { info: Some(info(1)), ..Entry::default() });
        let want = |addr: &str| Some(Want { addr: addr.into(), over: CancellationToken::new() });
        table.entries.insert(PeerId(2), Entry { want: want("p:1"), ..Entry::default() });
        table.entries.insert(PeerId(3), Entry { want: want("q:1"), ..Entry::default() });
        let mut found = table.predecessors(&info(9));
        found.sort();
        assert_eq!(found, [PeerId(1), PeerId(2)]);
        assert_eq!(table.predecessors(&info(1)), [PeerId(2)]);
    }
}
