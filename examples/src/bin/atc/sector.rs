//! [`Sector`]: the book of one airport as a replicated object.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use vsync::{Ctx, Effect, QueryCtx, RequestCtx, State, replicated};

use crate::book::{Book, Entry, Flight, Plan, Refused, Remark, Stage, Tally, worst_first};
use crate::slots::{SlotNews, Wish};
use crate::zones::Minute;

/// What a replica tells the process that it lives in.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It has applied an update.
    Applied(Applied),
    /// Everything applied before is to be on file when this is answered.
    Mark(oneshot::Sender<()>),
}

/// An update as a replica applied it: a line of its journal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Applied {
    /// The view it was delivered in.
    pub(crate) view: u64,
    /// The sender's incarnation and the view by which it came in.
    pub(crate) sender: (u64, u64),
    /// Its number among that sender's updates of the view.
    pub(crate) number: u64,
    /// What it says.
    pub(crate) entry: Entry,
}

/// Where a replica tells what it applies. No part of the state: every process has its own.
#[derive(Debug, Default)]
pub(crate) struct Tap(Option<mpsc::UnboundedSender<Seen>>);

impl Tap {
    /// A tap that tells `feed`.
    pub(crate) fn new(feed: mpsc::UnboundedSender<Seen>) -> Tap {
        Tap(Some(feed))
    }

    fn tell(&self, ctx: &Ctx<Sector>, entry: Entry) {
        let Some(feed) = &self.0 else { return };
        let sender = (ctx.sender().node.0, ctx.sender().entry);
        let (view, number) = (ctx.view().number(), ctx.number().unwrap_or_default());
        // Nobody listens any more only when the process is on its way out.
        let _ = feed.send(Seen::Applied(Applied { view, sender, number, entry }));
    }
}

/// One airport: what all its controllers agree on.
#[replicated(name = "atc.Sector", event = SlotNews, published)]
#[derive(Debug, Default)]
pub(crate) struct Sector {
    book: Book,
    #[local]
    tap: Tap,
}

impl Sector {
    /// An empty sector that tells what it applies.
    pub(crate) fn new(tap: Tap) -> Sector {
        Sector { book: Book::default(), tap }
    }

    /// A sector as a single process comes to it.
    pub(crate) fn from_book(book: Book) -> Sector {
        Sector { book, tap: Tap::default() }
    }
}

/// What the members have found, the worst first.
fn worst(shares: Vec<Vec<Flight>>) -> Vec<Flight> {
    worst_first(shares.concat(), usize::MAX)
}

#[replicated]
impl Sector {
    /// Files a plan: decided by all in one order.
    #[update(order = "total")]
    pub(crate) fn file_plan(&mut self, ctx: &Ctx<Self>, plan: Plan) -> Result<u32, Refused> {
        let decision = self.book.file(&plan);
        self.tap.tell(ctx, Entry::Plan(plan));
        decision
    }

    /// A flight has departed.
    #[update(order = "fifo")]
    pub(crate) fn depart(&mut self, ctx: &Ctx<Self>, key: u32, at: Minute) {
        self.book.depart(key, at);
        self.tap.tell(ctx, Entry::Depart { key, at });
    }

    /// A flight has arrived.
    #[update(order = "fifo")]
    pub(crate) fn arrive(&mut self, ctx: &Ctx<Self>, key: u32, at: Minute, delay: Option<i32>) {
        self.book.arrive(key, at, delay);
        self.tap.tell(ctx, Entry::Arrive { key, at, delay });
    }

    /// A flight will not depart, or not arrive.
    #[update(order = "fifo")]
    pub(crate) fn cancel(&mut self, ctx: &Ctx<Self>, key: u32) {
        self.book.cancel(key);
        self.tap.tell(ctx, Entry::Cancel { key });
    }

    /// Somebody says something about a flight.
    #[update(order = "causal")]
    pub(crate) fn remark(&mut self, ctx: &Ctx<Self>, remark: Remark) {
        self.book.remark(&remark);
        self.tap.tell(ctx, Entry::Remark(remark));
    }

    /// A flight from outside gets the first time from this one on at which its aircraft is free.
    #[update(order = "total")]
    pub(crate) fn take_slot(&mut self, ctx: &Ctx<Self>, wish: Wish) -> Minute {
        let at = self.book.slots.take(&wish);
        ctx.emit(SlotNews::Taken { key: wish.key, at });
        self.tap.tell(ctx, Entry::TakeSlot(wish));
        at
    }

    /// That time is free again; `false` if it was before.
    #[update(order = "total")]
    pub(crate) fn release_slot(&mut self, ctx: &Ctx<Self>, key: u32) -> bool {
        let was = self.book.slots.release(key);
        if was {
            ctx.emit(SlotNews::Released { key });
        }
        self.tap.tell(ctx, Entry::ReleaseSlot { key });
        was
    }

    /// Looks for a time for a flight from outside, at the member that the aircraft falls to. Others
    /// may have come in between where the time is taken: what is found there is the answer.
    #[request(key = tail)]
    pub(crate) async fn allot(
        ctx: &RequestCtx<Self>,
        tail: String,
        key: u32,
        from: Minute,
    ) -> Effect<Minute> {
        let wish = Wish { key, tail, from };
        let from = ctx.read(|sector| sector.book.slots.first_free(&wish)).await;
        ctx.update().take_slot(Wish { from, ..wish })
    }

    /// The time of a flight from outside.
    #[query]
    pub(crate) fn slot(&self, key: u32) -> Option<Minute> {
        self.book.slots.of(key)
    }

    /// The accepted flights to an airport.
    #[query]
    pub(crate) fn flights_to(&self, dest: String) -> Vec<Flight> {
        self.book.flights_to(&dest)
    }

    /// The flights that arrived latest, with their aircraft: as many as are asked for of each
    /// member, which looks through its share of the rows.
    #[query(scatter, gather = worst)]
    pub(crate) fn most_delayed(&self, ctx: &QueryCtx, count: u32) -> Vec<Flight> {
        self.book.most_delayed(ctx.share(0..self.book.rows()), count as usize)
    }

    /// Of these rows, those that are not done, and what is done of them.
    #[query]
    pub(crate) fn open_rows(&self, keys: Vec<u32>) -> Vec<(u32, Stage)> {
        let stages = keys.into_iter().map(|key| (key, self.book.stage(key)));
        stages.filter(|(_, stage)| *stage != Stage::Done).collect()
    }

    /// How many rows are done, and how many plans of pairs are decided.
    #[query]
    pub(crate) fn progress(&self) -> (u32, u32) {
        (self.book.rows_done(), self.book.pairs_filed())
    }

    /// Which plans of the first `pairs` pairs are not decided.
    #[query]
    pub(crate) fn pairs_missing(&self, pairs: u32) -> Vec<u32> {
        self.book.pairs_missing(pairs)
    }

    /// The remarks that nobody has answered, with the flights they are about.
    #[query]
    pub(crate) fn unanswered(&self) -> Vec<(u64, u32)> {
        self.book.unanswered()
    }

    /// The counts.
    #[query]
    pub(crate) fn tally(&self) -> Tally {
        self.book.tally()
    }

    /// Digest of the canonical checkpoint.
    #[query]
    pub(crate) fn digest(&self) -> Result<u64, String> {
        digest(self)
    }
}

/// Digest of a sector's canonical checkpoint.
pub(crate) fn digest(sector: &Sector) -> Result<u64, String> {
    let bytes = sector.save().map_err(|error| error.to_string())?;
    Ok(xxhash_rust::xxh3::xxh3_64(&bytes))
}
