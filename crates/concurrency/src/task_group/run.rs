use super::error::GroupError;
use super::policy::Policy;
use super::state::{GroupState, Verdict};
use super::{TaskGroup, TaskGroupBuilder};
use crate::ambient;
use crate::caught::{PanicPayload, discard, guarded};
use crate::cause::{Cause, CauseKind};
use crate::invalid_value::InvalidValue;
use crate::node::{Kind, Node, NodeRef, Waiting};
use crate::owner::Owner;
use crate::panic::Panic;
use crate::root;
use crate::task_id::TaskId;
use crate::tree::Listed;
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::fmt;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

pin_project! {
    /// Future of [`task_group`](crate::task_group).
    ///
    /// Invariants:
    /// 1. It returns, or resumes a panic, only after the body was dropped and every child
    ///    counted out.
    /// 2. Once the group has no child and its body is gone it is closed, under the lock that
    ///    admits children: none comes after.
    /// 3. It never returns in the poll that ends its body: with no child to wait for it lets
    ///    others run once. One that never returns at all, for it was cut from outside, has ended then.
    #[must_use = "a task group runs nothing until it is awaited"]
    pub struct TaskGroupFuture<T, E, F, Fut>
    where
        E: Send,
        E: 'static,
    {
        start: Option<(TaskGroupBuilder, F)>,
        hosted: Option<Hosted<T, E>>,
        // Cancelled from outside and ended: pending until the outer scope drops us.
        frozen: bool,
        // Before `keeper`: the body is gone before the group is given to the root.
        #[pin]
        body: Option<Fut>,
        keeper: Keeper<E>,
    }

    impl<T, E, F, Fut> PinnedDrop for TaskGroupFuture<T, E, F, Fut>
    where
        E: Send,
        E: 'static,
    {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            this.keeper.abandon();
            if this.body.is_some() {
                this.keeper.owner.lose(|| this.body.set(None));
            }
        }
    }
}

/// How the body ended.
enum Hosted<T, E> {
    Done(T),
    Failed(E),
    /// The group's report has the panic, or one that came before.
    Panicked,
    Cut,
}

/// The group's place in the tree. Dropped before its children have ended, it gives them to the
/// root; also when the body's destructor panics.
struct Keeper<E: Send + 'static> {
    group: Option<Arc<Node<GroupState<E>>>>,
    owner: Owner,
    over: bool,
    /// Of a group that stands below nothing.
    listed: Option<Listed>,
}

impl<T, E, F, Fut> TaskGroupFuture<T, E, F, Fut>
where
    F: FnOnce(TaskGroup<E>) -> Fut,
    Fut: Future<Output = Result<T, E>> + Send,
    E: Send + 'static,
{
    pub(super) fn new(options: TaskGroupBuilder, f: F) -> Self {
        let limit = options.limit;
        TaskGroupFuture {
            start: Some((options, f)),
            hosted: None,
            frozen: false,
            body: None,
            keeper: Keeper {
                group: None,
                owner: Owner::new(limit),
                over: false,
                listed: None,
            },
        }
    }
}

impl<T, E, F, Fut> Future for TaskGroupFuture<T, E, F, Fut>
where
    F: FnOnce(TaskGroup<E>) -> Fut,
    Fut: Future<Output = Result<T, E>> + Send,
    E: Send + 'static,
{
    type Output = Result<T, GroupError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if *this.frozen {
            return Poll::Pending;
        }
        let keeper = this.keeper;
        let mut make = None;
        if let Some((options, f)) = this.start.take() {
            let group = keeper.open(options);
            make = Some((f, TaskGroup { node: group }));
        }
        keeper.owner.arrive(cx);
        let ends = this.hosted.is_none();
        if ends {
            let owner = &mut keeper.owner;
            let polled = guarded(|| {
                owner.inside(|| {
                    if let Some((f, group)) = make {
                        this.body.set(Some(f(group)));
                    }
                    let body = this.body.as_mut().as_pin_mut();
                    body.expect("a group was polled after it had returned")
                        .poll(cx)
                })
            });
            let hosted = match polled {
                Ok(Poll::Pending) if !owner.is_cut() => return Poll::Pending,
                Ok(Poll::Pending) => Hosted::Cut,
                Ok(Poll::Ready(Ok(value))) => Hosted::Done(value),
                Ok(Poll::Ready(Err(error))) => Hosted::Failed(error),
                Err(panic) => {
                    keeper.note_panic(panic);
                    Hosted::Panicked
                }
            };
            let owner = &mut keeper.owner;
            let dropped = guarded(|| match hosted {
                Hosted::Cut => owner.cut(|| this.body.set(None)),
                _ => owner.inside(|| this.body.set(None)),
            });
            let hosted = match dropped {
                Ok(()) => hosted,
                Err(panic) => {
                    keeper.note_panic(panic);
                    discard(hosted);
                    Hosted::Panicked
                }
            };
            keeper.end_body(&hosted);
            *this.hosted = Some(hosted);
        }
        match guarded(|| keeper.owner.poll_finalisers(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => {}
            Err(panic) => {
                keeper.note_panic(panic);
                discard(this.hosted.replace(Hosted::Panicked));
            }
        }
        if !keeper.owner.node().close_if_empty() {
            keeper.owner.node().wait_for(Waiting::Children);
            keeper.owner.arm();
            return Poll::Pending;
        }
        keeper.close_gate();
        if ends && !keeper.is_frozen(this.hosted.as_ref()) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let outer_cancelled = keeper.owner.outer_cancelled();
        let group = keeper.end();
        let (errors, panic) = group.payload.take_report();
        let hosted = this.hosted.take();
        if let Some(panic) = panic {
            // One after the other: of two destructors that panic at once nobody would survive.
            errors.into_iter().for_each(discard);
            discard(hosted);
            resume_unwind(panic.into_payload());
        }
        let missed = group.payload.missed_quorum();
        let failed = match group.payload.policy {
            Policy::Quorum(_) => missed.is_some(),
            _ => !errors.is_empty(),
        };
        // Without a cause of its own it was cut for an outer one, which a shield hides by now.
        let cut_outside = matches!(hosted, Some(Hosted::Cut)) && group.own_cause().is_none();
        let host = match hosted {
            _ if outer_cancelled || cut_outside => {
                *this.frozen = true;
                return Poll::Pending;
            }
            Some(Hosted::Done(value)) if !failed => return Poll::Ready(Ok(value)),
            Some(Hosted::Failed(error)) => Some(error),
            Some(Hosted::Done(_) | Hosted::Cut | Hosted::Panicked) | None => None,
        };
        if host.is_none() && errors.is_empty() {
            group.note_caught();
        }
        let spawned = group.payload.statistics().spawned;
        let invalid = missed.filter(|wanted| host.is_none() && spawned < *wanted);
        let error = GroupError::new("task group", host, errors, group.own_cause());
        let error = error.named(group.name().clone());
        Poll::Ready(Err(match invalid {
            Some(wanted) => error.with_invalid(InvalidValue::new(
                "the quorum of a task group",
                wanted,
                0,
                spawned,
            )),
            None => error,
        }))
    }
}

impl<E: Send + 'static> Keeper<E> {
    fn open(&mut self, options: TaskGroupBuilder) -> Arc<Node<GroupState<E>>> {
        let TaskGroupBuilder {
            name,
            policy,
            panics,
            max_children,
            limit: _,
            grace,
            location,
        } = options;
        let backend = ambient::backend();
        let place = ambient::current();
        // The task has the same root, and is nearer to it.
        let root = root::above(ambient::task().as_ref().or(place.as_ref()));
        let state = GroupState::new(root, policy, panics, max_children);
        let group = Arc::new(Node::new(
            Kind::Group,
            TaskId::OUTSIDE,
            name,
            location,
            state,
        ));
        group.keep_backend(backend);
        group.set_grace(grace);
        self.owner.set_node(group.clone());
        self.owner.holding();
        self.group = Some(group.clone());
        if place.is_none() {
            self.listed = Some(Listed::new(&(group.clone() as NodeRef)));
        }
        group
    }

    /// A panic of the body: the group goes on with it unless one came before.
    fn note_panic(&self, panic: PanicPayload) {
        if let Some(group) = &self.group {
            discard(group.payload.note_panic(Panic::new(panic)));
        }
    }

    /// What the end of the body means for the children.
    fn end_body<T>(&self, hosted: &Hosted<T, E>) {
        let Some(group) = &self.group else { return };
        let at = group.location;
        let verdict = group.payload.end_body();
        match hosted {
            Hosted::Panicked => self.owner.cancel(CauseKind::HostFailed, at),
            Hosted::Failed(_) if group.payload.policy != Policy::CollectAll => {
                self.owner.cancel(CauseKind::HostFailed, at);
            }
            _ => match verdict {
                Verdict::GoOn => {}
                Verdict::Enough => self.owner.cancel(CauseKind::Satisfied, at),
                Verdict::Fail => match group.payload.last_failed() {
                    None => self.owner.cancel(CauseKind::HostFailed, at),
                    Some(by) => {
                        let node = self.owner.node();
                        node.cancel(|| {
                            let when = crate::cause::clock_of(node);
                            let kind = CauseKind::SiblingFailed;
                            Cause::new(kind, Cow::Borrowed(""), at, by, when)
                        });
                    }
                },
            },
        }
    }

    /// Whether the body was cut for a cancel outside: the group is not to return.
    fn is_frozen<T>(&self, hosted: Option<&Hosted<T, E>>) -> bool {
        matches!(hosted, Some(Hosted::Cut))
            && (self.owner.outer_cancelled() || self.owner.node().own_cause().is_none())
    }

    fn close_gate(&self) {
        if let Some(group) = &self.group {
            group.payload.gate.close();
        }
    }

    fn end(&mut self) -> Arc<Node<GroupState<E>>> {
        self.over = true;
        self.listed = None;
        self.owner.leave();
        let group = self.group.take();
        group.expect("a group was polled after it had returned")
    }

    /// Foreign code drops the group: closes it and cancels what is in it.
    fn abandon(&mut self) {
        let Some(group) = self.group.as_ref().filter(|_| !self.over) else {
            return;
        };
        group.close();
        group.payload.gate.close();
        let node: NodeRef = group.clone();
        // With no grace: nobody is left to end it.
        node.cancel_within(Duration::ZERO, || {
            let at: &'static Location<'static> = node.location;
            Cause::here(CauseKind::Dropped, Cow::Borrowed(""), at, &node)
        });
    }
}

impl<E: Send + 'static> Drop for Keeper<E> {
    fn drop(&mut self) {
        let Some(group) = self.group.take().filter(|_| !self.over) else {
            return;
        };
        self.owner.give_away();
        let node: NodeRef = group.clone();
        node.adopt(&group.payload.root);
    }
}

impl<T, E: Send + 'static, F, Fut> fmt::Debug for TaskGroupFuture<T, E, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroupFuture").finish_non_exhaustive()
    }
}
