//! One node and one group of it, for tests that tell its driver by hand what happens.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use vsync_core::engine::{EngineConfig, GroupConfig};
use vsync_core::wire::{GroupId, NodeId};
use vsync_net::{MemoryNet, Transport};

use crate::directory::Directory;
use crate::runtime::dropped::Dropped;
use crate::runtime::replica::Shared;
use crate::runtime::rpc::Rpc;
use crate::runtime::seat::Seat;
use crate::runtime::typed::Typed;
use crate::runtime::{Command, Driver, Opening, Parts, Progress};

pub(super) const GROUP: GroupId = GroupId(7);

pub(super) struct Alone {
    pub(super) driver: Driver,
    pub(super) shared: Arc<Shared<Directory>>,
    pub(super) progress: mpsc::UnboundedReceiver<Progress>,
    /// What the driver is told.
    _commands: mpsc::UnboundedSender<Command>,
}

impl Alone {
    /// The first member of a group, or one that asks others to be let in.
    pub(super) fn new(contacts: Option<Vec<NodeId>>) -> Alone {
        let transport: Arc<dyn Transport> = Arc::new(MemoryNet::new().endpoint("here"));
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
            replica: Box::new(Typed::new(Arc::clone(&shared), 0)),
            config: GroupConfig {
                generation: 1,
                schema: 0,
                causal: false,
                meta: Bytes::new(),
                window: 1 << 16,
                join_buffer: 1 << 20,
            },
            contacts,
            progress: tell,
        });
        Alone { driver, shared, progress, _commands: commands }
    }
}
