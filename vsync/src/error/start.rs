//! [`StartError`]: why a node could not be started.

use std::error::Error;
use std::fmt;

use super::{JoinError, NetworkError, told};

/// Why a node could not be started.
#[non_exhaustive]
pub enum StartError {
    /// The builder was given neither a secret nor a transport.
    NoSecret,
    /// The secret could not be read.
    Secret(String),
    /// Neither `bootstrap` nor `seeds`: there is no way into a cluster.
    NoSeeds,
    /// Something the builder was given makes no sense.
    Config(String),
    /// The endpoint could not be opened (port taken, secret too short, address wrong).
    Network(NetworkError),
    /// `bootstrap` was asked for, but a seed already belongs to a cluster.
    ClusterExists {
        /// The seed that answered.
        seed: String,
    },
    /// No seed let this node in before the deadline; the last reason of each.
    Unreachable {
        /// Address and reason.
        seeds: Vec<(String, String)>,
    },
    /// The cluster was found, but too many of its nodes are gone: it lets nobody in before they are
    /// back, or, where their processes have ended for good, before it is formed anew.
    NoQuorum {
        /// The seeds that are in it, and say so.
        seeds: Vec<String>,
    },
    /// The directory could not be joined.
    Directory(Box<JoinError>),
    /// The history file could not be made.
    History(std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoSecret => {
                f.write_str("no cluster secret: give secret_file or secret_env")
            }
            StartError::Secret(why) => write!(f, "cluster secret: {why}"),
            StartError::NoSeeds => f.write_str(
                "no seeds, and this node does not bootstrap: say `.bootstrap()` at exactly one \
                 node and `.seeds([...])` at all others, or `.expect(n)` with the same seeds \
                 everywhere",
            ),
            StartError::Config(why) => f.write_str(why),
            StartError::Network(error) => write!(f, "network: {error}"),
            StartError::ClusterExists { seed } => {
                write!(f, "cannot bootstrap: {seed} already belongs to a cluster")
            }
            StartError::Unreachable { seeds } => {
                f.write_str("no seed let this node in")?;
                for (seed, why) in seeds {
                    write!(f, "; {seed}: {why}")?;
                }
                Ok(())
            }
            StartError::NoQuorum { seeds } => write!(
                f,
                "the cluster that {} is in has no quorum of its nodes, and lets nobody in: bring \
                 the others back; if their processes have ended for good, end the rest and form a \
                 new cluster",
                seeds.join(", ")
            ),
            StartError::Directory(error) => write!(f, "the directory: {error}"),
            StartError::History(error) => write!(f, "the history file: {error}"),
        }
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        told(self, f)
    }
}

impl std::error::Error for StartError {
    /// What is behind the error that the text names.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StartError::Network(error) => error.source(),
            StartError::Directory(error) => error.source(),
            StartError::History(error) => error.source(),
            _ => None,
        }
    }
}
