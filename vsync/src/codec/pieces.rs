//! Checkpoints piece by piece: what is written is handed over while the rest is made, and what has
//! come is read while the rest is on its way. Neither end need have all of it at once.

use std::cell::OnceCell;
use std::fmt;

use bytes::Bytes;
use postcard::de_flavors;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::Xxh3;

use super::{READING, Serializer, Sink, Stack, why};

/// Where the pieces of a checkpoint go to.
pub(crate) trait Pieces {
    /// Takes a full piece, and gives an empty one to go on with.
    fn next(&mut self, full: Vec<u8>) -> Vec<u8>;
}

/// What a checkpoint is written to: all of it, or piece by piece.
pub struct CheckpointWriter {
    piece: Vec<u8>,
    /// When the piece is full.
    size: usize,
    /// Bytes in pieces that were handed over.
    before: u64,
    sum: Xxh3,
    to: Option<Box<dyn Pieces>>,
}

impl CheckpointWriter {
    /// Keeps all that is written.
    pub(crate) fn whole() -> Self {
        let (piece, sum) = (Vec::new(), Xxh3::new());
        CheckpointWriter { piece, size: usize::MAX, before: 0, sum, to: None }
    }

    /// Hands over pieces of this size, beginning with an empty one.
    pub(crate) fn pieces(piece: Vec<u8>, size: usize, to: Box<dyn Pieces>) -> Self {
        CheckpointWriter { piece, size, before: 0, sum: Xxh3::new(), to: Some(to) }
    }

    /// Bytes written so far.
    pub(crate) fn length(&self) -> u64 {
        self.before + self.piece.len() as u64
    }

    /// Takes back what was written, if none of it was handed over.
    pub(crate) fn restart(&mut self) {
        if self.before == 0 {
            self.piece.clear();
        }
    }

    /// The checksum of all that was written, which what follows can be added to.
    pub(crate) fn sum(&self) -> Xxh3 {
        let mut sum = self.sum.clone();
        sum.update(&self.piece);
        sum
    }

    /// What was not handed over.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.piece
    }

    /// What was written from this place on, where all is kept.
    #[cfg(feature = "testing")]
    pub(crate) fn since(&self, place: u64) -> &[u8] {
        self.piece.get(place.saturating_sub(self.before) as usize..).unwrap_or_default()
    }

    /// Appends bytes as they are.
    #[inline]
    pub(crate) fn put(&mut self, data: &[u8]) {
        if data.len() <= self.size - self.piece.len() {
            self.piece.extend_from_slice(data);
        } else {
            self.put_over(data);
        }
    }

    /// The same, where a piece is full before the end.
    #[cold]
    fn put_over(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let room = (self.size - self.piece.len()).min(data.len());
            let (now, later) = data.split_at(room);
            self.piece.extend_from_slice(now);
            data = later;
            if let Some(to) = &mut self.to
                && self.piece.len() == self.size
            {
                self.sum.update(&self.piece);
                self.before += self.piece.len() as u64;
                let full = std::mem::take(&mut self.piece);
                self.piece = to.next(full);
            }
        }
    }
}

impl fmt::Debug for CheckpointWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointWriter").field("length", &self.length()).finish_non_exhaustive()
    }
}

/// The serializer of a field of the state.
pub type FieldSerializer<'a> = Serializer<'a, CheckpointWriter>;

impl Sink for CheckpointWriter {
    #[inline]
    fn extend(&mut self, data: &[u8]) {
        self.put(data);
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.put(&[byte]);
    }
}

/// What waits for the next piece of a checkpoint; `None` where no more comes.
type Coming = Box<dyn FnMut() -> Option<Bytes>>;

/// What a checkpoint is read from, as it comes.
pub struct CheckpointReader {
    piece: Bytes,
    /// How far that is read.
    at: usize,
    /// Counts the pieces.
    number: u64,
    /// Bytes in the pieces before.
    before: u64,
    /// Of the pieces before.
    sum: Xxh3,
    more: Option<Coming>,
    /// What lay in more than one piece.
    joined: Vec<u8>,
}

impl CheckpointReader {
    /// Of one that is all here.
    pub(crate) fn whole(piece: Bytes) -> Self {
        let (sum, joined) = (Xxh3::new(), Vec::new());
        CheckpointReader { piece, at: 0, number: 0, before: 0, sum, more: None, joined }
    }

    /// Of one that comes piece by piece.
    pub(crate) fn pieces(more: impl FnMut() -> Option<Bytes> + 'static) -> Self {
        CheckpointReader { more: Some(Box::new(more)), ..CheckpointReader::whole(Bytes::new()) }
    }

    /// Bytes read so far.
    pub(crate) fn length(&self) -> u64 {
        self.before + self.at as u64
    }

    /// The next byte.
    #[inline]
    fn pop(&mut self) -> Option<u8> {
        if let Some(byte) = self.piece.get(self.at) {
            self.at += 1;
            return Some(*byte);
        }
        self.refill().then(|| {
            self.at = 1;
            self.piece[0]
        })
    }

    /// Goes on to the next piece that is not empty, once this one is read.
    #[cold]
    fn refill(&mut self) -> bool {
        loop {
            let Some(next) = self.more.as_mut().and_then(|more| more()) else { return false };
            self.sum.update(&self.piece);
            self.before += self.piece.len() as u64;
            self.number += 1;
            (self.piece, self.at) = (next, 0);
            if !self.piece.is_empty() {
                return true;
            }
        }
    }

    /// The next bytes, if all of them come.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Option<&[u8]> {
        if count <= self.piece.len() - self.at {
            let begin = self.at;
            self.at += count;
            return Some(&self.piece[begin..begin + count]);
        }
        self.join(count).then_some(&self.joined)
    }

    /// Puts the next bytes together. What is announced is not believed: room is made as they come.
    #[cold]
    fn join(&mut self, count: usize) -> bool {
        self.joined = Vec::with_capacity(count.min(JOINED));
        while self.joined.len() < count {
            let here = (count - self.joined.len()).min(self.piece.len() - self.at);
            self.joined.extend_from_slice(&self.piece[self.at..self.at + here]);
            self.at += here;
            if self.joined.len() < count && !self.refill() {
                return false;
            }
        }
        true
    }

    /// Everything that is still to come, and the checksum of what was read before it.
    pub(crate) fn rest(&mut self) -> (Vec<u8>, Xxh3) {
        let mut rest = Vec::new();
        let mut sum = self.sum.clone();
        sum.update(&self.piece[..self.at]);
        loop {
            rest.extend_from_slice(&self.piece[self.at..]);
            self.at = self.piece.len();
            if !self.refill() {
                return (rest, sum);
            }
        }
    }

    /// Goes to the end without keeping what comes: the checksum of all but the last bytes, and
    /// these; `None` where fewer are left.
    pub(crate) fn skip_to_last<const LAST: usize>(&mut self) -> Option<(Xxh3, [u8; LAST])> {
        let mut last = Vec::new();
        let mut sum = self.sum.clone();
        sum.update(&self.piece[..self.at]);
        loop {
            last.extend_from_slice(&self.piece[self.at..]);
            self.at = self.piece.len();
            let over = last.len().saturating_sub(LAST);
            sum.update(&last[..over]);
            last.drain(..over);
            if !self.refill() {
                return Some((sum, last.try_into().ok()?));
            }
        }
    }
}

/// The most that is set aside for bytes before they have come.
const JOINED: usize = 1 << 20;

impl fmt::Debug for CheckpointReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointReader").field("length", &self.length()).finish_non_exhaustive()
    }
}

/// Pieces that a value which is being read may borrow from: they are kept until it is there.
#[derive(Default)]
struct Kept(OnceCell<Box<Link>>);

struct Link {
    bytes: Bytes,
    next: Kept,
}

impl Drop for Kept {
    fn drop(&mut self) {
        let mut next = self.0.take();
        // One after the other, not one inside the other: they are many.
        while let Some(mut link) = next {
            next = link.next.0.take();
        }
    }
}

/// The deserializer of a field of the state.
pub type FieldDeserializer<'a> = postcard::Deserializer<'a, Puller<'a>>;

/// Reads from a checkpoint.
pub struct Puller<'a> {
    from: &'a mut CheckpointReader,
    stack: Stack,
    /// Where the next piece is kept, if something is borrowed from it.
    tail: &'a Kept,
    /// The last one that is kept, and its number.
    kept: Option<(u64, &'a Bytes)>,
}

impl fmt::Debug for Puller<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Puller").field("from", &self.from).finish_non_exhaustive()
    }
}

impl<'a> Puller<'a> {
    fn keep(&mut self, bytes: Bytes) -> &'a Bytes {
        let link = self.tail.0.get_or_init(|| Box::new(Link { bytes, next: Kept::default() }));
        self.tail = &link.next;
        &link.bytes
    }
}

impl<'a> de_flavors::Flavor<'a> for Puller<'a> {
    type Remainder = ();
    type Source = CheckpointReader;

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        if !self.stack.holds() {
            return Err(postcard::Error::NotYetImplemented);
        }
        self.from.pop().ok_or(postcard::Error::DeserializeUnexpectedEnd)
    }

    /// Of what is here: more may come, so a length is believed no further than that.
    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.from.piece.len() - self.from.at)
    }

    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'a [u8]> {
        let begin = self.from.at;
        if count > self.from.piece.len() - begin {
            let bytes = self.from.take(count).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
            let bytes = Bytes::copy_from_slice(bytes);
            return Ok(self.keep(bytes));
        }
        let number = self.from.number;
        let piece = match self.kept {
            Some((of, piece)) if of == number => piece,
            _ => {
                let piece = self.keep(self.from.piece.clone());
                self.kept = Some((number, piece));
                piece
            }
        };
        self.from.at += count;
        Ok(&piece[begin..begin + count])
    }

    #[inline]
    fn try_take_n_temp<'b>(&'b mut self, count: usize) -> postcard::Result<&'b [u8]>
    where
        'a: 'b,
    {
        self.from.take(count).ok_or(postcard::Error::DeserializeUnexpectedEnd)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Takes a field.
#[inline]
pub(crate) fn read<T: DeserializeOwned>(from: &mut CheckpointReader) -> Result<T, String> {
    read_by(from, |deserializer| T::deserialize(deserializer))
}

/// Takes what `deserialize` reads.
#[inline]
pub(crate) fn read_by<T>(
    from: &mut CheckpointReader,
    deserialize: impl for<'a> FnOnce(&mut FieldDeserializer<'a>) -> postcard::Result<T>,
) -> Result<T, String> {
    let kept = Kept::default();
    let puller = Puller { from, stack: Stack::within(READING), tail: &kept, kept: None };
    let mut deserializer = postcard::Deserializer::from_flavor(puller);
    deserialize(&mut deserializer).map_err(|error| why(&error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize};

    use super::super::write;
    use super::*;

    /// Decoded from borrowed bytes, as some types of others are.
    #[derive(Debug, PartialEq, Eq)]
    struct Borrowed(String);

    impl Serialize for Borrowed {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(&self.0)
        }
    }

    impl<'de> Deserialize<'de> for Borrowed {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text: &'de str = Deserialize::deserialize(deserializer)?;
            Ok(Borrowed(text.to_owned()))
        }
    }

    type Sample = (Vec<(u64, String, Borrowed)>, BTreeMap<String, (f64, char, Option<i32>)>);

    fn sample() -> Sample {
        let text = |n: u64| "äb".repeat(n as usize % 23);
        let list = (0..50).map(|n| (n << (n % 60), text(n), Borrowed(text(n + 1)))).collect();
        let map = (0..20).map(|n| (n.to_string(), (n as f64 / 3.0, 'ß', Some(-n)))).collect();
        (list, map)
    }

    fn bytes() -> Vec<u8> {
        let mut out = CheckpointWriter::whole();
        write(&sample(), &mut out).expect("written");
        out.into_rest()
    }

    fn reader(bytes: &[u8], size: usize) -> CheckpointReader {
        let pieces: Vec<Bytes> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
        let mut pieces = pieces.into_iter();
        CheckpointReader::pieces(move || pieces.next())
    }

    #[test]
    fn values_are_read_across_pieces_of_any_size() {
        let bytes = bytes();
        assert_eq!(postcard::to_stdvec(&sample()).as_ref(), Ok(&bytes), "plain postcard");
        for size in [1, 2, 3, 5, 8, 13, 100, bytes.len()] {
            let mut from = reader(&bytes, size);
            assert_eq!(read(&mut from), Ok(sample()), "pieces of {size}");
            assert_eq!(from.length(), bytes.len() as u64);
        }
    }

    #[test]
    fn what_ends_early_is_an_error() {
        let bytes = bytes();
        for end in (0..bytes.len()).step_by(7) {
            assert!(read::<Sample>(&mut reader(&bytes[..end], 10)).is_err(), "at {end}");
        }
    }

    #[test]
    fn a_length_is_not_believed() {
        // Most of a number's range, and nothing behind it.
        let mut claim = vec![0xff; 8];
        claim.push(0x7f);
        assert!(read::<String>(&mut reader(&claim, 4)).is_err());
        assert!(read::<Vec<u64>>(&mut reader(&claim, 4)).is_err());
        assert!(read::<Borrowed>(&mut reader(&claim, 4)).is_err());
    }

    #[test]
    fn what_is_skipped_has_the_same_sum() {
        let bytes = bytes();
        for size in [1, 3, 7, 8, 9, 100, bytes.len()] {
            for begin in [0, 10, bytes.len() - 8] {
                let mut from = reader(&bytes, size);
                from.take(begin).expect("there");
                let (sum, last) = from.skip_to_last::<8>().expect("enough");
                let (summed, end) = bytes.split_at(bytes.len() - 8);
                let digest = xxhash_rust::xxh3::xxh3_64(summed);
                assert_eq!((sum.digest(), &last[..]), (digest, end), "pieces of {size}");
            }
            let mut from = reader(&bytes, size);
            from.take(bytes.len() - 7).expect("there");
            assert!(from.skip_to_last::<8>().is_none());
        }
    }

    #[test]
    fn the_rest_and_its_sum_follow_what_was_read() {
        let bytes = bytes();
        let mut from = reader(&bytes, 16);
        let before = from.take(100).expect("there").to_vec();
        let (rest, mut sum) = from.rest();
        assert_eq!([before, rest.clone()].concat(), bytes);
        sum.update(&rest);
        assert_eq!(sum.digest(), xxhash_rust::xxh3::xxh3_64(&bytes));
    }
}
