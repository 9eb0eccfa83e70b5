//! What the figures' files hold.

use std::collections::BTreeMap;
use std::path::Path;

use clap::ValueEnum;
use serde_json::Value;

use crate::options::Figure;

/// A command, and a document that it printed.
struct Printed {
    words: Vec<String>,
    document: Value,
}

/// All files, as far as they are there.
#[derive(Default)]
pub(crate) struct Source {
    figures: BTreeMap<String, Vec<Printed>>,
}

impl Source {
    /// The files of a directory; an error if there is none at all, or one cannot be read.
    pub(crate) fn read(directory: &Path) -> Result<Source, String> {
        let mut source = Source::default();
        for figure in Figure::value_variants() {
            let Some(name) = figure.to_possible_value() else { continue };
            let path = directory.join(format!("{}.json", name.get_name()));
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let named = |error: serde_json::Error| format!("{}: {error}", path.display());
            let document: Value = serde_json::from_str(&text).map_err(named)?;
            source.add(name.get_name(), &document);
        }
        match source.figures.is_empty() {
            true => Err(format!("{}: none of the figures' files is there", directory.display())),
            false => Ok(source),
        }
    }

    /// A figure's document, as `figures` writes it.
    pub(crate) fn add(&mut self, name: &str, document: &Value) {
        let all = self.figures.entry(name.to_owned()).or_default();
        for run in document["runs"].as_array().into_iter().flatten() {
            let words = run["command"].as_str().unwrap_or_default().split_whitespace();
            let words: Vec<String> = words.map(str::to_owned).collect();
            for document in run["printed"].as_array().into_iter().flatten() {
                all.push(Printed { words: words.clone(), document: document.clone() });
            }
        }
    }

    /// What was printed for a figure by the commands that have all of these words, and none of
    /// those behind a `!`. Words that belong together stand together: `--size 100`.
    pub(super) fn of<'a>(&'a self, figure: &str, line: &str) -> Vec<&'a Value> {
        let wanted: Vec<&str> = line.split_whitespace().collect();
        let fits = |printed: &&Printed| {
            let mut rest = &wanted[..];
            while let [first, after @ ..] = rest {
                let value = after.first().filter(|next| !next.starts_with(['-', '!']));
                let option: Vec<&str> = std::iter::once(*first).chain(value.copied()).collect();
                rest = &rest[option.len()..];
                let (name, unwanted) = match first.strip_prefix('!') {
                    Some(name) => (name, true),
                    None => (*first, false),
                };
                let option: Vec<&str> =
                    std::iter::once(name).chain(option[1..].iter().copied()).collect();
                if printed.words.windows(option.len()).any(|words| words == option) == unwanted {
                    return false;
                }
            }
            true
        };
        let all = self.figures.get(figure).into_iter().flatten();
        all.filter(fits).map(|printed| &printed.document).collect()
    }
}

/// All numbers at a place of each document, such as `/latency/p50`.
pub(super) fn at(documents: &[&Value], pointer: &str) -> Vec<f64> {
    documents.iter().filter_map(|document| document.pointer(pointer)?.as_f64()).collect()
}

/// One number ÷ the other, run by run.
pub(super) fn ratios(ours: &[f64], theirs: &[f64]) -> Vec<f64> {
    ours.iter().zip(theirs).filter(|(_, theirs)| **theirs > 0.0).map(|(a, b)| a / b).collect()
}

/// The parts of comparisons with so many awaited in flight; 0 is streaming.
fn parts<'a>(documents: &[&'a Value], in_flight: u64) -> Vec<&'a Value> {
    let all = documents.iter().flat_map(|document| {
        let awaited = document["awaited"].as_array().into_iter().flatten();
        std::iter::once(*document).chain(awaited)
    });
    all.filter(|part| part["in_flight"].as_u64() == Some(in_flight)).collect()
}

/// A number of each run of one side (`ours`, `theirs`) of these comparisons.
pub(super) fn side(documents: &[&Value], in_flight: u64, side: &str, pointer: &str) -> Vec<f64> {
    let runs = |part: &&'_ Value| -> Vec<f64> {
        let runs = part[side]["runs"].as_array().into_iter().flatten();
        runs.filter_map(|run| run.pointer(pointer)?.as_f64()).collect()
    };
    parts(documents, in_flight).iter().flat_map(runs).collect()
}

/// Ours ÷ theirs, pair by pair.
pub(super) fn pairs(documents: &[&Value], in_flight: u64, pointer: &str) -> Vec<f64> {
    let of = |name| side(documents, in_flight, name, pointer);
    ratios(&of("ours"), &of("theirs"))
}

/// A number of each item of a list within each document.
pub(super) fn each<'a>(documents: &[&'a Value], list: &str) -> Vec<&'a Value> {
    let items = |document: &&'a Value| document[list].as_array().into_iter().flatten();
    documents.iter().flat_map(items).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source() -> Source {
        let mut source = Source::default();
        let comparison = json!({
            "in_flight": 0,
            "ours": { "runs": [{ "rate": 4.0 }, { "rate": 6.0 }] },
            "theirs": { "runs": [{ "rate": 2.0 }, { "rate": 2.0 }] },
            "awaited": [{
                "in_flight": 64,
                "ours": { "runs": [{ "rate": 1.0 }] },
                "theirs": { "runs": [{ "rate": 4.0 }] },
            }],
        });
        source.add(
            "ratios",
            &json!({ "runs": [
                { "command": "vsync-bench compare --json --against a", "printed": [comparison] },
                { "command": "vsync-bench compare --against a --encrypted", "printed": [{"x": 1}] },
                { "command": "vsync-bench stream --size 10", "printed": [{"x": 2.5}, {"y": 3}] },
            ] }),
        );
        source
    }

    #[test]
    fn documents_are_found_by_the_words_of_their_command() {
        let source = source();
        assert_eq!(source.of("ratios", "").len(), 4);
        assert_eq!(source.of("ratios", "compare --against a").len(), 2);
        assert_eq!(source.of("ratios", "--against a !--encrypted").len(), 1);
        assert_eq!(at(&source.of("ratios", "--size 10"), "/x"), [2.5]);
        assert_eq!(source.of("ratios", "--size 1").len(), 0);
        assert_eq!(source.of("joins", "").len(), 0);
    }

    #[test]
    fn pairs_are_of_the_load_that_is_asked_for() {
        let source = source();
        let documents = source.of("ratios", "--against a !--encrypted");
        assert_eq!(pairs(&documents, 0, "/rate"), [2.0, 3.0]);
        assert_eq!(pairs(&documents, 64, "/rate"), [0.25]);
        assert_eq!(side(&documents, 0, "theirs", "/rate"), [2.0, 2.0]);
        assert_eq!(pairs(&documents, 1, "/rate"), [0.0; 0]);
    }
}
