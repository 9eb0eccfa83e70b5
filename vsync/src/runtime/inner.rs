//! [`Inner`]: updates of the runtime's own, which travel and are ordered as the user's are.

use serde::{Deserialize, Serialize};
use vsync_core::engine::{Class, Level};

use super::compare::Digest;
use super::pending::{Finish, Name, Step, Wanted};
use super::sessions::Commit;
use super::verdicts::{Place, Verdict};
use crate::replicated::Method;

/// How they begin: no method id is encoded so, since none has more than 32 bits.
const PREFIX: [u8; 5] = [0xff; 5];

/// An update of the runtime's own. All are totals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Inner {
    /// This timer is due.
    Fire(u64),
    /// How an update of which somebody has spoken went at the sender.
    Verdict(Place, Verdict),
    /// This version of the type shall be active.
    Activate(u32),
    /// Compare the replicas here.
    Compare,
    /// What the sender's state was at that place.
    Digest(Place, Digest),
    /// Open a session of a client, with a lease of so many microseconds.
    Open(u64),
    /// Carry a client's update out, unless that was done before.
    Commit(Box<Commit>),
    /// Forget the sessions and keys whose leases have ended, and end the requests that are late.
    Expire,
    /// This request is under way.
    Request(Box<Wanted>),
    /// A part of a request's work is done.
    Step(Box<Step>),
    /// A request is done.
    Finish(Box<Finish>),
    /// This request is not wanted any more.
    Cancel(Name),
    /// Nothing: its place in the order is what is asked for.
    Barrier,
}

/// One that is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sending {
    pub(crate) method: &'static Method,
    pub(crate) update: Vec<u8>,
}

const fn method(level: Level) -> Method {
    Method {
        id: u32::MAX,
        name: "of the runtime",
        class: Class::Total,
        level,
        since: 1,
        until: None,
        plain: true,
    }
}

static OPTIMISTIC: Method = method(Level::Optimistic);
static STABLE: Method = method(Level::Stable);

impl Inner {
    /// The method of updates of this level.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn method(level: Level) -> &'static Method {
        match level {
            Level::Optimistic => &OPTIMISTIC,
            Level::Stable => &STABLE,
        }
    }

    /// As it is sent.
    pub(crate) fn sending(self, stable: bool) -> Option<Sending> {
        // Numbers and bytes into a growing vector: postcard has nothing to refuse there.
        let update = postcard::to_extend(&self, PREFIX.to_vec()).ok()?;
        Some(Sending { method: if stable { &STABLE } else { &OPTIMISTIC }, update })
    }

    /// Whether an update is one that members answer to. By its variant, since all that comes is
    /// looked at: what does not decode is found out by whoever applies it.
    pub(crate) fn asks(update: &[u8]) -> bool {
        // Their numbers are those of `Verdict`, `Compare` and `Digest`.
        matches!(update.strip_prefix(&PREFIX), Some([1 | 3 | 4, ..]))
    }

    /// What an update is that is none of the user's.
    pub(crate) fn read(update: &[u8]) -> Option<Inner> {
        match postcard::take_from_bytes(update.strip_prefix(&PREFIX)?) {
            Ok((inner, [])) => Some(inner),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::pending::{Given, Work};
    use crate::runtime::sessions::RequestId;

    #[test]
    fn what_members_answer_to_is_told_by_its_variant() {
        let (place, name) = (Place { view: 1, update: None }, Name::Key(vec![1]));
        let id = RequestId::Key(vec![1]);
        let wanted = Wanted { id: id.clone(), call: Vec::new(), key: None, patience: 1 };
        let step = Step { name: name.clone(), index: 0, work: Work::Found(Vec::new()) };
        let given = Given::Of(0);
        let finish = Finish { name: name.clone(), updates: Vec::new(), given };
        for inner in [
            Inner::Fire(1),
            Inner::Verdict(place, Verdict::Sound),
            Inner::Activate(1),
            Inner::Compare,
            Inner::Digest(place, Digest::of(&[1], &[])),
            Inner::Open(1),
            Inner::Commit(Box::new(Commit { id, update: Vec::new() })),
            Inner::Expire,
            Inner::Request(Box::new(wanted)),
            Inner::Step(Box::new(step)),
            Inner::Finish(Box::new(finish)),
            Inner::Cancel(name),
            Inner::Barrier,
        ] {
            let asks = matches!(inner, Inner::Verdict(..) | Inner::Compare | Inner::Digest(..));
            let update = inner.clone().sending(false).expect("encodes").update;
            assert_eq!(Inner::asks(&update), asks, "{inner:?}");
        }
    }

    #[test]
    fn no_update_of_a_users_looks_like_one() {
        let sending = Inner::Fire(300).sending(true).expect("encodes");
        assert_eq!(sending.method.level, Level::Stable);
        assert_eq!(Inner::read(&sending.update), Some(Inner::Fire(300)));
        let (bytes, longer) = (&sending.update, [&sending.update[..], &[0]].concat());
        assert_eq!(Inner::read(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Inner::read(&longer), None);
        assert!(postcard::take_from_bytes::<u32>(bytes).is_err());
        let last = postcard::to_stdvec(&u32::MAX).expect("encodes");
        assert!(!last.starts_with(&PREFIX));
    }
}
