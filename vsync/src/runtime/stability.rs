//! [`Stability`]: whether and when something known here will survive.

use tokio::sync::oneshot;

use crate::error::{GroupError, Unknown};

/// Resolved when everything it stands for is stable, or when it is known that it cannot be told.
#[derive(Debug, Default)]
pub(crate) struct Stability {
    pending: Vec<oneshot::Receiver<Result<(), GroupError>>>,
    failed: Option<GroupError>,
}

impl Stability {
    /// Already stable.
    pub(crate) fn ready() -> Self {
        Stability::default()
    }

    /// Stable when the sender's side says so; a sender that is dropped means that the group is
    /// gone.
    pub(crate) fn pending(receiver: oneshot::Receiver<Result<(), GroupError>>) -> Self {
        Stability { pending: vec![receiver], failed: None }
    }

    /// Stable when both are.
    pub(crate) fn and(mut self, other: Stability) -> Stability {
        self.pending.extend(other.pending);
        self.failed = self.failed.or(other.failed);
        self
    }

    /// Whether it is stable now; an error when it never will be known to be.
    pub(crate) fn now(&mut self) -> Result<bool, GroupError> {
        while let Some(first) = self.pending.last_mut() {
            match first.try_recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.failed = self.failed.take().or(Some(error)),
                Err(oneshot::error::TryRecvError::Empty) => break,
                Err(oneshot::error::TryRecvError::Closed) => {
                    self.failed = Some(GroupError::Unknown(Unknown::Closed));
                }
            }
            self.pending.pop();
        }
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => Ok(self.pending.is_empty()),
        }
    }

    /// Waits until it is stable. Cancel-safe.
    pub(crate) async fn wait(&mut self) -> Result<(), GroupError> {
        while let Some(last) = self.pending.last_mut() {
            let told = last.await;
            self.pending.pop();
            let error = match told {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => GroupError::Unknown(Unknown::Closed),
            };
            self.failed.get_or_insert(error);
        }
        self.failed.clone().map_or(Ok(()), Err)
    }
}
