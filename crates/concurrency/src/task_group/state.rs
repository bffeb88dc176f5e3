use super::admission::Gate;
use super::error::{ChildError, ChildErrorKind};
use super::policy::{PanicPolicy, Policy};
use crate::cause::{Cause, CauseKind, clock_of};
use crate::memory::{AtomicBool, AtomicUsize, Mutex};
use crate::node::{NodeRef, Payload};
use crate::panic::Panic;
use crate::task_handle::TaskStatus;
use crate::task_id::TaskId;
use std::any::Any;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// How many children a group has had, and what became of them.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupStatistics {
    /// Children spawned so far.
    pub spawned: usize,
    /// Children that have not ended.
    pub live: usize,
    /// Children that returned well.
    pub done: usize,
    /// Children that returned an error.
    pub failed: usize,
    /// Children that panicked.
    pub panicked: usize,
    /// Children that were cancelled.
    pub cancelled: usize,
    /// Children that the runtime dropped.
    pub lost: usize,
    /// Futures that a spawn dropped, for the group was full or had ended. They were never spawned.
    pub refused: usize,
}

impl GroupStatistics {
    /// Children that ended otherwise than well.
    fn unsuccessful(&self) -> usize {
        self.failed + self.panicked + self.cancelled + self.lost
    }
}

/// A group's own part of its node.
///
/// Invariants:
/// 1. A child adds to the counts before it asks for a verdict, and the body says that it is over
///    before it asks: of a quorum's last child and the body the later one has seen both.
/// 2. Under `report` no error is dropped.
pub(crate) struct GroupState<E> {
    pub(super) root: NodeRef,
    pub(super) policy: Policy,
    pub(super) panics: PanicPolicy,
    pub(super) gate: Gate,
    body_over: AtomicBool,
    satisfied: AtomicBool,
    counts: Counts,
    report: Mutex<Report<E>>,
}

struct Report<E> {
    errors: Vec<ChildError<E>>,
    /// The first panic, of the body or, if panics resume, of a child.
    panic: Option<Panic>,
}

#[derive(Default)]
struct Counts {
    spawned: AtomicUsize,
    done: AtomicUsize,
    failed: AtomicUsize,
    panicked: AtomicUsize,
    cancelled: AtomicUsize,
    lost: AtomicUsize,
    refused: AtomicUsize,
}

/// What the end of one, child or body, means for the rest.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    GoOn,
    /// Everything is cancelled: the group cannot end well any more.
    Fail,
    /// The other children are cancelled: there are enough results.
    Enough,
}

impl<E: Send + 'static> Payload for GroupState<E> {
    fn take_panic(&self, group: &NodeRef, task: &NodeRef, panic: Box<dyn Any + Send>) {
        let kind = ChildErrorKind::Panicked(Panic::new(panic));
        let error = ChildError::new(task.id, task.name().clone(), kind);
        let (verdict, surplus) = self.add_error(error);
        if verdict == Verdict::Fail {
            group.cancel(|| {
                let (kind, when) = (CauseKind::SiblingFailed, clock_of(group));
                Cause::new(kind, task.name().clone(), task.location, task.id, when)
            });
        }
        drop(surplus);
    }

    fn note_room(&self, group: &NodeRef) {
        self.gate.pass_on(&**group);
    }
}

impl<E> GroupState<E> {
    pub(super) fn new(
        root: NodeRef,
        policy: Policy,
        panics: PanicPolicy,
        max_children: usize,
    ) -> Self {
        GroupState {
            root,
            policy,
            panics,
            gate: Gate::new(max_children),
            body_over: AtomicBool::new(false),
            satisfied: AtomicBool::new(false),
            counts: Counts::default(),
            report: Mutex::new(Report {
                errors: Vec::new(),
                panic: None,
            }),
        }
    }

    pub(super) fn count(&self, status: TaskStatus) {
        let counter = match status {
            TaskStatus::Running | TaskStatus::Cancelling => &self.counts.spawned,
            TaskStatus::Done => &self.counts.done,
            TaskStatus::Failed => &self.counts.failed,
            TaskStatus::Panicked => &self.counts.panicked,
            TaskStatus::Cancelled => &self.counts.cancelled,
            TaskStatus::Lost => &self.counts.lost,
            TaskStatus::Refused => &self.counts.refused,
        };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn statistics(&self) -> GroupStatistics {
        let read = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        // The ends first: a child that ends meanwhile counts as live, never as less than none.
        let mut statistics = GroupStatistics {
            done: read(&self.counts.done),
            failed: read(&self.counts.failed),
            panicked: read(&self.counts.panicked),
            cancelled: read(&self.counts.cancelled),
            lost: read(&self.counts.lost),
            refused: read(&self.counts.refused),
            ..GroupStatistics::default()
        };
        statistics.spawned = read(&self.counts.spawned);
        statistics.live = statistics.spawned - statistics.done - statistics.unsuccessful();
        statistics
    }

    /// Keeps an error, as the policy wants, and says what it means for the rest. What is not kept
    /// comes back, to be dropped where no lock is held.
    pub(super) fn add_error(&self, error: ChildError<E>) -> (Verdict, Option<ChildErrorKind<E>>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = match error.kind {
            ChildErrorKind::Panicked(panic) if self.panics == PanicPolicy::Resume => {
                drop(report);
                let surplus = self.note_panic(panic).map(ChildErrorKind::Panicked);
                return (Verdict::Fail, surplus);
            }
            kind => kind,
        };
        if self.policy == Policy::Isolate {
            return (Verdict::GoOn, Some(kind));
        }
        report.errors.push(ChildError { kind, ..error });
        drop(report);
        match self.policy {
            Policy::FailFast => (Verdict::Fail, None),
            _ => (self.quorum_verdict(), None),
        }
    }

    /// Keeps a panic to go on with. One that is not the first comes back, to be dropped where no
    /// lock is held.
    pub(super) fn note_panic(&self, panic: Panic) -> Option<Panic> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if report.panic.is_some() {
            return Some(panic);
        }
        report.panic = Some(panic);
        None
    }

    /// What the end of the body means.
    pub(super) fn end_body(&self) -> Verdict {
        self.body_over.store(true, Ordering::SeqCst);
        self.quorum_verdict()
    }

    pub(super) fn is_body_over(&self) -> bool {
        self.body_over.load(Ordering::SeqCst)
    }

    /// Whether the caller is the first to find that there are enough results.
    pub(super) fn note_satisfied(&self) -> bool {
        !self.satisfied.swap(true, Ordering::SeqCst)
    }

    /// Whether there are enough results, and more are not wanted.
    pub(super) fn is_satisfied(&self) -> bool {
        self.satisfied.load(Ordering::SeqCst)
    }

    pub(super) fn quorum_verdict(&self) -> Verdict {
        let Policy::Quorum(wanted) = self.policy else {
            return Verdict::GoOn;
        };
        let over = self.is_body_over();
        let statistics = self.statistics();
        if statistics.done >= wanted {
            // None wanted: enough once the body has ended.
            return match over || wanted > 0 {
                true => Verdict::Enough,
                false => Verdict::GoOn,
            };
        }
        match over && statistics.spawned - statistics.unsuccessful() < wanted {
            true => Verdict::Fail,
            false => Verdict::GoOn,
        }
    }

    /// How many a quorum wants, if there are not so many.
    pub(super) fn missed_quorum(&self) -> Option<usize> {
        match self.policy {
            Policy::Quorum(wanted) if self.statistics().done < wanted => Some(wanted),
            _ => None,
        }
    }

    /// The child whose error was kept last.
    pub(super) fn last_failed(&self) -> Option<TaskId> {
        let report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.errors.last().map(|error| error.id)
    }

    pub(super) fn take_report(&self) -> (Vec<ChildError<E>>, Option<Panic>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut report.errors), report.panic.take())
    }
}
