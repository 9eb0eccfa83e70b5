//! [`Works`]: work on queries that takes longer than a client waits for one answer.
//!
//! After its patience for one question a client is told that its query is being worked on, and
//! under which number it asks again. So it knows that the member is there, and goes to no other;
//! the member knows that somebody still wants the answer; and the work is done once, however long
//! it takes. Who does not ask again wants no answer: the work is dropped.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use vsync_net::PeerId;

use crate::gateway::PATIENCE;
use crate::runtime::rpc::{Answer, SMALL};

/// How long work goes on that nobody asks for: the question is on its way.
const WANTED: Duration = Duration::from_secs(5);
/// Most bytes of answers that are there, and that their clients have not asked for again, or have
/// no room for.
const HELD: usize = 128 << 20;
/// The pause before it is looked again whether there is room for an answer.
const ROOM: Duration = Duration::from_millis(5);

/// The works whose clients were told to ask again, and have not yet; and what came of works.
#[derive(Debug)]
pub(crate) struct Works {
    told: Mutex<Told>,
    held: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Told {
    last: u64,
    /// Who may ask, and who is told the question's number.
    works: HashMap<u64, (PeerId, oneshot::Sender<u64>)>,
}

/// An answer, and the room that it takes here.
struct Done(Answer, Option<OwnedSemaphorePermit>);

impl Done {
    fn new(answer: Answer, held: &Arc<Semaphore>) -> Done {
        if answer.size() <= SMALL {
            return Done(answer, None);
        }
        let bytes = u32::try_from(answer.size()).unwrap_or(u32::MAX);
        match Arc::clone(held).try_acquire_many_owned(bytes) {
            Ok(room) => Done(answer, Some(room)),
            Err(_) => Done(Answer::unread(), None),
        }
    }
}

impl Works {
    pub(crate) fn new() -> Works {
        Works::holding(HELD)
    }

    /// So many bytes of answers are held at most.
    fn holding(bytes: usize) -> Works {
        Works { told: Mutex::default(), held: Arc::new(Semaphore::new(bytes)) }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has work done for whoever has asked for it by question `id`: that is answered by `until`,
    /// and each later one after as long a time. `answer` answers the question of a number; it gives
    /// the answer back where the client has no room for it yet.
    pub(crate) async fn see_to(
        &self,
        (client, mut id): (PeerId, u64),
        mut until: Instant,
        work: impl Future<Output = Answer> + Send + 'static,
        answer: impl Fn(u64, Answer) -> Option<Answer>,
    ) {
        // A client without room for a word reads nothing, and waits for nothing.
        let say = |id, word| drop(answer(id, word));
        let held = Arc::clone(&self.held);
        // A task of its own, since it may keep its thread; it ends with this one.
        let mut working = JoinSet::new();
        working.spawn(async move { Done::new(work.await, &held) });
        loop {
            match timeout_at(until, working.join_next()).await {
                Ok(Some(Ok(Done(done, room)))) => {
                    let Some(done) = answer(id, done) else { return };
                    working.spawn(async move {
                        sleep(ROOM).await;
                        Done(done, room)
                    });
                    continue;
                }
                // Nothing of ours panics there: queries are caught where they run.
                Ok(_) => return say(id, Answer::Unavailable("the node ends".to_owned())),
                Err(_) => {}
            }
            let (tell, mut listen) = oneshot::channel();
            let number = self.tell(client, tell);
            say(id, Answer::Working(number));
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

    /// The client asks again for the work of this number, by question `id`. `false` if there is
    /// none for it: it was dropped, or was done by a node that this one was before.
    pub(crate) fn again(&self, client: PeerId, number: u64, id: u64) -> bool {
        let mut told = self.told();
        let known = told.works.get(&number).is_some_and(|(asked, _)| *asked == client);
        known && told.works.remove(&number).is_some_and(|(_, tell)| tell.send(id).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::mpsc;

    use super::*;
    use crate::seen::Seen;

    const CLIENT: PeerId = PeerId(7);

    /// Says when what it is in is dropped.
    struct Dropped(Arc<AtomicBool>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// Work that ends when it is told to, what is answered, and whether the work was dropped. While
    /// `full` there is no room for a result.
    struct Begun {
        finish: Option<oneshot::Sender<Answer>>,
        answers: mpsc::UnboundedReceiver<(u64, Answer)>,
        dropped: Arc<AtomicBool>,
        full: Arc<AtomicBool>,
    }

    fn begin(works: &Arc<Works>) -> Begun {
        let (finish, finished) = oneshot::channel();
        let (tell, answers) = mpsc::unbounded_channel();
        let (dropped, full) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let begun = Begun {
            finish: Some(finish),
            answers,
            dropped: Arc::clone(&dropped),
            full: Arc::clone(&full),
        };
        let (works, dropped) = (Arc::clone(works), Dropped(dropped));
        let work = async move {
            let _dropped = dropped;
            finished.await.expect("it is told what to answer")
        };
        tokio::spawn(async move {
            let answer = |id, answer| {
                if full.load(Ordering::SeqCst) && matches!(answer, Answer::Result { .. }) {
                    return Some(answer);
                }
                drop(tell.send((id, answer)));
                None
            };
            works.see_to((CLIENT, 1), Instant::now() + PATIENCE, work, answer).await;
        });
        begun
    }

    impl Begun {
        fn finish(&mut self, answer: Answer) {
            let finish = self.finish.take().expect("once");
            finish.send(answer).expect("it is waited for");
        }

        /// The number under which it is asked for again, as the question of this number is told.
        async fn working(&mut self, id: u64) -> u64 {
            match self.answers.recv().await {
                Some((told, Answer::Working(number))) if told == id => number,
                other => panic!("{other:?}"),
            }
        }
    }

    fn result(size: usize) -> Answer {
        Answer::Result { bytes: vec![7; size], seen: Seen::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_again_is_told_until_it_is_done() {
        let works = Arc::new(Works::new());
        let mut begun = begin(&works);
        for id in 1..=3 {
            let number = begun.working(id).await;
            assert!(!works.again(PeerId(8), number, 9), "that is another client's");
            assert!(!works.again(CLIENT, number + 1, 9), "there is no such work");
            assert!(works.again(CLIENT, number, id + 1));
            assert!(!works.again(CLIENT, number, 9), "it was asked for");
        }
        begun.finish(Answer::NoSuchGroup);
        assert_eq!(begun.answers.recv().await, Some((4, Answer::NoSuchGroup)));
        assert_eq!(begun.answers.recv().await, None, "once");
        assert!(begun.dropped.load(Ordering::SeqCst) && works.told().works.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_for_again_is_dropped() {
        let works = Arc::new(Works::new());
        let mut begun = begin(&works);
        let number = begun.working(1).await;
        assert!(!begun.dropped.load(Ordering::SeqCst));
        assert_eq!(begun.answers.recv().await, None, "nothing more is said");
        tokio::task::yield_now().await;
        assert!(
            begun.dropped.load(Ordering::SeqCst) && begun.finish.is_some_and(|it| it.is_closed())
        );
        assert!(!works.again(CLIENT, number, 2), "too late");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_held_until_there_is_room_for_it() {
        const SIZE: usize = 10_000;
        let works = Arc::new(Works::holding(SIZE));
        let (mut one, mut two) = (begin(&works), begin(&works));
        one.full.store(true, Ordering::SeqCst);
        one.finish(result(SIZE));
        let number = one.working(1).await;
        assert!(works.again(CLIENT, number, 2));
        let number = two.working(1).await;
        assert!(works.again(CLIENT, number, 2));
        // All that may be held is: nobody's client has to wait for what never comes.
        two.finish(result(SIZE));
        assert_eq!(two.answers.recv().await, Some((2, Answer::unread())));
        let number = one.working(2).await;
        one.full.store(false, Ordering::SeqCst);
        assert!(works.again(CLIENT, number, 3));
        assert_eq!(one.answers.recv().await, Some((3, result(SIZE))));
        assert_eq!(one.answers.recv().await, None, "once");
        assert_eq!(works.held.available_permits(), SIZE, "nothing is held any more");
    }
}
