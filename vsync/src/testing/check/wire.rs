//! What was encoded decodes to the same; other bytes do no harm.

use std::rc::Rc;
use std::sync::Arc;

use vsync_sim::Dice;

use super::history::{Author, after, at};
use super::pool::{Draw, Pool, call};
use super::{Check, Checked, Failure, Kind};
use crate::testing::sim::{Faults, Simulation};
use crate::testing::stage::guarded;
use crate::watch::{hex, watch};
use crate::{ApplyError, Replicated};

/// How many times each message is changed.
const CHANGES: u64 = 16;

/// A message that was encoded.
struct Message<'a> {
    /// To read.
    words: &'a str,
    bytes: &'a [u8],
}

impl<S: Replicated> Check<S> {
    /// As [`wire`](super::wire), with a failure to look at.
    ///
    /// # Errors
    /// [`Kind::Wire`] if a message does not survive, [`Kind::Panicked`] if bytes make the type
    /// panic, [`Kind::Vacuous`] if a method was never drawn.
    pub fn wire(&self) -> Result<Checked, Failure> {
        let mut dice = self.dice();
        let pool = Pool::new(self, &mut dice)?;
        let mut checked = Checked { cases: 0, telling: 0 };
        let again = |bytes: &[u8]| {
            let decoded = S::decode(bytes)?;
            let mut out = Vec::new();
            // What cannot be encoded is no message.
            Ok(S::encode(&decoded, &mut out).map(|()| out).ok())
        };
        for draw in pool.all() {
            let message = Message { words: &draw.words, bytes: &draw.bytes };
            survives(&message, again)?;
            checked.telling += harmless(&message, &mut dice, |bytes| drop(S::decode(bytes)))?;
            checked.cases += 1;
        }
        self.queries_survive(&mut dice, &mut checked)?;
        self.requests_survive(&mut dice, &mut checked)?;
        self.answers_survive(&mut checked)?;
        self.checkpoints_survive(&pool, &mut dice, &mut checked)?;
        Ok(checked)
    }

    fn queries_survive(&self, dice: &mut Dice, checked: &mut Checked) -> Result<(), Failure> {
        let mut drawn = Vec::new();
        if let Some(queries) = &self.queries {
            let stage = after(self, &[])?;
            let (ctx, state) = (stage.query_ctx(), stage.state);
            for _ in 0..self.cases {
                let query = guarded("drawing a query", || queries(dice))?;
                let mut bytes = Vec::new();
                let (encoded, seen) = watch(|| S::encode_query(&query, &mut bytes));
                if let Err(error) = encoded {
                    let report = format!("a query does not encode: {error}");
                    return Err(Failure::new(Kind::Wire, report));
                }
                let id = postcard::take_from_bytes::<u32>(&bytes).map(|(id, _)| id).unwrap_or(0);
                let known = S::QUERIES.iter().find(|(known, _)| *known == id);
                let name = known.map_or("", |(_, name)| name);
                drawn.push(name);
                let words = call(name, &seen.parts);
                let message = Message { words: &words, bytes: &bytes };
                survives(&message, |bytes| {
                    let decoded = S::decode_query(bytes)?;
                    let mut out = Vec::new();
                    Ok(S::encode_query(&decoded, &mut out).map(|()| out).ok())
                })?;
                let answered = guarded(&words, || state.query(&ctx, &bytes, &mut Vec::new()))?;
                if let Err(error) = answered {
                    let report = format!("the answer to {words} cannot be sent: {error}");
                    return Err(Failure::new(Kind::Wire, report));
                }
                let decode = |bytes: &[u8]| drop(S::decode_query(bytes));
                checked.telling += harmless(&message, dice, decode)?;
                checked.cases += 1;
            }
        }
        self.all_drawn("query", "queries", S::QUERIES.iter().copied(), &drawn)
    }

    fn requests_survive(&self, dice: &mut Dice, checked: &mut Checked) -> Result<(), Failure> {
        let mut drawn = Vec::new();
        for _ in 0..self.requests.as_ref().map_or(0, |_| self.cases) {
            let Some(requests) = &self.requests else { break };
            let request = guarded("drawing a request", || requests(dice))?;
            let draw = Draw::request::<S>(&request)?;
            drawn.push(draw.method.name);
            let message = Message { words: &draw.words, bytes: &draw.bytes };
            survives(&message, |bytes| {
                let decoded = S::decode_request(bytes)?;
                let mut out = Vec::new();
                Ok(S::encode_request(&decoded, &mut out).map(|()| out).ok())
            })?;
            let decode = |bytes: &[u8]| drop(S::decode_request(bytes));
            checked.telling += harmless(&message, dice, decode)?;
            checked.cases += 1;
        }
        let known = S::REQUESTS.iter().filter(|method| method.check(S::VERSION).is_ok());
        self.all_drawn("request", "requests", known.map(|it| (it.id, it.name)), &drawn)
    }

    /// What handlers answer where nothing goes wrong, in a group of one member.
    fn answers_survive(&self, checked: &mut Checked) -> Result<(), Failure> {
        let Some(requests) = self.requests.clone() else { return Ok(()) };
        let (start, updates) = (Arc::clone(&self.start), Rc::clone(&self.updates));
        let simulation = Simulation::new(move || start(), move |dice| updates(dice))
            .requests(move |dice| requests(dice))
            .members(1)
            .faults(Faults::none())
            .length(self.cases);
        match simulation.check_seed(self.seed) {
            Ok(seen) => checked.cases += seen.answered as usize,
            Err(failure) if failure.kind == Kind::Outside => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// One without arguments is its id and nothing else; all others have to be drawn.
    fn all_drawn(
        &self,
        one: &str,
        by: &str,
        known: impl Iterator<Item = (u32, &'static str)>,
        drawn: &[&str],
    ) -> Result<(), Failure> {
        let missing = known.filter(|(id, name)| {
            let signature = S::SIGNATURES.iter().find(|it| it.id == *id);
            let takes = signature.is_some_and(|it| !it.arguments.is_empty());
            takes && !drawn.contains(name) && !self.without.contains(name)
        });
        let missing: Vec<_> = missing.map(|(_, name)| format!("`{name}`")).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let report = format!(
            "no {one} was drawn of {} of `{}`: let `Check::{by}` make them, or leave them out \
             with `without`",
            missing.join(", "),
            S::NAME,
        );
        Err(Failure::new(Kind::Vacuous, report))
    }

    /// A checkpoint that arrives cut short or changed is refused, or another state.
    fn checkpoints_survive(
        &self,
        pool: &Pool,
        dice: &mut Dice,
        checked: &mut Checked,
    ) -> Result<(), Failure> {
        for _ in 0..self.cases.min(20) {
            let mut author = Author::new(pool, dice);
            let history = author.history(self.length);
            let bytes = after(self, &history)?.snapshot()?.state;
            let message = Message { words: "a checkpoint", bytes: &bytes };
            let load = |bytes: &[u8]| drop(S::load(bytes, (self.start)()));
            let harmed = |failure| at(failure, &history);
            checked.telling += harmless(&message, dice, load).map_err(harmed)?;
            checked.cases += 1;
        }
        Ok(())
    }
}

/// Decodes and encodes again: it must be what it was.
fn survives(
    message: &Message<'_>,
    again: impl FnOnce(&[u8]) -> Result<Option<Vec<u8>>, ApplyError>,
) -> Result<(), Failure> {
    let Message { words, bytes } = message;
    let why = match guarded(words, || again(bytes))? {
        Ok(Some(same)) if same == *bytes => return Ok(()),
        Ok(Some(other)) => {
            format!("it decodes to something that is encoded as\n  {}", hex(&other))
        }
        Ok(None) => "what it decodes to does not encode".to_owned(),
        Err(error) => format!("it does not decode: {error}"),
    };
    let report = format!("{words} does not survive the wire.\nEncoded as\n  {}\n{why}", hex(bytes));
    Err(Failure::new(Kind::Wire, report))
}

/// Reads the message cut short at every byte, and changed: no panic. Returns how many were read.
fn harmless(
    message: &Message<'_>,
    dice: &mut Dice,
    read: impl Fn(&[u8]),
) -> Result<usize, Failure> {
    let Message { words, bytes } = message;
    let mut others: Vec<Vec<u8>> = (0..bytes.len()).map(|end| bytes[..end].to_vec()).collect();
    // Long ones: not at every byte.
    if others.len() > 64 {
        dice.shuffle(&mut others);
        others.truncate(64);
    }
    for _ in 0..CHANGES {
        let mut other = bytes.to_vec();
        for _ in 0..=dice.below(3) {
            let place = dice.below(other.len() as u64 + 1) as usize;
            let byte = dice.word() as u8;
            match other.get_mut(place) {
                Some(there) => *there = byte,
                None => other.push(byte),
            }
        }
        others.push(other);
    }
    for other in &others {
        guarded("decoding", || read(other)).map_err(|mut failure| {
            let bytes = hex(other);
            failure.report = format!("{}\n\nfrom\n  {bytes}\nmade of {words}", failure.report);
            failure
        })?;
    }
    Ok(others.len())
}
