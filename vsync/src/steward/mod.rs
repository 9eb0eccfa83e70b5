//! The steward of a node: becoming a member, joining again after an exclusion, and keeping the
//! directory informed.

mod attend;
mod cards;
mod core;
mod entering;
mod seeds;
mod strangers;

use std::time::Duration;

pub(crate) use self::attend::attend;
pub(crate) use self::core::{Core, Limits, Registered};
pub(crate) use self::entering::{How, Manner, enter, enter_directory};
pub(crate) use self::seeds::{Failure, FailureKind};
pub(crate) use self::strangers::look_out;

/// How long one attempt to join waits before members are looked up again.
const ATTEMPT: Duration = Duration::from_secs(1);
/// The pauses between attempts grow from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// How long one question to a seed may take.
const QUESTION: Duration = Duration::from_secs(2);
