//! The run: starts the processes, kills one in the middle, lets a new one in, collects the end.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::child::Child;
use crate::controller::Places;
use crate::data::Flights;
use crate::options::Options;
use crate::progress::Progress;
use crate::words::{Digest, Look, Order, Said, Visit};

/// The controllers that begin the week.
const FIRST: [&str; 3] = ["alpha", "bravo", "charlie"];

/// The one that comes later.
pub(crate) const NEWCOMER: &str = "delta";

/// The process that is no member.
const CLIENT: &str = "visitor";

/// What a run leaves to be judged, besides its files.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Who was killed.
    pub(crate) victim: &'static str,
    /// What the sectors are at each controller that lived.
    pub(crate) digests: BTreeMap<&'static str, Vec<Digest>>,
    /// What the client saw at the end.
    pub(crate) look: Look,
    /// How many flights the client had seen at each look before.
    pub(crate) looks: Vec<usize>,
    /// What the client has had done.
    pub(crate) visit: Visit,
    /// From the first order to the last row.
    pub(crate) flown: Duration,
}

/// A run under way.
struct Run<'a> {
    options: &'a Options,
    places: &'a Places,
    progress: &'a mut Progress,
    children: BTreeMap<&'static str, Child>,
    addresses: BTreeMap<&'static str, String>,
    tell: mpsc::UnboundedSender<(&'static str, Said)>,
    said: mpsc::UnboundedReceiver<(&'static str, Said)>,
    /// The best that any controller has said, per airport.
    done: [u32; 3],
    /// Who has nothing left to do.
    settled: BTreeSet<&'static str>,
    /// What the client has seen, oldest first.
    looks: Vec<Look>,
}

/// Plays the week.
pub(crate) async fn play(
    options: &Options,
    places: &Places,
    flights: &Flights,
    progress: &mut Progress,
) -> Result<Outcome, String> {
    let (tell, said) = mpsc::unbounded_channel();
    let mut run = Run {
        options,
        places,
        progress,
        children: BTreeMap::new(),
        addresses: BTreeMap::new(),
        tell,
        said,
        done: [0; 3],
        settled: BTreeSet::new(),
        looks: Vec::new(),
    };
    run.form().await?;
    let begun = Instant::now();
    run.order_all(&Order::Go).await;
    run.to(CLIENT, &Order::Go).await;
    let victim = run.disturb(flights.rows.len()).await?;
    run.settle().await?;
    let flown = begun.elapsed();
    let visit = run.visit().await?;
    run.progress.note("all rows are done; comparing the sectors");
    let digests = run.agree().await?;
    let look = run.look().await?;
    run.stop().await?;
    let looks = run.looks.iter().map(|look| look.bound.len()).collect();
    Ok(Outcome { victim, digests, look, looks, visit, flown })
}

impl Run<'_> {
    /// Starts a process; it joins when it is told to.
    fn start(&mut self, name: &'static str) -> Result<(), String> {
        let role = if name == CLIENT { "client" } else { "controller" };
        let mut arguments: Vec<OsString> = vec![role.into(), name.into()];
        arguments.extend([self.places.secret.clone().into(), self.places.dir.clone().into()]);
        arguments.extend(self.options.to_arguments().into_iter().map(OsString::from));
        let child = Child::start(name, arguments, self.places, self.tell.clone())?;
        self.children.insert(name, child);
        Ok(())
    }

    /// The next thing that somebody says; what may be said at any time is noted on the way.
    async fn hear(&mut self) -> Result<(&'static str, Said), String> {
        // The run itself holds a sender: the channel never closes.
        let heard = self.said.recv().await;
        let (name, said) = heard.ok_or("nobody is left to say anything")?;
        match said {
            Said::Failed { why } => return Err(format!("{name} failed: {why}")),
            Said::Ended if self.children.contains_key(name) => {
                return Err(format!("{name} ended before its time"));
            }
            Said::Progress { done } => {
                for (best, done) in self.done.iter_mut().zip(done) {
                    *best = done.max(*best);
                }
                self.progress.at(self.done.iter().map(|done| u64::from(*done)).sum());
            }
            Said::Listening { ref address } => {
                self.addresses.insert(name, address.clone());
            }
            Said::Settled => drop(self.settled.insert(name)),
            Said::Looked(ref look) => self.looks.push(look.clone()),
            _ => {}
        }
        Ok((name, said))
    }

    async fn order_all(&mut self, order: &Order) {
        for (_, child) in self.children.iter_mut().filter(|(name, _)| **name != CLIENT) {
            child.order(order).await;
        }
    }

    async fn to(&mut self, name: &str, order: &Order) {
        if let Some(child) = self.children.get_mut(name) {
            child.order(order).await;
        }
    }

    /// The first begins the cluster, the others come in through it, one after the other: so each
    /// has the same rank in all sectors, and owns one.
    async fn form(&mut self) -> Result<(), String> {
        for name in FIRST.into_iter().chain([CLIENT]) {
            self.start(name)?;
            self.join(name).await?;
        }
        self.progress.note("three controllers share three sectors; the week begins");
        Ok(())
    }

    /// Has a process join those that are there, and waits until it has.
    async fn join(&mut self, name: &str) -> Result<(), String> {
        let seeds = self.addresses.values().cloned().collect();
        self.to(name, &Order::Join { seeds }).await;
        loop {
            match self.hear().await? {
                (who, Said::Joined) if who == name => return Ok(()),
                (who, Said::Listening { address }) => {
                    self.progress.note(&format!("{who} is at {address}"));
                }
                _ => {}
            }
        }
    }

    /// Kills a controller in the middle, and has a new one join while the others go on.
    async fn disturb(&mut self, rows: usize) -> Result<&'static str, String> {
        let victim = FIRST[(self.options.seed % 3) as usize];
        let kill_at = rows * (30 + (self.options.seed / 3 % 15) as usize) / 100;
        self.until_done(kill_at).await?;
        let Some(mut killed) = self.children.remove(victim) else {
            return Err(format!("{victim} is not there to be killed"));
        };
        self.addresses.remove(victim);
        let pid = killed.pid().unwrap_or_default();
        killed.kill().await?;
        self.progress.note(&format!("{victim} (process {pid}) is killed at {:?}", self.done));
        self.to(CLIENT, &Order::Look).await;
        self.start(NEWCOMER)?;
        self.until_done(kill_at + rows * 8 / 100).await?;
        self.join(NEWCOMER).await?;
        self.progress.note(&format!("{NEWCOMER} has all sectors, at {:?}", self.done));
        self.to(NEWCOMER, &Order::Go).await;
        self.order_all(&Order::Release).await;
        self.to(CLIENT, &Order::Look).await;
        Ok(victim)
    }

    async fn until_done(&mut self, rows: usize) -> Result<(), String> {
        while self.done.iter().map(|done| *done as usize).sum::<usize>() < rows {
            self.hear().await?;
        }
        Ok(())
    }

    /// Waits until no controller has anything left to do.
    async fn settle(&mut self) -> Result<(), String> {
        while self.settled.len() < FIRST.len() {
            self.hear().await?;
        }
        Ok(())
    }

    /// What has come of the client's errands, which end with this.
    async fn visit(&mut self) -> Result<Visit, String> {
        self.to(CLIENT, &Order::Visited).await;
        loop {
            if let (_, Said::Visited(visit)) = self.hear().await? {
                return Ok(visit);
            }
        }
    }

    /// Collects the digests. A member may still be about to deliver what the others have, so they
    /// are asked again until they agree; that they do not is for the judgement to say.
    async fn agree(&mut self) -> Result<BTreeMap<&'static str, Vec<Digest>>, String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.order_all(&Order::Digest).await;
            let mut digests = BTreeMap::new();
            while digests.len() < FIRST.len() {
                if let (name, Said::Digests { sectors }) = self.hear().await? {
                    digests.insert(name, sectors);
                }
            }
            let mut values = digests.values();
            let first = values.next();
            if values.all(|other| Some(other) == first) || Instant::now() > deadline {
                return Ok(digests);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// What the client sees at the end. It was asked twice on the way: while one member was dead,
    /// and after the new one had come.
    async fn look(&mut self) -> Result<Look, String> {
        self.to(CLIENT, &Order::Look).await;
        while self.looks.len() < 3 {
            self.hear().await?;
        }
        self.looks.pop().ok_or_else(|| "the client saw nothing".to_owned())
    }

    /// Ends the processes in an orderly way.
    async fn stop(&mut self) -> Result<(), String> {
        let mut children = std::mem::take(&mut self.children);
        // The client first: it would find nobody to ask.
        for name in [CLIENT, NEWCOMER].into_iter().chain(FIRST) {
            let Some(child) = children.get_mut(name) else {
                continue;
            };
            child.order(&Order::Stop).await;
            match tokio::time::timeout(Duration::from_secs(10), child.wait()).await {
                Ok(ended) => ended?,
                Err(_) => return Err(format!("{name} does not end")),
            }
        }
        Ok(())
    }
}
