//! Calls with an idempotency key: each runs once, and those after it get its answer.

mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_backend::time::Instant;

use crate::Codec;
use crate::executor::{CallRef, JobEnd, ReplySink};
use crate::proto::PeerHello;
use window::Window;

/// What makes two calls one: who calls, which method, and the key it gave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DedupeKey {
    pub(crate) caller: CallerId,
    pub(crate) method: Arc<str>,
    pub(crate) key: Arc<[u8]>,
}

/// By what a caller is recognised: never by what it says of itself alone, as another can say that too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallerId {
    /// By whom it has proved to be, and which start of its broker it is.
    Proven(Arc<str>, [u8; 16]),
    /// It has proved nothing: by which start of its broker it is, and the pass that it shows this broker alone.
    Shown([u8; 16], [u8; 16]),
    /// Not at all: another connection, of this number, is another caller.
    Unknown(u64),
}

impl CallerId {
    /// The peer of `connection`, by what it said there.
    pub(crate) fn of(hello: &PeerHello, connection: u64) -> Self {
        match (hello.is_known, hello.pass) {
            (true, _) => Self::Proven(hello.proven.clone(), hello.instance),
            (false, Some(pass)) => Self::Shown(hello.instance, pass),
            (false, None) => Self::Unknown(connection),
        }
    }

    /// Whose answers its answers are, among which room is shared: all of a principal together.
    fn holder(&self) -> Self {
        match self {
            Self::Proven(principal, _) => Self::Proven(principal.clone(), [0; 16]),
            Self::Shown(..) | Self::Unknown(_) => self.clone(),
        }
    }
}

/// What to do with a call.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Run it; its end is to be settled.
    Run,
    /// Its twin runs; it gets the same answer.
    Waits,
    /// This is the answer: of its twin, which ran, or that its twin is in another codec, so that what that
    /// is answered says nothing to this one.
    Answered(JobEnd),
}

/// The calls with a key of one broker.
#[derive(Default)]
pub(crate) struct Dedupe {
    window: Mutex<Window<Waiter>>,
}

/// A call that waits for the answer, and where it gets it.
type Waiter = (Arc<dyn ReplySink>, CallRef);

impl Dedupe {
    /// Whether the call is to be run, and where its end goes then.
    pub(crate) fn admit(
        self: &Arc<Self>,
        key: DedupeKey,
        codec: Codec,
        waiter: Waiter,
        now: Instant,
    ) -> (Admitted, Arc<dyn ReplySink>) {
        let admitted = self.window().admit(&key, codec, waiter, now);
        let dedupe = self.clone();
        (admitted, Arc::new(Settles { dedupe, key }))
    }

    fn window(&self) -> MutexGuard<'_, Window<Waiter>> {
        // Nothing that can panic runs under the lock, so a poisoned window is whole.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the end of one call to all who wait for it.
struct Settles {
    dedupe: Arc<Dedupe>,
    key: DedupeKey,
}

impl ReplySink for Settles {
    fn settle(&self, _: CallRef, end: JobEnd) {
        let waiting = self.dedupe.window().settle(&self.key, &end);
        for (sink, call) in waiting {
            sink.settle(call, end.clone());
        }
    }
}
