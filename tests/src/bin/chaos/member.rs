//! One member: a process that counts for clients until it is killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::Semaphore;
use vsync::{Effect, Node, RequestCtx, replicated};
use vsync_tests::println;

/// The cluster's secret.
pub(crate) const SECRET: &str = "a secret of the chaos";
/// The group.
pub(crate) const GROUP: &str = "counter";

/// One thing at a time is computed by a member: it stands for a processor.
#[derive(Clone, Debug)]
pub(crate) struct Processor(Arc<Semaphore>);

impl Default for Processor {
    fn default() -> Processor {
        Processor(Arc::new(Semaphore::new(1)))
    }
}

/// A number, and how many attempts it took each time.
#[replicated]
#[derive(Debug, Default)]
pub(crate) struct Counter {
    value: u64,
    attempts: BTreeMap<u32, u64>,
    #[local]
    processor: Processor,
}

#[replicated]
impl Counter {
    /// Adds one.
    #[update(order = "total")]
    fn add(&mut self, attempt: u32) -> u64 {
        self.value += 1;
        *self.attempts.entry(attempt).or_default() += 1;
        self.value
    }

    /// The number.
    #[query]
    pub(crate) fn value(&self) -> u64 {
        self.value
    }

    /// How many were answered by which attempt.
    #[query]
    pub(crate) fn attempts(&self) -> BTreeMap<u32, u64> {
        self.attempts.clone()
    }

    /// Waits for so many microseconds, and adds one.
    #[request]
    pub(crate) async fn bump(ctx: &RequestCtx<Self>, work: u64) -> Effect<u64> {
        tokio::time::sleep(Duration::from_micros(work)).await;
        ctx.update().add(ctx.attempt())
    }

    /// Computes for some so many microseconds, and adds one.
    #[request]
    pub(crate) async fn compute(ctx: &RequestCtx<Self>, work: u64) -> Effect<u64> {
        let processor = ctx.read(|counter| counter.processor.0.clone()).await;
        // The semaphore is never closed.
        if let Ok(_turn) = processor.acquire().await {
            drop(tokio::task::spawn_blocking(move || spin(work)).await);
        }
        ctx.update().add(ctx.attempt())
    }
}

/// Keeps a processor busy for about so many microseconds of its own time: it is work that is fixed,
/// not the time, so that members on one processor share it.
pub(crate) fn spin(micros: u64) {
    let mut word = micros;
    for _ in 0..micros * 500 {
        word = std::hint::black_box(word.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    }
}

/// Is a member until its input ends, and says on each line of it how much it coordinates.
pub(crate) async fn run(member: &[String]) -> Result<(), String> {
    let [name, address, seeds @ ..] = member else { return Err("who?".to_owned()) };
    let builder = Node::builder().name(name).listen(address).secret(SECRET);
    let builder = match seeds.iter().any(|seed| seed == "bootstrap") {
        true => builder.bootstrap(),
        false => builder.seeds(seeds),
    };
    let node = builder.start().await.map_err(|error| error.to_string())?;
    let joined = node.group(GROUP).join_or_create(Counter::default()).await;
    let counter = joined.map_err(|error| error.to_string())?;
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        let (me, load) = (counter.group().me(), counter.group().load());
        println!("{}", me.and_then(|me| load.members.get(&me)).unwrap_or(&0));
    }
    Ok(())
}
