//! Dialling and accepting.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, ConnectionError, Incoming};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Shared;
use super::greet::Greeting;
use super::identity::NODE;
use super::link::Close;
use crate::address::look_up;
use crate::{ConnectError, PeerInfo};

/// Handshakes under way beyond which a stranger must first prove its address, and beyond which it
/// is not answered.
const HALF_OPEN: (usize, usize) = (64, 1_024);

/// TLS alerts as they appear in QUIC's error codes.
const ALERT: u64 = 0x100;
const CERTIFICATE_EXPIRED: u64 = ALERT + 45;
const UNKNOWN_CA: u64 = ALERT + 48;
const DECRYPT_ERROR: u64 = ALERT + 51;
const NO_APPLICATION_PROTOCOL: u64 = ALERT + 120;

/// Dials an address; returns when the peer there is up.
pub(super) async fn dial(shared: &Arc<Shared>, addr: &str) -> Result<PeerInfo, ConnectError> {
    if shared.stop.is_cancelled() {
        return Err(ConnectError::ShutDown);
    }
    let found = resolve(shared, addr).await?;
    let share = shared.config.connect_timeout / found.len().max(1) as u32;
    let mut last = unreachable(addr, shared.config.connect_timeout);
    for peer in found {
        match timeout(share, attempt(shared, addr, peer)).await {
            Ok(Ok(info)) => return Ok(info),
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

/// The addresses behind one, as far as our socket can reach their family.
async fn resolve(shared: &Shared, addr: &str) -> Result<Vec<SocketAddr>, ConnectError> {
    crate::check_address(addr)?;
    let unresolvable =
        |reason: String| ConnectError::Unresolvable { addr: addr.to_owned(), reason };
    let lookup = timeout(shared.config.connect_timeout, look_up(addr)).await;
    let found = lookup
        .map_err(|_| unresolvable("the resolver did not answer in time".into()))?
        .map_err(|error| unresolvable(error.to_string()))?;
    let found = found.into_iter();
    let found: Vec<_> = found.filter(|peer| peer.is_ipv4() == shared.bound.is_ipv4()).collect();
    if found.is_empty() {
        return Err(unresolvable("no address of the family that we listen on".into()));
    }
    Ok(found)
}

async fn attempt(
    shared: &Arc<Shared>,
    addr: &str,
    peer: SocketAddr,
) -> Result<PeerInfo, ConnectError> {
    let client = shared.settings.client(peer.ip());
    let connecting = shared.endpoint.connect_with(client, peer, NODE).map_err(|error| {
        ConnectError::BadAddress { addr: addr.to_owned(), reason: error.to_string() }
    })?;
    let patience = shared.config.connect_timeout;
    let connection = connecting.await.map_err(|error| describe(&error, addr, patience))?;
    let mut unused = CloseUnused(Some(connection.clone()));
    let info = Greeting { shared, connection, addr, dialled: true }.run().await?;
    unused.0 = None;
    Ok(info)
}

/// Closes a connection whose dial is given up, so that the other end does not wait for it.
struct CloseUnused(Option<Connection>);

impl Drop for CloseUnused {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take().filter(|open| open.close_reason().is_none()) {
            Close::Greeting.close(&connection);
        }
    }
}

/// Accepts connections until the endpoint is closed.
pub(super) async fn accept(shared: Arc<Shared>) {
    let half_open = Arc::new(Semaphore::new(HALF_OPEN.1));
    while let Some(incoming) = shared.endpoint.accept().await {
        let Ok(permit) = half_open.clone().try_acquire_owned() else {
            incoming.ignore();
            continue;
        };
        let crowded = HALF_OPEN.1 - half_open.available_permits() > HALF_OPEN.0;
        if crowded && !incoming.remote_address_validated() && incoming.may_retry() {
            let _ = incoming.retry();
            continue;
        }
        let task = {
            let shared = shared.clone();
            async move {
                let _permit = permit;
                receive(&shared, incoming).await;
            }
        };
        shared.spawn(task);
    }
}

async fn receive(shared: &Arc<Shared>, incoming: Incoming) {
    let peer = incoming.remote_address();
    let addr = peer.to_string();
    let patience = shared.config.connect_timeout;
    let greeting = async {
        let connecting = incoming
            .accept_with(shared.settings.server(peer.ip()))
            .map_err(|error| describe(&error, &addr, patience))?;
        let connection = connecting.await.map_err(|error| describe(&error, &addr, patience))?;
        Greeting { shared, connection, addr: &addr, dialled: false }.run().await
    };
    let error = match timeout(patience, greeting).await {
        Ok(Ok(_)) | Ok(Err(ConnectError::Itself { .. } | ConnectError::ShutDown)) => return,
        Ok(Err(error)) => error,
        Err(_) => unreachable(&addr, patience),
    };
    shared.counters.refused();
    tracing::warn!(from = addr, %error, "refused a connection");
}

fn unreachable(addr: &str, after: Duration) -> ConnectError {
    ConnectError::Unreachable { addr: addr.to_owned(), millis: after.as_millis() as u64 }
}

/// Says in our words why a connection failed.
pub(super) fn describe(error: &ConnectionError, addr: &str, patience: Duration) -> ConnectError {
    let addr = addr.to_owned();
    let code = match error {
        ConnectionError::TimedOut => return unreachable(&addr, patience),
        ConnectionError::VersionMismatch => {
            let reason = "no common version of QUIC".into();
            return ConnectError::NotVsync { addr, reason };
        }
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        ConnectionError::ApplicationClosed(close) if close.error_code == Close::Itself.code() => {
            return ConnectError::Itself { addr };
        }
        _ => 0,
    };
    match code {
        UNKNOWN_CA | DECRYPT_ERROR => ConnectError::WrongSecret { addr },
        CERTIFICATE_EXPIRED => ConnectError::Clock { addr },
        NO_APPLICATION_PROTOCOL => {
            ConnectError::NotVsync { addr, reason: "no common application protocol".into() }
        }
        _ => ConnectError::Failed { addr, reason: error.to_string() },
    }
}
