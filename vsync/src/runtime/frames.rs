//! The engine's frames on their way to the network.

use bytes::Bytes;
use vsync_core::engine::Traffic;
use vsync_net::{Class, PeerId, Transport};

/// Frames that wait to be sent. They go as they are: their first byte says whose they are.
#[derive(Default)]
pub(crate) struct Frames {
    list: Vec<(PeerId, Class, Bytes)>,
}

impl Frames {
    /// Adds a frame of the engine.
    pub(crate) fn push(&mut self, peer: PeerId, traffic: Traffic, frame: Bytes) {
        self.list.push((peer, class(traffic), frame));
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Sends them all, in order.
    pub(crate) fn ship(&mut self, transport: &dyn Transport) {
        for (peer, class, frame) in self.list.drain(..) {
            transport.send(peer, class, frame);
        }
    }
}

fn class(traffic: Traffic) -> Class {
    match traffic {
        Traffic::Control => Class::Control,
        Traffic::Updates => Class::Updates,
        Traffic::Bulk => Class::Bulk,
    }
}
