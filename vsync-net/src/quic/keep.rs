//! Keeping wanted connections up: redialling with a growing, jittered pause.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::table::Want;
use super::{Shared, dial, liveness, random};
use crate::PeerId;

/// The first pause before a redial, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));
/// A connection that has lasted so long makes the next pause short again.
const LASTING: Duration = Duration::from_secs(1);

/// Wants a peer from now on; nothing changes where it is wanted, is gone, or is ourselves.
pub(super) fn keep(shared: &Arc<Shared>, peer: PeerId, addr: &str) {
    let mut table = shared.write();
    if table.closed || peer == shared.local.id || table.gone.contains(&peer) {
        return;
    }
    let entry = table.entries.entry(peer).or_default();
    if entry.want.is_some() {
        return;
    }
    let over = CancellationToken::new();
    entry.want = Some(Want { addr: addr.to_owned(), over: over.clone() });
    drop(table);
    let keeper = keeper(shared.clone(), peer);
    shared.spawn(async move {
        tokio::select! {
            () = over.cancelled() => {}
            () = keeper => {}
        }
    });
}

async fn keeper(shared: Arc<Shared>, peer: PeerId) {
    let mut pause = PAUSE.0;
    let mut attempts = 0_usize;
    loop {
        let link = shared.read().link(peer).cloned();
        if let Some(link) = link {
            link.done.cancelled().await;
            if link.since.elapsed() > LASTING {
                pause = PAUSE.0;
            }
            attempts = 0;
        } else {
            let candidates = candidates(&shared, peer);
            let Some(addr) = candidates.get(attempts % candidates.len().max(1)) else {
                return;
            };
            attempts += 1;
            match dial::dial(&shared, addr).await {
                Ok(info) if info.id == peer => continue,
                Ok(info) => tracing::info!(%peer, found = %info.id, addr, "another peer is there"),
                Err(error) => {
                    tracing::debug!(%peer, %error, "cannot reconnect");
                    liveness::suspect(shared.clone(), peer).await;
                }
            }
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Where the peer may be: where it says, and where it was dialled (a seed's address may be shared
/// by several processes).
fn candidates(shared: &Shared, peer: PeerId) -> Vec<String> {
    let table = shared.read();
    let Some(entry) = table.entries.get(&peer) else {
        return Vec::new();
    };
    let known = entry.info.as_ref().map(|info| info.addr.clone());
    let wanted = entry.want.as_ref().map(|want| want.addr.clone());
    let mut candidates: Vec<String> = known.into_iter().chain(wanted).collect();
    candidates.dedup();
    candidates
}

/// Between half of a pause and all of it, so that two ends do not go on dialling at once.
fn jittered(pause: Duration) -> Duration {
    let share = random::<1>().map_or(128, |[byte]| u32::from(byte));
    pause / 2 + pause / 2 * share / 255
}
