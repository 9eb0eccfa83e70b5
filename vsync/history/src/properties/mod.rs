//! One property per file.

mod causal;
mod chain;
mod fifo;
mod integrity;
mod join;
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
pub(crate) const ALL: [(&str, Judge); 12] = [
    ("views", views::judge),
    ("chain", chain::judge),
    ("integrity", integrity::judge),
    ("synchrony", synchrony::judge),
    ("survivors", survivors::judge),
    ("fifo", fifo::judge),
    ("causal", causal::judge),
    ("total", total::judge),
    ("stability", stability::judge),
    ("join", join::judge),
    ("states", states::judge),
    ("settled", settled::judge),
];

#[cfg(test)]
mod story;
