//! What the updates say: histories name them, journals and logs of submissions hold their content.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::lives::Who;
use super::order::Decided;
use crate::book::Entry;
use crate::sector::Applied;

/// The content of every update that any replica applied.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    entries: HashMap<(u64, Who, u64), Entry>,
}

impl Contents {
    /// Adds a replica's journal.
    pub(crate) fn add(&mut self, journal: &Path) -> Result<(), String> {
        for applied in lines::<Applied>(journal)? {
            let name = (applied.view, applied.sender, applied.number);
            let known = self.entries.entry(name).or_insert_with(|| applied.entry.clone());
            if *known != applied.entry {
                return Err(format!(
                    "{}: update {name:x?} is {:?} here, {known:?} elsewhere",
                    journal.display(),
                    applied.entry
                ));
            }
        }
        Ok(())
    }

    /// What an update says to the sector; nothing, if it is one of the runtime's own: somebody has
    /// asked for something, or opened a session.
    pub(crate) fn get(&self, name: &Decided) -> Option<&Entry> {
        self.entries.get(&(name.view, name.sender, name.seq))
    }
}

/// What a controller submitted: each entry, and how often.
pub(crate) fn submissions(log: &Path) -> Result<BTreeMap<String, u32>, String> {
    let mut counts = BTreeMap::new();
    for entry in lines::<Entry>(log)? {
        *counts.entry(text(&entry)?).or_insert(0) += 1;
    }
    Ok(counts)
}

/// An entry as a key.
pub(crate) fn text(entry: &Entry) -> Result<String, String> {
    serde_json::to_string(entry).map_err(|error| error.to_string())
}

/// The lines of a file. The last one may be cut short, where its writer was killed.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut values = Vec::new();
    for (index, line) in whole.lines().enumerate() {
        values.push(
            serde_json::from_str(line)
                .map_err(|error| format!("{}:{}: {error}", path.display(), index + 1))?,
        );
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> std::path::PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    const FIRST: &str = r#"{"view":3,"sender":[42,1],"number":0,"entry":{"Cancel":{"key":7}}}"#;
    const OTHER: &str = r#"{"view":3,"sender":[42,1],"number":2,"entry":{"Cancel":{"key":8}}}"#;
    const ELSE: &str = r#"{"view":3,"sender":[42,1],"number":0,"entry":{"Cancel":{"key":8}}}"#;

    #[test]
    fn updates_are_numbered_per_view_and_sender() {
        let dir = tempfile::tempdir().unwrap();
        let mut contents = Contents::default();
        contents.add(&file(&dir, "a", &format!("{FIRST}\n{OTHER}\n"))).unwrap();
        let get = |seq| contents.get(&Decided { view: 3, sender: (42, 1), seq }).cloned();
        assert_eq!(get(0), Some(Entry::Cancel { key: 7 }));
        assert_eq!(get(1), None, "one of the runtime's own");
        assert_eq!(get(2), Some(Entry::Cancel { key: 8 }));
    }

    #[test]
    fn replicas_that_applied_something_else_are_found_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut contents = Contents::default();
        contents.add(&file(&dir, "a", &format!("{FIRST}\n"))).unwrap();
        let error = contents.add(&file(&dir, "b", &format!("{ELSE}\n"))).unwrap_err();
        assert!(error.contains("key: 8") && error.contains("key: 7"), "{error}");
    }

    #[test]
    fn only_the_last_line_may_be_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        let cut = &FIRST[..FIRST.len() - 4];
        let mut contents = Contents::default();
        contents.add(&file(&dir, "a", &format!("{FIRST}\n{cut}"))).unwrap();
        let error = contents.add(&file(&dir, "b", &format!("{cut}\n{FIRST}\n"))).unwrap_err();
        assert!(error.contains("b:1:"), "{error}");
    }
}
