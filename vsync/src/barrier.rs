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

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::oneshot;
use tokio::task::JoinSet;
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
/// If this node is excluded meanwhile, or its membership is over: it knows nothing then.
pub(crate) async fn pass(seat: &Arc<Seat>, is_total: bool) -> Result<(), GroupError> {
    if is_total {
        // Those of queries that are asked together share a batch.
        return ordered(seat).await;
    }
    let (tell, told) = oneshot::channel();
    if seat.rounds.join(tell) {
        tokio::spawn(rounds(Arc::clone(seat)));
    }
    told.await.unwrap_or(Err(GroupError::NotApplied(NotApplied::Closed)))
}

type Tell = oneshot::Sender<Result<(), GroupError>>;

/// Those who wait for the same at one node, in one group: all for the next time that it is brought
/// about, which nobody has begun yet. In most groups nobody ever does.
#[derive(Debug, Default)]
pub(crate) struct Rounds(OnceLock<Box<Mutex<Option<Vec<Tell>>>>>);

impl Rounds {
    fn lock(&self) -> MutexGuard<'_, Option<Vec<Tell>>> {
        self.0.get_or_init(Box::default).lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more; whether nobody is at work for them.
    fn join(&self, tell: Tell) -> bool {
        let mut waiting = self.lock();
        let begins = waiting.is_none();
        waiting.get_or_insert_default().push(tell);
        begins
    }

    /// Those for whom the next one is, now that it begins; none, and nobody is at work any more,
    /// where nobody waits.
    fn next(&self) -> Option<Vec<Tell>> {
        let mut waiting = self.lock();
        let next = mem::take(waiting.as_mut()?);
        let next: Vec<Tell> = next.into_iter().filter(|tell| !tell.is_closed()).collect();
        if next.is_empty() {
            *waiting = None;
        }
        (!next.is_empty()).then_some(next)
    }
}

/// Nobody is at work any more, by a panic or as the runtime ends: those who wait are told so.
struct AtWork<'a>(Option<&'a Rounds>);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some(rounds) = self.0 {
            *rounds.lock() = None;
        }
    }
}

/// Goes on as long as somebody waits.
async fn rounds(seat: Arc<Seat>) {
    let mut at_work = AtWork(Some(&seat.rounds));
    while let Some(mut waiting) = seat.rounds.next() {
        let told = tokio::select! {
            biased;
            told = round(&seat) => told,
            () = all_gone(&mut waiting) => continue,
        };
        waiting.into_iter().for_each(|tell| drop(tell.send(told.clone())));
    }
    at_work.0 = None;
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
        why = excluded(seat, me) => Err(why),
    }
}

/// What is installed here.
fn view(seat: &Seat) -> Result<View, GroupError> {
    let status = seat.status();
    let over = || status.closed.clone().map_or(GroupError::NoState, GroupError::NotApplied);
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
        if let Ok(Some(seen)) = told {
            all.raise(&seen);
        }
    }
    // Whoever is gone has taken along nothing that was completed: the next view has all of it.
    seat.has_seen(&all).await;
    Ok(())
}

/// Waits until this node is that member no longer: what it waits for may never come then.
async fn excluded(seat: &Seat, me: MemberId) -> GroupError {
    // Heard of from here on, or over already.
    let mut events = Views::of(seat);
    while seat.status().me == Some(me) {
        match events.next_event().await {
            Some(_) => {}
            None => return GroupError::NotApplied(NotApplied::Closed),
        }
    }
    GroupError::Unknown(Unknown::Excluded)
}

/// How far a member is; `None` if it is gone.
async fn far(seat: &Seat, member: MemberId) -> Option<Seen> {
    let asking = async {
        loop {
            let ask = Ask::Seen { group: seat.name.to_string(), member };
            let answer = match seat.rpc.get() {
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
