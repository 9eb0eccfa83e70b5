//! Connections come up, go down and end: the table and the events change together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::{Connection, ConnectionError};

use super::Shared;
use super::hello::{Have, Hello, Verdict};
use super::link::{Close, Link};
use super::liveness;
use super::table::Table;
use crate::{Class, PeerId, PeerInfo};

/// What became of a connection that has greeted.
pub(super) enum Outcome {
    /// It is the pair's connection: its tasks are to be started.
    Up(Arc<Link>),
    /// The pair has another one, of this number, or will have it in a moment.
    Other(u64),
    /// The transport shuts down.
    Closed,
}

impl Shared {
    /// The peer that is connected and known to be at an address.
    pub(super) fn connected_at(&self, addr: &str) -> Option<PeerInfo> {
        let table = self.read();
        table.links().find(|link| link.info.addr == addr).map(|link| link.info.clone())
    }

    /// Decides about a connection, on the side that decides. The verdict is its first frame.
    pub(super) fn decide(&self, hello: &Hello, connection: &Connection, have: Have) -> Outcome {
        let mut table = self.write();
        if table.closed {
            return Outcome::Closed;
        }
        match table.decide(hello.id, have, self.config.connect_timeout) {
            Verdict::Use(number) => {
                let link = self.link(hello, connection, number);
                link.send(Class::Control, Verdict::Use(number).encode().into());
                Outcome::Up(self.install(&mut table, hello, link))
            }
            Verdict::Keep(number) => Outcome::Other(number),
        }
    }

    /// Follows the decision of the other side to use a connection.
    pub(super) fn follow(&self, hello: &Hello, connection: &Connection, number: u64) -> Outcome {
        let mut table = self.write();
        if table.closed {
            return Outcome::Closed;
        }
        let last = table.entries.get(&hello.id).map_or(0, |entry| entry.last);
        if number <= last {
            return Outcome::Other(last);
        }
        let link = self.link(hello, connection, number);
        Outcome::Up(self.install(&mut table, hello, link))
    }

    fn link(&self, hello: &Hello, connection: &Connection, number: u64) -> Arc<Link> {
        let info = hello.info(connection.remote_address());
        Link::new(info, number, connection.clone(), self.config.inbox_bytes)
    }

    fn install(&self, table: &mut Table, hello: &Hello, link: Arc<Link>) -> Arc<Link> {
        let info = link.info.clone();
        for predecessor in table.predecessors(&info) {
            tracing::info!(ended = %predecessor, by = %info.id, addr = info.addr, "replaced");
            self.end_entry(table, predecessor);
        }
        table.gone.retain(|gone| *gone != info.id);
        let entry = table.entries.entry(info.id).or_default();
        entry.token = hello.token;
        entry.last = link.number;
        if entry.info.replace(info.clone()).is_some() {
            self.counters.reconnected();
        }
        if let Some(old) = entry.link.replace(link.clone()) {
            self.inbox.down(&old.intake);
            self.counters.dropped(old.abandon());
            Close::Duplicate.close(&old.connection);
        }
        tracing::debug!(peer = %info.id, name = info.name, addr = info.addr, "up");
        self.inbox.up(info);
        table.prune();
        self.changed.notify_waiters();
        link
    }

    /// A connection is closed and what it brought has been handed over.
    pub(super) fn link_closed(self: &Arc<Self>, link: &Arc<Link>, reason: &ConnectionError) {
        let peer = link.info.id;
        let mut table = self.write();
        self.counters.dropped(link.abandon());
        self.counters.closed(&link.connection);
        let farewell = matches!(
            reason, ConnectionError::ApplicationClosed(close)
                if close.error_code == Close::Ended.code()
        );
        let current = match table.entries.get_mut(&peer) {
            Some(entry) if entry.link.as_ref().is_some_and(|known| Arc::ptr_eq(known, link)) => {
                entry.link = None;
                Some(entry.answered)
            }
            _ => None,
        };
        if self.inbox.down(&link.intake) {
            tracing::debug!(%peer, %reason, "down");
        }
        if let Some(answers) = current {
            if farewell || link.ended.load(Ordering::Acquire) {
                self.end_entry(&mut table, peer);
            } else if answers && !table.closed {
                self.spawn(liveness::suspect(self.clone(), peer));
            }
        }
        table.prune();
        drop(table);
        self.changed.notify_waiters();
    }

    /// The peer's process is known to be gone.
    pub(super) fn died(&self, peer: PeerId) {
        let mut table = self.write();
        match table.link(peer) {
            // What it sent last is handed over first; then the connection's end tells the rest.
            Some(link) => {
                link.ended.store(true, Ordering::Release);
                Close::Ended.close(&link.connection);
            }
            None => self.end_entry(&mut table, peer),
        }
    }

    fn end_entry(&self, table: &mut Table, peer: PeerId) {
        let Some(entry) = table.entries.remove(&peer) else {
            return;
        };
        if let Some(want) = &entry.want {
            want.over.cancel();
        }
        if let Some(watch) = &entry.watch {
            watch.cancel();
        }
        if let Some(link) = &entry.link {
            self.inbox.down(&link.intake);
            self.counters.dropped(link.abandon());
            Close::Ended.close(&link.connection);
        }
        tracing::debug!(%peer, "ended");
        table.remember_gone(peer);
        self.inbox.ended(peer);
        self.changed.notify_waiters();
    }

    /// The peer is not wanted any more.
    pub(super) fn forget(&self, peer: PeerId) {
        let mut table = self.write();
        let Some(entry) = table.entries.get_mut(&peer) else {
            return;
        };
        if let Some(want) = entry.want.take() {
            want.over.cancel();
        }
        if let Some(watch) = entry.watch.take() {
            watch.cancel();
        }
        if let Some(link) = &entry.link {
            Close::Forgotten.close(&link.connection);
        }
        table.prune();
    }

    /// Registers and keeps nothing from now on; says which connections are up.
    pub(super) fn close_table(&self) -> Vec<Arc<Link>> {
        let mut table = self.write();
        table.closed = true;
        for entry in table.entries.values_mut() {
            if let Some(want) = entry.want.take() {
                want.over.cancel();
            }
        }
        table.links().cloned().collect()
    }

    /// Waits until the pair's connection of at least this number is up.
    pub(super) async fn wait_up(&self, peer: PeerId, number: u64) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.read().link(peer).is_some_and(|link| link.number >= number) {
                return;
            }
            changed.await;
        }
    }
}
