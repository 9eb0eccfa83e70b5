//! Frames on a stream: put one behind the other, and cut again where they come in pieces.

use std::collections::VecDeque;

use bytes::Bytes;
use vsync_net::__private::{Splitter, gather};

use super::{PAYLOAD, counted};

/// How much is taken off the queue at once, as a link does it.
const WRITE: usize = 1 << 20;
/// Bytes of a stream in one packet.
const PIECE: usize = 1_400;

/// So many frames at a time, each as long as an update.
pub(super) fn run(batches: u64, batch: u64) -> Result<(), String> {
    let frame = Bytes::from(vec![b'x'; PAYLOAD]);
    let mut stream = Stream {
        queue: VecDeque::new(),
        pieces: Vec::new(),
        splitter: Splitter::new(WRITE),
        frames: Vec::new(),
    };
    for _ in 0..batches {
        stream.queue.extend((0..batch).map(|_| frame.clone()));
        counted(|| stream.carry())?;
        if stream.frames.len() as u64 != batch || stream.frames.iter().any(|came| *came != frame) {
            return Err(format!("of {batch} frames came {}", stream.frames.len()));
        }
        stream.frames.clear();
    }
    Ok(())
}

/// Both ends of it.
struct Stream {
    queue: VecDeque<Bytes>,
    pieces: Vec<Bytes>,
    splitter: Splitter,
    frames: Vec<Bytes>,
}

impl Stream {
    /// What is queued becomes pieces, and these become packets, which become frames.
    fn carry(&mut self) -> Result<(), String> {
        while !self.queue.is_empty() {
            gather(&mut self.queue, WRITE, &mut self.pieces);
        }
        for mut piece in self.pieces.drain(..) {
            while !piece.is_empty() {
                let packet = piece.split_to(piece.len().min(PIECE));
                let cut = self.splitter.push(packet, &mut self.frames);
                cut.map_err(|_| "a frame that is too long".to_owned())?;
            }
        }
        Ok(())
    }
}
