//! What a handler knows about the call it runs.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bowline_backend::stream::Address;
use bowline_backend::time::{self, Instant};
use bowline_concurrency::CancelHandle;

/// What a handler knows about the call it runs; a cheap clone.
///
/// A handler gets one by taking it as its first parameter. Run locally, without a broker, it is
/// the empty context: no deadline, never cancelled, no caller.
#[derive(Clone, Default)]
pub struct Context {
    deadline: Option<Instant>,
    cancel: Cancel,
    caller: Option<Peer>,
    call: u64,
}

/// How a handler learns that its call was given up.
#[derive(Clone, Default)]
pub(crate) enum Cancel {
    /// Not at all: a local run.
    #[default]
    Never,
    /// Its scope is cancelled, so it is dropped at its next suspension.
    Scope(CancelHandle),
    /// It runs to its end and may look at a flag.
    Flag(Arc<AtomicBool>),
}

impl Cancel {
    pub(crate) fn request(&self, reason: &'static str) {
        match self {
            Cancel::Never => {}
            Cancel::Scope(scope) => {
                scope.cancel(reason);
            }
            Cancel::Flag(flag) => flag.store(true, Ordering::Release),
        }
    }

    pub(crate) fn requested(&self) -> bool {
        match self {
            Cancel::Never => false,
            Cancel::Scope(scope) => scope.cancel_called(),
            Cancel::Flag(flag) => flag.load(Ordering::Acquire),
        }
    }
}

impl Context {
    /// The empty context of a local run.
    pub fn empty() -> Self {
        Self::default()
    }

    pub(crate) fn new(
        deadline: Option<Instant>,
        cancel: Cancel,
        caller: Option<Peer>,
        call: u64,
    ) -> Self {
        Self {
            deadline,
            cancel,
            caller,
            call,
        }
    }

    /// When the caller stops waiting; `None` if it waits as long as it takes.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// How long the caller still waits; zero once the deadline passed.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(time::now()))
    }

    /// Whether nobody waits any more: the deadline passed, the caller gave up, its connection is gone,
    /// or the broker has ended.
    ///
    /// For blocking handlers and those declared `no_cancel`, which are not dropped: an async
    /// handler that is cancelled is dropped at its next suspension.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.requested()
    }

    /// Completes when the call is cancelled, in the handler's last poll before it is dropped.
    /// Never completes where the handler is not dropped.
    ///
    /// # Cancel safety
    /// *Nothing happened.*
    pub async fn cancelled(&self) {
        match &self.cancel {
            Cancel::Scope(_) => {
                bowline_concurrency::cancelled().await;
            }
            Cancel::Never | Cancel::Flag(_) => std::future::pending().await,
        }
    }

    /// Who calls; `None` in a local run.
    pub fn caller(&self) -> Option<&Peer> {
        self.caller.as_ref()
    }

    /// The number of the call, unique among the calls of its caller's connection; 0 in a local
    /// run.
    pub fn call_id(&self) -> u64 {
        self.call
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("call", &self.call)
            .field("deadline", &self.deadline)
            .field("cancelled", &self.is_cancelled())
            .field("caller", &self.caller)
            .finish()
    }
}

/// Who is at the other end of a call; a cheap clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer(Arc<PeerFacts>);

#[derive(Debug, PartialEq, Eq)]
struct PeerFacts {
    address: Option<Address>,
    instance: [u8; 16],
}

impl Peer {
    pub(crate) fn new(address: Option<Address>, instance: [u8; 16]) -> Self {
        Self(Arc::new(PeerFacts { address, instance }))
    }

    /// Where it is; `None` within one process.
    pub fn address(&self) -> Option<&Address> {
        self.0.address.as_ref()
    }

    /// The id of this start of its broker: another one after it restarted.
    pub fn instance(&self) -> [u8; 16] {
        self.0.instance
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address() {
            Some(address) => write!(f, "Peer({address})"),
            None => f.write_str("Peer(this process)"),
        }
    }
}
