//! What must always hold, and what must be reached for that to mean something.

use std::collections::BTreeMap;

use stateright::Property;
use vsync_core::wire::{Ballot, ViewNumber};

use crate::log::InView;
use crate::model::{MEMBERS, State, ViewChange};

/// All properties.
pub fn all() -> Vec<Property<ViewChange>> {
    let mut all = always();
    all.extend(sometimes());
    all.extend(with_crashes());
    all
}

fn always() -> Vec<Property<ViewChange>> {
    vec![
        Property::always("own history in order", |_, state: &State| {
            state.members.iter().all(|member| member.log.broken.is_none())
        }),
        Property::always("agreement on views", |_, state: &State| agreement(state)),
        Property::always("one proposal a ballot, decided ones stay", |_, state: &State| {
            consensus(state)
        }),
        Property::always("virtual synchrony", |_, state: &State| synchrony(state)),
        Property::always("stable survives", |_, state: &State| stable_survives(state)),
        Property::always("positions agree", |_, state: &State| positions(state)),
    ]
}

fn sometimes() -> Vec<Property<ViewChange>> {
    vec![
        Property::sometimes("a proposal was adopted", |_, state: &State| {
            state.members.iter().any(|member| member.engine.marks().adopted > 0)
        }),
        Property::sometimes("two ballots duelled", |_, state: &State| {
            state.members.iter().any(|member| member.engine.marks().overtaken > 0)
        }),
        Property::sometimes("a live member was excluded", |_, state: &State| {
            living(state).any(|rank| state.members[rank].log.excluded)
        }),
        Property::sometimes("after a false suspicion all moved on together", |_, state: &State| {
            let moved = |rank: usize| installed(state, rank, first(state) + 1);
            (0..MEMBERS).all(|rank| moved(rank).is_some_and(|view| size(view) == MEMBERS))
        }),
        Property::sometimes("an update was fetched in a change", |_, state: &State| {
            state.members.iter().any(|member| member.engine.marks().fetched > 0)
        }),
        Property::sometimes("a total got its position from a change", |_, state: &State| {
            state.members.iter().any(|member| member.engine.marks().appended > 0)
        }),
        Property::sometimes("an update was left out of the cut", |_, state: &State| {
            left_out(state)
        }),
        Property::sometimes("two changes in a row", |_, state: &State| {
            (0..MEMBERS).any(|rank| installed(state, rank, first(state) + 2).is_some())
        }),
    ]
}

fn with_crashes() -> Vec<Property<ViewChange>> {
    vec![
        Property::sometimes("the survivors of a crash moved on", |_, state: &State| {
            let next = |rank: usize| installed(state, rank, first(state) + 1);
            let crashed = state.crashed.iter().any(|&crashed| crashed);
            crashed && living(state).all(|rank| next(rank).is_some_and(|view| size(view) == 2))
        }),
        Property::sometimes("only a crashed member knew what was stable", |_, state: &State| {
            let view = first(state);
            let stable = |rank: usize| state.members[rank].log.views.get(&view).map(|v| &v.stable);
            (0..MEMBERS).filter(|&rank| state.crashed[rank]).any(|dead| {
                living(state).all(|rank| {
                    installed(state, rank, view + 1).is_none()
                        && stable(dead).zip(stable(rank)).is_some_and(|(d, l)| !l.covers(d))
                })
            })
        }),
    ]
}

fn living(state: &State) -> impl Iterator<Item = usize> + '_ {
    (0..MEMBERS).filter(|&rank| !state.crashed[rank])
}

fn first(state: &State) -> ViewNumber {
    let views = state.members.iter().filter_map(|member| member.log.views.keys().next());
    views.min().copied().unwrap_or_default()
}

fn installed(state: &State, rank: usize, number: ViewNumber) -> Option<&InView> {
    state.members[rank].log.views.get(&number)
}

fn size(view: &InView) -> usize {
    view.install.view.members.len()
}

/// What members say of each view that any of them has installed.
fn by_view(state: &State) -> BTreeMap<ViewNumber, Vec<&InView>> {
    let mut views: BTreeMap<ViewNumber, Vec<&InView>> = BTreeMap::new();
    for (&number, view) in state.members.iter().flat_map(|member| &member.log.views) {
        views.entry(number).or_default().push(view);
    }
    views
}

/// The view and the installs that ended it.
fn endings(state: &State) -> impl Iterator<Item = (ViewNumber, &InView)> {
    let logs = state.members.iter().map(|member| &member.log);
    let installs = logs.flat_map(|log| log.views.iter().skip(1));
    installs.map(|(&number, view)| (number - 1, view))
}

/// One number, one view and one cut.
fn agreement(state: &State) -> bool {
    by_view(state).values().all(|all| {
        all.windows(2).all(|two| {
            two[0].decision() == two[1].decision() && two[0].install.left == two[1].install.left
        })
    })
}

/// At most one proposal is accepted in a ballot; and what a quorum has accepted is the only
/// proposal that is accepted in any later ballot.
fn consensus(state: &State) -> bool {
    by_view(state).values().all(|views| {
        let mut ballots: BTreeMap<Ballot, (u64, Vec<usize>)> = BTreeMap::new();
        for view in views {
            for &(ballot, proposal) in &view.accepted {
                let known = ballots.entry(ballot).or_insert((proposal, Vec::new()));
                if known.0 != proposal {
                    return false;
                }
                known.1.push(view.install.rank);
            }
        }
        let active = views[0].install.view.active;
        let decided = ballots.values().position(|(_, ranks)| {
            let twice = 2 * ranks.len();
            twice > active || twice == active && ranks.contains(&0)
        });
        let Some(decided) = decided else { return true };
        let mut later = ballots.values().skip(decided).map(|&(proposal, _)| proposal);
        let first = later.next();
        later.all(|proposal| Some(proposal) == first)
    })
}

/// Members that moved together have delivered the same, in the same order.
fn synchrony(state: &State) -> bool {
    by_view(state).iter().all(|(&number, views)| {
        let together = |view: &&&InView| {
            let me = view.install.view.members[view.install.rank].id;
            state.members.iter().map(|member| &member.log).find_map(|log| {
                let known = log.views.get(&number)?;
                let same = known.install.view.members[known.install.rank].id == me;
                same.then(|| log.views.get(&(number - 1)).map(|old| &old.delivered))?
            })
        };
        let histories: Vec<_> = views.iter().filter_map(|view| together(&view)).collect();
        let all = histories.windows(2).all(|two| two[0] == two[1]);
        all && views.windows(2).all(|two| two[0].install.together == two[1].install.together)
    })
}

/// What anybody called stable is in every successor's cut.
fn stable_survives(state: &State) -> bool {
    let views = by_view(state);
    endings(state).all(|(old, next)| {
        let stables = views.get(&old).into_iter().flatten().map(|view| &view.stable);
        stables.into_iter().all(|stable| next.install.cut.covers(stable))
    })
}

/// An update has one content; and one position in all deliveries of members that moved on, and in
/// everything that anybody called stable.
fn positions(state: &State) -> bool {
    let logs = || state.members.iter().map(|member| &member.log);
    by_view(state).keys().all(|number| {
        let mut contents = BTreeMap::new();
        let mut firm = BTreeMap::new();
        let mut taken = BTreeMap::new();
        logs().filter_map(|log| Some((log, log.views.get(number)?))).all(|(log, view)| {
            let moved = log.views.contains_key(&(number + 1));
            view.delivered.iter().all(|(&place, &(content, position))| {
                let one = *contents.entry(place).or_insert(content) == content;
                if !(moved || place.1 < view.stable.count(place.0)) {
                    return one;
                }
                let same = *firm.entry(place).or_insert(position) == position;
                let free = position.is_none_or(|at| *taken.entry(at).or_insert(place) == place);
                one && same && free
            })
        })
    })
}

/// A view has ended without an update that its sender had numbered.
fn left_out(state: &State) -> bool {
    let views = by_view(state);
    endings(state).any(|(old, next)| {
        let senders = views.get(&old).into_iter().flatten();
        senders.into_iter().any(|view| view.sent > next.install.cut.count(view.install.rank))
    })
}
