//! [`Scatter`]: a query whose work the members divide.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::ask::{AskFuture, Asker, Missing, Told, by, decoded};
use crate::error::AskError;
use crate::group::Group;
use crate::replicated::{EncodeError, Replicated};
use crate::seen::Seen;
use crate::view::{MemberId, View};

/// A query whose work the active members divide: each does its share, by rank, and the answers are
/// gathered in that order. It is asked when this is awaited.
///
/// `.await` waits for all shares and gathers them. A member that fails, leaves or is excluded
/// meanwhile has its share, and only that, done by another; so the answer is whole. What each
/// member read is stable when it answers. The members read at moments of their own: between two
/// shares an update may have been applied. To ask for the members' separate answers, or for fewer
/// of them, use [`first`](Scatter::first), [`majority`](Scatter::majority),
/// [`count`](Scatter::count), [`each`](Scatter::each) or [`until`](Scatter::until).
///
/// A member that stays and never answers, since a method of its type never returns, is waited for
/// as long as it stays: [`timeout`](Scatter::timeout) bounds the wait.
#[must_use = "nothing is asked before this is awaited"]
pub struct Scatter<S: Replicated, R> {
    group: Group<S>,
    query: Result<Vec<u8>, EncodeError>,
    after_mine: bool,
    timeout: Option<Duration>,
    result: PhantomData<fn() -> R>,
}

impl<S: Replicated, R> Scatter<S, R> {
    pub(crate) fn new(group: Group<S>, query: Result<Vec<u8>, EncodeError>) -> Self {
        Scatter { group, query, after_mine: false, timeout: None, result: PhantomData }
    }

    /// All shares, gathered: what is waited for unless something else is said.
    pub fn all(self) -> Self {
        self
    }

    /// Each member answers from a state in which everything is applied that was applied here, or
    /// sent from here, before it was asked: see [`QueryAt`](crate::QueryAt::after_mine).
    pub fn after_mine(mut self) -> Self {
        self.after_mine = true;
        self
    }

    /// Gives up after `limit`, with [`AskError::Timeout`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// The first answer that comes.
    pub fn first(self) -> ScatterSome<S, R> {
        self.count(1)
    }

    /// The answers of more than half of the active members.
    pub fn majority(self) -> ScatterSome<S, R> {
        self.some(Until::Majority)
    }

    /// The answers of so many members; of all, if there are fewer. For 0 nobody is asked.
    pub fn count(self, answers: usize) -> ScatterSome<S, R> {
        self.some(Until::Count(answers))
    }

    /// The answers of all members, one by one, and why one has none.
    pub fn each(self) -> ScatterSome<S, R> {
        self.count(usize::MAX)
    }

    /// Answers until `enough` says so of those that are there, in the order in which they came.
    pub fn until(
        self,
        enough: impl FnMut(&[(MemberId, R)]) -> bool + Send + 'static,
    ) -> ScatterSome<S, R> {
        self.some(Until::Enough(Box::new(enough)))
    }

    fn some(self, until: Until<R>) -> ScatterSome<S, R> {
        let Scatter { group, query, after_mine, timeout, .. } = self;
        ScatterSome { group, query, until, after_mine, timeout }
    }
}

impl<S: Replicated, R: DeserializeOwned + Send + 'static> IntoFuture for Scatter<S, R> {
    type Output = Result<R, AskError>;
    type IntoFuture = AskFuture<R>;

    fn into_future(self) -> Self::IntoFuture {
        AskFuture::new(async move {
            let deadline = self.timeout.map(|limit| Instant::now() + limit);
            let mut asker = Asker::of(&self.group, self.query)?;
            let view = asker.view()?;
            if self.after_mine {
                let ordered = by(deadline, asker.after_mine()).await;
                ordered.unwrap_or_else(|| Err(AskError::Timeout(ids(&view))))?;
            }
            let (shares, _) = all(&asker, &view, deadline).await?;
            decoded(&asker.gather(&shares)?)
        })
    }
}

/// The active members, by rank.
pub(crate) fn ids(view: &View) -> Vec<MemberId> {
    view.active().iter().map(|member| member.id).collect()
}

/// A number of shares, as it travels: a view has fewer members than that.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// The answers to all shares, by rank, and what there was in the states that they are from.
pub(crate) async fn all(
    asker: &Asker,
    view: &View,
    deadline: Option<Instant>,
) -> Result<(Vec<Vec<u8>>, Seen), AskError> {
    let members = ids(view);
    let mut answers: Vec<Option<Vec<u8>>> = vec![None; members.len()];
    let mut all_seen = Seen::default();
    let mut asking = JoinSet::new();
    for (rank, &member) in members.iter().enumerate() {
        let (asker, share) = (asker.clone(), (number(rank), number(members.len())));
        asking.spawn(async move { (rank, asker.share(member, share).await) });
    }
    loop {
        match by(deadline, asking.join_next()).await {
            Some(Some(Ok((rank, answer)))) => {
                let (bytes, seen) = answer?;
                all_seen.raise(&seen);
                answers[rank] = Some(bytes);
            }
            // Nothing of ours panics there: queries are caught where they run.
            Some(Some(Err(_))) => {}
            Some(None) => break,
            None => {
                let missing = members.iter().zip(&answers).filter(|(_, answer)| answer.is_none());
                return Err(AskError::Timeout(missing.map(|(&member, _)| member).collect()));
            }
        }
    }
    let missing = members.iter().zip(&answers).find(|(_, answer)| answer.is_none());
    match missing {
        Some((&member, _)) => Err(AskError::NoAnswer { member, why: Missing::Gone }),
        None => Ok((answers.into_iter().flatten().collect(), all_seen)),
    }
}

/// Says whether the answers that are there are enough.
pub(crate) type Enough<R> = Box<dyn FnMut(&[(MemberId, R)]) -> bool + Send>;

/// How many answers are enough.
pub(crate) enum Until<R> {
    Majority,
    Count(usize),
    Enough(Enough<R>),
}

impl<R> Until<R> {
    /// Whether no answer is wanted at all, whoever the members are.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(self, Until::Count(0))
    }

    fn is_met(&mut self, answers: &[(MemberId, R)], members: usize) -> bool {
        match self {
            Until::Majority => answers.len() > members / 2,
            Until::Count(count) => answers.len() >= *count,
            Until::Enough(enough) => enough(answers),
        }
    }
}

/// A scattered query of which not all answers are waited for, or each by itself. Each member is
/// asked for its own share; nobody does another's.
#[must_use = "nothing is asked before this is awaited"]
pub struct ScatterSome<S: Replicated, R> {
    group: Group<S>,
    query: Result<Vec<u8>, EncodeError>,
    until: Until<R>,
    after_mine: bool,
    timeout: Option<Duration>,
}

/// The answers of some members, and why others have none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Scattered<R> {
    /// Who answered what, by rank.
    pub answers: Vec<(MemberId, R)>,
    /// Who did not, by rank.
    pub missing: Vec<(MemberId, Missing)>,
}

impl<S: Replicated, R> ScatterSome<S, R> {
    /// Waits no longer than this: who has not answered then is [`Missing::Late`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// As [`Scatter::after_mine`].
    pub fn after_mine(mut self) -> Self {
        self.after_mine = true;
        self
    }
}

impl<S: Replicated, R: DeserializeOwned + Send + 'static> IntoFuture for ScatterSome<S, R> {
    type Output = Result<Scattered<R>, AskError>;
    type IntoFuture = AskFuture<Scattered<R>>;

    fn into_future(self) -> Self::IntoFuture {
        AskFuture::new(async move {
            let deadline = self.timeout.map(|limit| Instant::now() + limit);
            let mut asker = Asker::of(&self.group, self.query)?;
            let members = ids(&asker.view()?);
            if self.after_mine && by(deadline, asker.after_mine()).await.transpose()?.is_none() {
                let late = |member| (member, Missing::Late);
                let missing = members.into_iter().map(late).collect();
                return Ok(Scattered { answers: Vec::new(), missing });
            }
            let ask = |member, share| {
                let asker = asker.clone();
                async move { Ok(asker.insist(member, share).await) }
            };
            some(&members, self.until, deadline, ask, decoded).await
        })
    }
}

/// Asks each for its share, until there is enough, or nobody is left to answer.
pub(crate) async fn some<R, E, F>(
    members: &[MemberId],
    mut until: Until<R>,
    deadline: Option<Instant>,
    ask: impl Fn(MemberId, (u32, u32)) -> F,
    decode: impl Fn(&[u8]) -> Result<R, E>,
) -> Result<Scattered<R>, E>
where
    F: Future<Output = Result<Told, E>> + Send + 'static,
    E: Send + 'static,
{
    let (mut answers, mut missing): (Vec<(MemberId, R)>, Vec<_>) = (Vec::new(), Vec::new());
    let mut rest = Missing::NotNeeded;
    let mut asking = JoinSet::new();
    let mut enough = until.is_met(&answers, members.len());
    if !enough {
        for (rank, &member) in members.iter().enumerate() {
            let told = ask(member, (number(rank), number(members.len())));
            asking.spawn(async move { (member, told.await) });
        }
    }
    while !enough {
        match by(deadline, asking.join_next()).await {
            Some(Some(Ok((member, told)))) => match told? {
                Told::Answer(bytes, _) => {
                    answers.push((member, decode(&bytes)?));
                    enough = until.is_met(&answers, members.len());
                }
                Told::Never(why) => missing.push((member, why)),
                Told::NotNow => {}
            },
            // Nothing of ours panics there: queries are caught where they run.
            Some(Some(Err(_))) => {}
            Some(None) => {
                rest = Missing::Gone;
                break;
            }
            None => {
                rest = Missing::Late;
                break;
            }
        }
    }
    for &member in members {
        let known = answers.iter().any(|(it, _)| *it == member);
        if !known && !missing.iter().any(|(it, _)| *it == member) {
            missing.push((member, rest.clone()));
        }
    }
    let rank = |member: &MemberId| members.iter().position(|it| it == member);
    answers.sort_by_key(|(member, _)| rank(member));
    missing.sort_by_key(|(member, _)| rank(member));
    Ok(Scattered { answers, missing })
}

impl<S: Replicated, R> fmt::Debug for Scatter<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scatter").field("group", &self.group.name()).finish_non_exhaustive()
    }
}

impl<S: Replicated, R> fmt::Debug for ScatterSome<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScatterSome").field("group", &self.group.name()).finish_non_exhaustive()
    }
}
