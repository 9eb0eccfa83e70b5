//! The engine's frames on their way to the network.

use std::collections::VecDeque;

use bytes::Bytes;
use vsync_core::engine::Traffic;
use vsync_net::{Class, PeerId, Transport};

use super::tag;

/// How many frames are remembered in their tagged form.
const RECENT: usize = 8;

/// Frames that wait to be sent, tagged. A frame for several peers is tagged once and shared.
#[derive(Default)]
pub(crate) struct Frames {
    list: Vec<(PeerId, Class, Bytes)>,
    /// The last few frames of the engine and their tagged forms.
    recent: VecDeque<(Bytes, Bytes)>,
}

impl Frames {
    /// Adds a frame of the engine.
    pub(crate) fn push(&mut self, peer: PeerId, traffic: Traffic, frame: Bytes) {
        let same = |(plain, _): &&(Bytes, Bytes)| {
            plain.as_ptr() == frame.as_ptr() && plain.len() == frame.len()
        };
        let tagged = match self.recent.iter().rev().find(same) {
            Some((_, tagged)) => tagged.clone(),
            None => {
                let mut bytes = Vec::with_capacity(frame.len() + 1);
                bytes.push(tag::ENGINE);
                bytes.extend_from_slice(&frame);
                let tagged = Bytes::from(bytes);
                if self.recent.len() == RECENT {
                    self.recent.pop_front();
                }
                self.recent.push_back((frame, tagged.clone()));
                tagged
            }
        };
        self.list.push((peer, class(traffic), tagged));
    }

    /// Sends them all, in order.
    pub(crate) fn ship(&mut self, transport: &dyn Transport) {
        for (peer, class, frame) in self.list.drain(..) {
            transport.send(peer, class, frame);
        }
        self.recent.clear();
    }
}

fn class(traffic: Traffic) -> Class {
    match traffic {
        Traffic::Control => Class::Control,
        Traffic::Updates => Class::Updates,
        Traffic::Bulk => Class::Bulk,
    }
}
