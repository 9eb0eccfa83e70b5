//! A QUIC connection between every two members, set up as well as we know.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    AckFrequencyConfig, ClientConfig, Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig,
    ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::version::TLS13;
use tokio::time::timeout;

use super::super::udp;
use crate::options::Tuning;

/// The name in every certificate.
const NAME: &str = "member.bench";
const ALPN: &[u8] = b"bench/1";
/// With GSO a burst is ten datagrams, and must stay below 65,507 bytes.
const MTU: u16 = 6_500;
const STREAM_WINDOW: u32 = 8 << 20;
const ACK_THRESHOLD: u32 = 20;
const INITIAL_WINDOW: u64 = 256 << 10;
const PATIENCE: Duration = Duration::from_secs(10);

/// What one stream may have in flight.
pub(super) fn stream_window(tuning: &Tuning) -> u32 {
    // `Tuning::check` has seen to it that it fits.
    tuning.stream_window.map_or(STREAM_WINDOW, |window| u32::try_from(window).unwrap_or(u32::MAX))
}

/// A member's endpoint, before it knows the others.
pub(super) struct Listener {
    tuning: Tuning,
    endpoint: Endpoint,
    /// Where it listens, and the certificate that it will show: `ADDRESS/HEX`.
    pub(super) address: String,
    pub(super) settings: BTreeMap<String, String>,
}

/// A member's connections to all others.
pub(super) struct Mesh {
    // Ends with the value; the connections need it.
    _endpoint: Endpoint,
    pub(super) connections: Vec<Connection>,
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

impl Listener {
    pub(super) fn new(tuning: &Tuning) -> Result<Self, String> {
        let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).map_err(text)?;
        let certificate = made.cert.der().clone();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(text)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key.into())
            .map_err(text)?;
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let tls = QuicServerConfig::try_from(tls).map_err(text)?;
        let mut server = ServerConfig::with_crypto(Arc::new(tls));
        server.transport_config(Arc::new(transport(tuning)));

        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let buffer = tuning.socket_buffer.map_or(udp::SOCKET_BUFFER, |buffer| buffer as usize);
        let socket = udp::socket(any, buffer)?;
        socket.bind(&any.into()).map_err(text)?;
        let settings = settings(tuning, &udp::granted(&socket, buffer));
        let mut config = EndpointConfig::default();
        // Otherwise no datagram beyond 1,472 bytes is accepted.
        config.max_udp_payload_size(mtu(tuning)).map_err(text)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(config, Some(server), socket.into(), runtime).map_err(text)?;
        let mut address = format!("{}/", endpoint.local_addr().map_err(text)?);
        for byte in certificate.as_ref() {
            write!(address, "{byte:02x}").map_err(text)?;
        }
        Ok(Listener { tuning: tuning.clone(), endpoint, address, settings })
    }

    /// Dials those after it, and waits for those before it.
    pub(super) async fn connect(self, peers: &[String], index: usize) -> Result<Mesh, String> {
        let mut connections = Vec::new();
        for peer in peers.iter().skip(index + 1) {
            let (address, certificate) = parse(peer)?;
            let client = client(&self.tuning, certificate)?;
            let dialled = self.endpoint.connect_with(client, address, NAME).map_err(text)?;
            let connection = timeout(PATIENCE, dialled).await;
            let late = |_| format!("{address} does not answer");
            connections.push(connection.map_err(late)?.map_err(text)?);
        }
        for _ in 0..index {
            let accepted = timeout(PATIENCE, async {
                let incoming = self.endpoint.accept().await.ok_or("the endpoint is closed")?;
                incoming.await.map_err(text)
            });
            connections.push(accepted.await.map_err(|_| "a member does not dial")??);
        }
        Ok(Mesh { _endpoint: self.endpoint, connections })
    }
}

impl Mesh {
    /// Bytes of UDP payload sent so far.
    pub(super) fn wire(&self) -> u64 {
        self.connections.iter().map(|connection| connection.stats().udp_tx.bytes).sum()
    }
}

fn client(tuning: &Tuning, certificate: CertificateDer<'static>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(text)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(text)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let tls = QuicClientConfig::try_from(tls).map_err(text)?;
    let mut client = ClientConfig::new(Arc::new(tls));
    client.transport_config(Arc::new(transport(tuning)));
    Ok(client)
}

/// AES-128 first: the cheapest where the processor helps. QUIC cannot do without it anyway.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![ring::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
}

fn mtu(tuning: &Tuning) -> u16 {
    tuning.mtu.unwrap_or(MTU)
}

fn ack_every(tuning: &Tuning) -> u32 {
    tuning.ack_every.unwrap_or(ACK_THRESHOLD)
}

fn transport(tuning: &Tuning) -> TransportConfig {
    let (mtu, window) = (mtu(tuning), stream_window(tuning));
    let mut acks = AckFrequencyConfig::default();
    acks.ack_eliciting_threshold(VarInt::from_u32(ack_every(tuning)))
        .max_ack_delay(Some(Duration::from_millis(5)));
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW);
    let mut probing = MtuDiscoveryConfig::default();
    probing.upper_bound(mtu);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .datagram_receive_buffer_size(None)
        // The default of 333 ms makes a first loss cost a second.
        .initial_rtt(Duration::from_millis(10))
        .stream_receive_window(VarInt::from_u32(window))
        .receive_window(VarInt::from_u32(window.saturating_mul(3)))
        .send_window(2 * u64::from(window))
        .send_fairness(false)
        .ack_frequency_config(Some(acks))
        .congestion_controller_factory(Arc::new(cubic))
        .enable_segmentation_offload(!tuning.no_gso)
        .initial_mtu(mtu)
        .mtu_discovery_config(Some(probing));
    transport
}

fn settings(tuning: &Tuning, buffers: &str) -> BTreeMap<String, String> {
    let window = stream_window(tuning) >> 10;
    let (all, sent) = (3 * window, 2 * window);
    let windows = format!("stream {window} KiB, connection {all} KiB, send {sent} KiB");
    let acks = format!("one for {} packets, at the latest after 5 ms", ack_every(tuning));
    let congestion = format!("Cubic, initial window {} KiB", INITIAL_WINDOW >> 10);
    [
        ("transport", "QUIC, TLS 1.3 (ring), AES-128-GCM, the server authenticated"),
        ("MTU", &format!("{} from the start", mtu(tuning))),
        ("GSO", if tuning.no_gso { "off" } else { "on" }),
        ("windows", &windows),
        ("socket buffers", buffers),
        ("acknowledgements", &acks),
        ("congestion control", &congestion),
        ("initial RTT", "10 ms"),
        ("send fairness", "off"),
        ("connections", "one between every two members"),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// `ADDRESS/HEX`.
fn parse(peer: &str) -> Result<(SocketAddr, CertificateDer<'static>), String> {
    let bad = || format!("{peer:?} is no address with a certificate");
    let (address, hex) = peer.split_once('/').ok_or_else(bad)?;
    let byte = |at| hex.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
    let certificate: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    let certificate = certificate.ok_or_else(bad)?;
    Ok((address.parse().map_err(|_| bad())?, CertificateDer::from(certificate)))
}
