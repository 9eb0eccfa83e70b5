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
        let mut hired = Hired(Some(Arc::clone(seat)));
        tokio::spawn(async move {
            if let Some(seat) = hired.0.take() {
                seat.rounds.serve(|| round(&seat)).await;
            }
        });
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

    /// Goes on as long as somebody waits. Who comes during a round is told by the next one.
    async fn serve<F>(&self, mut round: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), GroupError>>,
    {
        let mut at_work = AtWork(Some(self));
        while let Some(mut waiting) = self.next() {
            let told = tokio::select! {
                biased;
                told = round() => told,
                () = all_gone(&mut waiting) => continue,
            };
            waiting.into_iter().for_each(|tell| drop(tell.send(told.clone())));
        }
        at_work.0 = None;
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

/// Somebody is to work, and has not begun: the runtime of whoever came first may end before that.
struct Hired(Option<Arc<Seat>>);

impl Drop for Hired {
    fn drop(&mut self) {
        if let Some(seat) = &self.0 {
            *seat.rounds.lock() = None;
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
        assert!(rounds.join(tell), "nobody is at work");
        let script = async {
            let end = begins.recv().await.expect("the first round");
            let (tell, mut second) = oneshot::channel();
            assert!(!rounds.join(tell));
            end.send(Ok(())).expect("waited for");
            assert_eq!(first.await, Ok(Ok(())));
            let end = begins.recv().await.expect("a round of its own");
            assert!(second.try_recv().is_err(), "it began before it was asked");
            end.send(Err(GroupError::NoState)).expect("waited for");
            assert_eq!(second.await, Ok(Err(GroupError::NoState)));
        };
        tokio::join!(rounds.serve(round), script);
        assert!(rounds.join(oneshot::channel().0), "nobody is at work any more");
    }

    #[tokio::test]
    async fn a_round_that_nobody_waits_for_makes_room_for_the_next() {
        let (rounds, (round, mut begins)) = (Rounds::default(), by_hand());
        let (tell, first) = oneshot::channel();
        rounds.join(tell);
        let script = async {
            let _open = begins.recv().await.expect("the first round");
            let (tell, second) = oneshot::channel();
            rounds.join(tell);
            drop(first);
            begins.recv().await.expect("the next").send(Ok(())).expect("waited for");
            assert_eq!(second.await, Ok(Ok(())));
        };
        tokio::join!(rounds.serve(round), script);
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("made")
    }

    /// What a query learns that is asked in a runtime of its own.
    fn ask(seat: &Arc<Seat>) -> Option<Result<(), GroupError>> {
        runtime().block_on(async {
            let mut asked = Box::pin(pass(seat, false));
            for _ in 0..100 {
                tokio::select! {
                    biased;
                    told = &mut asked => return Some(told),
                    () = tokio::task::yield_now() => {}
                }
            }
            None
        })
    }

    #[test]
    fn where_the_work_never_begins_nobody_waits_for_ever() {
        let seat = Arc::new(Seat::new("group".into(), 100, mpsc::unbounded_channel().0));
        let mut first = Box::pin(pass(&seat, false));
        let mut poll = |cx: &mut Context<'_>| first.as_mut().poll(cx);
        // Its runtime ends before anything else has a turn.
        let once = std::future::poll_fn(|cx| Poll::Ready(poll(cx).is_pending()));
        assert!(runtime().block_on(once));
        drop(first);
        assert_eq!(ask(&seat), Some(Err(GroupError::NoState)));
        // There is no runtime.
        let outside = std::panic::AssertUnwindSafe(|| {
            let mut asked = Box::pin(pass(&seat, false));
            asked.as_mut().poll(&mut Context::from_waker(std::task::Waker::noop())).is_pending()
        });
        assert!(std::panic::catch_unwind(outside).is_err());
        assert_eq!(ask(&seat), Some(Err(GroupError::NoState)));
    }

    #[tokio::test]
    async fn where_the_work_ends_early_nobody_waits_for_ever() {
        let (rounds, (round, mut begins)) = (Rounds::default(), by_hand());
        let (tell, running) = oneshot::channel();
        rounds.join(tell);
        let (tell, next) = oneshot::channel();
        let begun = async {
            let open = begins.recv().await;
            assert!(!rounds.join(tell));
            open
        };
        tokio::select! {
            biased;
            () = rounds.serve(round) => panic!("somebody waits"),
            open = begun => assert!(open.is_some()),
        }
        assert!(running.await.is_err() && next.await.is_err());
        assert!(rounds.join(oneshot::channel().0), "nobody is at work any more");
    }
}
