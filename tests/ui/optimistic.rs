//! Ways in which an unstable value might get out without a word that says so.
//! Cure: wait, with `.stable().await`, before the value leaves; or write out that it may leave
//! early, with `peek` or `into_unstable("why")`.
#![allow(unused_variables, dead_code)]

use std::collections::BTreeMap;

use serde::Serialize;
use vsync::{CallError, Fallible, Optimistic, replicated};

#[replicated]
#[derive(Default)]
struct Counter {
    count: u64,
}

#[replicated]
impl Counter {
    #[update(order = "total")]
    fn add(&mut self, by: u64) -> Result<u64, String> {
        self.count += by;
        Ok(self.count)
    }

    #[query]
    fn count(&self) -> u64 {
        self.count
    }
}

struct Number;

fn number(number: u64) {}
fn show(shown: impl std::fmt::Display) {}
fn send(sent: impl Serialize) {}
fn copy(copied: impl Copy) {}
fn keep(kept: impl Clone) {}

fn the_value_is_not_the_number(value: Optimistic<u64>) {
    number(value);
}

fn nor_a_reference_to_it(value: Optimistic<u64>) {
    number(*value);
}

fn it_does_not_become_another(value: Optimistic<u64>) -> Number {
    value.into()
}

fn it_is_not_displayed(value: Optimistic<u64>) {
    show(value);
}

fn it_is_not_sent(value: Optimistic<u64>) {
    send(value);
}

fn it_is_not_copied(value: Optimistic<u64>) {
    copy(value);
}

fn it_is_not_cloned(value: Optimistic<u64>) {
    keep(value);
}

fn it_is_not_compared(value: Optimistic<u64>, other: Optimistic<u64>) -> bool {
    value == other
}

fn it_is_not_ordered(value: Optimistic<u64>, other: Optimistic<u64>) -> bool {
    value < other
}

fn it_is_no_key(value: Optimistic<u64>) {
    BTreeMap::new().insert(value, ());
}

fn its_field_is_private(value: Optimistic<u64>) -> u64 {
    value.value
}

fn a_question_mark_does_not_take_it_out(
    value: Optimistic<u64, Fallible<String>>,
) -> Result<u64, CallError<String>> {
    Ok(value?)
}

async fn nor_out_of_the_call(counter: CounterHandle) -> Result<u64, vsync::GroupError> {
    Ok(counter.add(1).optimistic().await?)
}

async fn it_is_no_argument(counter: CounterHandle, value: Optimistic<u64>) {
    drop(counter.add(value).await);
}

fn a_reading_is_no_reading(counter: CounterHandle) -> Result<u64, vsync::GroupError> {
    counter.count().optimistic()
}

async fn there_is_none_from_afar(counter: CounterClient) {
    drop(counter.count().optimistic());
}

fn main() {}
