//! Calls with an idempotency key: each runs once, and those after it get its answer.

mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bowline_backend::time::{self, Instant};

use crate::Codec;
use crate::executor::{CallRef, JobEnd, ReplySink};
use crate::proto::PeerHello;
use crate::{Certainty, Code, MethodSpec};
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

/// A call that waits for the answer.
pub(crate) struct Waiter {
    /// Where it gets it.
    pub(crate) sink: Arc<dyn ReplySink>,
    pub(crate) call: CallRef,
    /// How long its caller waits.
    pub(crate) deadline: Instant,
}

impl Dedupe {
    /// Whether the call, of a method of `spec`, is to be run, and where its end goes then.
    pub(crate) fn admit(
        self: &Arc<Self>,
        key: DedupeKey,
        codec: Codec,
        spec: MethodSpec,
        waiter: Waiter,
        now: Instant,
    ) -> (Admitted, Arc<dyn ReplySink>) {
        let until = waiter.deadline;
        let admitted = self.window().admit(&key, codec, waiter, now);
        let settles = Settles {
            dedupe: self.clone(),
            key,
            until,
            is_cut_off: !spec.is_no_cancel(),
        };
        (admitted, Arc::new(settles))
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
    /// The deadline of the one that runs.
    until: Instant,
    /// It has ended when it says that it was cancelled, or that its time was over.
    is_cut_off: bool,
}

impl ReplySink for Settles {
    fn settle(&self, _: CallRef, end: JobEnd) {
        let cut_off = self.is_cut_off && is_unfinished(&end);
        let kept = !cut_off && !end.did_not_run();
        let now = time::now();
        let waiting = self.dedupe.window().settle(&self.key, &end, kept, now);
        let late = matches!(
            end,
            JobEnd::Failed {
                code: Code::DeadlineExceeded,
                ..
            }
        );
        for waiter in waiting {
            let end = match cut_off && late && waiter.deadline > self.until {
                true => cut_short(),
                false => end.clone(),
            };
            waiter.sink.settle(waiter.call, end);
        }
    }

    /// Who has time left, or comes later, waits for what it comes to.
    fn overdue(&self, _: CallRef, end: JobEnd) -> bool {
        let is_late = |waiter: &Waiter| waiter.deadline <= self.until;
        let late = self.dedupe.window().give_up(&self.key, is_late);
        for waiter in late {
            waiter.sink.settle(waiter.call, end.clone());
        }
        true
    }
}

/// Whether a handler was dropped, or told and ended, before it came to anything: what is said of it is
/// about its caller, and no answer to others.
fn is_unfinished(end: &JobEnd) -> bool {
    matches!(
        end,
        JobEnd::Failed {
            code: Code::Cancelled | Code::DeadlineExceeded,
            certainty: Certainty::MaybeExecuted,
            ..
        }
    )
}

/// What a call hears that waited for one with its key, when that one ended with its own time: the caller
/// makes it again.
fn cut_short() -> JobEnd {
    JobEnd::Failed {
        code: Code::Cancelled,
        certainty: Certainty::MaybeExecuted,
        message: CUT_SHORT.into(),
    }
}

const CUT_SHORT: &str = "the call that ran for its key came to its own deadline";

/// Whether a call that waited may be made again, since the one that ran for it came to nothing.
pub(crate) fn is_cut_short(end: &JobEnd) -> bool {
    matches!(end, JobEnd::Failed { message, .. } if message == CUT_SHORT)
}
