//! A controller's place in one sector: the handle, the rows, and the log of what it submits.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot, watch};
use vsync::{GroupError, Node};

use crate::book::{Entry, Plan, Remark};
use crate::data::{Airport, Row};
use crate::options::Options;
use crate::sector::{Sector, SectorHandle, Seen, Tap};

/// Why local state may be read before it is stable: it only steers what this process does next, and
/// all of that is idempotent.
pub(crate) const STEERING: &str = "steers this controller's own duties";

/// One sector as one controller has it.
#[derive(Debug)]
pub(crate) struct Tower {
    /// Which.
    pub(crate) airport: Airport,
    /// The replicated object.
    pub(crate) sector: SectorHandle,
    /// Its rows, in the order of the file.
    pub(crate) rows: Vec<Row>,
    /// How the week is flown.
    pub(crate) options: Options,
    /// Whether the newcomer is in.
    pub(crate) released: watch::Receiver<bool>,
    feed: mpsc::UnboundedSender<Seen>,
    submitted: Mutex<File>,
}

impl Tower {
    /// Joins the airport's group. What the replica applies comes out of the receiver.
    pub(crate) async fn open(
        node: &Node,
        airport: Airport,
        rows: Vec<Row>,
        options: &Options,
        released: watch::Receiver<bool>,
        log: &Path,
    ) -> Result<(Tower, mpsc::UnboundedReceiver<Seen>), String> {
        let (feed, seen) = mpsc::unbounded_channel();
        let submitted = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let state = Sector::new(Tap::new(feed.clone()));
        let sector: SectorHandle = node
            .group(airport.group())
            .join_or_create(state)
            .await
            .map_err(|error| format!("{}: {error}", airport.group()))?;
        let submitted = Mutex::new(submitted);
        let options = options.clone();
        Ok((Tower { airport, sector, rows, options, released, feed, submitted }, seen))
    }

    /// How many active members the sector has, and this process's rank among them.
    pub(crate) fn place(&self) -> Option<(usize, usize)> {
        let group = self.sector.group();
        let (rank, active) = (group.rank()?, group.view()?.active().len());
        (rank < active).then_some((rank, active))
    }

    /// Whether this process has the rank that `duty` gives, among the active members.
    pub(crate) fn is_mine(&self, duty: impl Fn(usize) -> usize) -> bool {
        self.place().is_some_and(|(rank, active)| duty(active) == rank)
    }

    /// Rows done and plans of pairs decided, as this replica has it now.
    pub(crate) fn progress(&self) -> Result<(u32, u32), GroupError> {
        Ok(self.sector.progress().optimistic()?.into_unstable(STEERING))
    }

    /// Writes down what is about to be submitted. The line is with the kernel before the update
    /// leaves, so that it outlives a kill.
    pub(crate) fn submits(&self, entry: &Entry) {
        let line = serde_json::to_string(entry).expect("entries are plain data");
        let mut file = self.submitted.lock().expect("nobody panics while writing");
        file.write_all(format!("{line}\n").as_bytes()).expect("the log of submissions");
    }

    /// Writes a plan down; the call is for the caller to make.
    pub(crate) fn submits_plan(&self, plan: &Plan) {
        self.submits(&Entry::Plan(plan.clone()));
    }

    /// Says something about a flight.
    pub(crate) async fn remark(&self, remark: Remark) -> Result<(), GroupError> {
        self.submits(&Entry::Remark(remark.clone()));
        self.sector.remark(remark).send().await
    }

    /// Waits until everything that this replica has applied so far is in its journal.
    pub(crate) async fn journalled(&self) {
        let (tell, listen) = oneshot::channel();
        if self.feed.send(Seen::Mark(tell)).is_ok() {
            let _ = listen.await;
        }
    }
}
