//! Activating a version of a group's type.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::error::{GroupError, NotApplied, Unknown};
use crate::group::{Group, GroupEvent};
use crate::limited::Limited;
use crate::replicated::Replicated;
use crate::runtime::inner::Inner;

/// Why a version was not activated.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ActivateError {
    /// These members' programs do not have the version; with the names of their nodes. The version
    /// that was active still is.
    Lacking(Vec<String>),
    /// This program does not have it.
    Unknown {
        /// The version asked for.
        version: u32,
        /// The version of this program.
        here: u32,
    },
    /// The outcome is not known here, or this node's membership was over before it was sent.
    Group(GroupError),
}

impl fmt::Display for ActivateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ActivateError::Lacking(members) => {
                write!(f, "these members do not have the version: {}", members.join(", "))
            }
            ActivateError::Unknown { version, here } => {
                write!(f, "this program has version {here}, and not {version}")
            }
            ActivateError::Group(error) => error.fmt(f),
        }
    }
}

impl fmt::Debug for ActivateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::error::told(self, f)
    }
}

impl std::error::Error for ActivateError {}

impl From<GroupError> for ActivateError {
    fn from(error: GroupError) -> ActivateError {
        ActivateError::Group(error)
    }
}

/// The wait of [`Group::activate`]. Nothing is sent before the first poll.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Activate(Limited<(), ActivateError>);

impl Activate {
    /// Gives up waiting after `limit`: [`Unknown::Timeout`], in [`ActivateError::Group`]. The
    /// version may be activated all the same; asking again does no harm.
    pub fn timeout(self, limit: Duration) -> Self {
        Activate(self.0.within(limit))
    }
}

impl Future for Activate {
    type Output = Result<(), ActivateError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl<S: Replicated> Group<S> {
    /// The version of the type that is active in the group, as far as it is known here. It never
    /// goes back.
    pub fn version(&self) -> Option<u32> {
        self.shared.seat.version()
    }

    /// Makes a version of the type the active one, for good. Programs of earlier versions can no
    /// longer be members.
    ///
    /// It is agreed on by an update in the group's total order, and takes effect with the next
    /// view, for which the group does not wait: all updates of a view, whatever their order, are
    /// applied under one version. This returns when that view is installed here. While the group
    /// has no quorum, it waits; give it a [`timeout`](Activate::timeout). If that ends it, or it is
    /// dropped, the version may be activated all the same. A version that is active, or below the
    /// active one, is there already.
    ///
    /// # Errors
    /// [`ActivateError::Lacking`], if a member's program does not have the version, or one came in
    /// meanwhile that has not: nothing has changed. [`ActivateError::Unknown`], if this program
    /// does not have it. [`ActivateError::Group`], as for calls.
    pub fn activate(&self, version: u32) -> Activate {
        let group = self.clone();
        let wait = async move { group.active(version).await };
        Activate(Limited::new(&self.shared.seat, None, wait))
    }

    /// Until the version is active.
    async fn active(&self, version: u32) -> Result<(), ActivateError> {
        if version > S::VERSION {
            return Err(ActivateError::Unknown { version, here: S::VERSION });
        }
        let mut events = self.shared.seat.events();
        let agreed = self.agree_on(version).await?;
        loop {
            let decided = self.shared.seat.is_decided_after(agreed);
            if self.version() >= Some(version) {
                return Ok(());
            }
            if decided {
                let view = self.view();
                let lacking = view.map(|view| crate::ctx::lacking(&view, version));
                return Err(ActivateError::Lacking(lacking.unwrap_or_default()));
            }
            match events.recv().await {
                Ok(GroupEvent::Excluded) => {
                    return Err(GroupError::Unknown(Unknown::Excluded).into());
                }
                Ok(GroupEvent::Closed { .. }) | Err(broadcast::error::RecvError::Closed) => {
                    return Err(GroupError::Unknown(Unknown::Closed).into());
                }
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
            }
        }
    }

    /// Sends the update. Gives the view in which it was agreed.
    async fn agree_on(&self, version: u32) -> Result<u64, ActivateError> {
        let seat = &self.shared.seat;
        let wish = Inner::Activate(version).sending(true);
        let wish = wish.ok_or_else(|| NotApplied::Encode("a number".to_owned()));
        let ordered = wish.and_then(|wish| seat.order(wish));
        let told = ordered.map_err(GroupError::NotApplied)?.told().await?;
        match told.downcast::<Result<u64, Vec<String>>>() {
            Ok(agreed) => agreed.map_err(ActivateError::Lacking),
            Err(_) => Err(GroupError::Unknown(Unknown::NoAnswer).into()),
        }
    }
}
