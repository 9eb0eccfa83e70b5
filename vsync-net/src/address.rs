//! Addresses as people write them.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use tokio::sync::oneshot;

use crate::error::ConnectError;

/// What an address looks like.
const FORM: &str = "expected host:port, as in 10.0.0.1:7400";

/// Host and port of an address; else what is wrong with it, in words.
pub(crate) fn split(addr: &str) -> Result<(&str, u16), String> {
    let (host, port) = addr.rsplit_once(':').ok_or_else(|| FORM.to_owned())?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !bracketed {
        return Err("expected host:port; the host of IPv6 in brackets, as in [::1]:7400".into());
    }
    if host.is_empty() {
        return Err(format!("{FORM}: there is no host"));
    }
    let number = port.parse().map_err(|_| format!("{FORM}: {port:?} is no port from 1 to 65535"));
    Ok((host, number?))
}

/// Checks that others can be given this address: that it is of the form `host:port`, with a port
/// other than 0. Whether there is such a host is not looked up.
///
/// # Errors
/// [`ConnectError::BadAddress`], with what is wrong.
pub fn check_address(addr: &str) -> Result<(), ConnectError> {
    let bad = |reason| ConnectError::BadAddress { addr: addr.to_owned(), reason };
    match split(addr) {
        Ok((_, 0)) => Err(bad(format!("{FORM}: nobody is reached at port 0"))),
        Ok(_) => Ok(()),
        Err(reason) => Err(bad(reason)),
    }
}

/// The socket addresses behind one.
///
/// A name is looked up on a thread that nobody waits for: a runtime that ends waits for its own
/// threads, and a resolver that does not answer would keep the process for as long.
pub(crate) async fn look_up(addr: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(addr) = addr.parse() {
        return Ok(vec![addr]);
    }
    let (tell, listen) = oneshot::channel();
    let addr = addr.to_owned();
    let look = move || {
        let found = addr.to_socket_addrs().map(Iterator::collect);
        // Who has asked may have given up.
        drop(tell.send(found));
    };
    std::thread::Builder::new().name("vsync-resolver".to_owned()).spawn(look)?;
    listen.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// No thread of the runtime is needed, so none is held either.
    #[test]
    fn a_name_is_looked_up_beside_the_runtime() {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(1).build().expect("a runtime");
        let (release, held) = mpsc::channel::<()>();
        let busy = runtime.spawn_blocking(move || held.recv());
        let found = runtime.block_on(look_up("localhost:7400")).expect("every host has it");
        assert!(found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 7400));
        assert_eq!(
            runtime.block_on(look_up("[::1]:1")).expect("no name"),
            ["[::1]:1".parse().expect("one")]
        );
        runtime.block_on(look_up("no port")).expect_err("not an address");
        drop(release);
        drop(busy);
    }

    #[test]
    fn what_is_wrong_is_said_with_what_was_given() {
        for good in ["10.0.0.1:7400", "[::1]:1", "host.example:65535"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for (bad, why) in [
            ("10.0.0.1", ""),
            ("", ""),
            (":7400", ": there is no host"),
            ("host:", ": \"\" is no port from 1 to 65535"),
            ("host:http", ": \"http\" is no port from 1 to 65535"),
            ("host:65536", ": \"65536\" is no port from 1 to 65535"),
            ("host:0", ": nobody is reached at port 0"),
        ] {
            let said = check_address(bad).expect_err(bad).to_string();
            let form = "expected host:port, as in 10.0.0.1:7400";
            assert_eq!(said, format!("{bad:?} is not an address: {form}{why}"));
        }
        let said = check_address("::1").expect_err("no brackets").to_string();
        assert!(said.starts_with("\"::1\" is not") && said.ends_with("[::1]:7400"), "{said}");
    }
}
