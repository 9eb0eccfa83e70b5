//! Carrying out the updates of clients, once each.

use std::panic::{AssertUnwindSafe, catch_unwind};

use xxhash_rust::xxh3::xxh3_128;

use super::apply::{Stop, panicked};
use super::replica::panic_text;
use super::sessions::{Begun, Commit, Committed, Recorded, Refusal, Sessions};
use crate::Ctx;
use crate::replicated::{Replicated, Reply};

/// Most bytes that are kept of what a panic says.
pub(super) const TEXT: usize = 1024;

/// Carries a client's update out, unless that was done before; the reply is the recorded one.
pub(super) fn carry_out<S: Replicated>(
    state: &mut S,
    ctx: &Ctx<S>,
    commit: &Commit,
    sessions: &mut Sessions,
    reply: &mut Reply<'_>,
) -> Result<(), Stop> {
    let Commit { id, update } = commit;
    let (hash, now) = (xxh3_128(update), ctx.time());
    match sessions.begin(id, hash, ctx.group().0, now) {
        Begun::CarryOut => {}
        Begun::Known(recorded) => {
            reply.put(Committed::Recorded(recorded));
            return Ok(());
        }
        Begun::Refused(why) => {
            reply.put(Committed::Refused(why));
            return Ok(());
        }
        // What is pending is a request: no update has its content.
        Begun::Pending => {
            reply.put(Committed::Refused(Refusal::OtherContent));
            return Ok(());
        }
    }
    let mut encoded = None;
    let run = || state.apply(ctx, update, &mut Reply::encoded(&mut encoded));
    match catch_unwind(AssertUnwindSafe(run)) {
        // It has changed nothing, and is held against the other replicas as any update is.
        Ok(Err(error)) => return Err(error.into()),
        Ok(Ok(())) => {
            let recorded = Recorded::of(encoded);
            sessions.record(id, hash, recorded.clone(), now);
            reply.put(Committed::Recorded(recorded));
        }
        Err(panic) => {
            let text: String = panic_text(panic.as_ref()).chars().take(TEXT / 4).collect();
            sessions.record(id, hash, Recorded::Panicked(text), now);
            return Err(Stop::Failed(panicked(panic.as_ref())));
        }
    }
    Ok(())
}
