//! [`Walk`]: applying the updates of a range, one after the other, whatever becomes of each.
//!
//! An update that panics is over half way. What it has changed stays: the method is deterministic,
//! so it has changed the same at every replica. One that does not decode has changed nothing. Both
//! are told to the caller, counted, and held against the other replicas by
//! [`Verdicts`](super::verdicts::Verdicts).

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use vsync_core::engine::Delivery;

use super::callers::{Answer, Takes};
use super::commits;
use super::compare::{self, Digest};
use super::inner::Inner;
use super::replica::panic_text;
use super::requests;
use super::seat::Seat;
use super::seldom::Seldom;
use super::sessions::Sessions;
use super::verdicts::{Place, Verdict};
use crate::Ctx;
use crate::error::{GroupError, NotApplied, Unknown};
use crate::replicated::{ApplyError, Replicated, Reply};

/// The way through a range.
pub(crate) struct Walk<'a> {
    view: u64,
    /// The sender's.
    rank: u32,
    body: &'a [u8],
    /// The next update's number, and the first that is not in the range.
    next: u64,
    end: u64,
    /// The updates that failed.
    pub(crate) failed: Vec<u64>,
    /// What their sender says of others.
    pub(crate) heard: Vec<(Place, Verdict)>,
    /// What it says of its state.
    pub(crate) digests: Vec<(Place, Digest)>,
    /// What the state was where replicas are compared.
    pub(crate) taken: Vec<(Place, Digest)>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(range: &'a Delivery) -> Walk<'a> {
        Walk {
            view: range.view,
            rank: u32::try_from(range.rank).unwrap_or(u32::MAX),
            body: &range.body,
            next: range.seq,
            end: range.seq + u64::from(range.count),
            failed: Vec::new(),
            heard: Vec::new(),
            digests: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Whether nothing has failed and nothing was heard.
    pub(crate) fn is_plain(&self) -> bool {
        self.failed.is_empty()
            && self.heard.is_empty()
            && self.digests.is_empty()
            && self.taken.is_empty()
    }

    /// Applies all; only results that somebody awaits are kept.
    ///
    /// # Errors
    /// If the range is shorter than it says.
    pub(crate) fn all<S: Replicated>(
        &mut self,
        state: &mut S,
        ctx: &mut Ctx<S>,
        mut takes: Option<&mut dyn Takes>,
        seat: &Seat,
        sessions: &mut Seldom<Sessions>,
    ) -> Result<(), String> {
        while self.next < self.end {
            let run = AssertUnwindSafe(|| self.run(state, ctx, &mut takes, sessions));
            let error = match catch_unwind(run) {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(Stop::Failed(error))) => error,
                Ok(Err(Stop::Declined(why))) => {
                    // All replicas decide so, by the version that the view has.
                    if let Some(takes) = &mut takes {
                        takes.delivered(self.view, self.next - 1, Err(GroupError::NotApplied(why)));
                    }
                    continue;
                }
                Ok(Err(Stop::Short)) => {
                    return Err("a range that is shorter than its count".to_owned());
                }
                Err(panic) => panicked(panic.as_ref()),
            };
            let seq = self.next - 1;
            seat.failed(&error);
            self.failed.push(seq);
            if let Some(takes) = &mut takes {
                takes.delivered(self.view, seq, Err(error));
            }
        }
        Ok(())
    }

    /// Goes on until the end, or until an update fails.
    fn run<S: Replicated>(
        &mut self,
        state: &mut S,
        ctx: &mut Ctx<S>,
        takes: &mut Option<&mut dyn Takes>,
        sessions: &mut Seldom<Sessions>,
    ) -> Result<(), Stop> {
        let mut wanted = takes.as_ref().and_then(|t| t.wanted(self.view, self.next));
        while self.next < self.end {
            let (update, rest) = split(self.body).ok_or(Stop::Short)?;
            let seq = self.next;
            // Before it is applied: if it panics, the next one goes on from here.
            self.body = rest;
            self.next += 1;
            ctx.next(seq);
            if wanted != Some(seq) {
                self.apply(state, ctx, update, &mut Reply::none(), sessions)?;
                continue;
            }
            let mut answer: Option<Answer> = None;
            self.apply(state, ctx, update, &mut Reply::slot(&mut answer), sessions)?;
            if let Some(takes) = takes {
                let answer = answer.ok_or(GroupError::Unknown(Unknown::NoAnswer));
                takes.delivered(self.view, seq, answer);
                wanted = takes.wanted(self.view, seq + 1);
            }
        }
        Ok(())
    }

    /// Applies one update, the user's or the runtime's.
    fn apply<S: Replicated>(
        &mut self,
        state: &mut S,
        ctx: &Ctx<S>,
        update: &[u8],
        reply: &mut Reply<'_>,
        sessions: &mut Seldom<Sessions>,
    ) -> Result<(), Stop> {
        let Err(error) = state.apply(ctx, update, reply) else { return Ok(()) };
        match Inner::read(update) {
            None => return Err(error.into()),
            Some(Inner::Verdict(place, verdict)) => self.heard.push((place, verdict)),
            Some(Inner::Compare) => {
                let update = Some((self.rank, self.next - 1));
                let place = Place { view: self.view, update };
                let beside = (sessions.agreed(), &ctx.saved_timers());
                let digest = compare::amid(state, beside, ctx.version());
                self.taken.extend(digest.map(|digest| (place, digest)));
            }
            Some(Inner::Digest(place, digest)) => self.digests.push((place, digest)),
            Some(inner) => carry_out(state, ctx, inner, reply, sessions)?,
        }
        Ok(())
    }
}

/// Carries an update of the runtime's out, in which all replicas agree. What is said of replicas is
/// none.
pub(crate) fn carry_out<S: Replicated>(
    state: &mut S,
    ctx: &Ctx<S>,
    inner: Inner,
    reply: &mut Reply<'_>,
    sessions: &mut Seldom<Sessions>,
) -> Result<(), Stop> {
    match inner {
        Inner::Fire(timer) => {
            // It may have fired already: a coordinator that failed has asked for it, too.
            let Some(update) = ctx.fire(timer) else { return Ok(()) };
            state.apply(ctx, &update, reply)?;
        }
        Inner::Activate(version) => reply.put(ctx.agree_on(version)),
        Inner::Open(lease) => reply.put(sessions.open(ctx.group().0, lease, ctx.time())),
        Inner::Commit(commit) => commits::carry_out(state, ctx, &commit, sessions, reply)?,
        Inner::Expire => {
            let over = sessions.expire(ctx.time());
            requests::expire(ctx, over, sessions);
        }
        Inner::Request(wanted) => requests::begin(ctx, *wanted, sessions, reply),
        Inner::Step(step) => requests::step(state, ctx, *step, sessions, reply)?,
        Inner::Finish(finish) => requests::finish(state, ctx, *finish, sessions)?,
        Inner::Cancel(name) => requests::cancel(ctx, name, sessions, reply),
        Inner::Barrier => reply.put(()),
        Inner::Verdict(..) | Inner::Compare | Inner::Digest(..) => {}
    }
    Ok(())
}

/// Why a walk does not go on by itself.
pub(crate) enum Stop {
    /// The last update failed without a panic.
    Failed(GroupError),
    /// The last update was not applied, at no replica.
    Declined(NotApplied),
    /// There is no update where one should be.
    Short,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::Failed(error) => error.fmt(f),
            Stop::Declined(why) => why.fmt(f),
            Stop::Short => f.write_str("there is no update"),
        }
    }
}

impl From<ApplyError> for Stop {
    fn from(error: ApplyError) -> Stop {
        match error {
            ApplyError::Version(why) => Stop::Declined(why),
            error => Stop::Failed(GroupError::NotApplied(NotApplied::Decode(error.to_string()))),
        }
    }
}

/// The first update of a body, and the rest.
pub(super) fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*length) as usize)
}

/// What a panic is to callers.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> GroupError {
    GroupError::Panicked(panic_text(panic).to_owned())
}
