//! [`StartError`]: why a node could not be started.

use std::error::Error;
use std::fmt;

use super::{JoinError, NetworkError, by_address, told};

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
    /// Fewer nodes than [`expect`](crate::NodeBuilder::expect) says were there before the deadline,
    /// or those that were did not agree; no cluster was formed, and none was found.
    NotFormed {
        /// How many nodes had to be there, this one included.
        expected: usize,
        /// The others that were there, and in no cluster either.
        waiting: Vec<String>,
        /// The addresses of the rest, and for each the last reason.
        missing: Vec<(String, String)>,
    },
    /// The cluster was found, but too many of its nodes are gone: it lets nobody in before they are
    /// back, or, where their processes have ended for good, before it is formed anew.
    NoQuorum {
        /// The seeds that are in it, and say so.
        seeds: Vec<String>,
    },
    /// The seeds are in different clusters of one secret: this node cannot tell which is meant.
    /// They come of a node that forms a cluster (`bootstrap`) each time it is started.
    SeveralClusters {
        /// The seeds that are in one, and how many nodes that has.
        seeds: Vec<(String, usize)>,
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
                f.write_str("no cluster secret: give `secret_file`, `secret_env` or `secret`")
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
                by_address(f, seeds)
            }
            StartError::NotFormed { expected, waiting, missing } => {
                not_formed(f, *expected, waiting, missing)
            }
            StartError::NoQuorum { seeds } => write!(
                f,
                "the cluster that {} is in has no quorum of its nodes, and lets nobody in: bring \
                 the others back; if their processes have ended for good, end the rest and form a \
                 new cluster",
                seeds.join(", ")
            ),
            StartError::SeveralClusters { seeds } => {
                f.write_str("the seeds are in different clusters of the same secret")?;
                for (seed, nodes) in seeds {
                    let nodes_are = if *nodes == 1 { "node" } else { "nodes" };
                    write!(f, "; {seed}: in one of {nodes} {nodes_are}")?;
                }
                f.write_str(
                    " (keep one: end the nodes of the others, and start them with `.seeds([...])` \
                     and without `.bootstrap()`)",
                )
            }
            StartError::Directory(error) => write!(f, "the directory: {error}"),
            StartError::History(error) => write!(f, "the history file: {error}"),
        }
    }
}

/// Who was there, who was not, and what to do.
fn not_formed(
    f: &mut fmt::Formatter<'_>,
    expected: usize,
    waiting: &[String],
    missing: &[(String, String)],
) -> fmt::Result {
    let here = waiting.len() + 1;
    write!(f, "no cluster was formed: of the {expected} nodes expected {here} ")?;
    f.write_str(if here == 1 { "was there, this one" } else { "were there, this one" })?;
    for seed in waiting {
        write!(f, " and {seed}")?;
    }
    by_address(f, missing)?;
    f.write_str(if here < expected {
        " (start the others while this one waits, which is as long as its `patience`)"
    } else {
        " (they have not agreed on one to form it: all of them must say `expect`, with the same \
         number and the same seeds; then start them all again)"
    })
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
