//! openraft's calls from member to member, over the mesh.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use openraft::error::{InstallSnapshotError, RPCError, RaftError, Unreachable};
use openraft::network::{RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, EmptyNode};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::{Event, Raft, Types, write};
use crate::references::load::Batch;
use crate::references::mesh::{Inbox, Mesh};

/// What members send each other.
#[derive(Serialize, Deserialize)]
pub(super) enum Frame {
    Request {
        from: usize,
        number: u64,
        request: Request,
    },
    Response {
        number: u64,
        response: Response,
    },
    /// To the leader, to be written.
    Propose(Batch),
    /// From the leader: the batch that begins with this one of yours is committed and applied.
    Committed(u64),
    /// The sender of this knows the leader.
    Ready,
    /// The sender of this has sent so many updates, and no more will come.
    Done(u64),
}

#[derive(Serialize, Deserialize)]
pub(super) enum Request {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<u64>),
    Install(InstallSnapshotRequest<Types>),
}

#[derive(Serialize, Deserialize)]
pub(super) enum Response {
    Append(AppendEntriesResponse<u64>),
    Vote(VoteResponse<u64>),
    Install(InstallSnapshotResponse<u64>),
}

/// Sends frames from anywhere. A clone sends the same way.
#[derive(Clone)]
pub(super) struct Wires {
    me: usize,
    out: UnboundedSender<(usize, Frame)>,
    calls: Arc<Mutex<Calls>>,
    /// Bytes written so far.
    written: Arc<AtomicU64>,
}

/// Calls that wait for an answer.
#[derive(Default)]
struct Calls {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<Response>>,
}

/// To one other member.
pub(super) struct Wire {
    to: usize,
    wires: Wires,
}

type Failure<E = RaftError<u64>> = RPCError<u64, EmptyNode, E>;

impl Wires {
    pub(super) fn new(me: usize, out: UnboundedSender<(usize, Frame)>) -> Wires {
        Wires { me, out, calls: Arc::default(), written: Arc::default() }
    }

    pub(super) fn send(&self, to: usize, frame: Frame) {
        // Nobody is there to send at the end of a run.
        let _ = self.out.send((to, frame));
    }

    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    fn with<T>(&self, what: impl FnOnce(&mut Calls) -> T) -> T {
        what(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// openraft limits how long it waits.
    async fn call(&self, to: usize, request: Request) -> Result<Response, Unreachable> {
        let (answer, answered) = oneshot::channel();
        let number = self.with(|calls| {
            calls.last += 1;
            calls.waiting.insert(calls.last, answer);
            calls.last
        });
        self.send(to, Frame::Request { from: self.me, number, request });
        answered.await.map_err(|error| Unreachable::new(&error))
    }
}

fn strange() -> Unreachable {
    Unreachable::new(&AnyError::error("an answer to another question"))
}

impl RaftNetworkFactory<Types> for Wires {
    type Network = Wire;

    async fn new_client(&mut self, target: u64, _: &EmptyNode) -> Wire {
        Wire { to: target as usize, wires: self.clone() }
    }
}

impl RaftNetwork<Types> for Wire {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        _: RPCOption,
    ) -> Result<AppendEntriesResponse<u64>, Failure> {
        match self.wires.call(self.to, Request::Append(rpc)).await? {
            Response::Append(response) => Ok(response),
            _ => Err(strange().into()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<u64>,
        _: RPCOption,
    ) -> Result<VoteResponse<u64>, Failure> {
        match self.wires.call(self.to, Request::Vote(rpc)).await? {
            Response::Vote(response) => Ok(response),
            _ => Err(strange().into()),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        _: RPCOption,
    ) -> Result<InstallSnapshotResponse<u64>, Failure<RaftError<u64, InstallSnapshotError>>> {
        match self.wires.call(self.to, Request::Install(rpc)).await? {
            Response::Install(response) => Ok(response),
            _ => Err(strange().into()),
        }
    }
}

/// The task that owns the mesh: hands on what comes, and sends all that waits, in one write each.
pub(super) async fn switch(
    mut mesh: Mesh<Frame>,
    mut inbox: Inbox<Frame>,
    mut out: UnboundedReceiver<(usize, Frame)>,
    wires: Wires,
    raft: Raft,
    events: UnboundedSender<Event>,
) -> Result<(), String> {
    let (mut received, mut outgoing) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            count = inbox.recv_many(&mut received, 64) => {
                if count == 0 {
                    // The others are done.
                    return Ok(());
                }
                for frame in received.drain(..).flatten() {
                    handle(frame, &wires, &raft, &events).await?;
                }
            }
            _ = out.recv_many(&mut outgoing, 256) => {
                for (to, frame) in outgoing.drain(..) {
                    mesh.send(to, &frame)?;
                }
                while let Ok((to, frame)) = out.try_recv() {
                    mesh.send(to, &frame)?;
                }
                mesh.flush();
            }
            () = mesh.writable(), if mesh.waits() => mesh.flush(),
        }
        wires.written.store(mesh.wire(), Ordering::Relaxed);
    }
}

async fn handle(
    frame: Frame,
    wires: &Wires,
    raft: &Raft,
    events: &UnboundedSender<Event>,
) -> Result<(), String> {
    let event = match frame {
        Frame::Request { from, number, request } => {
            let (wires, raft) = (wires.clone(), raft.clone());
            tokio::spawn(async move {
                match answer(&raft, request).await {
                    Ok(response) => wires.send(from, Frame::Response { number, response }),
                    // The caller gives up after a while, and tries again.
                    Err(why) => eprintln!("openraft: {why}"),
                }
            });
            return Ok(());
        }
        Frame::Response { number, response } => {
            if let Some(answer) = wires.with(|calls| calls.waiting.remove(&number)) {
                // Whoever asked may have given up.
                let _ = answer.send(response);
            }
            return Ok(());
        }
        Frame::Propose(batch) => {
            let (to, first, wires) = (batch.sender as usize, batch.first, wires.clone());
            return write(raft, batch, move || wires.send(to, Frame::Committed(first))).await;
        }
        Frame::Committed(first) => Event::Committed(first),
        Frame::Ready => Event::Ready,
        Frame::Done(sent) => Event::Done(sent),
    };
    events.send(event).map_err(|error| error.to_string())
}

async fn answer(raft: &Raft, request: Request) -> Result<Response, String> {
    match request {
        Request::Append(rpc) => raft.append_entries(rpc).await.map(Response::Append).map_err(text),
        Request::Vote(rpc) => raft.vote(rpc).await.map(Response::Vote).map_err(text),
        Request::Install(rpc) => {
            raft.install_snapshot(rpc).await.map(Response::Install).map_err(text)
        }
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
