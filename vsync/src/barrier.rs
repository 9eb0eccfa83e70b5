//! [`pass`]: what a linearizable query waits for before it reads.
//!
//! It is to find every update that was completed, that is stable and told so, anywhere in the group
//! before it began. Two things bring that about:
//!
//! - A total update without content, sent from here, becomes stable. Then the view in which it was
//!   delivered was the latest one when it was sent: a quorum of it has acknowledged what is newer
//!   than the query, and no quorum does so that has promised another view before. So whatever was
//!   completed is of that view or of an earlier one. All of the earlier ones is here. Of this one
//!   the totals are, since those were given their positions before; fifo and causal updates have no
//!   place before a total of another sender.
//! - So, if the type has such updates, every active member of the view is asked how far it is, and
//!   this one waits until it has as much. Who has completed an update, or has shown it, has applied
//!   it. Who goes before it answers is gone with a new view, which has all that it had completed.
//!
//! Both go on at the same time. Where a view comes in between its members are asked once more.
//!
//! A query that is asked while another one waits for all that waits for the next time, with whoever
//! else has come by then ([`Rounds`]): what began after it was asked is late enough for it.

#[cfg(test)]
mod tests;

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use vsync_net::PeerId;

use crate::ask::{PAUSE, Told, or_gone};
use crate::error::{GroupError, NotApplied, Unknown};
use crate::group::Views;
use crate::runtime::inner::Inner;
use crate::runtime::rpc::{Answer, Ask};
use crate::runtime::seat::Seat;
use crate::seen::Seen;
use crate::view::{MemberId, View};

/// Waits until what is applied here has in it all that was completed anywhere before.
///
/// # Errors
/// If this node is excluded meanwhile, or its membership is over: it knows nothing then. If the
/// work for all who wait came to nothing.
pub(crate) async fn pass(seat: &Arc<Seat>, is_total: bool) -> Result<(), GroupError> {
    if is_total {
        // Those of queries that are asked together share a batch.
        return ordered(seat).await;
    }
    let (tell, told) = oneshot::channel();
    if let Some(work) = seat.rounds().join(tell) {
        let (here, rpc) = (Arc::clone(seat), seat.rpc());
        let work = async move { work.serve(|| round(&here)).await };
        // Others will wait for it, and whoever asks may do so in a runtime that runs no longer.
        match rpc {
            Some(rpc) => rpc.spawn(work),
            None => drop(tokio::spawn(work)),
        }
    }
    told.await.unwrap_or_else(|_| Err(interrupted(seat)))
}

/// Nobody is at work any more, by a panic or since the runtime ends, perhaps with the membership.
fn interrupted(seat: &Seat) -> GroupError {
    match seat.status().trouble.closed.clone() {
        Some(why) => GroupError::NotApplied(why),
        None => GroupError::Unknown(Unknown::Interrupted),
    }
}

type Tell = oneshot::Sender<Result<(), GroupError>>;

/// Those who wait for the next round; `None` where nobody is at work.
type Waiting = Mutex<Option<Vec<Tell>>>;

/// Those who wait for the same at one node, in one group: all for the next time that it is brought
/// about, which nobody has begun yet. In most groups nobody ever does.
#[derive(Debug, Default)]
pub(crate) struct Rounds(OnceLock<Arc<Waiting>>);

impl Rounds {
    /// One more; the work for all of them, where nobody is at it.
    fn join(&self, tell: Tell) -> Option<AtWork> {
        let shared = self.0.get_or_init(Arc::default);
        let mut waiting = lock(shared);
        let begins = waiting.is_none();
        let next = waiting.get_or_insert_default();
        // A round may take for ever: whoever asks again and again meanwhile leaves nothing here.
        if next.len() == next.capacity() {
            next.retain(|tell| !tell.is_closed());
        }
        next.push(tell);
        begins.then(|| AtWork { waiting: Arc::clone(shared), done: false })
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, Option<Vec<Tell>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who is at work for those that wait. Dropped before it is done, by a panic or as the runtime
/// ends, perhaps before it has begun, it tells them so.
struct AtWork {
    waiting: Arc<Waiting>,
    done: bool,
}

impl AtWork {
    /// Those for whom the next one is, now that it begins; none, and nobody is at work any more,
    /// where nobody waits.
    fn next(&mut self) -> Option<Vec<Tell>> {
        let mut waiting = lock(&self.waiting);
        let next = mem::take(waiting.as_mut()?);
        let next: Vec<Tell> = next.into_iter().filter(|tell| !tell.is_closed()).collect();
        if next.is_empty() {
            *waiting = None;
            self.done = true;
        }
        (!next.is_empty()).then_some(next)
    }

    /// Goes on as long as somebody waits. Who comes during a round is told by the next one.
    async fn serve<F>(mut self, mut round: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), GroupError>>,
    {
        while let Some(mut waiting) = self.next() {
            let told = tokio::select! {
                biased;
                told = round() => told,
                () = all_gone(&mut waiting) => continue,
            };
            waiting.into_iter().for_each(|tell| drop(tell.send(told.clone())));
        }
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        if !self.done {
            let told = lock(&self.waiting).take();
            drop(told);
        }
    }
}

/// All of them have given up.
async fn all_gone(waiting: &mut [Tell]) {
    for tell in waiting {
        tell.closed().await;
    }
}

/// What they wait for, once.
async fn round(seat: &Arc<Seat>) -> Result<(), GroupError> {
    let before = view(seat)?;
    let me = seat.status().me.ok_or(GroupError::NoState)?;
    let done = async {
        tokio::try_join!(ordered(seat), all_of(seat, me, &before))?;
        let after = view(seat)?;
        match before.number() == after.number() {
            true => Ok(()),
            false => all_of(seat, me, &after).await,
        }
    };
    tokio::select! {
        biased;
        done = done => done,
        why = over(seat, me) => Err(why),
    }
}

/// What is installed here.
fn view(seat: &Seat) -> Result<View, GroupError> {
    let status = seat.status();
    let over = || status.trouble.closed.clone().map_or(GroupError::NoState, GroupError::NotApplied);
    status.view.clone().ok_or_else(over)
}

/// Waits for a place in the order, until that is stable.
async fn ordered(seat: &Arc<Seat>) -> Result<(), GroupError> {
    let Some(sending) = Inner::Barrier.sending(false) else {
        return Err(GroupError::NotApplied(NotApplied::Encode("nothing".to_owned())));
    };
    seat.order(sending).map_err(GroupError::NotApplied)?.told().await.map(drop)
}

/// Waits until this member has all that the active members of a view have now.
async fn all_of(seat: &Arc<Seat>, me: MemberId, view: &View) -> Result<(), GroupError> {
    let mut asking = JoinSet::new();
    for member in view.active().iter().filter(|member| member.id != me) {
        let (seat, member) = (Arc::clone(seat), member.id);
        asking.spawn(async move { far(&seat, member).await });
    }
    let mut all = Seen::default();
    while let Some(told) = asking.join_next().await {
        raise(&mut all, told)?;
    }
    // Whoever is gone has taken along nothing that was completed: the next view has all of it.
    seat.has_seen(&all).await;
    Ok(())
}

/// A member has said how far it is, or is gone: then it is not asked for more. Where the question
/// itself came to nothing it may be neither.
fn raise(all: &mut Seen, told: Result<Option<Seen>, JoinError>) -> Result<(), GroupError> {
    match told {
        Ok(Some(seen)) => all.raise(&seen),
        Ok(None) => {}
        Err(_) => return Err(GroupError::Unknown(Unknown::Interrupted)),
    }
    Ok(())
}

/// Waits until this node is that member no longer: what it waits for may never come then.
async fn over(seat: &Seat, me: MemberId) -> GroupError {
    // Heard of from here on, or over already.
    let mut events = Views::of(seat);
    while seat.status().me == Some(me) {
        match events.next_event().await {
            Some(_) => {}
            None => return GroupError::NotApplied(NotApplied::Closed),
        }
    }
    match seat.status().trouble.closed.clone() {
        Some(why) => GroupError::NotApplied(why),
        None => GroupError::Unknown(Unknown::Excluded),
    }
}

/// How far a member is; `None` if it is gone.
async fn far(seat: &Seat, member: MemberId) -> Option<Seen> {
    let asking = async {
        loop {
            let ask = Ask::Seen { group: seat.name.to_string(), member };
            let answer = match seat.rpc() {
                Some(rpc) => rpc.ask(PeerId(member.node.0), ask).await.ok(),
                None => None,
            };
            match answer {
                Some(Answer::Seen(seen)) => return Told::Answer(Vec::new(), seen),
                _ => sleep(PAUSE).await,
            }
        }
    };
    match or_gone(seat, member, asking).await {
        Told::Answer(_, seen) => Some(seen),
        _ => None,
    }
}
