use super::error::{ChildError, ChildErrorKind};
use super::state::GroupState;
use crate::cause::{Cause, CauseKind};
use crate::node::Node;
use crate::owner::Owner;
use crate::panic::Panic;
use crate::task_handle::{Slot, TaskStatus};
use pin_project_lite::pin_project;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
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
            let dropped = guarded(|| this.owner.inside(|| this.body.set(None)));
            duty.report(match dropped {
                Ok(()) => Ended::Lost,
                Err(panic) => Ended::Panicked(panic),
            });
        }
    }
}

/// The child's own node and its group's.
pub(super) struct Duty<T: Send + 'static, E: Send + 'static> {
    pub(super) child: Arc<Node<Slot<T>>>,
    pub(super) group: Arc<Node<GroupState<E>>>,
}

enum Ended<T, E> {
    Done(T),
    Failed(E),
    Panicked(Box<dyn Any + Send>),
    Cancelled(Cause),
    Lost,
}

fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

impl<T: Send + 'static, E: Send + 'static, F: Future> Child<T, E, F> {
    pub(super) fn new(duty: Duty<T, E>, finish: fn(F::Output) -> Result<T, E>, body: F) -> Self {
        Child {
            owner: Owner::fixed(duty.child.clone()),
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
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(());
        };
        this.owner.arrive(cx);
        let polled = guarded(|| this.owner.inside(|| body.poll(cx)));
        let ended = match polled {
            Ok(Poll::Pending) => {
                if !this.owner.is_cut() {
                    return Poll::Pending;
                }
                None
            }
            Ok(Poll::Ready(output)) => Some(match (this.finish)(output) {
                Ok(value) => Ended::Done(value),
                Err(error) => Ended::Failed(error),
            }),
            Err(panic) => Some(Ended::Panicked(panic)),
        };
        let dropped = guarded(|| this.owner.inside(|| this.body.set(None)));
        let ended = match (dropped, ended) {
            (Err(panic), _) => Ended::Panicked(panic),
            (Ok(()), Some(ended)) => ended,
            (Ok(()), None) => match this.owner.node().visible_cause() {
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
    /// Tells the group of a failure, fills the slot, counts the child out.
    fn report(self, ended: Ended<T, E>) {
        let child: crate::node::NodeRef = self.child.clone();
        // Whatever panics in between (the payload of a panic that nobody wants) has no one to go
        // to, and a child that is not counted out would keep its group for ever.
        let _ = guarded(|| self.tell(ended));
        child.unlink_task();
    }

    fn tell(self, ended: Ended<T, E>) {
        let Duty { child, group } = self;
        match ended {
            Ended::Done(value) => {
                group.payload.count(TaskStatus::Done);
                child.payload.fill(TaskStatus::Done, Some(value), None);
            }
            Ended::Cancelled(cause) => {
                group.payload.count(TaskStatus::Cancelled);
                child.payload.fill(TaskStatus::Cancelled, None, Some(cause));
            }
            Ended::Failed(error) => {
                fail(
                    &child,
                    &group,
                    ChildErrorKind::Failed(error),
                    TaskStatus::Failed,
                );
            }
            Ended::Panicked(panic) => {
                let kind = ChildErrorKind::Panicked(Panic::new(panic));
                fail(&child, &group, kind, TaskStatus::Panicked);
            }
            Ended::Lost => fail(&child, &group, ChildErrorKind::Lost, TaskStatus::Lost),
        }
    }
}

fn fail<T: Send + 'static, E: Send + 'static>(
    child: &Arc<Node<Slot<T>>>,
    group: &Arc<Node<GroupState<E>>>,
    kind: ChildErrorKind<E>,
    status: TaskStatus,
) {
    group.payload.count(status);
    let surplus = group
        .payload
        .add_error(ChildError::new(child.id, child.name().clone(), kind));
    let node: crate::node::NodeRef = group.clone();
    // A waker that panics must not keep those who wait for the child from being told.
    let _ = guarded(|| {
        node.cancel(|| {
            let when = crate::cause::clock_of(&node);
            let kind = CauseKind::SiblingFailed;
            Cause::new(kind, child.name().clone(), child.location, child.id, when)
        })
    });
    child.payload.fill(status, None, None);
    drop(surplus);
}
