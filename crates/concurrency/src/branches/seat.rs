use super::link::Link;
use super::ready::Ticket;
use crate::ambient;
use crate::caught::{PanicPayload, discard, guarded};
use crate::cause::Cause;
use crate::owner::{Owner, dropped_or};
use crate::scope_local::{self as locals, Locals};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// How a branch ended.
pub(crate) enum Ended<T> {
    Done(T),
    Panicked(PanicPayload),
    Cancelled(Cause),
}

/// One of several bodies that run in a task: its waker and its place in the tree.
///
/// Invariants:
/// 1. A poll lets no panic out.
/// 2. When a poll answers, the body was dropped and the node, if there is one, is out of the tree.
/// 3. The node has the waker, which owns the node: it is taken from there at the end and in the
///    drop, so that nothing is left of the cycle.
/// 4. As long as there is no `owner` nothing in the body holds, and nothing was left to finalise.
pub(crate) struct Seat {
    /// Taken out at the end alone.
    link: Option<Arc<Link>>,
    waker: Waker,
    /// Once the branch has a node.
    owner: Option<Box<Owner>>,
    /// Those the body sees, if not the ones around its task.
    locals: Option<Option<Locals>>,
    /// The poll of the task in which the body was woken while it was polled.
    pub(super) yielded: u64,
    /// The last poll of the task in which the body was polled after a cancel.
    pub(super) last_call: u64,
}

impl Seat {
    pub(crate) fn new(link: Arc<Link>, locals: Option<Option<Locals>>) -> Seat {
        Seat {
            waker: Waker::from(link.clone()),
            link: Some(link),
            owner: None,
            locals,
            yielded: 0,
            last_call: 0,
        }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        let link = self.link.as_ref();
        link.expect("a seat has its link until its end")
    }

    /// Of a branch that has ended.
    pub(super) fn into_link(mut self) -> Arc<Link> {
        let link = self.link.take();
        link.expect("a seat has its link until its end")
    }

    pub(super) fn is(&self, ticket: Ticket) -> bool {
        self.link().ticket() == ticket
    }

    /// Runs `f` where the body stands.
    pub(crate) fn inside<R>(&mut self, f: impl FnOnce() -> R) -> R {
        self.split().0.enter(f)
    }

    fn split(&mut self) -> (Stand<'_>, &Waker) {
        let stand = Stand {
            link: &mut self.link,
            owner: &mut self.owner,
            locals: &self.locals,
        };
        (stand, &self.waker)
    }

    /// Gives the branch a node from now on.
    fn settle(&mut self) -> &mut Owner {
        let Seat {
            link, waker, owner, ..
        } = self;
        let owner = owner.get_or_insert_with(|| {
            let link = link.as_ref();
            let link = link.expect("a seat has its link until its end");
            link.join_tree();
            Box::new(Owner::linked(link.node().clone(), link.region()))
        });
        owner.arrive_by(waker);
        owner
    }

    /// The owner poll of one branch.
    pub(crate) fn poll<F: Future>(
        &mut self,
        mut body: Pin<&mut Option<F>>,
    ) -> Poll<Ended<F::Output>> {
        if self.owner.is_some() || self.link().has_node() {
            self.settle().node().begin_poll();
        }
        let mut ended = None;
        if body.is_some() {
            let (stand, waker) = self.split();
            let mut cx = Context::from_waker(waker);
            let polled = guarded(|| {
                stand.enter(|| {
                    let future = body.as_mut().as_pin_mut();
                    if let Some(Poll::Ready(output)) = future.map(|f| f.poll(&mut cx)) {
                        ended = Some(Ended::Done(output));
                        body.set(None);
                    }
                })
            });
            if let Err(panic) = polled {
                discard(ended.replace(Ended::Panicked(panic)));
                // Of two panics the first one counts.
                discard(guarded(|| self.inside(|| body.set(None))));
            } else if ended.is_none() {
                if !self.is_cut() {
                    return Poll::Pending;
                }
                self.cut(body.as_mut());
            }
        }
        let ended = match ended {
            Some(ended) => ended,
            None => match self.finalise() {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(ended) => ended,
            },
        };
        self.leave();
        Poll::Ready(ended)
    }

    /// Whether the body is to be dropped now.
    fn is_cut(&mut self) -> bool {
        if self.owner.is_none() && !self.link().has_node() {
            // It stands where what runs it does.
            return ambient::is_cancelled();
        }
        self.settle().is_cut()
    }

    fn cut<F>(&mut self, mut body: Pin<&mut Option<F>>) {
        let locals = self.locals.clone();
        let owner = self.settle();
        let mut cut = || owner.cut(|| body.set(None));
        match locals {
            None => cut(),
            Some(locals) => locals::inside(locals, cut),
        }
    }

    /// Runs what a body that was cut left behind.
    fn finalise<T>(&mut self) -> Poll<Ended<T>> {
        let waker = self.waker.clone();
        let mut cx = Context::from_waker(&waker);
        let locals = self.locals.clone();
        let owner = self.settle();
        let mut finalise = || guarded(|| owner.poll_finalisers(&mut cx));
        let polled = match locals {
            None => finalise(),
            Some(locals) => locals::inside(locals, finalise),
        };
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Err(panic) => Poll::Ready(Ended::Panicked(panic)),
            Ok(Poll::Ready(())) => {
                let node = self.link().node();
                Poll::Ready(Ended::Cancelled(dropped_or(node.visible_cause(), node)))
            }
        }
    }

    /// Drops the body because foreign code drops what is around it. Lets no panic out.
    pub(crate) fn lose<F>(&mut self, mut body: Pin<&mut Option<F>>) -> Result<(), PanicPayload> {
        let locals = self.locals.clone();
        let (link, owner) = (&mut self.link, &mut self.owner);
        let mut lose = || {
            guarded(|| match owner {
                None => ambient::in_branch(link.as_ref(), || body.set(None)),
                Some(owner) => owner.lose(|| body.set(None)),
            })
        };
        let dropped = match locals {
            None => lose(),
            Some(locals) => locals::inside(locals, lose),
        };
        self.leave();
        dropped
    }

    fn leave(&mut self) {
        let Some(link) = &self.link else { return };
        link.end();
        if let Some(mut owner) = self.owner.take() {
            owner.leave();
            owner.node().forget_waker();
        } else if let Some(node) = link.linked() {
            node.unlink();
        }
    }
}

/// Where a body stands, apart from its waker.
struct Stand<'a> {
    link: &'a mut Option<Arc<Link>>,
    owner: &'a mut Option<Box<Owner>>,
    locals: &'a Option<Option<Locals>>,
}

impl Stand<'_> {
    fn enter<R>(self, f: impl FnOnce() -> R) -> R {
        let f = || match self.owner {
            None => ambient::in_branch(self.link.as_ref(), f),
            Some(owner) => owner.inside(f),
        };
        match self.locals {
            None => f(),
            Some(locals) => locals::inside(locals.clone(), f),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave();
    }
}
