//! The load that an actor puts on its group.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::state::BallastHandle;
use crate::pace::{self, BURST};

/// How long the last send may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much is sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Load {
    Off,
    /// As fast as flow control lets it.
    Full,
    /// Updates per second, whatever the group does: what could not be sent in time follows.
    Rate(f64),
}

/// A sender at work.
#[derive(Debug)]
pub(crate) struct Sender {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<(), String>>,
}

/// Who sends what, and how much of it went out.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) handle: BallastHandle,
    pub(crate) index: u8,
    pub(crate) payload: String,
    pub(crate) sent: Arc<AtomicU64>,
}

impl Sender {
    /// Begins.
    pub(crate) fn start(source: Source, load: Load) -> Option<Sender> {
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&stop);
        let task = match load {
            Load::Off => return None,
            Load::Full => tokio::spawn(async move { source.full(&over).await }),
            Load::Rate(rate) => tokio::spawn(async move { source.paced(rate, &over).await }),
        };
        Some(Sender { stop, task })
    }

    /// Ends; an error is that which ended it before.
    pub(crate) async fn stop(self) -> Result<(), String> {
        self.stop.store(true, Relaxed);
        let done = timeout(PATIENCE, self.task).await.map_err(|_| "a send never ended")?;
        done.map_err(|error| error.to_string())?
    }
}

impl Source {
    async fn send(&self, number: u64) -> Result<(), String> {
        for _ in 0..number {
            let sent = self.handle.load(self.index, self.payload.clone()).send().await;
            sent.map_err(|error| error.to_string())?;
            self.sent.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    async fn full(&self, stop: &AtomicBool) -> Result<(), String> {
        while !stop.load(Relaxed) {
            self.send(BURST).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn paced(&self, rate: f64, stop: &AtomicBool) -> Result<(), String> {
        pace::paced(rate, || !stop.load(Relaxed), |number| self.send(number)).await.map(drop)
    }
}
