use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use core::iter::repeat;

use super::Detector;
use crate::engine::EngineConfig;
use crate::wire::{Micros, NodeId};

const BEAT: Micros = 100_000;
const SILENCE: Micros = 500_000;
const ALL: [NodeId; 2] = [NodeId(2), NodeId(3)];

impl Detector {
    /// A look at the nodes that matter, who all know each other: whom to ask about whom, and
    /// whether the suspicions have changed.
    fn tick(&mut self, watched: &[NodeId], now: Micros) -> (Vec<(NodeId, NodeId)>, bool) {
        let circle = BTreeSet::from_iter(watched.iter().copied());
        let (silent, changed) = self.look(watched, now);
        let asked = |about| self.witnesses(about, &circle, now).into_iter().zip(repeat(about));
        (silent.into_iter().flat_map(asked).collect(), changed)
    }
}

/// Node 1, which has just heard nodes 2 and 3.
fn detector() -> Detector {
    let config = EngineConfig::new(NodeId(1));
    assert_eq!((config.heartbeat, config.silence), (BEAT, SILENCE));
    let mut detector = Detector::new(&config);
    detector.turn(1);
    ALL.into_iter().for_each(|node| _ = detector.connected(node, 1));
    detector
}

/// Heartbeats until `until`, of which node 3 sends all and node 2 none; a vouch for it comes
/// at each time in `vouches`. Returns when others were first asked, and when it was suspected.
fn silent(until: Micros, vouches: &[Micros]) -> (Option<Micros>, Option<Micros>) {
    let (mut detector, mut now) = (detector(), 1);
    let (mut asked, mut suspected) = (None, None);
    while now < until {
        let beat = now - now % BEAT + BEAT;
        let vouch = vouches.iter().copied().find(|&at| at > now).unwrap_or(Micros::MAX);
        now = beat.min(vouch).min(detector.due().unwrap_or(Micros::MAX));
        detector.turn(now);
        if now == vouch {
            detector.vouched(NodeId(2), now);
        }
        if now == beat {
            detector.heard(NodeId(3), now);
            let (probes, _) = detector.tick(&ALL, now);
            assert!(probes.iter().all(|&probe| probe == (NodeId(3), NodeId(2))), "{probes:?}");
            asked = asked.or((!probes.is_empty()).then_some(now));
        } else {
            detector.overdue(now);
        }
        assert!(!detector.suspects(NodeId(3)));
        assert!(detector.due().is_none_or(|due| due > now), "what is due is done");
        suspected = suspected.or(detector.suspects(NodeId(2)).then_some(now));
    }
    (asked, suspected)
}

#[test]
fn the_silent_are_asked_about_before_their_time_is_over_and_suspected_then() {
    let (asked, suspected) = silent(1_000_000, &[]);
    assert_eq!(asked, Some(3 * BEAT));
    // When its time is over, however late the question was, and not at a heartbeat after that.
    assert_eq!(suspected, Some(1 + SILENCE + 1));
}

/// Ten seconds in which node 3 sends all its heartbeats, and node 2 one after every so many
/// microseconds, of which each other comes late; from then on only node 3 does. Returns after which
/// silence node 2 was suspected.
fn missed(every: Micros, late: Micros) -> Micros {
    const STEP: Micros = 5_000;
    let (mut detector, mut last) = (detector(), 0);
    for now in (STEP..).step_by(STEP as usize) {
        detector.turn(now);
        let beat = if now % (2 * every) < every { 0 } else { late };
        if now < 100 * BEAT && now % every == beat {
            detector.heard(NodeId(2), now);
            last = now;
        }
        if now % BEAT == 0 {
            detector.heard(NodeId(3), now);
            detector.tick(&ALL, now);
        }
        if let Some(due) = detector.due().filter(|due| (now..now + STEP).contains(due)) {
            assert!(last + every <= due, "it is still there");
            detector.turn(due);
            if detector.overdue(due) {
                assert!(detector.suspects(NodeId(2)) && !detector.suspects(NodeId(3)));
                return due - last;
            }
        }
    }
    unreachable!("time does not end")
}

#[test]
fn whom_nothing_but_heartbeats_come_from_is_missed_when_the_failure_timeout_is_over() {
    assert_eq!(missed(BEAT, 0), SILENCE + 1);
    // A node that is busy sends them a little later than it should, each or some.
    assert_eq!(missed(BEAT + 5_000, 0), SILENCE + 1);
    assert_eq!(missed(BEAT, BEAT / 2), SILENCE + 1);
    assert_eq!(missed(BEAT, BEAT - 5_000), SILENCE + 1);
    assert_eq!(missed(BEAT + BEAT / 5, 0), SILENCE + 1);
}

#[test]
fn whose_heartbeats_come_rarely_may_be_silent_for_longer() {
    let twice = missed(2 * BEAT, 0);
    assert!((SILENCE + 4 * BEAT..SILENCE + 5 * BEAT).contains(&twice), "{twice}");
    let thrice = missed(3 * BEAT, 0);
    assert!((SILENCE + 10 * BEAT..SILENCE + 11 * BEAT).contains(&thrice), "{thrice}");
}

#[test]
fn who_is_vouched_for_is_suspected_half_a_timeout_later() {
    // A witness that heard it when this node did says so until half a timeout after that: one that
    // is asked later than then does not.
    assert_eq!(silent(1_000_000, &[240_000]).1, Some(1 + SILENCE + 1));
    assert_eq!(silent(1_000_000, &[320_000]).1, Some(320_000 + SILENCE / 2 + 1));
    let often: Vec<Micros> = (1..30).map(|beat| beat * BEAT + 2_000).collect();
    assert_eq!(silent(3_000_000, &often).1, None);
}

#[test]
fn only_who_is_heard_by_others_beyond_its_time_has_lost_its_link() {
    let mut detector = detector();
    detector.link_timeout = BEAT;
    let vouch = |detector: &mut Detector, now| {
        detector.turn(now);
        detector.heard(NodeId(3), now);
        detector.tick(&ALL, now);
        detector.vouched(NodeId(2), now);
    };
    for beat in 1..=5 {
        vouch(&mut detector, beat * BEAT);
        assert!(!detector.link_lost(NodeId(2)), "{beat}: it may have vanished");
    }
    for beat in 6..=7 {
        vouch(&mut detector, beat * BEAT);
        assert!(!detector.link_lost(NodeId(2)), "{beat}: not for long");
    }
    vouch(&mut detector, 8 * BEAT);
    assert!(detector.link_lost(NodeId(2)) && !detector.suspects(NodeId(2)));
}

#[test]
fn the_word_of_the_last_witness_counts_as_long_as_any() {
    let mut detector = detector();
    detector.link_timeout = BEAT / 2;
    for beat in 1..=7 {
        detector.turn(beat * BEAT);
        detector.heard(NodeId(3), beat * BEAT);
        detector.tick(&ALL, beat * BEAT);
        detector.vouched(NodeId(2), beat * BEAT);
    }
    assert!(detector.link_lost(NodeId(2)));
    assert!(detector.ended(NodeId(3), 7 * BEAT));
    for beat in 8..=9 {
        detector.turn(beat * BEAT);
        assert_eq!(detector.tick(&ALL, beat * BEAT), (Vec::new(), false), "{beat}");
    }
    let over = 7 * BEAT + SILENCE / 2 + 1;
    assert_eq!(detector.due(), Some(over));
    detector.turn(over);
    assert!(detector.overdue(over) && detector.suspects(NodeId(2)));
    // It is missed, and not its link: nobody says any more that it is there.
    assert_eq!(detector.due(), None);
    assert!(!detector.link_lost(NodeId(2)));
}

#[test]
fn neither_one_word_nor_a_pause_makes_a_link_lost() {
    let mut detector = detector();
    detector.link_timeout = SILENCE;
    (1..=6).for_each(|beat| _ = (detector.turn(beat * BEAT), detector.tick(&ALL, beat * BEAT)));
    detector.vouched(NodeId(2), 6 * BEAT);
    detector.turn(8 * BEAT);
    assert!(!detector.link_lost(NodeId(2)), "nobody has said so since");
    let after = 100 * BEAT;
    assert!(detector.turn(after), "this node was paused");
    detector.vouched(NodeId(2), after);
    assert!(!detector.link_lost(NodeId(2)), "what was said before and after is no long time");
    detector.turn(after + 2 * BEAT);
    detector.turn(after + 4 * BEAT);
    detector.vouched(NodeId(2), after + 4 * BEAT);
    assert!(detector.link_lost(NodeId(2)), "it goes on being said");
}

#[test]
fn a_witness_does_not_vouch_for_whom_it_last_heard_when_all_did() {
    let detector = detector();
    assert!(detector.lately(NodeId(2), SILENCE / 2));
    assert!(!detector.lately(NodeId(2), SILENCE / 2 + 1));
}

#[test]
fn without_witnesses_the_silent_are_suspected_when_their_time_is_over() {
    let (mut detector, watched) = (detector(), &[NodeId(2)]);
    detector.peers.remove(&NodeId(3));
    for beat in 1..=5 {
        detector.turn(beat * BEAT);
        assert_eq!(detector.tick(watched, beat * BEAT), (Vec::new(), false), "{beat}");
    }
    detector.turn(5 * BEAT + 50_001);
    assert!(detector.overdue(5 * BEAT + 50_001) && detector.suspects(NodeId(2)));
}

#[test]
fn the_end_of_a_suspicion_is_remembered_for_those_who_come_next() {
    let (mut detector, now) = (detector(), 6 * BEAT);
    (1..=6).for_each(|beat| _ = (detector.turn(beat * BEAT), detector.tick(&ALL, beat * BEAT)));
    assert!(ALL.iter().all(|&node| detector.suspects(node)));
    assert!(!detector.forgave_within(BEAT, now));
    assert!(detector.heard(NodeId(3), now));
    assert!(detector.suspects(NodeId(2)) && detector.forgave_within(BEAT, now));
    assert!(!detector.forgave_within(BEAT, now + BEAT));
}

/// Time passes, in which node 3 sends its heartbeats and these nodes matter.
fn pass(detector: &mut Detector, beats: core::ops::RangeInclusive<u64>, watched: &[NodeId]) {
    for beat in beats {
        detector.turn(beat * BEAT);
        detector.heard(NodeId(3), beat * BEAT);
        detector.tick(watched, beat * BEAT);
    }
}

#[test]
fn the_silence_of_who_did_not_matter_counts_for_two_heartbeats() {
    const HOUR: u64 = 36_000;
    let silent = || {
        let mut detector = detector();
        pass(&mut detector, 1..=10, &ALL[1..]);
        pass(&mut detector, HOUR..=HOUR, &ALL[1..]);
        detector
    };
    // Its first heartbeat may still be under way.
    let mut detector = silent();
    pass(&mut detector, HOUR + 1..=HOUR + 3, &ALL);
    assert_eq!(detector.due(), Some((HOUR - 1) * BEAT + SILENCE + 1));
    // It has come, before this node looked at it or after.
    for first in [1, 2] {
        let mut detector = silent();
        pass(&mut detector, HOUR + 1..=HOUR + first - 1, &ALL);
        let heard = (HOUR + first) * BEAT - 1;
        detector.turn(heard);
        detector.heard(NodeId(2), heard);
        pass(&mut detector, HOUR + first..=HOUR + first + 4, &ALL);
        assert_eq!(detector.due(), Some(heard + SILENCE + 1), "{first}");
    }
}

#[test]
fn one_long_silence_hardly_makes_the_next_longer() {
    let mut detector = detector();
    for beat in 1..=36_000 {
        pass(&mut detector, beat..=beat, &ALL);
        // The link is down.
        detector.vouched(NodeId(2), beat * BEAT);
    }
    detector.heard(NodeId(2), 36_000 * BEAT);
    pass(&mut detector, 36_001..=36_005, &ALL);
    let due = detector.due().expect("others are asked");
    assert!(due < 36_000 * BEAT + 2 * SILENCE, "{due}");
}

#[test]
fn a_word_about_whom_nobody_is_asked_about_counts_for_nothing() {
    let mut detector = detector();
    let counts_for_nothing = |detector: &mut Detector, now| {
        detector.look_again();
        let (suspects, due) = (detector.suspects(NodeId(2)), detector.due());
        assert!(!detector.vouched(NodeId(2), now));
        detector.look_again();
        assert_eq!((detector.suspects(NodeId(2)), detector.due()), (suspects, due));
        assert!(!detector.link_lost(NodeId(2)));
    };
    // Not yet, and, with a late answer, not any more.
    pass(&mut detector, 1..=2, &ALL);
    counts_for_nothing(&mut detector, 2 * BEAT + BEAT / 2);
    pass(&mut detector, 3..=5, &ALL);
    detector.heard(NodeId(2), 5 * BEAT);
    pass(&mut detector, 6..=6, &ALL);
    counts_for_nothing(&mut detector, 6 * BEAT);
    // It does not matter any more, and this node sends no heartbeats.
    pass(&mut detector, 7..=9, &ALL);
    pass(&mut detector, 10..=10, &[]);
    counts_for_nothing(&mut detector, 20 * BEAT);
    counts_for_nothing(&mut detector, 200 * BEAT);
    // Its process has ended.
    pass(&mut detector, 201..=203, &ALL);
    assert!(detector.ended(NodeId(2), 203 * BEAT));
    counts_for_nothing(&mut detector, 204 * BEAT);
}

#[test]
fn times_beyond_all_measure_are_no_end_of_time() {
    let mut config = EngineConfig::new(NodeId(1));
    for (silence, heartbeat) in [(Micros::MAX, Micros::MAX / 5), (Micros::MAX / 3, Micros::MAX)] {
        (config.silence, config.heartbeat) = (silence, heartbeat);
        (config.link_timeout, config.change_retry) = (Micros::MAX, Micros::MAX);
        let mut detector = Detector::new(&config);
        detector.turn(1);
        ALL.into_iter().for_each(|node| _ = detector.connected(node, 1));
        for now in [2, 1 << 40, Micros::MAX / 2, Micros::MAX / 4 * 3] {
            detector.turn(now);
            detector.heard(NodeId(3), now);
            detector.tick(&ALL, now);
            detector.vouched(NodeId(2), now);
            detector.overdue(now);
            assert!(!detector.link_lost(NodeId(2)) && !detector.forgave_within(Micros::MAX, now));
        }
        detector.heard(NodeId(2), Micros::MAX);
        detector.tick(&ALL, Micros::MAX);
        assert!(!detector.suspects(NodeId(2)), "{silence}");
    }
}

#[test]
fn only_who_is_connected_and_was_heard_lately_is_a_witness() {
    // Of two who fell silent together neither is asked about the other.
    let mut both = detector();
    for beat in 1..=4 {
        both.turn(beat * BEAT);
        assert_eq!(both.tick(&ALL, beat * BEAT), (Vec::new(), false), "{beat}");
    }
    // Whose connection is gone cannot be asked, and is not vouched for.
    let mut detector = detector();
    pass(&mut detector, 1..=4, &ALL);
    assert!(detector.lately(NodeId(3), 4 * BEAT));
    detector.disconnected(NodeId(3), 4 * BEAT);
    assert!(!detector.lately(NodeId(3), 4 * BEAT));
    assert_eq!(detector.tick(&ALL, 4 * BEAT), (Vec::new(), false));
}

#[test]
fn a_pause_makes_a_word_count_for_longer() {
    let mut detector = detector();
    pass(&mut detector, 1..=5, &ALL);
    detector.vouched(NodeId(2), 5 * BEAT);
    pass(&mut detector, 6..=7, &ALL);
    assert!(detector.turn(17 * BEAT));
    // All of the pause but one heartbeat.
    let over = 5 * BEAT + SILENCE / 2 + 9 * BEAT + 1;
    assert!(!detector.overdue(over - 1) && !detector.suspects(NodeId(2)));
    assert_eq!(detector.due(), Some(over));
    assert!(detector.overdue(over) && detector.suspects(NodeId(2)));
}

#[test]
fn a_late_answer_ends_a_suspicion() {
    let mut detector = detector();
    pass(&mut detector, 1..=6, &ALL);
    assert!(detector.suspects(NodeId(2)));
    assert!(detector.vouched(NodeId(2), 6 * BEAT), "it is news");
    assert!(!detector.suspects(NodeId(2)));
    assert!(!detector.vouched(NodeId(2), 6 * BEAT + 1), "it is none");
}

#[test]
fn a_sign_of_life_proves_the_link() {
    let mut detector = detector();
    detector.link_timeout = BEAT / 2;
    for beat in 1..=7 {
        pass(&mut detector, beat..=beat, &ALL);
        detector.vouched(NodeId(2), beat * BEAT);
    }
    assert!(detector.link_lost(NodeId(2)));
    detector.heard(NodeId(2), 7 * BEAT);
    assert!(!detector.link_lost(NodeId(2)));
    // The next time begins anew.
    for beat in 8..=20 {
        pass(&mut detector, beat..=beat, &ALL);
        detector.vouched(NodeId(2), beat * BEAT);
        let silent = (beat - 7) * BEAT;
        assert_eq!(detector.link_lost(NodeId(2)), silent > SILENCE + BEAT, "{beat}");
    }
}

#[test]
fn nobody_is_asked_about_who_is_as_silent_as_ever() {
    let mut detector = detector();
    let mut asked = Vec::new();
    for beat in 1..=170 {
        detector.turn(beat * BEAT);
        detector.heard(NodeId(3), beat * BEAT);
        if beat <= 150 && beat % 3 == 0 {
            detector.heard(NodeId(2), beat * BEAT);
        }
        let (probes, _) = detector.tick(&ALL, beat * BEAT);
        asked.extend((!probes.is_empty()).then_some(beat));
    }
    // Two fifths of some one and a half seconds; a few times before that was known.
    asked.retain(|&beat| beat > 60);
    assert_eq!(asked.first(), Some(&157), "{asked:?}");
}

#[test]
fn who_was_paused_does_not_tell_what_it_heard_before_as_if_it_were_now() {
    let mut detector = detector();
    pass(&mut detector, 1..=3, &ALL);
    detector.heard(NodeId(2), 3 * BEAT);
    assert!(detector.lately(NodeId(2), 3 * BEAT));
    assert!(detector.turn(53 * BEAT));
    // It may have vanished in these five seconds; that is no reason to suspect it.
    assert!(!detector.lately(NodeId(2), 53 * BEAT));
    pass(&mut detector, 53..=54, &ALL);
    assert!(!detector.lately(NodeId(2), 54 * BEAT) && !detector.suspects(NodeId(2)));
    detector.heard(NodeId(2), 54 * BEAT);
    assert!(detector.lately(NodeId(2), 54 * BEAT));
}

#[test]
fn who_begins_to_matter_was_not_heard_by_that() {
    let mut detector = detector();
    pass(&mut detector, 1..=30, &ALL[1..]);
    pass(&mut detector, 31..=31, &ALL);
    assert!(!detector.lately(NodeId(2), 31 * BEAT));
}

#[test]
fn those_are_asked_who_ought_to_hear_it() {
    let mut detector = detector();
    (4..=9).for_each(|node| _ = detector.connected(NodeId(node), 1));
    let asked = |detector: &Detector, circle: &[u64]| {
        let circle = circle.iter().map(|&node| NodeId(node)).collect();
        let asked = detector.witnesses(NodeId(2), &circle, BEAT);
        asked.into_iter().map(|node| node.0).collect::<Vec<_>>()
    };
    assert_eq!(asked(&detector, &[2, 5, 7, 8, 9]), [5, 7, 8]);
    assert_eq!(asked(&detector, &[2, 8]), [8, 3, 4]);
    detector.disconnected(NodeId(8), BEAT);
    assert_eq!(asked(&detector, &[2, 8]), [3, 4, 5]);
}

#[test]
fn those_who_come_and_go_leave_nothing_behind() {
    let config = EngineConfig::new(NodeId(1));
    let mut detector = Detector::new(&config);
    // Nobody matters, so that there are no heartbeats.
    for node in 2..1_000 {
        let now = node * SILENCE;
        detector.turn(now);
        detector.connected(NodeId(node), now);
        detector.disconnected(NodeId(node), now + 1);
        if node % 2 == 0 {
            assert!(detector.ended(NodeId(node), now + 1));
        }
        assert!(detector.peers.len() <= 5, "{}", detector.peers.len());
        // Not so soon that whoever does not know it yet can name it in vain.
        assert!(node % 2 > 0 || detector.has_ended(NodeId(node)));
        assert!(node < 10 || detector.has_ended(NodeId(node - node % 2 - 6)));
    }
    // Who is still watched is not forgotten.
    detector.tick(&ALL, 2_000 * SILENCE);
    assert!(detector.ended(NodeId(2), 2_000 * SILENCE));
    detector.tick(&ALL, 9_000 * SILENCE);
    assert!(detector.has_ended(NodeId(2)));
    detector.tick(&ALL[1..], 9_001 * SILENCE);
    assert!(!detector.has_ended(NodeId(2)));
}

/// After `rare` rounds of twenty heartbeats, in each of which node 2 gives one sign of life while
/// node 3 hears it all the time.
fn rarely_heard(detector: &mut Detector, rare: u64) -> u64 {
    for beat in 1..=20 * rare {
        if beat % 20 == 0 {
            detector.heard(NodeId(2), beat * BEAT);
        }
        pass(detector, beat..=beat, &ALL);
        detector.vouched(NodeId(2), beat * BEAT);
    }
    20 * rare
}

#[test]
fn nobody_may_be_silent_for_more_than_eight_timeouts() {
    let mut detector = detector();
    let last = rarely_heard(&mut detector, 40);
    pass(&mut detector, last + 1..=last + 39, &ALL);
    assert_eq!(detector.due(), Some(last * BEAT + 8 * SILENCE + 1));
}

#[test]
fn who_matters_again_is_missed_as_if_for_the_first_time() {
    let mut detector = detector();
    let last = rarely_heard(&mut detector, 40);
    pass(&mut detector, last + 1..=last + 1, &ALL[1..]);
    detector.heard(NodeId(2), (last + 1) * BEAT);
    pass(&mut detector, last + 2..=last + 4, &ALL);
    assert_eq!(detector.due(), Some((last + 1) * BEAT + SILENCE + 1));
}
