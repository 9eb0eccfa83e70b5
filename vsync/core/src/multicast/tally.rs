//! [`Tally`]: what a view's multicast counts once something was multicast in it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::OVERHEAD;
use crate::seldom::Blank;
use crate::wire::Cut;

/// What a member is owed by this one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Owed {
    /// It waits for its own updates up to here, and for nobody's word but that of those who can
    /// deliver them; 0 where it has been told.
    pub(super) until: u64,
    /// Bytes received from it since the last acknowledgement, and in how many updates.
    pub(super) bytes: u32,
    pub(super) updates: u32,
}

/// What there is of a view in which something was multicast: counts of it, which are never given
/// back while the view lasts.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// What each member has acknowledged; without counts before its first word, and nothing at all
    /// before anybody's.
    pub(super) acks: Vec<Cut>,
    /// What was last acknowledged by this member.
    pub(super) acked: Cut,
    /// Everybody may wait for these to be stable: acknowledgements go to all at once until they
    /// are. None before the first.
    pub(super) urgent: Vec<u64>,
    /// What each member is owed. None before the first.
    pub(super) owed: Vec<Owed>,
    /// Own lane: what has been sent.
    pub(super) sent: u64,
    /// Sequencer: positions announced.
    pub(super) announced: u64,
    /// Own batches not yet held by all: end and bytes, for flow control.
    pub(super) own: VecDeque<(u64, usize)>,
    pub(super) own_bytes: usize,
}

static NONE: Tally = Tally {
    acks: Vec::new(),
    acked: Cut { counts: Vec::new(), extent: 0 },
    urgent: Vec::new(),
    owed: Vec::new(),
    sent: 0,
    announced: 0,
    own: VecDeque::new(),
    own_bytes: 0,
};

impl Blank for Tally {
    fn blank() -> &'static Self {
        &NONE
    }

    fn is_blank(&self) -> bool {
        let Tally { acks, acked, urgent, owed, sent, announced, own, own_bytes } = self;
        acks.is_empty()
            && acked.counts.is_empty()
            && acked.extent == 0
            && urgent.is_empty()
            && owed.is_empty()
            && (*sent, *announced) == (0, 0)
            && own.is_empty()
            && *own_bytes == 0
    }
}

impl Tally {
    /// Gives back the room of what is empty.
    pub(super) fn rest(&mut self) {
        if self.own.is_empty() {
            self.own = VecDeque::new();
        }
        if self.owed.iter().all(Owed::is_nothing) {
            self.owed = Vec::new();
        }
    }
}

impl Owed {
    fn is_nothing(&self) -> bool {
        self.until == 0 && self.bytes == 0 && self.updates == 0
    }

    /// At least what its sender has charged to its window: each may be a piece there.
    pub(super) fn charged(&self) -> usize {
        self.bytes as usize + self.updates as usize * OVERHEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seldom::lasts;

    /// A count that began anew within its view would number updates twice, or free what others
    /// lack.
    #[test]
    fn nothing_that_was_counted_is_given_back() {
        assert!(!lasts::<Tally>(|_| ()));
        assert!(lasts::<Tally>(|tally| tally.acks.push(Cut::default())));
        assert!(lasts::<Tally>(|tally| tally.acked.counts.push(0)));
        assert!(lasts::<Tally>(|tally| tally.acked.extent = 1));
        assert!(lasts::<Tally>(|tally| tally.urgent.push(0)));
        assert!(lasts::<Tally>(|tally| tally.owed.push(Owed::default())));
        assert!(lasts::<Tally>(|tally| tally.sent = 1));
        assert!(lasts::<Tally>(|tally| tally.announced = 1));
        assert!(lasts::<Tally>(|tally| tally.own.push_back((1, 1))));
        assert!(lasts::<Tally>(|tally| tally.own_bytes = 1));
    }

    #[test]
    fn what_any_member_is_owed_is_kept() {
        let kept = |until, bytes, updates| {
            let mut tally = NONE.clone();
            tally.owed = [Owed::default(), Owed { until, bytes, updates }].into();
            tally.rest();
            tally.owed.len()
        };
        assert_eq!([kept(1, 0, 0), kept(0, 1, 0), kept(0, 0, 1), kept(0, 0, 0)], [2, 2, 2, 0]);
    }
}
