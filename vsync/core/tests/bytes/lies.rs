//! Frames that are well-formed as a whole and lie about their parts; and frames that are none, of
//! which nothing may stay.

use std::collections::BTreeSet;

use bytes::Bytes;
use vsync_core::engine::{DropReason, Engine, Input, Output, Outputs};
use vsync_core::wire::GroupId;

use crate::corpus::{Moment, State, moments};
use crate::directed::{fate, message_at, of_kind};
use crate::mutate::put;
use crate::net::{GROUP, Sent};

/// A batch's head as it is written: the update numbers count from the end of the lane.
struct Head<'a> {
    first: i64,
    counts: &'a [u64],
    length: u64,
}

const fn one(first: i64, counts: &[u64], length: u64) -> Head<'_> {
    Head { first, counts, length }
}

/// Two updates of three bytes.
const BODY: [u8; 14] = [3, 0, 0, 0, 7, 7, 7, 3, 0, 0, 0, 7, 7, 7];

/// Data as the sender of a recorded frame might send next; its lane ends at `end`.
fn data(moment: &Moment, end: u64, stamp: &[u8], heads: &[Head<'_>], body: &[u8]) -> Vec<u8> {
    let frame = &moment.sent.frame;
    let mut out = frame[..message_at(frame)].to_vec();
    put(&mut out, heads.len() as u64);
    for head in heads {
        put(&mut out, end.wrapping_add_signed(head.first));
        out.extend_from_slice(stamp);
        // k, wall.
        out.extend_from_slice(&[0, 5]);
        put(&mut out, head.counts.len() as u64);
        for &count in head.counts {
            out.extend_from_slice(&[0, 0]);
            put(&mut out, count);
        }
        put(&mut out, head.length);
    }
    // No records, no acknowledgement, no hurry.
    out.extend_from_slice(&[0, 0, 0]);
    out.extend_from_slice(body);
    out
}

/// Data frames taken in by members, with the end of the sender's lane there.
fn data_moments() -> impl Iterator<Item = (&'static Moment, u64, usize)> {
    of_kind(0).filter(|moment| moment.state == State::Member).filter_map(|moment| {
        let status = moment.net.nodes[&moment.sent.to].status(GROUP)?;
        let view = status.view?;
        let rank = view.rank_of_node(moment.sent.from).filter(|&rank| view.is_active(rank))?;
        // The frame must be of this view: its own fate tells.
        let own = fate(moment, &moment.sent.frame).is_empty();
        own.then_some((moment, status.received.count(rank), view.members.len()))
    })
}

/// What it is, batches, bodies, and why it is dropped.
type Case = (&'static str, Vec<Head<'static>>, Vec<u8>, Option<DropReason>);

fn cases() -> Vec<Case> {
    use DropReason::{Gap, Invalid, Malformed};
    const MAX: u64 = u32::MAX as u64;
    let long = |length: u32| [&length.to_le_bytes()[..], &BODY[4..]].concat();
    let two = |a: u64, b: u64| vec![one(0, &[1], a), one(1, &[1], b)];
    vec![
        ("honest", vec![one(0, &[2], 14)], BODY.to_vec(), None),
        ("honest, two runs", vec![one(0, &[1, 1], 14)], BODY.to_vec(), None),
        ("honest, two batches", two(7, 7), BODY.to_vec(), None),
        ("an update longer than it is", vec![one(0, &[2], 14)], long(4), Some(Invalid)),
        ("an update shorter than it is", vec![one(0, &[2], 14)], long(2), Some(Invalid)),
        ("an update that swallows the next", vec![one(0, &[2], 14)], long(10), Some(Invalid)),
        ("an update beyond the body", vec![one(0, &[2], 14)], long(11), Some(Invalid)),
        ("an update beyond everything", vec![one(0, &[2], 14)], long(u32::MAX), Some(Invalid)),
        ("too few updates", vec![one(0, &[1], 14)], BODY.to_vec(), Some(Invalid)),
        ("too many updates", vec![one(0, &[3], 14)], BODY.to_vec(), Some(Invalid)),
        ("far too many", vec![one(0, &[MAX], 14)], BODY.to_vec(), Some(Invalid)),
        ("far too many twice", vec![one(0, &[MAX, MAX], 14)], BODY.to_vec(), Some(Invalid)),
        ("lengths shifted", two(6, 8), BODY.to_vec(), Some(Invalid)),
        ("lengths shifted back", two(8, 6), BODY.to_vec(), Some(Invalid)),
        ("all for one", two(14, 0), BODY.to_vec(), Some(Invalid)),
        ("a length beyond the frame", two(7, 8), BODY.to_vec(), Some(Malformed)),
        ("lengths that overflow", two(MAX, MAX), BODY.to_vec(), Some(Malformed)),
        ("no runs", vec![one(0, &[], 14)], BODY.to_vec(), Some(Malformed)),
        ("an empty run", vec![one(0, &[2, 0], 14)], BODY.to_vec(), Some(Malformed)),
        ("a run of 2^32", vec![one(0, &[MAX + 1], 14)], BODY.to_vec(), Some(Malformed)),
        (
            "batches with a hole",
            vec![one(0, &[1], 7), one(2, &[1], 7)],
            BODY.to_vec(),
            Some(Malformed),
        ),
        ("the same twice", vec![one(0, &[1], 7), one(0, &[1], 7)], BODY.to_vec(), Some(Malformed)),
        ("beyond the end", vec![one(1, &[2], 14)], BODY.to_vec(), Some(Gap)),
        ("beyond the horizon", vec![one(1 << 51, &[2], 14)], BODY.to_vec(), Some(Malformed)),
        ("wrapping around", vec![one(i64::MIN, &[2], 14)], BODY.to_vec(), Some(Malformed)),
        ("overlapping in part", vec![one(-1, &[2], 14)], BODY.to_vec(), Some(Invalid)),
    ]
}

#[test]
fn lengths_and_counts_that_lie_inside_a_frame_are_dropped() {
    use DropReason::{Invalid, Malformed};
    let cases = cases();
    let mut seen = 0;
    for (moment, end, members) in data_moments().filter(|&(_, end, _)| end > 0) {
        seen += 1;
        let causal = moment.net.causal;
        let stamp =
            if causal { [&[1, members as u8][..], &[0; 9][..members]].concat() } else { vec![0] };
        for (what, heads, body, expected) in &cases {
            let frame = data(moment, end, &stamp, heads, body);
            let expected: Vec<DropReason> = expected.iter().copied().collect();
            assert_eq!(fate(moment, &frame), expected, "{what}, lane ends at {end}");
        }
        let short = if causal { vec![1, 1, 0] } else { vec![1, members as u8, 0, 0, 0, 0] };
        let stamps = [short, if causal { vec![0] } else { vec![1, 0] }, vec![1, 0]];
        for stamp in stamps {
            let frame = data(moment, end, &stamp, &[one(0, &[2], 14)], &BODY);
            let dropped = fate(moment, &frame);
            let rejected = dropped == [Invalid] || dropped == [Malformed];
            assert!(rejected, "stamp {stamp:?}: {dropped:?}");
        }
    }
    assert!(seen >= 4, "{seen} moments");
}

/// An engine's every field, after an input that does nothing but tell the time.
fn digest(engine: &Engine, now: u64, frame: Option<(&Sent, &[u8])>) -> (String, Vec<DropReason>) {
    let mut engine = engine.clone();
    let mut out = Outputs::new();
    match frame {
        Some((sent, frame)) => {
            let frame = Bytes::copy_from_slice(frame);
            engine.handle(now, Input::Frame { peer: sent.from, frame }, &mut out);
        }
        None => engine.handle(now, Input::Abandon { group: GroupId(0) }, &mut out),
    }
    let dropped = out.as_slice().iter().filter_map(|output| match output {
        Output::Dropped { reason, .. } => Some(*reason),
        _ => None,
    });
    let dropped = dropped.collect::<Vec<_>>();
    assert!(frame.is_none() || out.as_slice().len() == dropped.len(), "answered: {out:?}");
    (format!("{engine:?}"), dropped)
}

/// What ends early or goes on after its end is no frame: it is counted once, nothing of it is kept,
/// and it is no sign of life.
#[test]
fn of_what_is_no_frame_nothing_stays() {
    let mut states = BTreeSet::new();
    for moment in moments().iter().step_by(3) {
        let Moment { net, sent, .. } = moment;
        let engine = &net.nodes[&sent.to];
        let (before, _) = digest(engine, net.now, None);
        let length = sent.frame.len();
        let mut cuts: Vec<usize> = (0..length.min(24)).chain([length / 2, length - 1]).collect();
        cuts.dedup();
        let longer = |bytes: &[u8]| [&sent.frame[..], bytes].concat();
        let ends = cuts.into_iter().map(|cut| sent.frame[..cut].to_vec());
        for spoiled in ends.chain([longer(&[0]), longer(&[1; 40]), longer(&sent.frame)]) {
            let (after, dropped) = digest(engine, net.now, Some((sent, &spoiled)));
            assert_eq!(dropped, [DropReason::Malformed], "{spoiled:02x?}");
            assert!(before == after, "{:?}: changed by {spoiled:02x?}", moment.kind);
        }
        states.insert(moment.state);
    }
    assert!(states.len() > 8, "{states:?}");
}
