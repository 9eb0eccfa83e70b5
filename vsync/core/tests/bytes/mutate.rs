//! Ways to spoil a frame.

use proptest::prelude::*;

use crate::corpus::number_at;

/// One change to the bytes of a frame.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// Flips one bit.
    Flip { at: usize, bit: u8 },
    /// Replaces the number that starts at a byte by another one.
    Number { at: usize, value: u64 },
    /// Replaces the number by one a little above or below.
    Step { at: usize, by: i8 },
    /// Ends the frame early.
    Truncate { at: usize },
    /// Appends bytes.
    Append { bytes: Vec<u8> },
    /// Takes bytes out.
    Remove { at: usize, count: usize },
    /// Goes on as another frame of the run does, from the same place or another.
    Splice { at: usize, other: usize, from: usize },
    /// Repeats a stretch.
    Repeat { at: usize, count: usize },
    /// Raises one number and lowers another by as much: a sum of lengths or counts stays what it
    /// was, so that the frame is well-formed as a whole, and lies about its parts.
    Shift { at: usize, to: usize, by: i8 },
    /// Replaces a length of four bytes inside a body, as the updates' own lengths are.
    Length { at: usize, value: u32 },
}

/// Numbers that overflow what is done with them, if anything does.
pub(crate) const EXTREMES: [u64; 10] =
    [0, 1, 3, 200, u32::MAX as u64, 1 << 32, (1 << 62) - 1, 1 << 62, u64::MAX - 1, u64::MAX];

/// Writes a varint.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The frame with the number at `at` replaced.
pub(crate) fn with_number(frame: &[u8], at: usize, value: u64) -> Vec<u8> {
    let length = number_at(frame, at).map_or(0, |(_, length)| length);
    let mut out = frame[..at].to_vec();
    put(&mut out, value);
    out.extend_from_slice(&frame[at + length..]);
    out
}

impl Change {
    /// Applies the change; places are taken modulo the length, so that every change does something.
    pub(crate) fn apply(&self, frame: &[u8], corpus: &[bytes::Bytes]) -> Vec<u8> {
        let mut out = frame.to_vec();
        let place = |at: usize| if frame.is_empty() { 0 } else { at % frame.len() };
        match *self {
            Change::Flip { at, bit } => {
                if let Some(byte) = out.get_mut(place(at)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Change::Number { at, value } => out = with_number(frame, place(at), value),
            Change::Step { at, by } => {
                let at = place(at);
                if let Some((value, _)) = number_at(frame, at) {
                    out = with_number(frame, at, value.wrapping_add_signed(i64::from(by)));
                }
            }
            Change::Truncate { at } => out.truncate(place(at)),
            Change::Append { ref bytes } => out.extend_from_slice(bytes),
            Change::Remove { at, count } => {
                let at = place(at);
                out.drain(at..out.len().min(at + count));
            }
            Change::Splice { at, other, from } => {
                let other = &corpus[other % corpus.len()];
                out.truncate(place(at));
                out.extend_from_slice(&other[from % (other.len() + 1)..]);
            }
            Change::Repeat { at, count } => {
                let at = place(at);
                let stretch = frame[at..frame.len().min(at + count)].to_vec();
                out.splice(at..at, stretch);
            }
            Change::Shift { at, to, by } => {
                // The later place first: the earlier one may change its length.
                let (at, to) = (place(at).min(place(to)), place(at).max(place(to)));
                for (at, by) in [(to, by.wrapping_neg()), (at, by)] {
                    if let Some((value, _)) = number_at(&out, at) {
                        out = with_number(&out, at, value.wrapping_add_signed(i64::from(by)));
                    }
                }
            }
            Change::Length { at, value } => {
                let at = place(at);
                for (byte, new) in out.iter_mut().skip(at).zip(value.to_le_bytes()) {
                    *byte = new;
                }
            }
        }
        out
    }
}

/// Where a change happens: mostly in the head of the frame, where the numbers are.
fn place() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0usize..40, 2 => 0usize..160, 1 => any::<u16>().prop_map(usize::from)]
}

/// Any one change.
pub(crate) fn change() -> impl Strategy<Value = Change> {
    let value = prop_oneof![
        3 => prop::sample::select(EXTREMES.to_vec()),
        2 => 0u64..300,
        1 => any::<u64>(),
    ];
    let length = prop_oneof![0u32..40, Just(u32::MAX), Just(u32::MAX - 3), any::<u32>()];
    prop_oneof![
        3 => (place(), any::<u8>()).prop_map(|(at, bit)| Change::Flip { at, bit }),
        4 => (place(), value).prop_map(|(at, value)| Change::Number { at, value }),
        3 => (place(), -2i8..=2).prop_map(|(at, by)| Change::Step { at, by }),
        1 => place().prop_map(|at| Change::Truncate { at }),
        1 => prop::collection::vec(any::<u8>(), 1..20).prop_map(|bytes| Change::Append { bytes }),
        1 => (place(), 1usize..8).prop_map(|(at, count)| Change::Remove { at, count }),
        2 => (place(), any::<usize>(), place())
            .prop_map(|(at, other, from)| Change::Splice { at, other, from }),
        1 => (place(), 1usize..24).prop_map(|(at, count)| Change::Repeat { at, count }),
        3 => (place(), place(), -3i8..=3).prop_map(|(at, to, by)| Change::Shift { at, to, by }),
        2 => (place(), length).prop_map(|(at, value)| Change::Length { at, value }),
    ]
}
