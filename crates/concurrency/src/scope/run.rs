use super::Scope;
use super::yard::{Goal, Newcomer, Settle, Work, Yard};
use crate::ambient;
use crate::branches::{Branches, Ended, Link, Seat, Ticket};
use crate::caught::{PanicPayload, guarded, keep_first};
use crate::cause::{Cause, CauseKind, clock_of};
use crate::node::NodeRef;
use crate::owner::{Limit, Owner, dropped_or, new_scope};
use crate::task_group::{ChildError, ChildErrorKind, GroupError};
use crate::task_handle::TaskStatus;
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::fmt;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// The key of the body, which is kept apart from the children.
const BODY: usize = usize::MAX;

/// Links kept for other children.
const SPARE: usize = 64;

pin_project! {
    /// Future of [`scope`](crate::scope).
    ///
    /// Invariants:
    /// 1. It returns, or resumes a panic, only after the body and every child were dropped and the
    ///    way in was closed.
    /// 2. Its drop closes the way in, then drops the body, the children and those who wait to come
    ///    in, all of them also if the destructor of one panics.
    #[must_use = "a scope runs nothing until it is awaited"]
    pub struct ScopeFuture<'env, T, E, F, Fut> {
        start: Option<F>,
        location: &'static Location<'static>,
        // Cancelled from outside, all dropped: pending until the outer scope drops us.
        frozen: bool,
        owner: Owner,
        #[pin]
        body: Option<Fut>,
        crew: Option<Crew<'env, T, E>>,
    }

    impl<'env, T, E, F, Fut> PinnedDrop for ScopeFuture<'env, T, E, F, Fut> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some(mut crew) = this.crew.take() {
                this.owner.lose(|| crew.lose(this.body.as_mut()));
            }
        }
    }
}

/// Apart from the owner, which lends its node to the ambient context in a poll.
struct Crew<'env, T, E> {
    yard: Arc<Yard<'env, E>>,
    branches: Branches<Work<'env, E>, Goal<'env>>,
    /// Links of children that have ended: so many at most.
    ended: Vec<Arc<Link>>,
    newcomers: Vec<Newcomer<'env, E>>,
    host: Option<Host>,
    hosted: Option<Hosted<T, E>>,
    errors: Vec<ChildError<E>>,
    panic: Option<PanicPayload>,
    /// A cancel of the scope, or from outside, dropped the body or a child.
    cut: bool,
}

/// The body's place beside the children.
struct Host {
    seat: Seat,
    ticket: Ticket,
}

/// How the body ended.
enum Hosted<T, E> {
    Done(T),
    Failed(E),
    Panicked,
    Cut,
}

impl<T, E, F, Fut> ScopeFuture<'_, T, E, F, Fut> {
    pub(super) fn new(f: F, location: &'static Location<'static>) -> Self {
        ScopeFuture {
            start: Some(f),
            location,
            frozen: false,
            owner: Owner::new(Limit::Never),
            body: None,
            crew: None,
        }
    }
}

impl<'env, T, E, F, Fut> Future for ScopeFuture<'env, T, E, F, Fut>
where
    F: FnOnce(Scope<'env, E>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    type Output = Result<T, GroupError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if *this.frozen {
            return Poll::Pending;
        }
        let owner = this.owner;
        if this.start.is_some() {
            owner.set_node(new_scope(Cow::Borrowed(""), this.location));
            *this.crew = Some(Crew::new(owner.node()));
        }
        let crew = this.crew.as_mut();
        let crew = crew.expect("a scope was polled after it had returned");
        owner.arrive(cx);
        owner.inside(|| {
            if let Some(f) = this.start.take() {
                crew.open(f, this.body.as_mut());
            }
            crew.run(this.body.as_mut());
        });
        if !crew.is_over() {
            crew.branches.end(cx);
            if !crew.yard.is_empty() {
                // They came while nobody was there to be woken.
                cx.waker().wake_by_ref();
            }
            owner.wait_cut();
            return Poll::Pending;
        }
        let outer_cancelled = owner.outer_cancelled();
        owner.leave();
        let over = this.crew.take();
        let Some(crew) = over else {
            unreachable!("it was there before");
        };
        match crew.result(outer_cancelled) {
            Some(result) => Poll::Ready(result),
            None => {
                *this.frozen = true;
                Poll::Pending
            }
        }
    }
}

impl<'env, T, E> Crew<'env, T, E> {
    fn new(node: &NodeRef) -> Self {
        let branches = Branches::new(node.clone());
        Crew {
            yard: Arc::new(Yard::new(branches.bell())),
            branches,
            ended: Vec::new(),
            newcomers: Vec::new(),
            host: None,
            hosted: None,
            errors: Vec::new(),
            panic: None,
            cut: false,
        }
    }

    /// Makes the body.
    fn open<F, Fut>(&mut self, f: F, mut body: Pin<&mut Option<Fut>>)
    where
        F: FnOnce(Scope<'env, E>) -> Fut,
    {
        let yard = self.yard.clone();
        let (name, at) = (Cow::Borrowed("body"), yard.node().location);
        let link = self.branches.bell().link(name, at);
        let mut seat = Seat::new(Arc::new(link), None);
        let ticket = self.branches.turn_of(&seat, BODY);
        let made = guarded(|| seat.inside(|| body.set(Some(f(Scope { yard })))));
        match made {
            Ok(()) => self.host = Some(Host { seat, ticket }),
            Err(panic) => self.end_body(Ended::Panicked(panic)),
        }
    }

    /// Polls those that were woken.
    fn run<Fut>(&mut self, mut body: Pin<&mut Option<Fut>>)
    where
        Fut: Future<Output = Result<T, E>>,
    {
        self.branches.begin();
        self.admit();
        loop {
            if self.branches.sweep(self.yard.node().is_cancelled())
                && let Some(host) = &self.host
            {
                self.branches.call(&host.seat);
            }
            let Some(ticket) = self.branches.next() else {
                match !self.branches.is_overtime() && self.admit() {
                    true => continue,
                    false => return,
                }
            };
            if let Some(host) = self.host.as_mut().filter(|host| host.ticket == ticket) {
                let seat = &mut host.seat;
                if let Some(ended) = self.branches.poll_at(ticket, seat, body.as_mut()) {
                    self.host = None;
                    self.end_body(ended);
                }
            } else if let Some((link, goal, ended)) = self.branches.poll(ticket) {
                self.end_child(&link, &*goal, ended);
                if self.ended.len() < SPARE {
                    self.ended.push(link);
                }
            }
        }
    }

    /// Takes in those that have come; whether there were any.
    fn admit(&mut self) -> bool {
        let (newcomers, ended) = (&mut self.newcomers, &mut self.ended);
        self.yard.take(self.branches.len(), newcomers, ended);
        if self.newcomers.is_empty() {
            return false;
        }
        for newcomer in self.newcomers.drain(..) {
            let (seat, work, goal) = newcomer.seated();
            self.branches.add(seat, work, goal);
        }
        true
    }

    fn end_body(&mut self, ended: Ended<Result<T, E>>) {
        let hosted = match ended {
            Ended::Done(Ok(value)) => Hosted::Done(value),
            Ended::Done(Err(error)) => Hosted::Failed(error),
            Ended::Panicked(panic) => {
                keep_first(&mut self.panic, panic);
                Hosted::Panicked
            }
            Ended::Cancelled(_) => {
                self.cut = true;
                Hosted::Cut
            }
        };
        if matches!(hosted, Hosted::Failed(_) | Hosted::Panicked) {
            let (name, at) = (Cow::Borrowed(""), self.yard.node().location);
            self.cancel(CauseKind::HostFailed, name, at);
        }
        self.hosted = Some(hosted);
    }

    fn end_child(&mut self, link: &Link, goal: &dyn Settle, ended: Ended<Result<(), E>>) {
        let (name, at) = (link.name(), link.location());
        let mut cause = None;
        let status = match ended {
            Ended::Done(Ok(())) => TaskStatus::Done,
            Ended::Done(Err(error)) => {
                let kind = ChildErrorKind::Failed(error);
                let error = ChildError::new(ambient::task_id(), name.clone(), kind);
                self.errors.push(error);
                TaskStatus::Failed
            }
            Ended::Panicked(panic) => {
                keep_first(&mut self.panic, panic);
                TaskStatus::Panicked
            }
            Ended::Cancelled(found) => {
                self.cut |= self.yard.node().is_cancelled();
                cause = Some(found);
                TaskStatus::Cancelled
            }
        };
        if matches!(status, TaskStatus::Failed | TaskStatus::Panicked) {
            self.cancel(CauseKind::SiblingFailed, name.clone(), at);
        }
        goal.settle(status, cause);
    }

    fn cancel(&mut self, kind: CauseKind, name: Cow<'static, str>, at: &'static Location<'static>) {
        let node = self.yard.node();
        let cause = || Cause::new(kind, name, at, ambient::task_id(), clock_of(node));
        if let Err(panic) = guarded(|| node.cancel(cause)) {
            keep_first(&mut self.panic, panic);
        }
    }

    fn is_over(&self) -> bool {
        self.hosted.is_some() && self.branches.len() == 0 && self.yard.close_if_empty()
    }

    /// What the scope returns; none if code outside was cancelled and is to return instead.
    ///
    /// # Panics
    ///
    /// Resumes the first panic there was.
    fn result(self, outer_cancelled: bool) -> Option<Result<T, GroupError<E>>> {
        if let Some(panic) = self.panic {
            drop((self.hosted, self.errors));
            resume_unwind(panic);
        }
        let node = self.yard.node();
        if self.cut && (outer_cancelled || node.own_cause().is_none()) {
            return None;
        }
        let host = match self.hosted {
            Some(Hosted::Done(value)) if self.errors.is_empty() => return Some(Ok(value)),
            Some(Hosted::Failed(error)) => Some(error),
            Some(Hosted::Done(_) | Hosted::Panicked | Hosted::Cut) | None => None,
        };
        if host.is_none() && self.errors.is_empty() {
            node.note_caught();
        }
        let error = GroupError::new("scope", host, self.errors, node.own_cause());
        Some(Err(error.named(node.name().clone())))
    }

    /// Drops everything because foreign code drops the scope.
    ///
    /// # Panics
    ///
    /// Resumes the first panic of a destructor, when all are gone.
    fn lose<Fut>(&mut self, body: Pin<&mut Option<Fut>>) {
        let node = self.yard.node();
        let cause = dropped_or(node.visible_cause(), node);
        let waiting = self.yard.close();
        let mut first = None;
        if let Some(mut host) = self.host.take()
            && let Err(panic) = host.seat.lose(body)
        {
            keep_first(&mut first, panic);
        }
        let told = |goal: Goal<'env>| {
            goal.settle(TaskStatus::Cancelled, Some(cause.clone()));
        };
        if let Some(panic) = self.branches.lose(told) {
            keep_first(&mut first, panic);
        }
        for newcomer in waiting {
            if let Err(panic) = guarded(|| drop(newcomer.work)) {
                keep_first(&mut first, panic);
            }
            told(newcomer.goal);
        }
        if let Some(panic) = first
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

impl<T, E, F, Fut> fmt::Debug for ScopeFuture<'_, T, E, F, Fut> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeFuture").finish_non_exhaustive()
    }
}
