//! [`Optimistic`]: a value that is known here, but not yet safe to show to the world.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

use crate::error::{CallError, GroupError};
use crate::runtime::stability::Stability;

/// What a method of a replicated type gives back: the third parameter of
/// [`Call`](crate::Call) and the second of [`Optimistic`].
///
/// `Infallible` stands for a method that gives a plain value, [`Fallible<E>`](Fallible) for one
/// that is declared to give a `Result<V, E>`.
pub trait Outcome: sealed::Sealed + Send + 'static {
    /// What the application may say no with.
    type Refusal: Send + 'static;

    /// What the method gives, as it is declared, if its value is a `V`.
    type Declared<V: Send + 'static>: Send + 'static;

    /// The method's value, or the application's no.
    fn settle<V: Send + 'static>(declared: Self::Declared<V>) -> Result<V, Self::Refusal>;
}

/// The [`Outcome`] of a method that is declared to give a `Result` with the error `E`.
#[derive(Debug)]
pub struct Fallible<E>(PhantomData<fn() -> E>);

impl Outcome for Infallible {
    type Refusal = Infallible;
    type Declared<V: Send + 'static> = V;

    fn settle<V: Send + 'static>(declared: V) -> Result<V, Infallible> {
        Ok(declared)
    }
}

impl<E: Send + 'static> Outcome for Fallible<E> {
    type Refusal = E;
    type Declared<V: Send + 'static> = Result<V, E>;

    fn settle<V: Send + 'static>(declared: Result<V, E>) -> Result<V, E> {
        declared
    }
}

mod sealed {
    /// Only this crate knows outcomes.
    pub trait Sealed {}
    impl Sealed for std::convert::Infallible {}
    impl<E> Sealed for super::Fallible<E> {}
}

/// What a reply's box holds.
///
/// Generated code puts in what the method is declared to give and names the same type in the call,
/// so another one is a fault of this library.
pub(crate) fn declared<V, O>(reply: Box<dyn Any + Send>) -> O::Declared<V>
where
    V: Send + 'static,
    O: Outcome,
{
    match reply.downcast::<O::Declared<V>>() {
        Ok(declared) => *declared,
        Err(_) => unreachable!("a reply of another type than its method's"),
    }
}

/// A result that this replica knows, but that is not stable yet: if too many members fail right
/// now, the group may go on without it.
///
/// It is fast, since it waited for nobody, and good for decisions that stay inside the program.
/// Before it is shown to the world (an answer to a customer, a command to a machine), wait until it
/// is [stable](Optimistic::stable). Letting it out earlier must be written out with
/// [`peek`](Optimistic::peek) or [`into_unstable`](Optimistic::into_unstable): it has no `Deref`,
/// `Display`, `Serialize`, `Clone` or `PartialEq`, and its `Debug` shows nothing.
///
/// The second parameter tells whether the application may say no: `Optimistic<u64>` holds a `u64`,
/// `Optimistic<u64, Fallible<Refused>>` a `Result<u64, Refused>`. A no is unstable knowledge, too.
///
/// ```compile_fail,E0614
/// fn leak(count: vsync::Optimistic<u64>) -> u64 { *count }
/// ```
/// ```compile_fail,E0277
/// fn leak(count: vsync::Optimistic<u64>) -> String { format!("{count}") }
/// ```
/// ```compile_fail,E0277
/// fn leak(count: vsync::Optimistic<u64>) -> impl serde::Serialize { count }
/// ```
/// ```compile_fail,E0277
/// fn leak(count: &vsync::Optimistic<u64>) -> impl Clone { *count }
/// ```
/// ```compile_fail,E0369
/// fn leak(a: vsync::Optimistic<u64>, b: vsync::Optimistic<u64>) -> bool { a == b }
/// ```
/// ```compile_fail
/// #![deny(unused_must_use)]
/// fn forget(count: vsync::Optimistic<u64>) -> vsync::Optimistic<u64> { count }
/// fn call(count: vsync::Optimistic<u64>) { forget(count); }
/// ```
/// What it does allow:
/// ```
/// # use vsync::{CallError, Fallible, Optimistic};
/// async fn answer(id: Optimistic<u64, Fallible<String>>) -> Result<u64, CallError<String>> {
///     assert_eq!(format!("{id:?}"), "Optimistic(not shown: unstable)");
///     let guess = id.peek().clone();           // for decisions that stay inside
///     # drop(guess);
///     id.stable().await                        // for the world
/// }
/// ```
#[must_use = "an optimistic result is not stable: await `.stable()`, or say `.into_unstable(why)`"]
pub struct Optimistic<V, O: Outcome = Infallible>
where
    V: Send + 'static,
{
    value: O::Declared<V>,
    wait: Stability,
}

impl<V: Send + 'static, O: Outcome> Optimistic<V, O> {
    /// `value`, stable when `wait` says so.
    pub(crate) fn new(value: O::Declared<V>, wait: Stability) -> Self {
        Optimistic { value, wait }
    }

    /// The value, once it is safe to show it to the world; the application's no as
    /// [`CallError::Refused`].
    pub async fn stable(mut self) -> Result<V, CallError<O::Refusal>> {
        self.wait.wait().await?;
        O::settle(self.value).map_err(CallError::Refused)
    }

    /// Waits until the value is stable, and keeps it.
    ///
    /// May be dropped and called again.
    pub async fn wait_stable(&mut self) -> Result<(), GroupError> {
        self.wait.wait().await
    }

    /// The value if it is already decided whether it is stable; without waiting.
    ///
    /// # Errors
    /// Gives the optimistic value back where that is still open.
    pub fn try_into_stable(mut self) -> Result<Result<V, CallError<O::Refusal>>, Self> {
        match self.wait.now() {
            Ok(true) => Ok(O::settle(self.value).map_err(CallError::Refused)),
            Ok(false) => Err(self),
            Err(error) => Ok(Err(error.into())),
        }
    }

    /// Looks at the unstable value.
    pub fn peek(&self) -> &O::Declared<V> {
        &self.value
    }

    /// Takes the unstable value out. `why` is for the reader of the code: the reason that it may be
    /// used even if the group goes on without it.
    pub fn into_unstable(self, why: &'static str) -> O::Declared<V> {
        tracing::trace!(why, "an unstable value is let out");
        self.value
    }

    /// Computes with the value; the result is stable when the value is.
    pub fn map<U, F>(self, f: F) -> Optimistic<U>
    where
        U: Send + 'static,
        F: FnOnce(O::Declared<V>) -> U,
    {
        Optimistic { value: f(self.value), wait: self.wait }
    }

    /// All values, in the order given; stable when all are. That of none is stable at once.
    ///
    /// ```
    /// # use vsync::{CallError, Optimistic};
    /// # use std::convert::Infallible;
    /// async fn total(parts: Vec<Optimistic<u64>>) -> Result<u64, CallError<Infallible>> {
    ///     Optimistic::all(parts).map(|parts| parts.into_iter().sum()).stable().await
    /// }
    /// ```
    pub fn all(values: impl IntoIterator<Item = Self>) -> Optimistic<Vec<O::Declared<V>>> {
        let mut wait = Stability::ready();
        let value = values.into_iter().map(|one| {
            wait = std::mem::take(&mut wait).and(one.wait);
            one.value
        });
        Optimistic { value: value.collect(), wait }
    }

    /// Both values; stable when both are.
    pub fn zip<W, P>(self, other: Optimistic<W, P>) -> Optimistic<(O::Declared<V>, P::Declared<W>)>
    where
        W: Send + 'static,
        P: Outcome,
    {
        Optimistic { value: (self.value, other.value), wait: self.wait.and(other.wait) }
    }
}

impl<V: Send + 'static, O: Outcome> fmt::Debug for Optimistic<V, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Optimistic(not shown: unstable)")
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::error::Unknown;

    type Settle = oneshot::Sender<Result<(), GroupError>>;

    fn optimistic<V: Send + 'static, O: Outcome>(
        value: O::Declared<V>,
    ) -> (Settle, Optimistic<V, O>) {
        let (settle, wait) = oneshot::channel();
        (settle, Optimistic::new(value, Stability::pending(wait)))
    }

    fn run<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(future)
    }

    const GONE: GroupError = GroupError::Unknown(Unknown::Excluded);

    #[test]
    fn stability_gives_the_value() {
        let (settle, seven) = optimistic::<u64, Infallible>(7);
        let Err(seven) = seven.try_into_stable() else { panic!("not stable yet") };
        assert_eq!(*seven.peek(), 7);
        settle.send(Ok(())).expect("waited for");
        assert_eq!(run(seven.stable()), Ok(7));
    }

    #[test]
    fn a_refusal_is_known_when_it_is_stable() {
        let (settle, refused) = optimistic::<u64, Fallible<&str>>(Err("no"));
        assert_eq!(*refused.peek(), Err("no"));
        settle.send(Ok(())).expect("waited for");
        let refused = refused.try_into_stable().expect("decided");
        assert_eq!(refused, Err(CallError::Refused("no")));
    }

    #[test]
    fn what_is_lost_is_not_given_out() {
        let (settle, seven) = optimistic::<u64, Infallible>(7);
        settle.send(Err(GONE)).expect("waited for");
        assert_eq!(run(seven.stable()), Err(CallError::Unknown(Unknown::Excluded)));

        let (settle, refused) = optimistic::<u64, Fallible<&str>>(Err("no"));
        drop(settle);
        let lost = refused.try_into_stable().expect("decided");
        assert_eq!(lost, Err(CallError::Unknown(Unknown::Closed)));
    }

    #[test]
    fn waiting_keeps_the_value() {
        let (settle, mut seven) = optimistic::<u64, Infallible>(7);
        settle.send(Ok(())).expect("waited for");
        assert_eq!(run(seven.wait_stable()), Ok(()));
        assert_eq!(run(seven.wait_stable()), Ok(()));
        assert_eq!(seven.into_unstable("a test"), 7);
    }

    #[test]
    fn a_pair_is_stable_when_both_are() {
        let (first, seven) = optimistic::<u64, Infallible>(7);
        let (second, refused) = optimistic::<u64, Fallible<&str>>(Err("no"));
        let text = seven.zip(refused).map(|(seven, refused)| format!("{seven} {refused:?}"));
        second.send(Ok(())).expect("waited for");
        let Err(text) = text.try_into_stable() else { panic!("the first is not stable yet") };
        first.send(Ok(())).expect("waited for");
        assert_eq!(run(text.stable()), Ok("7 Err(\"no\")".to_owned()));

        let (first, one) = optimistic::<u64, Infallible>(1);
        let (_second, two) = optimistic::<u64, Infallible>(2);
        first.send(Err(GONE)).expect("waited for");
        drop(_second);
        assert!(one.zip(two).try_into_stable().expect("decided").is_err());
    }

    #[test]
    fn all_are_stable_when_each_is() {
        let (settle, parts): (Vec<_>, Vec<_>) = (1..4).map(optimistic::<u64, Infallible>).unzip();
        let mut all = Optimistic::all(parts);
        for settle in settle {
            all = all.try_into_stable().expect_err("some are not stable yet");
            assert_eq!(*all.peek(), [1, 2, 3]);
            settle.send(Ok(())).expect("waited for");
        }
        assert_eq!(run(all.stable()), Ok(vec![1, 2, 3]));

        let (settle, parts): (Vec<_>, Vec<_>) = (1..3).map(optimistic::<u64, Infallible>).unzip();
        for (settle, told) in settle.into_iter().zip([Err(GONE), Ok(())]) {
            settle.send(told).expect("waited for");
        }
        let lost = run(Optimistic::all(parts).stable());
        assert_eq!(lost, Err(CallError::Unknown(Unknown::Excluded)));
        let none = Optimistic::<u64>::all([]);
        assert_eq!(none.try_into_stable().expect("decided"), Ok(Vec::new()));
    }

    #[test]
    fn debug_shows_nothing() {
        let (_settle, secret) = optimistic::<&str, Infallible>("secret");
        assert_eq!(format!("{secret:?}"), "Optimistic(not shown: unstable)");
    }
}
