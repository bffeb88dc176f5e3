//! What a node is doing, for the task tree. Nothing here decides anything.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// What the code of a node waits for, as far as the futures of this crate say so.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Waiting {
    Nothing,
    Acquire,
    AllBlocked,
    Barrier,
    Cancelled,
    Checkpoint,
    Children,
    Condition,
    Event,
    Join,
    Limiter,
    Lock,
    Once,
    PoolAcquire,
    PoolClose,
    QueueJoin,
    QueueRecv,
    QueueSend,
    Sleep,
    SleepForever,
    Start,
    Thread,
    TaskEnd,
    Yield,
}

/// Every kind in the order of its number, with the name it has in reports.
const NAMES: [(Waiting, &str); 24] = [
    (Waiting::Nothing, ""),
    (Waiting::Acquire, "Semaphore::acquire"),
    (Waiting::AllBlocked, "wait_all_blocked"),
    (Waiting::Barrier, "Barrier::wait"),
    (Waiting::Cancelled, "cancelled"),
    (Waiting::Checkpoint, "checkpoint"),
    (Waiting::Children, "children"),
    (Waiting::Condition, "Condition::wait"),
    (Waiting::Event, "Event::wait"),
    (Waiting::Join, "TaskHandle::join"),
    (Waiting::Limiter, "CapacityLimiter::acquire"),
    (Waiting::Lock, "Lock::lock"),
    (Waiting::Once, "Once::wait"),
    (Waiting::PoolAcquire, "Pool::acquire"),
    (Waiting::PoolClose, "Pool::close"),
    (Waiting::QueueJoin, "Queue::join"),
    (Waiting::QueueRecv, "Queue::recv"),
    (Waiting::QueueSend, "Queue::send"),
    (Waiting::Sleep, "sleep"),
    (Waiting::SleepForever, "sleep_forever"),
    (Waiting::Start, "TaskGroup::start"),
    (Waiting::Thread, "run_in_thread"),
    (Waiting::TaskEnd, "TaskHandle::wait"),
    (Waiting::Yield, "yield_now"),
];

/// The counts of one node.
///
/// One thread polls a node at a time, and the runtime orders its polls, so a count is raised by a
/// load and a store. A reader may see the numbers of a poll that has just begun or ended. Who sees that
/// it waits, or runs no more, sees what it did before.
pub(super) struct Activity {
    polls: AtomicU64,
    /// Code of the node runs.
    running: AtomicBool,
    waiting: AtomicU8,
}

impl Activity {
    pub(super) const fn new() -> Activity {
        Activity {
            polls: AtomicU64::new(0),
            running: AtomicBool::new(false),
            waiting: AtomicU8::new(Waiting::Nothing as u8),
        }
    }

    #[inline]
    pub(super) fn begin_poll(&self) {
        self.running.store(true, Ordering::Relaxed);
        let polls = self.polls.load(Ordering::Relaxed);
        self.polls.store(polls.wrapping_add(1), Ordering::Relaxed);
        self.waiting
            .store(Waiting::Nothing as u8, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn end_poll(&self) {
        self.running.store(false, Ordering::Release);
    }

    pub(super) fn wait_for(&self, what: Waiting) {
        self.waiting.store(what as u8, Ordering::Release);
    }

    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    pub(super) fn waiting_on(&self) -> Option<&'static str> {
        let code = usize::from(self.waiting.load(Ordering::Acquire));
        let (_, name) = NAMES.get(code)?;
        (!name.is_empty()).then_some(*name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Activity, NAMES, Waiting};

    #[test]
    fn every_wait_has_its_own_name() {
        let activity = Activity::new();
        assert_eq!(activity.waiting_on(), None);
        for (code, (waiting, name)) in NAMES.iter().enumerate() {
            assert_eq!(*waiting as usize, code);
            activity.wait_for(*waiting);
            assert_eq!(activity.waiting_on().unwrap_or(""), *name);
        }
        activity.wait_for(Waiting::Sleep);
        activity.begin_poll();
        assert_eq!(activity.waiting_on(), None);
    }

    #[test]
    fn polls_are_counted_while_it_runs_and_after() {
        let activity = Activity::new();
        for count in 1..4 {
            activity.begin_poll();
            assert!(activity.is_running());
            assert_eq!(activity.polls(), count);
            activity.end_poll();
            assert!(!activity.is_running());
            assert_eq!(activity.polls(), count);
        }
    }
}
