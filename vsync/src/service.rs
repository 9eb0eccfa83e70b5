//! Answering questions of other nodes and of clients.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use vsync_net::PeerId;

use crate::ask::{Asker, Target, Told};
use crate::asked;
use crate::asking::{another, hash};
use crate::barrier;
use crate::card::Card;
use crate::error::AskError;
use crate::gateway::{self, PATIENCE};
use crate::runtime::ring::{News, Position};
use crate::runtime::rpc::{Answer, Ask, Asked, By, ClientQuery, ToMember};
use crate::runtime::seat::Seat;
use crate::scatter;
use crate::seen::Seen;
use crate::steward::{Core, Registered};
use crate::view::MemberId;
use crate::working::Works;

/// Most questions that are being answered at one time.
const AT_ONCE: usize = 256;
/// Most questions that may wait for it.
const WAITING: usize = 1024;
/// Most shares of members' queries that are being done at one time.
const SHARES: usize = 1024;
/// Most requests and answers of other members that are waited for at one time: they take as long as
/// their handlers and queries do.
const OTHERS: usize = 4096;
/// Most subscribers that may wait for events at one time.
const SUBSCRIBERS: usize = 1 << 14;
/// How long a subscriber waits before it is told that there is nothing.
const NOTHING: Duration = Duration::from_secs(2);

const LAGS: &str = "it lags behind what this client has seen";

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
    // So do those who ask for requests, and for other members' answers.
    let waiting = Room::new(OTHERS, OTHERS);
    let works = Arc::new(Works::new());
    let mut answers = tokio::task::JoinSet::new();
    while let Some(Asked { peer, node, id, ask, room: bytes }) = asked.recv().await {
        while answers.try_join_next().is_some() {}
        if !node && !core.rpc.reads(peer) {
            tracing::debug!(?peer, "a client that does not read its answers gets no more");
            continue;
        }
        let room = match &ask {
            Ask::Again(number) => {
                if !works.again(peer, *number, id) {
                    let why = "it does not work on that any more".to_owned();
                    core.rpc.answer(peer, node, id, Answer::Unavailable(why));
                }
                continue;
            }
            Ask::Member(_) | Ask::Seen { .. } => &shares,
            Ask::Events { .. } => &subscribers,
            Ask::Request { request, .. } if request.is_long() => &waiting,
            Ask::Query(asked) if asked.by.is_another() => &waiting,
            _ => &questions,
        };
        let Ok(place) = Arc::clone(&room.places).try_acquire_owned() else {
            core.rpc.answer(peer, node, id, Answer::busy());
            continue;
        };
        let (core, works) = (Arc::clone(&core), Arc::clone(&works));
        let (at_once, until) = (Arc::clone(&room.at_once), Instant::now() + PATIENCE);
        answers.spawn(async move {
            let reply = |answer| core.rpc.answer(peer, node, id, answer);
            // The semaphore is never closed.
            let Ok(Ok(permit)) = timeout_at(until, at_once.acquire_owned()).await else {
                return reply(Answer::busy());
            };
            let is_query = matches!(ask, Ask::Query(_));
            let (here, asker) = (Arc::clone(&core), node.then_some(peer));
            let work =
                async move { answer(&here, asker, ask, until).await.unwrap_or_else(|other| other) };
            match is_query {
                true => {
                    let offer = |id, answer| core.rpc.offer(peer, node, id, answer);
                    works.see_to((peer, id), until, work, offer).await;
                }
                false => reply(work.await),
            }
            drop((permit, place, bytes));
        });
    }
}

/// `node` is who asks, if it is a node and no client. The error is an answer, too: why this node is
/// not to give another.
async fn answer(
    core: &Core,
    node: Option<PeerId>,
    ask: Ask,
    until: Instant,
) -> Result<Answer, Answer> {
    Ok(match ask {
        Ask::Cluster => cluster(core),
        Ask::Vote => {
            let free = core.directory.get().is_none();
            Answer::Vote(free && node.is_some_and(|peer| core.votes.give(peer)))
        }
        Ask::Card { group } => match active(core, &group) {
            Some(registered) => card(&registered),
            None => Answer::Unavailable("this node is no active member".to_owned()),
        },
        Ask::Member(ask) => share(core, node.is_some(), &ask).await,
        Ask::Seen { group, member } => far(core, node.is_some(), &group, member),
        Ask::Query(asked) => query(core, asked, until).await?,
        Ask::Again(_) => Answer::Unavailable("nothing is worked on".to_owned()),
        Ask::Request { group, schema, line, request } => {
            let method = Some((line, request.update(), Card::update as Lines));
            let registered = member(core, &group, schema, method).await?;
            gateway::answer(&registered, request).await
        }
        Ask::View { group, schema, seen } => {
            view(&member(core, &group, schema, None).await?.seat, seen, until).await
        }
        Ask::Events { group, schema, line, position } => {
            events(&member(core, &group, schema, None).await?, line, position).await
        }
    })
}

/// Has a client's query answered as it wants it. What has to come first is waited for until
/// `until`: then another gateway may do better. The work itself takes as long as it does.
async fn query(core: &Core, asked: ClientQuery, until: Instant) -> Result<Answer, Answer> {
    let of = match asked.by {
        By::Share(..) => Card::share,
        By::Any(_) | By::Latest(_) => Card::query,
    };
    let method = Some((asked.line, &*asked.query, of as Lines));
    let registered = member(core, &asked.group, asked.schema, method).await?;
    let ClientQuery { query, mut seen, by, .. } = asked;
    if let By::Latest(_) = by {
        latest(&registered, &mut seen, until).await?;
    }
    Ok(match by {
        By::Any(None) if registered.answering.scatters(&query) => {
            scattered(registered, &query, seen, until).await
        }
        // One member reads all of the latest, whether or not the members could divide it: shares
        // are read at several moments.
        By::Any(None) | By::Latest(None) => local(&registered, &query, seen, until).await,
        By::Any(Some(target)) | By::Latest(Some(target)) => {
            passed_on(registered, &query, seen, (target, (0, 1)), until).await
        }
        By::Share(member, share) => {
            passed_on(registered, &query, seen, (Target::Member(member), share), until).await
        }
    })
}

/// Who is in the cluster.
fn cluster(core: &Core) -> Answer {
    let seat = core.directory.get().map(|directory| &directory.group().shared.seat);
    let blocked = seat.is_some_and(|seat| seat.status().trouble.blocked.is_some());
    Answer::Cluster {
        members: core.directory_members(),
        blocked,
        cluster: core.cluster.get().copied(),
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
        Some(active) => Answer::Card {
            card: registered.answering.card().to_string(),
            active,
            blocked: registered.seat.status().trouble.blocked,
        },
        None => Answer::Unavailable("this node has no state yet".to_owned()),
    }
}

/// Finds a method's line in a card.
type Lines = fn(&Card, u32) -> Option<String>;

/// The group, if this node is an active member of it. The answer, if it is not, or the group
/// replicates another type, or the method that is called is another one here: it is given with the
/// hash of its line in the client's card.
async fn member(
    core: &Core,
    group: &str,
    schema: u64,
    method: Option<(u64, &[u8], Lines)>,
) -> Result<Registered, Answer> {
    let Some(registered) = active(core, group) else {
        return Err(elsewhere(core, group, schema).await);
    };
    let card = registered.answering.card();
    if registered.answering.schema() != schema {
        return Err(Answer::Type { there: card.name().to_owned() });
    }
    if let Some((line, call, of)) = method
        && let Some(there) = another(call, line, |id| of(card, id))
    {
        return Err(Answer::Type { there });
    }
    Ok(registered)
}

/// Who the active members are.
async fn view(seat: &Seat, seen: Option<Seen>, until: Instant) -> Answer {
    if let Some(seen) = &seen
        && !gateway::catch_up(seat, seen, until).await
    {
        return Answer::Unavailable(LAGS.to_owned());
    }
    // The view is not older than what is said of it.
    let (seen, view) = (seat.seen(), seat.status().view.clone());
    match view.zip(seen) {
        Some((view, seen)) => Answer::View { members: scatter::ids(&view), seen },
        None => Answer::Unavailable("this node has no state now".to_owned()),
    }
}

/// Tells a client what a group has emitted.
async fn events(registered: &Registered, line: u64, position: Option<Position>) -> Answer {
    let Registered { seat, answering } = registered;
    let card = answering.card();
    let Some((ring, there)) = answering.ring().zip(card.event()) else {
        return Answer::Type { there: format!("{} without events for clients", card.name()) };
    };
    if hash(&there) != line {
        return Answer::Type { there };
    }
    let nothing = |position| News { missed: None, events: Vec::new(), position };
    let news = match timeout(NOTHING, ring.news(position)).await {
        Ok(news) => news,
        Err(_) => position.map(nothing),
    };
    // Read after the events: it has all of them in it.
    match (news.map(|news| postcard::to_stdvec(&news)), seat.seen()) {
        (Some(Ok(bytes)), Some(seen)) => Answer::Result { bytes, seen },
        (Some(Err(error)), _) => Answer::BadQuery(error.to_string()),
        _ => Answer::Unavailable("no state here: the node is joining again".to_owned()),
    }
}

/// Does a share of a query that another member asks for.
async fn share(core: &Core, node: bool, ask: &ToMember) -> Answer {
    let here = core.registry().get(&*ask.group).cloned();
    match here {
        _ if !node => Answer::BadQuery("only members ask for a share".to_owned()),
        Some(Registered { seat, answering }) => asked::answer(&seat, &answering, ask).await,
        None => Answer::NotThisMember,
    }
}

/// Has the members do a query whose work they divide, each from a state that has all of `seen`.
async fn scattered(
    registered: Registered,
    query: &[u8],
    seen: Option<Seen>,
    until: Instant,
) -> Answer {
    let Registered { seat, answering } = registered;
    let asker = Asker::new(seat, answering, query, seen).until(until);
    let shares = match asker.view() {
        Ok(view) => scatter::all(&asker, &view, None).await,
        Err(error) => Err(error),
    };
    match shares {
        Ok((shares, seen)) => match asker.gather(&shares) {
            Ok(answer) => asked::fitting(answer, seen),
            Err(error) => Answer::BadQuery(error.to_string()),
        },
        Err(error) => unasked(error),
    }
}

/// Has one member answer for a share, from a state that has all of `seen`.
async fn passed_on(
    registered: Registered,
    query: &[u8],
    seen: Option<Seen>,
    (target, share): (Target, (u32, u32)),
    until: Instant,
) -> Answer {
    let Registered { seat, answering } = registered;
    // The client may know of a member that has not come here yet.
    if let Some(seen) = &seen
        && !gateway::catch_up(&seat, seen, until).await
    {
        return Answer::Unavailable(LAGS.to_owned());
    }
    let asker = Asker::new(seat, answering, query, seen).until(until);
    let member = match asker.target(target) {
        Ok(member) => member,
        Err(error) => return unasked(error),
    };
    match asker.insist(member, share).await {
        Told::Answer(bytes, seen) => Answer::Result { bytes, seen },
        Told::Never(why) => Answer::Missing { member, why },
        Told::NotNow => Answer::Unavailable(format!("{member:?} cannot answer")),
    }
}

/// Adds to what a client has `seen` all that was completed before, as soon as that is here.
async fn latest(
    registered: &Registered,
    seen: &mut Option<Seen>,
    until: Instant,
) -> Result<(), Answer> {
    let (seat, is_total) = (&registered.seat, registered.answering.is_total());
    match timeout_at(until, barrier::pass(seat, is_total)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(Answer::Unavailable(error.to_string())),
        Err(_) => return Err(Answer::Unavailable("the query's turn has not come".to_owned())),
    }
    let here = || Answer::Unavailable("this node has no state now".to_owned());
    seen.get_or_insert_default().raise(&seat.seen().ok_or_else(here)?);
    Ok(())
}

/// How far this node is, as the member that is asked.
fn far(core: &Core, node: bool, group: &str, member: MemberId) -> Answer {
    let here = core.registry().get(group).map(|registered| Arc::clone(&registered.seat));
    match here {
        _ if !node => Answer::BadQuery("only members ask how far one is".to_owned()),
        // What is told after an exclusion is that of nobody.
        Some(seat) if seat.status().me == Some(member) => match seat.seen() {
            Some(seen) if seat.status().me == Some(member) => Answer::Seen(seen),
            _ => Answer::NotThisMember,
        },
        _ => Answer::NotThisMember,
    }
}

/// What a client is told of members that were not asked, or did not answer.
fn unasked(error: AskError) -> Answer {
    match error {
        AskError::NoAnswer { member, why } => Answer::Missing { member, why },
        AskError::NoSuchMember(target) => Answer::NoSuchMember(target),
        error => Answer::Unavailable(error.to_string()),
    }
}

/// Reads what has all of `seen` in it, and waits until what was read is stable.
async fn local(
    registered: &Registered,
    query: &[u8],
    seen: Option<Seen>,
    until: Instant,
) -> Answer {
    if let Some(seen) = seen
        && !gateway::catch_up(&registered.seat, &seen, until).await
    {
        return Answer::Unavailable(LAGS.to_owned());
    }
    asked::stable(asked::read(&registered.answering, query, (0, 1)).await).await
}

/// Where a group is that this node is no member of.
async fn elsewhere(core: &Core, group: &str, schema: u64) -> Answer {
    match core.find(group).await {
        Ok(Some(entry)) if entry.kind.schema != schema => {
            Answer::Type { there: entry.kind.name.to_string() }
        }
        Ok(Some(entry)) if entry.members.is_empty() => {
            Answer::Unavailable("the group has no active member yet".to_owned())
        }
        Ok(Some(entry)) => Answer::Elsewhere(entry.members.into()),
        Ok(None) if core.directory.get().is_none() => {
            Answer::Unavailable("this node is in no cluster yet".to_owned())
        }
        Ok(None) => Answer::NoSuchGroup,
        Err(error) => Answer::Unavailable(format!("the directory: {error}")),
    }
}
