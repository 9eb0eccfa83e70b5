//! The order that a group decided, from the histories alone.
//!
//! It is no member's own order of delivery: in each view the lanes are merged anew by what the
//! orders demand (totals by position, causal updates behind what their sender had delivered), so
//! that a state that depended on more than that would come out differently.

use std::collections::BTreeMap;

use vsync_history::event::{Class, Event};

use super::lives::{Group, Who};

/// One update in the decided order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    /// The view.
    pub(crate) view: u64,
    /// Who sent it.
    pub(crate) sender: Who,
    /// Its number in the sender's lane.
    pub(crate) seq: u64,
}

/// One update as it was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Delivered {
    class: Class,
    position: Option<u64>,
}

/// What was delivered of each sender in one view.
type Lanes = BTreeMap<Who, BTreeMap<u64, Delivered>>;

/// How much of each sender a causal update comes after, by its view, sender and number.
type Causes = BTreeMap<(u64, Who, u64), BTreeMap<Who, u64>>;

/// All updates of a group in one order that respects everything that was decided.
pub(crate) fn decided(group: &Group<'_>) -> Result<Vec<Decided>, String> {
    let causes = causes(group);
    let mut order = Vec::new();
    for (view, lanes) in deliveries(group)? {
        merge(view, &lanes, &causes, &mut order)?;
    }
    Ok(order)
}

/// What was delivered in each view by those who went on to the next, or are in the last: what a
/// member delivered and took with it when it died was decided by nobody.
fn deliveries(group: &Group<'_>) -> Result<BTreeMap<u64, Lanes>, String> {
    let last = group.views.keys().next_back().copied().unwrap_or(0);
    let mut views: BTreeMap<u64, Lanes> = BTreeMap::new();
    for life in &group.lives {
        let final_view = life.lines.iter().rev().find_map(|line| match line.event {
            Event::View { view, .. } => Some(view),
            _ => None,
        });
        for line in &life.lines {
            let Event::Deliver { view, ref sender, seq, count, class, position, .. } = line.event
            else {
                continue;
            };
            if final_view.is_none_or(|end| view >= end && end < last) {
                continue;
            }
            let sender = super::lives::who(sender)?;
            let lane = views.entry(view).or_default().entry(sender).or_default();
            for offset in 0..count {
                let position = position.map(|first| first + offset);
                let new = Delivered { class, position };
                if *lane.entry(seq + offset).or_insert(new) != new {
                    return Err(format!(
                        "view {view}: members disagree about update {} of {sender:x?}",
                        seq + offset
                    ));
                }
            }
        }
    }
    Ok(views)
}

/// What the sender of each causal update had delivered in its view when it sent it.
fn causes(group: &Group<'_>) -> Causes {
    let mut causes = Causes::new();
    for life in &group.lives {
        let mut current = 0;
        let mut heard: BTreeMap<Who, u64> = BTreeMap::new();
        for line in &life.lines {
            match line.event {
                Event::View { view, .. } => {
                    current = view;
                    heard.clear();
                }
                Event::Deliver { view, ref sender, seq, count, .. } if view == current => {
                    if let Ok(sender) = super::lives::who(sender) {
                        heard.insert(sender, seq + count);
                    }
                }
                Event::Send { view, seq, count, class: Class::Causal } if view == current => {
                    for offset in 0..count {
                        causes.insert((view, life.who, seq + offset), heard.clone());
                    }
                }
                _ => {}
            }
        }
    }
    causes
}

/// Merges the lanes of one view: always the lowest sender whose next update may come.
fn merge(
    view: u64,
    lanes: &Lanes,
    causes: &Causes,
    order: &mut Vec<Decided>,
) -> Result<(), String> {
    let mut next: BTreeMap<Who, u64> = lanes.keys().map(|sender| (*sender, 0)).collect();
    let mut position = 0;
    let mut left: usize = lanes.values().map(BTreeMap::len).sum();
    while left > 0 {
        let ready = lanes.iter().find_map(|(sender, lane)| {
            let seq = next[sender];
            let head = lane.get(&seq)?;
            let may = match head.class {
                Class::Fifo => true,
                Class::Total => head.position == Some(position),
                Class::Causal => causes.get(&(view, *sender, seq)).is_some_and(|causes| {
                    causes.iter().all(|(other, count)| {
                        other == sender || next.get(other).copied().unwrap_or(0) >= *count
                    })
                }),
            };
            may.then_some((*sender, seq, head.class))
        });
        let Some((sender, seq, class)) = ready else {
            return Err(format!(
                "view {view}: {left} updates fit no order (position {position}, next {next:x?})"
            ));
        };
        order.push(Decided { view, sender, seq });
        position += u64::from(class == Class::Total);
        next.insert(sender, seq + 1);
        left -= 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Who = (1, 1);
    const B: Who = (2, 1);

    fn lane(items: &[(Class, Option<u64>)]) -> BTreeMap<u64, Delivered> {
        let delivered = items.iter().map(|&(class, position)| Delivered { class, position });
        (0..).zip(delivered).collect()
    }

    fn merged(lanes: &Lanes, causes: &Causes) -> Result<Vec<(Who, u64)>, String> {
        let mut order = Vec::new();
        merge(1, lanes, causes, &mut order)?;
        Ok(order.into_iter().map(|decided| (decided.sender, decided.seq)).collect())
    }

    #[test]
    fn totals_come_by_position_and_causes_first() {
        let (fifo, total) = ((Class::Fifo, None), |at| (Class::Total, Some(at)));
        let lanes = Lanes::from([
            (A, lane(&[total(1), fifo])),
            (B, lane(&[fifo, total(0), (Class::Causal, None)])),
        ]);
        let causes = Causes::from([((1, B, 2), BTreeMap::from([(A, 2)]))]);
        assert_eq!(merged(&lanes, &causes), Ok(vec![(B, 0), (B, 1), (A, 0), (A, 1), (B, 2)]));
    }

    #[test]
    fn a_hole_is_an_error() {
        let lanes = Lanes::from([(A, lane(&[(Class::Total, Some(1))]))]);
        assert!(merged(&lanes, &Causes::new()).is_err());
        let lanes = Lanes::from([(A, lane(&[(Class::Causal, None)]))]);
        let causes = Causes::from([((1, A, 0), BTreeMap::from([(B, 1)]))]);
        assert!(merged(&lanes, &causes).is_err());
    }
}
