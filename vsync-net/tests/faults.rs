//! Bad configuration, strangers and garbage: each a clear error of its own, nothing lost for the
//! others.

use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use vsync_net::{
    Class, ConnectError, Event, Mtu, PeerId, Quic, QuicConfig, Secret, SecretError, StartError,
    Transport,
};

const PATIENCE: Duration = Duration::from_secs(30);

fn secret(text: &str) -> Secret {
    Secret::new(text).unwrap()
}

fn config(name: &str) -> QuicConfig {
    QuicConfig::new(name, "127.0.0.1:0", secret("the secret of the faults"))
}

async fn node(name: &str) -> Quic {
    Quic::start(config(name)).await.unwrap()
}

fn addr(quic: &Quic) -> String {
    quic.local().addr.clone()
}

async fn next(quic: &Quic) -> Event {
    timeout(PATIENCE, quic.next()).await.expect("no event came").expect("ended")
}

async fn meet(from: &Quic, to: &Quic) {
    from.connect(&addr(to)).await.unwrap();
    assert_eq!(next(from).await, Event::Up(to.local().clone()));
    assert_eq!(next(to).await, Event::Up(from.local().clone()));
}

async fn talk(from: &Quic, to: &Quic) {
    from.send(to.local().id, Class::Updates, Bytes::from_static(b"well?"));
    assert!(matches!(next(to).await, Event::Frame { .. }));
}

/// Waits until a count has been reached.
async fn counted(what: impl Fn() -> u64, least: u64) {
    let counting = async {
        while what() < least {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, counting).await.expect("not counted");
}

#[tokio::test]
async fn another_secret_is_refused_at_the_handshake() {
    let ours = node("ours").await;
    let friend = node("friend").await;
    meet(&friend, &ours).await;
    let stranger = QuicConfig { secret: secret("the secret of another cluster"), ..config("s") };
    let stranger = Quic::start(stranger).await.unwrap();
    let wrong = stranger.connect(&addr(&ours)).await;
    assert_eq!(wrong, Err(ConnectError::WrongSecret { addr: addr(&ours) }));
    let wrong = ours.connect(&addr(&stranger)).await;
    assert_eq!(wrong, Err(ConnectError::WrongSecret { addr: addr(&stranger) }));
    counted(|| ours.stats().refused, 1).await;
    // The stranger was never an event, and the friend has noticed nothing.
    talk(&friend, &ours).await;
}

#[tokio::test]
async fn a_secret_can_be_rotated() {
    let old = || secret("the secret of yesterday");
    let new = || secret("the secret of tomorrow");
    let start = |name: &str, secret, also_accept| {
        Quic::start(QuicConfig { secret, also_accept, ..config(name) })
    };
    let before = start("before", old(), vec![]).await.unwrap();
    let ready = start("ready", old(), vec![new()]).await.unwrap();
    let after = start("after", new(), vec![old()]).await.unwrap();
    meet(&ready, &before).await;
    meet(&after, &ready).await;
    // Whoever has not been told of the new secret does not accept it, whichever side says so.
    let wrong = after.connect(&addr(&before)).await;
    assert_eq!(wrong, Err(ConnectError::WrongSecret { addr: addr(&before) }));
}

#[test]
fn a_short_secret_is_refused() {
    let error = Secret::new("too short").unwrap_err();
    assert_eq!(error, SecretError::TooShort { len: 9, min: 16 });
    let error = StartError::from(error).to_string();
    assert_eq!(error, "the cluster secret has 9 bytes; at least 16 are needed");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = node("first").await;
    let listen = addr(&first);
    for liveness in [true, false] {
        let second = QuicConfig { listen: listen.clone(), liveness, ..config("second") };
        let error = Quic::start(second).await.err().unwrap();
        assert_eq!(error, StartError::PortInUse { addr: listen.clone() });
        assert!(error.to_string().contains(&listen));
    }
    // Another cluster's process does not get it either.
    let other = secret("the secret of another cluster");
    let other = QuicConfig { listen: listen.clone(), secret: other, ..config("other") };
    assert!(matches!(Quic::start(other).await, Err(StartError::PortInUse { .. })));
    // The TCP side alone is enough.
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = tcp.local_addr().unwrap().to_string();
    let third = QuicConfig { listen: listen.clone(), ..config("third") };
    assert_eq!(Quic::start(third).await.err(), Some(StartError::PortInUse { addr: listen }));
    // The first goes on.
    let friend = node("friend").await;
    meet(&friend, &first).await;
}

#[tokio::test]
async fn a_port_is_free_again_at_once() {
    let first = node("first").await;
    let second = node("second").await;
    meet(&second, &first).await;
    let listen = addr(&first);
    first.shutdown(PATIENCE).await;
    drop(first);
    let again = QuicConfig { listen, ..config("again") };
    let begun = std::time::Instant::now();
    while let Err(error) = Quic::start(again.clone()).await {
        // The tasks that own the sockets end a moment later.
        assert!(matches!(error, StartError::PortInUse { .. }), "{error}");
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn bad_addresses_are_told_apart() {
    for listen in ["nowhere", "127.0.0.1", "127.0.0.1:99999", "192.0.2.1:0"] {
        let bad = QuicConfig { listen: listen.into(), ..config("bad") };
        let error = Quic::start(bad).await.err();
        assert!(matches!(error, Some(StartError::BadAddress { .. })), "{listen}: {error:?}");
    }
    let node = node("node").await;
    for bad in ["", "nowhere", ":1", "127.0.0.1:x", "127.0.0.1:0", "127.0.0.1:65536"] {
        let error = node.connect(bad).await;
        assert!(matches!(error, Err(ConnectError::BadAddress { .. })), "{bad}: {error:?}");
    }
    let error = node.connect("no-such-host.invalid:7400").await;
    assert!(matches!(error, Err(ConnectError::Unresolvable { .. })), "{error:?}");
    let error = Quic::start(QuicConfig { name: String::new(), ..config("") }).await.err();
    assert!(matches!(error, Some(StartError::BadName { .. })), "{error:?}");
}

#[tokio::test]
async fn an_unreachable_seed_costs_a_bounded_time() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let connect_timeout = Duration::from_millis(300);
    let node = Quic::start(QuicConfig { connect_timeout, ..config("node") }).await.unwrap();
    let addr = silent.local_addr().unwrap().to_string();
    let error = timeout(PATIENCE, node.connect(&addr)).await.unwrap();
    assert_eq!(error, Err(ConnectError::Unreachable { addr, millis: 300 }));
}

#[tokio::test]
async fn oneself_is_recognised() {
    let node = node("node").await;
    let own = addr(&node);
    assert_eq!(node.connect(&own).await, Err(ConnectError::Itself { addr: own }));
    assert_eq!(node.try_next(), None);
    assert_eq!(node.stats().connections, 0);
}

#[tokio::test]
async fn another_protocol_version_is_named_at_both_ends() {
    let ours = node("ours").await;
    let later = QuicConfig { versions: (2, 4), ..config("later") };
    let later = Quic::start(later).await.unwrap();
    let error = ours.connect(&addr(&later)).await;
    let expected = |addr, ours, theirs| Err(ConnectError::ProtocolVersion { addr, ours, theirs });
    assert_eq!(error, expected(addr(&later), (1, 1), (2, 4)));
    let error = later.connect(&addr(&ours)).await;
    assert_eq!(error, expected(addr(&ours), (2, 4), (1, 1)));
    counted(|| ours.stats().refused, 1).await;
    let wider = QuicConfig { versions: (1, 4), ..config("wider") };
    let wider = Quic::start(wider).await.unwrap();
    meet(&wider, &ours).await;
    meet(&wider, &later).await;
}

#[tokio::test]
async fn garbage_at_the_port_is_harmless() {
    let (p, q) = (node("p").await, node("q").await);
    meet(&p, &q).await;
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..2_000_usize {
        let mut datagram = vec![0; 1 + round * 37 % 1_400];
        for byte in &mut datagram {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (noise >> 56) as u8;
        }
        // Some look like QUIC's first packets, some of its later ones.
        datagram[0] |= [0xc0, 0x40, 0x00][round % 3];
        udp.send_to(&datagram, q.bound()).unwrap();
    }
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 100], b"VSYL", b""] {
        let mut tcp = TcpStream::connect(q.bound()).unwrap();
        tcp.write_all(noise).unwrap();
    }
    // A knock in form, but with a token of nobody.
    let mut tcp = TcpStream::connect(q.bound()).unwrap();
    tcp.write_all(&[b"VSYL", &[1; 25][..]].concat()).unwrap();
    talk(&p, &q).await;
    talk(&q, &p).await;
    assert_eq!(p.stats().reconnects, 0);
}

#[tokio::test]
async fn a_frame_beyond_the_limit_closes_that_connection_only() {
    let receiver = QuicConfig { max_frame: 1_000, ..config("receiver") };
    let receiver = Quic::start(receiver).await.unwrap();
    let (good, bad) = (node("good").await, node("bad").await);
    meet(&good, &receiver).await;
    meet(&bad, &receiver).await;
    bad.send(receiver.local().id, Class::Updates, Bytes::from(vec![0; 1_000]));
    bad.send(receiver.local().id, Class::Updates, Bytes::from(vec![0; 1_001]));
    assert!(matches!(next(&receiver).await, Event::Frame { .. }));
    assert_eq!(next(&receiver).await, Event::Down { peer: bad.local().id });
    assert_eq!(receiver.stats().violations, 1);
    bad.forget(receiver.local().id);
    // It may have come back meanwhile; the other has noticed nothing.
    good.send(receiver.local().id, Class::Updates, Bytes::from_static(b"still here"));
    loop {
        if let Event::Frame { peer, .. } = next(&receiver).await {
            assert_eq!(peer, good.local().id);
            break;
        }
    }
}

#[tokio::test]
async fn a_peer_too_far_behind_is_disconnected() {
    let sender = QuicConfig { max_backlog: 4 << 20, ..config("sender") };
    let sender = Quic::start(sender).await.unwrap();
    let receiver = node("receiver").await;
    meet(&sender, &receiver).await;
    let peer = receiver.local().id;
    // More at once than the limit, before anything can be written.
    for _ in 0..6 {
        sender.send(peer, Class::Bulk, Bytes::from(vec![0; 1 << 20]));
    }
    assert_eq!(next(&sender).await, Event::Down { peer });
    counted(|| sender.stats().dropped, 1).await;
    assert_eq!(next(&sender).await, Event::Up(receiver.local().clone()));
}

#[tokio::test]
async fn a_peer_that_has_ended_is_not_dialled_again() {
    let (p, q) = (node("p").await, node("q").await);
    meet(&p, &q).await;
    let (gone, at) = (q.local().id, addr(&q));
    q.shutdown(PATIENCE).await;
    drop(q);
    assert_eq!(next(&p).await, Event::Down { peer: gone });
    assert_eq!(next(&p).await, Event::Ended { peer: gone });
    // A wish that comes too late, and one for somebody who was never there.
    p.want(gone, &at);
    p.want(PeerId(1), &at);
    p.forget(PeerId(1));
    assert!(timeout(Duration::from_millis(200), p.next()).await.is_err());
}

#[tokio::test]
async fn unusual_settings_carry_frames_as_well() {
    let usual = node("usual").await;
    let unusual = [
        QuicConfig { mtu: Mtu::Fixed(1_200), ..config("small datagrams") },
        QuicConfig { mtu: Mtu::Fixed(60_000), ..config("datagrams beyond the bound") },
        QuicConfig { gso: false, ..config("no segmentation by the kernel") },
        QuicConfig { liveness: false, ..config("no liveness link") },
        QuicConfig { socket_buffer: 4_096, ..config("small buffers") },
        QuicConfig { inbox_bytes: 1_000, ..config("small inbox") },
    ];
    for config in unusual {
        let node = Quic::start(config).await.unwrap();
        meet(&node, &usual).await;
        const COUNT: u8 = 100;
        for (from, to) in [(&node, &usual), (&usual, &node)] {
            for number in 0..COUNT {
                from.send(to.local().id, Class::Updates, Bytes::from(vec![number; 9_000]));
            }
            for number in 0..COUNT {
                let Event::Frame { frame, .. } = next(to).await else { panic!("no frame") };
                assert!(frame == vec![number; 9_000]);
            }
        }
        let stats = node.stats();
        assert!(stats.wire_sent > stats.classes[Class::Updates.index()].bytes_sent);
        assert!(stats.wire_received > stats.classes[Class::Updates.index()].bytes_received);
        let peer = node.local().id;
        node.shutdown(PATIENCE).await;
        assert_eq!(next(&usual).await, Event::Down { peer });
        assert_eq!(next(&usual).await, Event::Ended { peer });
    }
}

#[tokio::test]
async fn who_does_not_tell_its_address_is_known_by_the_one_that_is_seen() {
    let node = node("node").await;
    let listen = "0.0.0.0:0".into();
    let client = QuicConfig { listen, role: 1, liveness: false, ..config("client") };
    let client = Quic::start(client).await.unwrap();
    client.connect(&addr(&node)).await.unwrap();
    let Event::Up(info) = next(&node).await else { panic!("no Up") };
    assert_eq!(info.addr, format!("127.0.0.1:{}", client.bound().port()));
    assert_eq!((info.id, info.role), (client.local().id, 1));
}
