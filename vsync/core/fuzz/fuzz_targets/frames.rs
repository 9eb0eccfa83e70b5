//! Any bytes, as a frame from a member or from somebody else, at any moment of a real run.
#![no_main]

#[path = "../../tests/bytes/alloc.rs"]
#[allow(dead_code, reason = "shared with the property tests, which use all of it")]
mod alloc;
#[path = "../../tests/bytes/corpus.rs"]
#[allow(dead_code, reason = "shared with the property tests, which use all of it")]
mod corpus;
#[path = "../../tests/bytes/net.rs"]
#[allow(dead_code, reason = "shared with the property tests, which use all of it")]
mod net;

use corpus::unseed;
use libfuzzer_sys::fuzz_target;
use vsync_core::engine::Input;

fuzz_target!(|input: &[u8]| {
    let Some((moment, sent)) = unseed(input) else { return };
    let mut net = moment.net.clone();
    let length = sent.frame.len();
    let frame = Input::Frame { peer: sent.from, frame: sent.frame };
    let ((), bytes) = alloc::peak(|| net.input(sent.to, frame));
    assert!(bytes <= alloc::bound(length), "{bytes} bytes allocated for a frame of {length}");
    // What was on its way goes on, and so does time.
    net.run(1_000_000, 20_000, &mut |_, _| {});
});
