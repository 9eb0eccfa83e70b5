//! A node whose groups have different members.

use vsync_core::engine::Input;
use vsync_core::wire::{GroupId, NodeId};

use super::net::{GROUP, Net, config};

/// Only who is in a group with a node hears it. With many others, in other groups, nobody may be
/// asked who could know.
#[test]
fn whom_others_of_its_group_hear_is_not_suspected() {
    const OTHER: GroupId = GroupId(9);
    let mut net = Net::new(7);
    for (group, members) in [(GROUP, vec![5, 1, 2, 3, 4]), (OTHER, vec![5, 6, 7])] {
        net.input(NodeId(5), Input::Create { group, config: config() });
        for &node in &members[1..] {
            let (contacts, config) = (vec![NodeId(5)], config());
            net.input(NodeId(node), Input::Join { group, contacts, nonce: 1, config });
            net.run(400_000);
        }
        assert_eq!(net.active_in(5, group), members.len());
    }
    net.run(2_000_000);
    net.cut = Some((6, 5));
    for _ in 0..40 {
        net.run(50_000);
        assert!(!net.nodes[&NodeId(5)].suspects(NodeId(6)), "node 7 hears it");
    }
    assert_eq!(net.active_in(5, OTHER), 3);
    net.nodes.remove(&NodeId(6));
    net.run(1_500_000);
    assert_eq!((net.active_in(5, OTHER), net.active_in(7, OTHER)), (2, 2));
}
