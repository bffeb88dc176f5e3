use super::ready::{Link, Ticket};
use crate::cause::Cause;
use crate::node::{Node, NodeRef};
use crate::owner::{Limit, Owner, dropped_or};
use crate::scope_local::{self as locals, Locals};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What a panic carries.
pub(crate) type Payload = Box<dyn Any + Send>;

pub(crate) fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Keeps the first of several panics. The destructor of another one may panic too: nobody hears it.
pub(crate) fn keep_first(first: &mut Option<Payload>, panic: Payload) {
    match first {
        None => *first = Some(panic),
        Some(_) => discard(panic),
    }
}

/// Drops what nobody wants, whatever its destructor does.
pub(crate) fn discard<T>(unwanted: T) {
    let _ = guarded(|| drop(unwanted));
}

/// How a branch ended.
pub(crate) enum Ended<T> {
    Done(T),
    Panicked(Payload),
    Cancelled(Cause),
}

/// One of several bodies that run in a task: its node, its waker, its place in the tree.
///
/// Invariants:
/// 1. A poll lets no panic out.
/// 2. When a poll is over the body was dropped and the node is out of the tree.
/// 3. The waker, which the node has too and which owns the node, is taken from there at the end
///    and in the drop: nothing is left of the cycle.
pub(crate) struct Seat {
    owner: Owner,
    waker: Waker,
    /// Those the body sees, if not the ones around its task.
    locals: Option<Option<Locals>>,
    /// The poll of the task in which the body was woken while it was polled.
    pub(super) yielded: u64,
}

impl Seat {
    pub(crate) fn new(node: Arc<Node<Link>>, locals: Option<Option<Locals>>) -> Seat {
        let mut owner = Owner::new(Limit::Never);
        let place: NodeRef = node.clone();
        owner.set_node(place);
        Seat {
            owner,
            waker: Waker::from(node),
            locals,
            yielded: 0,
        }
    }

    pub(super) fn link(&self) -> &Link {
        let link = self.owner.node().payload.link();
        link.expect("the node of a branch has a link")
    }

    pub(super) fn is(&self, ticket: Ticket) -> bool {
        self.link().ticket() == ticket
    }

    /// Runs `f` where the body stands.
    pub(crate) fn inside<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.owner.arrive_by(&self.waker);
        let owner = &mut self.owner;
        let f = || owner.inside(f);
        match &self.locals {
            None => f(),
            Some(locals) => locals::inside(locals.clone(), f),
        }
    }

    /// The owner poll of one branch.
    pub(crate) fn poll<F: Future>(
        &mut self,
        mut body: Pin<&mut Option<F>>,
    ) -> Poll<Ended<F::Output>> {
        let mut cx = Context::from_waker(&self.waker);
        let owner = &mut self.owner;
        owner.arrive_by(&self.waker);
        let mut ended = None;
        let mut work = || {
            if let Some(future) = body.as_mut().as_pin_mut() {
                match guarded(|| owner.inside(|| future.poll(&mut cx))) {
                    Ok(Poll::Pending) if !owner.is_cut() => return Poll::Pending,
                    Ok(Poll::Pending) => owner.cut(|| body.set(None)),
                    Ok(Poll::Ready(output)) => ended = Some(Ended::Done(output)),
                    Err(panic) => ended = Some(Ended::Panicked(panic)),
                }
                if let Err(panic) = guarded(|| owner.inside(|| body.set(None))) {
                    let former = ended.replace(Ended::Panicked(panic));
                    discard(former);
                }
            }
            // There are finalisers only of a body that was cut.
            match guarded(|| owner.poll_finalisers(&mut cx)) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(())) => {}
                Err(panic) => ended = Some(Ended::Panicked(panic)),
            }
            let node = owner.node();
            let cut = || Ended::Cancelled(dropped_or(node.visible_cause(), node));
            Poll::Ready(ended.take().unwrap_or_else(cut))
        };
        let polled = match &self.locals {
            None => work(),
            Some(locals) => locals::inside(locals.clone(), work),
        };
        if polled.is_ready() {
            self.leave();
        }
        polled
    }

    /// Drops the body because foreign code drops what is around it. Lets no panic out.
    pub(crate) fn lose<F>(&mut self, mut body: Pin<&mut Option<F>>) -> Result<(), Payload> {
        let owner = &mut self.owner;
        let mut work = || guarded(|| owner.lose(|| body.set(None)));
        let dropped = match &self.locals {
            None => work(),
            Some(locals) => locals::inside(locals.clone(), work),
        };
        self.leave();
        dropped
    }

    fn leave(&mut self) {
        self.link().end();
        self.owner.leave();
        self.owner.node().forget_waker();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}
