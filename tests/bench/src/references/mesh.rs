//! A full mesh of connections between members: a length and postcard for each message, and one
//! write for all that waits for a member. Over TCP as a rule; where a run asks for it over the
//! transport that ours runs on, so that both are encrypted.

mod encrypted;

use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::{Context, Poll};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::options::Workload;
use encrypted::{Peer, Process};

/// Bytes asked of a socket at once.
const READ: usize = 256 * 1024;
/// Bytes of a message's length.
const LENGTH: usize = 4;

/// Where a member is connected to, before it knows the others.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Encrypted(Process),
}

impl Listener {
    /// Binds a port for member `me`.
    pub(crate) async fn bind(workload: &Workload, me: usize) -> Result<Listener, String> {
        Ok(match workload.encrypted {
            false => Listener::Tcp(TcpListener::bind("127.0.0.1:0").await.map_err(text)?),
            true => Listener::Encrypted(Process::start(me).await?),
        })
    }

    /// Where others find it.
    pub(crate) fn address(&self) -> Result<String, String> {
        match self {
            Listener::Tcp(listener) => Ok(listener.local_addr().map_err(text)?.to_string()),
            Listener::Encrypted(process) => Ok(process.address()),
        }
    }
}

/// What a run says of its connections.
pub(crate) fn transport(workload: &Workload) -> String {
    let how = match workload.encrypted {
        false => "TCP, no encryption; TCP_NODELAY",
        true => "QUIC, TLS 1.3, mutual authentication: what ours runs on",
    };
    format!("{how}; one write per pass and peer")
}

/// The side that sends. What is sent waits for [`flush`](Mesh::flush).
pub(crate) struct Mesh<M> {
    links: Vec<Option<Link>>,
    /// Written to sockets.
    wire: u64,
    process: Option<Process>,
    messages: PhantomData<fn(M)>,
}

/// The side that receives: everything that one read brought, from one member, as one item.
pub(crate) type Inbox<M> = UnboundedReceiver<Vec<M>>;

/// To one other member.
struct Link {
    to: To,
    /// Not yet taken by the socket, from `begin` on.
    waiting: Vec<u8>,
    begin: usize,
}

/// What takes a link's bytes.
enum To {
    Socket(OwnedWriteHalf),
    Peer(Peer),
}

/// Connects member `me` with all others.
pub(crate) async fn connect<M>(
    listener: Listener,
    me: usize,
    peers: &[String],
) -> Result<(Mesh<M>, Inbox<M>), String>
where
    M: Serialize + DeserializeOwned + Send + 'static,
{
    let (received, inbox) = unbounded_channel();
    let mut links: Vec<Option<Link>> = peers.iter().map(|_| None).collect();
    let process = match listener {
        Listener::Tcp(listener) => {
            over_tcp(&listener, me, peers, &received, &mut links).await?;
            None
        }
        Listener::Encrypted(process) => {
            let (others, early) = process.connect(me, peers).await?;
            for (place, peer) in others {
                let link = links.get_mut(place).ok_or("a stranger connects")?;
                *link = Some(Link { to: To::Peer(peer), waiting: Vec::new(), begin: 0 });
            }
            process.receive(early, received);
            Some(process)
        }
    };
    Ok((Mesh { links, wire: 0, process, messages: PhantomData }, inbox))
}

async fn over_tcp<M>(
    listener: &TcpListener,
    me: usize,
    peers: &[String],
    received: &UnboundedSender<Vec<M>>,
    links: &mut [Option<Link>],
) -> Result<(), String>
where
    M: DeserializeOwned + Send + 'static,
{
    // Each connects to those before it, and says who it is.
    for (peer, address) in peers.iter().enumerate().take(me) {
        let mut socket = TcpStream::connect(address).await.map_err(text)?;
        socket.write_all(&(me as u32).to_le_bytes()).await.map_err(text)?;
        links[peer] = Some(link(socket, received)?);
    }
    for _ in me + 1..peers.len() {
        let (mut socket, _) = listener.accept().await.map_err(text)?;
        let peer = socket.read_u32_le().await.map_err(text)? as usize;
        *links.get_mut(peer).ok_or("a stranger connects")? = Some(link(socket, received)?);
    }
    Ok(())
}

fn link<M>(socket: TcpStream, received: &UnboundedSender<Vec<M>>) -> Result<Link, String>
where
    M: DeserializeOwned + Send + 'static,
{
    socket.set_nodelay(true).map_err(text)?;
    let (reader, socket) = socket.into_split();
    let received = received.clone();
    tokio::spawn(async move {
        if let Err(why) = read(reader, received).await {
            eprintln!("mesh: {why}");
        }
    });
    Ok(Link { to: To::Socket(socket), waiting: Vec::new(), begin: 0 })
}

/// Takes a connection's messages until it ends.
async fn read<M>(mut socket: OwnedReadHalf, received: UnboundedSender<Vec<M>>) -> Result<(), String>
where
    M: DeserializeOwned,
{
    let mut buffer = Vec::with_capacity(2 * READ);
    loop {
        buffer.reserve(READ);
        match socket.read_buf(&mut buffer).await {
            // A member that is done takes its connections with it.
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => (),
        }
        let (messages, used) = cut(&buffer)?;
        buffer.drain(..used);
        if !messages.is_empty() && received.send(messages).is_err() {
            return Ok(());
        }
    }
}

/// The messages that are there whole, and how many bytes they take.
fn cut<M: DeserializeOwned>(buffer: &[u8]) -> Result<(Vec<M>, usize), String> {
    let (mut messages, mut rest) = (Vec::new(), buffer);
    while let Some((length, after)) = rest.split_first_chunk::<LENGTH>() {
        let length = u32::from_le_bytes(*length) as usize;
        let Some((message, after)) = after.split_at_checked(length) else { break };
        messages.push(postcard::from_bytes(message).map_err(text)?);
        rest = after;
    }
    Ok((messages, buffer.len() - rest.len()))
}

impl<M: Serialize> Mesh<M> {
    /// How many others there are.
    pub(crate) fn others(&self) -> usize {
        self.links.iter().flatten().count()
    }

    /// Sends to one member.
    pub(crate) fn send(&mut self, to: usize, message: &M) -> Result<(), String> {
        let link = self.links.get_mut(to).and_then(Option::as_mut);
        link.ok_or_else(|| format!("no connection to member {to}"))?.encode(message)
    }

    /// Sends to all others.
    pub(crate) fn broadcast(&mut self, message: &M) -> Result<(), String> {
        self.links.iter_mut().flatten().try_for_each(|link| link.encode(message))
    }

    /// Writes what the sockets take; one write for each member, as a rule.
    pub(crate) fn flush(&mut self) {
        for link in self.links.iter_mut().flatten() {
            self.wire += link.flush();
        }
    }

    /// Whether something waits for a socket.
    pub(crate) fn waits(&self) -> bool {
        self.links.iter().flatten().any(Link::waits)
    }

    /// Returns when a socket for which something waits takes more.
    pub(crate) async fn writable(&self) {
        if self.process.is_some() {
            return encrypted::room().await;
        }
        poll_fn(|context| {
            let mut links = self.links.iter().flatten().filter(|link| link.waits());
            match links.any(|link| link.is_writable(context)) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Bytes written so far.
    pub(crate) fn wire(&self) -> u64 {
        self.process.as_ref().map_or(self.wire, Process::wire)
    }
}

impl Link {
    fn waits(&self) -> bool {
        self.begin < self.waiting.len()
    }

    fn is_writable(&self, context: &mut Context<'_>) -> bool {
        match &self.to {
            To::Socket(socket) => socket.as_ref().poll_write_ready(context).is_ready(),
            To::Peer(peer) => peer.has_room(),
        }
    }

    fn encode<M: Serialize>(&mut self, message: &M) -> Result<(), String> {
        let mut buffer = std::mem::take(&mut self.waiting);
        let at = buffer.len();
        buffer.extend([0; LENGTH]);
        let mut buffer = postcard::to_extend(message, buffer).map_err(text)?;
        let length = u32::try_from(buffer.len() - at - LENGTH).map_err(text)?;
        buffer[at..at + LENGTH].copy_from_slice(&length.to_le_bytes());
        self.waiting = buffer;
        Ok(())
    }

    fn flush(&mut self) -> u64 {
        let socket = match &self.to {
            To::Socket(socket) => socket,
            To::Peer(peer) => {
                peer.send(&mut self.waiting);
                return 0;
            }
        };
        let before = self.begin;
        while self.begin < self.waiting.len() {
            match socket.try_write(&self.waiting[self.begin..]) {
                Ok(written) => self.begin += written,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                // The member has gone; whoever still needs it finds out by its silence.
                Err(_) => self.begin = self.waiting.len(),
            }
        }
        let written = (self.begin - before) as u64;
        if !self.waits() {
            self.waiting.clear();
            self.begin = 0;
        } else if self.begin > READ {
            self.waiting.drain(..self.begin);
            self.begin = 0;
        }
        written
    }
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
