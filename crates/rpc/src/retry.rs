//! Which calls are made again, how often, and after what pause.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bowline_backend::entropy;

use crate::{CallError, Certainty, Code};

/// The longest first pause; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// How often a call is made when it fails in a way that another attempt may mend: the connection was
/// lost, the peer leaves or has no room.
///
/// A call that certainly did not run is made again; one that may have run only if its method is
/// declared idempotent or, of the same peer, if it has an
/// [`idempotency_key`](crate::CallBuilder::idempotency_key). It is made again within its deadline,
/// after a pause of random length, up to 10 ms at first, twice that then. A peer that has no room may say
/// [how long](crate::CallError::retry_after) it takes until it has: where there is no other that may have room, the
/// pause is so much longer, and up to a quarter of it more. Otherwise the call goes to one that it has not been
/// to. All retries of a broker
/// together that cost a peer anything, which those that its own executor refused do not, are few: 10, and one more for every 10 calls that succeed, so that
/// an outage is not made worse.
///
/// # Examples
/// ```
/// use bowline_rpc::Retry;
///
/// assert_eq!(Retry::default(), Retry::attempts(3));
/// assert_eq!(Retry::never(), Retry::attempts(1));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    attempts: u32,
}

impl Default for Retry {
    fn default() -> Self {
        Self::attempts(3)
    }
}

impl Retry {
    /// The first attempt is the only one.
    pub const fn never() -> Self {
        Self::attempts(1)
    }

    /// At most so many attempts, the first one counted; none counts as one.
    pub const fn attempts(attempts: u32) -> Self {
        Self {
            attempts: if attempts == 0 { 1 } else { attempts },
        }
    }
}

/// One token is a retry, in tenths.
const TOKEN: u32 = 10;
/// Retries without a success in between.
const MOST: u32 = 10 * TOKEN;

/// The retries that all calls of a broker together have left.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(MOST))
    }
}

impl Budget {
    /// A call succeeded.
    pub(crate) fn earn(&self) {
        // Nearly always full, which costs others nothing to see.
        if self.0.load(Ordering::Relaxed) < MOST {
            let more = |now: u32| (now < MOST).then_some(now + 1);
            let _ = self
                .0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        }
    }

    fn spend(&self) -> bool {
        let less = |now: u32| now.checked_sub(TOKEN);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

/// The attempts of one call.
#[derive(Debug)]
pub(crate) struct Attempts {
    left: u32,
    made: u32,
    /// How far any of them got.
    reached: Certainty,
    /// The next one may go to another peer.
    elsewhere: bool,
    /// The one that failed has cost no peer anything.
    at_home: bool,
}

impl Attempts {
    pub(crate) fn new(retry: Retry) -> Self {
        Self {
            left: retry.attempts,
            made: 0,
            reached: Certainty::NeverSent,
            elsewhere: false,
            at_home: false,
        }
    }

    /// The attempt that fails next is the last.
    pub(crate) fn give_up(&mut self) {
        self.left = 1;
    }

    /// Whether there is another peer than the one that failed: what that one said about when to come back,
    /// holds for itself.
    pub(crate) fn others(&mut self, others: bool) {
        self.elsewhere = others;
    }

    /// Whether it was this side itself that refused the attempt.
    pub(crate) fn at_home(&mut self, at_home: bool) {
        self.at_home = at_home;
    }

    /// An attempt failed: how long to wait before the next, or the failure of the call. `repeatable`
    /// says that the call may run twice, `left` how long its caller waits.
    pub(crate) fn failed(
        &mut self,
        error: CallError,
        repeatable: bool,
        left: Duration,
        budget: &Budget,
    ) -> Result<Duration, CallError> {
        self.left -= 1;
        self.made += 1;
        self.reached = self.reached.max(error.certainty());
        // What an attempt before may have done, this one cannot deny.
        let error = match self.reached.did_not_run() {
            true => error,
            false => error.at_least(self.reached),
        };
        if self.left == 0 || !may_help(&error, repeatable, self.elsewhere) {
            return Err(error);
        }
        let longest = FIRST_PAUSE * (1 << (self.made - 1).min(10));
        let nanos = longest.as_nanos() as u64;
        let mut pause = up_to(nanos);
        if let Some(after) = error.retry_after().filter(|_| !self.elsewhere) {
            // Those who were refused together do not come back together.
            let spread = u64::try_from(after.as_nanos() / 4).unwrap_or(u64::MAX);
            pause = pause.saturating_add(after).saturating_add(up_to(spread));
        }
        // One that was never sent has cost nobody anything.
        let cost = error.certainty() != Certainty::NeverSent && !self.at_home;
        if pause >= left || cost && !budget.spend() {
            return Err(error);
        }
        Ok(pause)
    }
}

fn up_to(nanos: u64) -> Duration {
    Duration::from_nanos(entropy::random_u64() % nanos.saturating_add(1).max(1))
}

/// Whether another attempt may end better, and may be made.
fn may_help(error: &CallError, repeatable: bool, elsewhere: bool) -> bool {
    let sent = error.certainty() != Certainty::NeverSent;
    let passes = match error.code() {
        Code::ConnectionLost | Code::Draining => true,
        // Of a way that is full it is, where there is another.
        Code::Overloaded if elsewhere => true,
        // From here they are no news of a peer.
        Code::Overloaded | Code::RateLimited | Code::UnknownMethod | Code::Cancelled => sent,
        Code::NoExecutor => sent,
        _ => false,
    };
    passes
        && (error.certainty().did_not_run()
            || repeatable && error.certainty() != Certainty::Executed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bowline_backend::Backend;

    fn allowed(code: Code, certainty: Certainty, repeatable: bool) -> bool {
        let error = CallError::new(code, certainty);
        let mut attempts = Attempts::new(Retry::default());
        Backend::Sim.block_on(async {
            attempts
                .failed(error, repeatable, Duration::MAX, &Budget::default())
                .is_ok()
        })
    }

    #[test]
    fn only_what_may_run_again_is_made_again() {
        use Certainty::{Executed, MaybeExecuted, NeverSent, Refused};
        for (code, certainty, once, repeatable) in [
            (Code::ConnectionLost, NeverSent, true, true),
            (Code::ConnectionLost, MaybeExecuted, false, true),
            (Code::Draining, Refused, true, true),
            (Code::Overloaded, Refused, true, true),
            (Code::Overloaded, NeverSent, false, false),
            (Code::Cancelled, NeverSent, false, false),
            (Code::Cancelled, MaybeExecuted, false, true),
            (Code::UnknownMethod, Refused, true, true),
            (Code::UnknownMethod, NeverSent, false, false),
            (Code::NoPeer, NeverSent, false, false),
            (Code::BadArguments, Refused, false, false),
            (Code::DeadlineExceeded, MaybeExecuted, false, false),
            (Code::Application, Executed, false, false),
            (Code::Panic, Executed, false, false),
        ] {
            assert_eq!(
                allowed(code, certainty, false),
                once,
                "{code:?} {certainty:?}"
            );
            assert_eq!(
                allowed(code, certainty, true),
                repeatable,
                "{code:?} {certainty:?}"
            );
        }
    }

    // R25
    #[test]
    fn retries_are_ten_and_one_for_every_ten_successes() {
        Backend::Sim.block_on(async {
            let budget = Budget::default();
            let retries = |calls: usize| {
                let refused = || CallError::new(Code::Overloaded, Certainty::Refused);
                let allowed = (0..calls).map(|_| {
                    let mut attempts = Attempts::new(Retry::default());
                    (0..2)
                        .filter(|_| {
                            attempts
                                .failed(refused(), false, Duration::MAX, &budget)
                                .is_ok()
                        })
                        .count()
                });
                allowed.sum::<usize>()
            };
            assert_eq!(retries(1000), 10);
            for _ in 0..35 {
                budget.earn();
            }
            assert_eq!(retries(1000), 3);
            for _ in 0..100_000 {
                budget.earn();
            }
            assert_eq!(retries(1000), 10);
        });
    }

    // R25
    #[test]
    fn what_the_own_executor_refuses_takes_of_no_retries() {
        Backend::Sim.block_on(async {
            let budget = Budget::default();
            let attempt = |at_home| {
                let mut attempts = Attempts::new(Retry::default());
                attempts.at_home(at_home);
                let error = CallError::new(Code::UnknownMethod, Certainty::Refused);
                attempts.failed(error, false, Duration::MAX, &budget)
            };
            assert!((0..1000).all(|_| attempt(true).is_ok()));
            assert_eq!((0..1000).filter(|_| attempt(false).is_ok()).count(), 10);
            assert!(attempt(true).is_ok());
        });
    }

    #[test]
    fn it_waits_as_long_as_the_peer_says_unless_there_is_another() {
        let after = Duration::from_secs(2);
        Backend::Sim.block_on(async {
            let budget = Budget::default();
            let pause = |others, left| {
                let error = CallError::new(Code::Overloaded, Certainty::Refused);
                let mut attempts = Attempts::new(Retry::default());
                attempts.others(others);
                attempts.failed(error.with_retry_after(after), false, left, &budget)
            };
            let alone = pause(false, Duration::MAX).unwrap();
            assert!(after <= alone && alone <= after * 5 / 4 + FIRST_PAUSE);
            assert!(pause(true, Duration::MAX).unwrap() <= FIRST_PAUSE);
            // Its caller does not wait that long.
            let error = pause(false, after).unwrap_err();
            assert_eq!(error.retry_after(), Some(after));
        });
    }

    #[test]
    fn a_failure_says_how_far_any_attempt_got() {
        Backend::Sim.block_on(async {
            let budget = Budget::default();
            let mut attempts = Attempts::new(Retry::attempts(2));
            let error = CallError::new(Code::ConnectionLost, Certainty::MaybeExecuted);
            assert!(attempts.failed(error, true, Duration::MAX, &budget).is_ok());
            let error = CallError::new(Code::ConnectionLost, Certainty::NeverSent);
            let error = attempts
                .failed(error, true, Duration::MAX, &budget)
                .unwrap_err();
            assert_eq!(error.certainty(), Certainty::MaybeExecuted);
        });
    }
}
