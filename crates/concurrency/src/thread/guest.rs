//! A task for which a thread parks.

use super::call::{Call, Stay};
use crate::caught::{PanicPayload, discard, guarded};
use crate::cause::Cause;
use crate::node::{Counted, CountedWaker, Node, NodeRef, Payload, Pulse};
use crate::owner::Owner;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll};

/// How it ended.
pub(super) enum Ended<T> {
    Done(T),
    Panicked(PanicPayload),
    Cancelled(Cause),
}

pin_project! {
    /// What a backend runs for a thread.
    ///
    /// Invariants:
    /// 1. The body is dropped before the task is counted out, and the task is counted out before
    ///    the thread goes on; once each, also when the runtime drops this.
    /// 2. Neither a poll nor the drop lets a panic out.
    pub(super) struct Guest<F: Future> {
        owner: Owner,
        waker: CountedWaker,
        // The same node as the owner's.
        node: Arc<Node<Visitor>>,
        duty: Option<Duty<F::Output>>,
        cause: Option<Cause>,
        ended: Option<Ended<F::Output>>,
        #[pin]
        body: Option<F>,
    }

    impl<F: Future> PinnedDrop for Guest<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let Some(duty) = this.duty.take() else { return };
            let dropped = guarded(|| this.owner.lose(|| this.body.set(None)));
            duty.report(match dropped {
                Ok(()) => None,
                Err(panic) => Some(Ended::Panicked(panic)),
            });
        }
    }
}

/// Such a task's own part of its node.
#[derive(Default)]
pub(super) struct Visitor(Pulse);

impl Counted for Visitor {
    fn counted(&self) -> &Pulse {
        &self.0
    }
}

impl Payload for Visitor {
    fn pulse(&self) -> Option<&Pulse> {
        Some(&self.0)
    }
}

struct Duty<T> {
    call: Arc<Call>,
    node: NodeRef,
    stay: Stay,
    seat: Arc<Seat<T>>,
}

impl<T> Duty<T> {
    /// Counts the task out and lets the thread go on. Without an end the runtime dropped it.
    fn report(self, ended: Option<Ended<T>>) {
        let Duty {
            call,
            node,
            stay,
            seat,
        } = self;
        let ended = ended.unwrap_or_else(|| {
            Ended::Cancelled(node.visible_cause().unwrap_or_else(|| call.dropped()))
        });
        call.dismiss(&node, stay);
        seat.fill(ended);
    }
}

impl<F: Future> Guest<F> {
    pub(super) fn new(
        call: Arc<Call>,
        node: Arc<Node<Visitor>>,
        stay: Stay,
        seat: Arc<Seat<F::Output>>,
        body: F,
    ) -> Guest<F> {
        Guest {
            owner: Owner::fixed(node.clone()),
            waker: CountedWaker::new(&node),
            duty: Some(Duty {
                call,
                node: node.clone(),
                stay,
                seat,
            }),
            node,
            cause: None,
            ended: None,
            body: Some(body),
        }
    }
}

impl<F: Future> Future for Guest<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if this.duty.is_none() {
            return Poll::Ready(());
        }
        let cx = &mut this.waker.context(this.node, cx);
        this.owner.arrive_task();
        if let Some(body) = this.body.as_mut().as_pin_mut() {
            match guarded(|| this.owner.inside(|| body.poll(cx))) {
                Ok(Poll::Pending) if !this.owner.is_cut() => return Poll::Pending,
                Ok(Poll::Pending) => {
                    *this.cause = this.owner.node().visible_cause();
                    this.owner.cut(|| this.body.set(None));
                }
                Ok(Poll::Ready(value)) => *this.ended = Some(Ended::Done(value)),
                Err(panic) => *this.ended = Some(Ended::Panicked(panic)),
            }
            if let Err(panic) = guarded(|| this.owner.inside(|| this.body.set(None))) {
                discard(this.ended.replace(Ended::Panicked(panic)));
            }
        }
        match guarded(|| this.owner.poll_finalisers(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {}
            Err(panic) => discard(this.ended.replace(Ended::Panicked(panic))),
        }
        this.owner.leave();
        if let Some(duty) = this.duty.take() {
            let cut = this.cause.take().map(Ended::Cancelled);
            duty.report(this.ended.take().or(cut));
        }
        Poll::Ready(())
    }
}

/// Where a thread waits for its task.
pub(super) struct Seat<T> {
    ended: Mutex<Option<Ended<T>>>,
    filled: Condvar,
}

impl<T> Seat<T> {
    pub(super) fn new() -> Seat<T> {
        Seat {
            ended: Mutex::new(None),
            filled: Condvar::new(),
        }
    }

    fn fill(&self, ended: Ended<T>) {
        let mut place = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(ended);
        drop(place);
        self.filled.notify_one();
    }

    /// Parks the thread until the task has ended.
    pub(super) fn wait(&self) -> Ended<T> {
        let mut place = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(ended) = place.take() {
                return ended;
            }
            let filled = self.filled.wait(place);
            place = filled.unwrap_or_else(PoisonError::into_inner);
        }
    }
}
