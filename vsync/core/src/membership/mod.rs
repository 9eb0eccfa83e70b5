//! Floor 3: who is in, and the agreement on a view's successor. Decisions only: no messages are
//! sent here.

mod change;
mod choice;
mod fit;
mod quorum;
mod successor;

pub(crate) use change::{Change, Lead, Phase};
pub(crate) use choice::{Choice, choose};
pub(crate) use fit::succeeds;
pub(crate) use quorum::is_quorum;
pub(crate) use successor::successor;
