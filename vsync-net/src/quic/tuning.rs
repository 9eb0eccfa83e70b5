//! quinn's settings, with the reasons.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::{
    AckFrequencyConfig, ClientConfig, EndpointConfig, IdleTimeout, MtuDiscoveryConfig,
    ServerConfig, TransportConfig, VarInt,
};

use super::config::{Mtu, QuicConfig};
use super::identity::Identity;
use crate::StartError;

/// With GSO a burst is ten datagrams and must stay below 65,507 bytes.
const MAX_MTU: u16 = 6_550;
const LOOPBACK_MTU: u16 = 6_500;
/// What one stream may have in flight: several times what a fast local network needs.
const STREAM_WINDOW: u32 = 8 << 20;
/// Packets for each acknowledgement that is not asked for at once, and the longest wait for one.
const ACK_THRESHOLD: u32 = 20;
const ACK_DELAY: Duration = Duration::from_millis(5);
/// A local network takes this at once, and checkpoints need not start slowly.
const INITIAL_WINDOW: u64 = 256 << 10;
/// The default of 333 ms makes a first loss cost a second.
const INITIAL_RTT: Duration = Duration::from_millis(10);

/// The client's and the server's side of quinn, for peers on this host and for others.
pub(super) struct Settings {
    near: (ClientConfig, Arc<ServerConfig>),
    far: (ClientConfig, Arc<ServerConfig>),
}

impl Settings {
    pub(super) fn new(config: &QuicConfig, identity: &Identity) -> Result<Self, StartError> {
        let side = |near| -> Result<_, StartError> {
            let transport = Arc::new(transport(config, near)?);
            let mut client = ClientConfig::new(identity.client.clone());
            client.transport_config(transport.clone());
            let mut server = ServerConfig::with_crypto(identity.server.clone());
            server.transport_config(transport);
            Ok((client, Arc::new(server)))
        };
        Ok(Self { near: side(true)?, far: side(false)? })
    }

    pub(super) fn client(&self, peer: IpAddr) -> ClientConfig {
        if peer.is_loopback() { self.near.0.clone() } else { self.far.0.clone() }
    }

    pub(super) fn server(&self, peer: IpAddr) -> Arc<ServerConfig> {
        if peer.is_loopback() { self.near.1.clone() } else { self.far.1.clone() }
    }
}

pub(super) fn endpoint() -> Result<EndpointConfig, StartError> {
    let mut endpoint = EndpointConfig::default();
    // Otherwise no datagram beyond 1,472 bytes is accepted, whatever the sender probes.
    endpoint
        .max_udp_payload_size(MAX_MTU)
        .map_err(|error| StartError::Tls { reason: error.to_string() })?;
    Ok(endpoint)
}

fn transport(config: &QuicConfig, near: bool) -> Result<TransportConfig, StartError> {
    let idle = IdleTimeout::try_from(config.idle_timeout).map_err(|_| StartError::Tls {
        reason: format!("an idle timeout of {:?} is too long", config.idle_timeout),
    })?;
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ACK_THRESHOLD)).max_ack_delay(Some(ACK_DELAY));
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW);

    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(3))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(config.idle_timeout / 4))
        .initial_rtt(INITIAL_RTT)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(3 * STREAM_WINDOW))
        .send_window(2 * u64::from(STREAM_WINDOW))
        .send_fairness(false)
        .ack_frequency_config(Some(acks))
        .congestion_controller_factory(Arc::new(cubic))
        .enable_segmentation_offload(config.gso);
    let (start, most) = mtu(config.mtu, near);
    if let Some(start) = start {
        transport.initial_mtu(start);
    }
    let mut probing = MtuDiscoveryConfig::default();
    // As shipped quinn stops at 1,452, and jumbo frames are never found.
    probing.upper_bound(most);
    transport.mtu_discovery_config(Some(probing));
    Ok(transport)
}

/// The size that datagrams start with, if not with quinn's, and the largest that is probed.
fn mtu(mtu: Mtu, near: bool) -> (Option<u16>, u16) {
    match mtu {
        Mtu::Auto if near => (Some(LOOPBACK_MTU), LOOPBACK_MTU),
        Mtu::Auto => (None, MAX_MTU),
        Mtu::Fixed(mtu) => {
            let mtu = mtu.clamp(1_200, MAX_MTU);
            (Some(mtu), mtu)
        }
    }
}

/// What quinn is told for a peer on this host, in words.
pub(super) fn described(config: &QuicConfig) -> Vec<(&'static str, String)> {
    let window = STREAM_WINDOW >> 20;
    let datagrams = match mtu(config.mtu, true) {
        (Some(mtu), _) => format!("{mtu} from the start"),
        (None, most) => format!("probed up to {most}"),
    };
    let on = |flag: bool| if flag { "on" } else { "off" }.to_owned();
    vec![
        ("transport", "QUIC, TLS 1.3, AES-128-GCM, both sides authenticated".to_owned()),
        ("MTU", datagrams),
        ("GSO", on(config.gso)),
        (
            "windows",
            format!("stream {window} MiB, connection {} MiB, send {} MiB", 3 * window, 2 * window),
        ),
        ("socket buffers", format!("{} KiB asked for", config.socket_buffer >> 10)),
        (
            "acknowledgements",
            format!("one for {ACK_THRESHOLD} packets, at the latest after {ACK_DELAY:?}"),
        ),
        ("congestion control", format!("Cubic, initial window {} KiB", INITIAL_WINDOW >> 10)),
        ("initial RTT", format!("{INITIAL_RTT:?}")),
        ("send fairness", "off".to_owned()),
        ("liveness link", on(config.liveness)),
    ]
}
