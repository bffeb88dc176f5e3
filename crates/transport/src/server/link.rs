use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use bowline_backend::stream::Address;
use bowline_concurrency::CancelHandle;
use bowline_concurrency::sync::Event;

use crate::error::{Error, ErrorKind};

/// The number of a connection within its server, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

impl ConnectionId {
    /// The number.
    pub fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is known of one connection, whatever its transport is.
pub(super) struct Link {
    pub(super) id: ConnectionId,
    pub(super) address: Address,
    /// Set once the handler is to come to an end.
    pub(super) draining: Event,
    /// What ends its task.
    pub(super) scope: CancelHandle,
    converses: AtomicBool,
    seen: Mutex<Option<Seen>>,
    /// The handler was told an error after which nothing comes.
    over: AtomicBool,
    /// After that it was told that nothing comes, too.
    over_told: AtomicBool,
    /// Its handler ends because a message could not be decoded.
    undecoded: AtomicBool,
}

/// What the handler was told of the end of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Ended,
    Drained,
    Broken(ErrorKind),
}

impl Link {
    pub(super) fn new(id: ConnectionId, address: Address, scope: CancelHandle) -> Self {
        Link {
            id,
            address,
            draining: Event::new(),
            scope,
            converses: AtomicBool::new(false),
            seen: Mutex::new(None),
            over: AtomicBool::new(false),
            over_told: AtomicBool::new(false),
            undecoded: AtomicBool::new(false),
        }
    }

    pub(super) fn begin_conversation(&self) {
        self.converses.store(true, Ordering::Release);
    }

    /// Whether it is past its handshake.
    pub(super) fn converses(&self) -> bool {
        self.converses.load(Ordering::Acquire)
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, seen: impl Into<Option<Seen>>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen.into();
    }

    /// A message came: if the peer was silent for too long before, it is forgiven.
    pub(super) fn note_message(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == Some(Seen::Broken(ErrorKind::Elapsed)) {
            *seen = None;
        }
    }

    /// Notes that the handler was told an error after which nothing comes.
    pub(super) fn note_over(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Whether it was.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// For a handler that asks after it, to be told that nothing comes; whether it asked before.
    pub(super) fn tell_over(&self) -> bool {
        self.over_told.swap(true, Ordering::AcqRel)
    }

    /// Notes that the handler ends with an error that is what the peer sent.
    pub(super) fn note_undecoded(&self) {
        self.undecoded.store(true, Ordering::Release);
    }

    /// Whether it does.
    pub(super) fn is_undecoded(&self) -> bool {
        self.undecoded.load(Ordering::Acquire)
    }

    /// Notes an error that the connection does not come back from.
    pub(super) fn note_error(&self, error: &Error) {
        let fatal = match error.kind() {
            ErrorKind::Closed => false,
            ErrorKind::Elapsed => true,
            _ => error.is_connection(),
        };
        if fatal {
            self.note(Seen::Broken(error.kind()));
        }
    }
}
