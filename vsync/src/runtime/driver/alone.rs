//! One node and one group of it, for tests that tell its driver by hand what happens.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;
use vsync_core::engine::{Class, EngineConfig, GroupConfig, Level};
use vsync_core::wire::{GroupId, NodeId};
use vsync_net::{MemoryNet, Transport};

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
