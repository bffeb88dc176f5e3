use crate::ambient;
use crate::node::NodeRef;
use bowline_backend::time::{Instant, Sleep};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// The one backend sleep of a task.
pub(super) struct Timer {
    sleep: Pin<Box<Sleep>>,
    pub(super) alarm: Arc<Alarm>,
    waker: Waker,
    /// `NEVER` once it has fired.
    pub(super) armed: Instant,
}

/// Wakes the host and remembers why, so that a poll for another reason leaves the timer alone.
pub(super) struct Alarm {
    fired: AtomicBool,
    node: NodeRef,
}

impl Timer {
    pub(super) fn new(node: NodeRef, deadline: Instant) -> Timer {
        #[cfg(all(test, not(loom)))]
        tests::ARMED.set(tests::ARMED.get() + 1);
        let backend = node.backend().unwrap_or_else(ambient::backend);
        let alarm = Arc::new(Alarm {
            fired: AtomicBool::new(false),
            node,
        });
        Timer {
            sleep: Box::pin(backend.sleep_until(deadline)),
            waker: Waker::from(alarm.clone()),
            alarm,
            armed: deadline,
        }
    }

    pub(super) fn reset(&mut self, deadline: Instant) {
        #[cfg(all(test, not(loom)))]
        tests::ARMED.set(tests::ARMED.get() + 1);
        self.sleep.as_mut().reset(deadline);
        self.armed = deadline;
    }

    pub(super) fn poll(&mut self) -> Poll<()> {
        self.sleep
            .as_mut()
            .poll(&mut Context::from_waker(&self.waker))
    }
}

impl Alarm {
    pub(super) fn rang(&self) -> bool {
        self.fired.load(Ordering::Relaxed) && self.fired.swap(false, Ordering::AcqRel)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.fired.store(true, Ordering::Release);
        self.node.wake_owner();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use crate::{Root, now, sleep_forever, timeout, yield_now};
    use bowline_backend::Backend;
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        /// How often a timer was armed on this thread.
        pub(super) static ARMED: Cell<usize> = const { Cell::new(0) };
    }

    // CS35
    #[test]
    fn a_task_arms_its_timer_lazily() {
        const SECOND: Duration = Duration::from_secs(1);
        Root::new().backend(Backend::Sim).block_on(async {
            let start = now();
            let outer = timeout(2 * SECOND, async {
                ARMED.set(0);
                for _ in 0..10_000 {
                    assert!(timeout(SECOND, yield_now()).await.is_ok());
                }
                assert!(now() - start < SECOND);
                assert!(ARMED.get() <= 2, "{}", ARMED.get());
                sleep_forever().await
            });
            assert!(outer.await.is_err());
            assert_eq!((now() - start).as_millis(), 2000);
        });
    }
}
