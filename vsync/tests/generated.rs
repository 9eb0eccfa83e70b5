//! What `#[replicated]` makes of a small type is what its documentation shows.

use vsync::{
    Call, Ctx, Fallible, Group, Query, RemoteCall, RemoteGroup, RemoteQuery, Replicated, State,
    replicated,
};

/// Why not.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Refused;

/// The type of the documentation.
#[replicated]
#[derive(Default)]
pub struct Counter {
    count: u64,
}

#[replicated]
impl Counter {
    /// Adds.
    #[update(order = "total")]
    pub fn add(&mut self, amount: u64) -> u64 {
        self.count += amount;
        self.count
    }

    /// Begins anew.
    #[update(order = "fifo")]
    pub fn reset(&mut self, ctx: &Ctx<Self>) -> Result<(), Refused> {
        let _ = ctx;
        self.count = 0;
        Ok(())
    }

    /// Compares.
    #[query]
    pub fn above(&self, least: u64) -> bool {
        self.count > least
    }
}

#[test]
fn the_handles_are_as_the_documentation_shows_them() {
    let _: fn(&CounterHandle) -> &Group<Counter> = CounterHandle::group;
    let _: fn(&CounterHandle, u64) -> Call<Counter, u64> = CounterHandle::add;
    let _: fn(&CounterHandle) -> Call<Counter, (), Fallible<Refused>> = CounterHandle::reset;
    let _: fn(&CounterHandle, u64) -> Query<Counter, bool> = CounterHandle::above;
    let _: fn(&CounterClient) -> &RemoteGroup<Counter> = CounterClient::group;
    let _: fn(&CounterClient, u64) -> RemoteCall<Counter, u64> = CounterClient::add;
    let _: fn(&CounterClient) -> RemoteCall<Counter, (), Fallible<Refused>> = CounterClient::reset;
    let _: fn(&CounterClient, u64) -> RemoteQuery<Counter, bool> = CounterClient::above;
    fn cheap_to_clone<T: Clone + std::fmt::Debug + Send + Sync>() {}
    cheap_to_clone::<CounterHandle>();
    cheap_to_clone::<CounterClient>();
    fn generated<S: State + Replicated<Handle = H, Update = U, Query = Q>, H, U, Q>() {}
    generated::<Counter, CounterHandle, CounterUpdate, CounterQuery>();
}

#[test]
fn the_messages_are_as_the_documentation_shows_them() {
    let CounterUpdate::Add { amount } = (CounterUpdate::Add { amount: 7 }) else { unreachable!() };
    assert_eq!(amount, 7);
    // There is no other variant.
    let names = [CounterUpdate::Add { amount }, CounterUpdate::Reset].map(|update| match update {
        CounterUpdate::Add { .. } => "add",
        CounterUpdate::Reset => "reset",
    });
    assert_eq!(names, [Counter::UPDATES[0].name, Counter::UPDATES[1].name]);
    let CounterQuery::Above { least } = CounterQuery::Above { least: 3 };
    assert_eq!(least, 3);
}
