//! What a group's checkpoint holds beside the user's state.
//!
//! It is put behind the state, so that a large state is not moved: its bytes, their number as a
//! little-endian `u32`, and one byte for the version of all this.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{sessions, timers::Saved};

/// The version of what is put behind the state.
const VERSION: u8 = 2;
/// The bytes at the end: number and version.
const TAIL: usize = 5;

/// The replicated state that is the runtime's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// How many events the `#[on_view]` of the installed view has emitted.
    pub(crate) emitted: u64,
    /// The timers that are set.
    pub(crate) timers: Saved,
    /// What clients have asked for.
    pub(crate) sessions: sessions::Saved,
}

/// Puts it behind the state.
pub(crate) fn join(mut state: Vec<u8>, beside: &Beside) -> Result<Bytes, String> {
    let bytes = postcard::to_stdvec(beside).map_err(|error| error.to_string())?;
    let length = u32::try_from(bytes.len()).map_err(|error| error.to_string())?;
    state.reserve_exact(bytes.len() + TAIL);
    state.extend_from_slice(&bytes);
    state.extend_from_slice(&length.to_le_bytes());
    state.push(VERSION);
    Ok(state.into())
}

/// The state, and what is behind it.
pub(crate) fn split(mut checkpoint: Bytes) -> Result<(Bytes, Beside), String> {
    let tail = checkpoint.len().checked_sub(TAIL).ok_or("a checkpoint that is too short")?;
    let tail = checkpoint.split_off(tail);
    match tail[TAIL - 1] {
        VERSION => {}
        other => return Err(format!("a checkpoint of version {other}, not {VERSION}")),
    }
    let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
    let at = checkpoint.len().checked_sub(length).ok_or("a checkpoint that is too short")?;
    let bytes = checkpoint.split_off(at);
    match postcard::take_from_bytes(&bytes) {
        Ok((beside, [])) => Ok((checkpoint, beside)),
        Ok(_) => Err("a checkpoint with bytes left over".to_owned()),
        Err(error) => Err(format!("a checkpoint whose end does not decode: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined() -> (Bytes, Beside) {
        let beside = Beside { emitted: 300, ..Beside::default() };
        (join(vec![1, 2, 3], &beside).expect("joined"), beside)
    }

    #[test]
    fn what_is_joined_comes_apart_again() {
        let (bytes, beside) = joined();
        assert_eq!(split(bytes), Ok((Bytes::from_static(&[1, 2, 3]), beside)));
    }

    #[test]
    fn bytes_that_are_no_checkpoint_are_named() {
        let (bytes, _) = joined();
        for end in 0..bytes.len() {
            assert!(split(bytes.slice(..end)).is_err(), "cut at {end}");
        }
        let mut other = bytes.to_vec();
        *other.last_mut().expect("a version") = 9;
        assert_eq!(split(other.into()), Err("a checkpoint of version 9, not 2".to_owned()));
        let mut longer = bytes.to_vec();
        let at = longer.len() - TAIL;
        longer[at] += 1;
        assert_eq!(split(longer.into()), Err("a checkpoint with bytes left over".to_owned()));
    }
}
