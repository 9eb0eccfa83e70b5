//! What raw quinn can be told to do otherwise, to see what each of its settings is worth.

use clap::Args;
use serde::{Deserialize, Serialize};

use super::bytes;

/// Settings of raw quinn, without which it is set up as ours is.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[command(next_help_heading = "Raw quinn (--system quinn)")]
pub(crate) struct Tuning {
    /// Bytes of a datagram; 6,500 if not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1_200..=6_550))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mtu: Option<u16>,
    /// A system call for each datagram (no segmentation offload).
    #[arg(long)]
    #[serde(default, skip_serializing_if = "is_off")]
    pub(crate) no_gso: bool,
    /// Packets for each acknowledgement; 20 if not given, and as a rule of quinn's own 2.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ack_every: Option<u32>,
    /// Bytes of the socket's buffers to ask for (`8M` if not given, powers of 1024).
    #[arg(long, value_parser = bytes)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) socket_buffer: Option<u64>,
    /// Bytes that one stream may have in flight (`8M` if not given).
    #[arg(long, value_parser = bytes)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream_window: Option<u64>,
    /// Bytes of one write, at least (`16k` if not given).
    #[arg(long, value_parser = bytes)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) write: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_off(flag: &bool) -> bool {
    !flag
}

impl Tuning {
    /// What cannot be run.
    pub(crate) fn check(&self) -> Result<(), String> {
        let zero = |size: Option<u64>| size == Some(0);
        match self {
            it if zero(it.write) || zero(it.stream_window) || zero(it.socket_buffer) => {
                Err("a write, a window and a buffer have bytes".to_owned())
            }
            it if it.stream_window.is_some_and(|window| window > 1 << 30) => {
                Err("a stream's window may have 1 GiB at most".to_owned())
            }
            it if it.socket_buffer.is_some_and(|buffer| buffer > 1 << 30) => {
                Err("a socket's buffer may have 1 GiB at most".to_owned())
            }
            _ => Ok(()),
        }
    }
}
