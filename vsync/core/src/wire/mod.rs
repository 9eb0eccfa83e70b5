//! Floor 0: identities, cuts, messages and their bytes.

pub(crate) mod bounds;
pub(crate) mod codec;
mod cut;
mod ids;
mod kind;
pub(crate) mod messages;
mod view;

pub use cut::Cut;
pub use ids::{Ballot, GroupId, MemberId, Micros, NodeId, Rank, ViewNumber};
pub use kind::{FrameKind, decided_view};
pub use view::{Left, LeftReason, Member, SharedView, Transfer, View};
