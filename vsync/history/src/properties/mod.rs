//! One property per file.

mod calls;
mod causal;
mod chain;
mod fifo;
mod idle;
mod integrity;
mod join;
mod outcome;
mod queue;
mod rejoin;
mod sameview;
mod settled;
mod stability;
mod states;
mod survivors;
mod synchrony;
mod total;
mod views;

use crate::check::Court;

type Judge = fn(&mut Court<'_>);

/// All properties, by name.
pub(crate) const ALL: [(&str, Judge); 18] = [
    ("views", views::judge),
    ("chain", chain::judge),
    ("rejoin", rejoin::judge),
    ("integrity", integrity::judge),
    ("sameview", sameview::judge),
    ("synchrony", synchrony::judge),
    ("survivors", survivors::judge),
    ("queue", queue::judge),
    ("fifo", fifo::judge),
    ("causal", causal::judge),
    ("total", total::judge),
    ("stability", stability::judge),
    ("join", join::judge),
    ("states", states::judge),
    ("outcome", outcome::judge),
    ("calls", calls::judge),
    ("settled", settled::judge),
    ("idle", idle::judge),
];

#[cfg(test)]
mod story;
