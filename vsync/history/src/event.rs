//! The events of a history: one JSON object per line.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::counts::Counts;

/// The id of a member, `"name#incarnation@entry"`, or of a process, `"name#incarnation"`.
pub type Id = Arc<str>;

/// One line of a history file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Microseconds on the writer's monotonic clock, from its start.
    pub t: u64,
    /// Who writes: the process on the first line, the member on all others.
    pub node: Id,
    /// The group; absent on the first line only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Id>,
    /// The group's generation; absent on the first line only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

impl Line {
    /// Appends the line as a file has it, with its end.
    pub fn append_to(&self, text: &mut Vec<u8>) {
        let length = text.len();
        // All keys are strings and all numbers finite: there is nothing that could not be written.
        if serde_json::to_writer(&mut *text, self).is_err() {
            text.truncate(length);
            return;
        }
        text.push(b'\n');
    }
}

/// The order class of updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Sender order.
    Fifo,
    /// After everything that the sender had delivered before.
    Causal,
    /// One order for all.
    Total,
}

/// When an update may be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As soon as the order allows.
    Optimistic,
    /// Only when it is known to survive.
    Stable,
}

/// Why a member is not in the next view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It asked to leave.
    Left,
    /// It did not answer.
    Failed,
    /// It was alive, but had to go.
    Evicted,
}

/// A member of a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub id: Id,
    /// Whether it is active; if not, it is still joining.
    pub active: bool,
}

/// A member that a view has lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// Who.
    pub id: Id,
    /// Why.
    pub reason: Reason,
}

/// The part that a member plays for a client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It does the work.
    Coordinator,
    /// It stands by.
    Cohort,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line of a file.
    Start {
        /// The wall clock, microseconds since the Unix epoch: aligns the clocks of several files.
        wall_us: u64,
        /// Version of the protocol.
        protocol: u32,
    },
    /// A view was installed.
    View {
        /// Its number.
        view: u64,
        /// Its members in rank order.
        members: Vec<Member>,
        /// Who came with the writer from its previous view, itself included.
        together: Vec<Id>,
        /// Who is new.
        joined: Vec<Id>,
        /// Who is gone.
        left: Vec<Gone>,
    },
    /// A run of own updates of one class was handed in, and has no numbers yet.
    Submit {
        /// How many.
        count: u64,
        /// Their order.
        class: Class,
    },
    /// A run of own updates of one class got its numbers.
    Send {
        /// The view.
        view: u64,
        /// Number of the first.
        seq: u64,
        /// How many.
        count: u64,
        /// Their order.
        class: Class,
    },
    /// A run of updates was delivered.
    Deliver {
        /// The view.
        view: u64,
        /// Who sent it.
        sender: Id,
        /// Number of the first.
        seq: u64,
        /// How many.
        count: u64,
        /// Their order.
        class: Class,
        /// Position of the first; totals only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<u64>,
        /// Their level.
        level: Level,
    },
    /// This much is known to survive from now on.
    Stable {
        /// The view.
        view: u64,
        /// Updates per member.
        cut: Counts,
        /// Positions.
        extent: u64,
    },
    /// The writer holds all of a proposal.
    Accepted {
        /// The view being left.
        view: u64,
        /// The ballot.
        ballot: String,
        /// Hash of the proposal.
        proposal: String,
        /// Updates per member.
        cut: Counts,
        /// Positions.
        extent: u64,
    },
    /// A checkpoint was taken at the install of `view`.
    Checkpoint {
        /// The label.
        view: u64,
        /// How many updates of the view were applied before it: where it belongs, if the line comes
        /// later, because the checkpoint was written beside delivery.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delivered: Option<u64>,
        /// Its size.
        bytes: u64,
        /// Its hash.
        hash: String,
        /// The joiner.
        r#for: Id,
    },
    /// A checkpoint became the state.
    Loaded {
        /// The label.
        view: u64,
        /// Its size.
        bytes: u64,
        /// Its hash.
        hash: String,
        /// The donor.
        from: Id,
    },
    /// Digest of the state at a cut.
    State {
        /// The view.
        view: u64,
        /// Updates per member.
        cut: Counts,
        /// Positions.
        extent: u64,
        /// The digest.
        hash: String,
    },
    /// Somebody waits until everything delivered or submitted here so far is stable.
    Flush {
        /// Which flush: the writer counts them.
        id: u64,
    },
    /// A flush was answered.
    Flushed {
        /// Which.
        id: u64,
    },
    /// What is left in memory where everything has come to rest.
    Idle {
        /// Bytes of updates kept.
        retained: u64,
        /// Updates without a number.
        queued: u64,
    },
    /// The group cannot go on.
    Blocked {
        /// Why.
        reason: String,
    },
    /// The group goes on.
    Resumed {
        /// Why.
        reason: String,
    },
    /// The membership ended by the others' decision.
    Excluded {
        /// The last view installed.
        view: u64,
        /// How many own updates of that view are in its final cut, if the decision is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        own: Option<u64>,
    },
    /// The member asked to leave.
    Leaving {
        /// The view.
        view: u64,
    },
    /// The membership ended in an orderly way.
    Closed {
        /// The last view installed.
        view: u64,
        /// How many own updates of that view are in its final cut, if the decision is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        own: Option<u64>,
    },
    /// A client's request arrived.
    Request {
        /// Its id.
        id: String,
        /// Who asks.
        client: String,
        /// The writer's part.
        role: Role,
        /// The writer's rank for it.
        rank: u64,
    },
    /// A client's request was answered.
    Reply {
        /// Its id.
        id: String,
        /// Who asked.
        client: String,
        /// The writer's part.
        role: Role,
        /// The writer's rank for it.
        rank: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(text: &str) -> Line {
        let line: Line = serde_json::from_str(text).expect("a line");
        let again = serde_json::to_string(&line).expect("text");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(text).expect("json"),
            serde_json::from_str::<serde_json::Value>(&again).expect("json"),
        );
        line
    }

    #[test]
    fn the_first_line_names_the_process() {
        let text = r#"{"event":"start","t":0,"wall_us":17,"node":"p#2a","protocol":1}"#;
        let line = round(text);
        assert_eq!(line.event, Event::Start { wall_us: 17, protocol: 1 });
        assert_eq!(line.group, None);
    }

    #[test]
    fn the_lines_of_the_page_are_read() {
        let head = r#""t":5,"group":"atc","generation":1,"node":"p#2a@1""#;
        round(&format!(
            r#"{{{head},"event":"view","view":1,"members":[{{"id":"p#2a@1","active":true}}],
            "together":["p#2a@1"],"joined":["p#2a@1"],
            "left":[{{"id":"q#1@1","reason":"failed"}}]}}"#
        ));
        round(&format!(r#"{{{head},"event":"submit","count":3,"class":"causal"}}"#));
        round(&format!(r#"{{{head},"event":"send","view":1,"seq":0,"count":3,"class":"causal"}}"#));
        round(&format!(
            r#"{{{head},"event":"deliver","view":1,"sender":"p#2a@1","seq":0,"count":3,
            "class":"total","position":0,"level":"stable"}}"#
        ));
        round(&format!(r#"{{{head},"event":"stable","view":1,"cut":{{"p#2a@1":3}},"extent":0}}"#));
        round(&format!(
            r#"{{{head},"event":"accepted","view":1,"ballot":"1.0","proposal":"ab",
            "cut":{{"p#2a@1":3}},"extent":3}}"#
        ));
        round(&format!(
            r#"{{{head},"event":"checkpoint","view":2,"bytes":9,"hash":"0f","for":"r#3@2"}}"#
        ));
        round(&format!(
            r#"{{{head},"event":"loaded","view":2,"bytes":9,"hash":"0f","from":"p#2a@1"}}"#
        ));
        round(&format!(r#"{{{head},"event":"blocked","reason":"quorum"}}"#));
        round(&format!(r#"{{{head},"event":"flush","id":1}}"#));
        round(&format!(r#"{{{head},"event":"flushed","id":1}}"#));
        round(&format!(r#"{{{head},"event":"idle","retained":0,"queued":0}}"#));
        round(&format!(r#"{{{head},"event":"excluded","view":4}}"#));
        round(&format!(r#"{{{head},"event":"closed","view":4,"own":3}}"#));
    }

    #[test]
    fn an_event_that_is_not_on_the_page_is_an_error() {
        let text = r#"{"event":"news","t":5,"group":"g","generation":1,"node":"p#2a@1"}"#;
        assert!(serde_json::from_str::<Line>(text).is_err());
    }
}
