//! The greeting on a fresh connection, from both sides.

use std::sync::Arc;
use std::time::Duration;

use quinn::{Connection, RecvStream, SendStream};
use tokio::time::timeout;

use super::Shared;
use super::hello::{self, Have, Hello, Verdict};
use super::identity;
use super::link::{self, Close};
use super::registry::Outcome;
use super::{dial, liveness};
use crate::{ConnectError, PeerInfo};

/// How long a connection that is not used stays open for the other side to read why.
const LINGER: Duration = Duration::from_millis(500);
/// How long the other connection of the pair may take to come up.
const OTHER: Duration = Duration::from_secs(1);

/// A greeting in progress.
pub(super) struct Greeting<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) connection: Connection,
    /// For errors: the address as it was given.
    pub(super) addr: &'a str,
    pub(super) dialled: bool,
}

impl Greeting<'_> {
    /// Greets, and says who is there. Whether over this connection or another, the peer is up.
    pub(super) async fn run(self) -> Result<PeerInfo, ConnectError> {
        let mut send = self.connection.open_uni().await.map_err(|e| self.broken(&e))?;
        self.put(&mut send, &self.shared.hello.encode()).await?;
        let mut recv = self.connection.accept_uni().await.map_err(|e| self.broken(&e))?;
        let bytes = self.get(&mut recv).await?;
        match self.judge(&bytes) {
            Ok(hello) => self.settle(hello, send, recv).await,
            Err((close, error)) => {
                if !self.dialled {
                    // The dialler finds the same in our greeting and should have time to read it.
                    let _ = send.finish();
                    let _ = timeout(LINGER, self.connection.closed()).await;
                }
                close.close(&self.connection);
                Err(error)
            }
        }
    }

    fn judge(&self, bytes: &[u8]) -> Result<Hello, (Close, ConnectError)> {
        let addr = self.addr.to_owned();
        let ours = self.shared.config.versions;
        let hello = Hello::decode(bytes, ours).map_err(|misunderstood| {
            let close = match misunderstood {
                hello::Misunderstood::Versions { .. } => Close::Version,
                _ => Close::Greeting,
            };
            (close, misunderstood.at(self.addr, ours))
        })?;
        if hello.id == self.shared.local.id {
            return Err((Close::Itself, ConnectError::Itself { addr }));
        }
        if !identity::confirms(&self.connection, &hello.name, hello.id) {
            let claimed = format!("{} ({})", hello.name, hello.id);
            return Err((Close::Impostor, ConnectError::Impostor { addr, claimed }));
        }
        Ok(hello)
    }

    /// Finds out whether this is the pair's connection: the smaller identity decides.
    async fn settle(
        self,
        hello: Hello,
        mut send: SendStream,
        mut recv: RecvStream,
    ) -> Result<PeerInfo, ConnectError> {
        let decides = self.shared.local.id < hello.id;
        let outcome = if decides {
            let have = Have::decode(&self.get(&mut recv).await?).ok_or_else(|| self.garbled())?;
            self.shared.decide(&hello, &self.connection, have)
        } else {
            let have = self.shared.read().have(hello.id);
            self.put(&mut send, &have.encode()).await?;
            let verdict = Verdict::decode(&self.get(&mut recv).await?);
            match verdict.ok_or_else(|| self.garbled())? {
                Verdict::Use(number) => self.shared.follow(&hello, &self.connection, number),
                Verdict::Keep(number) => Outcome::Other(number),
            }
        };
        match outcome {
            Outcome::Up(link) => {
                // No await since it was registered: a registered link has its tasks.
                link::run(self.shared, &link, send, recv);
                if self.dialled {
                    liveness::hold(self.shared, &link, hello.token);
                }
                Ok(link.info.clone())
            }
            Outcome::Other(number) => self.other(&hello, decides, number, send).await,
            Outcome::Closed => {
                Close::Ended.close(&self.connection);
                Err(ConnectError::ShutDown)
            }
        }
    }

    /// The pair has another connection: ends this one, waits for that one.
    async fn other(
        self,
        hello: &Hello,
        decides: bool,
        number: u64,
        mut send: SendStream,
    ) -> Result<PeerInfo, ConnectError> {
        let info = hello.info(self.connection.remote_address());
        if decides {
            self.put(&mut send, &Verdict::Keep(number).encode()).await?;
            let _ = send.finish();
            let connection = self.connection;
            self.shared.spawn(async move {
                let _ = timeout(LINGER, connection.closed()).await;
                Close::Duplicate.close(&connection);
            });
            return Ok(info);
        }
        Close::Duplicate.close(&self.connection);
        match timeout(OTHER, self.shared.wait_up(hello.id, number)).await {
            Ok(()) => Ok(info),
            Err(_) => Err(ConnectError::Failed {
                addr: self.addr.to_owned(),
                reason: "the pair's other connection did not come up".into(),
            }),
        }
    }

    async fn put(&self, send: &mut SendStream, body: &[u8]) -> Result<(), ConnectError> {
        let mut frame = (body.len() as u32).to_be_bytes().to_vec();
        frame.extend_from_slice(body);
        send.write_all(&frame).await.map_err(|error| self.lost(&error))
    }

    async fn get(&self, recv: &mut RecvStream) -> Result<Vec<u8>, ConnectError> {
        let mut prefix = [0; 4];
        self.read(recv, &mut prefix).await?;
        let len = u32::from_be_bytes(prefix) as usize;
        if len > hello::MAX {
            return Err(self.garbled());
        }
        let mut body = vec![0; len];
        self.read(recv, &mut body).await?;
        Ok(body)
    }

    async fn read(&self, recv: &mut RecvStream, into: &mut [u8]) -> Result<(), ConnectError> {
        recv.read_exact(into).await.map_err(|error| match error {
            quinn::ReadExactError::FinishedEarly(_) => self.garbled(),
            quinn::ReadExactError::ReadError(error) => self.lost(&error),
        })
    }

    fn garbled(&self) -> ConnectError {
        Close::Greeting.close(&self.connection);
        hello::Misunderstood::Truncated.at(self.addr, self.shared.config.versions)
    }

    /// An error on a stream: the connection's own says more where it has one.
    fn lost(&self, error: &dyn std::error::Error) -> ConnectError {
        match self.connection.close_reason() {
            Some(reason) => self.broken(&reason),
            None => ConnectError::Failed { addr: self.addr.into(), reason: error.to_string() },
        }
    }

    fn broken(&self, error: &quinn::ConnectionError) -> ConnectError {
        dial::describe(error, self.addr, self.shared.config.connect_timeout)
    }
}
