//! One node and one group of it, for tests that tell its driver by hand what happens.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use vsync_core::engine::{Class, Engine, EngineConfig, GroupConfig, Input, Level, Output, Outputs};
use vsync_core::wire::{GroupId, NodeId};
use vsync_net::{Class as Lane, Memory, MemoryNet, PeerId, Transport};

use crate::directory::Directory;
use crate::replicated::Method;
use crate::runtime::dropped::Dropped;
use crate::runtime::replica::{Replica, Shared};
use crate::runtime::rpc::Rpc;
use crate::runtime::seat::Seat;
use crate::runtime::typed::Typed;
use crate::runtime::{Command, Driver, Opening, Parts, Progress};

pub(super) const GROUP: GroupId = GroupId(7);

/// Of updates that need no position.
pub(crate) static FIFO: Method = Method {
    id: u32::MAX,
    name: "of the test",
    class: Class::Fifo,
    level: Level::Optimistic,
    since: 1,
    until: None,
    plain: true,
};

pub(super) struct Alone {
    pub(super) driver: Driver,
    pub(super) shared: Arc<Shared<Directory>>,
    pub(super) progress: mpsc::UnboundedReceiver<Progress>,
    /// The network on which it is called "here".
    pub(super) net: MemoryNet,
    /// What the driver is told.
    _commands: mpsc::UnboundedSender<Command>,
}

/// Another node, which asks the one here to be let into a group.
pub(super) struct Asking {
    endpoint: Memory,
    here: PeerId,
    asks: Bytes,
}

impl Asking {
    pub(super) fn node(&self) -> NodeId {
        NodeId(self.endpoint.local().id.0)
    }

    /// It asks so many times.
    pub(super) fn ask(&self, times: usize) {
        let ask = || self.endpoint.send(self.here, Lane::ALL[0], self.asks.clone());
        (0..times).for_each(|_| ask());
    }
}

/// The group's.
pub(super) fn config() -> GroupConfig {
    GroupConfig {
        generation: 1,
        schema: 0,
        causal: false,
        meta: Bytes::new(),
        window: 1 << 16,
        join_buffer: 1 << 20,
    }
}

impl Alone {
    /// The first member of a group, or one that asks others to be let in.
    pub(super) fn new(contacts: Option<Vec<NodeId>>) -> Alone {
        Alone::with(contacts, |shared| Box::new(Typed::new(Arc::clone(shared), 0)))
    }

    /// The same, with this replica.
    pub(super) fn with(
        contacts: Option<Vec<NodeId>>,
        replica: impl FnOnce(&Arc<Shared<Directory>>) -> Box<dyn Replica>,
    ) -> Alone {
        let net = MemoryNet::new();
        let transport: Arc<dyn Transport> = Arc::new(net.endpoint("here"));
        let node = NodeId(transport.local().id.0);
        let (commands, coming) = mpsc::unbounded_channel();
        let (notices, _) = mpsc::unbounded_channel();
        let mut driver = Driver::new(Parts {
            config: EngineConfig::new(node),
            transport: Arc::clone(&transport),
            rpc: Arc::new(Rpc::new(transport, None)),
            commands: coming,
            notices,
            history: None,
            dropped: Arc::new(Dropped::default()),
        });
        let seat = Arc::new(Seat::new("group".into(), 100, commands.clone()));
        let shared = Arc::new(Shared::new(Arc::clone(&seat), Directory::formed_by(0)));
        let (tell, progress) = mpsc::unbounded_channel();
        driver.open(Opening {
            group: GROUP,
            seat,
            replica: replica(&shared),
            config: config(),
            contacts,
            progress: tell,
        });
        Alone { driver, shared, progress, net, _commands: commands }
    }

    /// Another node that asks to be let into a group, once it is told to.
    pub(super) async fn asked(&self, name: &str, group: GroupId, config: GroupConfig) -> Asking {
        let endpoint = self.net.endpoint(name);
        let here = endpoint.connect("here").await.expect("it is there").id;
        let (node, mut out) = (NodeId(endpoint.local().id.0), Outputs::new());
        let mut engine = Engine::new(EngineConfig::new(node));
        engine.handle(0, Input::Connected { peer: NodeId(here.0) }, &mut out);
        let contacts = vec![NodeId(here.0)];
        engine.handle(0, Input::Join { group, contacts, nonce: 1, config }, &mut out);
        let asks = out.drain().find_map(|output| match output {
            Output::Send { frame, .. } => Some(frame),
            _ => None,
        });
        Asking { endpoint, here, asks: asks.expect("it asks") }
    }

    /// How many members a group has.
    pub(super) fn members(&self, group: GroupId) -> Option<usize> {
        let view = self.driver.engine.status(group).and_then(|status| status.view);
        view.map(|view| view.members.len())
    }

    /// What the driver is told next.
    pub(super) async fn next(&mut self) -> Command {
        let next = timeout(Duration::from_secs(30), self.driver.commands.recv()).await;
        next.expect("told in time").expect("told")
    }

    /// Until work is done.
    pub(super) async fn worked(&mut self) {
        loop {
            let command = self.next().await;
            let worked = matches!(command, Command::Worked { .. });
            self.driver.command(command);
            if worked {
                return;
            }
        }
    }
}
