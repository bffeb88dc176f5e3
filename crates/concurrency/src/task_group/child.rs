use super::error::{ChildError, ChildErrorKind};
use super::start::{EndedEarly, Reported, Reports};
use super::state::{GroupState, Verdict};
use crate::caught::{PanicPayload, discard, guarded, quietly};
use crate::cause::{Cause, CauseKind};
use crate::node::{CountedWaker, Node, NodeRef};
use crate::owner::Owner;
use crate::panic::Panic;
use crate::task_handle::{Place, TaskStatus};
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

pin_project! {
    /// What a backend runs for a child: the body, and the duty to report how it ended.
    ///
    /// Invariants:
    /// 1. The body is dropped before the child is counted out, and the child is counted out
    ///    exactly once, also when the runtime drops this future.
    /// 2. Neither a poll nor the drop lets a panic out.
    pub(super) struct Child<T, E, F: Future>
    where
        T: Send,
        T: 'static,
        E: Send,
        E: 'static,
    {
        owner: Owner,
        waker: CountedWaker,
        duty: Option<Duty<T, E>>,
        finish: fn(F::Output) -> Result<T, E>,
        #[pin]
        body: Option<F>,
    }

    impl<T, E, F: Future> PinnedDrop for Child<T, E, F>
    where
        T: Send,
        T: 'static,
        E: Send,
        E: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let Some(duty) = this.duty.take() else { return };
            let dropped = guarded(|| this.owner.lose(|| this.body.set(None)));
            duty.report(match dropped {
                Ok(()) => Ended::Lost,
                Err(panic) => Ended::Panicked(panic),
            });
        }
    }
}

/// The child's own node and its group's.
pub(super) struct Duty<T: Send + 'static, E: Send + 'static> {
    pub(super) child: Arc<Node<Place<T>>>,
    pub(super) group: Arc<Node<GroupState<E>>>,
    /// Who is told of the end before the group: one who waits for the child to start, or what keeps
    /// its failures.
    pub(super) start: Option<Arc<dyn Reports<E>>>,
}

enum Ended<T, E> {
    Done(T),
    Failed(E),
    Panicked(PanicPayload),
    Cancelled(Cause),
    Lost,
}

impl<E> EndedEarly<E> {
    /// The same of a child that has started after all, with the value it returned.
    fn after_start<T>(self, value: Option<T>) -> Ended<T, E> {
        match (self, value) {
            (EndedEarly::Done, Some(value)) => Ended::Done(value),
            (EndedEarly::Done | EndedEarly::Lost, _) => Ended::Lost,
            (EndedEarly::Failed(error), _) => Ended::Failed(error),
            (EndedEarly::Panicked(panic), _) => Ended::Panicked(panic.into_payload()),
            (EndedEarly::Cancelled(cause), _) => Ended::Cancelled(cause),
        }
    }
}

/// Polls the body and drops it once it is ready, in one visit of its place in the tree.
fn poll_out<F: Future>(
    mut body: Pin<&mut Option<F>>,
    cx: &mut Context<'_>,
) -> Poll<(F::Output, Result<(), PanicPayload>)> {
    let future = body.as_mut().as_pin_mut();
    let polled = future.expect("the body is there").poll(cx);
    polled.map(|output| (output, guarded(|| body.set(None))))
}

impl<T: Send + 'static, E: Send + 'static, F: Future> Child<T, E, F> {
    pub(super) fn new(duty: Duty<T, E>, finish: fn(F::Output) -> Result<T, E>, body: F) -> Self {
        Child {
            owner: Owner::fixed(duty.child.clone()),
            waker: CountedWaker::new(&duty.child),
            duty: Some(duty),
            finish,
            body: Some(body),
        }
    }
}

impl<T: Send + 'static, E: Send + 'static, F: Future> Future for Child<T, E, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(duty) = this.duty.as_ref() else {
            return Poll::Ready(());
        };
        let cx = &mut this.waker.context(&duty.child, cx);
        this.owner.arrive_task();
        let mut ended = None;
        if this.body.is_some() {
            match guarded(|| this.owner.inside(|| poll_out(this.body.as_mut(), cx))) {
                Ok(Poll::Pending) if !this.owner.is_cut() => return Poll::Pending,
                Ok(Poll::Pending) => this.owner.cut(|| this.body.set(None)),
                Ok(Poll::Ready((output, Err(panic)))) => {
                    discard(output);
                    ended = Some(Ended::Panicked(panic));
                }
                Ok(Poll::Ready((output, Ok(())))) => {
                    ended = Some(match (this.finish)(output) {
                        Ok(value) => Ended::Done(value),
                        Err(error) => Ended::Failed(error),
                    });
                }
                Err(panic) => {
                    ended = Some(Ended::Panicked(panic));
                    let dropped = guarded(|| this.owner.inside(|| this.body.set(None)));
                    if let Err(panic) = dropped {
                        discard(ended.replace(Ended::Panicked(panic)));
                    }
                }
            }
        }
        let ended = match (guarded(|| this.owner.poll_finalisers(cx)), ended) {
            (Ok(Poll::Pending), _) => return Poll::Pending,
            (Err(panic), ended) => {
                discard(ended);
                Ended::Panicked(panic)
            }
            (Ok(Poll::Ready(())), Some(ended)) => ended,
            (Ok(Poll::Ready(())), None) => match this.owner.node().visible_cause() {
                Some(cause) => Ended::Cancelled(cause),
                None => Ended::Lost,
            },
        };
        this.owner.leave();
        if let Some(duty) = this.duty.take() {
            duty.report(ended);
        }
        Poll::Ready(())
    }
}

impl<T: Send + 'static, E: Send + 'static> Duty<T, E> {
    /// Tells the group of a failure, fills the place, counts the child out.
    fn report(self, ended: Ended<T, E>) {
        // Whatever panics in between (the payload of a panic that nobody wants) has no one to go
        // to, and a child that is not counted out would keep its group for ever.
        quietly(|| self.tell(ended));
        let Duty {
            child,
            group,
            start,
        } = self;
        discard(start);
        let child: NodeRef = child;
        child.unlink_task();
        group.payload.gate.pass_on(&*group);
    }

    fn tell(&self, ended: Ended<T, E>) {
        let Some(ended) = self.tell_start(ended) else {
            return;
        };
        match ended {
            Ended::Done(value) => {
                self.group.payload.count(TaskStatus::Done);
                self.follow(self.group.payload.quorum_verdict());
                let place = &self.child.payload;
                place.fill(TaskStatus::Done, Some(value), None);
            }
            Ended::Cancelled(cause) => {
                self.group.payload.count(TaskStatus::Cancelled);
                self.follow(self.group.payload.quorum_verdict());
                let place = &self.child.payload;
                place.fill(TaskStatus::Cancelled, None, Some(cause));
            }
            Ended::Failed(error) => self.fail(ChildErrorKind::Failed(error), TaskStatus::Failed),
            Ended::Panicked(panic) => {
                let kind = ChildErrorKind::Panicked(Panic::new(panic));
                self.fail(kind, TaskStatus::Panicked);
            }
            Ended::Lost => self.fail(ChildErrorKind::Lost, TaskStatus::Lost),
        }
    }

    /// Hands the end to the one who is told of it first. What is the group's comes back, and may be
    /// another end then.
    fn tell_start(&self, ended: Ended<T, E>) -> Option<Ended<T, E>> {
        let Some(start) = &self.start else {
            return Some(ended);
        };
        let mut value = None;
        let (status, early) = match ended {
            Ended::Done(done) => {
                value = Some(done);
                (TaskStatus::Done, EndedEarly::Done)
            }
            Ended::Failed(error) => (TaskStatus::Failed, EndedEarly::Failed(error)),
            Ended::Panicked(panic) => {
                let panic = Panic::new(panic);
                (TaskStatus::Panicked, EndedEarly::Panicked(panic))
            }
            Ended::Cancelled(cause) => (TaskStatus::Cancelled, EndedEarly::Cancelled(cause)),
            Ended::Lost => (TaskStatus::Lost, EndedEarly::Lost),
        };
        match start.report(early) {
            Reported::Started(early) => return Some(early.after_start(value)),
            // A panic is not to vanish with those who waited.
            Reported::Unwanted(EndedEarly::Panicked(panic)) => {
                return Some(Ended::Panicked(panic.into_payload()));
            }
            Reported::Taken | Reported::Unwanted(_) => {}
        }
        self.group.payload.count(status);
        self.child.payload.fill(status, None, None);
        discard(value);
        None
    }

    fn fail(&self, kind: ChildErrorKind<E>, status: TaskStatus) {
        let (child, payload) = (&self.child, &self.group.payload);
        payload.count(status);
        let error = ChildError::new(child.id, child.name().clone(), kind);
        let (verdict, surplus) = payload.add_error(error);
        self.follow(verdict);
        child.payload.fill(status, None, None);
        drop(surplus);
    }

    /// Cancels whom this end concerns.
    fn follow(&self, verdict: Verdict) {
        // A waker that panics must not keep those who wait for the child from being told.
        quietly(|| match verdict {
            Verdict::GoOn => {}
            Verdict::Fail => {
                let group: NodeRef = self.group.clone();
                group.cancel(|| self.cause(CauseKind::SiblingFailed));
            }
            Verdict::Enough => self.satisfy(),
        });
    }

    fn satisfy(&self) {
        let group: NodeRef = self.group.clone();
        let cause = || self.cause(CauseKind::Satisfied);
        let first = self.group.payload.note_satisfied();
        if self.group.payload.is_body_over() {
            group.cancel(cause);
            return;
        }
        if !first {
            return;
        }
        let cause = cause();
        for task in group.tasks() {
            if task.id != self.child.id && !task.payload.is_critical() {
                task.cancel_within(group.grace(), || cause.clone());
            }
        }
    }

    fn cause(&self, kind: CauseKind) -> Cause {
        let child = &self.child;
        let group: NodeRef = self.group.clone();
        let when = crate::cause::clock_of(&group);
        Cause::new(kind, child.name().clone(), child.location, child.id, when)
    }
}
