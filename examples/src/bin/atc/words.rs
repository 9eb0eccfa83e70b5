//! What the parent and its processes say to each other: one JSON object per line.

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;

use crate::book::{Flight, Tally, worst_first};
use crate::data::Airport;
use crate::slots::SlotNews;
use crate::zones::Minute;

/// From the parent, on the child's standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Start the node and join.
    Join {
        /// Nodes of the cluster; none to begin it.
        seeds: Vec<String>,
    },
    /// Begin with the duties; the client: with its errands.
    Go,
    /// Fly the rows beyond [`SLOW`] at full speed too.
    Release,
    /// Say the state's digests.
    Digest,
    /// To the client: ask the sectors.
    Look,
    /// To the client: it is enough; say what came of the errands.
    Visited,
    /// Leave, and end.
    Stop,
}

/// Before the newcomer is in, the rows beyond this share of an airport's are flown slowly, so that
/// no machine ends the week before anybody could join it. In percent.
pub(crate) const SLOW: usize = 60;

/// And those beyond this share are not flown.
pub(crate) const HOLD: usize = 95;

/// What one sector looks like at one member at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Digest {
    /// Of the canonical checkpoint.
    pub(crate) digest: u64,
    /// The counts.
    pub(crate) tally: Tally,
}

/// What the client saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Look {
    /// Flights to [`DESTINATION`] from all airports.
    pub(crate) bound: Vec<Flight>,
    /// The flights that arrived latest, from all airports.
    pub(crate) late: Vec<Flight>,
}

impl Look {
    /// What several sectors answered as one answer.
    pub(crate) fn merged(mut self) -> Look {
        self.bound.sort_by_key(|flight| flight.key);
        self.late = worst_first(self.late, LATEST as usize);
        self
    }
}

/// What the client has had done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Visit {
    /// The slots that it was given: where, by which wish, when.
    pub(crate) slots: Vec<(Airport, u32, Minute)>,
    /// Those that it gave back.
    pub(crate) released: Vec<(Airport, u32)>,
    /// How many it has asked for once more.
    pub(crate) asked_again: u32,
    /// The news that it has read, in the order of `Airport::ALL`.
    pub(crate) news: Vec<Vec<SlotNews>>,
    /// How often it has gone on reading behind a cursor.
    pub(crate) resumed: u32,
}

/// Where the client asks for flights to.
pub(crate) const DESTINATION: &str = "LAX";

/// How many of the latest flights the client asks for.
pub(crate) const LATEST: u32 = 5;

/// To the parent, on the child's standard output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    /// The node is up.
    Listening {
        /// At this address.
        address: String,
    },
    /// The process is an active member of all sectors; the client: it found all of them.
    Joined,
    /// Rows done, per airport.
    Progress {
        /// In the order of `Airport::ALL`.
        done: [u32; 3],
    },
    /// Nothing is left to do in any sector, and nothing of this process is under way.
    Settled,
    /// Answers [`Order::Digest`].
    Digests {
        /// In the order of `Airport::ALL`.
        sectors: Vec<Digest>,
    },
    /// Answers [`Order::Look`].
    Looked(Look),
    /// Answers [`Order::Visited`].
    Visited(Visit),
    /// The process cannot go on.
    Failed {
        /// Why.
        why: String,
    },
    /// The process has ended; said by the parent's own reader.
    Ended,
}

/// Says something to the parent.
pub(crate) fn say(said: &Said) {
    // A parent that is gone ends this process through its standard input.
    if let Ok(line) = serde_json::to_string(said) {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// The parent's orders. When the parent is gone, the process ends: it cannot be left behind.
pub(crate) fn orders() -> mpsc::UnboundedReceiver<Order> {
    let (tell, listen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(order) = serde_json::from_str(&line) {
                let _ = tell.send(order);
            }
        }
        std::process::exit(3);
    });
    listen
}
