//! The greeting: the first frames on a connection's control streams, before any other.
//!
//! Both sides send a [`Hello`]. The side with the smaller identity then decides alone whether this
//! connection is *the* connection of the pair: the other tells it in [`Have`] what it has, and
//! hears a [`Verdict`]. One decider means that both ends agree, whoever dialled and however often.

use bytes::{Buf, BufMut};

use crate::{ConnectError, PeerId, PeerInfo};

/// The first bytes of all: they never change, nor do the two version numbers that follow.
const MAGIC: [u8; 4] = *b"VSYN";
/// The longest greeting frame that is read.
pub(super) const MAX: usize = 4_096;

/// What authorises a liveness link.
pub(super) type Token = [u8; 16];

/// Who one side is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) versions: (u16, u16),
    pub(super) id: PeerId,
    pub(super) role: u8,
    pub(super) name: String,
    /// The advertised address; empty: take the one you see.
    pub(super) addr: String,
    /// What opens a liveness link to the sender; absent where it has none.
    pub(super) token: Option<Token>,
}

/// Why a greeting was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Misunderstood {
    Magic,
    Versions { theirs: (u16, u16) },
    Truncated,
}

impl Misunderstood {
    pub(super) fn at(self, addr: &str, ours: (u16, u16)) -> ConnectError {
        let addr = addr.to_owned();
        match self {
            Self::Versions { theirs } => ConnectError::ProtocolVersion { addr, ours, theirs },
            Self::Magic => ConnectError::NotVsync { addr, reason: "no greeting".into() },
            Self::Truncated => ConnectError::NotVsync { addr, reason: "garbled greeting".into() },
        }
    }
}

impl Hello {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.name.len() + self.addr.len());
        out.put_slice(&MAGIC);
        out.put_u16(self.versions.0);
        out.put_u16(self.versions.1);
        out.put_u64(self.id.0);
        out.put_u8(self.role);
        out.put_u8(u8::from(self.token.is_some()));
        out.put_slice(&self.token.unwrap_or_default());
        for text in [&self.name, &self.addr] {
            out.put_u16(text.len() as u16);
            out.put_slice(text.as_bytes());
        }
        out
    }

    /// Reads a greeting; `ours` are the versions spoken here.
    pub(super) fn decode(mut bytes: &[u8], ours: (u16, u16)) -> Result<Self, Misunderstood> {
        let bytes = &mut bytes;
        let magic: [u8; 4] = array(bytes).ok_or(Misunderstood::Magic)?;
        if magic != MAGIC {
            return Err(Misunderstood::Magic);
        }
        let mut version = || bytes.try_get_u16().map_err(|_| Misunderstood::Truncated);
        let versions = (version()?, version()?);
        if versions.0 > ours.1 || versions.1 < ours.0 {
            return Err(Misunderstood::Versions { theirs: versions });
        }
        // A later version may append; it must not change what stands here.
        Self::rest(bytes, versions).ok_or(Misunderstood::Truncated)
    }

    fn rest(bytes: &mut &[u8], versions: (u16, u16)) -> Option<Self> {
        let id = PeerId(bytes.try_get_u64().ok()?);
        let role = bytes.try_get_u8().ok()?;
        let has_token = bytes.try_get_u8().ok()? != 0;
        let token = array(bytes)?;
        let name = text(bytes)?;
        let addr = text(bytes)?;
        Some(Self { versions, id, role, name, addr, token: has_token.then_some(token) })
    }

    /// The peer that greets so, seen at an address.
    pub(super) fn info(&self, seen: std::net::SocketAddr) -> PeerInfo {
        let addr = if self.addr.is_empty() { seen.to_string() } else { self.addr.clone() };
        PeerInfo { id: self.id, name: self.name.clone(), addr, role: self.role }
    }
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = bytes.split_first_chunk()?;
    *bytes = tail;
    Some(*head)
}

fn text(bytes: &mut &[u8]) -> Option<String> {
    let len = usize::from(bytes.try_get_u16().ok()?);
    let (head, tail) = bytes.split_at_checked(len)?;
    *bytes = tail;
    String::from_utf8(head.to_vec()).ok()
}

/// What the side that does not decide has, in connection numbers of the one that does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Have {
    /// The connection that is up there; 0 if none is.
    pub(super) up: u64,
    /// The last one that has been up there; 0 if none ever was.
    pub(super) last: u64,
}

impl Have {
    pub(super) fn encode(self) -> Vec<u8> {
        [self.up.to_be_bytes(), self.last.to_be_bytes()].concat()
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let have = Self { up: bytes.try_get_u64().ok()?, last: bytes.try_get_u64().ok()? };
        bytes.is_empty().then_some(have)
    }
}

/// The decision about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This is the pair's connection from now on, under this number; it replaces any other.
    Use(u64),
    /// The pair has a connection, of this number; this one is to be closed.
    Keep(u64),
}

impl Verdict {
    pub(super) fn encode(self) -> Vec<u8> {
        let (tag, number) = match self {
            Self::Use(number) => (1, number),
            Self::Keep(number) => (2, number),
        };
        let mut out = vec![tag];
        out.put_u64(number);
        out
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (tag, number) = (bytes.try_get_u8().ok()?, bytes.try_get_u64().ok()?);
        match tag {
            1 if bytes.is_empty() => Some(Self::Use(number)),
            2 if bytes.is_empty() => Some(Self::Keep(number)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            versions: (1, 3),
            id: PeerId(0x1234),
            role: 1,
            name: "Zürich".into(),
            addr: "127.0.0.1:7400".into(),
            token: Some([7; 16]),
        }
    }

    #[test]
    fn a_greeting_survives_the_wire() {
        for hello in [hello(), Hello { token: None, addr: String::new(), ..hello() }] {
            assert_eq!(Hello::decode(&hello.encode(), (2, 2)), Ok(hello));
        }
        for verdict in [Verdict::Use(5), Verdict::Keep(6)] {
            assert_eq!(Verdict::decode(&verdict.encode()), Some(verdict));
        }
        let have = Have { up: 0, last: 9 };
        assert_eq!(Have::decode(&have.encode()), Some(have));
    }

    #[test]
    fn versions_must_overlap() {
        let theirs = (1, 3);
        for ours in [(0, 0), (4, 9)] {
            let refused = Hello::decode(&hello().encode(), ours);
            assert_eq!(refused, Err(Misunderstood::Versions { theirs }));
        }
    }

    #[test]
    fn garbage_is_refused_at_every_length() {
        let good = hello().encode();
        for len in 0..good.len() {
            assert!(Hello::decode(&good[..len], (1, 1)).is_err(), "{len}");
        }
        assert_eq!(Hello::decode(b"GET / HTTP/1.1", (1, 1)), Err(Misunderstood::Magic));
        assert_eq!(Verdict::decode(&[3; 9]), None);
        assert_eq!(Verdict::decode(&[1; 10]), None);
        assert_eq!(Have::decode(&[0; 15]), None);
    }
}
