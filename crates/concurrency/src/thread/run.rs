use super::call::Call;
use super::context;
use crate::ambient;
use crate::caught::{PanicPayload, discard, guarded, quietly};
use crate::node::{Kind, Node, NodeRef, Payload, Waiting};
use crate::owner::{Limit, Owner};
use crate::root;
use crate::scope_local::{self as locals, Locals};
use crate::sync::{BorrowOwned, CapacityLimiter, OwnedLimiterPermit};
use crate::task_id::TaskId;
use std::borrow::Cow;
use std::fmt;
use std::panic::{Location, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Runs a closure that blocks on a thread that may block.
///
/// A root has places for 40 such closures at once, or as many as
/// [`Root::threads`](crate::Root::threads) says; the others wait in order. Cancelled before it has
/// a place, the closure never starts. Cancelled while it runs, the scopes around the caller wait
/// for its end, unless it was told to [`abandon_on_cancel`](RunInThread::abandon_on_cancel); it
/// can find out by [`check_cancelled`](crate::check_cancelled) and stop earlier. Scope locals that
/// are inherited are set in it, and by [`ThreadContext`](crate::ThreadContext) it can run futures.
/// Those that run further closures take places for them: give such a limiter of their own, or all
/// places may be taken by closures that wait for one.
///
/// # Panics
///
/// Resumes a panic of the closure. When polled with no backend compiled in, or where the backend
/// does not run.
///
/// # Cancel safety
///
/// No cancel drops the future while the closure runs. Dropped by foreign code, the closure runs
/// on, its value is dropped, and the root waits for it. One that has not begun never does.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::{Root, run_in_thread};
///
/// let here = std::thread::current().id();
/// let there = Root::new().backend(Backend::Smol).block_on(
///     run_in_thread(|| std::thread::current().id()).name("who"),
/// );
/// assert_ne!(here, there);
/// # }
/// ```
#[doc(alias = "to_thread")]
#[doc(alias = "spawn_blocking")]
#[track_caller]
pub fn run_in_thread<F, T>(f: F) -> RunInThread<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    RunInThread {
        name: Cow::Borrowed(""),
        location: Location::caller(),
        limiter: None,
        on_cancel: OnCancel::Wait,
        stage: Stage::New(f),
    }
}

/// Future of [`run_in_thread`].
#[must_use = "the closure does not run until this is awaited"]
pub struct RunInThread<F, T: Send + 'static> {
    name: Cow<'static, str>,
    location: &'static Location<'static>,
    limiter: Option<Arc<CapacityLimiter>>,
    on_cancel: OnCancel,
    stage: Stage<F, T>,
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum OnCancel {
    Wait,
    Abandon,
}

enum Stage<F, T: Send + 'static> {
    New(F),
    /// Waits for a place.
    Admitting(F, BorrowOwned),
    Running(Running<T>),
    /// Has returned, or its backend stopped before the closure began.
    Over,
}

/// Nothing in it is ever pinned.
impl<F, T: Send + 'static> Unpin for RunInThread<F, T> {}

impl<F, T: Send + 'static> RunInThread<F, T> {
    /// Takes a place of this limiter instead of one of the root's.
    pub fn limiter(mut self, limiter: &Arc<CapacityLimiter>) -> Self {
        self.limiter = Some(limiter.clone());
        self
    }

    /// Returns at once when cancelled. The closure runs on, its value is dropped, and its place
    /// stays taken until it ends; the root does not wait for it, and names it at its own end.
    pub fn abandon_on_cancel(mut self) -> Self {
        self.on_cancel = OnCancel::Abandon;
        self
    }

    /// Names the call for reports.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = name.into();
        self
    }
}

impl<F, T> RunInThread<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    fn limiter_or_default(&self) -> Arc<CapacityLimiter> {
        match &self.limiter {
            Some(limiter) => limiter.clone(),
            None => {
                let root = root::above(ambient::current().as_ref());
                root::threads_of(&root).places()
            }
        }
    }

    /// Hands the closure over.
    fn submit(&mut self, f: F, permit: OwnedLimiterPermit, cx: &mut Context<'_>) -> Running<T> {
        let backend = ambient::backend();
        let place: NodeRef = Arc::new(Node::new(
            Kind::Scope,
            TaskId::OUTSIDE,
            std::mem::take(&mut self.name),
            self.location,
            Worker,
        ));
        let root = root::above(ambient::current().as_ref());
        let mut owner = Owner::new(Limit::Never);
        owner.set_node(place.clone());
        if self.on_cancel == OnCancel::Wait {
            owner.holding();
        }
        // From here on a cancel of the host is seen on the thread.
        owner.arrive(cx);
        place.keep_backend(backend);
        let call = Arc::new(Call::new(place, root, backend));
        let slot = Arc::new(Slot::new());
        let work = Work {
            f: Some(f),
            locals: locals::inherited(),
            ending: Ending {
                slot: slot.clone(),
                call: call.clone(),
                permit: Some(permit),
            },
        };
        // Its outcome has a slot of ours, which knows when the host is gone.
        drop(backend.spawn_blocking(move || work.run()));
        Running { owner, call, slot }
    }
}

impl<F, T> Future for RunInThread<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        loop {
            match std::mem::replace(&mut this.stage, Stage::Over) {
                Stage::New(f) => {
                    let limiter = this.limiter_or_default();
                    this.stage = Stage::Admitting(f, limiter.acquire_owned());
                }
                Stage::Admitting(f, mut admission) => match Pin::new(&mut admission).poll(cx) {
                    Poll::Pending => {
                        this.stage = Stage::Admitting(f, admission);
                        return Poll::Pending;
                    }
                    Poll::Ready(permit) if ambient::is_cancelled() => {
                        // Somebody else may go; if a shield is raised, it begins anew.
                        this.stage = Stage::New(f);
                        drop(permit);
                        return Poll::Pending;
                    }
                    Poll::Ready(permit) => {
                        this.stage = Stage::Running(this.submit(f, permit, cx));
                    }
                },
                Stage::Running(mut running) => {
                    running.owner.arrive(cx);
                    let Some(outcome) = running.slot.poll(cx) else {
                        running.owner.node().wait_for(Waiting::Thread);
                        running.owner.arm();
                        this.stage = Stage::Running(running);
                        return Poll::Pending;
                    };
                    running.owner.leave();
                    match outcome {
                        Outcome::Done(value) => return Poll::Ready(value),
                        Outcome::Panicked(panic) => resume_unwind(panic),
                        Outcome::Stopped => return Poll::Pending,
                    }
                }
                // Its backend shuts down and is about to drop this.
                Stage::Over => return Poll::Pending,
            }
        }
    }
}

impl<F, T: Send + 'static> Drop for RunInThread<F, T> {
    fn drop(&mut self) {
        if let Stage::Running(running) = std::mem::replace(&mut self.stage, Stage::Over) {
            running.give_up(self.on_cancel);
        }
    }
}

impl<F, T: Send + 'static> fmt::Debug for RunInThread<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunInThread")
            .field("name", &self.name)
            .field("on_cancel", &self.on_cancel)
            .finish_non_exhaustive()
    }
}

/// The own part of the node of a closure's place.
struct Worker;

impl Payload for Worker {
    fn holds_as(&self) -> Option<&'static str> {
        Some("a thread")
    }
}

/// A closure that was handed over.
struct Running<T> {
    owner: Owner,
    call: Arc<Call>,
    slot: Arc<Slot<T>>,
}

impl<T> Running<T> {
    fn give_up(mut self, on_cancel: OnCancel) {
        let value = self.slot.leave();
        // Told before the place leaves the tree: then nobody below it finds no cause.
        self.call.cancel();
        self.owner.leave();
        match on_cancel {
            OnCancel::Wait => self.call.lose_host(),
            OnCancel::Abandon => self.call.abandon(),
        }
        drop(value);
    }
}

/// What the pool runs. The call ends last of all, also if a destructor panics before.
struct Work<F, T> {
    f: Option<F>,
    locals: Option<Locals>,
    ending: Ending<T>,
}

impl<F: FnOnce() -> T, T> Work<F, T> {
    fn run(mut self) {
        let Ending { slot, call, permit } = &mut self.ending;
        let Some(f) = self.f.take_if(|_| call.begin()) else {
            return;
        };
        context::inside(call, self.locals.take(), || {
            let outcome = match guarded(f) {
                Ok(value) => Outcome::Done(value),
                Err(panic) => Outcome::Panicked(panic),
            };
            if slot.is_wanted() {
                // Free before the host goes on.
                drop(permit.take());
            }
            let surplus = slot.complete(outcome);
            // A value for nobody may panic in its destructor; the pool goes on.
            discard(surplus);
        });
    }
}

struct Ending<T> {
    slot: Arc<Slot<T>>,
    call: Arc<Call>,
    /// Dropped behind the end of the call.
    permit: Option<OwnedLimiterPermit>,
}

impl<T> Drop for Ending<T> {
    fn drop(&mut self) {
        // Nothing comes of it where the closure ran.
        drop(self.slot.complete(Outcome::Stopped));
        self.call.end();
    }
}

enum Outcome<T> {
    Done(T),
    Panicked(PanicPayload),
    /// The pool stopped before the closure began.
    Stopped,
}

/// Where the outcome is left for the host.
///
/// Invariant: under the lock no waker is cloned or woken and no value dropped.
struct Slot<T>(Mutex<Place<T>>);

enum Place<T> {
    Empty(Option<Waker>),
    Full(Outcome<T>),
    /// Taken, or nobody will.
    Gone,
}

impl<T> Slot<T> {
    fn new() -> Slot<T> {
        Slot(Mutex::new(Place::Empty(None)))
    }

    fn lock(&self) -> MutexGuard<'_, Place<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_wanted(&self) -> bool {
        matches!(*self.lock(), Place::Empty(_))
    }

    /// Leaves the outcome for the host, or gives it back if there is none.
    fn complete(&self, outcome: Outcome<T>) -> Option<Outcome<T>> {
        let mut place = self.lock();
        let Place::Empty(waker) = &mut *place else {
            return Some(outcome);
        };
        let waker = waker.take();
        *place = Place::Full(outcome);
        drop(place);
        if let Some(waker) = waker {
            // It has no one to go to, and the thread has yet to be counted out.
            quietly(|| waker.wake());
        }
        None
    }

    fn poll(&self, cx: &Context<'_>) -> Option<Outcome<T>> {
        let mut waker = Some(cx.waker().clone());
        let mut place = self.lock();
        if let Place::Empty(former) = &mut *place {
            std::mem::swap(former, &mut waker);
            drop(place);
            return None;
        }
        match std::mem::replace(&mut *place, Place::Gone) {
            Place::Full(outcome) => Some(outcome),
            Place::Empty(_) | Place::Gone => None,
        }
    }

    /// The host is gone; what there was is to be dropped.
    fn leave(&self) -> Place<T> {
        std::mem::replace(&mut *self.lock(), Place::Gone)
    }
}
