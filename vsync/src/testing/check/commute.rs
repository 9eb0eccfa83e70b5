//! Updates that no order holds between replicas commute.

use vsync_core::engine::Class;

use super::history::{Author, Sent, Step, after, at, lines, shrink};
use super::pool::{Pool, leave_out};
use super::{Check, Checked, Failure, Kind};
use crate::testing::stage::{Said, Snapshot};
use crate::{Method, Replicated};

/// Two updates that came both ways round to one state.
struct Both {
    before: Snapshot,
    /// After the first and then the second, and the other way round.
    after: [Snapshot; 2],
    /// What the two said, each way round: of the first update, of the second.
    said: [[Said; 2]; 2],
    /// Whether each of them changed the state or emitted an event, where it came first.
    changes: [bool; 2],
}

/// Which methods have done something where they were tried: to the state, or by an event.
struct Coverage {
    methods: Vec<(&'static Method, bool)>,
    checked: Checked,
}

impl<S: Replicated> Check<S> {
    /// As [`commute`](super::commute), with a failure to look at.
    ///
    /// # Errors
    /// [`Kind::Order`] if two updates do not commute, [`Kind::Vacuous`] if there was nothing to
    /// check, and what keeps it from checking at all.
    pub fn commute(&self) -> Result<Checked, Failure> {
        let mut dice = self.dice();
        let pool = Pool::new(self, &mut dice)?;
        let pairs = pairs(pool.methods());
        if pairs.is_empty() {
            return Err(vacuous::<S>("every update is `total`, and so has one order everywhere"));
        }
        let methods = pool.methods().map(|method| (method, false)).collect();
        let mut coverage = Coverage { methods, checked: Checked { cases: 0, telling: 0 } };
        for case in 0..self.cases {
            for &(one, other) in &pairs {
                let mut author = Author::new(&pool, &mut dice);
                let length = author.dice.below(self.length.min(case) as u64 + 1) as usize;
                let history = author.history(length);
                let (p, q) = author.two();
                let first = author.pool.of(one, author.dice);
                // The same call twice is a pair of its own, and a likely one.
                let same = one == other && author.dice.chance(200);
                let second = if same { first.clone() } else { author.pool.of(other, author.dice) };
                let pair = [author.sent(first, p), author.sent(second, q)];
                self.pair(history, pair, &mut coverage)?;
            }
        }
        self.cover(&coverage)?;
        Ok(coverage.checked)
    }

    /// Tries one pair after one history.
    fn pair(
        &self,
        history: Vec<Step>,
        pair: [Sent; 2],
        coverage: &mut Coverage,
    ) -> Result<(), Failure> {
        let both = self.both(&history, &pair)?;
        coverage.checked.cases += 1;
        coverage.checked.telling += usize::from(both.changes.contains(&true));
        for (sent, changes) in pair.iter().zip(both.changes) {
            let methods = &mut coverage.methods;
            if let Some(of) = methods.iter_mut().find(|of| of.0.id == sent.draw.method.id) {
                of.1 |= changes;
            }
        }
        if self.agree(&both) {
            return Ok(());
        }
        let fails =
            |shorter: &[Step]| self.both(shorter, &pair).is_ok_and(|both| !self.agree(&both));
        let shortest = shrink(history, fails);
        let both = self.both(&shortest, &pair)?;
        Err(Failure::new(Kind::Order, report::<S>(&shortest, &pair, &both)))
    }

    fn agree(&self, both: &Both) -> bool {
        let states = both.after[0].bytes == both.after[1].bytes;
        states && (!self.results || both.said[0] == both.said[1])
    }

    fn both(&self, history: &[Step], pair: &[Sent; 2]) -> Result<Both, Failure> {
        let failed = |failure| at(failure, history);
        let (mut one, mut other) = (after(self, history)?, after(self, history)?);
        let (before, again) = (one.snapshot()?, other.snapshot()?);
        if before.bytes != again.bytes {
            let report = format!(
                "the same history gives `{}` two states; `deterministic` says more\n{}\nafter \
                 this history:\n{}",
                S::NAME,
                before.differences(&again, ["once", "again"]),
                lines(history)
            );
            return Err(Failure::new(Kind::Determinism, report));
        }
        let [first, second] = pair;
        let a = one.send(first).map_err(failed)?;
        let first_changes = one.snapshot()?.tells(&before);
        let b = one.send(second).map_err(failed)?;
        let b_first = other.send(second).map_err(failed)?;
        let second_changes = other.snapshot()?.tells(&before);
        let a_second = other.send(first).map_err(failed)?;
        Ok(Both {
            before,
            after: [one.snapshot()?, other.snapshot()?],
            said: [[a, b], [a_second, b_first]],
            changes: [first_changes, second_changes],
        })
    }

    /// Whether it could have failed.
    fn cover(&self, coverage: &Coverage) -> Result<(), Failure> {
        if coverage.checked.telling == 0 {
            return Err(vacuous::<S>(
                "no pair of updates was tried that changes the state or emits an event",
            ));
        }
        let names: Vec<_> = coverage
            .methods
            .iter()
            .filter(|(method, changed)| !changed && !self.without.contains(&method.name))
            .filter(|(method, _)| meets(method, coverage.methods.iter().map(|(it, _)| *it)))
            .map(|(method, _)| method.name)
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let idle: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let why = format!(
            "{} never changed the state or emitted an event: draw arguments with which that \
             happens, or {}",
            idle.join(", "),
            leave_out(&names),
        );
        Err(vacuous::<S>(&why))
    }
}

/// Whether no order holds between updates of two methods, sent by two members that do not know of
/// the other's: all but two totals.
fn unordered(one: &Method, other: &Method) -> bool {
    (one.class, other.class) != (Class::Total, Class::Total)
}

/// Whether a method has any that it is unordered with.
fn meets(method: &Method, mut all: impl Iterator<Item = &'static Method>) -> bool {
    all.any(|other| unordered(method, other))
}

/// All pairs of methods that are unordered, each with itself, too.
fn pairs(methods: impl Iterator<Item = &'static Method> + Clone) -> Vec<(usize, usize)> {
    let all = methods.clone().enumerate();
    all.flat_map(|(one, method)| {
        let rest = methods.clone().enumerate().skip(one);
        rest.filter(|(_, other)| unordered(method, other)).map(move |(other, _)| (one, other))
    })
    .collect()
}

fn vacuous<S: Replicated>(why: &str) -> Failure {
    let name = S::NAME;
    Failure::new(Kind::Vacuous, format!("`commute` has checked nothing of `{name}`: {why}"))
}

fn report<S: Replicated>(history: &[Step], pair: &[Sent; 2], both: &Both) -> String {
    let names = ["first A, then B", "first B, then A"];
    let mut text =
        format!("two updates of `{}` that have no order among replicas do not commute:\n", S::NAME);
    for (letter, sent) in ["A", "B"].iter().zip(pair) {
        let order = match sent.draw.method.class {
            Class::Fifo => "fifo",
            Class::Causal => "causal",
            Class::Total => "total",
        };
        let words = &sent.draw.words;
        text += &format!("  {letter}, of member {}, {order}: {words}\n", sent.sender);
    }
    text += &format!("\nafter this history:\n{}", lines(history));
    text += &format!("\nin this state:\n{}", both.before.lines());
    if both.after[0].bytes != both.after[1].bytes {
        text += "\ntheir replicas differ from then on:\n";
        text += &both.after[0].differences(&both.after[1], names);
    }
    if both.said[0] != both.said[1] {
        text += "\nwhat they say (which no replica's state depends on):\n";
        for (name, said) in names.iter().zip(&both.said) {
            let words = said.iter().map(|said| said.as_ref().map_or("-", |(_, words)| words));
            let words: Vec<_> = words.collect();
            text += &format!("  {name}: A says {}, B says {}\n", words[0], words[1]);
        }
    }
    text += "\nOne member may deliver A first, another B. Make their order one for all, \
             `order = \"total\"`, or what they do independent of it.\n";
    text
}
