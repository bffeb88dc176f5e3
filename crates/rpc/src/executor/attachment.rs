//! What ties an executor to one broker.

mod worker;

pub(super) use worker::Work;
use worker::{IDLE, Slot, run_jobs};

use std::any::Any;
use std::cell::Cell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_concurrency::TaskGroup;
use slab::Slab;

use super::{Executor, States};
use crate::{DynBroker, brokers};

/// What callers are told of a handler that panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Internals {
    /// That it did.
    Hidden,
    /// The text of the panic as well.
    Exposed,
}

/// The broker takes calls.
const OPEN: u8 = 0;
/// It drains, and its time is over.
const CUT: u8 = 1;
/// It has ended.
const OVER: u8 = 2;

/// One broker at an executor: the group its handlers run in, and the workers that run them.
///
/// A worker is a task that runs one job to its end, and then the next; that workers stay makes a job
/// cost no task. Each job has a worker roused for it, so a handler that computes holds up no job that
/// a thread is free for. A connection that hands over many jobs at once gathers them, rouses one
/// worker and looks again: handlers that end without waiting are all run by that one, and for each
/// job still there another is roused.
///
/// Invariants:
/// - A1 `looking` workers were roused and have not looked yet. More jobs than that are in `ready` only
///   while somebody who was told so by [`rouse`](Self::rouse) is going to rouse again, or one who
///   gathers is going to begin.
/// - A2 a worker sleeps exactly while its waker is in `idle`, which holds at most 64.
/// - A3 `phase` only grows. Once it is `OVER` nothing is ready any more.
/// - A4 nothing is woken, spawned, run or dropped under the lock.
/// - A5 no job ends its worker, whatever its handler or a destructor of its values does.
pub struct Attachment {
    /// The number of the broker.
    origin: u64,
    group: TaskGroup<Infallible>,
    states: States,
    /// How long what its handlers left for a cancel may take.
    grace: Duration,
    /// Whether callers are told what a handler said when it panicked.
    exposes: bool,
    /// What its executor keeps for this broker.
    own: OnceLock<Arc<dyn Any + Send + Sync>>,
    /// `OPEN`, `CUT` or `OVER`.
    phase: AtomicU8,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Slot>,
    /// For work to come; at most 64.
    empty: Vec<Slot>,
    idle: Vec<(u64, Waker)>,
    next_worker: u64,
    looking: usize,
    /// Those who wait for the end of the broker.
    watching: Slab<Waker>,
}

impl State {
    /// Keeps `slot` for other work, or gives it back.
    fn keep(&mut self, slot: Slot) -> Option<Slot> {
        if self.empty.len() >= IDLE {
            return Some(slot);
        }
        self.empty.push(slot);
        None
    }
}

impl Attachment {
    /// Attaches `executor` to the broker whose tasks are the children of `group`.
    pub(crate) fn open(
        group: &TaskGroup<Infallible>,
        executor: &Arc<dyn Executor>,
        internals: Internals,
    ) -> Arc<Self> {
        executor.start();
        let this = Arc::new(Self {
            origin: brokers::number(),
            group: group.clone(),
            states: executor.states(),
            grace: executor.cancel_grace(),
            exposes: internals == Internals::Exposed,
            own: OnceLock::new(),
            phase: AtomicU8::new(OPEN),
            state: Mutex::default(),
        });
        let end = EndOnDrop(this.clone(), executor.clone());
        drop(group.spawn_ok(async move {
            let _until_dropped = end;
            std::future::pending::<()>().await
        }));
        this
    }

    /// Whether callers are told what a handler said when it panicked.
    pub(super) fn exposes_internals(&self) -> bool {
        self.exposes
    }

    /// The number by which its handlers find the broker.
    pub(crate) fn origin(&self) -> u64 {
        self.origin
    }

    /// Handlers find `broker` from now on, until it has ended.
    pub(crate) fn introduce(&self, broker: DynBroker) {
        let state = self.state();
        let late = match self.is_over() {
            true => Some(broker),
            false => {
                brokers::enter(self.origin, broker);
                None
            }
        };
        drop(state);
        drop(late);
    }

    /// The group whose children the handlers are.
    pub(super) fn group(&self) -> &TaskGroup<Infallible> {
        &self.group
    }

    /// How long what a cancelled handler left to be done may take.
    pub(super) fn cancel_grace(&self) -> Duration {
        self.grace
    }

    /// What its handlers share.
    pub(super) fn states(&self) -> &States {
        &self.states
    }

    /// What the executor keeps for this broker, made by the first who asks; one type for all.
    #[cfg(unix)]
    pub(super) fn own<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let own = self.own.get_or_init(|| Arc::new(make())).clone();
        own.downcast().expect("one executor has one type of it")
    }

    /// Whether the broker has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.phase.load(Ordering::Acquire) == OVER
    }

    /// Whether its calls are cancelled, those to come too, or the broker has ended.
    pub(crate) fn is_cut(&self) -> bool {
        self.phase.load(Ordering::Acquire) != OPEN
    }

    /// Cancels the calls that `executor` has for this broker, whoever waits for them, and those to come:
    /// the ones that have not begun never do.
    pub(crate) fn cut(&self, executor: &dyn Executor) {
        self.phase.fetch_max(CUT, Ordering::AcqRel);
        executor.purge();
        executor.cancel(self.origin);
    }

    /// Completes when the broker has ended.
    pub(crate) fn over(&self) -> Over<'_> {
        Over {
            attachment: self,
            place: None,
        }
    }

    /// Runs `work` in a worker; after the end of the broker it is dropped. While this thread
    /// [gathers](Self::gather), whoever does rouses the workers.
    pub(super) fn give(self: &Arc<Self>, work: Work) {
        let gathered = self.gathers();
        let mut state = self.state();
        if self.is_over() {
            drop(state);
            drop(work);
            return;
        }
        let mut slot = state.empty.pop().unwrap_or_default();
        *slot = Some(work);
        state.ready.push_back(slot);
        if !gathered {
            self.rouse_one(state);
        }
    }

    /// Jobs that this thread gives while the answer lives wait until the next [`rouse`](Self::rouse).
    pub(crate) fn gather(&self) -> Gathering {
        let address = std::ptr::from_ref(self).addr();
        Gathering(GATHERS.replace(address), PhantomData)
    }

    fn gathers(&self) -> bool {
        GATHERS.get() == std::ptr::from_ref(self).addr()
    }

    /// Rouses a worker if there are more jobs than look for one; whether there still are, so that the
    /// caller has to come again, once it has let other tasks have their turn.
    pub(crate) fn rouse(self: &Arc<Self>) -> bool {
        let state = self.state();
        if state.ready.len() <= state.looking {
            return false;
        }
        let more = state.ready.len() > state.looking + 1;
        self.rouse_one(state);
        more
    }

    fn rouse_one(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        state.looking += 1;
        match state.idle.pop() {
            Some((_, waker)) => {
                drop(state);
                waker.wake();
            }
            None => {
                let number = state.next_worker;
                state.next_worker += 1;
                drop(state);
                // A closed group drops it; then the broker is over.
                drop(self.group.spawn_ok(run_jobs(self.clone(), number)));
            }
        }
    }

    fn end(&self) {
        let mut state = self.state();
        self.phase.store(OVER, Ordering::Release);
        let ready = std::mem::take(&mut state.ready);
        let idle = std::mem::take(&mut state.idle);
        state.looking += idle.len();
        let watching: Vec<_> = state.watching.iter().map(|(_, w)| w.clone()).collect();
        drop(state);
        drop((ready, idle));
        brokers::leave(self.origin);
        watching.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("is_over", &self.is_over())
            .finish_non_exhaustive()
    }
}

/// Ends the attachment with the group it is a child of.
struct EndOnDrop(Arc<Attachment>, Arc<dyn Executor>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end();
        self.1.purge();
    }
}

thread_local! {
    /// The address of the attachment that this thread gathers jobs for.
    static GATHERS: Cell<usize> = const { Cell::new(0) };
}

/// While it lives, its thread gathers jobs; bound to that thread.
#[must_use = "jobs are gathered while it lives"]
pub(crate) struct Gathering(usize, PhantomData<*const ()>);

impl Drop for Gathering {
    fn drop(&mut self) {
        GATHERS.set(self.0);
    }
}

/// Completes when the broker has ended.
#[must_use = "it watches while it is polled"]
pub(crate) struct Over<'a> {
    attachment: &'a Attachment,
    place: Option<usize>,
}

impl Future for Over<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let waker = cx.waker().clone();
        let mut state = this.attachment.state();
        if this.attachment.is_over() {
            drop(state);
            return Poll::Ready(());
        }
        let former = match this.place {
            Some(place) => Some(std::mem::replace(&mut state.watching[place], waker)),
            None => {
                this.place = Some(state.watching.insert(waker));
                None
            }
        };
        drop(state);
        drop(former);
        Poll::Pending
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.attachment.state().watching.remove(place);
            drop(waker);
        }
    }
}
