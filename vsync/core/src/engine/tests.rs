use alloc::vec::Vec;

use bytes::Bytes;

use super::{Engine, EngineConfig, GroupConfig, Input, Outputs};
use crate::wire::messages::{Frame, JoinRequest, Message};
use crate::wire::{GroupId, Micros, NodeId, codec};

const GROUP: GroupId = GroupId(7);

fn config() -> GroupConfig {
    let (window, join_buffer) = (1 << 16, 1 << 20);
    GroupConfig { generation: 1, schema: 1, causal: true, meta: Bytes::new(), window, join_buffer }
}

fn frame(engine: &mut Engine, now: Micros, peer: NodeId, frame: &Frame) {
    let frame = codec::encode(frame, &[]);
    engine.handle(now, Input::Frame { peer, frame }, &mut Outputs::new());
}

/// A node with a group of its own, that another one asks to be let into.
fn asked_by(peer: NodeId) -> Engine {
    let (mut engine, mut out) = (Engine::new(EngineConfig::new(NodeId(1))), Outputs::new());
    engine.handle(1, Input::Create { group: GROUP, config: config() }, &mut out);
    engine.handle(1, Input::Connected { peer }, &mut out);
    let join = JoinRequest { node: peer, nonce: 1, schema: 1, meta: Bytes::new() };
    let message = Message::Join(join);
    let ask = Frame::Group { group: GROUP, generation: 1, view: 0, entry: 0, message };
    frame(&mut engine, 2, peer, &ask);
    engine.handle(2, Input::Close, &mut out);
    engine
}

#[test]
fn the_end_of_a_stranger_is_nothing_to_the_groups() {
    let mut engine = asked_by(NodeId(2));
    let mut out = Outputs::new();
    let unclosed = |engine: &mut Engine| engine.agenda.unclosed().into_iter().collect::<Vec<_>>();
    assert_eq!(unclosed(&mut engine), []);
    engine.handle(3, Input::Ended { peer: NodeId(9) }, &mut out);
    assert_eq!(unclosed(&mut engine), []);
    engine.handle(4, Input::Ended { peer: NodeId(2) }, &mut out);
    assert_eq!(unclosed(&mut engine), [GROUP]);
}

/// A node that tells its groups a part at a time remembers where it is with whom, and not with
/// those who are gone.
#[test]
fn what_the_gone_were_told_is_forgotten() {
    let mut engine = asked_by(NodeId(2));
    engine.told.insert(NodeId(9), GroupId(3));
    let due = engine.beat_due.expect("a member matters");
    engine.handle(due, Input::Tick, &mut Outputs::new());
    assert!(engine.told.is_empty(), "{:?}", engine.told);
}
