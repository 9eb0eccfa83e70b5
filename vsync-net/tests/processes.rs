//! Real processes and `kill`: what the liveness link sees.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use vsync_net::{Event, PeerId, Quic, QuicConfig, Secret, Transport};

/// How long a child lives at most, whatever happens to its parent.
const LIFE: Duration = Duration::from_secs(60);
/// Far below the idle timeout: only the liveness link can be so fast.
const SOON: Duration = Duration::from_secs(5);
const DIAL: &str = "VSYNC_NET_TEST_DIAL";
const LISTEN: &str = "VSYNC_NET_TEST_LISTEN";
const ANY: &str = "127.0.0.1:0";

async fn node(name: &str, listen: &str, role: u8) -> Quic {
    let secret = Secret::new("the secret of the processes").unwrap();
    let idle_timeout = Duration::from_secs(30);
    let config = QuicConfig { role, idle_timeout, ..QuicConfig::new(name, listen, secret) };
    Quic::start(config).await.unwrap()
}

/// Not a test by itself: the child process of the others.
#[test]
#[ignore = "run by the other tests as a process of its own"]
fn child() {
    let Ok(dial) = std::env::var(DIAL) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let role = u8::from(dial.starts_with("as client "));
        let node = node("child", &std::env::var(LISTEN).unwrap(), role).await;
        println!("listening {} {:x}", node.local().addr, node.local().id.0);
        if let Some(addr) = dial.split(' ').next_back().filter(|addr| !addr.is_empty()) {
            node.connect(addr).await.unwrap();
        }
        let _ = timeout(LIFE, async { while node.next().await.is_some() {} }).await;
    });
}

/// A child process, killed at the end of the test at the latest.
struct Process {
    child: Child,
    addr: String,
    id: PeerId,
}

impl Process {
    fn start(listen: &str, dial: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env(DIAL, dial)
            .env(LISTEN, listen)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let found = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, rest) = line.split_once("listening ")?;
            let (addr, id) = rest.split_once(' ')?;
            Some((addr.to_owned(), PeerId(u64::from_str_radix(id, 16).unwrap())))
        });
        let (addr, id) = found.expect("the child did not start");
        // Its later output is of no interest, but must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, addr, id }
    }

    fn signal(&self, signal: &str) {
        let kill = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn next(quic: &Quic) -> Event {
    timeout(LIFE, quic.next()).await.expect("no event came").expect("ended")
}

async fn up(quic: &Quic, id: PeerId) {
    loop {
        if let Event::Up(info) = next(quic).await {
            assert_eq!(info.id, id);
            return;
        }
    }
}

/// Gives the liveness link the moment that it takes to open and be tried.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

async fn end_is_noticed(quic: &Quic, process: Process) {
    let id = process.id;
    process.signal("-KILL");
    let killed = Instant::now();
    assert_eq!(next(quic).await, Event::Down { peer: id });
    assert_eq!(next(quic).await, Event::Ended { peer: id });
    println!("noticed after {:?}", killed.elapsed());
    assert!(killed.elapsed() < SOON, "{:?}", killed.elapsed());
}

#[tokio::test]
async fn who_dialled_notices_a_kill() {
    let node = node("node", ANY, 0).await;
    let process = Process::start(ANY, "");
    assert_eq!(node.connect(&process.addr).await.unwrap().id, process.id);
    up(&node, process.id).await;
    settle().await;
    end_is_noticed(&node, process).await;
}

#[tokio::test]
async fn who_was_dialled_notices_a_kill() {
    let node = node("node", ANY, 0).await;
    for dial in [node.local().addr.clone(), format!("as client {}", node.local().addr)] {
        let process = Process::start(ANY, &dial);
        up(&node, process.id).await;
        settle().await;
        end_is_noticed(&node, process).await;
        assert_eq!(node.stats().connections, 0);
    }
}

#[tokio::test]
async fn a_stopped_process_is_not_taken_for_dead() {
    let node = node("node", ANY, 0).await;
    let process = Process::start(ANY, "");
    node.connect(&process.addr).await.unwrap();
    up(&node, process.id).await;
    settle().await;
    process.signal("-STOP");
    let event = timeout(Duration::from_secs(2), node.next()).await;
    assert!(event.is_err(), "{event:?}");
    process.signal("-CONT");
    end_is_noticed(&node, process).await;
}

#[tokio::test]
async fn without_the_liveness_link_silence_tells() {
    let secret = Secret::new("the secret of the processes").unwrap();
    let idle_timeout = Duration::from_secs(1);
    let config = QuicConfig { idle_timeout, liveness: false, ..QuicConfig::new("n", ANY, secret) };
    let node = Quic::start(config).await.unwrap();
    let process = Process::start(ANY, "");
    node.connect(&process.addr).await.unwrap();
    up(&node, process.id).await;
    process.signal("-KILL");
    assert_eq!(next(&node).await, Event::Down { peer: process.id });
    // Nobody knows that it has ended; it is dialled again and again.
    let event = timeout(Duration::from_millis(500), node.next()).await;
    assert!(event.is_err(), "{event:?}");
}

#[tokio::test]
async fn a_restarted_process_ends_its_predecessor() {
    let node = node("node", ANY, 0).await;
    let first = Process::start(ANY, &node.local().addr);
    up(&node, first.id).await;
    let (gone, listen) = (first.id, first.addr.clone());
    // At once, perhaps before the liveness link has been tried: then the successor tells.
    drop(first);
    let second = Process::start(&listen, &node.local().addr);
    assert_ne!(gone, second.id);
    assert_eq!(next(&node).await, Event::Down { peer: gone });
    assert_eq!(next(&node).await, Event::Ended { peer: gone });
    up(&node, second.id).await;
}
