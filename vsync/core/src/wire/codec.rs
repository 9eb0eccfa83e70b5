//! The only place that sees bytes.
//!
//! A frame is the postcard encoding of [`Frame`], followed by the bodies that it names (batches of
//! updates, checkpoint pieces), which are never copied on receipt.

use ::bytes::{Buf, Bytes};
use alloc::vec::Vec;
use serde::Serialize;

use super::View;
use super::bounds;
use super::messages::{BatchHead, Frame, Message, Proposal};

/// The first byte of a frame is below this: what is above is a runtime's to use.
const FIRST: u8 = 0x80;

/// Encodes a frame and appends the bodies, in the order in which the frame names them.
pub(crate) fn encode(frame: &Frame, bodies: &[Bytes]) -> Bytes {
    let length: usize = bodies.iter().map(Bytes::len).sum();
    let buffer = Vec::with_capacity(64 + length);
    let mut buffer = encode_into(frame, buffer);
    for body in bodies {
        buffer.extend_from_slice(body);
    }
    debug_assert!(buffer.first().is_some_and(|first| *first < FIRST), "few kinds of frames");
    Bytes::from(buffer)
}

fn encode_into<T: Serialize>(value: &T, buffer: Vec<u8>) -> Vec<u8> {
    match postcard::to_extend(value, buffer) {
        Ok(buffer) => buffer,
        // Our own messages have neither unsized sequences nor failing Serialize impls.
        Err(error) => panic!("encoding a message of our own failed: {error}"),
    }
}

/// Decodes a frame; the second part is what follows it. `None`: not a frame.
pub(crate) fn decode(mut bytes: Bytes) -> Option<(Frame, Bytes)> {
    let (frame, rest) = postcard::take_from_bytes::<Frame>(&bytes).ok()?;
    let used = bytes.len() - rest.len();
    bytes.advance(used);
    let sane = bodies_length(&frame)? == bytes.len() && bounds::frame(&frame);
    sane.then_some((frame, bytes))
}

fn bodies_length(frame: &Frame) -> Option<usize> {
    let Frame::Group { message, .. } = frame else {
        return Some(0);
    };
    let sum = |heads: &[BatchHead]| {
        heads.iter().try_fold(0usize, |sum, head| sum.checked_add(head.length as usize))
    };
    match message {
        Message::Data(data) => sum(&data.batches),
        Message::Fetched { lanes, .. } => {
            lanes.iter().try_fold(0usize, |all, (_, heads)| all.checked_add(sum(heads)?))
        }
        Message::Chunk(chunk) => Some(chunk.length as usize),
        _ => Some(0),
    }
}

/// The bytes of a proposal, as they are agreed on.
pub(crate) fn encode_proposal(proposal: &Proposal) -> Bytes {
    let mut bytes = encode_into(proposal, Vec::new());
    // It is kept as long as the view that it makes.
    bytes.shrink_to_fit();
    Bytes::from(bytes)
}

/// Reads a proposal and checks what every receiver relies on.
pub(crate) fn decode_proposal(bytes: &[u8]) -> Option<Proposal> {
    let (proposal, rest) = postcard::take_from_bytes::<Proposal>(bytes).ok()?;
    (rest.is_empty() && bounds::proposal(&proposal)).then_some(proposal)
}

/// Lets what members said of themselves be pieces of the proposal that tells it, which is kept as
/// long as the view: not a copy each, in every group.
pub(crate) fn share_metas(view: &mut View, proposal: &Bytes) {
    let mut from = 0;
    for member in &mut view.members {
        let length = member.meta.len();
        let mut windows = proposal[from..].windows(length.max(1));
        let Some(at) = windows.position(|window| *window == *member.meta) else { continue };
        member.meta = proposal.slice(from + at..from + at + length);
        from += at + length;
    }
}

/// The number of bytes that each update's length takes in a body.
const LENGTH: usize = 4;

/// Where update number `count` (from 0) of a body begins; `None` if the body has not that many.
pub(crate) fn skip(body: &[u8], mut offset: usize, count: u64) -> Option<usize> {
    for _ in 0..count {
        let prefix = body.get(offset..offset.checked_add(LENGTH)?)?;
        let length = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]) as usize;
        offset = offset.checked_add(LENGTH)?.checked_add(length)?;
    }
    (offset <= body.len()).then_some(offset)
}

/// Whether a body holds exactly `count` updates.
pub(crate) fn is_body(body: &[u8], count: u64) -> bool {
    // The first test keeps a forged count from running the loop for long.
    count.saturating_mul(LENGTH as u64) <= body.len() as u64
        && skip(body, 0, count) == Some(body.len())
}

/// `Bytes` through serde, as a plain byte string.
pub(crate) mod bytes {
    use ::bytes::Bytes;
    use core::fmt;
    use serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: de::Error>(self, v: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(v))
            }
        }
        from.deserialize_bytes(Visitor)
    }
}
