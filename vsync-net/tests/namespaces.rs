//! Between two processes that are not on one host's loopback interface, as far as that can be had
//! on one: in a network namespace of its own, whose only interface carries frames of a known size.
//!
//! They need root and `ip`, so a plain `cargo test` leaves them out:
//! `cargo test -p vsync-net --test namespaces -- --ignored`.

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use vsync_net::{Class, Event, PeerId, Quic, QuicConfig, Secret, Transport};

/// No address of loopback: nothing is known of what its network carries.
const HOST: &str = "10.77.0.1";
/// Set in a namespace.
const INSIDE: &str = "VSYNC_NET_TEST_NAMESPACE";
const FRAME: usize = 100_000;
/// Frames until the size of datagrams is found, and frames that are looked at.
const PROBING: usize = 300;
const MEASURED: usize = 100;
const PATIENCE: Duration = Duration::from_secs(60);

async fn node(name: &str) -> Quic {
    let secret = Secret::new("the secret of the namespaces").unwrap();
    // A call for each datagram, so that counts of calls are counts of datagrams.
    let config = QuicConfig { gso: false, ..QuicConfig::new(name, format!("{HOST}:0"), secret) };
    Quic::start(config).await.unwrap()
}

/// Sends so many frames, and waits until all are there.
async fn transfer(from: &Quic, to: PeerId, at: &Quic, frames: usize) {
    for _ in 0..frames {
        from.send(to, Class::Bulk, Bytes::from(vec![7; FRAME]));
        loop {
            let event = timeout(PATIENCE, at.next()).await.expect("nothing came");
            if let Event::Frame { frame, .. } = event.expect("it has ended") {
                assert_eq!(frame.len(), FRAME);
                break;
            }
        }
        // What the sender is told is of no interest here.
        while timeout(Duration::ZERO, from.next()).await.is_ok() {}
    }
}

/// The average size of a datagram that carries a long transfer.
async fn datagrams() -> u64 {
    let (one, other) = (node("one").await, node("other").await);
    let to = timeout(PATIENCE, one.connect(&other.local().addr)).await.unwrap().unwrap().id;
    transfer(&one, to, &other, PROBING).await;
    let before = one.stats();
    transfer(&one, to, &other, MEASURED).await;
    let after = one.stats();
    (after.wire_sent - before.wire_sent) / (after.sends - before.sends)
}

/// Runs this test in a namespace whose interface carries so many bytes, and gives the size of
/// datagrams there.
fn within(name: &str, carries: u16) -> u64 {
    let script = format!(
        "ip link set lo up mtu {carries} && ip addr add {HOST}/24 dev lo && \
         exec \"$0\" --exact {name} --ignored --nocapture"
    );
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(INSIDE, "yes")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let size = said.lines().find_map(|line| line.split_once("datagrams of ")?.1.parse().ok());
    size.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Inside of the namespace: measures, and says what it is.
fn inside() -> bool {
    if std::env::var_os(INSIDE).is_none() {
        return false;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    println!("\ndatagrams of {}", runtime.block_on(datagrams()));
    true
}

#[test]
#[ignore = "needs root, for a network namespace"]
fn jumbo_frames_are_found() {
    if !inside() {
        let size = within("jumbo_frames_are_found", 9_000);
        assert!((6_000..=6_550).contains(&size), "datagrams of {size} bytes");
    }
}

#[test]
#[ignore = "needs root, for a network namespace"]
fn usual_frames_are_filled_and_not_exceeded() {
    if !inside() {
        let size = within("usual_frames_are_filled_and_not_exceeded", 1_500);
        // 1,500 less the headers of IP and UDP; a few datagrams are not full.
        assert!((1_380..=1_472).contains(&size), "datagrams of {size} bytes");
    }
}
