//! Peers with the right secret and wrong manners: what only the inside of the transport can play.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, Endpoint, VarInt};
use tokio::time::timeout;

use super::hello::Hello;
use super::identity::{Identity, NODE};
use super::link::Close;
use super::{Quic, QuicConfig, Settings};
use crate::{Class, Event, PeerId, Secret, Transport};

const PATIENCE: Duration = Duration::from_secs(30);
const OWN: PeerId = PeerId(0x51);

fn config(name: &str) -> QuicConfig {
    let connect_timeout = Duration::from_millis(700);
    let secret = Secret::new("the secret of the manners").unwrap();
    QuicConfig { connect_timeout, ..QuicConfig::new(name, "127.0.0.1:0", secret) }
}

/// A connection with a certificate of the cluster, and nothing said on it.
async fn connection(to: SocketAddr) -> (Endpoint, Connection) {
    let config = config("rude");
    let identity = Identity::new(&config.secret, &[], &config.name, OWN).unwrap();
    let settings = Settings::new(&config, &identity).unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(settings.client(to.ip()), to, NODE).unwrap();
    let connection = connecting.await.unwrap();
    (endpoint, connection)
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_be_bytes(), body].concat()
}

fn hello() -> Hello {
    Hello {
        versions: (1, 1),
        id: OWN,
        role: 0,
        name: "rude".into(),
        addr: "127.0.0.1:9".into(),
        token: None,
    }
}

async fn closed(connection: &Connection) -> Option<VarInt> {
    match timeout(PATIENCE, connection.closed()).await.expect("not closed") {
        quinn::ConnectionError::ApplicationClosed(close) => Some(close.error_code),
        _ => None,
    }
}

/// The node still serves who behaves.
async fn serves(node: &Quic) {
    let friend = Quic::start(config("friend")).await.unwrap();
    let info = friend.connect(&node.local().addr).await.unwrap();
    friend.send(info.id, Class::Updates, Bytes::from_static(b"are you well?"));
    loop {
        let event = timeout(PATIENCE, node.next()).await.unwrap().unwrap();
        if matches!(event, Event::Frame { peer, .. } if peer == friend.local().id) {
            return;
        }
    }
}

async fn refused_for(first_bytes: Vec<u8>, code: Close) {
    let node = Quic::start(config("node")).await.unwrap();
    let (_endpoint, connection) = connection(node.bound()).await;
    let mut send = connection.open_uni().await.unwrap();
    send.write_all(&first_bytes).await.unwrap();
    assert_eq!(closed(&connection).await, Some(code.code()));
    assert_eq!(node.try_next(), None);
    serves(&node).await;
    assert_eq!(node.stats().refused, 1);
}

#[tokio::test]
async fn a_wrong_magic_is_refused() {
    refused_for(framed(b"HELO mail.example.org"), Close::Greeting).await;
}

#[tokio::test]
async fn a_truncated_greeting_is_refused() {
    let body = hello().encode();
    refused_for(framed(&body[..body.len() - 3]), Close::Greeting).await;
}

#[tokio::test]
async fn an_endless_greeting_is_refused() {
    refused_for(vec![0xff; 64], Close::Greeting).await;
}

#[tokio::test]
async fn a_wrong_version_is_refused() {
    let hello = Hello { versions: (7, 9), ..hello() };
    refused_for(framed(&hello.encode()), Close::Version).await;
}

#[tokio::test]
async fn another_name_than_the_certificates_is_refused() {
    for hello in [Hello { name: "the boss".into(), ..hello() }, Hello { id: PeerId(5), ..hello() }]
    {
        refused_for(framed(&hello.encode()), Close::Impostor).await;
    }
}

#[tokio::test]
async fn silence_is_not_waited_for_for_ever() {
    let node = Quic::start(config("node")).await.unwrap();
    let (_endpoint, connection) = connection(node.bound()).await;
    timeout(PATIENCE, connection.closed()).await.expect("not closed");
    serves(&node).await;
    assert_eq!(node.stats().refused, 1);
}

#[tokio::test]
async fn garbage_after_the_greeting_closes_the_connection() {
    // The larger identity, so that the rude one decides: it says `Use` at once.
    let node = Quic::start(QuicConfig { id: Some(PeerId(u64::MAX)), ..config("node") });
    let node = node.await.unwrap();
    let (_endpoint, connection) = connection(node.bound()).await;
    let mut send = connection.open_uni().await.unwrap();
    send.write_all(&framed(&hello().encode())).await.unwrap();
    send.write_all(&framed(&super::hello::Verdict::Use(1).encode())).await.unwrap();
    let event = timeout(PATIENCE, node.next()).await.unwrap();
    assert!(matches!(event, Some(Event::Up(info)) if info.id == OWN));
    send.write_all(&framed(b"a frame")).await.unwrap();
    send.write_all(&[0xee; 100]).await.unwrap();
    assert_eq!(closed(&connection).await, Some(Close::TooLong.code()));
    let event = timeout(PATIENCE, node.next()).await.unwrap();
    assert!(matches!(event, Some(Event::Frame { peer: OWN, class: Class::Control, .. })));
    let event = timeout(PATIENCE, node.next()).await.unwrap();
    assert_eq!(event, Some(Event::Down { peer: OWN }));
    assert_eq!(node.stats().violations, 1);
    serves(&node).await;
}

#[tokio::test]
async fn another_application_is_told_apart() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rcgen::generate_simple_self_signed(vec![NODE.into()]).unwrap();
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![key.cert.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der()).into(),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
    let server = quinn::ServerConfig::with_crypto(Arc::new(tls));
    let endpoint = Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = endpoint.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            let _ = incoming.await;
        }
    });
    let node = Quic::start(config("node")).await.unwrap();
    let error = node.connect(&addr).await.unwrap_err();
    assert!(matches!(error, crate::ConnectError::NotVsync { .. }), "{error:?}");
}
