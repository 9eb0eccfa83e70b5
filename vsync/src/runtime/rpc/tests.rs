//! Questions and answers as they come over the network: not known, too long, too many.

use std::pin::pin;
use std::task::{Context, Waker};

use vsync_core::wire::{MemberId, NodeId};
use vsync_net::MemoryNet;

use super::*;
use crate::runtime::ring::{Missed, News, Position};
use crate::runtime::sessions::{Commit, RequestId};
use crate::seen::Seen;

const PEER: PeerId = PeerId(7);

fn rpc(asked: Option<mpsc::Sender<Asked>>) -> Rpc {
    Rpc::new(Arc::new(MemoryNet::new().endpoint("here")), asked)
}

/// The news that the connection is down comes while somebody begins to ask: a question that is
/// noted after it would wait for ever.
#[tokio::test]
async fn nobody_waits_for_a_peer_that_is_gone() {
    const ROUNDS: u64 = 20_000;
    let rpc = rpc(None);
    let (begun, ended) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut waiting = 0;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 1..=ROUNDS {
                while begun.load(Ordering::SeqCst) < round {
                    std::thread::yield_now();
                }
                rpc.down(PEER);
                ended.store(round, Ordering::SeqCst);
            }
        });
        for round in 1..=ROUNDS {
            rpc.up(PEER);
            let mut asking = pin!(rpc.ask(PEER, Ask::Cluster));
            begun.store(round, Ordering::SeqCst);
            drop(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())));
            while ended.load(Ordering::SeqCst) < round {
                std::thread::yield_now();
            }
            waiting += rpc.pending().answers.len();
        }
    });
    assert_eq!(waiting, 0, "they wait for a peer that is down");
}

/// What a later release may ask, or add to a question, is not known here: who asks is told, and an
/// answer is not.
#[tokio::test]
async fn a_question_that_is_not_known_is_answered() {
    let unknown = |kind: u32| postcard::to_stdvec(&(kind, 300_u64, 99_u32)).unwrap();
    let longer = |frame: Frame| [postcard::to_stdvec(&frame).unwrap(), vec![0]].concat();
    let cases = [
        (unknown(0), unknown(1)),
        (longer(Frame::Ask(300, Ask::Cluster)), longer(Frame::Answer(300, Answer::NoSuchGroup))),
    ];
    for (question, answer) in cases {
        let net = MemoryNet::new();
        let (node, client) = (net.endpoint("node"), net.client("client"));
        let (tell, mut asked) = mpsc::channel(1);
        client.connect(&node.local().addr).await.expect("connected");
        let asker = client.local().id;
        let rpc = Rpc::new(Arc::new(node), Some(tell));
        rpc.frame(asker, false, &answer);
        rpc.frame(asker, false, &[0]);
        rpc.frame(asker, false, &question);
        let mut told = Vec::new();
        while let Some(event) = client.try_next() {
            if let vsync_net::Event::Frame { frame, .. } = event {
                told.push(frame);
            }
        }
        let answer = postcard::to_stdvec(&Frame::Answer(300, Answer::NotUnderstood)).unwrap();
        assert_eq!(told, [[vec![tag::RPC], answer].concat()], "only the question is answered");
        assert!(asked.try_recv().is_err(), "and nobody has to answer it");
    }
}

/// The attribute changes how fast bytes are written, not what is.
#[test]
fn bytes_are_on_the_wire_as_numbers_in_a_row() {
    #[derive(Serialize, Deserialize)]
    enum Plain {
        Result { bytes: Vec<u8>, seen: Seen },
    }
    #[derive(Serialize, Deserialize)]
    struct Events {
        missed: Option<Missed>,
        events: Vec<(crate::Cursor, Vec<u8>)>,
        position: Position,
    }
    #[derive(Serialize, Deserialize)]
    struct Update {
        id: RequestId,
        update: Vec<u8>,
    }
    let same = |one: &[u8], other: &[u8]| assert_eq!(one, other);
    for length in [0, 1, 127, 128, 300, 70_000_usize] {
        let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
        let seen = Seen::default();
        let answer = Answer::Result { bytes: bytes.clone(), seen: seen.clone() };
        let answer = postcard::to_stdvec(&answer).unwrap();
        let plain = Plain::Result { bytes: bytes.clone(), seen };
        // The number of the variant is one byte in both.
        same(&answer[1..], &postcard::to_stdvec(&plain).unwrap()[1..]);
        let Ok(Answer::Result { bytes: read, .. }) = postcard::from_bytes(&answer) else {
            panic!("it is what it was")
        };
        assert_eq!(read, bytes);
        let id = RequestId::Key(vec![1, 2]);
        let commit = Commit { id: id.clone(), update: bytes.clone() };
        let update = Update { id, update: bytes.clone() };
        let commit = postcard::to_stdvec(&commit).unwrap();
        same(&commit, &postcard::to_stdvec(&update).unwrap());
        let cursor = crate::Cursor { view: 1, index: 2 };
        let position = Position { next: cursor, local: (3, 4) };
        let news = News { missed: None, events: vec![(cursor, bytes.clone().into())], position };
        let events = Events { missed: None, events: vec![(cursor, bytes)], position };
        let news = postcard::to_stdvec(&news).unwrap();
        same(&news, &postcard::to_stdvec(&events).unwrap());
    }
}

#[tokio::test]
async fn questions_are_bounded_by_their_bytes() {
    let (tell, mut asked) = mpsc::channel(1 << 10);
    let rpc = rpc(Some(tell));
    let frame = |ask| postcard::to_stdvec(&Frame::Ask(1, ask)).unwrap();
    let group = "group".to_owned();
    let query = vec![0; 1 << 20];
    let large = frame(Ask::Query(ClientQuery {
        group: group.clone(),
        schema: 1,
        line: 1,
        query: query.clone(),
        seen: None,
        by: By::Any(None),
    }));
    let fit = WAITING / large.len();
    for _ in 0..fit + 10 {
        rpc.frame(PEER, false, &large);
    }
    assert_eq!(asked.len(), fit, "the rest is refused");
    rpc.frame(PEER, false, &frame(Ask::Card { group: group.clone() }));
    assert_eq!(asked.len(), fit + 1, "small ones have room");
    let member = MemberId { node: NodeId(1), entry: 1 };
    let share = (0, 1);
    let share = ToMember { group, schema: 1, member, share, line: 1, after: None, query };
    rpc.frame(PEER, true, &frame(Ask::Member(share)));
    assert_eq!(asked.len(), fit + 2, "and so have members' shares");
    drop(asked.recv().await);
    rpc.frame(PEER, false, &large);
    rpc.frame(PEER, false, &large);
    assert_eq!(asked.len(), fit + 2, "one is done, and one more is taken");
}
