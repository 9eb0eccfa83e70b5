//! UDP multicast over loopback: no order, nothing sent again. It says what "as fast as UDP
//! multicast" means.
//!
//! Datagrams are packed with updates up to `VSYNC_BENCH_UDP_DATAGRAM` bytes (1472: what an Ethernet
//! carries whole); 1 puts each update into one of its own. One thread sends and receives; a sender
//! takes whatever has come before it sends more, for a multicast on loopback lies in everybody's
//! buffer when the call returns, and nothing else would slow it down.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::sleep;

use crate::options::{MemberOptions, System, Workload};
use crate::report::{Report, cpu, memory};
use crate::seat::{self, Seat, WARM_UP};

/// What is asked for; the system grants what `net.core.rmem_max` and `wmem_max` allow.
pub(super) const SOCKET_BUFFER: usize = 8 << 20;
/// Bytes before each update: its length.
const PREFIX: usize = 4;
/// The most that one datagram can carry.
const MAX_DATAGRAM: usize = 65_507;
const ETHERNET: usize = 1_472;
/// Datagrams that are sent before those that came are taken.
const BURST: usize = 8;
/// Nothing has come for so long: nothing comes any more.
const QUIET: Duration = Duration::from_millis(300);

/// A UDP socket with buffers of so many bytes, as far as the system grants them.
pub(super) fn socket(addr: SocketAddr, buffer: usize) -> Result<Socket, String> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP));
    let socket = socket.map_err(text)?;
    // A smaller grant is no failure: `granted` tells it.
    let _ = socket.set_recv_buffer_size(buffer);
    let _ = socket.set_send_buffer_size(buffer);
    Ok(socket)
}

/// The sizes of a socket's buffers, for the settings.
pub(super) fn granted(socket: &Socket, buffer: usize) -> String {
    // Linux doubles what it grants, for its own bookkeeping, and tells the double.
    let [receive, send] = [socket.recv_buffer_size(), socket.send_buffer_size()]
        .map(|size| size.unwrap_or(0) / 2 / 1024);
    let asked = buffer / 1024;
    format!("{asked} KiB asked for, {receive} (receive) and {send} (send) granted")
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// Runs a member until it is told to stop.
pub(crate) fn member(options: &MemberOptions) -> Result<(), String> {
    let (index, seed) = (options.index, options.seed.clone());
    seat::run(options, |seat, workload| live(seat, workload, index, seed))
}

async fn live(
    mut seat: Seat,
    workload: Workload,
    index: usize,
    seed: Option<String>,
) -> Result<(), String> {
    if let Some(why) = System::Udp.cannot(&workload) {
        return Err(why.to_owned());
    }
    let packed = Packed::new(workload.size)?;
    let mut net = Net::open(seed.as_deref())?;
    let peers = seat.announce(&net.address).await?;
    net.reach(&peers, index)?;
    seat.go().await?;
    let report = measure(&workload, index, net, packed).await?;
    seat.report(&report).await
}

async fn measure(
    workload: &Workload,
    index: usize,
    net: Net,
    packed: Packed,
) -> Result<Report, String> {
    let settings = settings(&net, &packed);
    let end = Instant::now() + WARM_UP + Duration::from_secs(workload.seconds);
    let until = if index < workload.senders() { end } else { Instant::now() };
    let counts = Arc::new(Counts::default());
    let worker = {
        let counts = counts.clone();
        // A thread of its own; the runtime's has nothing to do but to wait for the coordinator.
        tokio::task::spawn_blocking(move || net.work(&packed, until, end, &counts))
    };
    sleep(WARM_UP).await;
    let (begun, cpu_before) = (Instant::now(), cpu());
    let (before, wire_before) = (counts.applied.load(Relaxed), counts.wire.load(Relaxed));
    tokio::time::sleep_until(end.into()).await;
    let seconds = begun.elapsed().as_secs_f64();
    let (after, wire, cpu) =
        (counts.applied.load(Relaxed), counts.wire.load(Relaxed), cpu() - cpu_before);
    worker.await.map_err(text)??;
    Ok(Report {
        seconds,
        applied: after - before,
        sent: counts.sent.load(Relaxed),
        wire: wire - wire_before,
        cpu,
        memory: memory(),
        total: counts.applied.load(Relaxed),
        settings,
        // Whatever finds a full buffer is lost, and nobody sends it again.
        reliable: false,
        ..Report::default()
    })
}

fn settings(net: &Net, packed: &Packed) -> BTreeMap<String, String> {
    let delivery = match net.multicast {
        true => "IP multicast on loopback; a member applies its own from the looped-back copy",
        false => "unicast to each other member, as multicast does not work here",
    };
    let pacing = format!("{BURST} datagrams, then all that has come is taken");
    let datagram = format!("{} bytes, {} updates", packed.datagram.len(), packed.updates);
    BTreeMap::from([
        ("transport".to_owned(), "UDP, no encryption, no order, no recovery".to_owned()),
        ("delivery".to_owned(), delivery.to_owned()),
        ("datagram (VSYNC_BENCH_UDP_DATAGRAM)".to_owned(), datagram),
        ("socket buffers".to_owned(), granted(&net.receive, SOCKET_BUFFER)),
        ("pacing".to_owned(), pacing),
        ("threads per member".to_owned(), "1, blocking sockets".to_owned()),
    ])
}

#[derive(Default)]
struct Counts {
    applied: AtomicU64,
    sent: AtomicU64,
    wire: AtomicU64,
}

/// A datagram full of updates: each its length and a string.
struct Packed {
    datagram: Vec<u8>,
    updates: u64,
}

impl Packed {
    fn new(size: usize) -> Result<Self, String> {
        let limit = match std::env::var("VSYNC_BENCH_UDP_DATAGRAM") {
            Ok(text) => text.parse().map_err(|_| format!("{text:?} is no size of a datagram"))?,
            Err(_) => ETHERNET,
        };
        Self::within(limit, size)
    }

    fn within(limit: usize, size: usize) -> Result<Self, String> {
        let update = PREFIX + size;
        let updates = (limit.min(MAX_DATAGRAM) / update).max(1);
        if updates * update > MAX_DATAGRAM {
            return Err(format!("udp: an update of {size} bytes does not fit into a datagram"));
        }
        let length = u32::try_from(size).map_err(text)?.to_be_bytes();
        let one = [&length[..], &vec![b'x'; size]].concat();
        Ok(Packed { datagram: one.repeat(updates), updates: updates as u64 })
    }
}

/// Decodes the updates of a datagram, and applies them; how many.
fn apply(mut datagram: &[u8], bytes: &mut u64) -> Result<u64, String> {
    let mut updates = 0;
    while let Some((length, rest)) = datagram.split_first_chunk::<PREFIX>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (payload, rest) = rest.split_at_checked(length).ok_or("a datagram was cut")?;
        *bytes += std::str::from_utf8(payload).map_err(text)?.len() as u64;
        updates += 1;
        datagram = rest;
    }
    Ok(updates)
}

/// The sockets of a member.
struct Net {
    multicast: bool,
    /// The group, or where this member listens.
    address: String,
    receive: Socket,
    send: UdpSocket,
    /// Whom to send to one by one.
    others: Vec<SocketAddr>,
}

impl Net {
    /// The first member finds out whether multicast works; the others do as it does.
    fn open(seed: Option<&str>) -> Result<Self, String> {
        let seed: Option<SocketAddr> = seed.map(str::parse).transpose().map_err(text)?;
        match seed {
            Some(group) if group.ip().is_multicast() => Self::group(group),
            Some(_) => Self::single(),
            None => {
                // Of the addresses for use within a site; other runs have others.
                let [.., high, low] = std::process::id().to_be_bytes();
                let group = SocketAddr::from(([239, 255, high, low], 0));
                Self::group(group).and_then(Self::probe).or_else(|why| {
                    eprintln!("vsync-bench: no multicast on loopback ({why}): unicast");
                    Self::single()
                })
            }
        }
    }

    fn group(group: SocketAddr) -> Result<Self, String> {
        let IpAddr::V4(ip) = group.ip() else {
            return Err(format!("{group} is not of IPv4"));
        };
        let receive = socket(group, SOCKET_BUFFER)?;
        receive.set_reuse_address(true).map_err(text)?;
        // Bound to the group, not to any address: only its datagrams come.
        receive.bind(&group.into()).map_err(text)?;
        receive.join_multicast_v4(&ip, &Ipv4Addr::LOCALHOST).map_err(text)?;
        let group = receive.local_addr().map_err(text)?;
        let send = Self::sending()?;
        send.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).map_err(text)?;
        send.set_multicast_loop_v4(true).map_err(text)?;
        // It does not leave the host.
        send.set_multicast_ttl_v4(0).map_err(text)?;
        send.connect(&group).map_err(text)?;
        let address = group.as_socket().ok_or("no address")?.to_string();
        Ok(Net { multicast: true, address, receive, send: send.into(), others: Vec::new() })
    }

    fn single() -> Result<Self, String> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let receive = socket(any, SOCKET_BUFFER)?;
        receive.bind(&any.into()).map_err(text)?;
        let address = receive.local_addr().map_err(text)?.as_socket().ok_or("no address")?;
        let (address, send) = (address.to_string(), Self::sending()?.into());
        Ok(Net { multicast: false, address, receive, send, others: Vec::new() })
    }

    fn sending() -> Result<Socket, String> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let send = socket(any, SOCKET_BUFFER)?;
        send.bind(&any.into()).map_err(text)?;
        Ok(send)
    }

    /// Whether what is sent to the group comes back.
    fn probe(self) -> Result<Self, String> {
        self.receive.set_read_timeout(Some(QUIET)).map_err(text)?;
        self.send.send(b"probe").map_err(text)?;
        let receive: UdpSocket = self.receive.try_clone().map_err(text)?.into();
        receive.recv(&mut [0; 16]).map_err(text)?;
        Ok(self)
    }

    /// Learns where the others are, where that matters.
    fn reach(&mut self, peers: &[String], index: usize) -> Result<(), String> {
        if !self.multicast {
            let others = peers.iter().enumerate().filter(|(place, _)| *place != index);
            let others = others.map(|(_, peer)| peer.parse().map_err(text));
            self.others = others.collect::<Result<_, String>>()?;
        }
        Ok(())
    }

    /// Sends until `until`, and receives until `end` and then until nothing comes any more.
    fn work(
        self,
        packed: &Packed,
        until: Instant,
        end: Instant,
        counts: &Counts,
    ) -> Result<(), String> {
        let receive: UdpSocket = self.receive.try_clone().map_err(text)?.into();
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut bytes = 0;
        receive.set_nonblocking(true).map_err(text)?;
        while Instant::now() < until {
            for _ in 0..BURST {
                self.send(packed, counts)?;
            }
            while take(&receive, &mut buffer, &mut bytes, counts)? {}
        }
        receive.set_nonblocking(false).map_err(text)?;
        receive.set_read_timeout(Some(QUIET)).map_err(text)?;
        // Others may begin a little later, and end so.
        while take(&receive, &mut buffer, &mut bytes, counts)? || Instant::now() < end {}
        // The state is looked at: nothing of applying can be left out.
        std::hint::black_box(bytes);
        Ok(())
    }

    fn send(&self, packed: &Packed, counts: &Counts) -> Result<(), String> {
        let datagram = &packed.datagram[..];
        let mut wire = 0;
        if self.multicast {
            wire += self.send.send(datagram).map_err(text)?;
        }
        for other in &self.others {
            wire += self.send.send_to(datagram, other).map_err(text)?;
        }
        counts.sent.fetch_add(packed.updates, Relaxed);
        counts.wire.fetch_add(wire as u64, Relaxed);
        if !self.multicast {
            counts.applied.fetch_add(apply(datagram, &mut 0)?, Relaxed);
        }
        Ok(())
    }
}

/// Takes one datagram; whether there was one.
fn take(
    receive: &UdpSocket,
    buffer: &mut [u8],
    bytes: &mut u64,
    counts: &Counts,
) -> Result<bool, String> {
    match receive.recv(buffer) {
        Ok(length) => {
            counts.applied.fetch_add(apply(&buffer[..length], bytes)?, Relaxed);
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_applied() {
        for (limit, size, updates) in [(1_400, 100, 13), (1, 100, 1), (1_400, 9_000, 1)] {
            let packed = Packed::within(limit, size).unwrap();
            let mut bytes = 0;
            assert_eq!(packed.updates, updates);
            assert_eq!(apply(&packed.datagram, &mut bytes), Ok(updates));
            assert_eq!(bytes, updates * size as u64);
            assert!(updates == 1 || packed.datagram.len() <= limit);
        }
        assert!(Packed::within(1_400, MAX_DATAGRAM).is_err());
    }

    #[test]
    fn a_cut_datagram_is_refused() {
        let packed = Packed::within(1_400, 100).unwrap();
        assert!(apply(&packed.datagram[..150], &mut 0).is_err());
    }
}
