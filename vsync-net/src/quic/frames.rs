//! Frames on a stream: a length of four bytes, then the frame.
//!
//! Neither direction copies a long frame. Short ones are gathered on the way out, because each
//! separate piece costs more in the stack below than its copy; on the way in a frame that lies
//! whole in one piece is a slice of it.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes before each frame.
pub(super) const PREFIX: usize = 4;
/// Frames up to this length are copied together.
const SHORT: usize = 2_048;
/// The most that is set aside for a frame before its bytes have come.
const AHEAD: usize = 1 << 20;

/// Takes frames off the queue, about `limit` bytes of them, and turns them into pieces to write.
pub fn gather(queue: &mut VecDeque<Bytes>, limit: usize, pieces: &mut Vec<Bytes>) {
    let mut gathered = BytesMut::new();
    let mut total = 0;
    while total < limit {
        let Some(frame) = queue.pop_front() else {
            break;
        };
        total += PREFIX + frame.len();
        if gathered.capacity() == 0 {
            gathered.reserve(16 << 10);
        }
        gathered.put_u32(frame.len() as u32);
        if frame.len() <= SHORT {
            gathered.put_slice(&frame);
        } else {
            pieces.push(gathered.split().freeze());
            pieces.push(frame);
        }
    }
    if !gathered.is_empty() {
        pieces.push(gathered.freeze());
    }
}

/// A frame longer than allowed was announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Cuts what a stream brings into frames.
#[derive(Debug)]
pub struct Splitter {
    limit: usize,
    /// The beginning of a frame, prefix included, whose rest has not come.
    partial: BytesMut,
}

impl Splitter {
    /// For frames of so many bytes at most.
    pub fn new(limit: usize) -> Self {
        Self { limit, partial: BytesMut::new() }
    }

    /// Takes the next piece of the stream and appends the frames that are complete now.
    pub fn push(&mut self, mut piece: Bytes, out: &mut Vec<Bytes>) -> Result<(), TooLong> {
        if !self.partial.is_empty() {
            self.fill(PREFIX, &mut piece);
            let Some(len) = self.announced(&self.partial)? else {
                return Ok(());
            };
            let missing = (PREFIX + len).saturating_sub(self.partial.len());
            self.partial.reserve(missing.min(AHEAD));
            self.fill(PREFIX + len, &mut piece);
            if self.partial.len() < PREFIX + len {
                return Ok(());
            }
            let mut frame = std::mem::take(&mut self.partial);
            frame.advance(PREFIX);
            out.push(frame.freeze());
        }
        while let Some(len) = self.announced(&piece)? {
            if piece.len() < PREFIX + len {
                break;
            }
            piece.advance(PREFIX);
            out.push(piece.split_to(len));
        }
        if !piece.is_empty() {
            self.partial.extend_from_slice(&piece);
        }
        Ok(())
    }

    /// Moves bytes over until the partial frame has `target` of them.
    fn fill(&mut self, target: usize, piece: &mut Bytes) {
        let count = target.saturating_sub(self.partial.len()).min(piece.len());
        self.partial.extend_from_slice(&piece[..count]);
        piece.advance(count);
    }

    fn announced(&self, mut bytes: &[u8]) -> Result<Option<usize>, TooLong> {
        match bytes.try_get_u32() {
            Err(_) => Ok(None),
            Ok(len) if len as usize > self.limit => Err(TooLong),
            Ok(len) => Ok(Some(len as usize)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> VecDeque<Bytes> {
        [0, 1, 3, 2_048, 2_049, 5, 100_000, 0, 9]
            .iter()
            .enumerate()
            .map(|(i, len)| Bytes::from(vec![i as u8; *len]))
            .collect()
    }

    #[test]
    fn frames_survive_any_fragmentation() {
        let mut pieces = Vec::new();
        gather(&mut frames(), usize::MAX, &mut pieces);
        let stream = pieces.concat();
        for size in [1, 2, 3, 4, 5, 7, 1_200, 6_500, stream.len()] {
            let mut splitter = Splitter::new(100_000);
            let mut out = Vec::new();
            for piece in stream.chunks(size) {
                splitter.push(Bytes::copy_from_slice(piece), &mut out).unwrap();
            }
            assert_eq!(VecDeque::from(out), frames(), "pieces of {size}");
        }
    }

    #[test]
    fn gathering_stops_at_its_limit_and_goes_on() {
        let mut queue = frames();
        let mut pieces = Vec::new();
        while !queue.is_empty() {
            let before = queue.len();
            gather(&mut queue, 1, &mut pieces);
            assert_eq!(queue.len(), before - 1);
        }
        let mut out = Vec::new();
        Splitter::new(100_000).push(Bytes::from(pieces.concat()), &mut out).unwrap();
        assert_eq!(VecDeque::from(out), frames());
    }

    #[test]
    fn too_long_is_noticed_at_the_prefix() {
        let mut out = Vec::new();
        let mut splitter = Splitter::new(10);
        let stream = Bytes::from_static(&[0, 0, 0, 1, 7, 0, 0, 0]);
        assert_eq!(splitter.push(stream, &mut out), Ok(()));
        assert_eq!(splitter.push(Bytes::from_static(&[11]), &mut out), Err(TooLong));
        assert_eq!(out, [Bytes::from_static(&[7])]);
    }
}
