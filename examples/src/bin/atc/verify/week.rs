//! The week of one sector, executed again by this process alone in the decided order.

use std::collections::BTreeMap;

use super::journals::Contents;
use super::lives::Who;
use super::order::Decided;
use crate::book::{Book, Entry, PAIRS, Stage};
use crate::slots::{SlotNews, Wish};

/// A sector, executed again.
#[derive(Debug, Default)]
pub(crate) struct Week {
    /// What it came to.
    pub(crate) book: Book,
    /// The first filing of each plan.
    pub(crate) filed: BTreeMap<u32, Decided>,
    /// The update that ended each row: the arrival, the cancellation, or the refused plan.
    pub(crate) ended: BTreeMap<u32, Decided>,
    /// Which updates of each sender took part, by content.
    pub(crate) of_sender: BTreeMap<Who, Vec<Entry>>,
    /// What became of slots, in order.
    pub(crate) news: Vec<SlotNews>,
}

impl Week {
    /// Executes the updates one after the other.
    pub(crate) fn execute(order: &[Decided], contents: &Contents) -> Week {
        let mut week = Week::default();
        for decided in order {
            let Some(entry) = contents.get(decided) else { continue };
            let key = match entry {
                Entry::Plan(plan) => {
                    week.filed.entry(plan.key).or_insert(*decided);
                    Some(plan.key)
                }
                Entry::Arrive { key, .. } | Entry::Cancel { key } => Some(*key),
                Entry::Depart { .. } | Entry::Remark(_) => None,
                // These are the client's: no member has submitted them of its own.
                Entry::TakeSlot(_) | Entry::ReleaseSlot { .. } => {
                    week.slot(entry);
                    continue;
                }
            };
            week.book.execute(entry);
            if let Some(key) = key.filter(|key| *key < PAIRS)
                && week.book.stage(key) == Stage::Done
            {
                week.ended.entry(key).or_insert(*decided);
            }
            week.of_sender.entry(decided.sender).or_default().push(entry.clone());
        }
        week
    }

    /// Executes what concerns slots, with the news of it.
    fn slot(&mut self, entry: &Entry) {
        let before = self.book.slots.clone();
        self.book.execute(entry);
        let news = match entry {
            Entry::TakeSlot(Wish { key, .. }) => {
                self.book.slots.of(*key).map(|at| SlotNews::Taken { key: *key, at })
            }
            Entry::ReleaseSlot { key } => before.of(*key).map(|_| SlotNews::Released { key: *key }),
            _ => None,
        };
        self.news.extend(news);
    }
}
