//! The socket reality table of S12: what the kernel may show in each situation.

use std::io::{self, ErrorKind};

use bowline_backend::Backend;

/// In a child process of this binary: tell what was seen.
pub(crate) const TELL: &str = "BOWLINE_TEST_TELL_OUTCOMES";

/// What an operation did, in the words of the table.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Ended,
    Data,
    Waits,
    Refused,
    NotFound,
    Reset,
    BrokenPipe,
    TimedOut,
}

use Outcome::{BrokenPipe, Data, Done, Ended, NotFound, Refused, Reset, TimedOut, Waits};

const TABLE: &[(&str, &str, &[Outcome])] = &[
    ("nobody listens", "connect", &[Refused]),
    ("Unix path missing", "connect", &[NotFound]),
    ("Unix path stale", "connect", &[Refused]),
    ("Unix backlog full", "connect", &[Waits]),
    ("peer closed after reading all", "read", &[Ended]),
    (
        "peer closed after reading all",
        "first write",
        &[Done, BrokenPipe, Reset],
    ),
    (
        "peer closed after reading all",
        "later write",
        &[BrokenPipe, Reset],
    ),
    (
        "TCP peer closed with our bytes unread",
        "read",
        &[Data, Reset],
    ),
    (
        "TCP peer closed with our bytes unread",
        "read again",
        &[Reset],
    ),
    (
        "Unix peer closed with our bytes unread",
        "read",
        &[Data, Reset],
    ),
    (
        "Unix peer closed with our bytes unread",
        "read again",
        &[Ended, Reset],
    ),
    ("TCP peer aborted", "read", &[Reset]),
    (
        "TCP peer aborted",
        "read again",
        &[Ended, Reset, BrokenPipe],
    ),
    ("TCP peer aborted", "write", &[BrokenPipe, Reset]),
    // There is no reset between the processes of one system; it is an end.
    ("Unix peer aborted", "read", &[Ended, Reset]),
    ("Unix peer aborted", "read again", &[Ended, Reset]),
    ("Unix peer aborted", "write", &[BrokenPipe, Reset]),
    ("peer half-closed", "read", &[Ended]),
    ("peer half-closed", "write", &[Done]),
    ("both closed at once", "shutdown", &[Done]),
    ("we shut down, then write", "write", &[BrokenPipe]),
    ("shutdown after reset", "shutdown", &[Done]),
    (
        "our read half dropped, peer sends",
        "peer write",
        &[Done, Waits],
    ),
    ("process of the peer paused", "first write", &[Done]),
    ("process of the peer paused", "later write", &[Waits]),
    ("host of the peer vanished", "first write", &[Done]),
    ("host of the peer vanished", "later write", &[Waits]),
    ("host of the peer vanished", "write that waits", &[TimedOut]),
    ("host of the peer vanished", "read", &[Waits]),
    (
        "host of the peer vanished",
        "read with keepalive",
        &[TimedOut],
    ),
    ("peer restarted, old connection", "first write", &[Done]),
    ("peer restarted, old connection", "later write", &[Reset]),
    (
        "listener dropped, connection queued",
        "peer read",
        &[Reset, Ended],
    ),
    ("UDP to a closed port, connected", "recv", &[Refused, Waits]),
    ("UDP to a closed port, connected", "send", &[Refused, Done]),
    ("Unix datagram, receiver gone", "send", &[Refused, NotFound]),
];

/// Panics unless the table allows `outcome`.
pub(crate) fn check(backend: Backend, situation: &str, operation: &str, outcome: Outcome) {
    if std::env::var_os(TELL).is_some() {
        println!("outcome: {situation}: {operation}: {outcome:?}");
    }
    let row = TABLE
        .iter()
        .find(|row| row.0 == situation && row.1 == operation);
    let Some((_, _, allowed)) = row else {
        panic!("{situation}: {operation} has no row in the table");
    };
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
