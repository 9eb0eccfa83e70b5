//! What a group's checkpoint is: the user's state, what the runtime keeps beside it, and the seal.
//!
//! All of it is put behind the state, so that a large state is not moved. From the end: the mark,
//! the format, the checksum of everything before it, the type's version, and the lengths of the
//! type's name, of what is beside and of the state (numbers are little-endian); before that the
//! name, what is beside, and the state.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{pending, sessions, timers::Saved};
use crate::state::{CheckpointError, State};

/// How every checkpoint ends.
const MARK: [u8; 4] = *b"vsck";
/// The format described above.
const FORMAT: u8 = 1;
/// Bytes of mark and format.
const END: usize = MARK.len() + 1;
/// Bytes of the checksum.
const SUM: usize = 8;
/// Bytes of version and lengths.
const NUMBERS: usize = 4 + 2 + 4 + 8;

/// The replicated state that is the runtime's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Beside {
    /// How many events the `#[on_view]` of the installed view has emitted.
    pub(crate) emitted: u64,
    /// The timers that are set.
    pub(crate) timers: Saved,
    /// The version of the type that is active.
    pub(crate) active: u32,
    /// What clients have asked for.
    pub(crate) sessions: sessions::Saved,
    /// The requests that are under way.
    pub(crate) pending: pending::Saved,
}

/// A checkpoint, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// What the type's own `save` gave.
    pub(crate) state: Bytes,
    /// The version of the type that wrote it.
    pub(crate) version: u32,
    pub(crate) beside: Beside,
}

/// The checkpoint of a state of `S` that `version` of it wrote.
pub(crate) fn seal<S: State>(
    mut state: Vec<u8>,
    version: u32,
    beside: &Beside,
) -> Result<Bytes, CheckpointError> {
    let beside_error = |error: &dyn ToString| CheckpointError::Beside(error.to_string());
    let beside = postcard::to_stdvec(beside).map_err(|error| beside_error(&error))?;
    let name = S::NAME.as_bytes();
    let names = u16::try_from(name.len()).map_err(|error| beside_error(&error))?;
    let besides = u32::try_from(beside.len()).map_err(|error| beside_error(&error))?;
    let states = state.len() as u64;
    state.reserve_exact(beside.len() + name.len() + NUMBERS + SUM + END);
    state.extend_from_slice(&beside);
    state.extend_from_slice(name);
    state.extend_from_slice(&version.to_le_bytes());
    state.extend_from_slice(&names.to_le_bytes());
    state.extend_from_slice(&besides.to_le_bytes());
    state.extend_from_slice(&states.to_le_bytes());
    state.extend_from_slice(&xxh3_64(&state).to_le_bytes());
    state.push(FORMAT);
    state.extend_from_slice(&MARK);
    Ok(state.into())
}

/// Takes the checkpoint of a state of `S` apart; what is no such checkpoint is refused by name.
pub(crate) fn open<S: State>(checkpoint: Bytes) -> Result<Parts, CheckpointError> {
    let mut rest = checkpoint.strip_suffix(&MARK).ok_or(CheckpointError::NotACheckpoint)?;
    let [format] = take(&mut rest)?;
    if format != FORMAT {
        return Err(CheckpointError::Format { here: FORMAT, there: format });
    }
    let sum = u64::from_le_bytes(take(&mut rest)?);
    if sum != xxh3_64(rest) {
        return Err(CheckpointError::Checksum);
    }
    let states = u64::from_le_bytes(take(&mut rest)?);
    let besides = u32::from_le_bytes(take(&mut rest)?) as usize;
    let names = usize::from(u16::from_le_bytes(take(&mut rest)?));
    let version = u32::from_le_bytes(take(&mut rest)?);
    let name = split_end(&mut rest, names)?;
    if name != S::NAME.as_bytes() {
        let there = String::from_utf8_lossy(name).into_owned();
        return Err(CheckpointError::Type { here: S::NAME.to_owned(), there });
    }
    let beside = split_end(&mut rest, besides)?;
    if rest.len() as u64 != states {
        return Err(CheckpointError::Length);
    }
    let beside = match postcard::take_from_bytes(beside) {
        Ok((beside, [])) => beside,
        Ok(_) => return Err(CheckpointError::Beside("bytes are left over".to_owned())),
        Err(error) => return Err(CheckpointError::Beside(error.to_string())),
    };
    let state = checkpoint.slice(..rest.len());
    Ok(Parts { state, version, beside })
}

/// Takes a number's bytes off the end.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], CheckpointError> {
    let (before, number) = rest.split_last_chunk().ok_or(CheckpointError::Length)?;
    *rest = before;
    Ok(*number)
}

/// Takes this many bytes off the end.
fn split_end<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], CheckpointError> {
    let at = rest.len().checked_sub(length).ok_or(CheckpointError::Length)?;
    let (before, end) = rest.split_at(at);
    *rest = before;
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;

    fn sealed(version: u32) -> (Bytes, Beside) {
        let beside = Beside { emitted: 300, active: 2, ..Beside::default() };
        (seal::<Directory>(vec![1, 2, 3], version, &beside).expect("sealed"), beside)
    }

    /// With another number before the checksum, which is right all the same.
    fn resealed(at: usize, change: impl FnOnce(&mut u8)) -> Bytes {
        let (bytes, _) = sealed(3);
        let end = bytes.len() - SUM - END;
        let mut other = bytes[..end].to_vec();
        change(&mut other[end - at]);
        other.extend_from_slice(&xxh3_64(&other).to_le_bytes());
        other.push(FORMAT);
        other.extend_from_slice(&MARK);
        other.into()
    }

    fn refusal(bytes: Bytes) -> CheckpointError {
        open::<Directory>(bytes).expect_err("refused")
    }

    #[test]
    fn what_is_sealed_comes_apart_again() {
        let (bytes, beside) = sealed(7);
        let parts = Parts { state: Bytes::from_static(&[1, 2, 3]), version: 7, beside };
        assert_eq!(open::<Directory>(bytes), Ok(parts));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (bytes, _) = sealed(3);
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            let error = refusal(other.into());
            match bytes.len() - bit / 8 {
                1..=4 => assert_eq!(error, CheckpointError::NotACheckpoint),
                5 => assert!(matches!(error, CheckpointError::Format { here: 1, .. }), "{error}"),
                _ => assert_eq!(error, CheckpointError::Checksum),
            }
        }
    }

    #[test]
    fn what_is_cut_short_is_found() {
        let (bytes, _) = sealed(3);
        for end in 0..bytes.len() {
            assert_eq!(refusal(bytes.slice(..end)), CheckpointError::NotACheckpoint, "at {end}");
        }
        assert_eq!(refusal(Bytes::from_static(b"vsck")), CheckpointError::Length);
        assert_eq!(refusal(bytes.slice(1..)), CheckpointError::Checksum);
    }

    #[test]
    fn other_types_and_lengths_are_named() {
        // The last letter of the name; the lengths of state, of what is beside, of the name.
        let error = refusal(resealed(NUMBERS + 1, |letter| *letter = b'Y'));
        let there = "vsync.directorY".to_owned();
        assert_eq!(error, CheckpointError::Type { here: Directory::NAME.to_owned(), there });
        assert_eq!(refusal(resealed(8, |length| *length += 1)), CheckpointError::Length);
        assert_eq!(refusal(resealed(9, |length| *length = 255)), CheckpointError::Length);
        assert_eq!(refusal(resealed(13, |length| *length = 255)), CheckpointError::Length);
        let longer = resealed(12, |length| *length += 1);
        assert!(matches!(refusal(longer), CheckpointError::Length));
    }
}
