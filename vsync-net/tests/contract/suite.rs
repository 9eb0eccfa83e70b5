//! The contract.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use vsync_net::{Class, ConnectError, Event, MAX_FRAME, PeerId, PeerInfo, Transport};

use crate::bed::{Bed, PATIENCE, Probe};

/// A frame that tells its class and number, of some length.
fn frame(class: Class, number: u32, len: usize) -> Bytes {
    let mut bytes = vec![class.index() as u8; 5 + len];
    bytes[1..5].copy_from_slice(&number.to_be_bytes());
    Bytes::from(bytes)
}

/// Checks that frames come in order, each class counted from 0.
#[derive(Default)]
struct InOrder {
    next: [u32; 3],
}

impl InOrder {
    fn take(&mut self, class: Class, bytes: &[u8]) {
        let number = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
        assert_eq!(usize::from(bytes[0]), class.index());
        assert_eq!(number, self.next[class.index()], "{class:?}");
        assert!(bytes[5..].iter().all(|byte| *byte == bytes[0]));
        self.next[class.index()] += 1;
    }
}

pub(crate) async fn both_ends_learn_who_is_there<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    let dynamic: &dyn Transport = &p.end;
    let answered = dynamic.connect(q.addr()).await.unwrap();
    assert_eq!(&answered, q.end.local());
    assert_eq!(answered.name, "q");
    assert_eq!(p.up().await, answered);
    assert_eq!(&q.up().await, p.end.local());
    assert_eq!(p.end.stats().connections, 1);
    assert_eq!(q.end.stats().connections, 1);
}

pub(crate) async fn frames_keep_their_order_per_class<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    const COUNT: u32 = 1_000;
    for (from, to) in [(&p, &q), (&q, &p)] {
        for number in 0..COUNT {
            for class in Class::ALL {
                let len = (number as usize * 7_919) % if number % 100 == 0 { 70_000 } else { 300 };
                from.end.send(to.id(), class, frame(class, number, len));
            }
        }
    }
    for (from, to) in [(&p, &q), (&q, &p)] {
        let mut order = InOrder::default();
        while order.next != [COUNT; 3] {
            let (class, bytes) = to.frame(from.id()).await;
            order.take(class, &bytes);
        }
    }
    let (sent, received) = (p.end.stats().classes, q.end.stats().classes);
    for class in Class::ALL.map(Class::index) {
        assert_eq!(sent[class].frames_sent, u64::from(COUNT));
        assert_eq!(sent[class].frames_sent, received[class].frames_received);
        assert_eq!(sent[class].bytes_sent, received[class].bytes_received);
    }
    assert_eq!(p.end.stats().dropped, 0);
}

pub(crate) async fn big_frames_arrive_whole<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    let big = frame(Class::Bulk, 0, (16 << 20) - 5);
    p.end.send(q.id(), Class::Bulk, big.clone());
    p.end.send(q.id(), Class::Bulk, Bytes::new());
    q.end.send(p.id(), Class::Updates, big.clone());
    assert!(q.frame(p.id()).await == (Class::Bulk, big.clone()));
    assert!(q.frame(p.id()).await == (Class::Bulk, Bytes::new()));
    assert!(p.frame(q.id()).await == (Class::Updates, big));
}

pub(crate) async fn too_long_frames_are_not_sent<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    p.end.send(q.id(), Class::Updates, Bytes::from(vec![0; MAX_FRAME + 1]));
    p.end.send(q.id(), Class::Updates, Bytes::from_static(b"next"));
    assert_eq!(&q.frame(p.id()).await.1[..], b"next");
    assert_eq!(p.end.stats().dropped, 1);
}

pub(crate) async fn a_cut_is_seen_and_healed<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    for _ in 0..2 {
        bed.cut(&p.end, &q.end);
        p.until(&Event::Down { peer: q.id() }).await;
        q.until(&Event::Down { peer: p.id() }).await;
        let dropped = p.end.stats().dropped;
        p.end.send(q.id(), Class::Updates, Bytes::from_static(b"lost"));
        assert_eq!(p.end.stats().dropped, dropped + 1);
        bed.heal(&p.end, &q.end);
        assert_eq!(&p.up().await, q.end.local());
        assert_eq!(&q.up().await, p.end.local());
        for (from, to) in [(&p, &q), (&q, &p)] {
            from.end.send(to.id(), Class::Updates, Bytes::from_static(b"again"));
            assert_eq!(&to.frame(from.id()).await.1[..], b"again");
        }
    }
    assert_eq!(p.end.stats().reconnects, 2);
}

pub(crate) async fn what_finds_no_connection_is_dropped_and_counted<B: Bed>(bed: &B) {
    let p = bed.node("p").await;
    p.end.send(PeerId(7), Class::Control, Bytes::from_static(b"anybody?"));
    p.end.send(p.id(), Class::Control, Bytes::from_static(b"myself?"));
    assert_eq!(p.end.stats().dropped, 2);
    assert_eq!(p.end.backlog(PeerId(7)), 0);
    assert_eq!(p.end.try_next(), None);
}

pub(crate) async fn simultaneous_dials_make_one_connection<B: Bed>(bed: &B) {
    for round in 0..10 {
        let (p, q) = (bed.node(&format!("p{round}")).await, bed.node(&format!("q{round}")).await);
        let (to_q, to_p) = tokio::join!(p.end.connect(q.addr()), q.end.connect(p.addr()));
        assert_eq!((to_q.unwrap().id, to_p.unwrap().id), (q.id(), p.id()));
        for (from, to) in [(&p, &q), (&q, &p)] {
            assert_eq!(from.up().await.id, to.id());
            for number in 0..50 {
                from.end.send(to.id(), Class::Updates, frame(Class::Updates, number, 10));
            }
        }
        // Neither Down nor a second Up among them.
        for (from, to) in [(&p, &q), (&q, &p)] {
            let mut order = InOrder::default();
            while order.next[1] != 50 {
                let (class, bytes) = to.frame(from.id()).await;
                order.take(class, &bytes);
            }
        }
        assert_eq!((p.end.stats().connections, q.end.stats().connections), (1, 1));
        assert_eq!((p.end.stats().reconnects, q.end.stats().reconnects), (0, 0));
    }
}

pub(crate) async fn dialling_twice_changes_nothing<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    for _ in 0..3 {
        assert_eq!(&p.end.connect(q.addr()).await.unwrap(), q.end.local());
        assert_eq!(&q.end.connect(p.addr()).await.unwrap(), p.end.local());
        p.end.want(q.id(), q.addr());
    }
    p.end.send(q.id(), Class::Updates, Bytes::from_static(b"still here"));
    assert_eq!(&q.frame(p.id()).await.1[..], b"still here");
    assert_eq!(p.end.stats().connections, 1);
}

pub(crate) async fn wanted_peers_are_connected<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.end.want(p.id(), p.addr());
    p.end.want(q.id(), q.addr());
    q.end.want(p.id(), p.addr());
    assert_eq!(&p.up().await, q.end.local());
    assert_eq!(&q.up().await, p.end.local());
    p.end.send(q.id(), Class::Control, Bytes::from_static(b"hello"));
    assert_eq!(&q.frame(p.id()).await.1[..], b"hello");
}

pub(crate) async fn forgotten_peers_are_disconnected<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    p.end.forget(q.id());
    assert_eq!(p.next().await, Event::Down { peer: q.id() });
    assert_eq!(q.next().await, Event::Down { peer: p.id() });
    // Nobody wants it: it stays down, until somebody does.
    assert!(timeout(Duration::from_millis(200), p.end.next()).await.is_err());
    q.end.want(p.id(), p.addr());
    assert_eq!(p.up().await.id, q.id());
    assert_eq!(q.up().await.id, p.id());
}

pub(crate) async fn the_end_of_a_peer_is_told<B: Bed>(bed: &B) {
    let (p, q, r) = (bed.node("p").await, bed.node("q").await, bed.node("r").await);
    p.meet(&q).await;
    r.meet(&p).await;
    let gone = p.id();
    drop(p);
    for other in [&q, &r] {
        assert_eq!(other.next().await, Event::Down { peer: gone });
        assert_eq!(other.next().await, Event::Ended { peer: gone });
    }
    q.end.send(gone, Class::Updates, Bytes::from_static(b"too late"));
    assert_eq!(q.end.stats().dropped, 1);
}

pub(crate) async fn a_successor_at_the_address_ends_its_predecessor<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    let old = p.id();
    // The end is silent: nothing gets through any more.
    bed.cut(&p.end, &q.end);
    drop(p);
    q.until(&Event::Down { peer: old }).await;
    let p = bed.node("p").await;
    p.end.connect(q.addr()).await.unwrap();
    assert_eq!(q.next().await, Event::Ended { peer: old });
    assert_eq!(&q.up().await, p.end.local());
    assert_ne!(p.id(), old);
}

pub(crate) async fn clients_come_and_go<B: Bed>(bed: &B) {
    let node = bed.node("node").await;
    for round in 0..3 {
        let client = Probe { end: bed.start(&format!("client{round}"), 1).await };
        client.meet(&node).await;
        client.end.send(node.id(), Class::Updates, Bytes::from_static(b"question"));
        assert_eq!(&node.frame(client.id()).await.1[..], b"question");
        node.end.send(client.id(), Class::Updates, Bytes::from_static(b"answer"));
        assert_eq!(&client.frame(node.id()).await.1[..], b"answer");
        let id = client.id();
        client.end.shutdown(PATIENCE).await;
        assert_eq!(node.next().await, Event::Down { peer: id });
        assert_eq!(node.next().await, Event::Ended { peer: id });
    }
    assert_eq!(node.end.stats().connections, 0);
    let dialled = PeerInfo { role: 0, ..node.end.local().clone() };
    assert_eq!(&dialled, node.end.local());
}

pub(crate) async fn shutdown_delivers_what_was_queued<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    const COUNT: u32 = 200;
    for number in 0..COUNT {
        for class in Class::ALL {
            p.end.send(q.id(), class, frame(class, number, 20_000));
        }
    }
    let own = p.id();
    let receiving = async {
        let mut order = InOrder::default();
        while order.next != [COUNT; 3] {
            let (class, bytes) = q.frame(own).await;
            order.take(class, &bytes);
        }
        assert_eq!(q.next().await, Event::Down { peer: own });
        assert_eq!(q.next().await, Event::Ended { peer: own });
    };
    tokio::join!(p.end.shutdown(PATIENCE), receiving);
    while timeout(PATIENCE, p.end.next()).await.unwrap().is_some() {}
    assert_eq!(p.end.next().await, None);
    p.end.send(q.id(), Class::Updates, Bytes::from_static(b"too late"));
    assert_eq!(p.end.stats().dropped, 1);
    assert_eq!(p.end.connect(q.addr()).await, Err(ConnectError::ShutDown));
}

pub(crate) async fn shutdown_right_after_the_start_delivers_as_well<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.end.connect(q.addr()).await.unwrap();
    let id = p.id();
    for class in Class::ALL {
        p.end.send(q.id(), class, frame(class, 0, 100));
    }
    p.end.shutdown(PATIENCE).await;
    assert_eq!(q.up().await.id, id);
    let mut order = InOrder::default();
    while order.next != [1; 3] {
        let (class, bytes) = q.frame(id).await;
        order.take(class, &bytes);
    }
    assert_eq!(q.next().await, Event::Down { peer: id });
}

pub(crate) async fn a_slow_consumer_is_waited_for<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    const COUNT: u32 = 640;
    for number in 0..COUNT {
        p.end.send(q.id(), Class::Bulk, frame(Class::Bulk, number, 100_000));
    }
    // The consumer takes nothing: most of the 64 MB stay with the sender.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(p.end.backlog(q.id()) > 16 << 20, "{}", p.end.backlog(q.id()));
    // Other classes pass.
    p.end.send(q.id(), Class::Control, frame(Class::Control, 0, 10));
    let mut order = InOrder::default();
    while order.next != [1, 0, COUNT] {
        let (class, bytes) = q.frame(p.id()).await;
        order.take(class, &bytes);
    }
    assert_eq!(p.end.backlog(q.id()), 0);
    assert_eq!(p.end.stats().dropped, 0);
}

pub(crate) async fn next_can_be_cancelled<B: Bed>(bed: &B) {
    let (p, q) = (bed.node("p").await, bed.node("q").await);
    p.meet(&q).await;
    const COUNT: u32 = 500;
    let sending = async {
        for number in 0..COUNT {
            p.end.send(q.id(), Class::Updates, frame(Class::Updates, number, 10));
            tokio::task::yield_now().await;
        }
    };
    let receiving = async {
        let mut order = InOrder::default();
        while order.next[1] != COUNT {
            tokio::select! {
                biased;
                event = q.end.next() => match event {
                    Some(Event::Frame { class, frame, .. }) => order.take(class, &frame),
                    other => panic!("{other:?}"),
                },
                () = tokio::task::yield_now() => {}
            }
        }
    };
    let both = async { tokio::join!(sending, receiving) };
    timeout(PATIENCE, both).await.expect("an event was lost");
}

pub(crate) async fn bad_addresses_have_errors_of_their_own<B: Bed>(bed: &B) {
    let p = bed.node("p").await;
    let own = p.addr().to_owned();
    assert_eq!(p.end.connect(&own).await, Err(ConnectError::Itself { addr: own }));
    let nobody = p.end.connect("127.0.0.1:9").await;
    assert!(matches!(nobody, Err(ConnectError::Unreachable { .. })), "{nobody:?}");
    assert_eq!(p.end.try_next(), None);
    // The errors have done no harm.
    let q = bed.node("q").await;
    p.meet(&q).await;
}

pub(crate) async fn many_talk_at_once<B: Bed>(bed: &B) {
    const COUNT: u32 = 200;
    let mut nodes = Vec::new();
    for index in 0..5 {
        nodes.push(bed.node(&format!("n{index}")).await);
    }
    for from in &nodes {
        for to in &nodes {
            from.end.want(to.id(), to.addr());
        }
    }
    let mut ups = vec![0; nodes.len()];
    for (node, ups) in nodes.iter().zip(&mut ups) {
        while *ups < nodes.len() - 1 {
            node.up().await;
            *ups += 1;
        }
    }
    for from in &nodes {
        for to in nodes.iter().filter(|to| to.id() != from.id()) {
            for number in 0..COUNT {
                from.end.send(to.id(), Class::Updates, frame(Class::Updates, number, 1_000));
            }
        }
    }
    for node in &nodes {
        let mut orders = std::collections::HashMap::<PeerId, InOrder>::new();
        for _ in 0..COUNT as usize * (nodes.len() - 1) {
            match node.next().await {
                Event::Frame { peer, class, frame } => {
                    orders.entry(peer).or_default().take(class, &frame);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(orders.values().all(|order| order.next[1] == COUNT));
    }
}
