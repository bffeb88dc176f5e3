use super::{Owner, ambient_clock};
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

impl Owner {
    /// Last step of a poll that is not over and looks for no cut: arms the task's timer, if this
    /// is the outermost wrapper.
    #[inline]
    pub(crate) fn arm(&mut self) {
        self.node().end_poll();
        if self.host {
            self.arm_timer();
        }
    }

    fn arm_timer(&mut self) {
        loop {
            let soonest = self.node().soonest();
            let armed = self.timer.as_ref().map_or(Instant::NEVER, |t| t.armed);
            if soonest >= armed {
                return;
            }
            let node = self.node().clone();
            match &mut self.timer {
                Some(timer) => timer.reset(soonest),
                None => self.timer = Some(Box::new(Timer::new(node, soonest))),
            }
            self.ring();
        }
    }

    /// Polls the timer and, when its time has come, cancels what has expired.
    pub(super) fn ring(&mut self) {
        let Some(timer) = &mut self.timer else { return };
        if timer.poll().is_ready() {
            timer.armed = Instant::NEVER;
            let node = self.node();
            node.expire(ambient_clock(node));
        }
    }
}
