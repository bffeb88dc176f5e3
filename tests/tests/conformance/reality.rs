//! Holds outcomes against the socket reality table of S12, which the library of these tests has.

use std::io::{self, ErrorKind};

use bowline_backend::Backend;
use bowline_tests::reality::allowed;

pub(crate) use bowline_tests::reality::Seen as Outcome;

use Outcome::{BrokenPipe, Done, NotFound, Refused, Reset, TimedOut};

/// In a child process of this binary: tell what was seen.
pub(crate) const TELL: &str = "BOWLINE_TEST_TELL_OUTCOMES";

/// Panics unless the table allows `outcome`.
pub(crate) fn check(backend: Backend, situation: &str, operation: &str, outcome: Outcome) {
    if std::env::var_os(TELL).is_some() {
        println!("outcome: {situation}: {operation}: {outcome:?}");
    }
    let allowed = allowed(situation, operation);
    assert!(
        allowed.contains(&outcome),
        "{backend}: {situation}: {operation} gave {outcome:?}, allowed are {allowed:?}"
    );
}

/// The outcome that an error is.
pub(crate) fn failed(error: &io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused => Refused,
        ErrorKind::NotFound => NotFound,
        ErrorKind::ConnectionReset => Reset,
        ErrorKind::BrokenPipe => BrokenPipe,
        ErrorKind::TimedOut => TimedOut,
        other => panic!("{other:?} is in no row: {error}"),
    }
}

/// The outcome of what gives nothing where it works.
pub(crate) fn done<T>(result: &io::Result<T>) -> Outcome {
    result.as_ref().map_or_else(failed, |_| Done)
}
