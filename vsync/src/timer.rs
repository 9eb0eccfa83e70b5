//! [`TimerId`]: an update that is to come.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most timers of one group, set and not fired.
pub(crate) const TIMERS: usize = 1 << 16;
/// Most bytes of their updates.
pub(crate) const BYTES: usize = 16 << 20;

/// The name of a timer in its group: the same at every replica, and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimerId(pub(crate) u64);

/// Why a timer was not set or cancelled: the same at every replica.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TimerError {
    /// Timers are set and cancelled by total updates and `#[on_view]` only: replicas apply fifo and
    /// causal updates before and after a timer's own update, some this way and some that.
    NotTotal,
    /// The group has 65,536 timers, or 16 MiB of updates in timers.
    Full,
    /// An argument of the update could not be encoded.
    Encode(String),
    /// The version of the type that has the update's method is not active yet.
    NotYetActive {
        /// The first version that has it.
        since: u32,
        /// The version that is active.
        active: u32,
    },
    /// The version of the type that is active has the update's method no more.
    Retired {
        /// The first version without it.
        until: u32,
        /// The version that is active.
        active: u32,
    },
}

impl fmt::Display for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimerError::NotTotal => f.write_str("timers are for total updates and on_view only"),
            TimerError::Full => f.write_str("the group has no room for another timer"),
            TimerError::NotYetActive { since, active } => {
                write!(f, "the update is there since version {since}, and {active} is active")
            }
            TimerError::Retired { until, active } => {
                write!(f, "the update was there until version {until}, and {active} is active")
            }
            TimerError::Encode(why) => write!(f, "an argument could not be encoded: {why}"),
        }
    }
}

impl fmt::Debug for TimerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::error::told(self, f)
    }
}

impl std::error::Error for TimerError {}
