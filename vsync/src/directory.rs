//! The directory: names of groups, as a replicated object of this very framework.
//!
//! It is group 0 of a cluster, made by the node that bootstraps and joined by all others through
//! their seeds. What it says of a group's members may lag behind: a joiner asks again.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use vsync_core::wire::NodeId;

use crate::alike::Latest;
use crate::runtime::rpc::Contact;
use crate::{Ctx, replicated};

/// The name of the directory's own group.
pub(crate) const NAME: &str = "vsync";

/// What a group replicates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kind {
    /// Identity of the type.
    pub(crate) schema: u64,
    /// The type in words.
    #[serde(with = "words")]
    pub(crate) name: Arc<str>,
}

/// The type in words: most groups have the same few.
mod words {
    use super::{Arc, Deserialize, Deserializer, Latest, Serializer};

    pub(super) static LATEST: Latest<str> = Latest::new();

    pub(super) fn serialize<S: Serializer>(name: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(|name| LATEST.share(name))
    }
}

impl Kind {
    pub(crate) fn new(schema: u64, name: &str) -> Kind {
        Kind { schema, name: words::LATEST.share(name) }
    }
}

/// The active members of a group. Thousands of groups on the same nodes share one list.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Contact>", into = "Vec<Contact>")]
pub(crate) struct Contacts(Arc<[Contact]>);

impl From<Vec<Contact>> for Contacts {
    fn from(list: Vec<Contact>) -> Contacts {
        static LATEST: Latest<[Contact]> = Latest::new();
        Contacts(LATEST.share(list))
    }
}

impl Contacts {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Contacts> for Vec<Contact> {
    fn from(contacts: Contacts) -> Vec<Contact> {
        contacts.0.to_vec()
    }
}

/// A group, as the directory knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Its number; never used for another group.
    pub(crate) group: u64,
    /// Which incarnation of the name.
    pub(crate) generation: u32,
    /// What it replicates.
    pub(crate) kind: Kind,
    /// The node that makes it.
    pub(crate) creator: u64,
    /// The view that `members` is from; 0 until the creator has installed its first one.
    pub(crate) view: u64,
    /// The active members.
    pub(crate) members: Contacts,
}

impl Entry {
    /// Whether the group is known to have come into being.
    pub(crate) fn confirmed(&self) -> bool {
        self.view > 0
    }
}

/// All groups of a cluster.
#[replicated(crate = "crate", name = "vsync.directory")]
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// Which cluster it is of: the number of the node that has formed it.
    cluster: u64,
    groups: BTreeMap<String, Entry>,
    /// The last number given to a group.
    last: u64,
    /// The highest generation of a group that is gone: one of its name made later is above it.
    gone: u32,
}

#[replicated(crate = "crate")]
impl Directory {
    /// That of a cluster which this node forms. Who joins one gets the directory that is there.
    pub(crate) fn formed_by(node: u64) -> Directory {
        Directory { cluster: node, ..Directory::default() }
    }

    /// Which cluster it is of.
    #[query]
    pub(crate) fn cluster(&self) -> u64 {
        self.cluster
    }

    /// Decides, once, who makes the group of this name: the caller, or else (as the error) what
    /// there is already.
    ///
    /// An entry whose group never came into being falls when its creator is gone.
    #[update(order = "total")]
    pub(crate) fn create(
        &mut self,
        ctx: &Ctx<Self>,
        name: String,
        kind: Kind,
        creator: u64,
    ) -> Result<Entry, Entry> {
        let mut generation = self.gone + 1;
        if let Some(entry) = self.groups.get(&name) {
            let here = ctx.view().has_active(NodeId(entry.creator));
            if entry.confirmed() || (here && entry.creator != creator) {
                return Err(entry.clone());
            }
            if entry.creator == creator {
                // Its earlier call was applied, but it did not learn the answer.
                return Ok(entry.clone());
            }
            generation = entry.generation + 1;
        }
        self.last += 1;
        let group = self.last;
        let entry =
            Entry { group, generation, kind, creator, view: 0, members: Contacts::default() };
        self.groups.insert(name, entry.clone());
        Ok(entry)
    }

    /// Notes the active members of a group's view. Older views are passed over.
    #[update(order = "total")]
    pub(crate) fn record(&mut self, name: String, group: u64, view: u64, members: Vec<Contact>) {
        if let Some(entry) = self.groups.get_mut(&name)
            && entry.group == group
            && entry.view < view
        {
            entry.view = view;
            entry.members = members.into();
        }
    }

    /// Forgets a group whose last member has left in an orderly way.
    #[update(order = "total")]
    pub(crate) fn remove(&mut self, name: String, group: u64) {
        if self.groups.get(&name).is_some_and(|entry| entry.group == group)
            && let Some(entry) = self.groups.remove(&name)
        {
            self.gone = self.gone.max(entry.generation);
        }
    }

    /// What there is of this name, after everything that was decided before the call.
    #[update(order = "total")]
    pub(crate) fn lookup(&mut self, name: String) -> Option<Entry> {
        self.groups.get(&name).cloned()
    }

    /// What this replica knows of this name; may lag behind.
    #[query]
    pub(crate) fn find(&self, name: String) -> Option<Entry> {
        self.groups.get(&name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use vsync_core::wire;

    use super::*;
    use crate::view::{MemberId, View};

    /// A view of the directory's group with these nodes.
    fn ctx(nodes: &[u64]) -> Ctx<Directory> {
        let member = |node: &u64| wire::Member {
            id: MemberId { node: NodeId(*node), entry: 1 },
            meta: bytes::Bytes::new(),
            nonce: 0,
            transfer: None,
        };
        let members: Vec<_> = nodes.iter().map(member).collect();
        let view = wire::View { number: 1, active: members.len(), members };
        Ctx::new(wire::GroupId(0), View::new(&view, &[], &[], &[]))
    }

    fn kind() -> Kind {
        Kind::new(1, "Bank version 1")
    }

    fn contact(node: u64) -> Contact {
        Contact { node, address: format!("n{node}:1") }
    }

    #[test]
    fn one_creator_wins_and_may_ask_again() {
        let mut directory = Directory::default();
        let ctx = ctx(&[1, 2]);
        let made = directory.create(&ctx, "bank".into(), kind(), 1).expect("it is free");
        assert_eq!(directory.create(&ctx, "bank".into(), kind(), 2), Err(made.clone()));
        assert_eq!(directory.create(&ctx, "bank".into(), kind(), 1), Ok(made));
    }

    #[test]
    fn what_never_came_into_being_falls_with_its_creator() {
        let mut directory = Directory::default();
        let first = directory.create(&ctx(&[1, 2]), "bank".into(), kind(), 1).expect("free");
        let second = directory.create(&ctx(&[2]), "bank".into(), kind(), 2).expect("free again");
        assert!(second.group > first.group && second.generation > first.generation);
        // The late confirmation of the first is not for the second.
        directory.record("bank".into(), first.group, 1, vec![contact(1)]);
        assert!(!directory.find("bank".into()).expect("there").confirmed());
        directory.record("bank".into(), second.group, 1, vec![contact(2)]);
        let taken = directory.create(&ctx(&[3]), "bank".into(), kind(), 3);
        assert_eq!(taken.expect_err("confirmed").members, vec![contact(2)].into());
    }

    #[test]
    fn older_views_change_nothing_and_a_removed_name_gets_a_new_generation() {
        let mut directory = Directory::default();
        let ctx = ctx(&[1]);
        let made = directory.create(&ctx, "bank".into(), kind(), 1).expect("free");
        directory.record("bank".into(), made.group, 3, vec![contact(1), contact(2)]);
        directory.record("bank".into(), made.group, 2, vec![contact(1)]);
        assert_eq!(directory.find("bank".into()).expect("there").members.0.len(), 2);
        directory.remove("bank".into(), made.group + 1);
        assert!(directory.lookup("bank".into()).is_some());
        directory.remove("bank".into(), made.group);
        assert_eq!(directory.lookup("bank".into()), None);
        let again = directory.create(&ctx, "bank".into(), kind(), 1).expect("free again");
        assert!(again.generation > made.generation && again.group > made.group);
    }
}
