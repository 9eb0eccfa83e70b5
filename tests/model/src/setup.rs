//! The first state: a view of three active members, with updates that only some of them have.

use bytes::Bytes;
use vsync_core::bugs::Bugs;
use vsync_core::engine::{Class, GroupConfig, Input, Level, Run};
use vsync_core::wire::{GroupId, NodeId};

use crate::bound::Traffic;
use crate::member::{Happening, Member, Sending};
use crate::model::{MEMBERS, Network};

/// The group of the model.
pub const GROUP: GroupId = GroupId(7);

const CONTROL: usize = 0;
const UPDATES: usize = 1;

fn config() -> GroupConfig {
    GroupConfig {
        generation: 1,
        schema: 1,
        causal: false,
        meta: Bytes::new(),
        window: 1 << 16,
        join_buffer: 1 << 20,
    }
}

/// Members and what is under way between them, by rank.
pub struct Setup {
    /// The members, by rank.
    pub members: Vec<Member>,
    /// What is under way.
    pub network: Network,
}

impl Setup {
    /// Forms the view, and sends the traffic.
    pub fn new(bugs: Bugs, traffic: Traffic) -> Self {
        let members = (0..MEMBERS).map(|rank| Member::new(node(rank), bugs)).collect();
        let mut setup = Setup { members, network: Network::default() };
        for a in 0..MEMBERS {
            for b in (0..MEMBERS).filter(|&b| b != a) {
                setup.input(a, Input::Connected { peer: node(b) });
            }
        }
        setup.input(0, Input::Create { group: GROUP, config: config() });
        for rank in 1..MEMBERS {
            let contacts = vec![node(0)];
            setup.input(rank, Input::Join { group: GROUP, contacts, nonce: 1, config: config() });
            setup.calm();
        }
        let view = setup.members[0].log.last().map(|(number, _)| number).unwrap_or_default();
        for member in &mut setup.members {
            member.log.start_at(view);
        }
        setup.traffic(traffic);
        for member in &mut setup.members {
            member.seal();
        }
        setup
    }

    fn traffic(&mut self, traffic: Traffic) {
        match traffic {
            Traffic::Half | Traffic::Fresh => {
                self.submit(2, Class::Fifo, b"fifo from 2");
                self.happen(2, &Happening::Close);
                if traffic == Traffic::Half {
                    self.deliver(2, 1, UPDATES);
                }
                // The acknowledgement rides on the total, so the fifo update can be stable at 2.
                self.submit(1, Class::Total, b"total from 1");
            }
            Traffic::Ordered => {
                self.submit(2, Class::Fifo, b"fifo from 2");
                self.submit(2, Class::Total, b"total from 2");
                self.happen(2, &Happening::Close);
                // The sequencer alone has them, and gives the total a position.
                self.deliver(2, 0, UPDATES);
                self.submit(1, Class::Total, b"total from 1");
            }
        }
    }

    fn submit(&mut self, rank: usize, class: Class, text: &[u8]) {
        let mut body = (text.len() as u32).to_le_bytes().to_vec();
        body.extend_from_slice(text);
        let runs = vec![Run { class, level: Level::Optimistic, count: 1 }];
        // Nobody waits: acknowledgements ride on updates and records.
        let input = Input::Submit { group: GROUP, runs, body: body.into(), wall: 5, urgent: false };
        self.input(rank, input);
    }

    fn input(&mut self, rank: usize, input: Input) {
        let mut sent = Vec::new();
        self.members[rank].input(input, &mut sent);
        self.network.send(rank, sent);
    }

    fn happen(&mut self, rank: usize, happening: &Happening) {
        let sent: Vec<Sending> = self.members[rank].happen(happening);
        self.network.send(rank, sent);
    }

    fn deliver(&mut self, from: usize, to: usize, stream: usize) {
        if let Some(frame) = self.network.take(from, to, stream) {
            self.happen(to, &Happening::Frame(node(from), frame));
        }
    }

    /// Lets everything run until nothing is left to do.
    fn calm(&mut self) {
        const ROUNDS: usize = 20;
        for _ in 0..ROUNDS {
            for rank in 0..MEMBERS {
                self.happen(rank, &Happening::Retry);
            }
            loop {
                let next = self.network.busy().next();
                let Some((from, to, stream)) = next else { break };
                self.deliver(from, to, stream);
            }
        }
    }

    /// Whether the first state is the one described.
    pub fn is_complete(&self) -> bool {
        let formed = self.members.iter().all(|member| {
            member.log.last().is_some_and(|(_, view)| {
                view.install.view.active == MEMBERS && member.log.broken.is_none()
            })
        });
        let trusted = self
            .members
            .iter()
            .all(|member| (0..MEMBERS).all(|peer| !member.engine.suspects(node(peer))));
        formed && trusted && self.network.busy().all(|(_, _, stream)| stream != CONTROL)
    }
}

/// The node of a rank in the first view.
pub fn node(rank: usize) -> NodeId {
    NodeId(rank as u64 + 1)
}
