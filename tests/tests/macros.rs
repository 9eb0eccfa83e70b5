//! What `#[replicated]` generates, without a group: updates as bytes, replies, checkpoints; and
//! what it says of code that cannot be replicated.

use std::any::Any;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vsync::__private::{Class, Level, ctx, query_ctx};
use vsync::{
    ApplyError, CheckpointError, Ctx, QueryCtx, QueryError, Replicated, Reply, State, View,
    replicated,
};
use vsync_core::wire::{self, MemberId, NodeId};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    flight: u64,
    route: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Refused {
    Full,
}

/// Not part of the state; cannot even be serialized.
#[derive(Debug, Default, PartialEq)]
struct Hits(u64);

#[replicated(name = "test.sector", version = 4)]
#[derive(Debug, Default)]
struct Sector {
    plans: BTreeMap<u64, Plan>,
    #[local]
    hits: Hits,
    next: u64,
}

#[replicated]
impl Sector {
    #[update(order = "total")]
    fn file_plan(&mut self, ctx: &Ctx<Self>, plan: Plan) -> Result<u64, Refused> {
        self.hits.0 += 1;
        if self.plans.len() >= ctx.size() {
            return Err(Refused::Full);
        }
        self.next += 1;
        self.plans.insert(self.next, plan);
        Ok(self.next)
    }

    #[update(order = "fifo", id = 7, level = "stable")]
    fn track(&mut self, flight: u64, by: i8) {
        self.next += flight;
        self.hits.0 += u64::from(by.unsigned_abs());
    }

    #[update(order = "causal")]
    fn remark(&mut self, ctx: &Ctx<Self>) -> (u64, usize) {
        (ctx.time(), ctx.sender_rank())
    }

    #[query(id = 9)]
    fn count(&self) -> usize {
        self.plans.len()
    }

    #[query]
    fn find(&self, flight: u64, near: Option<String>) -> Result<Plan, Refused> {
        let found = self.plans.values().find(|plan| {
            plan.flight == flight || near.as_ref().is_some_and(|near| plan.route.contains(near))
        });
        found.cloned().ok_or(Refused::Full)
    }

    #[on_view]
    fn view(&mut self, view: &View) {
        self.next += 1000 * view.number();
    }
}

fn view(members: u64) -> wire::View {
    let member = |node| wire::Member {
        id: MemberId { node: NodeId(node), entry: 1 },
        nonce: 0,
        meta: Default::default(),
        transfer: None,
    };
    wire::View { number: 3, members: (1..=members).map(member).collect(), active: members as usize }
}

/// The only member's.
fn alone() -> QueryCtx {
    query_ctx(&view(1), 0, (0, 1))
}

fn encoded<S: Replicated>(update: &S::Update) -> Vec<u8> {
    let mut out = vec![0xEE];
    S::encode(update, &mut out).expect("encodes");
    assert_eq!(out.remove(0), 0xEE, "encoding appends");
    out
}

fn apply(sector: &mut Sector, update: &[u8]) -> Result<Option<Box<dyn Any + Send>>, ApplyError> {
    let mut slot = None;
    sector.apply(&ctx(&view(2), 1, 99), update, &mut Reply::slot(&mut slot))?;
    Ok(slot)
}

fn plan(flight: u64) -> Plan {
    Plan { flight, route: "EWR-LGA".to_owned() }
}

#[test]
fn an_update_is_encoded_applied_and_answered() {
    let mut sector = Sector::default();
    for (flight, expected) in [(1, Ok(1)), (2, Ok(2)), (3, Err(Refused::Full))] {
        let update = encoded::<Sector>(&SectorUpdate::FilePlan { plan: plan(flight) });
        let reply = apply(&mut sector, &update).expect("applies").expect("a reply");
        let reply = reply.downcast::<Result<u64, Refused>>().expect("of the declared type");
        assert_eq!(*reply, expected);
    }
    assert_eq!(sector.plans.len(), 2);
}

#[test]
fn a_reply_that_nobody_wants_is_dropped() {
    let mut sector = Sector::default();
    let update = encoded::<Sector>(&SectorUpdate::Track { flight: 5, by: -3 });
    let mut reply = Reply::none();
    assert!(!reply.wanted());
    sector.apply(&ctx(&view(1), 0, 0), &update, &mut reply).expect("applies");
    assert_eq!((sector.next, sector.hits), (5, Hits(3)));
}

#[test]
fn the_context_is_that_of_the_delivery() {
    let update = encoded::<Sector>(&SectorUpdate::Remark);
    let reply = apply(&mut Sector::default(), &update).expect("applies").expect("a reply");
    assert_eq!(*reply.downcast::<(u64, usize)>().expect("a pair"), (99, 1));
}

#[test]
fn the_wire_form_is_the_id_and_the_arguments() {
    let track = encoded::<Sector>(&SectorUpdate::Track { flight: 300, by: -1 });
    assert_eq!(track, [7, 0xAC, 0x02, 0xFF]);
    let file_plan = encoded::<Sector>(&SectorUpdate::FilePlan { plan: plan(1) });
    let (id, rest) = postcard::take_from_bytes::<u32>(&file_plan).expect("an id");
    assert_eq!(id, Sector::method(&SectorUpdate::FilePlan { plan: plan(1) }).id);
    assert_eq!(rest, postcard::to_allocvec(&(plan(1),)).expect("encodes"));
}

#[test]
fn ids_never_change() {
    // 128 + FNV-1a("…") mod (2^21 - 128): computed elsewhere.
    let ids: Vec<(u32, &str)> = Sector::UPDATES.iter().map(|m| (m.id, m.name)).collect();
    assert_eq!(ids, [(53_735, "file_plan"), (7, "track"), (1_291_793, "remark")]);
    assert_eq!(Sector::QUERIES, [(9, "count"), (1_277_274, "find")]);
}

#[test]
fn methods_tell_their_order_and_level() {
    let track = Sector::method(&SectorUpdate::Track { flight: 1, by: 1 });
    assert_eq!((track.class, track.level), (Class::Fifo, Level::Stable));
    let remark = Sector::method(&SectorUpdate::Remark);
    assert_eq!((remark.class, remark.level), (Class::Causal, Level::Optimistic));
    assert_eq!(Sector::UPDATES[0].class, Class::Total);
    // Only what is the user's own needs to be tried before it is sent.
    let plain = Sector::UPDATES.iter().map(|method| method.plain);
    assert_eq!(plain.collect::<Vec<_>>(), [false, true, true]);
    assert_eq!((Sector::NAME, Sector::VERSION), ("test.sector", 4));
}

#[test]
fn what_does_not_decode_changes_nothing() {
    let mut sector = Sector::default();
    assert_eq!(apply(&mut sector, &[]).err(), Some(ApplyError::NoMethod));
    assert_eq!(apply(&mut sector, &[0xFF]).err(), Some(ApplyError::NoMethod));
    assert_eq!(apply(&mut sector, &[6]).err(), Some(ApplyError::UnknownMethod { id: 6 }));
    // A query's id is no update's.
    assert_eq!(apply(&mut sector, &[9]).err(), Some(ApplyError::UnknownMethod { id: 9 }));

    let mut track = encoded::<Sector>(&SectorUpdate::Track { flight: 1, by: 1 });
    track.push(0);
    let leftover = ApplyError::Leftover { method: "track", bytes: 1 };
    assert_eq!(apply(&mut sector, &track).err(), Some(leftover));
    let short = apply(&mut sector, &track[..2]).expect_err("too short");
    assert!(
        matches!(short, ApplyError::Argument { method: "track", argument: "by", .. }),
        "{short}"
    );
    assert_eq!((sector.next, sector.hits.0), (0, 0));
}

#[test]
fn a_checkpoint_is_the_replicated_fields() {
    let mut sector = Sector { next: 5, hits: Hits(8), ..Sector::default() };
    sector.plans.insert(5, plan(1));
    let bytes = sector.save().expect("saves");
    assert_eq!(bytes, postcard::to_allocvec(&(&sector.plans, sector.next)).expect("encodes"));

    let local = Sector { next: 77, hits: Hits(1), ..Sector::default() };
    let loaded = Sector::load(&bytes, local).expect("loads");
    assert_eq!((loaded.next, &loaded.plans), (5, &sector.plans));
    assert_eq!(loaded.hits, Hits(1), "local fields keep what they had");
    assert_eq!(loaded.save().expect("saves"), bytes, "checkpoints are canonical");
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused() {
    let mut bytes = Sector::default().save().expect("saves");
    bytes.push(1);
    let error = Sector::load(&bytes, Sector::default()).err();
    assert_eq!(error, Some(CheckpointError::Leftover { bytes: 1 }));
    let error = Sector::load(&[], Sector::default()).expect_err("too short");
    assert!(matches!(error, CheckpointError::Load { field: "plans", .. }), "{error}");
}

#[test]
fn a_query_is_answered_in_bytes() {
    let mut sector = Sector::default();
    sector.plans.insert(1, plan(4));
    let mut query = Vec::new();
    let find = SectorQuery::Find { flight: 0, near: Some("LGA".to_owned()) };
    Sector::encode_query(&find, &mut query).expect("encodes");
    let mut out = Vec::new();
    sector.query(&alone(), &query, &mut out).expect("answers");
    let answer: Result<Plan, Refused> = postcard::from_bytes(&out).expect("as serde writes it");
    assert_eq!(answer, Ok(plan(4)));

    out.clear();
    sector.query(&alone(), &[9], &mut out).expect("answers");
    assert_eq!(out, [1]);
    out.clear();
    let find = SectorQuery::Find { flight: 0, near: None };
    query.clear();
    Sector::encode_query(&find, &mut query).expect("encodes");
    sector.query(&alone(), &query, &mut out).expect("answers");
    let answer: Result<Plan, Refused> = postcard::from_bytes(&out).expect("as serde writes it");
    assert_eq!(answer, Err(Refused::Full));

    let unknown = sector.query(&alone(), &[7], &mut out);
    assert_eq!(unknown, Err(QueryError::Decode(ApplyError::UnknownMethod { id: 7 })));
    query.push(1);
    let leftover = sector.query(&alone(), &query, &mut out);
    assert_eq!(
        leftover,
        Err(QueryError::Decode(ApplyError::Leftover { method: "find", bytes: 1 }))
    );
}

#[test]
fn a_view_reaches_its_method() {
    let mut sector = Sector::default();
    let ctx = ctx(&view(1), 0, 0);
    sector.on_view(&ctx, ctx.view());
    assert_eq!(sector.next, 3000);
}

#[test]
fn messages_show_their_method_only() {
    let update = SectorUpdate::FilePlan { plan: plan(1) };
    assert_eq!(format!("{update:?}"), "file_plan { .. }");
}

/// An argument that cannot be encoded.
#[derive(Debug, Deserialize)]
struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

#[replicated]
#[derive(Debug)]
struct Mule {
    load: Option<Stubborn>,
}

#[replicated]
impl Mule {
    #[update(order = "fifo")]
    fn carry(&mut self, light: u8, heavy: Stubborn) {
        let _ = light;
        self.load = Some(heavy);
    }

    #[query]
    fn show(&self) -> Option<Stubborn> {
        self.load.as_ref().map(|_| Stubborn)
    }
}

#[test]
fn what_cannot_be_encoded_is_named() {
    let update = MuleUpdate::Carry { light: 1, heavy: Stubborn };
    let error = Mule::encode(&update, &mut Vec::new()).expect_err("cannot be encoded");
    assert_eq!((error.method, error.argument), ("carry", "heavy"));
    let mule = Mule { load: Some(Stubborn) };
    let error = mule.save().expect_err("cannot be saved");
    assert!(matches!(error, CheckpointError::Save { field: "load", .. }), "{error}");
    let mut query = Vec::new();
    Mule::encode_query(&MuleQuery::Show, &mut query).expect("no arguments");
    let error = mule.query(&alone(), &query, &mut Vec::new()).expect_err("cannot be answered");
    assert!(matches!(error, QueryError::Result { method: "show", .. }), "{error}");
}

/// The state may have a destructor: nothing is moved out of it.
#[replicated]
#[derive(Debug)]
struct Dropping {
    #[serde(with = "inverted")]
    #[cfg(test)]
    value: u8,
    #[cfg(not(test))]
    missing: Missing,
    #[cfg(test)]
    count: u8,
    #[local]
    name: String,
}

mod inverted {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &u8, to: S) -> Result<S::Ok, S::Error> {
        (!value).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u8, D::Error> {
        u8::deserialize(from).map(|value| !value)
    }
}

impl Drop for Dropping {
    fn drop(&mut self) {
        self.name.clear();
    }
}

#[replicated]
impl Dropping {
    #[cfg(not(test))]
    #[on_view]
    fn view(&mut self, view: &View) {
        missing(view);
    }
}

#[test]
fn serde_with_and_drop_go_together() {
    let bytes = Dropping { value: 1, count: 5, name: String::new() }.save().expect("saves");
    assert_eq!(bytes, [0xFE, 5]);
    let local = Dropping { value: 0, count: 0, name: "here".to_owned() };
    let loaded = Dropping::load(&bytes, local).expect("loads");
    assert_eq!((loaded.value, loaded.count, loaded.name.as_str()), (1, 5, "here"));
}

#[test]
fn errors_are_at_the_right_place() {
    trybuild::TestCases::new().compile_fail("ui/*.rs");
}
