//! Any bytes, as a frame from a member or from somebody else, at any moment of a real run.
#![no_main]

#[path = "../../tests/bytes/net.rs"]
#[allow(dead_code, reason = "shared with the property tests, which use all of it")]
mod net;

use std::sync::OnceLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use net::{Net, story};
use vsync_core::engine::Input;

/// Every so many frames of a run the network is kept as it is.
const EVERY: usize = 40;

fn moments() -> &'static [Net] {
    static MOMENTS: OnceLock<Vec<Net>> = OnceLock::new();
    MOMENTS.get_or_init(|| {
        let mut moments = Vec::new();
        for causal in [true, false] {
            let mut met = 0;
            story(causal, &mut |net, _| {
                if met % EVERY == 0 {
                    moments.push(net.clone());
                }
                met += 1;
            });
        }
        moments
    })
}

fuzz_target!(|input: &[u8]| {
    let [moment, pair, frame @ ..] = input else { return };
    let moments = moments();
    // Spread over all of them: there are more than a byte can count.
    let mut net = moments[usize::from(*moment) * moments.len() / 256].clone();
    let nodes = net.alive();
    let to = nodes[usize::from(pair & 15) % nodes.len()];
    let peer = nodes[usize::from(pair >> 4) % nodes.len()];
    net.input(to, Input::Frame { peer, frame: Bytes::copy_from_slice(frame) });
    net.run(1_000_000, 20_000, &mut |_, _| {});
});
