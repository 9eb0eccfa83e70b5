//! Frames made by hand from recorded ones, each against one check.

use vsync_core::engine::DropReason;
use vsync_core::wire::NodeId;

use crate::corpus::{Moment, moments, number_at};
use crate::give;
use crate::mutate::{put, with_number};
use crate::net::Sent;

/// Where the message of a group's frame begins, behind its variant.
pub(crate) fn message_at(frame: &[u8]) -> usize {
    let length = |at: usize| number_at(frame, at).map_or(0, |(_, length)| length);
    // Variant, group, generation, view, entry, variant of the message.
    (0..6).fold(0, |at, _| at + length(at))
}

/// The view that a group's frame belongs to.
pub(crate) fn view_of(frame: &[u8]) -> u64 {
    let at = (0..3).fold(0, |at, _| at + number_at(frame, at).map_or(0, |(_, length)| length));
    number_at(frame, at).map_or(0, |(view, _)| view)
}

pub(crate) fn of_kind(message: u64) -> impl Iterator<Item = &'static Moment> {
    moments().iter().filter(move |moment| moment.kind == (3, message))
}

/// The head of a recorded frame, up to its message, with another message behind it.
fn forged(frame: &[u8], message: u64, fields: &[u64]) -> Vec<u8> {
    let mut out = frame[..message_at(frame) - 1].to_vec();
    put(&mut out, message);
    for &field in fields {
        put(&mut out, field);
    }
    out
}

/// What becomes of a frame at a moment.
pub(crate) fn fate(moment: &Moment, frame: &[u8]) -> Vec<DropReason> {
    let Sent { from, to, .. } = moment.sent;
    match give(&moment.net, to, from, frame) {
        Ok(outcome) => outcome.dropped,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn rejections_with_ballots_out_of_range() {
    for moment in of_kind(8) {
        let frame = &moment.sent.frame;
        let current = fate(moment, &forged(frame, 4, &[2, 1]));
        assert!(current.is_empty() || current == [DropReason::OldView], "{current:?}");
        for n in [0, 1 << 60, u64::MAX] {
            let malformed = [DropReason::Malformed];
            assert_eq!(fate(moment, &forged(frame, 4, &[n, 1])), malformed, "ballot {n}");
        }
    }
}

#[test]
fn a_frame_of_the_receiver_itself_is_dropped() {
    for moment in moments().iter().step_by(20) {
        let Sent { to, ref frame, .. } = moment.sent;
        let outcome = give(&moment.net, to, to, frame).expect("no panic");
        assert_eq!(outcome.dropped, [DropReason::NotMember]);
    }
}

#[test]
fn strangers_are_heard_only_as_far_as_they_may_be() {
    // Data, sync, prepare, promise, fetched, propose, accepted, nudge: of members only.
    for kind in [0, 1, 2, 3, 6, 7, 8, 11] {
        for moment in of_kind(kind) {
            let Sent { to, ref frame, .. } = moment.sent;
            let before = moment.net.nodes[&to].status(crate::net::GROUP);
            let outcome = give(&moment.net, to, NodeId(77), frame).expect("no panic");
            let after = outcome.net.nodes[&to].status(crate::net::GROUP);
            assert_eq!(format!("{before:?}"), format!("{after:?}"), "kind {kind}");
        }
    }
}

#[test]
fn a_decision_whose_cut_or_members_do_not_fit_is_dropped() {
    let mut seen = 0;
    for moment in of_kind(9).chain(of_kind(7)) {
        let Sent { to, ref frame, .. } = moment.sent;
        let frozen = |net: &crate::net::Net| net.nodes[&to].status(crate::net::GROUP);
        if !frozen(&moment.net).is_some_and(|status| status.frozen) {
            continue;
        }
        seen += 1;
        // Number of the view, and of its members: right behind the proposal's length.
        let mut at = message_at(frame);
        if moment.kind.1 == 7 {
            at += number_at(frame, at).map_or(0, |(_, length)| length);
            at += number_at(frame, at).map_or(0, |(_, length)| length);
        }
        at += number_at(frame, at).map_or(0, |(_, length)| length);
        let (number, _) = number_at(frame, at).expect("a number");
        // Who tells it from the new view may be further ahead, and know a later decision.
        if view_of(frame) == number {
            continue;
        }
        let spoiled = with_number(frame, at, number + 1);
        assert_eq!(fate(moment, &spoiled), [DropReason::Invalid], "view {number} of {frame:02x?}");
    }
    assert!(seen > 4, "{seen} decisions at members that take part in the change");
}

/// What a fetch brings is of lanes that the view has, and not of the receiver's own.
#[test]
fn fetched_lanes_of_nobody_are_dropped() {
    let mut seen = 0;
    for moment in of_kind(6).filter(|moment| fate(moment, &moment.sent.frame).is_empty()) {
        seen += 1;
        for rank in [64, 1 << 20, u64::from(u32::MAX)] {
            // One lane without batches, no records.
            let frame = forged(&moment.sent.frame, 6, &[1, rank, 0, 0]);
            assert_eq!(fate(moment, &frame), [DropReason::Invalid], "rank {rank}");
        }
    }
    assert!(seen > 4, "{seen} moments");
}
