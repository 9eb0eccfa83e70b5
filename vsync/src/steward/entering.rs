//! Becoming a member of a group: by making it, by joining it, or again after an exclusion.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use vsync_core::engine::{GroupConfig, Refusal};
use vsync_core::wire::{GroupId, NodeId};
use vsync_net::PeerId;

use super::core::{Core, Registered, contacts};
use super::seeds::{Failure, FailureKind};
use super::{ATTEMPT, PAUSE, QUESTION};
use crate::directory::{self, Directory, DirectoryHandle, Entry, Kind};
use crate::error::{CallError, JoinError, NotApplied, Sight, Unknown};
use crate::group::Group;
use crate::replicated::Replicated;
use crate::runtime::cold::Cold;
use crate::runtime::replica::{Answering, Replica, Shared, schema};
use crate::runtime::rpc::Contact;
use crate::runtime::seat::Seat;
use crate::runtime::typed::Typed;
use crate::runtime::{Command, Opening, Progress};

/// Whether a group may be made, or must exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Create,
    Join,
    JoinOrCreate,
}

/// Where a group is to be found.
struct Place {
    group: GroupId,
    generation: u32,
    kind: Option<Kind>,
    contacts: Vec<Contact>,
}

impl From<Entry> for Place {
    fn from(entry: Entry) -> Place {
        Place {
            group: GroupId(entry.group),
            generation: entry.generation,
            kind: Some(entry.kind),
            contacts: entry.members.into(),
        }
    }
}

/// One attempt of this node to become a member. Dropped before it is done, it undoes itself.
struct Entering {
    core: Arc<Core>,
    seat: Arc<Seat>,
    kind: Kind,
    answering: Arc<dyn Answering>,
    config: GroupConfig,
    /// Taken when the driver gets it.
    replica: Option<Box<dyn Replica>>,
    /// What the driver knows the group as.
    opened: Option<GroupId>,
    tell: mpsc::UnboundedSender<Progress>,
    progress: mpsc::UnboundedReceiver<Progress>,
    /// What a member has seen of the group that was asked in the last attempt, if it was no quorum.
    /// An attempt that comes to something else says so instead.
    blocked: Option<Sight>,
    done: bool,
}

/// What this node does with its replica.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Compares it with the others' after so many updates.
    pub(crate) compare: u64,
    /// Keeps up to so many bytes of updates instead of applying them.
    pub(crate) cold: Option<usize>,
}

/// What came of one attempt.
enum Attempt {
    Active,
    Again(String),
}

impl Entering {
    fn group<S: Replicated>(
        core: &Arc<Core>,
        name: &str,
        state: S,
        Manner { compare, cold }: Manner,
    ) -> Result<(Entering, Group<S>), JoinError> {
        let (tell, progress) = mpsc::unbounded_channel();
        let name: Arc<str> = name.into();
        let seat = Arc::new(Seat::at(Arc::clone(&name), Arc::clone(&core.home)));
        let shared = Arc::new(Shared::new(Arc::clone(&seat), state));
        if let Some(ring) = shared.feed.ring() {
            ring.limit(core.limits.events);
        }
        let typed = Typed::new(Arc::clone(&shared), compare);
        let replica: Box<dyn Replica> = match cold {
            Some(most) => Box::new(Cold::new(typed, Arc::clone(&shared), most)),
            None => Box::new(typed),
        };
        let answering: Arc<dyn Answering> = Arc::clone(&shared) as _;
        {
            let mut registry = core.registry();
            if registry.contains_key(&name) {
                return Err(JoinError::AlreadyMember { name: name.to_string() });
            }
            let answering = Arc::clone(&answering);
            let registered = Registered { seat: Arc::clone(&seat), answering };
            registry.insert(name, registered);
        }
        let entering = Entering {
            core: Arc::clone(core),
            seat,
            kind: Kind::new(schema::<S>(), S::NAME),
            answering,
            config: core.config::<S>(1),
            replica: Some(replica),
            opened: None,
            tell,
            progress,
            blocked: None,
            done: false,
        };
        Ok((entering, Group { shared }))
    }

    /// For a membership that has ended by exclusion.
    fn again(core: &Arc<Core>, seat: Arc<Seat>) -> Option<Entering> {
        let registered = core.registry().get(&seat.name).cloned()?;
        let status = seat.status().clone();
        let (tell, progress) = mpsc::unbounded_channel();
        let answering = registered.answering;
        let kind = Kind::new(answering.schema(), answering.card().name());
        // The driver keeps the configuration and the replica of a group that was excluded.
        let config = GroupConfig {
            generation: status.generation,
            schema: kind.schema,
            causal: false,
            meta: core.meta_of(answering.card().version()),
            window: core.limits.window,
            join_buffer: core.limits.join_buffer,
        };
        Some(Entering {
            core: Arc::clone(core),
            seat,
            kind,
            answering,
            config,
            replica: None,
            opened: Some(status.group?),
            tell,
            progress,
            blocked: None,
            done: false,
        })
    }

    fn name(&self) -> String {
        self.seat.name.to_string()
    }

    /// Hands the group to the driver, or tells it whom to ask now. Without contacts it is made.
    fn start(&mut self, place: &Place, contacts: Option<&[Contact]>) {
        let transport = &self.core.transport;
        for contact in contacts.unwrap_or_default() {
            transport.want(PeerId(contact.node), &contact.address);
        }
        let contacts: Option<Vec<_>> =
            contacts.map(|list| list.iter().map(|contact| NodeId(contact.node)).collect());
        let command = match (self.replica.take(), self.opened) {
            (Some(replica), _) => Command::Open(Box::new(Opening {
                group: place.group,
                seat: Arc::clone(&self.seat),
                replica,
                config: GroupConfig { generation: place.generation, ..self.config.clone() },
                contacts,
                progress: self.tell.clone(),
            })),
            (None, opened) => Command::Ask {
                group: opened.unwrap_or(place.group),
                now: place.group,
                generation: place.generation,
                contacts,
                progress: Some(self.tell.clone()),
            },
        };
        self.opened = Some(place.group);
        self.seat.command(command);
    }

    /// Waits for one attempt.
    async fn wait(&mut self, limit: Duration) -> Result<Attempt, JoinError> {
        let name = self.name();
        match timeout(limit, self.progress.recv()).await {
            Err(_) => Ok(Attempt::Again("the members asked have not let this node in".into())),
            Ok(None) => Err(JoinError::Closed),
            Ok(Some(Progress::Active)) => Ok(Attempt::Active),
            Ok(Some(Progress::Ended)) => Ok(Attempt::Again("excluded while joining".into())),
            Ok(Some(Progress::Checkpoint(error))) => Err(JoinError::Checkpoint { name, error }),
            Ok(Some(Progress::Broken(why))) => Err(JoinError::Ended { name, why }),
            Ok(Some(Progress::Refused(Refusal::Schema { theirs }))) => Err(JoinError::Type {
                name,
                here: self.kind.name.to_string(),
                there: format!("a type with identity {theirs:016x}"),
            }),
            Ok(Some(Progress::Refused(why))) => {
                Ok(Attempt::Again(format!("a member refused: {why:?}")))
            }
        }
    }

    /// One attempt to join a group that exists.
    async fn join(&mut self, place: &Place) -> Result<Attempt, JoinError> {
        if let Some(kind) = &place.kind
            && kind.schema != self.kind.schema
        {
            let (here, there) = (self.kind.name.to_string(), kind.name.to_string());
            return Err(JoinError::Type { name: self.name(), here, there });
        }
        if place.contacts.is_empty() {
            self.blocked = None;
            return Ok(Attempt::Again("the directory knows no active member".into()));
        }
        if let Err(why) = self.compare(&place.contacts).await? {
            return Ok(Attempt::Again(why));
        }
        self.start(place, Some(&place.contacts));
        self.wait(ATTEMPT).await
    }

    /// Whether this program's type is that of the group; the reason if that cannot be told now.
    ///
    /// `&mut`, since a replica cannot be shared between threads.
    async fn compare(&mut self, members: &[Contact]) -> Result<Result<(), String>, JoinError> {
        let name = self.name();
        match self.core.ask_card(&name, members).await {
            Ok(told) => {
                self.blocked = told.blocked;
                told.fits(&name, self.answering.card()).map(Ok)
            }
            Err(why) => {
                // What a member saw that cannot be asked any more says nothing.
                self.blocked = None;
                Ok(Err(why))
            }
        }
    }

    /// One attempt to make the group.
    async fn create(&mut self, how: How) -> Result<Attempt, JoinError> {
        let Some(directory) = self.core.directory.get().cloned() else {
            return Err(JoinError::Closed);
        };
        let call = directory.create(self.name(), self.kind.clone(), self.core.me());
        let entry = match call.timeout(ATTEMPT).await {
            Ok(entry) => entry,
            Err(CallError::Refused(_)) if how == How::Create => {
                return Err(JoinError::Exists { name: self.name() });
            }
            Err(CallError::Refused(_)) => {
                return Ok(Attempt::Again("another node is making the group".into()));
            }
            // Deciding again for the same creator changes nothing.
            Err(error) => return Ok(Attempt::Again(undecided(error))),
        };
        let group = entry.group;
        self.start(&entry.into(), None);
        let attempt = self.wait(ATTEMPT).await?;
        if matches!(attempt, Attempt::Active) {
            self.confirm(&directory, group).await;
        }
        Ok(attempt)
    }

    /// Until the directory knows that the group has come into being, others cannot join it.
    ///
    /// `&mut`, since a replica cannot be shared between threads.
    async fn confirm(&mut self, directory: &DirectoryHandle, group: u64) {
        let Some(view) = self.seat.status().view.clone() else { return };
        let mut pause = PAUSE.0;
        loop {
            let members = contacts(&view);
            let call = directory.record(self.name(), group, view.number(), members);
            match call.timeout(ATTEMPT).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the directory has not confirmed yet"),
            }
            if self.seat.status().trouble.closed.is_some() {
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Tries until it is a member, or it is certain that it cannot become one.
    async fn enter(&mut self, how: How) -> Result<(), JoinError> {
        let mut pause = PAUSE.0;
        loop {
            let found = self.core.find(&self.seat.name).await;
            let joins = |entry: &Entry| how != How::Create && entry.confirmed();
            if !matches!(&found, Ok(Some(entry)) if joins(entry)) {
                self.blocked = None;
            }
            let attempt = match found {
                Ok(Some(entry)) if joins(&entry) => self.join(&entry.into()).await?,
                Ok(Some(_)) if how == How::Join => Attempt::Again("the group is being made".into()),
                Ok(None) if how == How::Join => {
                    return Err(JoinError::NoSuchGroup { name: self.name() });
                }
                Ok(_) => self.create(how).await?,
                Err(error) => Attempt::Again(undecided(error)),
            };
            match attempt {
                Attempt::Active => break,
                Attempt::Again(why) => {
                    tracing::debug!(group = &*self.seat.name, why, "not a member yet");
                    self.seat.status().trouble.waiting = why;
                }
            }
            if self.seat.status().trouble.closed.is_some() {
                return Err(JoinError::Closed);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
        self.done = true;
        Ok(())
    }

    /// As [`Entering::enter`], for the directory itself: its members are found through the seeds.
    async fn enter_directory(
        &mut self,
        why: &mut BTreeMap<String, Failure>,
    ) -> Result<(), JoinError> {
        let mut pause = PAUSE.0;
        loop {
            let survey = self.core.survey().await;
            let refused = !survey.failed.is_empty()
                && survey.failed.values().all(|f| f.kind == FailureKind::Lasting);
            let apart = survey.failed.values().any(|f| matches!(f.kind, FailureKind::Apart { .. }));
            *why = survey.failed;
            if apart {
                let waiting = "the seeds are in different clusters".to_owned();
                return Err(JoinError::Timeout { name: self.name(), waiting });
            }
            if let Some(teller) = &survey.teller {
                why.insert(teller.clone(), Failure::outside("it has not answered yet"));
            }
            let place =
                Place { group: GroupId(0), generation: 1, kind: None, contacts: survey.members };
            let attempt = if !place.contacts.is_empty() {
                self.join(&place).await?
            } else if refused {
                let waiting = "every seed refuses this node for good".to_owned();
                return Err(JoinError::Timeout { name: self.name(), waiting });
            } else if self.core.forms(&survey.waiting).await {
                self.start(&place, None);
                self.wait(ATTEMPT).await?
            } else {
                Attempt::Again("no cluster was found".to_owned())
            };
            match attempt {
                Attempt::Active => break,
                Attempt::Again(waiting) => {
                    if let Some(teller) = survey.teller {
                        why.insert(teller, Failure::outside(&waiting));
                    }
                    self.seat.status().trouble.waiting = waiting;
                }
            }
            if self.seat.status().trouble.closed.is_some() {
                return Err(JoinError::Closed);
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
        self.done = true;
        Ok(())
    }
}

/// Why the directory has not answered, in words.
fn undecided<E>(error: CallError<E>) -> String {
    match error {
        CallError::NotApplied(NotApplied::NoQuorum { in_sight, active })
        | CallError::Unknown(Unknown::NoQuorum { in_sight, active }) => {
            format!("of the directory, which all nodes are in: {}", Sight { in_sight, active })
        }
        CallError::NotApplied(why) => format!("the directory did not decide: {why}"),
        CallError::Unknown(why) => format!("the directory has not answered: {why}"),
        CallError::Panicked(why) => format!("the directory has failed: {why}"),
        CallError::Refused(_) => "the directory refused".to_owned(),
    }
}

impl Drop for Entering {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.core.unregister(&self.seat);
        match self.opened {
            Some(group) => {
                let why = "no membership was reached".to_owned();
                self.seat.command(Command::Abandon { group, why });
            }
            None => self.seat.close(),
        }
    }
}

/// Becomes a member of a named group, before the deadline.
pub(crate) async fn enter<S: Replicated>(
    core: &Arc<Core>,
    name: &str,
    state: S,
    manner: Manner,
    how: How,
    deadline: Instant,
) -> Result<Group<S>, JoinError> {
    let (mut entering, group) = Entering::group(core, name, state, manner)?;
    match timeout_at(deadline, entering.enter(how)).await {
        Ok(entered) => entered.map(|()| group),
        Err(_) => {
            let name = name.to_owned();
            if let Some(Sight { in_sight, active }) = entering.blocked {
                return Err(JoinError::NoQuorum { name, in_sight, active });
            }
            let waiting = entering.seat.status().trouble.waiting.clone();
            Err(JoinError::Timeout { name, waiting })
        }
    }
}

/// Makes the directory's group, or joins it through the seeds.
pub(crate) async fn enter_directory(
    core: &Arc<Core>,
    bootstrap: bool,
    deadline: Instant,
    why: &mut BTreeMap<String, Failure>,
) -> Result<Group<Directory>, JoinError> {
    let formed = Directory::formed_by(core.me());
    let (mut entering, group) = Entering::group(core, directory::NAME, formed, Manner::default())?;
    if bootstrap {
        let place = Place { group: GroupId(0), generation: 1, kind: None, contacts: Vec::new() };
        entering.start(&place, None);
        if let Attempt::Again(waiting) = entering.wait(QUESTION).await? {
            return Err(JoinError::Timeout { name: directory::NAME.to_owned(), waiting });
        }
        entering.done = true;
        return Ok(group);
    }
    match timeout_at(deadline, entering.enter_directory(why)).await {
        Ok(entered) => entered.map(|()| group),
        Err(_) => {
            let waiting = entering.seat.status().trouble.waiting.clone();
            Err(JoinError::Timeout { name: directory::NAME.to_owned(), waiting })
        }
    }
}

/// Joins a group again after an exclusion, until it succeeds or is pointless.
pub(super) async fn enter_again(core: Arc<Core>, seat: Arc<Seat>) {
    let Some(mut entering) = Entering::again(&core, Arc::clone(&seat)) else { return };
    let entered = match *seat.name == *directory::NAME {
        true => entering.enter_directory(&mut BTreeMap::new()).await,
        false => entering.enter(How::Join).await,
    };
    if let Err(error) = entered {
        tracing::warn!(group = &*seat.name, %error, "could not join again");
    }
}
