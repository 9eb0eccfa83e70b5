//! [`Cold`]: a replica that keeps updates instead of applying them, as the backup of a primary does
//! in cold passive replication: a checkpoint, and the updates since.
//!
//! Only the state of the type is laid down. What the runtime replicates beside it (timers,
//! sessions, requests, verdicts) stays as it was where the state was laid down, and goes on with it
//! when what was kept is applied, in its order, by the code that applies updates anyway: so nothing
//! is decided twice, or from half of what was ordered. Whoever needs the state, or has to act on
//! what is ordered, wakes it; every view begins awake. See the design note "Cold backups".

use std::sync::Arc;

use bytes::Bytes;
use vsync_core::engine::Delivery;
use vsync_core::wire::Micros;

use super::apply::split;
use super::callers::Takes;
use super::checkpoint::Beside;
use super::inner::{Inner, Sending};
use super::replica::{Broken, Installed, Loading, Replica, Saving, Shared};
use super::typed::Typed;
use crate::replicated::Replicated;
use crate::request::Policy;
use crate::state::CheckpointError;

/// A replica that may sleep.
pub(crate) struct Cold<S: Replicated> {
    typed: Typed<S>,
    shared: Arc<Shared<S>>,
    /// Most bytes of updates that are kept; and so many are applied in vain before it sleeps.
    most: usize,
    /// A checkpoint of no state: what `#[local]` parts sleep in. Without it this never sleeps.
    blank: Option<Vec<u8>>,
    asleep: bool,
    /// The view's updates since it sleeps, and the bytes that they take.
    kept: Vec<Delivery>,
    bytes: usize,
    /// While awake: bytes of what was applied since somebody needed the state.
    idle: usize,
    coordinates: bool,
}

impl<S: Replicated> Cold<S> {
    /// Keeps up to `most` bytes.
    pub(crate) fn new(typed: Typed<S>, shared: Arc<Shared<S>>, most: usize) -> Cold<S> {
        // A request is begun where it is applied, and events are shown where they are emitted.
        let primary = S::REQUESTS
            .iter()
            .all(|request| matches!(S::request_policy(request.id), Policy::Primary));
        let blank = shared.blank().filter(|_| primary && !S::PUBLISHED && !typed.compares());
        let (asleep, coordinates) = (false, false);
        let (kept, bytes, idle) = (Vec::new(), 0, 0);
        Cold { typed, shared, most, blank, asleep, kept, bytes, idle, coordinates }
    }

    /// Whether somebody needs the state, or is to act on what is applied to it.
    fn is_needed(&self) -> bool {
        let seat = &self.shared.seat;
        self.coordinates
            || seat.is_called()
            || seat.is_waited_for()
            || self.shared.feed.is_read()
            || self.typed.is_busy()
    }

    /// Loads the state and applies what was kept.
    fn wake(&mut self) -> Result<(), Broken> {
        self.shared.seat.slept(false);
        self.asleep = false;
        self.idle = 0;
        self.shared.thaw().map_err(|why| Broken(format!("a replica that slept: {why}")))?;
        self.bytes = 0;
        for range in std::mem::take(&mut self.kept) {
            self.typed.deliver(&range, None)?;
        }
        Ok(())
    }

    /// Lays the state down.
    fn sleep(&mut self) -> Result<(), Broken> {
        let Some(blank) = &self.blank else { return Ok(()) };
        // Before it does: whoever finds it asleep calls.
        self.shared.seat.slept(true);
        match self.shared.chill(blank) {
            Ok(true) => {}
            // What cannot be saved stays.
            Ok(false) => {
                self.shared.seat.slept(false);
                self.blank = None;
                return Ok(());
            }
            Err(why) => return Err(Broken(format!("a replica that goes to sleep: {why}"))),
        }
        self.asleep = true;
        // Whoever has come meanwhile did not see that it sleeps.
        if self.is_needed() { self.wake() } else { Ok(()) }
    }

    /// What was kept is void.
    fn forget(&mut self) {
        self.shared.seat.slept(false);
        (self.asleep, self.bytes, self.idle) = (false, 0, 0);
        self.kept.clear();
    }
}

/// What a range takes where it is kept.
fn size(range: &Delivery) -> usize {
    size_of::<Delivery>() + range.body.len()
}

/// The range by itself. As it came it is a part of its frame, which it would hold as a whole.
fn apart(range: &Delivery) -> Delivery {
    Delivery { body: Bytes::copy_from_slice(&range.body), ..range.clone() }
}

/// Whether members are to answer to something in a range.
fn is_asked(range: &Delivery) -> bool {
    let mut body: &[u8] = &range.body;
    while let Some((update, rest)) = split(body) {
        if Inner::asks(update) {
            return true;
        }
        body = rest;
    }
    false
}

impl<S: Replicated> Replica for Cold<S> {
    fn deliver(&mut self, range: &Delivery, takes: Option<&mut dyn Takes>) -> Result<(), Broken> {
        let end = range.seq + u64::from(range.count);
        let wanted = takes.as_ref().and_then(|takes| takes.wanted(range.view, range.seq));
        let own = wanted.is_some_and(|wanted| wanted < end);
        if self.asleep {
            let needed = own || self.is_needed() || is_asked(range);
            if !needed && self.bytes < self.most {
                self.bytes += size(range);
                self.kept.push(apart(range));
                self.shared.seat.keeps(self.bytes);
                return Ok(());
            }
            // Full: it is laid down anew, with all of that in it.
            let full = if needed { 0 } else { self.most };
            self.wake()?;
            self.idle = full;
        }
        // Not by the range that makes it so: this one is applied away from the driver.
        let tired = self.idle >= self.most;
        self.typed.deliver(range, takes)?;
        if own || self.is_needed() {
            // Who has called while it woke is heard by this.
            self.shared.seat.slept(false);
            self.idle = 0;
            return Ok(());
        }
        self.idle += size(range);
        if tired { self.sleep() } else { Ok(()) }
    }

    fn rouse(&mut self) -> Result<(), Broken> {
        if self.asleep { self.wake() } else { Ok(()) }
    }

    fn is_asleep(&self) -> bool {
        self.asleep
    }

    fn is_read(&self) -> bool {
        let full = if self.asleep { self.bytes >= self.most } else { self.idle >= self.most };
        let works = self.blank.is_some() && (full || (self.asleep && self.is_needed()));
        works || self.typed.is_read()
    }

    fn compares(&self) -> bool {
        self.typed.compares()
    }

    fn differs(&self) -> bool {
        self.typed.differs()
    }

    fn is_long(&self, installed: &Installed) -> bool {
        self.asleep || self.typed.is_long(installed)
    }

    fn install(&mut self, installed: Installed) -> Result<(), Broken> {
        self.rouse()?;
        self.coordinates = installed.rank == 0;
        self.idle = 0;
        self.typed.install(installed)
    }

    fn save(&self) -> Result<Bytes, CheckpointError> {
        self.typed.save()
    }

    fn saving(&self) -> Saving {
        // A donor's checkpoint is of the beginning of a view, where it is awake.
        self.typed.saving()
    }

    fn loading(&mut self) -> Loading {
        self.forget();
        self.typed.loading()
    }

    fn loaded(&mut self, beside: Beside) {
        self.typed.loaded(beside);
    }

    fn stabilised(&mut self) {
        self.typed.stabilised();
    }

    fn due(&self) -> Option<Micros> {
        self.typed.due()
    }

    fn send_due(&mut self, now: Micros) -> Option<Sending> {
        self.typed.send_due(now)
    }

    fn wants_view(&mut self) -> bool {
        self.typed.wants_view()
    }

    fn create(&mut self) {
        self.typed.create();
    }

    fn void(&mut self) {
        self.forget();
        self.typed.void();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use vsync_core::engine::{Class, Level};
    use vsync_core::wire::{GroupId, MemberId, NodeId};

    use super::*;
    use crate::directory::Directory;
    use crate::runtime::seat::Seat;

    /// One update of the runtime's own.
    fn range(update: Inner, seq: u64) -> Delivery {
        let update = update.sending(false).expect("encodes").update;
        let body = [&(update.len() as u32).to_le_bytes(), &update[..]].concat();
        Delivery {
            group: GroupId(1),
            view: 1,
            sender: MemberId { node: NodeId(1), entry: 1 },
            rank: 0,
            seq,
            count: 1,
            class: Class::Total,
            level: Level::Optimistic,
            position: Some(seq),
            time: 0,
            body: body.into(),
        }
    }

    #[test]
    fn what_is_kept_is_counted_and_nothing_besides_is_held() {
        let seat = Arc::new(Seat::new("group".into(), 100, mpsc::unbounded_channel().0));
        let shared = Arc::new(Shared::new(Arc::clone(&seat), Directory::default()));
        let mut cold = Cold::new(Typed::new(Arc::clone(&shared), 0), shared, 10_000);
        cold.create();
        cold.sleep().expect("it has a state");
        // An update in a frame of many.
        let mut frame = range(Inner::Barrier, 0).body.to_vec();
        let length = frame.len();
        frame.resize(1 << 20, 0);
        let frame = Bytes::from(frame);
        let mut kept = 0;
        for seq in 0..50 {
            let body = frame.slice(..length);
            cold.deliver(&Delivery { body, ..range(Inner::Barrier, seq) }, None).expect("kept");
            kept += size_of::<Delivery>() + length;
            assert_eq!(seat.kept(), Some(kept));
        }
        assert!(frame.is_unique(), "frames are not held");
    }

    #[test]
    fn a_question_to_members_is_found_among_updates() {
        let asked = |inner| is_asked(&range(inner, 0));
        assert!(asked(Inner::Compare));
        for other in [Inner::Fire(1), Inner::Activate(2), Inner::Expire, Inner::Barrier] {
            assert!(!asked(other));
        }
        let mut both = range(Inner::Barrier, 0);
        assert!(!is_asked(&both));
        both.body = [both.body, range(Inner::Compare, 1).body].concat().into();
        assert!(is_asked(&both));
        // An update of the user's may begin with anything else.
        both.body = Bytes::from_static(&[4, 0, 0, 0, 3, 3, 3, 3]);
        assert!(!is_asked(&both));
    }
}
