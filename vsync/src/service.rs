//! Answering questions of other nodes and of clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use vsync_net::PeerId;

use crate::ask::{AskError, Asker};
use crate::asked::{self, PATIENCE};
use crate::runtime::ring::{News, Position};
use crate::runtime::rpc::{Answer, Ask, Asked, ToMember};
use crate::scatter;
use crate::steward::{Core, Registered};

/// Most questions that are being answered at one time.
const AT_ONCE: usize = 256;
/// Most questions that may wait for it.
const WAITING: usize = 1024;
/// Most shares of members' queries that are being done at one time.
const SHARES: usize = 1024;

/// Most subscribers that may wait for events at one time.
const SUBSCRIBERS: usize = 1 << 14;
/// How long a subscriber waits before it is told that there is nothing.
const NOTHING: Duration = Duration::from_secs(2);

/// How many more may be asked, and be answered at one time.
struct Room {
    places: Arc<Semaphore>,
    at_once: Arc<Semaphore>,
}

impl Room {
    fn new(places: usize, at_once: usize) -> Room {
        let semaphore = |size| Arc::new(Semaphore::new(size));
        Room { places: semaphore(places), at_once: semaphore(at_once) }
    }
}

/// Answers what is asked, until the node ends.
pub(crate) async fn serve(core: Arc<Core>, mut asked: mpsc::Receiver<Asked>) {
    let questions = Room::new(AT_ONCE + WAITING, AT_ONCE);
    // Room of their own: questions under way may be waiting for just such an answer.
    let shares = Room::new(SHARES, SHARES);
    // They wait most of the time.
    let subscribers = Room::new(SUBSCRIBERS, SUBSCRIBERS);
    let mut answers = tokio::task::JoinSet::new();
    while let Some(Asked { peer, node, id, ask }) = asked.recv().await {
        while answers.try_join_next().is_some() {}
        let room = match ask {
            Ask::Member(_) => &shares,
            Ask::Events { .. } => &subscribers,
            _ => &questions,
        };
        let Ok(place) = Arc::clone(&room.places).try_acquire_owned() else {
            core.rpc.answer(peer, id, Answer::Unavailable("too many questions".to_owned()));
            continue;
        };
        let (core, at_once) = (Arc::clone(&core), Arc::clone(&room.at_once));
        answers.spawn(async move {
            // The semaphore is never closed.
            let Ok(permit) = at_once.acquire_owned().await else { return };
            let answer = answer(&core, node.then_some(peer), ask).await;
            core.rpc.answer(peer, id, answer);
            drop((permit, place));
        });
    }
}

/// `node` is who asks, if it is a node and no client.
async fn answer(core: &Core, node: Option<PeerId>, ask: Ask) -> Answer {
    match ask {
        Ask::Cluster => Answer::Cluster { members: core.directory_members() },
        Ask::Vote => {
            let free = core.directory.get().is_none();
            Answer::Vote(free && node.is_some_and(|peer| core.votes.give(peer)))
        }
        Ask::Member(ask) => share(core, node.is_some(), &ask).await,
        Ask::Events { group, schema, position } => events(core, &group, schema, position).await,
        Ask::Query { group, schema, query } => {
            let here = core.registry().get(&group).cloned();
            match here.filter(|registered| registered.is_active()) {
                Some(registered) => local(&registered, schema, &query).await,
                None => elsewhere(core, &group, schema).await,
            }
        }
    }
}

/// Tells a client what a group has emitted.
async fn events(core: &Core, group: &str, schema: u64, position: Option<Position>) -> Answer {
    let here = core.registry().get(group).cloned();
    let Some(Registered { answering, .. }) = here.filter(Registered::is_active) else {
        return elsewhere(core, group, schema).await;
    };
    if answering.schema() != schema {
        return Answer::Type { there: answering.type_name() };
    }
    let Some(ring) = answering.ring() else {
        return Answer::BadQuery("the type does not publish its events".to_owned());
    };
    let nothing = |position| News { missed: None, events: Vec::new(), position };
    let news = match timeout(NOTHING, ring.news(position)).await {
        Ok(news) => news,
        Err(_) => position.map(nothing),
    };
    match news.map(|news| postcard::to_stdvec(&news)) {
        Some(Ok(bytes)) => Answer::Result(bytes),
        Some(Err(error)) => Answer::BadQuery(error.to_string()),
        None => Answer::Unavailable("no state here: the node is joining again".to_owned()),
    }
}

/// Does a share of a query that another member asks for.
async fn share(core: &Core, node: bool, ask: &ToMember) -> Answer {
    let here = core.registry().get(&ask.group).cloned();
    match here {
        _ if !node => Answer::BadQuery("only members ask for a share".to_owned()),
        Some(Registered { seat, answering }) => asked::answer(&seat, &*answering, ask).await,
        None => Answer::NotThisMember,
    }
}

/// Has the members do a query whose work they divide.
async fn scattered(registered: Registered, query: &[u8]) -> Answer {
    let Registered { seat, answering } = registered;
    let asker = Asker::new(seat, answering, query);
    let deadline = Some(Instant::now() + PATIENCE);
    let shares = match asker.view() {
        Ok(view) => scatter::all(&asker, &view, deadline).await,
        Err(error) => Err(error),
    };
    match shares {
        Ok(shares) => match asker.gather(&shares) {
            Ok(answer) => asked::fitting(answer),
            Err(error) => Answer::BadQuery(error.to_string()),
        },
        Err(error @ AskError::NoAnswer { .. }) => Answer::BadQuery(error.to_string()),
        Err(error) => Answer::Unavailable(error.to_string()),
    }
}

/// Reads, and waits until what was read is stable.
async fn local(registered: &Registered, schema: u64, query: &[u8]) -> Answer {
    if registered.answering.schema() != schema {
        return Answer::Type { there: registered.answering.type_name() };
    }
    if registered.answering.scatters(query) {
        return scattered(registered.clone(), query).await;
    }
    asked::stable(registered.answering.query(query, (0, 1))).await
}

/// Where a group is that this node is no member of.
async fn elsewhere(core: &Core, group: &str, schema: u64) -> Answer {
    match core.find(group).await {
        Ok(Some(entry)) if entry.kind.schema != schema => Answer::Type { there: entry.kind.name },
        Ok(Some(entry)) if entry.members.is_empty() => {
            Answer::Unavailable("the group has no active member yet".to_owned())
        }
        Ok(Some(entry)) => Answer::Elsewhere(entry.members),
        Ok(None) if core.directory.get().is_none() => {
            Answer::Unavailable("this node is in no cluster yet".to_owned())
        }
        Ok(None) => Answer::NoSuchGroup,
        Err(error) => Answer::Unavailable(format!("the directory: {error}")),
    }
}
