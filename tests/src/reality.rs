//! The socket reality table of S12: what a kernel may show in each situation, and so a world.

/// What an operation did, in the words of the table.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It worked.
    Done,
    /// It said that the peer ended.
    Ended,
    /// It gave bytes.
    Data,
    /// It waited.
    Waits,
    /// `ConnectionRefused`.
    Refused,
    /// `NotFound`.
    NotFound,
    /// `ConnectionReset`.
    Reset,
    /// `BrokenPipe`.
    BrokenPipe,
    /// `TimedOut`.
    TimedOut,
}

use Seen::{BrokenPipe, Data, Done, Ended, NotFound, Refused, Reset, TimedOut, Waits};

/// Each row: a situation, an operation in it, and what that may do.
pub const TABLE: &[(&str, &str, &[Seen])] = &[
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
    (
        "TCP reset told by another call, bytes unread",
        "read",
        &[Data, Ended],
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
        "listener dropped, connection under way",
        "connect",
        &[Done, Refused, Reset],
    ),
    (
        "listener dropped, connection queued",
        "peer read",
        &[Reset, Ended],
    ),
    ("UDP to a closed port, connected", "recv", &[Refused, Waits]),
    ("UDP to a closed port, connected", "send", &[Refused, Done]),
    ("Unix datagram, receiver gone", "send", &[Refused, NotFound]),
];

/// What `operation` may do in `situation`.
///
/// # Panics
///
/// The table has no such row.
pub fn allowed(situation: &str, operation: &str) -> &'static [Seen] {
    let row = TABLE
        .iter()
        .find(|row| row.0 == situation && row.1 == operation);
    let Some((_, _, allowed)) = row else {
        panic!("{situation}: {operation} has no row in the table");
    };
    allowed
}
