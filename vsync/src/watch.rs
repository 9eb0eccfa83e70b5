//! What passes through the generated code, for checks and simulations: arguments, fields and
//! results in words. Only a thread that asks for it pays for it.

use std::cell::RefCell;

use crate::__private::{Decodes, Encodes};

/// What passed while somebody watched.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Arguments or fields: name and value.
    pub(crate) parts: Vec<(&'static str, String)>,
    /// The result of an update: its bytes, and its value.
    pub(crate) result: Option<(Vec<u8>, String)>,
    /// Answers and results that would be something else where they arrive: what, and why.
    pub(crate) broken: Vec<String>,
}

thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Runs something and tells what passed meanwhile, on this thread.
pub(crate) fn watch<R>(run: impl FnOnce() -> R) -> (R, Seen) {
    /// Also after a panic nobody watches any more.
    struct Watching;
    impl Drop for Watching {
        fn drop(&mut self) {
            SEEN.take();
        }
    }
    SEEN.set(Some(Seen::default()));
    let watching = Watching;
    let value = run();
    let seen = SEEN.take().unwrap_or_default();
    drop(watching);
    (value, seen)
}

/// Notes something, if somebody watches. `note` is made outside of the borrow: it runs code of the
/// user's.
fn note<T>(make: impl FnOnce() -> T, keep: impl FnOnce(&mut Seen, T)) {
    if SEEN.with_borrow(Option::is_none) {
        return;
    }
    let made = make();
    SEEN.with_borrow_mut(|seen| {
        if let Some(seen) = seen {
            keep(seen, made);
        }
    });
}

/// An argument or a field passes.
pub(crate) fn part<T: Encodes>(name: &'static str, value: &T) {
    note(|| value.words(), |seen, words| seen.parts.push((name, words)));
}

/// A field passes of which there are only bytes.
pub(crate) fn bytes(name: &'static str, bytes: &[u8]) {
    note(|| hex(bytes), |seen, words| seen.parts.push((name, words)));
}

/// Something passes that will travel to whoever has asked for it.
pub(crate) fn travels<T: Encodes + Decodes>(value: &T) {
    note(|| becomes_another(value), |seen, broken| seen.broken.extend(broken));
}

/// Why a value is not the same where it arrives. One that does not encode does not travel.
fn becomes_another<T: Encodes + Decodes>(value: &T) -> Option<String> {
    let (mut bytes, mut again) = (Vec::new(), Vec::new());
    value.encode(&mut bytes).ok()?;
    let mut input = &bytes[..];
    let why = match T::decode(&mut input) {
        Err(why) => format!("does not decode: {why}"),
        Ok(_) if !input.is_empty() => format!("leaves {} bytes when it is read", input.len()),
        Ok(other) => match other.encode(&mut again) {
            Ok(()) if again == bytes => return None,
            Ok(()) => format!("decodes to something that is encoded as {}", hex(&again)),
            Err(why) => format!("decodes to something that does not encode: {why}"),
        },
    };
    Some(format!("{}, encoded as {}, {why}", value.words(), hex(&bytes)))
}

/// The result of an update passes.
pub(crate) fn result<T: Encodes + Decodes>(value: &T) {
    travels(value);
    note(|| encoded(0, "", value), |seen, result| seen.result = Some(result));
}

/// The result of an update that may say no passes.
pub(crate) fn fallible<V, E>(value: &Result<V, E>)
where
    V: Encodes + Decodes,
    E: Encodes + Decodes,
{
    either(value);
    let make = || match value {
        Ok(value) => encoded(0, "Ok ", value),
        Err(error) => encoded(1, "Err ", error),
    };
    note(make, |seen, result| seen.result = Some(result));
}

/// A result that may say no travels.
pub(crate) fn either<V, E>(value: &Result<V, E>)
where
    V: Encodes + Decodes,
    E: Encodes + Decodes,
{
    match value {
        Ok(value) => travels(value),
        Err(error) => travels(error),
    }
}

fn encoded<T: Encodes>(tag: u8, before: &str, value: &T) -> (Vec<u8>, String) {
    let mut bytes = vec![tag];
    let words = match value.encode(&mut bytes) {
        Ok(()) => value.words(),
        Err(why) => format!("(does not encode: {why})"),
    };
    (bytes, format!("{before}{words}"))
}

/// Bytes to read.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("0x{}", digits.concat())
}
