//! Everything that comes from a peer survives arbitrary bytes.
//!
//! Recorded runs of a real group (joins with state transfer, all orders, breaks, a crash, an
//! exclusion, leaves) are the corpus: each recorded frame comes with the network as it was just
//! before that frame was taken in (`corpus.rs`; the fuzz target has the same; `coverage.rs` says
//! what is in it). Frames are spoiled and given to the engine at that moment, or at another one,
//! from a member or from somebody else. What must hold:
//!
//! - the engine does not panic, neither on the frame nor in what follows;
//! - no frame makes it allocate more than a multiple of the frame's length, plus what one answer
//!   may carry (`alloc.rs` counts); many frames are kept up to the declared bounds (`limits.rs`);
//! - bytes that are no frame of the protocol are dropped as such, and leave nothing (`lies.rs`);
//! - where the spoiled frame was dropped, the group goes on and serves.
//!
//! Frames are authenticated, and members are not Byzantine: a spoiled frame that is complete,
//! consistent and in protocol is a lie (a changed update, an acknowledgement of what was never
//! received, a decision that nobody took). It may stop the group or make replicas differ, and these
//! tests only ask that it does not panic.
//!
//! `PROPTEST_CASES=100000 cargo test --release -p vsync-core --test bytes` runs for longer.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "the core may not reach the world outside; its tests may"
)]

mod alloc;
mod corpus;
mod coverage;
mod directed;
mod lies;
mod limits;
mod mutate;
mod net;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use bytes::Bytes;
use corpus::{Moment, moments, number_at};
use mutate::{Change, EXTREMES, change, with_number};
use net::{Net, OUTSIDER, Sent};
use proptest::prelude::*;
use vsync_core::engine::{DropReason, Input, Output, Outputs};
use vsync_core::wire::NodeId;

fn frames() -> &'static [Bytes] {
    static FRAMES: OnceLock<Vec<Bytes>> = OnceLock::new();
    FRAMES.get_or_init(|| moments().iter().map(|moment| moment.sent.frame.clone()).collect())
}

/// What became of a frame.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) dropped: Vec<DropReason>,
    pub(crate) net: Net,
}

/// Gives a frame to one engine, and looks at what it allocates.
pub(crate) fn give(
    net: &Net,
    to: NodeId,
    peer: NodeId,
    frame: &[u8],
) -> Result<Outcome, TestCaseError> {
    let mut net = net.clone();
    let mut out = Outputs::new();
    let now = net.now;
    let start = &frame[..frame.len().min(200)];
    let shown = || format!("{to:?} from {peer:?}: {} bytes {start:02x?}", frame.len());
    let Some(engine) = net.nodes.get_mut(&to) else {
        return Err(TestCaseError::fail("no such node"));
    };
    let input = Input::Frame { peer, frame: Bytes::copy_from_slice(frame) };
    let handle = AssertUnwindSafe(|| engine.handle(now, input, &mut out));
    let (done, bytes) = alloc::peak(|| catch_unwind(handle));
    prop_assert!(done.is_ok(), "panic at {}", shown());
    let bound = alloc::bound(frame.len());
    prop_assert!(bytes <= bound, "{bytes} bytes allocated, {bound} allowed, at {}", shown());
    let dropped = out.as_slice().iter().filter_map(|output| match output {
        Output::Dropped { reason, .. } => Some(*reason),
        _ => None,
    });
    let dropped: Vec<DropReason> = dropped.collect();
    net.outputs(to, &mut out);
    Ok(Outcome { dropped, net })
}

/// Goes on after a spoiled frame: with the frame as it was sent, then with everything else.
fn go_on(
    moment: &Moment,
    mut net: Net,
    spoiled: &[u8],
) -> Result<Result<(), String>, TestCaseError> {
    let Sent { from, to, frame } = moment.sent.clone();
    let run = AssertUnwindSafe(move || {
        net.input(to, Input::Frame { peer: from, frame });
        net.serves()
    });
    catch_unwind(run).map_err(|_| {
        TestCaseError::fail(format!("panic after {to:?} got from {from:?}: {spoiled:02x?}"))
    })
}

/// How many cases a property runs by default; `PROPTEST_CASES` overrides it.
fn cases(count: u32) -> ProptestConfig {
    let given = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: given.unwrap_or(count),
        failure_persistence: None,
        ..Default::default()
    }
}

#[test]
fn without_a_spoiled_frame_every_moment_goes_on() {
    for (index, moment) in moments().iter().enumerate().step_by(12) {
        let served = go_on(moment, moment.net.clone(), &[]).expect("no panic");
        assert_eq!(served, Ok(()), "moment {index}: {:?} {:?}", moment.kind, moment.sent);
    }
}

/// Every number of every kind of frame, replaced by extremes and by its neighbours.
#[test]
fn numbers_out_of_range_do_not_panic() {
    let deep = std::env::var_os("PROPTEST_CASES").is_some();
    let mut taken: BTreeMap<_, usize> = BTreeMap::new();
    for moment in moments() {
        let taken = taken.entry((moment.kind, moment.state)).or_default();
        *taken += 1;
        if *taken > 1 && !deep {
            continue;
        }
        let Sent { from, to, frame } = &moment.sent;
        for at in 0..frame.len().min(if deep { 400 } else { 48 }) {
            let Some((value, _)) = number_at(frame, at) else { continue };
            let near = [value.wrapping_sub(1), value.wrapping_add(1)];
            for value in EXTREMES.into_iter().chain(near) {
                let spoiled = with_number(frame, at, value);
                if let Err(error) = give(&moment.net, *to, *from, &spoiled) {
                    panic!("{error}");
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(250))]

    /// Bytes that are nothing.
    #[test]
    fn arbitrary_bytes(
        index in any::<prop::sample::Index>(),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        peer in 1u64..12,
    ) {
        let moment = index.get(moments());
        for &to in moment.net.nodes.keys() {
            give(&moment.net, to, NodeId(peer), &bytes)?;
        }
    }

    /// Frames with several changes, at any moment, to anybody, from anybody.
    #[test]
    fn spoiled_frames_at_any_moment(
        index in any::<prop::sample::Index>(),
        frame in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 0..4),
        stranger in prop::option::weighted(0.2, Just(OUTSIDER)),
    ) {
        let (moment, recorded) = (index.get(moments()), frame.get(moments()));
        let mut bytes = recorded.sent.frame.to_vec();
        for change in &changes {
            bytes = change.apply(&bytes, frames());
        }
        for &to in moment.net.nodes.keys() {
            let peer = stranger.unwrap_or(recorded.sent.from);
            give(&moment.net, to, peer, &bytes)?;
        }
    }
}

proptest! {
    #![proptest_config(cases(120))]

    /// One change to a frame at its own moment: dropped, and the group serves; or a lie.
    #[test]
    fn one_change_is_dropped_or_a_lie(
        index in any::<prop::sample::Index>(),
        change in change(),
    ) {
        spoil_once(index.get(moments()), &change)?;
    }
}

fn spoil_once(moment: &Moment, change: &Change) -> Result<(), TestCaseError> {
    let Sent { from, to, frame } = &moment.sent;
    let spoiled = change.apply(frame, frames());
    let outcome = give(&moment.net, *to, *from, &spoiled)?;
    let served = go_on(moment, outcome.net, &spoiled)?;
    let rejected =
        |reason: &DropReason| matches!(reason, DropReason::Malformed | DropReason::Invalid);
    // Splices may bring a whole other message, of which a part is taken.
    let single = !matches!(change, Change::Splice { .. } | Change::Repeat { .. })
        // A lie about a batch that is fetched is taken: what is dropped then is the proposal that
        // does not fit it.
        && moment.kind != (3, 6);
    if single && !outcome.dropped.is_empty() && outcome.dropped.iter().all(rejected) {
        prop_assert_eq!(served, Ok(()), "{:?} of {:?} {:?}", change, moment.kind, moment.sent);
    }
    Ok(())
}
