//! [`Counts`]: a cut as histories write it.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Id;

/// A cut as histories write it: a count per member, a JSON object in a file.
///
/// A list, in the order in which it was made: there is one with every `stable` line, and who reads
/// it wants all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts(Vec<(Id, u64)>);

impl Counts {
    /// The counts, member by member.
    pub fn iter(&self) -> std::slice::Iter<'_, (Id, u64)> {
        self.0.iter()
    }
}

impl FromIterator<(Id, u64)> for Counts {
    fn from_iter<T: IntoIterator<Item = (Id, u64)>>(counts: T) -> Self {
        Counts(counts.into_iter().collect())
    }
}

impl<'a> IntoIterator for &'a Counts {
    type Item = &'a (Id, u64);
    type IntoIter = std::slice::Iter<'a, (Id, u64)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Serialize for Counts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(id, count)| (id, count)))
    }
}

impl<'de> Deserialize<'de> for Counts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

/// Reads the entries of an object.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Counts;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of counts by member")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Counts, A::Error> {
        let mut counts = Vec::new();
        while let Some(entry) = map.next_entry()? {
            counts.push(entry);
        }
        Ok(Counts(counts))
    }
}
