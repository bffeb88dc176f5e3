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
/// pause is so much longer, and up to a quarter of it more; if that is above 30 s, the call fails with what it
/// [said](crate::CallError::retry_after). Otherwise the call goes to one that it has not been to.
///
/// All retries of a broker together that may make an outage worse are few: 10, and one more for every 10 calls that
/// succeed, of which 1000 are kept. A refusal that sends the call elsewhere takes none of them: by a peer that
/// leaves or has the method no more, by one without room where there is another, or by the own executor.
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
/// Retries without any success before.
const FIRST: u32 = 10 * TOKEN;
/// Retries without a success in between.
const MOST: u32 = 1000 * TOKEN;
/// The longest pause that a peer may ask for.
const LONGEST: Duration = Duration::from_secs(30);

/// The retries that all calls of a broker together have left.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(FIRST))
    }
}

impl Budget {
    /// A call succeeded.
    pub(crate) fn earn(&self) {
        // Full most of the time, which costs others nothing to see.
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
        // What costs a peer anything that others need.
        let cost = match error.certainty() {
            Certainty::NeverSent => false,
            Certainty::Refused => {
                let gone = matches!(error.code(), Code::Draining | Code::UnknownMethod);
                !(gone || self.elsewhere || self.at_home)
            }
            _ => true,
        };
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
            if after > LONGEST {
                return Err(error);
            }
            // Those who were refused together do not come back together.
            let spread = u64::try_from(after.as_nanos() / 4).unwrap_or(u64::MAX);
            pause = pause.saturating_add(after).saturating_add(up_to(spread));
        }
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
            assert_eq!(retries(10_000), 1000, "are kept");
        });
    }

    // R25
    #[test]
    fn a_refusal_that_sends_a_call_elsewhere_takes_none_of_them() {
        Backend::Sim.block_on(async {
            let budget = Budget::default();
            let allowed = |code, at_home, others| {
                let attempt = || {
                    let mut attempts = Attempts::new(Retry::default());
                    attempts.at_home(at_home);
                    attempts.others(others);
                    let error = CallError::new(code, Certainty::Refused);
                    attempts.failed(error, false, Duration::MAX, &budget)
                };
                (0..100).filter(|_| attempt().is_ok()).count()
            };
            for code in [Code::Draining, Code::UnknownMethod] {
                assert_eq!(allowed(code, false, false), 100);
            }
            assert_eq!(allowed(Code::Overloaded, true, false), 100);
            assert_eq!(allowed(Code::Overloaded, false, true), 100);
            assert_eq!(allowed(Code::Overloaded, false, false), 10);
            // It may have run before.
            let mut attempts = Attempts::new(Retry::default());
            attempts.reached = Certainty::MaybeExecuted;
            let error = CallError::new(Code::Draining, Certainty::Refused);
            assert!(attempts.failed(error, true, Duration::MAX, &budget).is_ok());
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
            // Nobody waits longer than that without being told.
            let error = CallError::new(Code::Overloaded, Certainty::Refused);
            let error = error.with_retry_after(Duration::from_secs(31));
            let mut attempts = Attempts::new(Retry::default());
            let error = attempts.failed(error, false, Duration::MAX, &budget);
            assert_eq!(
                error.unwrap_err().retry_after(),
                Some(Duration::from_secs(31))
            );
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
