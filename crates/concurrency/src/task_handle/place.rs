use super::{JoinError, TaskStatus};
use crate::ambient;
use crate::caught::{discard, quietly};
use crate::cause::Cause;
use crate::memory::{Mutex, MutexGuard};
use crate::node::{Counted, NodeRef, Payload, Pulse, Roster, Waiting};
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

/// Where the result of a child is put for who has its handle: a part of a task's node, beside
/// the node of a child that borrows.
pub(crate) struct Place<T> {
    state: Mutex<PlaceState<T>>,
    pulse: Pulse,
}

struct PlaceState<T> {
    status: TaskStatus,
    value: Option<T>,
    cause: Option<Cause>,
    /// The handle is gone: a value would be for nobody.
    unwanted: bool,
    waiters: Roster<Waiter>,
}

struct Waiter {
    /// Until it is woken.
    waker: Option<Waker>,
    /// Where it waits: cancelled, it is frozen and not granted.
    context: Option<NodeRef>,
    granted: bool,
}

impl<T: Send + 'static> Payload for Place<T> {
    fn pulse(&self) -> Option<&Pulse> {
        Some(&self.pulse)
    }
}

impl<T: Send + 'static> Counted for Place<T> {
    fn counted(&self) -> &Pulse {
        &self.pulse
    }
}

impl<T> Place<T> {
    pub(crate) fn new(status: TaskStatus) -> Place<T> {
        Place {
            state: Mutex::new(PlaceState {
                status,
                value: None,
                cause: None,
                unwanted: false,
                waiters: Roster::new(),
            }),
            pulse: Pulse::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, PlaceState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the child is doing, which may be cancelled.
    pub(crate) fn status(&self, is_cancelled: impl FnOnce() -> bool) -> TaskStatus {
        let status = self.lock().status;
        match status {
            TaskStatus::Running if is_cancelled() => TaskStatus::Cancelling,
            status => status,
        }
    }

    /// Says how the task ended and wakes those who wait for it.
    pub(crate) fn fill(&self, status: TaskStatus, value: Option<T>, cause: Option<Cause>) {
        let mut state = self.lock();
        let surplus = match state.unwanted {
            true => value,
            false => std::mem::replace(&mut state.value, value),
        };
        conclude(state, status, cause);
        discard(surplus);
    }

    /// Keeps the value of a child that is about to end; comes back if it is for nobody.
    pub(crate) fn put(&self, value: T) -> Option<T> {
        let mut state = self.lock();
        if state.unwanted {
            return Some(value);
        }
        state.value.replace(value)
    }

    /// Says how the child ended, with the value that was put here, and wakes who waits.
    pub(crate) fn settle(&self, status: TaskStatus, cause: Option<Cause>) {
        let mut state = self.lock();
        let surplus = match status {
            TaskStatus::Done => None,
            _ => state.value.take(),
        };
        conclude(state, status, cause);
        discard(surplus);
    }

    /// The result, once: of a child that has ended.
    pub(crate) fn take(&self) -> Option<Result<T, JoinError>> {
        self.lock().take()
    }

    /// Nobody wants the value any more; it comes out if it is there.
    pub(crate) fn abandon(&self) -> Option<T> {
        let mut state = self.lock();
        state.unwanted = true;
        state.value.take()
    }

    /// Ready for one who waits once the child has ended; registers it otherwise.
    pub(crate) fn poll_ended(
        &self,
        what: Waiting,
        key: &mut Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        self.poll_then(what, key, cx, |_| Some(()))
    }

    /// The same with the result, which is given once.
    pub(crate) fn poll_result(
        &self,
        what: Waiting,
        key: &mut Option<usize>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<T, JoinError>> {
        self.poll_then(what, key, cx, PlaceState::take)
    }

    fn poll_then<R>(
        &self,
        what: Waiting,
        key: &mut Option<usize>,
        cx: &mut Context<'_>,
        then: impl FnOnce(&mut PlaceState<T>) -> Option<R>,
    ) -> Poll<R> {
        let frozen = ambient::is_cancelled();
        let mut entry = None;
        let mut state = self.lock();
        loop {
            let ended = state.status.has_ended();
            let waiter = key.and_then(|key| state.waiters.get_mut(key));
            let granted = waiter.as_ref().is_some_and(|waiter| waiter.granted);
            if ended && (granted || !frozen) {
                let former = key.take().and_then(|key| state.waiters.remove(key));
                let result = then(&mut state);
                drop(state);
                drop(former);
                return result.map_or(Poll::Pending, Poll::Ready);
            }
            if ended || frozen {
                break;
            }
            let Some(entry) = entry.take() else {
                // No waker is cloned under the lock.
                drop(state);
                entry = Some(Waiter {
                    waker: Some(cx.waker().clone()),
                    context: ambient::current(),
                    granted: false,
                });
                state = self.lock();
                continue;
            };
            let former = match waiter {
                Some(waiter) => Some(std::mem::replace(waiter, entry)),
                None => {
                    *key = Some(state.waiters.insert(entry));
                    None
                }
            };
            drop(state);
            drop(former);
            ambient::wait_for(what);
            return Poll::Pending;
        }
        drop(state);
        ambient::wait_for(what);
        Poll::Pending
    }

    /// One who waited does so no longer.
    pub(crate) fn forget(&self, key: &mut Option<usize>) {
        if let Some(key) = key.take() {
            let former = self.lock().waiters.remove(key);
            drop(former);
        }
    }
}

/// Says how the child ended and wakes who waits. Most have one who does, for whom nothing is
/// allocated.
fn conclude<T>(mut state: MutexGuard<'_, PlaceState<T>>, status: TaskStatus, cause: Option<Cause>) {
    state.status = status;
    state.cause = cause;
    let (mut first, mut rest) = (None, Vec::new());
    for waiter in state.waiters.iter_mut() {
        if waiter.context.as_ref().is_some_and(|c| c.is_cancelled()) {
            continue;
        }
        waiter.granted = true;
        match &first {
            None => first = waiter.waker.take(),
            Some(_) => rest.extend(waiter.waker.take()),
        }
    }
    drop(state);
    for waker in first.into_iter().chain(rest) {
        quietly(|| waker.wake());
    }
}

impl<T> PlaceState<T> {
    fn take(&mut self) -> Option<Result<T, JoinError>> {
        Some(match self.status {
            TaskStatus::Running | TaskStatus::Cancelling => return None,
            TaskStatus::Done => return self.value.take().map(Ok),
            TaskStatus::Failed => Err(JoinError::Failed),
            TaskStatus::Panicked => Err(JoinError::Panicked),
            TaskStatus::Cancelled => match self.cause.clone() {
                Some(cause) => Err(JoinError::Cancelled(cause)),
                None => Err(JoinError::Lost),
            },
            TaskStatus::Lost => Err(JoinError::Lost),
            TaskStatus::Refused => Err(JoinError::Refused),
        })
    }
}
