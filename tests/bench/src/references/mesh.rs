//! A full mesh of TCP connections between members: a length and postcard for each message, and one
//! write for all that waits for a member.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::task::Poll;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Bytes asked of a socket at once.
const READ: usize = 256 * 1024;
/// Bytes of a message's length.
const LENGTH: usize = 4;

/// The side that sends. What is sent waits for [`flush`](Mesh::flush).
pub(crate) struct Mesh<M> {
    links: Vec<Option<Link>>,
    wire: u64,
    messages: PhantomData<fn(M)>,
}

/// The side that receives: everything that one read brought, from one member, as one item.
pub(crate) type Inbox<M> = UnboundedReceiver<Vec<M>>;

/// To one other member.
struct Link {
    socket: OwnedWriteHalf,
    /// Not yet taken by the socket, from `begin` on.
    waiting: Vec<u8>,
    begin: usize,
}

/// Connects member `me` with all others.
pub(crate) async fn connect<M>(
    listener: &TcpListener,
    me: usize,
    peers: &[String],
) -> Result<(Mesh<M>, Inbox<M>), String>
where
    M: Serialize + DeserializeOwned + Send + 'static,
{
    let (received, inbox) = unbounded_channel();
    let mut links: Vec<Option<Link>> = peers.iter().map(|_| None).collect();
    // Each connects to those before it, and says who it is.
    for (peer, address) in peers.iter().enumerate().take(me) {
        let mut socket = TcpStream::connect(address).await.map_err(text)?;
        socket.write_all(&(me as u32).to_le_bytes()).await.map_err(text)?;
        links[peer] = Some(link(socket, &received)?);
    }
    for _ in me + 1..peers.len() {
        let (mut socket, _) = listener.accept().await.map_err(text)?;
        let peer = socket.read_u32_le().await.map_err(text)? as usize;
        *links.get_mut(peer).ok_or("a stranger connects")? = Some(link(socket, &received)?);
    }
    Ok((Mesh { links, wire: 0, messages: PhantomData }, inbox))
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
    Ok(Link { socket, waiting: Vec::new(), begin: 0 })
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
        let (mut messages, mut rest) = (Vec::new(), &buffer[..]);
        while let Some((length, after)) = rest.split_first_chunk::<LENGTH>() {
            let length = u32::from_le_bytes(*length) as usize;
            let Some((message, after)) = after.split_at_checked(length) else { break };
            messages.push(postcard::from_bytes(message).map_err(text)?);
            rest = after;
        }
        let used = buffer.len() - rest.len();
        buffer.drain(..used);
        if !messages.is_empty() && received.send(messages).is_err() {
            return Ok(());
        }
    }
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
        poll_fn(|context| {
            let mut links = self.links.iter().flatten().filter(|link| link.waits());
            match links.any(|link| link.socket.as_ref().poll_write_ready(context).is_ready()) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    /// Bytes written so far.
    pub(crate) fn wire(&self) -> u64 {
        self.wire
    }
}

impl Link {
    fn waits(&self) -> bool {
        self.begin < self.waiting.len()
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
        let before = self.begin;
        while self.waits() {
            match self.socket.try_write(&self.waiting[self.begin..]) {
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
