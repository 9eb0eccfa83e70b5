//! The one trait between the runtime and whatever carries its frames.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Class, ConnectError, Event, PeerId, PeerInfo, Stats};

/// Carries frames between this process and its peers.
///
/// Implementations: [`Quic`](crate::Quic) and [`Memory`](crate::Memory).
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Who this process is to its peers.
    fn local(&self) -> &PeerInfo;

    /// Dials an address and says who answered. `Up` is emitted as well. From then on the
    /// connection is kept up: redialled when it breaks, until [`forget`](Self::forget) or `Ended`.
    async fn connect(&self, addr: &str) -> Result<PeerInfo, ConnectError>;

    /// Keeps a connection to this peer up, dialling the address whenever there is none. Does not
    /// wait; nothing happens where the peer is wanted already.
    fn want(&self, peer: PeerId, addr: &str);

    /// Stops keeping a connection to this peer and closes it if there is one (`Down` follows).
    /// The peer may still dial us.
    fn forget(&self, peer: PeerId);

    /// Queues a frame. Never waits; where there is no connection the frame is dropped and counted.
    fn send(&self, peer: PeerId, class: Class, frame: Bytes);

    /// Bytes that [`send`](Self::send) has taken for this peer and the stack below has not:
    /// what a sender looks at before it sends more.
    fn backlog(&self, peer: PeerId) -> usize;

    /// The next event; `None` once the transport is shut down and its events are used up. There is
    /// one consumer. The future may be dropped at any time without losing an event.
    async fn next(&self) -> Option<Event>;

    /// The next event if there is one now: lets the consumer drain a burst.
    fn try_next(&self) -> Option<Event>;

    /// Delivers what was queued, as far as the deadline allows, says farewell (peers see `Down`
    /// and `Ended`) and stops.
    async fn shutdown(&self, deadline: Duration);

    /// What has been counted since the start.
    fn stats(&self) -> Stats;
}
