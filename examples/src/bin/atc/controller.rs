//! A controller: one process, one node, a member of all sectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use vsync::Node;

use crate::data::{Airport, Flights};
use crate::options::Options;
use crate::pilot;
use crate::tower::Tower;
use crate::watcher::Watcher;
use crate::words::{Digest, Order, Said, orders, say};

/// Where the processes of a run keep what they share and what they leave behind.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// The cluster's secret.
    pub(crate) secret: PathBuf,
    /// Histories, journals, logs.
    pub(crate) dir: PathBuf,
}

impl Places {
    /// The histories that the nodes write.
    pub(crate) fn histories(&self) -> PathBuf {
        self.dir.join("histories")
    }

    /// What a controller's replica of a sector applied.
    pub(crate) fn journal(&self, name: &str, airport: Airport) -> PathBuf {
        self.dir.join("journals").join(format!("{name}-{airport}.jsonl"))
    }

    /// What a controller submitted to a sector.
    pub(crate) fn submitted(&self, name: &str, airport: Airport) -> PathBuf {
        self.dir.join("submitted").join(format!("{name}-{airport}.jsonl"))
    }

    /// What a process wrote to its standard error.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{name}.log"))
    }

    /// Makes the directories. An earlier run's files would be taken for this one's.
    pub(crate) fn make(&self) -> Result<(), String> {
        if self.histories().exists() {
            return Err(format!("{} already holds a run", self.dir.display()));
        }
        for part in ["histories", "journals", "submitted", "logs"] {
            let path = self.dir.join(part);
            std::fs::create_dir_all(&path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(())
    }
}

/// Runs a controller until the parent stops it.
pub(crate) async fn run(name: &str, places: &Places, options: &Options) -> Result<(), String> {
    let mut orders = orders();
    let flights = Flights::open(&options.flights, options.rows)?;
    let seeds = match orders.recv().await {
        Some(Order::Join { seeds }) => seeds,
        order => return Err(format!("{order:?} instead of where to join")),
    };
    let node = start(name, &seeds, &places.secret, &places.histories()).await?;
    say(&Said::Listening { address: node.address().to_string() });
    let (release, released) = watch::channel(false);
    let (begin, on_duty) = watch::channel(false);
    let mut towers = Vec::new();
    let mut work = JoinSet::new();
    let mut settled = Vec::new();
    for airport in Airport::ALL {
        let log = places.submitted(name, airport);
        let rows = flights.of(airport);
        let (tower, seen) =
            Tower::open(&node, airport, rows, options, released.clone(), &log).await?;
        let tower = Arc::new(tower);
        let journal = places.journal(name, airport);
        let (watcher, listen) = Watcher::new(Arc::clone(&tower), seen, &journal)?;
        work.spawn(watcher.watch(on_duty.clone()));
        settled.push(listen);
        towers.push(tower);
    }
    say(&Said::Joined);
    let served = serve(&mut orders, &towers, work, (begin, release), settled).await;
    node.shutdown(Duration::from_secs(5)).await;
    served
}

async fn start(
    name: &str,
    seeds: &[String],
    secret: &Path,
    histories: &Path,
) -> Result<Node, String> {
    let builder = Node::builder()
        .name(name)
        .listen("127.0.0.1:0")
        .secret_file(secret)
        // Generous, so that a busy machine is not taken for a dead one: a killed process is seen
        // at once all the same, by the connection that the kernel closes.
        .failure_timeout(Duration::from_secs(3))
        .history(histories);
    let builder = match seeds {
        [] => builder.bootstrap(),
        seeds => builder.seeds(seeds.iter().cloned()),
    };
    builder.start().await.map_err(|error| format!("cannot start: {error}"))
}

async fn serve(
    orders: &mut mpsc::UnboundedReceiver<Order>,
    towers: &[Arc<Tower>],
    mut work: JoinSet<Result<(), String>>,
    (begin, release): (watch::Sender<bool>, watch::Sender<bool>),
    settled: Vec<watch::Receiver<bool>>,
) -> Result<(), String> {
    let mut tick = tokio::time::interval(Duration::from_millis(25));
    let (mut told, mut flying, mut said_settled) = ([0; 3], 0, false);
    loop {
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Go) => {
                    begin.send_replace(true);
                    flying = towers.len();
                    for tower in towers {
                        let tower = Arc::clone(tower);
                        work.spawn(async move { pilot::fly(&tower).await });
                    }
                }
                Some(Order::Release) => drop(release.send_replace(true)),
                Some(Order::Digest) => say(&Said::Digests { sectors: digests(towers).await? }),
                Some(Order::Look | Order::Visited | Order::Join { .. }) => {}
                Some(Order::Stop) | None => return Ok(()),
            },
            Some(ended) = work.join_next() => {
                ended.map_err(|error| error.to_string())??;
                // Watchers end with the process: it was a pilot.
                flying -= 1;
            }
            _ = tick.tick() => {
                let mut done = told;
                for (done, tower) in done.iter_mut().zip(towers) {
                    *done = tower.progress().map_or(*done, |(rows, _)| rows);
                }
                if done != told {
                    told = done;
                    say(&Said::Progress { done });
                }
                let all = *begin.borrow()
                    && flying == 0
                    && settled.iter().all(|settled| *settled.borrow());
                if all && !said_settled {
                    said_settled = true;
                    say(&Said::Settled);
                }
            }
        }
    }
}

async fn digests(towers: &[Arc<Tower>]) -> Result<Vec<Digest>, String> {
    let mut sectors = Vec::new();
    for tower in towers {
        let context = |error| format!("{}: {error}", tower.airport);
        tower.sector.group().flush().await.map_err(context)?;
        let digest = tower.sector.digest().await.map_err(context)??;
        let tally = tower.sector.tally().await.map_err(context)?;
        tower.journalled().await;
        sectors.push(Digest { digest, tally });
    }
    Ok(sectors)
}
