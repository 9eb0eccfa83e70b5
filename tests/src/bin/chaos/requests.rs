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
use crate::member::{Counts, Standing};

/// One in so many requests has a key, by which its recorded reply is asked for again.
const KEYED: u64 = 16;
/// Most keys: a group knows 65,536.
const KEYS: u64 = 50_000;

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
    counter: impl Counts,
    shift: Arc<Shift>,
    mut dice: Dice,
    most: u64,
) -> Result<Told, String> {
    let mut told = Told::default();
    while !shift.over.load(Ordering::SeqCst) {
        let begun = shift.clock.fetch_add(1, Ordering::SeqCst);
        let work = dice.below(most.max(1));
        let key = (dice.below(KEYED) == 0)
            .then(|| shift.keys.fetch_add(1, Ordering::SeqCst))
            .filter(|key| *key < KEYS);
        let value = counter.bump(work, key).await?;
        let done = shift.clock.fetch_add(1, Ordering::SeqCst);
        told.ops.push(Op { begun, done, value });
        told.keyed.extend(key.map(|key| Keyed { key, work, value }));
    }
    Ok(told)
}

/// What became of the members.
#[derive(Debug, Default)]
struct Killed {
    count: u64,
    /// How often the next member had to wake up to take over.
    woken: u64,
}

/// Whether whoever takes over from this member sleeps.
fn is_next_asleep(standings: &[Standing], victim: usize) -> bool {
    let behind = standings.iter().filter(|other| other.rank > standings[victim].rank);
    behind.min_by_key(|other| other.rank).is_some_and(|next| next.asleep)
}

/// Kills whoever coordinates the most, again and again.
async fn kill(args: &Args, cluster: &mut Cluster, shift: &Shift) -> Result<Killed, String> {
    let mut dice = Dice::new(args.seed);
    let begun = Instant::now();
    let (mut killed, mut said) = (Killed::default(), 0);
    while killed.count < args.kills {
        sleep(Duration::from_millis(dice.below(50))).await;
        let victim = loop {
            let standings = cluster.standings().await?;
            let most = standings.iter().map(|it| it.load).max().unwrap_or_default();
            if let Some(index) = standings.iter().position(|it| it.load == most && most > 0) {
                killed.woken += u64::from(is_next_asleep(&standings, index));
                break index;
            }
            if shift.over.load(Ordering::SeqCst) {
                return Ok(killed);
            }
        };
        cluster.kill(victim).await?;
        killed.count += 1;
        // Of five the other three are still a quorum.
        let other = (cluster.size() >= 5 && dice.chance(200)).then(|| {
            (victim + 1 + dice.below(cluster.size() as u64 - 1) as usize) % cluster.size()
        });
        if let Some(other) = other {
            cluster.kill(other).await?;
            killed.count += 1;
            cluster.restart(other).await?;
        }
        cluster.restart(victim).await?;
        if killed.count >= said + 20 {
            said = killed.count;
            let (time, asked) = (begun.elapsed(), shift.clock.load(Ordering::SeqCst) / 2);
            println!("{said} kills in {:.1} s, {asked} requests", time.as_secs_f64());
        }
    }
    Ok(killed)
}

pub(crate) async fn run<C: Counts>(args: &Args) -> Result<(), String> {
    let size = args.members.first().copied().unwrap_or(4);
    let mut cluster = Cluster::start(size, args.cold).await?;
    let shift = Arc::new(Shift::default());
    let mut working = JoinSet::new();
    let mut dice = Dice::new(args.seed ^ 0x5eed);
    for _ in 0..args.clients {
        let (client, shift) = (cluster.client::<C>().await?, Arc::clone(&shift));
        working.spawn(work(client, shift, Dice::new(dice.word()), args.work));
    }
    let begun = Instant::now();
    let (killed, first) = {
        let killing = kill(args, &mut cluster, &shift);
        tokio::pin!(killing);
        tokio::select! {
            killed = &mut killing => (killed, None),
            // A client ends early only if it was told something wrong.
            first = working.join_next() => (Ok(Killed::default()), first),
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
    let fresh = cluster.client::<C>().await?;
    let sum = fresh.value().await?;
    if sum != told.ops.len() as u64 {
        return Err(format!("{} were answered, and the number is {sum}", told.ops.len()));
    }
    let attempts = fresh.attempts().await?;
    recorded(&fresh, &told.keyed).await?;
    let Killed { count, woken } = killed;
    let rate = count as f64 / took.as_secs_f64();
    println!("{count} kills in {:.1} s: {rate:.2} a second", took.as_secs_f64());
    println!("{sum} requests of {} clients, each answered once, one after the other", args.clients);
    println!("{} recorded replies asked for again: the same", told.keyed.len());
    println!("answered by attempt: {attempts:?}");
    if args.cold.is_some() {
        println!("{woken} times a cold backup that slept had to take over");
        if woken == 0 {
            return Err("no backup slept when it was needed: this shows nothing".to_owned());
        }
    }
    Ok(())
}

/// Asks for recorded replies again: none may differ, and nothing is added.
async fn recorded(fresh: &impl Counts, keyed: &[Keyed]) -> Result<(), String> {
    let before = fresh.value().await?;
    for Keyed { key, work, value } in keyed {
        let again = fresh.bump(*work, Some(*key)).await;
        let again = again.map_err(|error| format!("the reply of {key}: {error}"))?;
        if again != *value {
            return Err(format!("{key} was answered with {value}, and now with {again}"));
        }
    }
    let after = fresh.value().await?;
    if before == after { Ok(()) } else { Err(format!("asking again has added {}", after - before)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_member_takes_over() {
        let standing = |rank, asleep| Standing { rank, asleep, load: 1 };
        assert_eq!(Standing::read("1 7 0"), Some(standing(7, false)));
        assert_eq!(Standing::read("1 7 1"), Some(standing(7, true)));
        assert_eq!(Standing::read("1 7"), None);
        let members = [standing(2, true), standing(0, false), standing(1, false)];
        assert!(!is_next_asleep(&members, 1));
        assert!(is_next_asleep(&members, 2));
        assert!(!is_next_asleep(&members, 0), "there is nobody");
    }
}
