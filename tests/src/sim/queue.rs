//! What will happen, in order of time; what is due at one moment happens in order of planning.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use bytes::Bytes;
use vsync_core::engine::{Input, Traffic};
use vsync_core::wire::GroupId;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A frame arrives.
    Frame {
        /// Sender and receiver.
        way: (usize, usize),
        /// Its stream.
        traffic: Traffic,
        /// Its connection.
        connection: u32,
        /// The bytes.
        frame: Bytes,
    },
    /// A host is given an input.
    Input {
        /// The host.
        host: usize,
        /// The input.
        input: Input,
    },
    /// An engine's deadline.
    Wake {
        /// The host.
        host: usize,
    },
    /// The network takes more from a host.
    Close {
        /// The host.
        host: usize,
    },
    /// A host's application has something to say.
    Work {
        /// The host.
        host: usize,
        /// The group.
        group: GroupId,
    },
    /// A host looks after its membership: asks to come in, or asks again.
    Join {
        /// The host.
        host: usize,
        /// The group.
        group: GroupId,
    },
    /// A pause is over.
    Resume {
        /// The host.
        host: usize,
    },
    /// A connection breaks.
    Cut {
        /// One end.
        a: usize,
        /// The other.
        b: usize,
        /// When it comes back.
        back: u64,
    },
    /// A broken connection comes back.
    Mend {
        /// One end.
        a: usize,
        /// The other.
        b: usize,
    },
    /// Something goes wrong.
    Fault,
    /// The doomed minority goes.
    Doom,
    /// Somebody looks how far things are.
    Look,
}

/// The queue. The heap moves its items often, so they only say where the event lies.
#[derive(Default)]
pub(crate) struct Queue {
    /// When, in which order of planning, and where.
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: Vec<Option<Event>>,
    free: Vec<usize>,
    number: u64,
}

impl Queue {
    /// Plans something.
    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.number += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(event);
        self.heap.push(Reverse((at, self.number, place)));
    }

    /// What is next, and when.
    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        self.free.push(place);
        Some((at, self.events[place].take()?))
    }
}
