//! One member: a process that counts for clients until it is killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::sync::Semaphore;
use vsync::{Client, Effect, Group, Node, Replicated, RequestCtx, replicated};
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

/// What clients do with a counter, whoever coordinates its requests.
pub(crate) trait Counts: Clone + Send + Sync + 'static {
    /// That of a cluster.
    fn of(client: &Client) -> Self;

    /// Waits for so many microseconds, and adds one; under a key, if it is given one.
    fn bump(&self, work: u64, key: Option<u64>)
    -> impl Future<Output = Result<u64, String>> + Send;

    /// The number.
    fn value(&self) -> impl Future<Output = Result<u64, String>> + Send;

    /// How many were answered by which attempt.
    fn attempts(&self) -> impl Future<Output = Result<BTreeMap<u32, u64>, String>> + Send;
}

/// How long a call may take. All are answered before that, whoever fails.
const LIMIT: Duration = Duration::from_secs(120);

/// A number, and how many attempts it took each time. Who coordinates its requests is fixed with
/// the type.
macro_rules! counter {
    ($counter:ident, $client:ident, $($options:tt)*) => {
        #[replicated($($options)*)]
        #[derive(Debug, Default)]
        pub(crate) struct $counter {
            value: u64,
            attempts: BTreeMap<u32, u64>,
            #[local]
            processor: Processor,
        }

        #[replicated]
        impl $counter {
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

        impl Counts for $client {
            fn of(client: &Client) -> Self {
                client.group(GROUP)
            }

            async fn bump(&self, work: u64, key: Option<u64>) -> Result<u64, String> {
                let mut call = $client::bump(self, work).timeout(LIMIT);
                if let Some(key) = key {
                    call = call.key(key.to_le_bytes());
                }
                call.await.map_err(|error| format!("a request: {error}"))
            }

            async fn value(&self) -> Result<u64, String> {
                $client::value(self).timeout(LIMIT).await.map_err(|error| error.to_string())
            }

            async fn attempts(&self) -> Result<BTreeMap<u32, u64>, String> {
                $client::attempts(self).timeout(LIMIT).await.map_err(|error| error.to_string())
            }
        }
    };
}

counter!(Counter, CounterClient,);
// One of them does all, and the others may sleep.
counter!(Backed, BackedClient, requests = "primary");

/// Keeps a processor busy for about so many microseconds of its own time: it is work that is fixed,
/// not the time, so that members on one processor share it.
pub(crate) fn spin(micros: u64) {
    let mut word = micros;
    for _ in 0..micros * 500 {
        word = std::hint::black_box(word.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    }
}

/// How a member is, as it says on a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// How many requests it coordinates.
    pub(crate) load: u64,
    /// Its place among the members.
    pub(crate) rank: u64,
    /// Whether it is a cold backup that has not applied all.
    pub(crate) asleep: bool,
}

impl Standing {
    pub(crate) fn read(line: &str) -> Option<Standing> {
        let numbers = line.split(' ').map(|word| word.parse().ok());
        match numbers.collect::<Option<Vec<u64>>>()?[..] {
            [load, rank, asleep] => Some(Standing { load, rank, asleep: asleep > 0 }),
            _ => None,
        }
    }

    async fn of<S: Replicated>(node: &Node, group: &Group<S>) -> Standing {
        let me = group.me();
        let load = me.and_then(|me| group.load().members.get(&me).copied()).unwrap_or(0) as u64;
        let rank = group.rank().map_or(u64::MAX, |rank| rank as u64);
        let groups = node.report(LIMIT).await.map(|report| report.groups).unwrap_or_default();
        let asleep = groups.iter().any(|it| it.name == GROUP && it.unapplied.is_some());
        Standing { load, rank, asleep }
    }

    fn say(self) {
        println!("{} {} {}", self.load, self.rank, u64::from(self.asleep));
    }
}

/// Is a member until its input ends, and says on each line of it how it is.
pub(crate) async fn run(member: &[String], cold: Option<usize>) -> Result<(), String> {
    let [name, address, seeds @ ..] = member else { return Err("who?".to_owned()) };
    let builder = Node::builder().name(name).listen(address).secret(SECRET);
    let builder = match seeds.iter().any(|seed| seed == "bootstrap") {
        true => builder.bootstrap(),
        false => builder.seeds(seeds),
    };
    let node = builder.start().await.map_err(|error| error.to_string())?;
    match cold {
        Some(bytes) => {
            let group = node.group(GROUP);
            // Nothing is nothing to keep: this one is warm.
            let group = if bytes > 0 { group.cold(bytes) } else { group };
            let joined = group.join_or_create(Backed::default()).await;
            serve(&node, joined.map_err(|error| error.to_string())?.group()).await;
        }
        None => {
            let joined = node.group(GROUP).join_or_create(Counter::default()).await;
            serve(&node, joined.map_err(|error| error.to_string())?.group()).await;
        }
    }
    Ok(())
}

async fn serve<S: Replicated>(node: &Node, group: &Group<S>) {
    println!("ready");
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        Standing::of(node, group).await.say();
    }
}
