//! What a task does over time: its wakes, and how long it keeps its thread.

use super::{Node, Payload};
use bowline_backend::time::Instant;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

/// Of so many polls one is timed.
const TIMED: u64 = 16;

/// Part of the payload of every node that a backend runs as a task.
pub(crate) struct Pulse {
    /// When the task began, in nanoseconds; kept for roots and where polls are timed.
    born: AtomicU64,
    /// The waker of the first poll: the runtime's.
    waker: OnceLock<Waker>,
    wakes: AtomicU64,
    /// Nanoseconds in the polls that were timed.
    busy: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse {
            born: AtomicU64::new(u64::MAX),
            waker: OnceLock::new(),
            wakes: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    pub(super) fn note_born(&self, now: Instant) {
        self.born.store(now.as_nanos(), Ordering::Relaxed);
    }

    pub(super) fn born(&self) -> Instant {
        Instant::from_nanos(self.born.load(Ordering::Relaxed))
    }

    pub(super) fn note_wake(&self) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether its waker is known.
    pub(super) fn is_polled(&self) -> bool {
        self.waker.get().is_some()
    }

    /// Wakes the task, and counts that, unless it was not polled yet.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            self.note_wake();
            waker.wake_by_ref();
        }
    }

    pub(super) fn wakes(&self) -> u64 {
        self.wakes.load(Ordering::Relaxed)
    }

    pub(super) fn add_busy(&self, span: Duration) {
        let nanos = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        self.busy.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Scaled from the polls that were timed to all.
    pub(super) fn busy(&self, polls: u64) -> Duration {
        let timed = polls.div_ceil(TIMED).max(1);
        let busy = u128::from(self.busy.load(Ordering::Relaxed));
        let scaled = busy * u128::from(polls) / u128::from(timed);
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
    }
}

/// Whether the poll of this number, from 1, is one of those timed.
pub(super) fn is_timed(poll: u64) -> bool {
    poll % TIMED == 1
}

/// The payload of a task whose wakes are counted.
pub(crate) trait Counted: Payload {
    fn counted(&self) -> &Pulse;
}

/// A task's waker that counts: its node, in front of the runtime's waker.
///
/// The node stands behind it directly, so it costs no allocation. It forwards to the waker of the
/// first poll; polled with another one, the task gets that as it is, uncounted, and is woken as
/// the contract of `poll` says.
pub(crate) struct CountedWaker(Waker);

impl CountedWaker {
    pub(crate) fn new<P: Counted>(node: &Arc<Node<P>>) -> CountedWaker {
        CountedWaker(Waker::from(node.clone()))
    }

    /// The context in which the task's body is polled. From now on a cancel wakes the task.
    pub(crate) fn context<'a, P: Counted>(
        &'a self,
        node: &Node<P>,
        cx: &'a Context<'_>,
    ) -> Context<'a> {
        let pulse = node.payload.counted();
        let runtime = match pulse.waker.get() {
            Some(runtime) => runtime,
            None => {
                let mut waker = Some(cx.waker().clone());
                // Under the lock, as every other waker of a node.
                let _links = node.lock();
                let runtime = pulse.waker.get_or_init(|| {
                    let waker = waker.take();
                    waker.expect("the closure runs once")
                });
                debug_assert!(waker.is_none(), "one thread polls a task at a time");
                runtime
            }
        };
        if runtime.will_wake(cx.waker()) {
            node.forget_waker();
            return Context::from_waker(&self.0);
        }
        node.store_waker(cx.waker());
        Context::from_waker(cx.waker())
    }
}

impl<P: Counted> Wake for Node<P> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.payload.counted().wake();
    }
}

#[cfg(test)]
mod tests {
    use super::{Pulse, TIMED, is_timed};
    use std::time::Duration;

    #[test]
    fn busy_time_is_scaled_by_the_polls_that_were_timed() {
        let pulse = Pulse::default();
        assert_eq!(pulse.busy(0), Duration::ZERO);
        let polls = 3 * TIMED;
        let mut timed = 0;
        for poll in 1..=polls {
            if is_timed(poll) {
                timed += 1;
                pulse.add_busy(Duration::from_millis(2));
            }
            let expected = Duration::from_millis(2) * u32::try_from(poll).unwrap();
            assert_eq!(pulse.busy(poll), expected);
        }
        assert_eq!(timed, 3);
    }
}
