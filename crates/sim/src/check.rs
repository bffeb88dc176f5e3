//! Assertions of a world.

use crate::current;
use crate::failure::FailureKind;
use crate::observers;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::Location;
use std::time::Duration;

/// Asserts in a world that a condition holds; a false one fails the run at once.
///
/// The first argument is the assertion's id; more arguments are a message as for `format!`.
/// Outside a world nothing is evaluated: on a real backend use `assert!`.
///
/// ```
/// let stock = 3;
/// bowline_sim::always!("stock is never negative", stock >= 0, "stock is {stock}");
/// ```
#[macro_export]
macro_rules! always {
    ($id:expr, $cond:expr $(,)?) => {
        if $crate::Sim::is_running() && !$cond {
            $crate::check::failed($id, ::std::format!("{} is false", ::std::stringify!($cond)));
        }
    };
    ($id:expr, $cond:expr, $($message:tt)+) => {
        if $crate::Sim::is_running() && !$cond {
            $crate::check::failed($id, ::std::format!($($message)+));
        }
    };
}

/// Notes in a world that a place was reached, and whether the condition was true there.
///
/// A set of runs in which it never was true has not tested what it was meant to; see
/// [`Report::sometimes`](crate::Report::sometimes). Outside a world nothing is evaluated.
#[macro_export]
macro_rules! sometimes {
    ($id:expr, $cond:expr $(,)?) => {
        if $crate::Sim::is_running() {
            $crate::check::reached($id, $cond);
        }
    };
}

/// Asserts in a world that a condition becomes true within a span of virtual time.
///
/// `eventually!("replicated", Duration::from_secs(5), || ..)`: the closure owns what it looks at
/// and is asked after each poll and each event from here on, so that it is enough to be true for a
/// moment. It should look and do nothing else. A run does not end before it is true or the time is
/// over; the latter fails it. Outside a world nothing is evaluated.
///
/// ```
/// use bowline_sim::{Sim, block_on, eventually, host};
/// use std::time::Duration;
///
/// block_on(7, async {
///     Sim::spawn(async {
///         host::Sleep::new(1_000_000_000).await;
///         Sim::ghost(|done: &mut bool| *done = true);
///     });
///     eventually!("done", Duration::from_secs(2), || Sim::ghost(|done: &mut bool| *done));
/// });
/// ```
#[macro_export]
macro_rules! eventually {
    ($id:expr, $within:expr, $cond:expr $(,)?) => {
        if $crate::Sim::is_running() {
            $crate::check::promised($id, $within, $cond);
        }
    };
}

/// Asserts that a place is not reached in a world; reaching it fails the run at once.
///
/// For what may happen to a real program but not in this test, such as a fault that the world was
/// not told to make. Outside a world it does nothing.
#[macro_export]
macro_rules! unreachable_in_sim {
    ($id:expr $(,)?) => {
        if $crate::Sim::is_running() {
            $crate::check::failed($id, ::std::string::String::from("it was reached"));
        }
    };
}

/// What unwinds out of a task whose assertion failed. The failure itself is recorded already.
struct AssertionFailed;

/// Fails the world of this thread; what [`always!`](crate::always) expands to.
///
/// # Panics
/// Without a message of its own, for the run's failure has it; not where a panic unwinds already,
/// out of a destructor, for that would end the process.
#[doc(hidden)]
#[track_caller]
pub fn failed(id: &'static str, message: String) {
    let at = Location::caller();
    current::with("always!", |state| {
        state.fail(FailureKind::Assertion(id), format!("{message}, at {at}"));
    });
    if !std::thread::panicking() {
        std::panic::resume_unwind(Box::new(AssertionFailed));
    }
}

/// Arms a condition; what [`eventually!`](crate::eventually) expands to.
#[doc(hidden)]
pub fn promised(id: &'static str, within: Duration, holds: impl FnMut() -> bool + 'static) {
    observers::promise(id, within, Box::new(holds));
}

/// What an attribute macro that makes a test of many seeds gives to a run and hears of it.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Telling {
    /// Which [`sometimes!`](crate::sometimes) were reached, and whether they were true.
    pub sometimes: BTreeMap<&'static str, bool>,
    /// The line that a failure prints to run it again, as in
    /// [`Builder::replay_with`](crate::Builder::replay_with).
    pub replay_with: String,
    /// Whether a failure printed it; a plain panic of the test prints nothing.
    pub told: bool,
}

/// As [`block_on`](crate::block_on), adding to what `telling` says.
///
/// # Panics
/// As [`block_on`](crate::block_on).
#[doc(hidden)]
#[track_caller]
pub fn block_on_telling<F: Future>(seed: u64, future: F, telling: &mut Telling) -> F::Output {
    crate::sim::block_on_telling(seed, future, telling)
}

/// Notes a place; what [`sometimes!`](crate::sometimes) expands to.
#[doc(hidden)]
pub fn reached(id: &'static str, condition: bool) {
    current::with("sometimes!", |state| {
        *state.sometimes.entry(id).or_insert(false) |= condition;
    });
}
