//! The updates that a check works with, drawn before it begins.

use std::sync::Arc;

use vsync_sim::Dice;

use super::{Check, Failure, Kind};
use crate::testing::stage::guarded;
use crate::watch::watch;
use crate::{Method, Replicated};

/// An update, or a request, that was drawn.
#[derive(Debug)]
pub(crate) struct Draw {
    pub(crate) method: &'static Method,
    pub(crate) bytes: Vec<u8>,
    /// The call to read.
    pub(crate) words: String,
}

impl Draw {
    /// Draws one.
    pub(crate) fn new<S: Replicated>(update: &S::Update) -> Result<Draw, Failure> {
        let method = S::method(update);
        let mut bytes = Vec::new();
        let (encoded, seen) = watch(|| guarded(method.name, || S::encode(update, &mut bytes)));
        if let Err(error) = encoded? {
            return Err(Failure::new(Kind::Wire, format!("an update does not encode: {error}")));
        }
        Ok(Draw { method, bytes, words: call(method.name, &seen.parts) })
    }

    /// A request that was drawn.
    pub(crate) fn request<S: Replicated>(request: &S::Request) -> Result<Draw, Failure> {
        let method = S::request_method(request);
        let mut bytes = Vec::new();
        let encode = || S::encode_request(request, &mut bytes);
        let (encoded, seen) = watch(|| guarded(method.name, encode));
        if let Err(error) = encoded? {
            return Err(Failure::new(Kind::Wire, format!("a request does not encode: {error}")));
        }
        Ok(Draw { method, bytes, words: call(method.name, &seen.parts) })
    }
}

/// A call to read.
pub(crate) fn call(method: &str, arguments: &[(&'static str, String)]) -> String {
    let arguments: Vec<_> =
        arguments.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{method}({})", arguments.join(", "))
}

/// The methods that can be sent where the type's own version is active: those that have not ended.
pub(crate) fn sendable<S: Replicated>() -> impl Iterator<Item = &'static Method> {
    S::UPDATES.iter().filter(|method| method.check(S::VERSION).is_ok())
}

/// How methods are left out of a check, for a report.
pub(crate) fn leave_out(methods: &[&str]) -> String {
    format!("leave them out with `Check::new(start, updates).without({methods:?})`")
}

/// The updates of a check, by method.
#[derive(Debug)]
pub(crate) struct Pool {
    /// In the order of `S::UPDATES`.
    methods: Vec<(&'static Method, Vec<Arc<Draw>>)>,
}

/// How many updates are drawn for each method, in the mean.
const DRAWS: usize = 64;

impl Pool {
    /// Draws updates until there is enough of them.
    ///
    /// Of a method that has ended with the type's own version there is nothing to check: no value
    /// of it is sent. What is drawn of it is put away.
    pub(crate) fn new<S: Replicated>(check: &Check<S>, dice: &mut Dice) -> Result<Pool, Failure> {
        let mut methods: Vec<_> = sendable::<S>().map(|method| (method, Vec::new())).collect();
        if methods.is_empty() {
            let report = format!("`{}` has no update method", S::NAME);
            return Err(Failure::new(Kind::Vacuous, report));
        }
        for _ in 0..DRAWS * S::UPDATES.len().max(4) {
            let update = guarded("drawing an update", || (check.updates)(dice))?;
            let draw = Draw::new::<S>(&update)?;
            // Not there: what has ended.
            if let Some((_, of)) = methods.iter_mut().find(|(it, _)| it.id == draw.method.id) {
                of.push(Arc::new(draw));
            }
        }
        let names: Vec<_> = methods
            .iter()
            .filter(|(method, draws)| draws.is_empty() && !check.without.contains(&method.name))
            .map(|(method, _)| method.name)
            .collect();
        if !names.is_empty() {
            let missing: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let report = format!(
                "no update was drawn of {} of `{}`: let the generator make them, or {}",
                missing.join(", "),
                S::NAME,
                leave_out(&names),
            );
            return Err(Failure::new(Kind::Vacuous, report));
        }
        methods.retain(|(_, draws)| !draws.is_empty());
        Ok(Pool { methods })
    }

    /// The methods of which there is anything.
    pub(crate) fn methods(&self) -> impl Iterator<Item = &'static Method> + Clone + '_ {
        self.methods.iter().map(|(method, _)| *method)
    }

    /// Every update.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Draw>> {
        self.methods.iter().flat_map(|(_, draws)| draws)
    }

    /// Any update of any method, methods alike.
    pub(crate) fn any(&self, dice: &mut Dice) -> Arc<Draw> {
        self.of(dice.below(self.methods.len() as u64) as usize, dice)
    }

    /// Any update of a method.
    pub(crate) fn of(&self, method: usize, dice: &mut Dice) -> Arc<Draw> {
        let draws = &self.methods[method].1;
        Arc::clone(&draws[dice.below(draws.len() as u64) as usize])
    }
}
