//! The `#[replicated]` attribute of `vsync`.
//!
//! Use it through the `vsync` crate, which re-exports it and has what the generated code calls.
//!
//! The way of an annotated item: `parse` its tokens and options, put it into a `model`, `check` it,
//! `expand` it. Errors are collected on the way and reported together, each at its own token; the
//! item itself is always emitted, so that nothing else fails because of them.
#![forbid(unsafe_code)]

mod check;
mod expand;
mod model;
mod names;
mod parse;
mod sim_test;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use syn::Item;

use crate::parse::Errors;

/// Makes a struct the state of replicated objects, and an `impl` block its updates and queries.
///
/// It goes on the struct and on exactly one of its `impl` blocks:
///
/// ```ignore
/// #[replicated]
/// #[derive(Default)]
/// pub struct Sector {
///     plans: BTreeMap<u64, Plan>,
///     #[local]
///     hits: Hits,
/// }
///
/// #[replicated]
/// impl Sector {
///     /// Files a plan.
///     #[update(order = "total")]
///     pub fn file_plan(&mut self, ctx: &Ctx<Self>, plan: Plan) -> Result<u64, Refused> {
///         self.file(ctx.time(), plan)
///     }
///
///     #[query]
///     pub fn count(&self) -> usize {
///         self.plans.len()
///     }
///
///     #[on_view]
///     fn view(&mut self, view: &View) {
///         self.hits.reset(view.size());
///     }
/// }
/// ```
///
/// # On a struct
/// - `name = "…"`: what the type is called in the cluster; else the struct's own name.
/// - `version = 3`: the version of state and methods; else 1.
/// - `from = SectorV2`: the version before. Its checkpoints are loaded by way of
///   `impl From<SectorV2> for Sector`; with `impl From<&Sector> for SectorV2`, if there is one,
///   this version writes checkpoints for it.
/// - `past`: the struct is an earlier version itself, kept for its checkpoints; it has no methods.
///   Say `name` and `version`, and `from` if there was one before.
/// - `event = SectorEvent`: what its updates may emit; a type that is `Clone` and `Send`.
/// - `published`: clients may read these events, which therefore travel.
/// - `requests = "rendezvous"`, `"primary"`, `"load"`, `"active"`, or a function: who coordinates
///   its requests.
/// - `crate = "…"`: where `vsync` is, if it was renamed; also on the `impl`.
/// - `#[local]` on a field: not part of the replicated state. It is in no checkpoint and keeps the
///   value that was given to `join`.
/// - `#[derived(with = Self::index)]` on a field: computed from the other fields, by a function
///   from `&Self` to the field's value. It is in no checkpoint; when one is loaded it is computed
///   anew, after the fields that are in it, and after the derived ones above it. Updates keep it
///   true.
///
/// # On a method
/// - `#[update(order = "fifo")]`, `"causal"` or `"total"`: takes `&mut self`, then perhaps
///   `ctx: &Ctx<Self>`, then arguments by value. It must be deterministic. If it panics, what it
///   has changed before stays, at every replica alike; the caller is told `Panicked`, and the
///   group goes on.
///   - `level = "stable"`: applied only when it is stable.
///   - `id = 7`: what it is called on the wire.
///   - `since = 2`: it may be called when version 2 of the type is active in the group, or a later
///     one.
///   - `until = 4`: it may be called until version 4 is active.
/// - `#[query]`: takes `&self`, then perhaps `ctx: &QueryCtx`, then arguments by value; also with
///   `id = …`.
///   - `scatter, gather = merge`: the members divide its work, by the share in its context;
///     `merge`, a `fn(Vec<R>) -> R`, makes one answer of theirs, which come in rank order.
///   - `snapshot`: it reads a copy of the state, which is made between two updates, and is computed
///     on a thread of the node's own; updates and other queries go on meanwhile. The struct is
///     `Clone`, and each such query costs what that costs.
/// - `#[request]`: an `async fn` without `self` that takes `ctx: &RequestCtx<Self>` first, then
///   arguments by value. It runs at one member, which is succeeded when it fails; what it changes
///   by `ctx.update()` and what it answers are one update. Declared to give an `Effect<T>`, it may
///   leave its answer to an update. Also with `id`, `since` and `until`.
///   - `key = argument`: requests with the same argument have the same coordinator.
///   - `policy = "primary"`, or another of those for `requests` above: who coordinates this one.
/// - `#[on_view]`: runs at every member at the same point of the order.
///
/// # Ids
/// Without `id = …` a method's id is a hash of its name, so that methods may be reordered and
/// added: 32-bit FNV-1a of the name's bytes, modulo 2²¹ − 128, plus 128. It takes two or three
/// bytes on the wire. Ids below 128 take one; only `id = …` gives them. Two methods of a type with
/// one id are an error, updates, queries and requests together.
///
/// # Generated
/// For a struct `Sector`: `SectorHandle` and `SectorClient`, with a method per update, query
/// and request; `SectorUpdate`, `SectorQuery` and `SectorRequest`, with a variant each;
/// implementations of `State` and `Replicated`. For instance, of
///
/// ```ignore
/// #[replicated]
/// #[derive(Default)]
/// pub struct Counter {
///     count: u64,
/// }
///
/// #[replicated]
/// impl Counter {
///     #[update(order = "total")]
///     pub fn add(&mut self, amount: u64) -> u64 { /* … */ }
///     #[update(order = "fifo")]
///     pub fn reset(&mut self, ctx: &Ctx<Self>) -> Result<(), Refused> { /* … */ }
///     #[query]
///     pub fn above(&self, least: u64) -> bool { /* … */ }
/// }
/// ```
/// is made, beside what is written there,
///
/// ```ignore
/// /// What `node.group("…").join(Counter::default())` gives a member. Cheap to clone.
/// pub struct CounterHandle { /* … */ }
/// impl CounterHandle {
///     pub fn group(&self) -> &Group<Counter>;
///     pub fn add(&self, amount: u64) -> Call<Counter, u64>;
///     pub fn reset(&self) -> Call<Counter, (), Fallible<Refused>>;
///     pub fn above(&self, least: u64) -> Query<Counter, bool>;
/// }
///
/// /// What `client.group::<CounterClient>("…")` gives a client. Cheap to clone.
/// pub struct CounterClient { /* … */ }
/// impl CounterClient {
///     pub fn group(&self) -> &RemoteGroup<Counter>;
///     pub fn add(&self, amount: u64) -> RemoteCall<Counter, u64>;
///     pub fn reset(&self) -> RemoteCall<Counter, (), Fallible<Refused>>;
///     pub fn above(&self, least: u64) -> RemoteQuery<Counter, bool>;
/// }
///
/// /// Updates as values: for timers (`Ctx::after`) and tests.
/// pub enum CounterUpdate { Add { amount: u64 }, Reset }
/// /// Queries as values.
/// pub enum CounterQuery { Above { least: u64 } }
///
/// impl State for Counter { /* … */ }       // name, version, checkpoints
/// impl Replicated for Counter { /* … */ }  // methods, messages, handles
/// ```
/// Documentation, `#[cfg]` and `#[deprecated]` of the methods come along. An `impl`
/// in another module than its struct must have the struct, its handle and its client in scope.
///
/// Generated items keep lints like `missing_docs` and `dead_code` quiet, which works where these
/// are denied but not where they are forbidden. (`forbid(unsafe_code)` is fine: there is none.)
#[proc_macro_attribute]
pub fn replicated(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    replicate(options.into(), item.into()).into()
}

/// Makes a test of a function that says what is to be simulated: groups of a replicated type, with
/// faults, seed after seed.
///
/// The function takes nothing and gives a `vsync::testing::Simulation` back. Needs the feature
/// `testing`.
///
/// ```ignore
/// #[vsync::sim_test(seeds = 0..50, faults = Faults::all())]
/// fn accounts_stay_in_balance() -> Simulation<Ledger> {
///     Simulation::new(Ledger::default, |dice| LedgerUpdate::Pay { amount: dice.below(9) })
///         .invariant("balanced", |ledger| ledger.sum() == 0)
/// }
/// ```
/// A seed that fails is reported with the line that runs it again, and nothing else, from anywhere
/// in the workspace:
///
/// ```text
/// VSYNC_SEED=17 cargo test -p bank ledger::accounts_stay_in_balance
/// ```
///
/// # Options
/// `seeds`, `members`, `length` and `faults` are those of the simulation, and override what the
/// function says of them; `crate = "…"` is where `vsync` is, if it was renamed. Attributes such as
/// `#[ignore]` go along.
#[proc_macro_attribute]
pub fn sim_test(
    options: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    sim_test::sim_test(options.into(), item.into()).into()
}

/// The attribute as a function on tokens.
fn replicate(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let options = parse::options(options, &mut errors);
    let output = match syn::parse2::<Item>(item.clone()) {
        Ok(Item::Struct(item)) => {
            let model = model::state(item, options, &mut errors);
            expand::state(&model, errors.is_empty())
        }
        Ok(Item::Impl(item)) => {
            let mut model = model::methods(item, options, &mut errors);
            check::methods(&mut model, &mut errors);
            expand::methods(&model, errors.is_empty())
        }
        Ok(Item::Enum(other)) => {
            errors.push(other.enum_token, "a replicated state is a struct; an enum may be a field");
            item
        }
        Ok(_) => {
            errors.push_at_call("#[replicated] goes on a struct and on an `impl` block of it");
            item
        }
        Err(error) => {
            errors.add(error);
            item
        }
    };
    errors.followed_by(output)
}
