//! Reading the files of a run.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::event::Line;

/// What one process wrote, in the order in which it experienced it.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// The file's name, for messages.
    pub name: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// What a whole run left behind.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// One log per process.
    pub logs: Vec<Log>,
}

/// Why a history could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// A file or directory cannot be read.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A line is not an event. The last line of a file may be cut short; others may not.
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// There is no history file in the directory.
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// Two files are of one incarnation: each process writes one, so that one of them is a copy.
    Twice {
        /// The incarnation.
        incarnation: String,
        /// The files.
        paths: [PathBuf; 2],
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            ReadError::Line { path, line, error } => {
                write!(f, "{}:{line}: not an event of a history: {error}", path.display())
            }
            ReadError::Empty { path } => {
                write!(f, "{}: no history (*.jsonl) in it", path.display())
            }
            ReadError::Twice { incarnation, paths: [one, other] } => {
                let (one, other) = (one.display(), other.display());
                write!(f, "{one} and {other} are both of incarnation {incarnation}: one is a copy")
            }
        }
    }
}

impl std::error::Error for ReadError {}

/// A directory of history files, as it was found.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// What is in the files.
    pub history: History,
    /// The files whose last line was cut short and left out.
    pub cut_short: Vec<String>,
}

impl Directory {
    /// Reads every `*.jsonl` file of a directory, by name.
    ///
    /// # Errors
    /// [`ReadError`], naming file and line.
    pub fn read(dir: impl AsRef<Path>) -> Result<Directory, ReadError> {
        let dir = dir.as_ref();
        let io = |error| ReadError::Io { path: dir.to_path_buf(), error };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|ending| ending == "jsonl") {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(ReadError::Empty { path: dir.to_path_buf() });
        }
        paths.sort();
        let mut directory = Directory::default();
        let mut seen: HashMap<String, PathBuf> = HashMap::new();
        for path in paths {
            let (log, cut_short) = read(&path)?;
            if cut_short {
                directory.cut_short.push(log.name.clone());
            }
            if let Some(incarnation) = log.lines.first().and_then(|line| incarnation(&line.node))
                && let Some(other) = seen.insert(incarnation.to_owned(), path.clone())
            {
                let incarnation = incarnation.to_owned();
                return Err(ReadError::Twice { incarnation, paths: [other, path] });
            }
            directory.history.logs.push(log);
        }
        Ok(directory)
    }
}

/// The incarnation in the id of a member or process.
fn incarnation(id: &str) -> Option<&str> {
    let (_, rest) = id.rsplit_once('#')?;
    Some(rest.split_once('@').map_or(rest, |(incarnation, _)| incarnation))
}

impl History {
    /// Reads every `*.jsonl` file of a directory, by name.
    ///
    /// # Errors
    /// [`ReadError`], naming file and line.
    pub fn read_dir(dir: impl AsRef<Path>) -> Result<History, ReadError> {
        Directory::read(dir).map(|directory| directory.history)
    }
}

impl Log {
    /// The lines as a file has them.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for line in &self.lines {
            line.append_to(&mut text);
        }
        text
    }

    /// Reads one file. A last line that was cut short, by a crash of the writer, is left out.
    ///
    /// # Errors
    /// [`ReadError`], naming file and line.
    pub fn read(path: impl AsRef<Path>) -> Result<Log, ReadError> {
        read(path.as_ref()).map(|(log, _)| log)
    }
}

/// Reads one file; whether its last line was cut short.
fn read(path: &Path) -> Result<(Log, bool), ReadError> {
    let text =
        std::fs::read(path).map_err(|error| ReadError::Io { path: path.to_path_buf(), error })?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (lines, cut_short) = parse(&text).map_err(|(line, error)| ReadError::Line {
        path: path.to_path_buf(),
        line,
        error,
    })?;
    Ok((Log { name, lines }, cut_short))
}

/// The lines of a text; whether there was a last one that was cut short.
fn parse(text: &[u8]) -> Result<(Vec<Line>, bool), (usize, serde_json::Error)> {
    let mut lines = Vec::new();
    let mut cut_short = false;
    let mut rest = text;
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let end = rest.iter().position(|&byte| byte == b'\n');
        let (line, after) = match end {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = after;
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(line) => lines.push(line),
            // Only the end of a line proves that all of it was written.
            Err(_) if end.is_none() => cut_short = true,
            Err(error) => return Err((number, error)),
        }
    }
    Ok((lines, cut_short))
}

#[cfg(test)]
mod tests {
    use super::{incarnation, parse};

    const START: &str = r#"{"event":"start","t":0,"wall_us":17,"node":"p#2a","protocol":1}"#;

    #[test]
    fn a_last_line_cut_short_is_left_out() {
        let text = format!("{START}\n{}", &START[..20]);
        let (lines, cut_short) = parse(text.as_bytes()).expect("lines");
        assert_eq!((lines.len(), cut_short), (1, true));
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named() {
        let text = format!("{START}\n{}\n{START}\n", &START[..20]);
        assert_eq!(parse(text.as_bytes()).expect_err("an error").0, 2);
    }

    #[test]
    fn a_whole_last_line_without_its_end_counts() {
        let (lines, cut_short) = parse(START.as_bytes()).expect("lines");
        assert_eq!((lines.len(), cut_short), (1, false));
    }

    #[test]
    fn incarnations_are_found_in_ids_of_processes_and_members() {
        assert_eq!(incarnation("a#b@c#2a@7"), Some("2a"));
        assert_eq!(incarnation("p#2a"), Some("2a"));
        assert_eq!(incarnation("nobody"), None);
    }
}
