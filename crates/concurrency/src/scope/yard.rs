use super::handle::ScopeHandle;
use crate::branches::{Bell, Link, Seat, discard};
use crate::cause::Cause;
use crate::node::{Kind, Node, NodeRef};
use crate::scope_local::{self as locals, Locals};
use crate::task_handle::{Place, TaskStatus};
use crate::task_id::TaskId;
use pin_project_lite::pin_project;
use std::borrow::Cow;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// What is known of a child beside its work.
pub(super) struct Note<'env> {
    pub(super) node: Arc<Node<Link>>,
    pub(super) place: Arc<dyn Settle + 'env>,
}

/// A child that has not come to its scope yet.
pub(super) struct Newcomer<'env, E> {
    pub(super) work: Work<'env, E>,
    pub(super) note: Note<'env>,
    locals: Option<Locals>,
}

/// What a scope and its handles share: the way in.
///
/// Invariants:
/// 1. A child may own a handle, and so this, which owns the child until the scope takes it: the
///    scope empties it in every poll, at its end and in its drop, when it is closed for good.
/// 2. A newcomer is put in before the scope is woken, and the scope looks after it has left its
///    waker: one of the two sees the other.
/// 3. Nothing of the user's is dropped under the lock.
pub(super) struct Yard<'env, E> {
    pub(super) node: NodeRef,
    bell: Bell,
    gate: Mutex<Gate<'env, E>>,
}

struct Gate<'env, E> {
    newcomers: Vec<Newcomer<'env, E>>,
    /// Those that the scope had when it last looked.
    seated: usize,
    closed: bool,
}

impl<'env, E> Yard<'env, E> {
    pub(super) fn new(node: NodeRef, bell: Bell) -> Self {
        Yard {
            node,
            bell,
            gate: Mutex::new(Gate {
                newcomers: Vec::new(),
                seated: 0,
                closed: false,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gate<'env, E>> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
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
        let node = Node::new(
            Kind::Scope,
            TaskId::OUTSIDE,
            name,
            location,
            self.bell.link(),
        );
        let node = Arc::new(node);
        let place = Arc::new(Place::new(TaskStatus::Running));
        let handle = ScopeHandle::new(node.clone(), place.clone());
        let work = Child {
            finish,
            place: place.clone(),
            future,
        };
        let newcomer = Newcomer {
            work: Box::pin(work),
            note: Note { node, place },
            locals: locals::inherited(),
        };
        let refused = {
            let mut gate = self.lock();
            match gate.closed || gate.seated + gate.newcomers.len() >= MOST {
                true => Some(newcomer),
                false => {
                    gate.newcomers.push(newcomer);
                    None
                }
            }
        };
        match refused {
            None => self.bell.ring(),
            Some(newcomer) => {
                drop(newcomer.work);
                newcomer.note.place.settle(TaskStatus::Refused, None);
            }
        }
        handle
    }

    /// Those that have come, put behind what is in `into`.
    pub(super) fn take(&self, seated: usize, into: &mut Vec<Newcomer<'env, E>>) {
        let mut gate = self.lock();
        gate.seated = seated + gate.newcomers.len();
        into.append(&mut gate.newcomers);
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

impl<E> Newcomer<'_, E> {
    pub(super) fn seat(&mut self) -> Seat {
        Seat::new(self.note.node.clone(), Some(self.locals.take()))
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
