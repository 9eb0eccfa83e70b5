//! What a group's checkpoint is: the user's state, what the runtime keeps beside it, and the seal.
//!
//! It is made and read piece by piece, so its lengths and its checksum come last. First the mark,
//! the format, the version of the type that wrote it, and the type's name after its length; then
//! the state, and what is beside it; then the lengths of what is beside and of the state, and the
//! checksum of everything before that. Numbers are little-endian.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

use super::{pending, sessions, timers::Saved};
use crate::codec::pieces::{CheckpointReader, CheckpointWriter};
use crate::state::{CheckpointError, State};

/// How every checkpoint begins.
const MARK: [u8; 4] = *b"vsck";
/// The format described above.
const FORMAT: u8 = 2;

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

/// What there is of a checkpoint when all before was handed over.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// The end of it.
    pub(crate) rest: Bytes,
    /// Bytes in all.
    pub(crate) bytes: u64,
    /// The checksum of all.
    pub(crate) hash: u64,
}

/// What came with a state that was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) beside: Beside,
    /// Bytes in all.
    pub(crate) bytes: u64,
    /// The checksum of all.
    pub(crate) hash: u64,
}

/// Writes the checkpoint of a state: as the active version has it, so that members of that version
/// can read it, and the checkpoints of equal replicas are equal; or as its own, without a way back.
pub(crate) fn write<S: State>(
    state: &S,
    beside: &Beside,
    mut out: CheckpointWriter,
) -> Result<Sealed, CheckpointError> {
    let active = beside.active;
    let mut begin = head::<S>(active, &mut out)?;
    match state.save_as_to(active, &mut out) {
        Err(CheckpointError::NoWayBack { .. }) => {
            out.restart();
            begin = head::<S>(S::VERSION, &mut out)?;
            state.save_to(&mut out)?;
        }
        saved => saved?,
    }
    seal(out, begin, beside)
}

/// Begins a checkpoint that `version` of the type writes; returns where the state begins.
fn head<S: State>(version: u32, out: &mut CheckpointWriter) -> Result<u64, CheckpointError> {
    let name = S::NAME.as_bytes();
    let names = u16::try_from(name.len()).map_err(|error| beside_error(&error))?;
    out.put(&MARK);
    out.put(&[FORMAT]);
    out.put(&version.to_le_bytes());
    out.put(&names.to_le_bytes());
    out.put(name);
    Ok(out.length())
}

/// Ends a checkpoint whose state began there.
fn seal(mut out: CheckpointWriter, begin: u64, with: &Beside) -> Result<Sealed, CheckpointError> {
    let states = out.length() - begin;
    let beside = postcard::to_stdvec(with).map_err(|error| beside_error(&error))?;
    let besides = u32::try_from(beside.len()).map_err(|error| beside_error(&error))?;
    out.put(&beside);
    out.put(&besides.to_le_bytes());
    out.put(&states.to_le_bytes());
    let mut sum = out.sum();
    let digest = sum.digest().to_le_bytes();
    out.put(&digest);
    sum.update(&digest);
    Ok(Sealed { bytes: out.length(), hash: sum.digest(), rest: out.into_rest().into() })
}

fn beside_error(error: &dyn ToString) -> CheckpointError {
    CheckpointError::Beside(error.to_string())
}

/// The checkpoint of a state, in one piece.
pub(crate) fn whole<S: State>(state: &S, beside: &Beside) -> Result<Bytes, CheckpointError> {
    write(state, beside, CheckpointWriter::whole()).map(|sealed| sealed.rest)
}

/// Reads a checkpoint of a state of `S`, whose `#[local]` fields keep their values; what is no such
/// checkpoint is refused by name. After an error only these fields count.
pub(crate) fn read<S: State>(
    state: &mut S,
    from: &mut CheckpointReader,
) -> Result<Opened, CheckpointError> {
    let version = read_head::<S>(from)?;
    let begin = from.length();
    if let Err(error) = state.restore_from(version, from) {
        return Err(reason(error, from));
    }
    let states = from.length() - begin;
    let (rest, sum) = from.rest();
    let Some(end) = End::of(&rest) else { return Err(LENGTH) };
    // What is damaged may decode to anything.
    let hash = end.check(sum)?;
    if end.states > states {
        return Err(CheckpointError::Leftover { bytes: (end.states - states) as usize });
    }
    if end.states != states || end.besides as usize != end.beside.len() {
        return Err(LENGTH);
    }
    match postcard::take_from_bytes(end.beside) {
        Ok((beside, [])) => Ok(Opened { beside, bytes: from.length(), hash }),
        Ok(_) => Err(CheckpointError::Beside("bytes are left over".to_owned())),
        Err(error) => Err(beside_error(&error)),
    }
}

/// Why a state was not restored.
fn reason(error: CheckpointError, from: &mut CheckpointReader) -> CheckpointError {
    // Nothing of it was read, and what is still to come need not be waited for.
    if let CheckpointError::Newer { .. } | CheckpointError::Older { .. } = error {
        return error;
    }
    // What is damaged may not decode: that it is damaged, is the reason.
    match from.skip_to_last() {
        Some((sum, last)) if sum.digest() != u64::from_le_bytes(last) => CheckpointError::Checksum,
        _ => error,
    }
}

const LENGTH: CheckpointError = CheckpointError::Length;

/// Reads how a checkpoint begins; returns the version that wrote it.
fn read_head<S: State>(from: &mut CheckpointReader) -> Result<u32, CheckpointError> {
    if number(from) != Some(MARK) {
        return Err(CheckpointError::NotACheckpoint);
    }
    let [format] = number(from).ok_or(LENGTH)?;
    if format != FORMAT {
        return Err(CheckpointError::Format { here: FORMAT, there: format });
    }
    let version = u32::from_le_bytes(number(from).ok_or(LENGTH)?);
    let names = u16::from_le_bytes(number(from).ok_or(LENGTH)?);
    let name = from.take(names.into()).ok_or(LENGTH)?;
    if name != S::NAME.as_bytes() {
        let there = String::from_utf8_lossy(name).into_owned();
        return Err(CheckpointError::Type { here: S::NAME.to_owned(), there });
    }
    Ok(version)
}

/// The bytes of a number.
fn number<const N: usize>(from: &mut CheckpointReader) -> Option<[u8; N]> {
    from.take(N)?.try_into().ok()
}

/// How a checkpoint ends.
struct End<'a> {
    beside: &'a [u8],
    besides: u32,
    states: u64,
    /// What the checksum is of, as far as it is here.
    summed: &'a [u8],
    sum: &'a [u8; 8],
}

impl End<'_> {
    fn of(rest: &[u8]) -> Option<End<'_>> {
        let (summed, sum) = rest.split_last_chunk()?;
        let (before, states) = summed.split_last_chunk()?;
        let (beside, besides) = before.split_last_chunk()?;
        let (besides, states) = (u32::from_le_bytes(*besides), u64::from_le_bytes(*states));
        Some(End { beside, besides, states, summed, sum })
    }

    /// Checks the sum, `before` being that of what came before; returns that of all.
    fn check(&self, mut before: Xxh3) -> Result<u64, CheckpointError> {
        before.update(self.summed);
        if before.digest() != u64::from_le_bytes(*self.sum) {
            return Err(CheckpointError::Checksum);
        }
        before.update(self.sum);
        Ok(before.digest())
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;
    use crate::directory::Directory;

    /// Bytes of the end, but for what is beside.
    const END: usize = 4 + 8 + 8;

    fn beside() -> Beside {
        Beside { emitted: 300, active: Directory::VERSION, ..Beside::default() }
    }

    fn sealed() -> Bytes {
        whole(&Directory::default(), &beside()).expect("sealed")
    }

    /// With other bytes before the checksum, which is right all the same.
    fn resealed(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let bytes = sealed();
        let mut other = bytes[..bytes.len() - 8].to_vec();
        change(&mut other);
        other.extend_from_slice(&xxh3_64(&other).to_le_bytes());
        other.into()
    }

    fn open(bytes: Bytes) -> Result<Opened, CheckpointError> {
        read(&mut Directory::default(), &mut CheckpointReader::whole(bytes))
    }

    fn refusal(bytes: Bytes) -> CheckpointError {
        open(bytes).expect_err("refused")
    }

    #[test]
    fn what_is_sealed_comes_apart_again() {
        let bytes = sealed();
        let opened = open(bytes.clone()).expect("opened");
        assert_eq!(opened.beside, beside());
        assert_eq!((opened.bytes, opened.hash), (bytes.len() as u64, xxh3_64(&bytes)));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let bytes = sealed();
        let name = 4 + 1 + 4 + 2;
        let end = bytes.len() - END - postcard::to_stdvec(&beside()).expect("bytes").len();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.to_vec();
            other[bit / 8] ^= 1 << (bit % 8);
            let error = refusal(other.into());
            match bit / 8 {
                0..=3 => assert_eq!(error, CheckpointError::NotACheckpoint),
                4 => assert!(matches!(error, CheckpointError::Format { here: 2, .. }), "{error}"),
                5..=8 => assert!(
                    matches!(error, CheckpointError::Newer { .. } | CheckpointError::Older { .. }),
                    "{error}"
                ),
                9..=10 => assert!(
                    matches!(error, CheckpointError::Type { .. } | CheckpointError::Length),
                    "{error}"
                ),
                at if (name..name + Directory::NAME.len()).contains(&at) => {
                    assert!(matches!(error, CheckpointError::Type { .. }), "{error}");
                }
                // A state that seems to be longer eats up the end, by which that would be known.
                at if (name + Directory::NAME.len()..end).contains(&at) => assert!(
                    matches!(
                        error,
                        CheckpointError::Checksum
                            | CheckpointError::Length
                            | CheckpointError::Load { .. }
                    ),
                    "{error}"
                ),
                _ => assert_eq!(error, CheckpointError::Checksum, "bit {bit}"),
            }
        }
    }

    #[test]
    fn what_is_cut_short_is_found() {
        let bytes = sealed();
        for end in 0..bytes.len() {
            let error = refusal(bytes.slice(..end));
            let damaged = match end {
                0..4 => error == CheckpointError::NotACheckpoint,
                _ => matches!(
                    error,
                    CheckpointError::Length
                        | CheckpointError::Checksum
                        | CheckpointError::Load { .. }
                ),
            };
            assert!(damaged, "at {end}: {error}");
        }
        assert_eq!(refusal(bytes.slice(1..)), CheckpointError::NotACheckpoint);
    }

    /// What follows is not waited for, as long as it may be.
    #[test]
    fn what_is_no_checkpoint_for_this_type_is_known_by_its_head() {
        let changes: [(usize, u8, CheckpointError); 4] = [
            (0, b'w', CheckpointError::NotACheckpoint),
            (4, 9, CheckpointError::Format { here: FORMAT, there: 9 }),
            (5, 9, CheckpointError::Newer { here: Directory::VERSION, there: 9 }),
            (5, 0, CheckpointError::Older { here: Directory::VERSION, there: 0 }),
        ];
        for (place, value, error) in changes {
            let mut head = sealed()[..4 + 1 + 4 + 2 + Directory::NAME.len()].to_vec();
            head[place] = value;
            let mut pieces = Some(Bytes::from(head));
            let mut from = CheckpointReader::pieces(move || {
                Some(pieces.take().expect("no more is asked for than the head"))
            });
            assert_eq!(read(&mut Directory::default(), &mut from), Err(error));
        }
    }

    #[test]
    fn other_lengths_are_named() {
        let lengths = [(20 - 4, CheckpointError::Leftover { bytes: 1 }), (20, LENGTH)];
        for (at, error) in lengths {
            let longer = resealed(|bytes| {
                let place = bytes.len() + 8 - at;
                bytes[place] += 1;
            });
            assert_eq!(refusal(longer), error);
        }
        let more = resealed(|bytes| {
            let place = bytes.len() + 8 - END;
            bytes.insert(place, 0);
        });
        assert_eq!(refusal(more), LENGTH);
    }

    #[test]
    fn it_is_made_and_read_in_pieces_of_any_size() {
        let bytes = sealed();
        for size in [1, 2, 7, 64, bytes.len()] {
            let (made, pieces) = std::sync::mpsc::channel();
            struct Made(std::sync::mpsc::Sender<Vec<u8>>);
            impl crate::codec::pieces::Pieces for Made {
                fn next(&mut self, full: Vec<u8>) -> Vec<u8> {
                    self.0.send(full).expect("taken");
                    Vec::new()
                }
            }
            let out = CheckpointWriter::pieces(Vec::new(), size, Box::new(Made(made)));
            // No way back is needed, so nothing of a first piece is taken back.
            let sealed = write(&Directory::default(), &beside(), out).expect("sealed");
            let mut all: Vec<Bytes> = pieces.into_iter().map(Bytes::from).collect();
            assert!(all.iter().all(|piece| piece.len() == size));
            all.push(sealed.rest);
            assert_eq!(all.concat(), bytes, "pieces of {size}");
            let mut coming = all.into_iter();
            let mut from = CheckpointReader::pieces(move || coming.next());
            let opened = read(&mut Directory::default(), &mut from).expect("opened");
            assert_eq!((opened.hash, opened.bytes), (sealed.hash, sealed.bytes));
        }
    }
}
