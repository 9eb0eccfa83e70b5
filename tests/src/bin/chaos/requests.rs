//! Requests under fire: whoever coordinates is killed, and started again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;
use vsync_sim::Dice;
use vsync_tests::println;

use crate::Args;
use crate::cluster::Cluster;
use crate::judge::{Op, judge};
use crate::member::CounterClient;

/// One in so many requests has a key, by which its recorded reply is asked for again.
const KEYED: u64 = 16;
/// Most keys: a group knows 65,536.
const KEYS: u64 = 50_000;
/// How long a call may take. All are answered before that, whoever fails.
const LIMIT: Duration = Duration::from_secs(120);

/// What the clients share.
#[derive(Debug, Default)]
struct Shift {
    clock: AtomicU64,
    keys: AtomicU64,
    over: AtomicBool,
}

/// What one client was told.
#[derive(Debug, Default)]
struct Told {
    ops: Vec<Op>,
    keyed: Vec<Keyed>,
}

/// A request whose reply can be asked for again.
#[derive(Debug)]
struct Keyed {
    key: u64,
    work: u64,
    value: u64,
}

async fn work(
    counter: CounterClient,
    shift: Arc<Shift>,
    mut dice: Dice,
    most: u64,
) -> Result<Told, String> {
    let mut told = Told::default();
    while !shift.over.load(Ordering::SeqCst) {
        let begun = shift.clock.fetch_add(1, Ordering::SeqCst);
        let work = dice.below(most.max(1));
        let mut call = counter.bump(work).timeout(LIMIT);
        let key = (dice.below(KEYED) == 0)
            .then(|| shift.keys.fetch_add(1, Ordering::SeqCst))
            .filter(|key| *key < KEYS);
        if let Some(key) = key {
            call = call.key(key.to_le_bytes());
        }
        let value = call.await.map_err(|error| format!("a request: {error}"))?;
        let done = shift.clock.fetch_add(1, Ordering::SeqCst);
        told.ops.push(Op { begun, done, value });
        told.keyed.extend(key.map(|key| Keyed { key, work, value }));
    }
    Ok(told)
}

/// Kills whoever coordinates the most, again and again.
async fn kill(args: &Args, cluster: &mut Cluster, shift: &Shift) -> Result<u64, String> {
    let mut dice = Dice::new(args.seed);
    let begun = Instant::now();
    let (mut killed, mut said) = (0, 0);
    while killed < args.kills {
        sleep(Duration::from_millis(dice.below(50))).await;
        let victim = loop {
            let loads = cluster.loads().await?;
            let most = loads.iter().copied().max().unwrap_or_default();
            if let Some(index) = loads.iter().position(|load| *load == most && most > 0) {
                break index;
            }
            if shift.over.load(Ordering::SeqCst) {
                return Ok(killed);
            }
        };
        cluster.kill(victim).await?;
        killed += 1;
        // Of five the other three are still a quorum.
        let other = (cluster.size() >= 5 && dice.chance(200)).then(|| {
            (victim + 1 + dice.below(cluster.size() as u64 - 1) as usize) % cluster.size()
        });
        if let Some(other) = other {
            cluster.kill(other).await?;
            killed += 1;
            cluster.restart(other).await?;
        }
        cluster.restart(victim).await?;
        if killed >= said + 20 {
            said = killed;
            let (time, asked) = (begun.elapsed(), shift.clock.load(Ordering::SeqCst) / 2);
            println!("{killed} kills in {:.1} s, {asked} requests", time.as_secs_f64());
        }
    }
    Ok(killed)
}

pub(crate) async fn run(args: &Args) -> Result<(), String> {
    let size = args.members.first().copied().unwrap_or(4);
    let mut cluster = Cluster::start(size).await?;
    let shift = Arc::new(Shift::default());
    let mut working = JoinSet::new();
    let mut dice = Dice::new(args.seed ^ 0x5eed);
    for _ in 0..args.clients {
        let (client, shift) = (cluster.client().await?, Arc::clone(&shift));
        working.spawn(work(client, shift, Dice::new(dice.word()), args.work));
    }
    let begun = Instant::now();
    let (killed, first) = {
        let killing = kill(args, &mut cluster, &shift);
        tokio::pin!(killing);
        tokio::select! {
            killed = &mut killing => (killed, None),
            // A client ends early only if it was told something wrong.
            first = working.join_next() => (Ok(0), first),
        }
    };
    let took = begun.elapsed();
    shift.over.store(true, Ordering::SeqCst);
    let mut told = Told::default();
    let mut take = |done: Result<Result<Told, String>, tokio::task::JoinError>| {
        let Told { ops, keyed } = done.map_err(|error| error.to_string())??;
        told.ops.extend(ops);
        told.keyed.extend(keyed);
        Ok::<_, String>(())
    };
    first.map_or(Ok(()), &mut take)?;
    while let Some(done) = working.join_next().await {
        take(done)?;
    }
    let killed = killed?;
    judge(&told.ops)?;
    let fresh = cluster.client().await?;
    let sum = fresh.value().timeout(LIMIT).await.map_err(|error| error.to_string())?;
    if sum != told.ops.len() as u64 {
        return Err(format!("{} were answered, and the number is {sum}", told.ops.len()));
    }
    let attempts = fresh.attempts().timeout(LIMIT).await.map_err(|error| error.to_string())?;
    recorded(&fresh, &told.keyed).await?;
    let rate = killed as f64 / took.as_secs_f64();
    println!("{killed} kills in {:.1} s: {rate:.2} a second", took.as_secs_f64());
    println!("{sum} requests of {} clients, each answered once, one after the other", args.clients);
    println!("{} recorded replies asked for again: the same", told.keyed.len());
    println!("answered by attempt: {attempts:?}");
    Ok(())
}

/// Asks for recorded replies again: none may differ, and nothing is added.
async fn recorded(fresh: &CounterClient, keyed: &[Keyed]) -> Result<(), String> {
    let before = fresh.value().await.map_err(|error| error.to_string())?;
    for Keyed { key, work, value } in keyed {
        let again = fresh.bump(*work).key(key.to_le_bytes()).timeout(LIMIT).await;
        let again = again.map_err(|error| format!("the reply of {key}: {error}"))?;
        if again != *value {
            return Err(format!("{key} was answered with {value}, and now with {again}"));
        }
    }
    let after = fresh.value().await.map_err(|error| error.to_string())?;
    if before == after { Ok(()) } else { Err(format!("asking again has added {}", after - before)) }
}
