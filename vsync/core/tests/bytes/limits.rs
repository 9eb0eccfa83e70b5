//! How much a peer can make a node keep, by one frame or by many.

use bytes::Bytes;
use vsync_core::engine::{DropReason, Input, Outputs};
use vsync_core::wire::NodeId;

use crate::alloc;
use crate::corpus::{Moment, STATES, State, moments, number_at};
use crate::directed::{fate, message_at, of_kind, view_of};
use crate::mutate::{put, with_number};
use crate::net::{GROUP, Sent};

/// Lists of many small elements: what is decoded must stay in proportion.
#[test]
fn lists_take_memory_in_proportion_to_the_frame() {
    let Some(moment) = of_kind(0).next() else { panic!("data was recorded") };
    let head = &moment.sent.frame[..message_at(&moment.sent.frame)];
    let group = &head[..head.len() - 1];
    let frame = |message: u64, count: u64, element: &[u8], tail: &[u8]| {
        let mut out = group.to_vec();
        put(&mut out, message);
        put(&mut out, count);
        for _ in 0..count {
            out.extend_from_slice(element);
        }
        out.extend_from_slice(tail);
        out
    };
    const MANY: u64 = 50_000;
    // Empty batches: six bytes each.
    fate(moment, &frame(0, MANY, &[0; 6], &[0, 0, 0]));
    // Lanes of a fetch, lanes of an answer without batches.
    fate(moment, &frame(5, MANY, &[0; 3], &[0, 0]));
    fate(moment, &frame(6, MANY, &[0; 2], &[0]));
    // Join requests in a nudge.
    fate(moment, &frame(11, MANY, &[0; 4], &[0, 0, 0]));
    // Digests of a heartbeat.
    let mut beat = vec![0];
    put(&mut beat, MANY);
    for id in 0..MANY {
        put(&mut beat, id + 100);
        beat.extend_from_slice(&[1, 1, 1]);
    }
    fate(moment, &beat);
    // A claimed length without anything behind it, nested as deep as it goes.
    for message in [0, 5, 6, 11] {
        let mut bomb = group.to_vec();
        put(&mut bomb, message);
        put(&mut bomb, u64::MAX >> 8);
        fate(moment, &bomb);
        bomb.push(0);
        put(&mut bomb, u64::MAX >> 8);
        fate(moment, &bomb);
    }
}

/// Claimed lengths inside of claimed lengths: each list is begun on the word of the frame, and no
/// more is taken for all of them than for one that is there.
#[test]
fn nested_claims_take_memory_in_proportion_to_the_frame() {
    let Some(moment) = of_kind(6).next() else { panic!("an answer was recorded") };
    let head = &moment.sent.frame[..message_at(&moment.sent.frame) - 1];
    for claim in [10, 1_000, 10_000, 100_000] {
        let lists: [&[u64]; 3] = [
            // Lanes of an answer; batches; stamp.
            &[6, claim, 0, claim, 0, 1, claim],
            // Lanes of an answer; batches; runs, behind a stamp of one.
            &[6, claim, 0, claim, 0, 1, 1, 0, 0, 0, claim],
            // Batches; runs.
            &[0, claim, 0, 0, 0, 0, claim],
        ];
        for fields in lists {
            let mut bomb = head.to_vec();
            fields.iter().for_each(|&field| put(&mut bomb, field));
            // A list is begun only where as many bytes follow as it claims elements.
            bomb.resize(bomb.len() + claim as usize * 2, 0);
            assert_eq!(fate(moment, &bomb), [DropReason::Malformed], "{fields:?}");
        }
    }
}

/// Gives one engine many frames in a row; returns what it keeps of them, and the reasons.
fn flood<'a>(
    moment: &Moment,
    peer: NodeId,
    frames: impl Iterator<Item = std::borrow::Cow<'a, [u8]>>,
) -> (isize, Vec<DropReason>) {
    let mut net = moment.net.clone();
    let Some(engine) = net.nodes.get_mut(&moment.sent.to) else { panic!("it takes the frame") };
    let mut reasons = Vec::new();
    let mut kept = 0;
    for frame in frames {
        let mut out = Outputs::new();
        let before = alloc::live();
        let input = Input::Frame { peer, frame: Bytes::copy_from_slice(&frame) };
        engine.handle(net.now, input, &mut out);
        let dropped = out.as_slice().iter().filter_map(|output| match output {
            vsync_core::engine::Output::Dropped { reason, .. } => Some(*reason),
            _ => None,
        });
        reasons.extend(dropped);
        // Outputs are the caller's to bound: it sends them, and they are gone.
        drop(out);
        kept += alloc::live() - before;
    }
    (kept, reasons)
}

/// The same frame many times, wherever it was meant for and in every state: nothing piles up.
#[test]
fn one_frame_many_times_is_kept_once() {
    for (index, moment) in moments().iter().enumerate() {
        let Sent { from, ref frame, .. } = moment.sent;
        let many = |count| {
            let frames = std::iter::repeat_n(std::borrow::Cow::Borrowed(&frame[..]), count);
            flood(moment, from, frames).0
        };
        // What is kept early is bounded, and is not told apart: see the next test.
        let limit = (1 << 18) + 4 * (1 << 14);
        let (few, kept) = (many(3), many(300));
        let early = matches!(moment.state, State::Joining) || few > 3 * frame.len() as isize;
        let bound = if early { few.max(limit) } else { few + (1 << 14) };
        assert!(
            kept <= bound,
            "{kept} bytes kept of 300 frames, {few} of 3: moment {index}, {:?} {:?}",
            moment.kind,
            moment.state
        );
    }
}

/// Frames of a view that is not installed here are kept up to a bound, whatever is in them: what
/// they take decoded counts, not what they take on the wire.
#[test]
fn frames_of_a_later_view_are_kept_up_to_a_bound() {
    for state in STATES {
        let of_state = |moment: &&Moment| moment.state == state && moment.kind.0 == 3;
        let Some(moment) = moments().iter().find(of_state) else { continue };
        let Sent { from, to, .. } = moment.sent;
        let status = moment.net.nodes[&to].status(GROUP);
        let current = status.as_ref().and_then(|status| status.view.as_ref());
        let members = current.map_or(0, |view| view.members.len());
        let number = current.map_or(3, |view| view.number);
        // Declared: the joiner's buffer, or a window for each member and one more.
        let config = moment.net.config();
        let limit = match state {
            State::Joining => config.join_buffer,
            State::Outsider | State::Departed => 0,
            _ => config.window * (members + 1),
        };
        for kind in [0, 6, 11] {
            let Some(of_kind) = of_kind(kind).next() else { continue };
            let frame = &of_kind.sent.frame;
            let mut head = frame[..message_at(frame) - 1].to_vec();
            let view_at = (0..3).fold(0, |at, _| at + number_at(frame, at).map_or(0, |n| n.1));
            assert_eq!(number_at(&head, view_at).map(|n| n.0), Some(view_of(frame)));
            head = with_number(&head, view_at, number + 1);
            put(&mut head, kind);
            many_elements(&mut head, kind);
            let frames = std::iter::repeat_n(std::borrow::Cow::Owned(head), 2_000);
            let (kept, reasons) = flood(moment, from, frames);
            let full = reasons.iter().filter(|&&r| r == DropReason::EarlyFull).count();
            // Decoded frames are not accounted to the byte.
            let bound = (limit + limit / 8 + 4096) as isize;
            assert!(kept <= bound, "{state:?} keeps {kept} bytes of kind {kind}, not {bound}");
            assert!(!reasons.contains(&DropReason::Malformed), "kind {kind} is a frame");
            assert!(full > 0 || limit == 0, "{state:?}, kind {kind}: {kept} bytes, never full");
        }
    }
}

/// Forty of the smallest elements: what takes most decoded for what it takes on the wire.
fn many_elements(frame: &mut Vec<u8>, kind: u64) {
    put(frame, 40);
    for index in 0..40 {
        match kind {
            // A batch of one empty update: no stamp, k, wall; one run; four bytes of body.
            0 => frame.extend_from_slice(&[index, 0, 0, 0, 1, 0, 0, 1, 4]),
            // A lane without batches.
            6 => frame.extend_from_slice(&[index, 0]),
            // A request to join.
            _ => frame.extend_from_slice(&[40 + index, 1, 1, 0]),
        }
    }
    match kind {
        // No records, no acknowledgement, no hurry; the bodies.
        0 => frame.resize(frame.len() + 3 + 160, 0),
        6 => frame.push(0),
        _ => frame.extend_from_slice(&[0, 0, 0]),
    }
}

/// Who is no member can have requests to join kept, one for each node; members can name any number
/// of nodes, up to the most members that a view has.
#[test]
fn requests_to_join_are_kept_once_for_each_node() {
    let member = |moment: &&Moment| moment.state == State::Member;
    let Some(moment) = moments().iter().find(member) else { panic!("there are members") };
    let frame = &of_kind(12).next().expect("a request was recorded").sent.frame;
    let at = message_at(frame);
    let requests = (0..5_000u64).map(|nonce| {
        let mut request = frame[..at].to_vec();
        for field in [77, nonce + 1_000, 1, 3] {
            put(&mut request, field);
        }
        request.extend_from_slice(b"who");
        std::borrow::Cow::Owned(request)
    });
    let (kept, reasons) = flood(moment, NodeId(77), requests);
    assert!(kept < 16_384, "{kept} bytes kept of one node's requests");
    assert!(reasons.is_empty(), "{reasons:?}");
}
