//! Answering questions of other nodes and of clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use vsync_net::PeerId;
use xxhash_rust::xxh3::xxh3_64;

use crate::card::Card;
use crate::gateway;
use crate::replicated::{ApplyError, QueryError};
use crate::runtime::replica::Unanswered;
use crate::runtime::rpc::{Answer, Ask, Asked, LONGEST};
use crate::seen::Seen;
use crate::steward::{Core, Registered};

/// Most questions that are being answered at one time.
const AT_ONCE: usize = 256;
/// Most requests that are waited for at one time: they take as long as their handlers do.
const REQUESTS: usize = 4096;
/// How long an answer may wait for stability. The client asks another member then.
const PATIENCE: Duration = Duration::from_millis(2500);
/// Bytes of answers that a client may leave unread; beyond that it gets none.
const UNREAD: usize = 32 << 20;

/// Answers what is asked, until the node ends.
pub(crate) async fn serve(core: Arc<Core>, mut asked: mpsc::Receiver<Asked>) {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let long = Arc::new(Semaphore::new(REQUESTS));
    let mut answers = tokio::task::JoinSet::new();
    while let Some(Asked { peer, node, id, ask }) = asked.recv().await {
        while answers.try_join_next().is_some() {}
        let unread = move |core: &Core| !node && core.transport.backlog(peer) > UNREAD;
        if unread(&core) {
            tracing::debug!(?peer, "a client that does not read its answers gets no more");
            continue;
        }
        let permit = if ask.is_long() {
            let Ok(permit) = Arc::clone(&long).try_acquire_owned() else {
                core.rpc.answer(peer, id, Answer::Unavailable("too many requests".to_owned()));
                continue;
            };
            permit
        } else {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            permit
        };
        let core = Arc::clone(&core);
        answers.spawn(async move {
            let answer = answer(&core, node.then_some(peer), ask).await;
            if !unread(&core) {
                core.rpc.answer(peer, id, answer);
            }
            drop(permit);
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
        Ask::Card { group } => match active(core, &group) {
            Some(registered) => card(&registered),
            None => Answer::Unavailable("this node is no active member".to_owned()),
        },
        Ask::Query { group, schema, line, query, seen } => {
            match member(core, &group, (schema, line, &query), Card::query) {
                Some(Ok(registered)) => local(&registered, &query, seen).await,
                Some(Err(other)) => other,
                None => elsewhere(core, &group, schema).await,
            }
        }
        Ask::Request { group, schema, line, request } => {
            let update = request.update();
            match member(core, &group, (schema, line, update), Card::update) {
                Some(Ok(registered)) => gateway::answer(&registered, request).await,
                Some(Err(other)) => other,
                None => elsewhere(core, &group, schema).await,
            }
        }
    }
}

/// A group in which this node is an active member.
fn active(core: &Core, group: &str) -> Option<Registered> {
    let here = core.registry().get(group).cloned();
    here.filter(Registered::is_active)
}

/// The type of a group.
fn card(registered: &Registered) -> Answer {
    match registered.seat.version() {
        Some(active) => Answer::Card { card: registered.answering.card().to_string(), active },
        None => Answer::Unavailable("this node has no state yet".to_owned()),
    }
}

/// The group, if this node is an active member of it; an error if it replicates another type, or
/// the method that is called is another one here. `line` is the hash of its line in the client's
/// card.
fn member(
    core: &Core,
    group: &str,
    (schema, line, call): (u64, u64, &[u8]),
    of: impl Fn(&Card, u32) -> Option<String>,
) -> Option<Result<Registered, Answer>> {
    let registered = active(core, group)?;
    let card = registered.answering.card();
    if registered.answering.schema() != schema {
        return Some(Err(Answer::Type { there: card.name().to_owned() }));
    }
    let id = postcard::take_from_bytes(call).ok().map(|(id, _)| id);
    let there = id.and_then(|id| of(card, id));
    if let Some(there) = there.filter(|there| xxh3_64(there.as_bytes()) != line) {
        return Some(Err(Answer::Type { there }));
    }
    Some(Ok(registered))
}

/// Reads what has all of `seen` in it, and waits until what was read is stable.
async fn local(registered: &Registered, query: &[u8], seen: Option<Seen>) -> Answer {
    if let Some(seen) = seen
        && !gateway::catch_up(registered, &seen).await
    {
        return Answer::Unavailable("it lags behind what this client has seen".to_owned());
    }
    let (result, seen, mut stability) = match registered.answering.query(query) {
        Ok(read) => read,
        Err(Unanswered::Group(error)) => return Answer::Unavailable(error.to_string()),
        Err(Unanswered::Query(QueryError::Decode(ApplyError::UnknownMethod { id }))) => {
            return Answer::UnknownQuery { id };
        }
        Err(Unanswered::Query(error)) => return Answer::BadQuery(error.to_string()),
    };
    if result.len() > LONGEST {
        return Answer::TooLarge { size: result.len() as u64, limit: LONGEST as u64 };
    }
    match timeout(PATIENCE, stability.wait()).await {
        Ok(Ok(())) => Answer::Result { bytes: result, seen },
        Ok(Err(error)) => Answer::Unavailable(error.to_string()),
        Err(_) => Answer::Unavailable("what was read has not become stable".to_owned()),
    }
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
