//! The words of a story: what is read from its commands, and what is said of outputs.

use vsync_core::engine::Output;

/// An output in a few words; frames, credit, pieces of a checkpoint and that a member stops go
/// unsaid.
pub(crate) fn describe(output: &Output) -> Option<String> {
    Some(match output {
        Output::Send { .. }
        | Output::Credit { .. }
        | Output::Frozen { .. }
        | Output::Load { .. } => return None,
        Output::Sent { view, seq, run, .. } => {
            format!("sends {}/{} {:?} x{}", view, seq, run.class, run.count)
        }
        Output::Deliver(delivery) => {
            let place = delivery.position.map_or(String::new(), |at| format!(" at {at}"));
            let (view, seq, sender) = (delivery.view, delivery.seq, delivery.sender);
            format!("delivers {view}/{seq} of {sender} x{}{place}", delivery.count)
        }
        Output::Install(install) => {
            let members = install.view.members.iter().map(|member| format!(" {}", member.id));
            let (number, active) = (install.view.number, install.view.active);
            format!("installs {number}:{}, {active} active", members.collect::<String>())
        }
        Output::TakeCheckpoint { label, joiners, .. } => {
            format!("takes a checkpoint of {label} for {joiners:?}")
        }
        Output::Loaded { label, donor, .. } => format!("loads {label} from {donor}"),
        Output::Stable { view, cut, .. } => {
            format!("stable in {view}: {:?} and {} positions", cut.counts, cut.extent)
        }
        Output::Flushed { id, .. } => format!("flushed {id}"),
        Output::Accepted { view, ballot, cut, .. } => {
            let (n, leader) = (ballot.n, ballot.leader);
            format!("accepts {n}.{leader} for the end of {view}: {:?}", cut.counts)
        }
        Output::Blocked { .. } => "is blocked".into(),
        Output::Resumed { .. } => "goes on".into(),
        Output::Excluded { view, decided, .. } => format!("is excluded after {view}: {decided:?}"),
        Output::Left { view, decided, .. } => format!("has left after {view}: {decided}"),
        Output::Refused { reason, .. } => format!("is refused: {reason:?}"),
        Output::Dropped { peer, reason } => format!("drops a frame of {peer:?}: {reason:?}"),
    })
}

/// The number in a word.
pub(crate) fn number(word: &str) -> usize {
    let digits = word.trim_start_matches('n').trim_end_matches(',');
    digits.parse().unwrap_or_else(|_| panic!("no number: {word}"))
}

/// The numbers among some words.
pub(crate) fn numbers<'a>(words: &'a [&str]) -> impl Iterator<Item = usize> + 'a {
    words.iter().filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).map(|w| number(w))
}
