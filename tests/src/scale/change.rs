//! What view changes cost: a leave, a join, a kill that all survivors learn of at once, and a node
//! that vanishes without a word.

use serde::Serialize;
use vsync_core::engine::Input;
use vsync_core::wire::NodeId;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::cluster::{Cluster, GROUP, Stuck};
use super::costs::{Nanos, Setting};
use super::node::Fate;

/// Flow control plays no part in a view change.
const WINDOW: usize = 1 << 20;

/// Most members of a group in which one vanishes: in larger ones the heartbeats until it is missed
/// take minutes to simulate, and what they find is a matter of timers, not of size.
pub const MOST_VANISHING: usize = 256;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A member is killed: its connections break, and all survivors know at once.
    Kill,
    /// A member falls silent; nobody is told.
    Vanish,
    /// A member leaves in an orderly way.
    Leave,
    /// A node joins: until all that were members have the view that lists it.
    Join,
    /// The same, until all have the view in which it is active.
    Active,
}

impl Event {
    /// All of them.
    pub const ALL: [Event; 5] =
        [Event::Kill, Event::Vanish, Event::Leave, Event::Join, Event::Active];
}

/// A view change as it was measured. Signs of life are not counted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What happened.
    pub event: Event,
    /// Members with the one that is gone, or has come.
    pub members: usize,
    /// From the event until the last survivor has installed the view, in µs.
    pub time_us: f64,
    /// Frames sent by all, until all is quiet again (for `Join`, until the view is there).
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Frames sent and received by the node that had most of them.
    pub busiest_frames: u64,
    /// Bytes sent and received by the node that had most of them.
    pub busiest_bytes: u64,
}

/// Measures every event in a group of so many members.
pub(crate) fn measure(setting: Setting, members: usize) -> Result<Vec<Change>, Stuck> {
    let dice = |what: u64, below: usize| {
        (xxh3_64_with_seed(&what.to_le_bytes(), setting.seed) % below as u64) as usize
    };
    let mut stage = Stage { cluster: Cluster::new(setting, members + 1, WINDOW), members };
    let mut changes = Vec::new();
    // Never rank 0: of two members the other one would be blocked.
    let leaver = 1 + dice(1, members - 1);
    let leave = stage.leave(leaver)?;
    changes.extend(stage.join(leaver)?);
    let killed = 1 + dice(2, members - 1);
    let kill = stage.kill(killed)?;
    changes.splice(0..0, [kill, leave]);
    if members <= MOST_VANISHING {
        stage.join(members)?;
        let others: Vec<usize> = (1..=members).filter(|&node| node != killed).collect();
        stage.cluster.pass(setting.idle * 1_000_000)?;
        changes.push(stage.vanish(others[dice(3, others.len())])?);
    }
    Ok(changes)
}

struct Stage {
    cluster: Cluster,
    members: usize,
}

impl Stage {
    fn begin(&mut self) -> (u64, Nanos) {
        self.cluster.count_anew();
        (self.cluster.nodes[0].view, self.cluster.now)
    }

    fn change(&self, event: Event, began: Nanos, ended: Nanos) -> Change {
        let tallies = self.cluster.nodes.iter().map(|node| node.tally);
        let most = |of: fn(&super::node::Tally) -> u64| {
            tallies.clone().map(|tally| of(&tally)).max().unwrap_or(0)
        };
        let sent = self.cluster.sent();
        Change {
            event,
            members: self.members,
            time_us: (ended - began) as f64 / 1_000.0,
            frames: sent.frames,
            bytes: sent.bytes,
            busiest_frames: most(|tally| tally.frames),
            busiest_bytes: most(|tally| tally.bytes),
        }
    }

    fn leave(&mut self, leaver: usize) -> Result<Change, Stuck> {
        let (view, began) = self.begin();
        self.cluster.input(leaver, Input::Leave { group: GROUP });
        let ended = self.cluster.until_view(view + 1, self.members - 1, Some(leaver))?;
        self.cluster.rest()?;
        Ok(self.change(Event::Leave, began, ended))
    }

    fn join(&mut self, joiner: usize) -> Result<[Change; 2], Stuck> {
        let (view, began) = self.begin();
        let join = self.cluster.join_input(0, Cluster::config(WINDOW));
        self.cluster.input(joiner, join);
        let listed = self.cluster.until_view(view + 1, self.members - 1, Some(joiner))?;
        let join = self.change(Event::Join, began, listed);
        let ended = self.cluster.until_view(view + 2, self.members, None)?;
        self.cluster.rest()?;
        Ok([join, self.change(Event::Active, began, ended)])
    }

    fn kill(&mut self, killed: usize) -> Result<Change, Stuck> {
        let (view, began) = self.begin();
        self.cluster.end(killed, Fate::Killed);
        let peer = NodeId(self.cluster.name(killed));
        for other in (0..self.cluster.nodes.len()).filter(|&other| other != killed) {
            self.cluster.input(other, Input::Disconnected { peer });
            self.cluster.input(other, Input::Ended { peer });
        }
        let ended = self.cluster.until_view(view + 1, self.members - 1, None)?;
        self.cluster.rest()?;
        Ok(self.change(Event::Kill, began, ended))
    }

    fn vanish(&mut self, gone: usize) -> Result<Change, Stuck> {
        let (view, began) = self.begin();
        self.cluster.end(gone, Fate::Vanished);
        let ended = self.cluster.until_view(view + 1, self.members - 1, None)?;
        self.cluster.rest()?;
        Ok(self.change(Event::Vanish, began, ended))
    }
}
