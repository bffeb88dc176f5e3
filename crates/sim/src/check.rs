//! Assertions of a world.

use crate::current;
use crate::failure::FailureKind;

/// Asserts in a world that a condition holds; a false one fails the run at once.
///
/// The first argument is the assertion's id; more arguments are a message as for `format!`.
/// Outside a world nothing is evaluated.
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

/// What unwinds out of a task whose assertion failed. The failure itself is recorded already.
struct AssertionFailed;

/// Fails the world of this thread; what [`always!`](crate::always) expands to.
///
/// # Panics
/// Always, without a message of its own: the run's failure has it.
#[doc(hidden)]
pub fn failed(id: &'static str, message: String) {
    current::with("always!", |state| {
        state.fail(FailureKind::Assertion(id), message);
    });
    std::panic::resume_unwind(Box::new(AssertionFailed));
}

/// Notes a place; what [`sometimes!`](crate::sometimes) expands to.
#[doc(hidden)]
pub fn reached(id: &'static str, condition: bool) {
    current::with("sometimes!", |state| {
        *state.sometimes.entry(id).or_insert(false) |= condition;
    });
}
