//! Reading the files of a run.

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
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Io { path, error } => write!(f, "{}: {error}", path.display()),
            ReadError::Line { path, line, error } => {
                write!(
                    f,
                    "{}:{line}: not an event of a history: {error}",
                    path.display()
                )
            }
            ReadError::Empty { path } => {
                write!(f, "{}: no history (*.jsonl) in it", path.display())
            }
        }
    }
}

impl std::error::Error for ReadError {}

impl History {
    /// Reads every `*.jsonl` file of a directory, by name.
    ///
    /// # Errors
    /// [`ReadError`], naming file and line.
    pub fn read_dir(dir: impl AsRef<Path>) -> Result<History, ReadError> {
        let dir = dir.as_ref();
        let io = |error| ReadError::Io {
            path: dir.to_path_buf(),
            error,
        };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.extension().is_some_and(|ending| ending == "jsonl") {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            return Err(ReadError::Empty {
                path: dir.to_path_buf(),
            });
        }
        paths.sort();
        let logs = paths.iter().map(Log::read).collect::<Result<_, _>>()?;
        Ok(History { logs })
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
        let path = path.as_ref();
        let text = std::fs::read(path).map_err(|error| ReadError::Io {
            path: path.to_path_buf(),
            error,
        })?;
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let lines = parse(&text).map_err(|(line, error)| ReadError::Line {
            path: path.to_path_buf(),
            line,
            error,
        })?;
        Ok(Log { name, lines })
    }
}

fn parse(text: &[u8]) -> Result<Vec<Line>, (usize, serde_json::Error)> {
    let mut lines = Vec::new();
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
            Err(_) if end.is_none() => break,
            Err(error) => return Err((number, error)),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::parse;

    const START: &str = r#"{"event":"start","t":0,"wall_us":17,"node":"p#2a","protocol":1}"#;

    #[test]
    fn a_last_line_cut_short_is_left_out() {
        let text = format!("{START}\n{}", &START[..20]);
        assert_eq!(parse(text.as_bytes()).expect("lines").len(), 1);
    }

    #[test]
    fn a_broken_line_in_the_middle_is_named() {
        let text = format!("{START}\n{}\n{START}\n", &START[..20]);
        assert_eq!(parse(text.as_bytes()).expect_err("an error").0, 2);
    }

    #[test]
    fn a_whole_last_line_without_its_end_counts() {
        assert_eq!(parse(START.as_bytes()).expect("lines").len(), 1);
    }
}
