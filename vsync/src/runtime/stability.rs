//! [`Stability`]: whether and when something known here will survive.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::seat::Seat;
use crate::error::{GroupError, Unknown};

/// Resolved when everything it stands for is stable, or when it is known that it cannot be told.
#[derive(Debug, Default)]
pub(crate) struct Stability {
    pending: Vec<oneshot::Receiver<Result<(), GroupError>>>,
    failed: Option<GroupError>,
    /// Where nobody knows yet that somebody will wait: mostly one group, for which there is room.
    unasked: Option<Arc<Seat>>,
    /// The other groups of that kind.
    unasked_too: Vec<Arc<Seat>>,
}

impl Stability {
    /// Already stable.
    pub(crate) fn ready() -> Self {
        Stability::default()
    }

    /// Stable when the sender's side says so; a sender that is dropped means that the group is
    /// gone.
    pub(crate) fn pending(receiver: oneshot::Receiver<Result<(), GroupError>>) -> Self {
        Stability { pending: vec![receiver], ..Stability::default() }
    }

    /// It was left to gather: whoever waits for it has to ask for it, in this group.
    pub(crate) fn unasked(mut self, seat: &Arc<Seat>) -> Self {
        self.will_ask(Arc::clone(seat));
        self
    }

    fn will_ask(&mut self, seat: Arc<Seat>) {
        match &self.unasked {
            None => self.unasked = Some(seat),
            Some(known) if Arc::ptr_eq(known, &seat) => {}
            Some(_) if self.unasked_too.iter().any(|known| Arc::ptr_eq(known, &seat)) => {}
            Some(_) => self.unasked_too.push(seat),
        }
    }

    /// Stable when both are.
    pub(crate) fn and(mut self, other: Stability) -> Stability {
        self.pending.extend(other.pending);
        let unasked = other.unasked.into_iter().chain(other.unasked_too);
        unasked.for_each(|seat| self.will_ask(seat));
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
        if self.now() == Ok(false) {
            // Whoever cannot be asked has told what is waited for.
            let unasked = self.unasked.take().into_iter().chain(self.unasked_too.drain(..));
            unasked.for_each(|seat| drop(seat.flush()));
        }
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

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use vsync_core::wire::GroupId;

    use super::*;
    use crate::runtime::Command;

    /// A call that was answered before its update went out may be waited for afterwards.
    #[tokio::test]
    async fn whoever_waits_asks_once_and_only_for_what_is_open() {
        let (commands, mut coming) = mpsc::unbounded_channel();
        let seat = Arc::new(Seat::new("group".into(), 100, commands));
        seat.status().group = Some(GroupId(7));
        let mut asked = || matches!(coming.try_recv(), Ok(Command::Flush { .. }));
        let open = || {
            let (tell, listen) = oneshot::channel();
            (tell, Stability::pending(listen).unasked(&seat))
        };
        let (tell, mut stable) = open();
        let other = open();
        drop(tell.send(Ok(())));
        assert_eq!(stable.wait().await, Ok(()));
        assert!(!asked(), "it was stable");
        let (tell, third) = open();
        let mut both = other.1.and(third);
        for first in [true, false] {
            assert!(waits(&mut both).await, "both are open");
            assert_eq!(asked(), first);
            assert!(!asked());
        }
        drop((tell.send(Ok(())), other.0.send(Ok(()))));
        assert_eq!(both.wait().await, Ok(()));
    }

    /// Whether it waits.
    async fn waits(stability: &mut Stability) -> bool {
        tokio::select! {
            biased;
            _ = stability.wait() => false,
            () = std::future::ready(()) => true,
        }
    }
}
