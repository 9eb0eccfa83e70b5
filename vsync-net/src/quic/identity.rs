//! Identity from one secret: HKDF makes a CA key of it, each process mints its own certificate.
//!
//! Every process of a cluster derives the same CA key, so none needs to be given a certificate, and
//! a certificate of another cluster is refused in the handshake, at both ends. A leaf lives for
//! days and is minted again at half its life: no process outlives its own.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};
use ring::hkdf;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, ring as provider};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SignatureScheme, version::TLS13};

use crate::inbox::lock;
use crate::{PeerId, Secret, StartError};

/// The application protocol in the handshake.
const ALPN: &[u8] = b"vsync/1";
/// The name that every certificate carries: whoever we dial is a node of the cluster.
pub(super) const NODE: &str = "node.vsync";
/// The longest name of a node, in bytes.
pub(super) const MAX_NAME: usize = 64;

/// How far into the past a leaf is valid (clocks differ), and how long into the future.
const BEFORE: Duration = Duration::from_secs(2 * 86_400);
const AFTER: Duration = Duration::from_secs(7 * 86_400);

/// The TLS sides of one process.
pub(super) struct Identity {
    pub(super) client: Arc<QuicClientConfig>,
    pub(super) server: Arc<QuicServerConfig>,
}

fn tls(error: impl std::fmt::Display) -> StartError {
    StartError::Tls { reason: error.to_string() }
}

impl Identity {
    /// Derives everything from the secret; lets in holders of the other secrets, too.
    pub(super) fn new(
        secret: &Secret,
        also_accept: &[Secret],
        name: &str,
        id: PeerId,
    ) -> Result<Self, StartError> {
        if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
            return Err(StartError::BadName { name: name.to_owned(), max: MAX_NAME });
        }
        let mut roots = RootCertStore::empty();
        for accepted in std::iter::once(secret).chain(also_accept) {
            let (params, key) = authority(accepted)?;
            let certificate = params.self_signed(&key).map_err(tls)?;
            roots.add(certificate.der().clone()).map_err(tls)?;
        }
        let roots = Arc::new(roots);
        let mint = Arc::new(Mint::new(secret, name, id)?);
        let provider = Arc::new(crypto());

        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(tls)?;
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(tls)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(mint.clone());
        server.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed handshake would present old certificates, and early data can be replayed.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.max_early_data_size = 0;

        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(tls)?
            .with_root_certificates(roots)
            .with_client_cert_resolver(mint);
        client.alpn_protocols = vec![ALPN.to_vec()];
        client.resumption = Resumption::disabled();
        client.enable_early_data = false;

        Ok(Self {
            client: Arc::new(QuicClientConfig::try_from(client).map_err(tls)?),
            server: Arc::new(QuicServerConfig::try_from(server).map_err(tls)?),
        })
    }
}

/// AES-128 first: as strong as needed here, and the cheapest where the processor helps.
fn crypto() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            provider::cipher_suite::TLS13_AES_128_GCM_SHA256,
            provider::cipher_suite::TLS13_AES_256_GCM_SHA384,
            provider::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..provider::default_provider()
    }
}

/// The CA of a secret: its parameters and its key.
fn authority(secret: &Secret) -> Result<(CertificateParams, KeyPair), StartError> {
    let mut seed = [0; 32];
    derive(secret, b"certificate authority, ed25519", &mut seed)?;
    // An Ed25519 key in PKCS#8 is this header and the 32 bytes of its seed.
    let mut pkcs8 = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    pkcs8.extend_from_slice(&seed);
    let pkcs8 = PrivatePkcs8KeyDer::from(pkcs8);
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ED25519).map_err(tls)?;

    // The fingerprint in the subject tells authorities apart before any signature is checked.
    let mut print = [0; 8];
    derive(secret, b"fingerprint", &mut print)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("vsync cluster {}", hex(&print)));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    Ok((params, key))
}

fn derive(secret: &Secret, what: &[u8], out: &mut [u8]) -> Result<(), StartError> {
    struct Length(usize);
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"vsync/1 cluster secret");
    salt.extract(secret.bytes())
        .expand(&[what], Length(out.len()))
        .and_then(|okm| okm.fill(out))
        .map_err(tls)
}

/// Mints this process's certificate, again and again.
struct Mint {
    issuer: Issuer<'static, KeyPair>,
    names: Vec<String>,
    common_name: String,
    current: Mutex<(Arc<CertifiedKey>, SystemTime)>,
}

impl Mint {
    fn new(secret: &Secret, name: &str, id: PeerId) -> Result<Self, StartError> {
        let (params, key) = authority(secret)?;
        let issuer = Issuer::new(params, key);
        let names = vec![NODE.to_owned(), name_label(name), id_label(id)];
        let first = Self::mint(&issuer, &names, name)?;
        Ok(Self {
            issuer,
            names,
            common_name: name.to_owned(),
            current: Mutex::new((Arc::new(first), SystemTime::now())),
        })
    }

    fn mint(
        issuer: &Issuer<'static, KeyPair>,
        names: &[String],
        common_name: &str,
    ) -> Result<CertifiedKey, StartError> {
        let key = KeyPair::generate_for(&PKCS_ED25519).map_err(tls)?;
        let mut params = CertificateParams::new(names).map_err(tls)?;
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let now = SystemTime::now();
        params.not_before = (now - BEFORE).into();
        params.not_after = (now + AFTER).into();
        let certificate = params.signed_by(&key, issuer).map_err(tls)?;
        let pkcs8 = PrivatePkcs8KeyDer::from(key.serialize_der());
        let signer = provider::sign::any_eddsa_type(&pkcs8).map_err(tls)?;
        Ok(CertifiedKey::new(vec![certificate.der().clone()], signer))
    }

    /// The certificate to present now.
    fn current(&self) -> Arc<CertifiedKey> {
        let mut current = lock(&self.current);
        let age = current.1.elapsed().unwrap_or_default();
        if age > AFTER / 2 {
            match Self::mint(&self.issuer, &self.names, &self.common_name) {
                Ok(fresh) => *current = (Arc::new(fresh), SystemTime::now()),
                Err(error) => tracing::error!(%error, "cannot renew the certificate"),
            }
        }
        current.0.clone()
    }
}

impl std::fmt::Debug for Mint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mint").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ResolvesServerCert for Mint {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Mint {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Whether the certificate at the other end of a connection carries this name and identity.
pub(super) fn confirms(connection: &quinn::Connection, name: &str, id: PeerId) -> bool {
    let Some(identity) = connection.peer_identity() else {
        return false;
    };
    let Ok(chain) = identity.downcast::<Vec<CertificateDer<'static>>>() else {
        return false;
    };
    let Some(leaf) = chain.first() else {
        return false;
    };
    let Ok(leaf) = ParsedCertificate::try_from(leaf) else {
        return false;
    };
    [name_label(name), id_label(id)].into_iter().all(|label| {
        ServerName::try_from(label)
            .is_ok_and(|label| rustls::client::verify_server_name(&leaf, &label).is_ok())
    })
}

/// The identity as a DNS name.
fn id_label(id: PeerId) -> String {
    format!("{id}.id.vsync")
}

/// The name as a DNS name: any UTF-8 in hexadecimal, in labels of at most 62 characters.
fn name_label(name: &str) -> String {
    let labels: Vec<String> = name.as_bytes().chunks(31).map(hex).collect();
    format!("{}.name.vsync", labels.join("."))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text).unwrap()
    }

    #[test]
    fn one_secret_makes_one_authority() {
        let key = |text| authority(&secret(text)).unwrap().1.public_key_raw().to_vec();
        assert_eq!(key("the secret of one"), key("the secret of one"));
        assert_ne!(key("the secret of one"), key("the secret of two"));
    }

    #[test]
    fn any_reasonable_name_can_be_certified() {
        let build = |name: &str| Identity::new(&secret("sixteen bytes..."), &[], name, PeerId(1));
        for name in ["p", "Zürich süd 1", &"n".repeat(MAX_NAME)] {
            assert!(build(name).is_ok(), "{name}");
        }
        for name in ["", "two\nlines", &"n".repeat(MAX_NAME + 1)] {
            let refused = build(name).err();
            assert!(matches!(refused, Some(StartError::BadName { .. })), "{name}");
        }
    }
}
