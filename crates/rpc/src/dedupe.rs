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
            match cut_off && late && waiter.deadline > self.until {
                true => waiter.sink.cut_short(waiter.call, cut_short()),
                false => waiter.sink.settle(waiter.call, end.clone()),
            }
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
        message: "the call that ran for its key came to its own deadline".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom nobody hears.
    struct Nobody;

    impl ReplySink for Nobody {
        fn settle(&self, _: CallRef, _: JobEnd) {}
    }

    /// Whether what a call of this method came to is remembered.
    fn is_kept(spec: MethodSpec, code: Code, certainty: Certainty) -> bool {
        let dedupe = Arc::new(Dedupe::default());
        let admit = || {
            let key = DedupeKey {
                caller: CallerId::Unknown(1),
                method: "pay".into(),
                key: Arc::from([7]),
            };
            let waiter = Waiter {
                sink: Arc::new(Nobody),
                call: CallRef::Kept(1),
                deadline: Instant::NEVER,
            };
            dedupe.admit(key, Codec::Postcard, spec, waiter, time::now())
        };
        let (admitted, settles) = admit();
        assert!(matches!(admitted, Admitted::Run));
        let message = String::new();
        let end = JobEnd::Failed {
            code,
            certainty,
            message,
        };
        settles.settle(CallRef::Kept(1), end);
        matches!(admit().0, Admitted::Answered(_))
    }

    // R24
    #[test]
    fn what_did_not_run_or_was_cut_off_is_not_kept() {
        use Certainty::{Executed, MaybeExecuted, Refused};
        bowline_backend::Backend::Sim.block_on(async {
            let (dropped, goes_on) = (MethodSpec::new(), MethodSpec::new().no_cancel());
            for (code, certainty, kept, kept_of_one_that_goes_on) in [
                (Code::Overloaded, Refused, false, false),
                (Code::Overloaded, MaybeExecuted, true, true),
                (Code::Overloaded, Executed, true, true),
                (Code::Cancelled, MaybeExecuted, false, true),
                (Code::DeadlineExceeded, MaybeExecuted, false, true),
                (Code::DeadlineExceeded, Executed, true, true),
            ] {
                assert_eq!(
                    is_kept(dropped, code, certainty),
                    kept,
                    "{code:?} {certainty:?}"
                );
                let kept = kept_of_one_that_goes_on;
                assert_eq!(
                    is_kept(goes_on, code, certainty),
                    kept,
                    "{code:?} {certainty:?}"
                );
            }
        });
    }
}
