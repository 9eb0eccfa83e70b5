//! What processes are called in the picture.

use std::collections::BTreeMap;

/// An incarnation is cut to this many digits where these tell it from its namesakes.
const DIGITS: usize = 4;

/// The process of a member.
pub(super) fn process(member: &str) -> &str {
    member.rsplit_once('@').map_or(member, |(process, _)| process)
}

/// The name in an id.
fn name(id: &str) -> &str {
    id.rsplit_once('#').map_or(id, |(name, _)| name)
}

/// Name and incarnation of a process.
pub(super) fn parts(process: &str) -> (&str, &str) {
    process.rsplit_once('#').unwrap_or((process, ""))
}

/// What each process is called.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, String>);

impl Names {
    /// A process is called by its name alone, unless there are others of that name: a node that
    /// came back, or nodes that were never told apart.
    pub(super) fn of<'a>(processes: impl Iterator<Item = &'a str>) -> Names {
        let mut namesakes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for process in processes {
            let (name, incarnation) = parts(process);
            namesakes.entry(name).or_default().push(incarnation);
        }
        let mut names = BTreeMap::new();
        for (name, incarnations) in namesakes {
            for incarnation in &incarnations {
                let start = |text: &str| text.chars().take(DIGITS).collect::<String>();
                let short = start(incarnation);
                let alike = incarnations.iter().filter(|other| start(other) == short).count();
                let called = match (incarnations.len(), alike) {
                    (1, _) => name.to_owned(),
                    (_, 1) => format!("{name}#{short}"),
                    _ => format!("{name}#{incarnation}"),
                };
                names.insert(format!("{name}#{incarnation}"), called);
            }
        }
        Names(names)
    }

    /// The name of a process or of a member.
    pub(super) fn get<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.get(process(id)).map_or(name(process(id)), String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incarnations_are_named_where_the_name_is_not_enough() {
        let names =
            Names::of(["p#1", "q#aaaabbb1", "q#ccccbbb2", "r#eeee1", "r#eeee2"].into_iter());
        assert_eq!(names.get("p#1@7"), "p");
        assert_eq!(names.get("q#aaaabbb1"), "q#aaaa");
        assert_eq!(names.get("r#eeee2@1"), "r#eeee2");
        assert_eq!(names.get("s#5@1"), "s");
        assert_eq!(names.get("odd"), "odd");
    }
}
