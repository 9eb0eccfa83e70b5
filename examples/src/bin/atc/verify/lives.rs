//! The histories of one group: what each membership experienced, and the chain of views.

use std::collections::BTreeMap;

use vsync_history::History;
use vsync_history::event::{Event, Gone, Id, Line, Member, Reason};

/// The writer's incarnation and the view by which it came in: what a journal calls a sender.
pub(crate) type Who = (u64, u64);

/// What one membership experienced.
pub(crate) struct Life<'a> {
    /// Its id, `name#incarnation@entry`.
    pub(crate) id: &'a Id,
    /// The same as a journal has it.
    pub(crate) who: Who,
    /// Wall clock of its process's start, in microseconds.
    pub(crate) began: u64,
    /// Its lines.
    pub(crate) lines: Vec<&'a Line>,
}

/// A view, as those that installed it wrote it down.
#[derive(Clone, Copy)]
pub(crate) struct Seat<'a> {
    /// The members by rank.
    pub(crate) members: &'a [Member],
    /// Who is gone.
    pub(crate) left: &'a [Gone],
}

/// One group of a run.
pub(crate) struct Group<'a> {
    /// The memberships.
    pub(crate) lives: Vec<Life<'a>>,
    /// The chain of views.
    pub(crate) views: BTreeMap<u64, Seat<'a>>,
}

impl<'a> Group<'a> {
    /// Takes a group's lines out of all files.
    pub(crate) fn of(history: &'a History, name: &str) -> Result<Group<'a>, String> {
        let mut group = Group { lives: Vec::new(), views: BTreeMap::new() };
        for log in &history.logs {
            let mut began = 0;
            let mut lives: BTreeMap<&Id, Life<'a>> = BTreeMap::new();
            for line in &log.lines {
                if let Event::Start { wall_us, .. } = line.event {
                    began = wall_us;
                }
                if line.group.as_deref() != Some(name) {
                    continue;
                }
                if let Event::View { view, members, left, .. } = &line.event {
                    group.views.insert(*view, Seat { members, left });
                }
                let who = who(&line.node)?;
                let life = lives.entry(&line.node);
                life.or_insert(Life { id: &line.node, who, began, lines: Vec::new() })
                    .lines
                    .push(line);
            }
            group.lives.extend(lives.into_values());
        }
        if group.views.is_empty() {
            return Err(format!("the histories know no group {name:?}"));
        }
        Ok(group)
    }

    /// The memberships of a process by its name.
    pub(crate) fn lives_of<'b>(&'b self, name: &str) -> impl Iterator<Item = &'b Life<'a>> {
        self.lives.iter().filter(move |life| name_of(life.id) == name)
    }

    /// All that went without their own wish: who, and the first view without them.
    pub(crate) fn lost(&self) -> BTreeMap<&'a Id, (u64, Reason)> {
        let mut lost = BTreeMap::new();
        for (view, seat) in &self.views {
            for gone in seat.left.iter().filter(|gone| gone.reason != Reason::Left) {
                lost.entry(&gone.id).or_insert((*view, gone.reason));
            }
        }
        lost
    }
}

impl Seat<'_> {
    /// The active members, by rank.
    pub(crate) fn active(&self) -> Vec<&Id> {
        self.members.iter().filter(|member| member.active).map(|member| &member.id).collect()
    }
}

/// The process's name in a member's id.
pub(crate) fn name_of(id: &str) -> &str {
    id.split_once('#').map_or(id, |(name, _)| name)
}

/// A member's id as a journal has it.
pub(crate) fn who(id: &str) -> Result<Who, String> {
    let parse = || {
        let (_, rest) = id.rsplit_once('#')?;
        let (incarnation, entry) = rest.split_once('@')?;
        Some((u64::from_str_radix(incarnation, 16).ok()?, entry.parse().ok()?))
    };
    parse().ok_or(format!("{id:?} is no member's id"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_taken_apart() {
        assert_eq!(who("alpha#2a@7"), Ok((42, 7)));
        assert_eq!(name_of("alpha#2a@7"), "alpha");
        assert!(who("alpha#2a").is_err() && who("alpha#x@1").is_err());
    }
}
