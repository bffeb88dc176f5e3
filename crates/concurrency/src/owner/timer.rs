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
