//! What a seed means: sizes, timings, configuration, work and faults of a run.

use bytes::Bytes;
use vsync_core::bugs::Bugs;
use vsync_core::engine::{Class, EngineConfig, GroupConfig};
use vsync_core::wire::NodeId;
use vsync_sim::{Dice, Weather};

/// One run of so many has fifty members.
const LARGE: u64 = 2500;

/// How many messages the updates of a run may bring about, in the mean, and as many its heartbeats.
const MESSAGES: u64 = 1500;

/// Between faults of which there are none.
const NEVER: u64 = u64::MAX / 8192;

/// The kind of trouble of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Connections break, nothing else.
    Quiet,
    /// A bit of everything.
    Usual,
    /// A minority knows more than it has told, then dies together.
    Doomed,
    /// Leaders die while they tell the decision.
    Assassin,
    /// Many joins, leaves and transfers.
    Crowd,
}

/// The plan of a run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Kind of trouble.
    pub(crate) mode: Mode,
    /// Members to begin with.
    pub(crate) members: usize,
    /// Groups on each host.
    pub(crate) groups: u64,
    /// Joiners that share the fate of the doomed.
    pub(crate) guests: usize,
    /// Processes in all, at most.
    pub(crate) most: usize,
    /// Configuration of the groups.
    pub(crate) config: GroupConfig,
    /// Classes of updates in use.
    pub(crate) classes: Vec<Class>,
    /// How many of 1000 runs have level stable.
    pub(crate) stable: u64,
    /// Mean time between submissions of a member.
    pub(crate) work: u64,
    /// How many of 1000 updates are long.
    pub(crate) long: u64,
    /// Whether it is one of the few runs of many members.
    pub(crate) large: bool,
    /// Delays.
    pub(crate) weather: Weather,
    /// Mean time until a batch closes.
    pub(crate) close: u64,
    /// Mean time between faults.
    pub(crate) faults: u64,
    /// Crashes, at most.
    pub(crate) crashes: usize,
    /// How long the trouble lasts.
    pub(crate) trouble: u64,
    /// Whether trouble begins before the group is complete.
    pub(crate) early: bool,
    /// Timings of the engines.
    pub(crate) engine: EngineConfig,
}

impl Plan {
    /// The plan that belongs to a seed, whose dice these are.
    pub(crate) fn new(dice: &mut Dice) -> Self {
        const MODES: [Mode; 5] =
            [Mode::Quiet, Mode::Usual, Mode::Doomed, Mode::Assassin, Mode::Crowd];
        let mode = MODES[dice.weighted(&[8, 42, 24, 14, 12])];
        let mut members = 1 + dice.weighted(&[3, 8, 30, 12, 29, 6, 6, 3, 3]);
        if mode == Mode::Doomed {
            members = members.max(3);
        }
        let (causal, classes) = classes(dice);
        let window = [64 * 1024, 4096, 600][dice.weighted(&[70, 15, 15])];
        let join_buffer = [1 << 20, 3000, 400][dice.weighted(&[70, 15, 15])];
        let config = GroupConfig {
            generation: 1,
            schema: 7,
            causal,
            meta: Bytes::new(),
            window,
            join_buffer,
        };
        let mut plan = Plan {
            mode,
            members,
            groups: if dice.chance(80) { 2 } else { 1 },
            guests: if mode == Mode::Doomed { dice.pick(&[0, 0, 2, 4]) } else { 0 },
            most: members + if mode == Mode::Crowd { 8 } else { 4 },
            config,
            classes,
            stable: dice.pick(&[0, 150, 150, 500]),
            work: dice.pick(&[10_000, 40_000, 120_000]),
            long: dice.pick(&[0, 0, 30]),
            large: false,
            weather: weather(dice),
            close: [5, 100, 1_500, 20_000][dice.weighted(&[30, 35, 30, 5])],
            faults: match mode {
                Mode::Quiet => 60_000,
                Mode::Doomed if dice.chance(600) => NEVER,
                Mode::Crowd => 50_000,
                _ => dice.pick(&[40_000, 100_000, 250_000]),
            },
            crashes: if mode == Mode::Quiet { 0 } else { dice.between(1, 4) as usize },
            trouble: dice.between(500_000, 2_000_000) * dice.pick(&[1, 1, 1, 1, 3]),
            early: dice.chance(100),
            engine: engine(dice),
        };
        if dice.below(LARGE) == 0 {
            plan.enlarge();
        }
        // As little is under way as with a window that has shrunk: it is seen at windows that no
        // user has, and not in every run, since there is less in an open batch then.
        if plan.trouble.is_multiple_of(4) {
            plan.engine.least_window = 0;
        }
        plan.bound_cost();
        plan
    }

    /// Makes it a run of fifty members: one group, little else.
    fn enlarge(&mut self) {
        self.large = true;
        self.members = 50;
        self.most = 54;
        self.groups = 1;
        self.guests = 0;
        self.trouble = self.trouble.min(600_000);
        self.early = false;
        self.engine.silence = 500_000;
        self.engine.heartbeat = 100_000;
    }

    /// Bounds what a run costs, where each member sends to each: more seeds see more than longer
    /// ones.
    fn bound_cost(&mut self) {
        if self.faults == NEVER {
            // Nothing comes after the doom.
            self.trouble = self.trouble.min(800_000);
        }
        let members = ((self.members + self.most) / 2) as u64;
        let pairs = members * members;
        let beats = self.trouble * pairs / self.engine.heartbeat;
        if beats > MESSAGES {
            self.trouble = (self.trouble * MESSAGES / beats).max(500_000);
        }
        self.work = self.work.max(self.trouble * self.groups * pairs / MESSAGES);
    }

    /// The configuration of one engine.
    pub(crate) fn engine(&self, node: NodeId, bugs: Bugs) -> EngineConfig {
        EngineConfig { node, bugs, ..self.engine.clone() }
    }
}

fn classes(dice: &mut Dice) -> (bool, Vec<Class>) {
    use Class::{Causal, Fifo, Total};
    let list: [(bool, &[Class]); 8] = [
        (true, &[Fifo, Causal, Total]),
        (true, &[Fifo, Causal]),
        (true, &[Causal, Total]),
        (true, &[Total]),
        (false, &[Fifo, Total]),
        (false, &[Fifo, Total]),
        (false, &[Total]),
        (false, &[Fifo]),
    ];
    let (causal, classes) = list[dice.weighted(&[30, 6, 10, 4, 15, 10, 20, 5])];
    (causal, classes.to_vec())
}

fn weather(dice: &mut Dice) -> Weather {
    let base = dice.pick(&[40, 200, 1_000]);
    Weather {
        base,
        jitter: base * dice.pick(&[1, 4, 15]),
        late: dice.pick(&[0, 10, 50]),
        lateness: dice.pick(&[5_000, 50_000, 250_000]),
    }
}

fn engine(dice: &mut Dice) -> EngineConfig {
    let mut config = EngineConfig::new(NodeId(0));
    // Of two groups one waits for the other.
    config.changes = 1;
    // The less patience, the more members are taken for dead that are not.
    config.silence = dice.pick(&[120_000, 300_000, 500_000]);
    config.heartbeat = config.silence / 5;
    config.link_timeout = dice.pick(&[600_000, 1_500_000, 5_000_000]);
    config.slow_member_timeout = dice.pick(&[800_000, 10_000_000]);
    config.ack_delay = dice.pick(&[500, 2_000, 20_000]);
    config.chunk = dice.pick(&[64, 300, 256 * 1024]);
    config
}
