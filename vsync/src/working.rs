//! [`Works`]: work on queries that takes longer than a client waits for one answer.
//!
//! After its patience for one question a client is told that its query is being worked on, and under
//! which number it asks again. So it knows that the member is there, and goes to no other; the member
//! knows that somebody still wants the answer; and the work is done once, however long it takes. Who
//! does not ask again wants no answer: the work is dropped.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use vsync_net::PeerId;

use crate::gateway::PATIENCE;
use crate::runtime::rpc::Answer;

/// How long work goes on that nobody asks for: the question is on its way.
const WANTED: Duration = Duration::from_secs(5);

/// The works whose clients were told to ask again, and have not yet.
#[derive(Debug, Default)]
pub(crate) struct Works {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: u64,
    /// Who may ask, and who is told the question's number.
    works: HashMap<u64, (PeerId, oneshot::Sender<u64>)>,
}

impl Works {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has work done for whoever has asked for it by question `id`: that is answered by `until`, and
    /// each later one after as long a time. `answer` answers the question of a number.
    pub(crate) async fn see_to(
        &self,
        (client, mut id): (PeerId, u64),
        mut until: Instant,
        work: impl Future<Output = Answer> + Send + 'static,
        answer: impl Fn(u64, Answer),
    ) {
        // A task of its own, since it may keep its thread; it ends with this one.
        let mut working = JoinSet::new();
        working.spawn(work);
        loop {
            match timeout_at(until, working.join_next()).await {
                Ok(Some(Ok(done))) => return answer(id, done),
                // Nothing of ours panics there: queries are caught where they run.
                Ok(_) => return answer(id, Answer::Unavailable("the node ends".to_owned())),
                Err(_) => {}
            }
            let (tell, mut listen) = oneshot::channel();
            let number = self.tell(client, tell);
            answer(id, Answer::Working(number));
            let again = match timeout(WANTED, &mut listen).await {
                Ok(again) => again,
                Err(_) if self.told().works.remove(&number).is_some() => return,
                // Asked just now.
                Err(_) => listen.await,
            };
            let Ok(again) = again else { return };
            (id, until) = (again, Instant::now() + PATIENCE);
        }
    }

    fn tell(&self, client: PeerId, tell: oneshot::Sender<u64>) -> u64 {
        let mut told = self.told();
        told.last += 1;
        let number = told.last;
        told.works.insert(number, (client, tell));
        number
    }

    /// The client asks again for the work of this number, by question `id`. `false` if there is none
    /// for it: it was dropped, or was done by a node that this one was before.
    pub(crate) fn again(&self, client: PeerId, number: u64, id: u64) -> bool {
        let mut told = self.told();
        let known = told.works.get(&number).is_some_and(|(asked, _)| *asked == client);
        known && told.works.remove(&number).is_some_and(|(_, tell)| tell.send(id).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    const CLIENT: PeerId = PeerId(7);

    /// Says when what it is in is dropped.
    struct Dropped(Arc<AtomicBool>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Work that ends when it is told to; what is answered; and whether it was dropped.
    fn begin(
        works: &Arc<Works>,
    ) -> (oneshot::Sender<Answer>, mpsc::UnboundedReceiver<(u64, Answer)>, Arc<AtomicBool>) {
        let (finish, finished) = oneshot::channel();
        let (tell, answers) = mpsc::unbounded_channel();
        let (works, is_dropped) = (Arc::clone(works), Arc::new(AtomicBool::new(false)));
        let dropped = Dropped(Arc::clone(&is_dropped));
        let work = async move {
            let _dropped = dropped;
            finished.await.expect("it is told what to answer")
        };
        tokio::spawn(async move {
            let answer = |id, answer| drop(tell.send((id, answer)));
            works.see_to((CLIENT, 1), Instant::now() + PATIENCE, work, answer).await;
        });
        (finish, answers, is_dropped)
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_again_is_told_until_it_is_done() {
        let works = Arc::new(Works::default());
        let (finish, mut answers, dropped) = begin(&works);
        for id in 1..=3 {
            let Some((told, Answer::Working(number))) = answers.recv().await else {
                panic!("it is not done")
            };
            assert_eq!(told, id);
            assert!(!works.again(PeerId(8), number, 9), "that is another client's");
            assert!(!works.again(CLIENT, number + 1, 9), "there is no such work");
            assert!(works.again(CLIENT, number, id + 1));
            assert!(!works.again(CLIENT, number, 9), "it was asked for");
        }
        finish.send(Answer::NoSuchGroup).expect("it is waited for");
        assert_eq!(answers.recv().await, Some((4, Answer::NoSuchGroup)));
        assert_eq!(answers.recv().await, None, "once");
        assert!(dropped.load(Ordering::SeqCst) && works.told().works.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_again_is_dropped() {
        let works = Arc::new(Works::default());
        let (finish, mut answers, dropped) = begin(&works);
        let Some((1, Answer::Working(number))) = answers.recv().await else {
            panic!("it is not done")
        };
        assert!(!dropped.load(Ordering::SeqCst));
        assert_eq!(answers.recv().await, None, "nothing more is said");
        tokio::task::yield_now().await;
        assert!(dropped.load(Ordering::SeqCst) && finish.is_closed());
        assert!(!works.again(CLIENT, number, 2), "too late");
    }
}
