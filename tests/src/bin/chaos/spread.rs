//! How many requests that compute are answered, by how many members.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use vsync_tests::println;

use crate::Args;
use crate::cluster::Cluster;
use crate::member::{CounterClient, spin};

pub(crate) async fn run(args: &Args) -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let begun = Instant::now();
    spin(args.work);
    let alone = begun.elapsed().as_micros();
    println!("{alone} us of computing each, {} clients, {cores} processors", args.clients);
    let most = cores as u128 * 1_000_000 / alone.max(1);
    println!("these compute {most} a second at most, shared by members and clients");
    for &size in &args.members {
        let cluster = Cluster::start(size, None).await?;
        let end = Instant::now() + Duration::from_secs(args.seconds);
        let mut working = JoinSet::new();
        for _ in 0..args.clients {
            let (client, work) = (cluster.client::<CounterClient>().await?, args.work);
            working.spawn(async move {
                let mut answered = 0_u64;
                while Instant::now() < end {
                    client.compute(work).await.map_err(|error| error.to_string())?;
                    answered += 1;
                }
                Ok::<_, String>(answered)
            });
        }
        let mut answered = 0;
        for done in working.join_all().await {
            answered += done?;
        }
        let beyond = if size > cores { ", on fewer processors: it adds nothing" } else { "" };
        println!("{size} members: {} a second{beyond}", answered / args.seconds.max(1));
    }
    Ok(())
}
