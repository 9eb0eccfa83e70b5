//! The fourth process: no member of anything. It asks, and it has things done.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use vsync::{Client, ClientCallError, Cursor, Emitted, Subscription};

use crate::data::Airport;
use crate::sector::{Sector, SectorClient};
use crate::slots::SlotNews;
use crate::words::{DESTINATION, LATEST, Look, Order, Said, Visit, orders, say};
use crate::zones::Minute;

/// How long one thing may take: a member is missed after three seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// After so many events a subscription is given up and taken up again behind the last of them.
const RESUME: usize = 3;

/// So many errands are run however short the week is.
const LEAST: u32 = 24;

/// Runs the client until the parent stops it.
pub(crate) async fn run(secret: &Path) -> Result<(), String> {
    let mut orders = orders();
    let seeds = match orders.recv().await {
        Some(Order::Join { seeds }) => seeds,
        order => return Err(format!("{order:?} instead of whom to ask")),
    };
    let key = std::fs::read(secret).map_err(|error| format!("{}: {error}", secret.display()))?;
    let client =
        Client::connect(seeds, key).await.map_err(|error| format!("cannot connect: {error}"))?;
    let (mut sectors, mut news) = (Vec::new(), Vec::new());
    for airport in Airport::ALL {
        let sector = client.group::<SectorClient>(&airport.group());
        news.push(Reader::new(airport, sector.clone()).await?);
        sectors.push((airport, sector));
    }
    say(&Said::Joined);
    let enough = Arc::new(AtomicBool::new(false));
    let mut errands: Option<JoinHandle<Result<Visit, String>>> = None;
    while let Some(order) = orders.recv().await {
        match order {
            Order::Go => {
                let (sectors, enough) = (sectors.clone(), Arc::clone(&enough));
                errands = Some(tokio::spawn(run_errands(sectors, enough)));
            }
            Order::Look => say(&Said::Looked(look(&sectors).await?)),
            Order::Visited => {
                enough.store(true, Ordering::Relaxed);
                let errands = errands.take().ok_or("it was not told to begin")?;
                let visit = errands.await.map_err(|error| error.to_string())??;
                say(&Said::Visited(all_news(visit, std::mem::take(&mut news)).await?));
            }
            Order::Stop => break,
            _ => {}
        }
    }
    Ok(())
}

async fn look(sectors: &[(Airport, SectorClient)]) -> Result<Look, String> {
    let mut look = Look::default();
    for (airport, sector) in sectors {
        let context = |error| format!("{airport}: {error}");
        look.bound.extend(sector.flights_to(DESTINATION.to_owned()).await.map_err(context)?);
        look.late.extend(sector.most_delayed(LATEST).await.map_err(context)?);
    }
    Ok(look.merged())
}

/// Wishes for slots, one after the other, until it is enough.
async fn run_errands(
    sectors: Vec<(Airport, SectorClient)>,
    enough: Arc<AtomicBool>,
) -> Result<Visit, String> {
    let mut visit = Visit::default();
    for (key, (airport, sector)) in (0..).zip(sectors.iter().cycle()) {
        if key >= LEAST && enough.load(Ordering::Relaxed) {
            break;
        }
        let context = |error: &dyn std::fmt::Display| format!("slot {key} at {airport}: {error}");
        let at = allot(sector, key).await.map_err(|error| context(&error))?;
        // Under its name a request is the same one: what was answered is answered again.
        if key % 4 == 0 {
            let again = allot(sector, key).await.map_err(|error| context(&error))?;
            if again != at {
                return Err(context(&format!("{at}, asked again it is {again}")));
            }
            visit.asked_again += 1;
        }
        // A client reads what it has written, whichever member it asks.
        let there = sector.slot(key).await.map_err(|error| context(&error))?;
        if there != Some(at) {
            return Err(context(&format!("{at}, but the sector says {there:?}")));
        }
        visit.slots.push((*airport, key, at));
        if key % 5 < 2 {
            let released = sector.release_slot(key).timeout(PATIENCE).await;
            if !released.map_err(|error| context(&error))? {
                return Err(context(&"it was not there to be released"));
            }
            visit.released.push((*airport, key));
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(visit)
}

async fn allot(sector: &SectorClient, key: u32) -> Result<Minute, ClientCallError<Infallible>> {
    let (tail, from) = (format!("VISIT-{}", key / 3 % 4), Minute::from(key / 12) * 40);
    sector.allot(tail, key, from).key(format!("slot-{key}")).timeout(PATIENCE).await
}

/// Reads the news of a sector, from before anything was asked for.
struct Reader {
    airport: Airport,
    read: mpsc::UnboundedReceiver<SlotNews>,
    task: JoinSet<Result<(), String>>,
    resumed: Arc<AtomicU32>,
}

impl Reader {
    async fn new(airport: Airport, sector: SectorClient) -> Result<Reader, String> {
        let context = move |error| format!("{airport}, its news: {error}");
        let first = sector.group().events::<SlotNews>(None).await.map_err(context)?;
        let (tell, read) = mpsc::unbounded_channel();
        let resumed = Arc::<AtomicU32>::default();
        let (mut task, count) = (JoinSet::new(), Arc::clone(&resumed));
        task.spawn(async move {
            let (mut news, mut cursor): (Subscription<Sector, SlotNews>, _) = (first, None);
            loop {
                let Some(last) = read_some(&mut news, &tell, &mut cursor).await? else { continue };
                news = sector.group().events(Some(last)).await.map_err(context)?;
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Reader { airport, read, task, resumed })
    }
}

/// Reads some events; the last one's cursor, to go on behind. `None`: no member was there to ask.
async fn read_some(
    news: &mut Subscription<Sector, SlotNews>,
    tell: &mpsc::UnboundedSender<SlotNews>,
    cursor: &mut Option<Cursor>,
) -> Result<Option<Cursor>, String> {
    for _ in 0..RESUME {
        match news.next().await {
            Ok(Emitted::Event { cursor: at, event }) => {
                *cursor = Some(at);
                // Nobody listens any more when the process is on its way out.
                let _ = tell.send(event);
            }
            Ok(missed) => return Err(format!("some news are missing: {missed:?}")),
            // What comes next is not lost by it.
            Err(_) => return Ok(*cursor),
        }
    }
    Ok(*cursor)
}

/// The visit with all that was read: there is one event of each thing done.
async fn all_news(mut visit: Visit, readers: Vec<Reader>) -> Result<Visit, String> {
    for Reader { airport, mut read, mut task, resumed } in readers {
        let of = |it: &Airport| *it == airport;
        let done = visit.slots.iter().filter(|(it, ..)| of(it)).count()
            + visit.released.iter().filter(|(it, _)| of(it)).count();
        let mut news = Vec::new();
        while news.len() < done {
            let event = tokio::time::timeout(PATIENCE, read.recv()).await;
            match event.map_err(|_| format!("{airport}: {} of {done} news", news.len()))? {
                Some(event) => news.push(event),
                None => match task.join_next().await {
                    Some(Ok(Err(why))) => return Err(format!("{airport}: {why}")),
                    _ => return Err(format!("{airport}: its reader has ended")),
                },
            }
        }
        visit.news.push(news);
        visit.resumed += resumed.load(Ordering::Relaxed);
    }
    Ok(visit)
}
