//! Asking members: one, or each for its share.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};
use vsync_net::PeerId;

use crate::asked;
use crate::asking::line;
use crate::barrier;
use crate::codec;
use crate::error::{AskError, GroupError, NotApplied};
use crate::group::{Fate, Group, Views};
use crate::replicated::{EncodeError, Replicated};
use crate::runtime::replica::Answering;
use crate::runtime::rpc::{Answer, Ask, LONGEST, ToMember};
use crate::runtime::seat::Seat;
use crate::seen::Seen;
use crate::view::{MemberId, Reason, View};

/// The pause before a member is asked again that could not answer.
pub(crate) const PAUSE: Duration = Duration::from_millis(20);

/// Which member is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Target {
    /// This one.
    Member(MemberId),
    /// Whoever has this rank when it is asked.
    Rank(usize),
}

impl Target {
    /// Says that nobody is meant by it.
    pub(crate) fn nobody(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Member(id) => write!(f, "{id:?} is no member"),
            Target::Rank(rank) => write!(f, "no active member has the rank {rank}"),
        }
    }
}

impl From<MemberId> for Target {
    fn from(member: MemberId) -> Self {
        Target::Member(member)
    }
}

impl From<usize> for Target {
    fn from(rank: usize) -> Self {
        Target::Rank(rank)
    }
}

/// Why there is no answer of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Missing {
    /// It left the group.
    Left,
    /// Its process or host died, or could not be reached.
    Failed,
    /// The others went on without it: it was alive, but too slow or cut off.
    Excluded,
    /// It is no member any more, and why is not known here.
    Gone,
    /// The deadline came first.
    Late,
    /// Enough others had answered.
    NotNeeded,
    /// It cannot answer: the query panicked there, or the answer is too long.
    Refused(String),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Missing::Left => "it left the group",
            Missing::Failed => "it failed",
            Missing::Excluded => "it was excluded",
            Missing::Gone => "it is no member any more",
            Missing::Late => "no answer before the deadline",
            Missing::NotNeeded => "enough others had answered",
            Missing::Refused(why) => return write!(f, "it cannot answer: {why}"),
        })
    }
}

/// What came of asking a member.
#[derive(Debug)]
pub(crate) enum Told {
    /// The result, and what the state had in it.
    Answer(Vec<u8>, Seen),
    /// It will never have another answer.
    Never(Missing),
    /// Perhaps later, or perhaps another member.
    NotNow,
}

/// Asks a member, but no longer than until it is gone.
pub(crate) async fn or_gone(
    seat: &Seat,
    member: MemberId,
    asking: impl Future<Output = Told>,
) -> Told {
    let gone = Views::of(seat).fate(member);
    let (mut asking, mut gone) = (pin!(asking), pin!(gone));
    tokio::select! {
        biased;
        told = &mut asking => told,
        fate = &mut gone => Told::Never(match fate {
            Fate::Gone(reason) => reason.into(),
            Fate::Absent | Fate::Closed => Missing::Gone,
        }),
    }
}

/// A query on its way to members.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) seat: Arc<Seat>,
    answering: Arc<dyn Answering>,
    query: Arc<[u8]>,
    /// What has to be applied where it is answered.
    after: Option<Seen>,
    /// A member that cannot answer after this is not asked again; one that is at work is waited
    /// for.
    until: Option<Instant>,
}

impl Asker {
    /// Whoever answers is to have all of `after`.
    pub(crate) fn new(
        seat: Arc<Seat>,
        answering: Arc<dyn Answering>,
        query: &[u8],
        after: Option<Seen>,
    ) -> Asker {
        Asker { seat, answering, query: query.into(), after, until: None }
    }

    /// A member that cannot answer is asked again until then.
    pub(crate) fn until(self, until: Instant) -> Asker {
        Asker { until: Some(until), ..self }
    }

    fn is_late(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }

    /// Of a member's handle.
    pub(crate) fn of<S: Replicated>(
        group: &Group<S>,
        query: Result<Vec<u8>, EncodeError>,
    ) -> Result<Asker, AskError> {
        let query = query.map_err(|error| AskError::Encode(error.to_string()))?;
        if query.len() > LONGEST {
            return Err(AskError::TooLarge { size: query.len(), limit: LONGEST });
        }
        let shared = &group.shared;
        Ok(Asker::new(Arc::clone(&shared.seat), Arc::clone(shared) as _, &query, None))
    }

    /// Whoever answers is to have applied all that was applied or sent here before.
    pub(crate) async fn after_mine(&mut self) -> Result<(), AskError> {
        // What was sent and has no place in the order yet is in no cut: it gets one first.
        self.seat.flush()?.wait().await?;
        // Excluded since, this node knows no more how far that was: without it there is no order.
        self.after = Some(self.seat.seen().ok_or_else(|| self.over())?);
        Ok(())
    }

    /// Whoever answers is to have applied all that was completed anywhere before this.
    pub(crate) async fn linearizable(&mut self) -> Result<(), AskError> {
        barrier::pass(&self.seat, self.answering.is_total()).await?;
        self.after = Some(self.seat.seen().ok_or_else(|| self.over())?);
        Ok(())
    }

    /// The view, if this node has a part in it.
    pub(crate) fn view(&self) -> Result<View, AskError> {
        let status = self.seat.status();
        let view = status.view.clone();
        drop(status);
        view.ok_or_else(|| self.over())
    }

    /// Why this node has no part in a view.
    fn over(&self) -> AskError {
        let closed = self.seat.status().trouble.closed.clone();
        closed.map_or(GroupError::NoState, GroupError::NotApplied).into()
    }

    /// The view; it is waited for while this node is on its way back into the group.
    async fn next_view(&self) -> Result<View, AskError> {
        let mut views = Views::of(&self.seat);
        let closed = || GroupError::NotApplied(NotApplied::Closed).into();
        views.next().await.ok_or_else(closed)
    }

    /// Asks a member once.
    async fn once(&self, member: MemberId, share: (u32, u32)) -> Told {
        let ask = ToMember {
            group: self.seat.name.to_string(),
            schema: self.answering.schema(),
            member,
            share,
            line: line(&self.query, |id| self.answering.card().share(id)),
            after: self.after.clone(),
            query: self.query.to_vec(),
        };
        let here = self.seat.status().me == Some(member);
        let answer = match self.seat.rpc() {
            _ if here => asked::answer(&self.seat, &self.answering, &ask).await,
            Some(rpc) => match rpc.ask(PeerId(member.node.0), Ask::Member(ask)).await {
                Ok(answer) => answer,
                Err(_) => return Told::NotNow,
            },
            None => return Told::NotNow,
        };
        let why = match answer {
            Answer::Result { bytes, seen } => return Told::Answer(bytes, seen),
            Answer::BadQuery(why) => why,
            Answer::UnknownQuery { id } => format!("it knows no query {id:#x}"),
            Answer::NotUnderstood => "its release does not know the question".to_owned(),
            Answer::Type { there } => format!("what it has is `{there}`"),
            Answer::TooLarge { size, limit } => {
                format!("the answer has {size} bytes, the limit is {limit}")
            }
            _ => return Told::NotNow,
        };
        Told::Never(Missing::Refused(why))
    }

    /// Asks a member once, or until it is gone.
    async fn once_or_gone(&self, member: MemberId, share: (u32, u32)) -> Told {
        or_gone(&self.seat, member, self.once(member, share)).await
    }

    /// Asks a member until it has answered or is gone, or cannot answer when it is late.
    pub(crate) async fn insist(&self, member: MemberId, share: (u32, u32)) -> Told {
        let asking = async {
            loop {
                match self.once(member, share).await {
                    Told::NotNow if !self.is_late() => sleep(PAUSE).await,
                    told => return told,
                }
            }
        };
        or_gone(&self.seat, member, asking).await
    }

    /// Has a share done: by its own member first, and then by one after the other.
    pub(crate) async fn share(
        &self,
        first: MemberId,
        share: (u32, u32),
    ) -> Result<(Vec<u8>, Seen), AskError> {
        let (mut member, mut attempts) = (first, 0);
        loop {
            match self.once_or_gone(member, share).await {
                Told::Answer(bytes, seen) => return Ok((bytes, seen)),
                Told::Never(why @ Missing::Refused(_)) => {
                    return Err(AskError::NoAnswer { member, why });
                }
                Told::NotNow if self.is_late() => return Err(AskError::Timeout(vec![member])),
                Told::Never(_) | Told::NotNow => {}
            }
            attempts += 1;
            let view = match self.until {
                // One that is there is taken, however late it is.
                Some(until) => timeout_at(until, self.next_view())
                    .await
                    .unwrap_or_else(|_| Err(AskError::Timeout(vec![member])))?,
                None => self.next_view().await?,
            };
            let active = view.active();
            // In a view of one there is nobody else.
            let others = active.len().max(1);
            if attempts % others == 0 {
                sleep(PAUSE).await;
            }
            // Every share begins at another member, so that one does not get them all.
            if let Some(next) = active.get((share.0 as usize + attempts) % others) {
                member = next.id;
            }
        }
    }

    /// Makes one answer of those of all shares.
    pub(crate) fn gather(&self, shares: &[Vec<u8>]) -> Result<Vec<u8>, AskError> {
        self.answering
            .gather(&self.query, shares)
            .map_err(|error| AskError::Decode(error.to_string()))
    }

    /// Who is meant, or that nobody is.
    pub(crate) fn target(&self, target: Target) -> Result<MemberId, AskError> {
        let view = self.view()?;
        match target {
            Target::Rank(rank) => view.active().get(rank).map(|member| member.id),
            Target::Member(id) if view.rank_of(id).is_some() => Some(id),
            Target::Member(member) => match view.left().iter().find(|left| left.id == member) {
                Some(left) => {
                    return Err(AskError::NoAnswer { member, why: left.reason.into() });
                }
                None => None,
            },
        }
        .ok_or(AskError::NoSuchMember(target))
    }
}

impl From<Reason> for Missing {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Left => Missing::Left,
            Reason::Failed => Missing::Failed,
            Reason::Evicted => Missing::Excluded,
        }
    }
}

/// The value of an answer.
pub(crate) fn decoded<R: DeserializeOwned>(bytes: &[u8]) -> Result<R, AskError> {
    let mut rest = bytes;
    let value = codec::read::<R>(&mut rest).map_err(AskError::Decode)?;
    match rest.len() {
        0 => Ok(value),
        more => Err(AskError::Decode(format!("{more} bytes after the answer"))),
    }
}

/// Runs until it is done or late; not at all where it is late already.
pub(crate) async fn by<T>(deadline: Option<Instant>, work: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(deadline) if Instant::now() >= deadline => None,
        Some(deadline) => timeout_at(deadline, work).await.ok(),
        None => Some(work.await),
    }
}

/// A query that is being asked of members: of a [`QueryAt`](crate::QueryAt), a
/// [`Scatter`](crate::Scatter) or a [`ScatterSome`](crate::ScatterSome).
#[must_use = "futures do nothing unless polled"]
pub struct AskFuture<T>(Pin<Box<dyn Future<Output = Result<T, AskError>> + Send>>);

impl<T> AskFuture<T> {
    pub(crate) fn new(asking: impl Future<Output = Result<T, AskError>> + Send + 'static) -> Self {
        AskFuture(Box::pin(asking))
    }
}

impl<T> Future for AskFuture<T> {
    type Output = Result<T, AskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<T> fmt::Debug for AskFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AskFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use vsync_core::wire::{self, GroupId, NodeId};

    use super::*;
    use crate::directory::Directory;
    use crate::runtime::Command;
    use crate::runtime::replica::Shared;

    /// What was sent is stable, and then this node is excluded before it notes how far that was.
    #[tokio::test]
    async fn an_order_that_cannot_be_kept_is_not_dropped() {
        let (driver, mut commands) = mpsc::unbounded_channel();
        let seat = Arc::new(Seat::new("group".into(), 100, driver));
        seat.begin(GroupId(1), 1);
        let me = MemberId { node: NodeId(1), entry: 1 };
        let member = wire::Member { id: me, meta: bytes::Bytes::new(), nonce: 0, transfer: None };
        let view = wire::View { number: 1, active: 1, members: vec![member] };
        seat.installed(View::new(&view, &[], &[], &[]), Some(me));
        let shared = Arc::new(Shared::new(Arc::clone(&seat), Directory::default()));
        for excluded in [false, true] {
            let mut asker = Asker::new(Arc::clone(&seat), Arc::clone(&shared) as _, &[], None);
            let ordered = tokio::join!(asker.after_mine(), async {
                let Some(Command::Flush { tell, .. }) = commands.recv().await else {
                    panic!("it is flushed first")
                };
                if excluded {
                    seat.vacate();
                }
                tell.send(Ok(())).expect("it is waited for");
            });
            let expected = match excluded {
                true => Err(AskError::Membership(GroupError::NoState)),
                false => Ok(()),
            };
            assert_eq!(ordered.0, expected);
            assert_eq!(asker.after.is_none(), excluded);
        }
    }
}
