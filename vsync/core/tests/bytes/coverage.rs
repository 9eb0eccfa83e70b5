//! What the corpus reaches: kinds of messages, states of their receivers, reasons to drop.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use vsync_core::engine::{DropReason, Input};

use crate::corpus::{STATES, State, moments, seed, unseed};
use crate::give;
use crate::net::Sent;

/// A rejection has the form of an acceptance, and is made from it elsewhere.
const REJECT: u64 = 4;

#[test]
fn the_corpus_has_every_kind_of_message_in_every_state() {
    let mut table: BTreeMap<(u64, u64), BTreeMap<State, usize>> = BTreeMap::new();
    for moment in moments() {
        *table.entry(moment.kind).or_default().entry(moment.state).or_default() += 1;
    }
    for (kind, states) in &table {
        println!("{kind:?}: {states:?}");
    }
    let groups: Vec<u64> = table.keys().filter(|kind| kind.0 == 3).map(|kind| kind.1).collect();
    let all: Vec<u64> = (0..=17).filter(|&kind| kind != REJECT).collect();
    assert_eq!(groups, all, "kinds of messages");
    for frame in 0..=2 {
        assert!(table.contains_key(&(frame, 0)), "kinds of frames");
    }
    let reached: BTreeSet<State> = table.values().flat_map(BTreeMap::keys).copied().collect();
    let missing: Vec<&State> = STATES.iter().filter(|state| !reached.contains(state)).collect();
    assert!(missing.is_empty(), "states never reached: {missing:?}");
}

/// The seeds of the fuzz target are the recorded frames, each at its moment:
/// `VSYNC_CORPUS=dir cargo test … -- seeds` writes them.
#[test]
fn seeds_for_the_fuzz_target() {
    let dir = std::env::var_os("VSYNC_CORPUS").map(std::path::PathBuf::from);
    for (index, moment) in moments().iter().enumerate() {
        let bytes = seed(index);
        let (again, sent) = unseed(&bytes).expect("a seed is an input");
        assert!(std::ptr::eq(again, moment), "seed {index}");
        assert_eq!(format!("{sent:?}"), format!("{:?}", moment.sent));
        if let Some(dir) = &dir {
            let name = format!("{}-{}-{:?}-{index}", moment.kind.0, moment.kind.1, moment.state);
            std::fs::write(dir.join(name), bytes).expect("the corpus directory can be written");
        }
    }
}

/// What becomes of each recorded frame where it was not meant: at every node of every moment some
/// of all frames, and so in every state every kind of message. Says which reasons to drop were met.
#[test]
fn every_kind_of_message_in_every_state_meets_every_reason() {
    let mut reasons: BTreeMap<usize, usize> = BTreeMap::new();
    let mut pairs: BTreeSet<((u64, u64), State)> = BTreeSet::new();
    let kinds: BTreeSet<(u64, u64)> = moments().iter().map(|moment| moment.kind).collect();
    // Of each state some moments, of each kind some frames.
    let mut taken: BTreeMap<State, usize> = BTreeMap::new();
    for moment in moments() {
        let met = taken.entry(moment.state).or_default();
        *met += 1;
        if *met > 6 {
            continue;
        }
        for &kind in &kinds {
            let frames = moments().iter().filter(|other| other.kind == kind);
            for Sent { from, frame, .. } in frames.map(|other| &other.sent).step_by(3) {
                let to = moment.sent.to;
                let peer = if *from == to { moment.sent.from } else { *from };
                let outcome = give(&moment.net, to, peer, frame).expect("no panic");
                pairs.insert((kind, moment.state));
                outcome.dropped.iter().for_each(|&r| *reasons.entry(r as usize).or_default() += 1);
            }
        }
    }
    assert_eq!(pairs.len(), kinds.len() * STATES.len(), "pairs of kind and state");
    // What recorded frames do not meet: what is none, and one too many of a later view.
    let joining = moments().iter().find(|moment| moment.state == State::Joining).expect("joins");
    let mut net = joining.net.clone();
    let data = moments().iter().find(|moment| moment.kind == (3, 0)).expect("data");
    let before = net.seen[&joining.sent.to].reasons.len();
    for _ in 0..10_000 {
        let frame = data.sent.frame.clone();
        net.input(joining.sent.to, Input::Frame { peer: joining.sent.from, frame });
    }
    net.input(joining.sent.to, Input::Frame { peer: joining.sent.from, frame: Bytes::new() });
    let more = net.seen[&joining.sent.to].reasons.iter().skip(before);
    more.for_each(|&reason| *reasons.entry(reason as usize).or_default() += 1);
    let names =
        reasons.iter().map(|(&reason, count)| (format!("{:?}", DropReason::ALL[reason]), count));
    println!("dropped: {:?}", names.collect::<BTreeMap<_, _>>());
    let missing: Vec<_> = (0..DropReason::ALL.len()).filter(|r| !reasons.contains_key(r)).collect();
    let missing: Vec<DropReason> = missing.into_iter().map(|r| DropReason::ALL[r]).collect();
    assert!(missing.is_empty(), "reasons never met: {missing:?}");
}
