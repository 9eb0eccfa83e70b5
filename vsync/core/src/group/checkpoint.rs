//! [`Checkpoint`]: the pieces of a checkpoint that is being made and handed out.

use alloc::collections::VecDeque;

use bytes::Bytes;

/// A checkpoint, as far as it is made and somebody needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checkpoint {
    /// Where each begins, and its bytes: one follows the other, and none is empty.
    pieces: VecDeque<(u64, Bytes)>,
    /// Bytes that were handed in.
    end: u64,
    /// There are no more than these.
    complete: bool,
}

impl Checkpoint {
    /// Bytes that were handed in so far.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// What comes next of it; nothing does after the last.
    pub(crate) fn add(&mut self, mut bytes: Bytes, last: bool, size: usize) {
        if self.complete {
            return;
        }
        while !bytes.is_empty() {
            let piece = bytes.split_to(size.min(bytes.len()));
            let length = piece.len() as u64;
            self.pieces.push_back((self.end, piece));
            self.end += length;
        }
        self.complete = last;
    }

    /// What can be sent from this offset on, and whether it is the last. It is empty where all has
    /// been sent before that was known.
    pub(crate) fn piece(&self, offset: u64) -> Option<(Bytes, bool)> {
        if offset >= self.end {
            return (self.complete && offset == self.end).then(|| (Bytes::new(), true));
        }
        let after = self.pieces.partition_point(|(begin, _)| *begin <= offset);
        let (begin, bytes) = self.pieces.get(after.checked_sub(1)?)?;
        let piece = bytes.slice((offset - begin) as usize..);
        let last = self.complete && begin + bytes.len() as u64 == self.end;
        Some((piece, last))
    }

    /// Lets go of what is before this offset; of all that is here, where nobody needs it.
    pub(crate) fn forget(&mut self, before: Option<u64>) {
        let before = before.unwrap_or(u64::MAX);
        while let Some((begin, bytes)) = self.pieces.front()
            && begin + bytes.len() as u64 <= before
        {
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPHABET: Bytes = Bytes::from_static(b"abcdefghij");

    #[test]
    fn pieces_are_no_larger_than_chunks() {
        let mut checkpoint = Checkpoint::default();
        checkpoint.add(ALPHABET, false, 4);
        let piece = |offset| checkpoint.piece(offset);
        assert_eq!(piece(0), Some((Bytes::from_static(b"abcd"), false)));
        assert_eq!(piece(5), Some((Bytes::from_static(b"fgh"), false)), "from inside one");
        assert_eq!(piece(8), Some((Bytes::from_static(b"ij"), false)));
        assert_eq!(piece(10), None, "the rest is not made yet");
        assert_eq!(piece(11), None);
    }

    #[test]
    fn the_last_one_says_so_even_where_nothing_is_left() {
        let mut checkpoint = Checkpoint::default();
        checkpoint.add(ALPHABET, true, 8);
        assert_eq!(checkpoint.piece(8), Some((Bytes::from_static(b"ij"), true)));
        assert_eq!(checkpoint.piece(10), Some((Bytes::new(), true)));
        assert_eq!(checkpoint.piece(11), None, "beyond its end");
        checkpoint.add(ALPHABET, true, 8);
        assert_eq!(checkpoint.end(), 10, "nothing follows the last");
        let mut empty = Checkpoint::default();
        assert_eq!(empty.piece(0), None);
        empty.add(Bytes::new(), true, 8);
        assert_eq!(empty.piece(0), Some((Bytes::new(), true)));
    }

    #[test]
    fn what_nobody_needs_is_let_go_of() {
        let mut checkpoint = Checkpoint::default();
        checkpoint.add(ALPHABET, false, 4);
        checkpoint.forget(Some(7));
        assert_eq!(checkpoint.piece(3), None, "gone");
        assert_eq!(checkpoint.piece(4), Some((Bytes::from_static(b"efgh"), false)));
        checkpoint.forget(None);
        assert_eq!(checkpoint.piece(8), None);
        checkpoint.add(ALPHABET, true, 16);
        assert_eq!(checkpoint.piece(10), Some((ALPHABET, true)), "offsets go on");
    }
}
