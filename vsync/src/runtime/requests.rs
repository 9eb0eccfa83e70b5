//! What the updates of requests do, at every replica alike.

use std::panic::{AssertUnwindSafe, catch_unwind};

use xxhash_rust::xxh3::xxh3_128;

use super::apply::{Stop, panicked};
use super::commits::TEXT;
use super::pending::{Done, Finish, Given, Name, PENDING, Step, Stepped, Wanted, Work};
use super::replica::panic_text;
use super::sessions::{Begun, Committed, Recorded, Refusal, Sessions};
use crate::Ctx;
use crate::replicated::{Replicated, Reply};
use crate::request::Policy;

/// Somebody asks for something: it is pending from here on, unless it is over already.
pub(super) fn begin<S: Replicated>(
    ctx: &Ctx<S>,
    wanted: Wanted,
    sessions: &mut Sessions,
    reply: &mut Reply<'_>,
) {
    let (hash, now) = (xxh3_128(&wanted.call), ctx.time());
    let committed = match sessions.begin(&wanted.id, hash, ctx.group().0, now) {
        Begun::CarryOut if sessions.pending.len() >= PENDING => Committed::Refused(Refusal::Full),
        Begun::CarryOut => {
            let (policy, method) = coordination::<S>(&wanted.call);
            let by = (policy, method, ctx.view());
            sessions.pending.begin(wanted, hash, now, by);
            Committed::Pending
        }
        Begun::Pending => Committed::Pending,
        Begun::Known(recorded) => Committed::Recorded(recorded),
        Begun::Refused(why) => Committed::Refused(why),
    };
    reply.put(committed);
}

/// Who coordinates what is called, and the name of its method.
pub(crate) fn coordination<S: Replicated>(call: &[u8]) -> (Policy, &'static str) {
    let id = postcard::take_from_bytes::<u32>(call).map(|(id, _)| id);
    let method = id.ok().and_then(|id| S::REQUESTS.iter().find(|method| method.id == id));
    match method {
        Some(method) => (S::request_policy(method.id), method.name),
        None => (S::REQUESTS_BY, ""),
    }
}

/// An attempt is done: its effects and its answer are the request's, if it is the first.
pub(super) fn finish<S: Replicated>(
    state: &mut S,
    ctx: &Ctx<S>,
    finish: Finish,
    sessions: &mut Sessions,
) -> Result<(), Stop> {
    let Finish { name, updates, given } = finish;
    let Some(entry) = sessions.pending.get(&name) else { return Ok(()) };
    if entry.deadline <= ctx.time() {
        end(ctx, name, Recorded::Late, sessions);
        return Ok(());
    }
    let wanted = match given {
        Given::Of(index) => Some(index),
        Given::Answer(_) | Given::Ends(_) => None,
    };
    let (given, broken) = match (apply(state, ctx, &updates, wanted), given) {
        (Ok(_), Given::Answer(bytes)) => (Recorded::of(Some(Ok(bytes))), None),
        (Ok(_), Given::Ends(recorded)) => (recorded, None),
        (Ok(result), Given::Of(_)) => (Recorded::of(result), None),
        (Err(Failed::Before(why)), _) => (Recorded::NotApplied(why), None),
        (Err(Failed::Amid(text, stop)), _) => (Recorded::Panicked(text), Some(stop)),
    };
    end(ctx, name, given, sessions);
    broken.map_or(Ok(()), Err)
}

/// A part of a request's work is done, unless it was.
pub(super) fn step<S: Replicated>(
    state: &mut S,
    ctx: &Ctx<S>,
    step: Step,
    sessions: &mut Sessions,
    reply: &mut Reply<'_>,
) -> Result<(), Stop> {
    let Step { name, index, work } = step;
    let hash = work.hash();
    if let Some(known) = sessions.pending.stepped(&name, index, hash) {
        reply.put(known);
        return Ok(());
    }
    let (result, broken) = match work {
        Work::Found(bytes) => (Recorded::of(Some(Ok(bytes))), None),
        Work::Updates(updates, of) => match apply(state, ctx, &updates, of) {
            Ok(_) if of.is_none() => (Recorded::Result(Vec::new()), None),
            Ok(result) => (Recorded::of(result), None),
            Err(Failed::Before(why)) => (Recorded::NotApplied(why), None),
            Err(Failed::Amid(text, stop)) => (Recorded::Panicked(text), Some(stop)),
        },
    };
    match result {
        Recorded::Result(result) if sessions.has_room(result.len()) => {
            sessions.pending.step(&name, index, Done { hash, result: result.clone() });
            reply.put(Stepped::Done(result));
        }
        // There is nothing to go on with.
        Recorded::Result(result) => {
            end(ctx, name, Recorded::TooLarge(result.len() as u64), sessions);
            reply.put(Stepped::Over);
        }
        other => {
            end(ctx, name, other, sessions);
            reply.put(Stepped::Over);
        }
    }
    broken.map_or(Ok(()), Err)
}

/// Somebody does not want it any more.
pub(super) fn cancel<S: Replicated>(
    ctx: &Ctx<S>,
    name: Name,
    sessions: &mut Sessions,
    reply: &mut Reply<'_>,
) {
    reply.put(Committed::Cancelled(end(ctx, name, Recorded::Cancelled, sessions)));
}

/// Ends what is late, and what belongs to sessions that are over.
pub(super) fn expire<S: Replicated>(ctx: &Ctx<S>, over: Vec<u64>, sessions: &mut Sessions) {
    for session in over {
        for name in sessions.pending.of_session(session) {
            end(ctx, name, Recorded::Late, sessions);
        }
    }
    while let Some(name) = sessions.pending.late(ctx.time()) {
        end(ctx, name, Recorded::Late, sessions);
    }
}

fn end<S: Replicated>(ctx: &Ctx<S>, name: Name, recorded: Recorded, to: &mut Sessions) -> bool {
    let recorded = to.fitting(recorded);
    let Some(entry) = to.pending.end(name, ctx.seq(), recorded.clone()) else { return false };
    to.record(&entry.id, entry.hash, recorded, ctx.time());
    true
}

/// Why updates were not applied as they should be.
enum Failed {
    /// None was.
    Before(String),
    /// One of them has panicked half way, and those behind it were not.
    Amid(String, Stop),
}

type Encoded = Option<Result<Vec<u8>, String>>;

/// Applies all, or none; gives the result of one of them.
fn apply<S: Replicated>(
    state: &mut S,
    ctx: &Ctx<S>,
    updates: &[Vec<u8>],
    wanted: Option<u32>,
) -> Result<Encoded, Failed> {
    let active = ctx.version();
    let decode = || {
        let mut decoded = Vec::with_capacity(updates.len());
        for update in updates {
            let update = S::decode(update).map_err(|error| error.to_string())?;
            S::method(&update).check(active).map_err(|why| why.to_string())?;
            decoded.push(update);
        }
        Ok(decoded)
    };
    let decoded = catch_unwind(decode).unwrap_or_else(|panic| Err(text(panic.as_ref())));
    let mut result = None;
    for (index, update) in decoded.map_err(Failed::Before)?.into_iter().enumerate() {
        let mut encoded = None;
        let is_wanted = wanted.is_some_and(|wanted| wanted as usize == index);
        let run = || {
            let mut reply = if is_wanted { Reply::encoded(&mut encoded) } else { Reply::none() };
            state.perform(ctx, update, &mut reply);
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            let stop = Stop::Failed(panicked(panic.as_ref()));
            return Err(Failed::Amid(text(panic.as_ref()), stop));
        }
        if is_wanted {
            result = encoded;
        }
    }
    Ok(result)
}

/// What is kept of a panic.
pub(crate) fn text(panic: &(dyn std::any::Any + Send)) -> String {
    panic_text(panic).chars().take(TEXT / 4).collect()
}

#[cfg(test)]
#[path = "requests/tests.rs"]
mod tests;
