//! Errors: one small enum per operation, each variant saying what to look at.

/// Why a secret was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It is too short to resist guessing.
    #[error("the cluster secret has {len} bytes; at least {min} are needed")]
    TooShort {
        /// Its length without surrounding white space.
        len: usize,
        /// The least length.
        min: usize,
    },
    /// Its file could not be read.
    #[error("cannot read the cluster secret from {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// The environment variable is not set.
    #[error("the environment variable {variable} that should hold the cluster secret is not set")]
    NotSet {
        /// Its name.
        variable: String,
    },
}

/// Why a transport did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address to listen on is none.
    #[error("cannot listen on {addr:?}: {reason}")]
    BadAddress {
        /// As configured.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process has the port (UDP, or TCP for the liveness link).
    #[error("the port of {addr} is in use by another process")]
    PortInUse {
        /// As configured.
        addr: String,
    },
    /// The system refused the socket for another reason.
    #[error("cannot open {addr}: {reason}")]
    Socket {
        /// As configured.
        addr: String,
        /// What the system said.
        reason: String,
    },
    /// The node's name cannot stand in a certificate.
    #[error("the name {name:?} must have 1 to {max} bytes and no control characters")]
    BadName {
        /// As configured.
        name: String,
        /// The longest name.
        max: usize,
    },
    /// The secret was not accepted.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Keys or certificates could not be made.
    #[error("cannot set up TLS: {reason}")]
    Tls {
        /// What the library said.
        reason: String,
    },
}

/// Why a peer could not be connected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is not of the form `host:port`.
    #[error("{addr:?} is not an address: {reason}")]
    BadAddress {
        /// As given.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The host's name has no address.
    #[error("cannot resolve {addr}: {reason}")]
    Unresolvable {
        /// As given.
        addr: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nobody answered in time.
    #[error("{addr} did not answer within {millis} ms")]
    Unreachable {
        /// As given.
        addr: String,
        /// How long was tried.
        millis: u64,
    },
    /// The other side belongs to a cluster with another secret.
    #[error("{addr} belongs to a cluster with another secret")]
    WrongSecret {
        /// As given.
        addr: String,
    },
    /// No protocol version is spoken by both.
    #[error("{addr} speaks protocol versions {theirs:?}, this process {ours:?}")]
    ProtocolVersion {
        /// As given.
        addr: String,
        /// The lowest and the highest version spoken here.
        ours: (u16, u16),
        /// The lowest and the highest version spoken there.
        theirs: (u16, u16),
    },
    /// Something answered, but it is not a vsync transport.
    #[error("{addr} does not speak vsync: {reason}")]
    NotVsync {
        /// As given.
        addr: String,
        /// What it did instead.
        reason: String,
    },
    /// The address is our own.
    #[error("{addr} is this process itself")]
    Itself {
        /// As given.
        addr: String,
    },
    /// The clocks of the two hosts differ by days: certificates are not valid.
    #[error("certificates between here and {addr} are not valid now: do the clocks agree?")]
    Clock {
        /// As given.
        addr: String,
    },
    /// The peer's certificate does not carry the name and identity it claims.
    #[error("{addr} claims to be {claimed}, which its certificate does not confirm")]
    Impostor {
        /// As given.
        addr: String,
        /// Name and identity as claimed.
        claimed: String,
    },
    /// The connection failed in another way.
    #[error("the connection to {addr} failed: {reason}")]
    Failed {
        /// As given.
        addr: String,
        /// How.
        reason: String,
    },
    /// This transport is shutting down.
    #[error("this transport is shut down")]
    ShutDown,
}
