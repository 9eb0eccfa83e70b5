//! [`Core`]: what all parts of a node share.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;
use vsync_core::engine::{Class, GroupConfig};
use vsync_net::Transport;

use super::ATTEMPT;
use super::seeds::Votes;
use super::strangers::Strangers;
use crate::directory::{DirectoryHandle, Entry};
use crate::error::CallError;
use crate::replicated::Replicated;
use crate::runtime::replica::{Answering, schema};
use crate::runtime::rpc::{Contact, Rpc};
use crate::runtime::seat::{Home, Seat};
use crate::runtime::threads::Threads;
use crate::runtime::{Command, Notice};
use crate::view::{Member, Meta, View};

/// What all parts of a node share.
pub(crate) struct Core {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) rpc: Arc<Rpc>,
    pub(crate) home: Arc<Home>,
    pub(crate) meta: Meta,
    /// The same as it goes out, for each version of a type that there is.
    metas: Mutex<BTreeMap<u32, Bytes>>,
    pub(crate) seeds: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) directory: OnceLock<DirectoryHandle>,
    /// Which cluster this node has entered: it enters no other.
    pub(crate) cluster: OnceLock<u64>,
    pub(crate) notices: mpsc::UnboundedSender<Notice>,
    /// Whom this node would follow in forming a cluster.
    pub(crate) votes: Votes,
    /// Who is in another cluster.
    pub(crate) strangers: Strangers,
    registry: Mutex<BTreeMap<Arc<str>, Registered>>,
    /// Who was in the directory's last view: asked as the seeds are.
    known: Mutex<Vec<Contact>>,
}

/// Sizes that a node is configured with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of one update.
    pub(crate) update: usize,
    /// Bytes of own updates under way per group.
    pub(crate) window: usize,
    /// Bytes that a joiner holds before it starts over.
    pub(crate) join_buffer: usize,
    /// Bytes of events per group that are kept for clients.
    pub(crate) events: usize,
}

/// A group that this node is in, or about to be.
#[derive(Clone)]
pub(crate) struct Registered {
    pub(crate) seat: Arc<Seat>,
    pub(crate) answering: Arc<dyn Answering>,
}

impl Registered {
    /// Whether this node is an active member, and so can answer.
    pub(crate) fn is_active(&self) -> bool {
        let status = self.seat.status();
        let (Some(view), Some(me)) = (&status.view, status.me) else { return false };
        view.rank_of(me).is_some_and(|rank| rank < view.size())
    }
}

impl Registered {
    /// The active members.
    pub(crate) fn members(&self) -> Vec<Contact> {
        self.seat.status().view.as_ref().map_or_else(Vec::new, contacts)
    }
}

impl Core {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        rpc: Arc<Rpc>,
        driver: mpsc::UnboundedSender<Command>,
        notices: mpsc::UnboundedSender<Notice>,
        seeds: Vec<String>,
        limits: Limits,
        expect: Option<usize>,
    ) -> Core {
        let local = transport.local();
        let asked = Some(Arc::clone(&rpc));
        let queries = Threads::for_queries();
        let home = Home { limit: limits.update, driver, rpc: asked, queries };
        let meta = Meta { name: local.name.clone(), address: local.addr.clone(), version: 0 };
        Core {
            transport,
            rpc,
            home: Arc::new(home),
            meta,
            metas: Mutex::default(),
            seeds,
            limits,
            directory: OnceLock::new(),
            cluster: OnceLock::new(),
            notices,
            votes: Votes::new(expect),
            strangers: Strangers::default(),
            registry: Mutex::default(),
            known: Mutex::default(),
        }
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Registered>> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Vec<Contact>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn me(&self) -> u64 {
        self.transport.local().id.0
    }

    pub(super) fn config<S: Replicated>(&self, generation: u32) -> GroupConfig {
        GroupConfig {
            generation,
            schema: schema::<S>(),
            causal: S::UPDATES.iter().any(|m| m.class == Class::Causal),
            meta: self.meta_of(S::VERSION),
            window: self.limits.window,
            join_buffer: self.limits.join_buffer,
        }
    }

    /// What this node says of itself in a group with this version of its type.
    pub(super) fn meta_of(&self, version: u32) -> Bytes {
        let mut metas = self.metas.lock().unwrap_or_else(PoisonError::into_inner);
        let meta = || Meta { version, ..self.meta.clone() }.encode();
        metas.entry(version).or_insert_with(meta).clone()
    }

    /// The active members of the directory's view that is installed here.
    pub(crate) fn directory_members(&self) -> Vec<Contact> {
        let view = self.directory.get().and_then(|directory| directory.group().view());
        view.map_or_else(Vec::new, |view| contacts(&view))
    }

    /// What the directory says of a name: this replica's knowledge if it has any, else what has
    /// been decided so far.
    pub(crate) async fn find(&self, name: &str) -> Result<Option<Entry>, CallError<Infallible>> {
        let Some(directory) = self.directory.get() else { return Ok(None) };
        let here = directory.find(name.to_owned()).optimistic();
        let here = here.ok().and_then(|e| e.into_unstable("who joins asks again when this is old"));
        if let Some(entry) = here.filter(Entry::confirmed) {
            return Ok(Some(entry));
        }
        directory.lookup(name.to_owned()).timeout(ATTEMPT).await
    }

    /// The name may be used again at this node, unless it is already.
    pub(super) fn unregister(&self, seat: &Arc<Seat>) {
        let mut registry = self.registry();
        if registry.get(&seat.name).is_some_and(|registered| Arc::ptr_eq(&registered.seat, seat)) {
            registry.remove(&seat.name);
        }
    }
}

/// The active members of a view, as others reach them.
pub(super) fn contacts(view: &View) -> Vec<Contact> {
    let contact = |m: &Member| Contact { node: m.id.node.0, address: m.address.clone() };
    view.active().iter().map(contact).collect()
}
