//! [`State`]: name, version and checkpoints of a type, written by `#[replicated]` on its struct.

use std::cmp::Ordering;
use std::fmt;

use bytes::Bytes;

use crate::codec::pieces::{CheckpointReader, CheckpointWriter};
use crate::request::Policy;

/// A type whose values can be replicated: it has a name, a version and checkpoints.
///
/// Written by `#[replicated]` on the struct.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a replicated struct",
    label = "not a replicated struct",
    note = "put `#[replicated]` on the struct itself, too"
)]
pub trait State: Sized + Send + 'static {
    /// The type's name in the cluster: the same at all members.
    const NAME: &'static str;

    /// The version of its state and methods.
    const VERSION: u32;

    /// What its updates may [emit](crate::Ctx::emit): given by `event = …`, else [`NoEvents`].
    ///
    /// [`NoEvents`]: crate::NoEvents
    type Event: Clone + Send + 'static;

    /// Whether clients may read its events: asked for by `published`.
    const PUBLISHED: bool = false;

    /// What its events are, if clients may read them: the type as it is written, and what it looks
    /// like on the wire: see [`Card`](crate::Card).
    fn published() -> Option<(&'static str, String)> {
        None
    }

    /// Encodes an event for clients. Called only where they may read it.
    fn publish(event: &Self::Event) -> Result<Vec<u8>, String> {
        let _ = event;
        Err("the type does not publish its events".to_owned())
    }
    /// Who coordinates its [requests](crate::RequestCtx): given by `requests = …`.
    const REQUESTS_BY: Policy = Policy::Rendezvous;

    /// The fields of its checkpoint, in order: name, and type as it is written.
    const FIELDS: &'static [(&'static str, &'static str)];

    /// What the types of these fields look like on the wire: see [`Card`](crate::Card).
    fn field_shapes() -> Vec<String>;

    /// The fields of the earlier versions that there is a way from, the latest first: the version,
    /// and a line for each field.
    fn earlier() -> Vec<(u32, Vec<String>)> {
        Vec::new()
    }

    /// Writes the checkpoint: the fields that are neither `#[local]` nor `#[derived]`, in their
    /// order.
    ///
    /// Equal states have equal checkpoints, so that replicas can be compared by them.
    ///
    /// # Errors
    /// [`CheckpointError::Save`] where a field does not encode.
    fn save_to(&self, out: &mut CheckpointWriter) -> Result<(), CheckpointError>;

    /// Becomes the state that a checkpoint holds, as far as that goes; `#[local]` fields keep their
    /// values. After an error only these count.
    ///
    /// # Errors
    /// [`CheckpointError::Load`] where a field does not decode.
    fn restore(&mut self, from: &mut CheckpointReader) -> Result<(), CheckpointError>;

    /// As [`save_to`](State::save_to), as an earlier version of the type writes it.
    ///
    /// # Errors
    /// [`CheckpointError::NoWayBack`], before anything is written, where there is no conversion to
    /// that version; what [`save_to`](State::save_to) says.
    fn save_as_to(&self, version: u32, out: &mut CheckpointWriter) -> Result<(), CheckpointError> {
        match version == Self::VERSION {
            true => self.save_to(out),
            false => Err(CheckpointError::NoWayBack { here: Self::VERSION, there: version }),
        }
    }

    /// As [`restore`](State::restore), of a checkpoint that this or an earlier version wrote.
    ///
    /// # Errors
    /// [`CheckpointError::Newer`] and [`CheckpointError::Older`]; what
    /// [`restore`](State::restore) says.
    fn restore_from(
        &mut self,
        version: u32,
        from: &mut CheckpointReader,
    ) -> Result<(), CheckpointError> {
        version_is::<Self>(version)?;
        self.restore(from)
    }

    /// The checkpoint that [`save_to`](State::save_to) writes.
    ///
    /// # Errors
    /// What that says.
    fn save(&self) -> Result<Vec<u8>, CheckpointError> {
        let mut out = CheckpointWriter::whole();
        self.save_to(&mut out)?;
        Ok(out.into_rest())
    }

    /// The state that a checkpoint holds; `#[local]` fields keep the values they have in `local`.
    ///
    /// # Errors
    /// What [`restore`](State::restore) says; [`CheckpointError::Leftover`].
    fn load(bytes: &[u8], local: Self) -> Result<Self, CheckpointError> {
        let mut state = local;
        read(bytes, |from| state.restore(from))?;
        Ok(state)
    }

    /// The checkpoint as an earlier version of the type writes it.
    ///
    /// # Errors
    /// What [`save_as_to`](State::save_as_to) says.
    fn save_as(&self, version: u32) -> Result<Vec<u8>, CheckpointError> {
        let mut out = CheckpointWriter::whole();
        self.save_as_to(version, &mut out)?;
        Ok(out.into_rest())
    }

    /// As [`load`](State::load), of a checkpoint that this or an earlier version wrote.
    ///
    /// # Errors
    /// What [`restore_from`](State::restore_from) says; [`CheckpointError::Leftover`].
    fn load_from(version: u32, bytes: &[u8], local: Self) -> Result<Self, CheckpointError> {
        let mut state = local;
        read(bytes, |from| state.restore_from(version, from))?;
        Ok(state)
    }

    /// A copy of the state, where the type is `Clone`: its checkpoint is then encoded while updates
    /// go on.
    fn snapshot(&self) -> Option<Self> {
        None
    }
}

/// An earlier version of a type, kept for its checkpoints.
///
/// Written by `#[replicated(past, name = "…", version = …)]` on the struct that it was.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an earlier version of a replicated struct",
    label = "not an earlier version",
    note = "put `#[replicated(past, name = \"…\", version = …)]` on the struct as it was"
)]
pub trait Past: State {
    /// Takes the state that a checkpoint holds, which this or an earlier version wrote.
    ///
    /// # Errors
    /// As for [`State::restore_from`].
    fn read_from(version: u32, from: &mut CheckpointReader) -> Result<Self, CheckpointError>;

    /// The state that a checkpoint holds, which this or an earlier version wrote.
    ///
    /// # Errors
    /// As for [`State::load_from`].
    fn read(version: u32, bytes: &[u8]) -> Result<Self, CheckpointError> {
        read(bytes, |from| Self::read_from(version, from))
    }
}

/// Reads bytes that are to be used up.
fn read<R>(
    bytes: &[u8],
    read: impl FnOnce(&mut CheckpointReader) -> Result<R, CheckpointError>,
) -> Result<R, CheckpointError> {
    let mut from = CheckpointReader::whole(Bytes::copy_from_slice(bytes));
    let value = read(&mut from)?;
    match bytes.len() - from.length() as usize {
        0 => Ok(value),
        bytes => Err(CheckpointError::Leftover { bytes }),
    }
}

/// Whether a checkpoint is of this version of the type itself.
pub(crate) fn version_is<S: State>(version: u32) -> Result<(), CheckpointError> {
    let (here, there) = (S::VERSION, version);
    match there.cmp(&here) {
        Ordering::Equal => Ok(()),
        Ordering::Less => Err(CheckpointError::Older { here, there }),
        Ordering::Greater => Err(CheckpointError::Newer { here, there }),
    }
}

/// Why a checkpoint could not be taken or loaded.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A field could not be encoded.
    Save {
        /// The field.
        field: &'static str,
        /// What its `Serialize` implementation said.
        why: String,
    },
    /// A field does not decode.
    Load {
        /// The field.
        field: &'static str,
        /// What its `Deserialize` implementation said.
        why: String,
    },
    /// There are bytes after the last field.
    Leftover {
        /// How many bytes.
        bytes: usize,
    },
    /// The bytes are no checkpoint: they do not begin with the mark of one.
    NotACheckpoint,
    /// It is written as another release of this library writes checkpoints.
    Format {
        /// The format that this node knows.
        here: u8,
        /// That of the checkpoint.
        there: u8,
    },
    /// It is damaged: its checksum is another.
    Checksum,
    /// It is damaged: its parts are not as long together as it is.
    Length,
    /// It holds the state of another type.
    Type {
        /// This node's type.
        here: String,
        /// That of the checkpoint.
        there: String,
    },
    /// A later version of the type wrote it, and has no way back to this one.
    Newer {
        /// This node's version.
        here: u32,
        /// That of the checkpoint.
        there: u32,
    },
    /// An earlier version of the type wrote it, and no `from` leads to this one.
    Older {
        /// The version where the chain ends.
        here: u32,
        /// That of the checkpoint.
        there: u32,
    },
    /// There is no way back from this version of the type to the one that was asked for.
    NoWayBack {
        /// The version where the way ends.
        here: u32,
        /// The one that was asked for.
        there: u32,
    },
    /// What it holds besides the state does not decode.
    Beside(String),
    /// A method of the user's panicked: of `Clone`, `Serialize`, `Deserialize` or a conversion.
    Panicked(String),
    /// There is no state to save, or nothing to load it into.
    NoState,
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckpointError::Save { field, why } => write!(f, "saving field `{field}`: {why}"),
            CheckpointError::Load { field, why } => write!(f, "loading field `{field}`: {why}"),
            CheckpointError::Leftover { bytes } => {
                write!(f, "{bytes} bytes after the last field")
            }
            CheckpointError::NotACheckpoint => f.write_str("these bytes are no checkpoint"),
            CheckpointError::Format { here, there } => {
                write!(f, "the checkpoint has the format {there}, this node knows {here}")
            }
            CheckpointError::Checksum => f.write_str("the checkpoint is damaged: wrong checksum"),
            CheckpointError::Length => f.write_str("the checkpoint is damaged: wrong length"),
            CheckpointError::Type { here, there } => {
                write!(f, "the checkpoint is of the type {there:?}, not of {here:?}")
            }
            CheckpointError::Newer { here, there } => {
                write!(
                    f,
                    "the checkpoint is of version {there}, which has no way back to {here}: this \
                     node's program is too old"
                )
            }
            CheckpointError::Older { here, there } => {
                write!(
                    f,
                    "the checkpoint is of version {there}, and version {here} names no earlier one \
                     with `from`"
                )
            }
            CheckpointError::NoWayBack { here, there } => {
                write!(f, "there is no way back from version {here} to version {there}")
            }
            CheckpointError::Beside(why) => write!(f, "beside the state: {why}"),
            CheckpointError::Panicked(why) => write!(f, "panicked: {why}"),
            CheckpointError::NoState => f.write_str("there is no state here"),
        }
    }
}

impl fmt::Debug for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::error::told(self, f)
    }
}

impl std::error::Error for CheckpointError {}
