use super::error::{ChildError, ChildErrorKind};
use crate::node::{NodeRef, Payload};
use crate::panic::Panic;
use crate::task_handle::TaskStatus;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a group does with a panic of a child. In both cases the siblings are cancelled and have
/// ended before anything is reported.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// The first one goes on in the body's task.
    #[default]
    Resume,
    /// It becomes a [`ChildError`].
    Collect,
}

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
}

/// A group's own part of its node.
pub(crate) struct GroupState<E> {
    pub(super) root: NodeRef,
    pub(super) panics: PanicPolicy,
    pub(super) max_children: usize,
    counts: Counts,
    report: Mutex<Report<E>>,
}

struct Report<E> {
    errors: Vec<ChildError<E>>,
    /// The first panic, if panics resume.
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
}

impl<E: Send + 'static> Payload for GroupState<E> {}

impl<E> GroupState<E> {
    pub(super) fn new(root: NodeRef, panics: PanicPolicy, max_children: usize) -> Self {
        GroupState {
            root,
            panics,
            max_children,
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
            TaskStatus::Lost | TaskStatus::Refused => &self.counts.lost,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn statistics(&self, live: usize) -> GroupStatistics {
        let read = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        GroupStatistics {
            spawned: read(&self.counts.spawned),
            live,
            done: read(&self.counts.done),
            failed: read(&self.counts.failed),
            panicked: read(&self.counts.panicked),
            cancelled: read(&self.counts.cancelled),
            lost: read(&self.counts.lost),
        }
    }

    /// Keeps an error. A panic after the first of a group that resumes it comes back, to be
    /// dropped where no lock is held.
    pub(super) fn add_error(&self, error: ChildError<E>) -> Option<Panic> {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        match error.kind {
            ChildErrorKind::Panicked(panic) if self.panics == PanicPolicy::Resume => {
                if report.panic.is_some() {
                    return Some(panic);
                }
                report.panic = Some(panic);
            }
            kind => report.errors.push(ChildError { kind, ..error }),
        }
        None
    }

    pub(super) fn take_report(&self) -> (Vec<ChildError<E>>, Option<Panic>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut report.errors), report.panic.take())
    }
}
