//! What a type promises to those that it was released to, as text in a file.

use std::fmt::Write;
use std::path::Path;
use std::{env, fs, io};

use super::{Failure, Kind, demand};
use crate::{Card, Replicated};

/// The variable that says that the files are to be written.
const VARIABLE: &str = "VSYNC_SCHEMA";

/// The schema of a type as text: that of its [`Card`].
///
/// Types are there as they are written in the source, with the shape of what is inside of them as
/// far as it can be told: a field added to a struct that is an argument changes that one's line.
///
/// ```
/// use vsync::replicated;
///
/// #[replicated(version = 2)]
/// #[derive(Default)]
/// struct Counter {
///     count: u64,
/// }
///
/// #[replicated]
/// impl Counter {
///     #[update(order = "total", id = 1)]
///     fn add(&mut self, amount: u64) -> u64 {
///         self.count += amount;
///         self.count
///     }
/// }
///
/// assert_eq!(
///     vsync::testing::schema::<Counter>(),
///     "\
/// type Counter version 2
///   count: u64 #29b0a05a44946a1c
/// update add id 1 order total level optimistic
///   amount: u64 #29b0a05a44946a1c
///   -> u64 #29b0a05a44946a1c
/// "
/// );
/// ```
pub fn schema<S: Replicated>() -> String {
    Card::of::<S>().to_string()
}

/// Checks that the [`schema`] of a type is what a committed file says.
///
/// Members of one group run one schema. With the file in the repository a change of it cannot
/// slip in: it is seen in the difference of the change that makes it. With `VSYNC_SCHEMA=write` in
/// the environment the file is written instead of compared. A path is relative to the directory
/// that the test runs in, which under cargo is the package's.
///
/// # Panics
/// With the differing lines, if the schema is another one; or if there is no file, or it cannot be
/// read or written. [`Check::schema_unchanged`](super::Check::schema_unchanged) has it as a value.
///
/// ```
/// use vsync::replicated;
///
/// #[replicated]
/// #[derive(Default)]
/// struct Counter {
///     count: u64,
/// }
///
/// #[replicated]
/// impl Counter {
///     #[update(order = "total")]
///     fn add(&mut self, amount: u64) {
///         self.count += amount;
///     }
/// }
///
/// # let folder = std::env::temp_dir().join(format!("vsync-schema-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # std::env::set_current_dir(&folder)?;
/// # std::fs::write("counter.schema", vsync::testing::schema::<Counter>())?;
/// vsync::testing::schema_unchanged::<Counter>("counter.schema");
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[track_caller]
pub fn schema_unchanged<S: Replicated>(file: impl AsRef<Path>) {
    let write = env::var_os(VARIABLE).is_some_and(|value| value == "write");
    demand(against::<S>(file.as_ref(), write));
}

impl<S: Replicated> super::Check<S> {
    /// As [`schema_unchanged`], with a failure to look at, and without looking at the environment:
    /// nothing is written.
    ///
    /// # Errors
    /// [`Kind::Schema`] if the schema is another one, [`Kind::File`] if the file cannot be read.
    pub fn schema_unchanged(&self, file: impl AsRef<Path>) -> Result<(), Failure> {
        against::<S>(file.as_ref(), false)
    }
}

fn against<S: Replicated>(file: &Path, write: bool) -> Result<(), Failure> {
    let now = schema::<S>();
    let (name, path) = (S::NAME, file.display());
    let how = format!("To write it: {VARIABLE}=write cargo test");
    let broken = |what: &str, error: &io::Error| {
        Failure::new(Kind::File, format!("the schema of `{name}`: {path} {what}: {error}\n{how}"))
    };
    if write {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).map_err(|error| broken("cannot be written", &error))?;
        }
        return fs::write(file, now).map_err(|error| broken("cannot be written", &error));
    }
    let then = fs::read_to_string(file).map_err(|error| broken("cannot be read", &error))?;
    // A checkout may have turned the ends of lines.
    let then: Vec<&str> = then.lines().collect();
    let now: Vec<&str> = now.lines().collect();
    if then == now {
        return Ok(());
    }
    let advice = match then.first() == now.first() {
        true => {
            "Members with the one schema and members with the other are not of one group: raise \
             `version` with it, and say `from`, `since` and `until`."
        }
        false => "The name or the version is another one, so this is meant.",
    };
    let report = format!(
        "the schema of `{name}` is not that of {path}:\n{}\n{advice}\n{how}",
        difference(&then, &now)
    );
    Err(Failure::new(Kind::Schema, report))
}

/// The lines of two texts: those of the first alone with `-`, of the second alone with `+`.
fn difference(then: &[&str], now: &[&str]) -> String {
    // The length of the longest common part from each place on.
    let width = now.len() + 1;
    let mut longest = vec![0usize; (then.len() + 1) * width];
    for i in (0..then.len()).rev() {
        for j in (0..now.len()).rev() {
            longest[i * width + j] = match then[i] == now[j] {
                true => longest[(i + 1) * width + j + 1] + 1,
                false => longest[(i + 1) * width + j].max(longest[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < then.len() || j < now.len() {
        let (mark, line) = if i < then.len() && j < now.len() && then[i] == now[j] {
            (i, j) = (i + 1, j + 1);
            (' ', then[i - 1])
        } else if j == now.len()
            || (i < then.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1])
        {
            i += 1;
            ('-', then[i - 1])
        } else {
            j += 1;
            ('+', now[j - 1])
        };
        let _ = writeln!(text, "  {mark} {line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_keeps_what_is_common() {
        let text = difference(&["a", "b", "c", "d"], &["a", "x", "c", "d", "e"]);
        assert_eq!(text, "    a\n  - b\n  + x\n    c\n    d\n  + e\n");
        assert_eq!(difference(&[], &["a"]), "  + a\n");
        assert_eq!(difference(&["a"], &[]), "  - a\n");
    }
}
