//! One port number, twice: UDP for QUIC, TCP for the liveness link.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::config::QuicConfig;
use crate::StartError;
use crate::address::{look_up, split};

/// How often another free port is drawn when the TCP side of one is taken.
const DRAWS: usize = 64;

/// The bound sockets of a transport.
pub(super) struct Sockets {
    pub(super) udp: UdpSocket,
    pub(super) tcp: Option<TcpListener>,
    pub(super) addr: SocketAddr,
}

impl Sockets {
    pub(super) async fn bind(config: &QuicConfig) -> Result<Self, StartError> {
        let addr = resolve(&config.listen).await?;
        let mut draws = if addr.port() == 0 { DRAWS } else { 1 };
        loop {
            draws -= 1;
            match Self::try_bind(addr, config) {
                Ok(sockets) => return Ok(sockets),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && draws > 0 => {}
                Err(error) => return Err(describe(error, &config.listen)),
            }
        }
    }

    fn try_bind(addr: SocketAddr, config: &QuicConfig) -> io::Result<Self> {
        let udp = udp(addr, config.socket_buffer)?;
        let addr = udp.local_addr()?;
        let tcp = if config.liveness { Some(tcp(addr)?) } else { None };
        Ok(Self { udp, tcp, addr })
    }
}

async fn resolve(listen: &str) -> Result<SocketAddr, StartError> {
    let bad = |reason: String| StartError::BadAddress { addr: listen.to_owned(), reason };
    if let Ok(addr) = listen.parse() {
        return Ok(addr);
    }
    split(listen).map_err(bad)?;
    let found = look_up(listen).await.map_err(|e| bad(e.to_string()))?;
    found.first().copied().ok_or_else(|| bad("the host has no address".into()))
}

fn describe(error: io::Error, listen: &str) -> StartError {
    let addr = listen.to_owned();
    match error.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse { addr },
        io::ErrorKind::AddrNotAvailable => {
            StartError::BadAddress { addr, reason: "not an address of this host".into() }
        }
        _ => StartError::Socket { addr, reason: error.to_string() },
    }
}

fn udp(addr: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    // The system may grant less (Linux: net.core.rmem_max and wmem_max); that costs speed only.
    if let Err(error) = socket.set_recv_buffer_size(buffer).and(socket.set_send_buffer_size(buffer))
    {
        tracing::warn!(%error, "the system refused larger socket buffers");
    }
    tracing::info!(
        asked = buffer,
        receive = socket.recv_buffer_size().unwrap_or(0),
        send = socket.send_buffer_size().unwrap_or(0),
        "UDP socket buffers"
    );
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Unix this only lets a restart have the port again at once; two listeners still clash.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}
