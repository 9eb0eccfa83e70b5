//! Who asks for something in a simulation, again and again until there is an answer, and what is
//! held to be true of the answers.

use std::collections::HashMap;

use vsync_core::engine::Input;
use vsync_core::wire::Micros;

use super::host::{Host, Phase, split};
use super::judge::protocol;
use super::members::Submission;
use super::serving::{self, Serving};
use super::world::{Event, World};
use crate::Replicated;
use crate::runtime::inner::Inner;
use crate::runtime::outbox::Parcel;
use crate::runtime::pending::{Name, Wanted};
use crate::runtime::sessions::{Committed, Recorded, Refusal, RequestId};
use crate::testing::check::{Draw, Failure, Kind};
use crate::testing::stage::{GROUP, guarded};

/// How long a request may take: most are waited for to the end, some are not.
const PATIENT: Micros = 600_000_000;
const IMPATIENT: Micros = 300_000;

/// All that is asked for in a run.
#[derive(Default)]
pub(super) struct Asks {
    asked: Vec<Asked>,
    /// By view and request: who has begun it, at which attempt.
    begun: HashMap<(u64, Name), (usize, u32)>,
}

/// A request.
struct Asked {
    draw: Draw,
    key: Option<u64>,
    patience: Micros,
    /// What somebody was told, once it was stable.
    told: Option<Recorded>,
}

impl Asks {
    fn add(&mut self, draw: Draw, key: Option<u64>, patience: Micros) -> usize {
        self.asked.push(Asked { draw, key, patience, told: None });
        self.asked.len() - 1
    }

    /// What an update of the runtime's is, in words.
    fn words(&self, update: &[u8]) -> String {
        match Inner::read(update) {
            Some(Inner::Request(it)) => format!("the request {}", self.named(&(&it.id).into())),
            Some(Inner::Step(it)) => format!("a step of {}", self.named(&it.name)),
            Some(Inner::Finish(it)) => format!("what comes of {}", self.named(&it.name)),
            _ => "an update of the runtime's".to_owned(),
        }
    }

    /// A request's call: its name is its number.
    fn named(&self, name: &Name) -> String {
        let number = match name {
            Name::Key(key) => std::str::from_utf8(key).ok().and_then(|key| key.parse().ok()),
            Name::Numbered(..) => None,
        };
        let asked = number.and_then(|number: usize| self.asked.get(number));
        asked.map_or("?".to_owned(), |asked| asked.draw.words.clone())
    }

    /// A request that nobody was told the end of.
    pub(super) fn open(&self) -> Option<&str> {
        let mut open = self.asked.iter().filter(|asked| asked.told.is_none());
        open.next().map(|asked| asked.draw.words.as_str())
    }
}

impl<S: Replicated> World<'_, S> {
    /// Somebody asks at a member: for something new, or for the same once more.
    pub(super) fn ask(&mut self, host: usize) -> Result<(), Failure> {
        let Some(requests) = &self.sim.requests else { return Ok(()) };
        let known = self.asks.asked.len() as u64;
        let number = if known > 0 && self.dice.chance(250) {
            self.dice.below(known) as usize
        } else {
            let request = guarded("drawing a request", || requests(&mut self.draws))?;
            let draw = Draw::request::<S>(&request)?;
            if draw.method.check(S::VERSION).is_err() {
                return Ok(());
            }
            self.called.insert(draw.method.name);
            self.seen.requests += 1;
            let patience = if self.dice.chance(100) { IMPATIENT } else { PATIENT };
            self.asks.add(draw, S::request_key(&request), patience)
        };
        self.ask_for(host, number);
        Ok(())
    }

    fn ask_for(&mut self, host: usize, number: usize) {
        let asked = &self.asks.asked[number];
        let wanted = Wanted {
            id: RequestId::Key(number.to_string().into_bytes()),
            call: asked.draw.bytes.clone(),
            key: asked.key,
            patience: asked.patience,
        };
        self.story.tell(self.now, host, format!("is asked for {}", asked.draw.words));
        if let Some(serving) = &mut self.hosts[host].replica.serving {
            serving.ask(number, wanted, self.now);
            self.touched.push(host);
        }
    }

    /// Whoever has got no word, and does not wait for one, asks again.
    pub(super) fn ask_again(&mut self) {
        let serves = |(_, it): &(usize, &Host<S>)| {
            it.alive && it.replica.phase == Phase::Member && it.replica.is_active()
        };
        let members: Vec<usize> =
            self.hosts.iter().enumerate().filter(serves).map(|(host, _)| host).collect();
        if members.is_empty() {
            return;
        }
        let alive = self.hosts.iter().filter(|it| it.alive);
        let serving = alive.filter_map(|it| it.replica.serving.as_ref());
        let waiting: Vec<usize> = serving.flat_map(Serving::asking).collect();
        for number in 0..self.asks.asked.len() {
            if self.asks.asked[number].told.is_none() && !waiting.contains(&number) {
                let host = self.dice.pick(&members);
                self.ask_for(host, number);
            }
        }
    }

    /// Lets all tasks of a member's run as far as they come now.
    pub(super) fn serve(&mut self, host: usize) -> Result<(), Failure> {
        loop {
            self.begin_handlers(host)?;
            let it = &mut self.hosts[host];
            let is_member = it.replica.phase == Phase::Member && it.replica.is_active();
            let Some(serving) = it.replica.serving.as_mut().filter(|_| it.alive && is_member)
            else {
                return Ok(());
            };
            let flushes = serving.flushes();
            let parcel = serving.parcel(it.replica.credit);
            let polled = serving.poll(self.now, &mut it.replica.state)?;
            if flushes.is_empty() && parcel.is_none() && !polled.any {
                if let Some(at) = serving.next(self.now) {
                    self.queue.push(at, Event::Serve { host });
                }
                return Ok(());
            }
            for (number, heard) in polled.heard {
                self.heard(host, number, heard)?;
            }
            if let Some(parcel) = parcel {
                self.submit_parcel(host, parcel)?;
            }
            for id in flushes {
                self.step(host, Input::Flush { group: GROUP, id })?;
            }
        }
    }

    /// Handlers that have begun run a little later: anything may happen before they do.
    fn begin_handlers(&mut self, host: usize) -> Result<(), Failure> {
        let replica = &mut self.hosts[host].replica;
        let view = replica.number();
        let Some(serving) = &mut replica.serving else { return Ok(()) };
        for begun in serving.begun() {
            let words = self.asks.named(&begun.name);
            let (place, this) = ((view, begun.name.clone()), (host, begun.attempt));
            let known = *self.asks.begun.entry(place).or_insert(this);
            if known != this && !begun.everybody {
                return protocol(format!(
                    "in view {view} n{} has begun attempt {} at {words}, and n{host} attempt {}",
                    known.0, known.1, this.1
                ));
            }
            self.seen.taken_over += u64::from(begun.attempt > 1);
            let what = format!("begins attempt {} at {words}", begun.attempt);
            self.story.tell(self.now, host, what);
            let long = self.dice.chance(300);
            let at = self.now + self.dice.spread(if long { 200_000 } else { 2_000 });
            serving.run(begun, words, at);
        }
        Ok(())
    }

    fn submit_parcel(&mut self, host: usize, parcel: Parcel) -> Result<(), Failure> {
        let urgent = parcel.urgent();
        let Parcel { runs, body, waiters, .. } = parcel;
        let (mut rest, mut draws) = (&body[..], Vec::new());
        for level in runs.iter().flat_map(|run| (0..run.count).map(|_| run.level)) {
            let Some((update, more)) = split(rest) else { break };
            let words = self.asks.words(update);
            draws.push(Draw { method: Inner::method(level), bytes: update.to_vec(), words });
            rest = more;
        }
        self.submit(host, Submission { runs, body, draws, waiters, urgent: Some(urgent) })
    }

    /// A client has heard something.
    fn heard(
        &mut self,
        host: usize,
        number: usize,
        heard: Option<Committed>,
    ) -> Result<(), Failure> {
        let asked = &mut self.asks.asked[number];
        let words = &asked.draw.words;
        let recorded = match heard {
            // The membership ended, or there is no room: it is asked for again.
            None | Some(Committed::Refused(Refusal::Full)) => return Ok(()),
            Some(Committed::Recorded(recorded)) => recorded,
            Some(other) => return protocol(format!("who asked for {words} was told {other:?}")),
        };
        let what = format!("tells what came of {words}: {recorded:?}");
        self.story.tell(self.now, host, what);
        if let Some(told) = &asked.told
            && *told != recorded
        {
            return protocol(format!("{words} has ended twice: {told:?}, then {recorded:?}"));
        }
        if let Some(failure) = serving::wrong(words, &recorded) {
            return Err(failure);
        }
        if asked.told.replace(recorded).is_none() {
            self.seen.answered += 1;
        }
        Ok(())
    }

    /// Whether all that was asked for has ended, once the group is at rest.
    pub(super) fn answered(&self) -> Result<(), Failure> {
        let Some(words) = self.asks.open() else { return Ok(()) };
        let report = format!(
            "{words} is not answered, though the group is at rest and its members are there: its \
             handler waits for ever"
        );
        Err(Failure::new(Kind::Request, report))
    }
}
