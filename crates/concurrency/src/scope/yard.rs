use super::handle::ScopeHandle;
use crate::branches::{Bell, Link, Seat};
use crate::caught::discard;
use crate::cause::Cause;
use crate::memory::{Mutex, MutexGuard};
use crate::node::NodeRef;
use crate::scope_local::{self as locals, Locals};
use crate::task_handle::{Place, TaskStatus};
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};

/// Children that a scope has at most.
const MOST: usize = 1 << 20;

/// A child's work, its value put away.
pub(super) type Work<'env, E> = Pin<Box<dyn Future<Output = Result<(), E>> + Send + 'env>>;

/// Told how a child ended.
pub(super) trait Settle: Send + Sync {
    fn settle(&self, status: TaskStatus, cause: Option<Cause>);
}

impl<T: Send> Settle for Place<T> {
    fn settle(&self, status: TaskStatus, cause: Option<Cause>) {
        Place::settle(self, status, cause);
    }
}

/// Where the result of a child goes.
pub(super) type Goal<'env> = Arc<dyn Settle + 'env>;

/// A child that has not come to its scope yet.
pub(super) struct Newcomer<'env, E> {
    pub(super) work: Work<'env, E>,
    pub(super) goal: Goal<'env>,
    link: Arc<Link>,
    locals: Option<Locals>,
}

/// What a scope and its handles share: the way in.
///
/// Invariants:
/// 1. A child may own a handle, and so this, which owns the child until the scope takes it: the
///    scope empties it in every poll, at its end and in its drop, when it is closed for good.
/// 2. A newcomer is put in before the scope is woken, and the scope looks after it has left its
///    waker: one of the two sees the other.
/// 3. Nothing of the user's is dropped under the lock. A link of an ended branch has nothing of it:
///    its node, if it had one, has neither waker nor watcher.
pub(super) struct Yard<'env, E> {
    bell: Bell,
    gate: Mutex<Gate<'env, E>>,
}

struct Gate<'env, E> {
    newcomers: Vec<Newcomer<'env, E>>,
    /// Links of children that have ended, for others.
    spare: Vec<Arc<Link>>,
    /// Those that the scope had when it last looked.
    seated: usize,
    closed: bool,
}

impl<'env, E> Yard<'env, E> {
    pub(super) fn new(bell: Bell) -> Self {
        Yard {
            bell,
            gate: Mutex::new(Gate {
                newcomers: Vec::new(),
                spare: Vec::new(),
                seated: 0,
                closed: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gate<'env, E>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scope's node.
    pub(super) fn node(&self) -> &NodeRef {
        self.bell.region()
    }

    #[track_caller]
    pub(super) fn spawn<T, F>(
        &self,
        name: Cow<'static, str>,
        future: F,
        finish: fn(F::Output) -> Result<T, E>,
    ) -> ScopeHandle<T>
    where
        T: Send + 'env,
        F: Future + Send + 'env,
        E: 'env,
    {
        let location = Location::caller();
        let place = Arc::new(Place::new(TaskStatus::Running));
        let goal = place.clone();
        let work = Box::pin(Child {
            finish,
            place: place.clone(),
            future,
        });
        let locals = locals::inherited();
        let mut gate = self.lock();
        let link = match gate.closed || gate.seated + gate.newcomers.len() >= MOST {
            true => Err((work, Arc::new(self.bell.link(name, location)))),
            false => {
                let link = gate.spare_link(&self.bell, name, location);
                gate.newcomers.push(Newcomer {
                    work,
                    goal,
                    link: link.clone(),
                    locals,
                });
                Ok(link)
            }
        };
        drop(gate);
        let link = match link {
            Ok(link) => {
                self.bell.ring();
                link
            }
            Err((work, link)) => {
                drop(work);
                place.settle(TaskStatus::Refused, None);
                link
            }
        };
        ScopeHandle::new(link, place)
    }

    /// Those that have come, put behind what is in `into`.
    pub(super) fn take(
        &self,
        seated: usize,
        into: &mut Vec<Newcomer<'env, E>>,
        ended: &mut Vec<Arc<Link>>,
    ) {
        let mut gate = self.lock();
        gate.seated = seated + gate.newcomers.len();
        into.append(&mut gate.newcomers);
        if gate.spare.is_empty() {
            std::mem::swap(&mut gate.spare, ended);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().newcomers.is_empty()
    }

    /// Lets nobody in any more, if nobody waits to come in.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut gate = self.lock();
        gate.closed = gate.newcomers.is_empty();
        gate.closed
    }

    /// Lets nobody in any more; answers those who wait.
    pub(super) fn close(&self) -> Vec<Newcomer<'env, E>> {
        let mut gate = self.lock();
        gate.closed = true;
        std::mem::take(&mut gate.newcomers)
    }
}

impl<E> Gate<'_, E> {
    /// A link for a new child: that of one that has ended, if nobody refers to it.
    fn spare_link(
        &mut self,
        bell: &Bell,
        name: Cow<'static, str>,
        location: &'static Location<'static>,
    ) -> Arc<Link> {
        if let Some(mut link) = self.spare.pop()
            && let Some(own) = Arc::get_mut(&mut link)
        {
            own.renew(name, location);
            return link;
        }
        Arc::new(bell.link(name, location))
    }
}

impl<'env, E> Newcomer<'env, E> {
    pub(super) fn seated(self) -> (Seat, Work<'env, E>, Goal<'env>) {
        let seat = Seat::new(self.link, Some(self.locals));
        (seat, self.work, self.goal)
    }
}

pin_project! {
    /// Runs a child's future and puts its value where the handle finds it.
    struct Child<T, E, F: Future> {
        finish: fn(F::Output) -> Result<T, E>,
        place: Arc<Place<T>>,
        #[pin]
        future: F,
    }
}

impl<T: Send, E, F: Future> Future for Child<T, E, F> {
    type Output = Result<(), E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Poll::Ready(output) = this.future.poll(cx) else {
            return Poll::Pending;
        };
        Poll::Ready((this.finish)(output).map(|value| discard(this.place.put(value))))
    }
}
