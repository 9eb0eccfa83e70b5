//! Seeing to what the driver tells.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use vsync_core::wire::{GroupId, NodeId};
use vsync_net::PeerId;

use super::core::{Core, contacts};
use super::entering::enter_again;
use super::{ATTEMPT, PAUSE};
use crate::runtime::Notice;
use crate::runtime::seat::Seat;
use crate::view::View;

/// How long a node that is in no common view any more stays connected: it may still have to learn
/// that it was excluded.
const LINGER: Duration = Duration::from_secs(10);

/// Sees to what the driver tells, until the node ends.
pub(crate) async fn attend(core: Arc<Core>, mut notices: mpsc::UnboundedReceiver<Notice>) {
    let mut joins = tokio::task::JoinSet::new();
    let (record, records) = mpsc::unbounded_channel();
    joins.spawn(keep_records(Arc::clone(&core), records));
    while let Some(notice) = notices.recv().await {
        // Finished tasks are forgotten, so that the set stays small.
        while joins.try_join_next().is_some() {}
        match notice {
            Notice::Coordinates { seat, view } => {
                let group = seat.status().group.unwrap_or(GroupId(0));
                drop(record.send((seat.name.to_string(), group.0, view)));
            }
            Notice::Excluded(seat) => {
                joins.spawn(enter_again(Arc::clone(&core), seat));
            }
            Notice::Closed { seat, last, leaving } => {
                core.unregister(&seat);
                if last && !remove(&core, &seat).await {
                    joins.spawn(remove_later(Arc::clone(&core), seat));
                }
                // Who has left may join again, or make the group again.
                for tell in leaving {
                    let _ = tell.send(());
                }
            }
            Notice::Gone(nodes) => {
                joins.spawn(forget(Arc::clone(&core), nodes));
            }
            Notice::Directory(view) => *core.known() = contacts(&view),
            Notice::Barrier(tell) => drop(tell.send(())),
        }
    }
}

/// The last member of a group has left: its name is free. Whether the directory has it, or nobody
/// needs it any more.
async fn remove(core: &Core, seat: &Seat) -> bool {
    let group = seat.status().group;
    if let (Some(directory), Some(group)) = (core.directory.get(), group)
        && group != GroupId(0)
        && let Err(error) = directory.remove(seat.name.to_string(), group.0).timeout(ATTEMPT).await
    {
        tracing::warn!(group = &*seat.name, %error, "the directory still lists an empty group");
        return directory.group().shared.seat.status().trouble.closed.is_some();
    }
    true
}

/// The same, until it is done: removing a group that is gone changes nothing.
async fn remove_later(core: Arc<Core>, seat: Arc<Seat>) {
    loop {
        sleep(PAUSE.1).await;
        if remove(&core, &seat).await {
            return;
        }
    }
}

/// Ends the connection to nodes that are in no common view, after they had time to learn it.
async fn forget(core: Arc<Core>, nodes: Vec<NodeId>) {
    sleep(LINGER).await;
    let views: Vec<View> =
        core.registry().values().filter_map(|r| r.seat.status().view.clone()).collect();
    for node in nodes {
        let common = views.iter().any(|v| v.members().iter().any(|m| m.id.node == node));
        if !common {
            core.transport.forget(PeerId(node.0));
        }
    }
}

/// Writes the newest view of each group that this node coordinates into the directory.
async fn keep_records(core: Arc<Core>, mut views: mpsc::UnboundedReceiver<(String, u64, View)>) {
    let mut newest: BTreeMap<String, (u64, View)> = BTreeMap::new();
    while let Some((name, group, view)) = views.recv().await {
        newest.insert(name, (group, view));
        while let Some((name, (group, view))) = newest.pop_first() {
            if !record(&core, &name, group, &view).await {
                sleep(PAUSE.1).await;
                newest.entry(name).or_insert((group, view));
            }
            while let Ok((name, group, view)) = views.try_recv() {
                newest.insert(name, (group, view));
            }
        }
    }
}

/// Whether the directory has it, or nobody needs it any more.
async fn record(core: &Core, name: &str, group: u64, view: &View) -> bool {
    let Some(directory) = core.directory.get() else { return true };
    if !core.registry().contains_key(name) {
        return true;
    }
    let call = directory.record(name.to_owned(), group, view.number(), contacts(view));
    call.timeout(ATTEMPT).await.is_ok()
}
