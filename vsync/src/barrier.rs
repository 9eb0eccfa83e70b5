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
    if let Some(work) = seat.rounds().join(tell) {
        let (here, rpc) = (Arc::clone(seat), seat.rpc());
        let work = async move { work.serve(|| round(&here)).await };
        // Others will wait for it, and whoever asks may do so in a runtime that runs no longer.
        match rpc {
            Some(rpc) => rpc.spawn(work),
            None => drop(tokio::spawn(work)),
        }
    }
    told.await.unwrap_or(Err(GroupError::NotApplied(NotApplied::Closed)))
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
        why = excluded(seat, me) => Err(why),
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::sync::mpsc;

    use super::*;

    type End = oneshot::Sender<Result<(), GroupError>>;

    /// Rounds that end when they are told to; each that begins is handed out.
    fn by_hand() -> (impl FnMut() -> Ended, mpsc::UnboundedReceiver<End>) {
        let (begun, begins) = mpsc::unbounded_channel();
        let round = move || {
            let (end, ended) = oneshot::channel();
            begun.send(end).expect("looked at");
            Ended(ended)
        };
        (round, begins)
    }

    struct Ended(oneshot::Receiver<Result<(), GroupError>>);

    impl Future for Ended {
        type Output = Result<(), GroupError>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            Pin::new(&mut self.0).poll(cx).map(|told| told.expect("ended"))
        }
    }

    #[tokio::test]
    async fn who_comes_during_a_round_is_told_by_the_next() {
        let (rounds, (round, mut begins)) = (Rounds::default(), by_hand());
        let (tell, first) = oneshot::channel();
        let work = rounds.join(tell).expect("nobody is at work");
        let script = async {
            let end = begins.recv().await.expect("the first round");
            let (tell, mut second) = oneshot::channel();
            assert!(rounds.join(tell).is_none());
            end.send(Ok(())).expect("waited for");
            assert_eq!(first.await, Ok(Ok(())));
            let end = begins.recv().await.expect("a round of its own");
            assert!(second.try_recv().is_err(), "it began before it was asked");
            end.send(Err(GroupError::NoState)).expect("waited for");
            assert_eq!(second.await, Ok(Err(GroupError::NoState)));
        };
        tokio::join!(work.serve(round), script);
        assert!(rounds.join(oneshot::channel().0).is_some(), "nobody is at work any more");
    }

    #[tokio::test]
    async fn a_round_that_nobody_waits_for_makes_room_for_the_next() {
        let (rounds, (round, mut begins)) = (Rounds::default(), by_hand());
        let (tell, first) = oneshot::channel();
        let work = rounds.join(tell).expect("nobody is at work");
        let script = async {
            let _open = begins.recv().await.expect("the first round");
            let (tell, second) = oneshot::channel();
            assert!(rounds.join(tell).is_none());
            drop(first);
            begins.recv().await.expect("the next").send(Ok(())).expect("waited for");
            assert_eq!(second.await, Ok(Ok(())));
        };
        tokio::join!(work.serve(round), script);
    }

    #[tokio::test]
    async fn where_the_work_ends_early_nobody_waits_for_ever() {
        let (rounds, (round, mut begins)) = (Rounds::default(), by_hand());
        let (tell, running) = oneshot::channel();
        let work = rounds.join(tell).expect("nobody is at work");
        let (tell, next) = oneshot::channel();
        let begun = async {
            let open = begins.recv().await;
            assert!(rounds.join(tell).is_none());
            open
        };
        tokio::select! {
            biased;
            () = work.serve(round) => panic!("somebody waits"),
            open = begun => assert!(open.is_some()),
        }
        assert!(running.await.is_err() && next.await.is_err());
        assert!(rounds.join(oneshot::channel().0).is_some(), "nobody is at work any more");
    }

    /// A task of a runtime that ends may never be polled.
    #[tokio::test]
    async fn work_that_never_begins_is_over_as_well() {
        let (rounds, (tell, told)) = (Rounds::default(), oneshot::channel());
        let work = rounds.join(tell).expect("nobody is at work");
        drop(work.serve(|| std::future::ready(Ok(()))));
        assert!(told.await.is_err());
        assert!(rounds.join(oneshot::channel().0).is_some(), "nobody is at work any more");
    }

    #[test]
    fn whoever_asks_again_and_again_during_a_round_leaves_nothing() {
        let (rounds, (tell, _first)) = (Rounds::default(), oneshot::channel());
        let mut work = rounds.join(tell).expect("nobody is at work");
        let _round = work.next();
        let (tell, _patient) = oneshot::channel();
        assert!(rounds.join(tell).is_none());
        for _ in 0..1000 {
            assert!(rounds.join(oneshot::channel().0).is_none());
        }
        let waiting = lock(&work.waiting).as_ref().map_or(0, Vec::len);
        assert!(waiting < 10, "{waiting} are kept");
        assert_eq!(work.next().map(|next| next.len()), Some(1));
    }
}
