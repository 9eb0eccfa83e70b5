//! How values become bytes and come back: postcard, with an end to nesting.
//!
//! A recursive type (`struct Node { next: Option<Box<Node>> }`) is written and read by functions
//! that call themselves, and a stack that overflows takes the whole process with it: some hundred
//! kilobytes from a peer would be enough. So both directions look, at every byte that decides how
//! to go on, how far the stack has grown since they began, and give up in words. A level of nesting
//! takes at least one such byte.
//!
//! The stack is bounded, not the number of levels, because it is the stack that ends. How many
//! levels that is depends on the type and on how the program was compiled; so writing may use a
//! part only of what reading may: what one node lets out, others can read.

pub(crate) mod pieces;

use std::mem::MaybeUninit;

use postcard::{de_flavors, ser_flavors};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How far the stack may grow while a value is read. Threads have 2 MiB unless they are told
/// otherwise.
const READING: usize = 1 << 20;
/// How far the stack may grow while a value is written.
const WRITING: usize = READING / 4;

/// Where the stack has to end.
#[derive(Clone, Copy, Debug)]
struct Stack(usize);

impl Stack {
    /// So far from here. Stacks grow downwards wherever std runs.
    fn within(depth: usize) -> Stack {
        Stack(place().saturating_sub(depth))
    }

    /// Whether it does.
    #[inline(always)]
    fn holds(self) -> bool {
        place() >= self.0
    }
}

/// Where the stack is now, about.
#[inline(always)]
fn place() -> usize {
    // Nothing is stored there: this runs once per byte.
    let here = MaybeUninit::<u8>::uninit();
    std::ptr::from_ref(&here).addr()
}

/// What is said where the stack has grown too far: by the serializer, which knows no other error of
/// its flavor, and by the deserializer, where postcard itself says it never.
const EXCEEDED: [postcard::Error; 2] =
    [postcard::Error::SerializeBufferFull, postcard::Error::NotYetImplemented];

/// What went wrong, in words.
#[cold]
fn why(error: &postcard::Error) -> String {
    if EXCEEDED.contains(error) { "nested too deeply".to_owned() } else { error.to_string() }
}

/// What values are written to.
pub trait Sink {
    /// Appends bytes.
    fn extend(&mut self, data: &[u8]);
    /// Appends a byte.
    fn push(&mut self, byte: u8);
}

impl Sink for Vec<u8> {
    #[inline]
    fn extend(&mut self, data: &[u8]) {
        self.extend_from_slice(data);
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.push(byte);
    }
}

/// The serializer of what is written to a sink, a vector unless said otherwise.
pub(crate) type Serializer<'a, O = Vec<u8>> = postcard::Serializer<Appender<'a, O>>;

/// Appends to a sink, a slice at a time.
#[derive(Debug)]
pub struct Appender<'a, O> {
    out: &'a mut O,
    stack: Stack,
}

impl<O: Sink> ser_flavors::Flavor for Appender<'_, O> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if !self.stack.holds() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.out.extend(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        if !self.stack.holds() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.out.push(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Appends a value.
#[inline]
pub(crate) fn write<T: Serialize + ?Sized>(value: &T, out: &mut impl Sink) -> Result<(), String> {
    write_by(out, |serializer| value.serialize(serializer))
}

/// Appends what `serialize` writes.
#[inline]
pub(crate) fn write_by<O: Sink>(
    out: &mut O,
    serialize: impl FnOnce(&mut Serializer<'_, O>) -> postcard::Result<()>,
) -> Result<(), String> {
    let output = Appender { out, stack: Stack::within(WRITING) };
    let mut serializer = postcard::Serializer { output };
    serialize(&mut serializer).map_err(|error| why(&error))
}

/// The deserializer of all that is read.
pub(crate) type Deserializer<'a> = postcard::Deserializer<'a, Reader<'a>>;

/// Reads from a slice.
pub(crate) struct Reader<'a> {
    input: de_flavors::Slice<'a>,
    stack: Stack,
}

impl<'a> de_flavors::Flavor<'a> for Reader<'a> {
    type Remainder = &'a [u8];
    type Source = &'a [u8];

    #[inline]
    fn pop(&mut self) -> postcard::Result<u8> {
        if !self.stack.holds() {
            return Err(postcard::Error::NotYetImplemented);
        }
        self.input.pop()
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.input.size_hint()
    }

    // These come after their length, which was popped; or they are a float, which has no levels.
    #[inline]
    fn try_take_n(&mut self, count: usize) -> postcard::Result<&'a [u8]> {
        self.input.try_take_n(count)
    }

    fn finalize(self) -> postcard::Result<Self::Remainder> {
        self.input.finalize()
    }
}

/// Takes a value off the front.
#[inline]
pub(crate) fn read<T: DeserializeOwned>(input: &mut &[u8]) -> Result<T, String> {
    read_by(input, |deserializer| T::deserialize(deserializer))
}

/// Takes off the front what `deserialize` reads.
#[inline]
pub(crate) fn read_by<'a, T>(
    input: &mut &'a [u8],
    deserialize: impl FnOnce(&mut Deserializer<'a>) -> postcard::Result<T>,
) -> Result<T, String> {
    let reader = Reader { input: de_flavors::Slice::new(input), stack: Stack::within(READING) };
    let mut deserializer = postcard::Deserializer::from_flavor(reader);
    let value = deserialize(&mut deserializer).map_err(|error| why(&error))?;
    *input = deserializer.finalize().map_err(|error| why(&error))?;
    Ok(value)
}
