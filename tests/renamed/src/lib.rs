//! A user of vsync as picky as they come: the crate has another name, everything has to be
//! documented, nothing may be public in vain, and types are private or generic wherever they can
//! be.
#![deny(missing_docs, unreachable_pub, unused, private_interfaces, private_bounds)]
#![deny(rust_2018_idioms, nonstandard_style, future_incompatible)]
#![deny(missing_debug_implementations, missing_copy_implementations, unused_qualifications)]
#![deny(single_use_lifetimes, trivial_casts, trivial_numeric_casts, unused_lifetimes)]
#![deny(unused_import_braces, variant_size_differences, unused_results)]
#![deny(clippy::all, clippy::pedantic)]
#![allow(clippy::needless_pass_by_value, reason = "arguments travel: they are owned")]

mod generic;
mod hidden;
mod odd;

pub use generic::{Pool, PoolClient, PoolHandle, PoolQuery, PoolUpdate, pooled};
pub use generic::{Store, StoreClient, StoreHandle, StoreQuery, StoreUpdate, Value, all, strings};

use isis::{Ctx, View, replicated};
use serde::{Deserialize, Serialize};

/// A plan.
#[allow(missing_copy_implementations, reason = "it moves like larger ones")]
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    flight: u64,
}

/// Why a plan is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused(
    /// In words.
    pub String,
);

/// A sector.
#[replicated(crate = "isis", name = "atc.sector", version = 3)]
#[derive(Debug, Default)]
pub struct Sector {
    plans: Vec<Plan>,
    #[local]
    looked: std::cell::Cell<u64>,
}

#[replicated(crate = "isis")]
impl Sector {
    /// Files a plan. See [`Self::total`] and [`Plan`].
    ///
    /// # Errors
    /// If there are too many.
    #[update(order = "total")]
    pub fn file_plan(&mut self, ctx: &Ctx<Self>, plan: Plan) -> Result<u64, Refused> {
        if self.plans.len() > 100 * ctx.size() {
            return Err(Refused("full".to_owned()));
        }
        self.plans.push(plan);
        Ok(self.plans.len() as u64)
    }

    /// Forgets all plans.
    #[deprecated(note = "plans are for ever")]
    #[update(order = "causal", level = "stable", id = 1)]
    pub fn forget(&mut self) {
        self.plans.clear();
    }

    #[update(order = "fifo")]
    #[cfg(any())]
    fn never(&mut self, missing: Missing) {}

    /// Plans.
    #[query]
    #[must_use]
    pub fn count(&self) -> usize {
        self.looked.set(self.looked.get() + 1);
        self.plans.len()
    }

    /// The flights.
    #[query]
    #[must_use]
    pub fn flights(&self) -> Vec<u64> {
        self.plans.iter().map(|plan| plan.flight).collect()
    }

    /// Not replicated: links to it from elsewhere do not work on handles.
    #[must_use]
    pub fn total(&self) -> usize {
        self.plans.len()
    }

    /// Swaps two plans.
    #[cfg_attr(all(), doc = "Both are there.")]
    #[cfg_attr(all(), must_use)]
    #[allow(non_snake_case, clippy::needless_arbitrary_self_type)]
    #[update(order = "fifo")]
    pub fn swapPlans(self: &mut Self, a: usize, b: usize) -> bool {
        let both = a.max(b) < self.plans.len();
        if both {
            self.plans.swap(a, b);
        }
        both
    }

    #[cfg(not(any(unix, windows)))]
    #[on_view]
    fn nowhere(&mut self, view: &View) {
        missing(view);
    }

    #[cfg(any(unix, windows))]
    #[on_view]
    fn view(&mut self, _ctx: &Ctx<Self>, view: &View) {
        self.plans.reserve(view.size());
    }
}

/// Uses what is generated as another crate would.
#[must_use]
pub fn uses(handle: &SectorHandle, client: &SectorClient) -> (SectorUpdate, SectorQuery) {
    let _: isis::Call<Sector, u64, isis::Fallible<Refused>> = handle.file_plan(Plan { flight: 1 });
    let _: isis::Query<Sector, usize> = handle.count();
    let _: isis::RemoteQuery<Sector, Vec<u64>> = client.flights();
    let _: (&isis::Group<Sector>, &isis::RemoteGroup<Sector>) = (handle.group(), client.group());
    (SectorUpdate::FilePlan { plan: Plan { flight: 2 } }, SectorQuery::Count)
}

/// Uses what is private.
#[must_use]
pub fn methods() -> usize {
    hidden::local() + odd::uses().len()
}

/// Calls are sent between threads.
pub fn spawnable(handle: &SectorHandle) -> impl Future<Output = bool> + Send + 'static {
    let call = handle.file_plan(Plan { flight: 1 });
    async move { call.await.is_ok() }
}
