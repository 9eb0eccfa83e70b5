//! What a transport counts.

/// Counts of one traffic class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClassStats {
    /// Frames that `send` accepted.
    pub frames_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Frames that arrived.
    pub frames_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
}

/// Counts of one transport since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Per class, indexed like [`Class::ALL`](crate::Class::ALL).
    pub classes: [ClassStats; 3],
    /// Frames that found no connection, or were still queued when theirs broke.
    pub dropped: u64,
    /// Connections that are up now.
    pub connections: u64,
    /// How often a peer that had been up came up again.
    pub reconnects: u64,
    /// Incoming connections that were refused at the handshake or the greeting.
    pub refused: u64,
    /// Connections closed because the peer broke the protocol (too long a frame, garbage).
    pub violations: u64,
    /// Bytes in all UDP datagrams sent: what is on the wire, encrypted, headers of UDP apart.
    pub wire_sent: u64,
    /// Calls that sent datagrams: with GSO one sends several.
    pub sends: u64,
    /// Bytes in all UDP datagrams received.
    pub wire_received: u64,
}
