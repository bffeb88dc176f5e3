//! What ties an executor to one broker.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bowline_concurrency::{TaskGroup, yield_now};
use slab::Slab;

use super::Executor;
use super::async_executor::Place;
use super::caught::contained;
use super::running::Running;

/// Jobs a worker ends in a row before other tasks get their turn.
const BATCH: usize = 32;
/// Workers kept for later jobs while there is nothing to do.
const IDLE: usize = 64;

/// What a worker does: a job that has not begun, or waits for something.
pub(super) struct Work {
    running: Running,
    /// Given up after the job.
    _place: Place,
}

impl Work {
    pub(super) fn new(running: Running, place: Place) -> Self {
        Self {
            running,
            _place: place,
        }
    }
}

/// One broker at an executor: the group its handlers run in, and the workers that run them.
///
/// A worker is a task that runs one job to its end, and then the next. Each job has one woken for
/// it, so a handler that computes holds up no job that a thread is free for; that workers stay makes
/// a job cost no task.
///
/// Invariants:
/// - A1 for each job in `ready` there is a worker that looks there later: one was woken or spawned
///   for it, and whoever takes a job it was not woken for leaves that one looking.
/// - A2 a worker sleeps exactly while its waker is in `idle`, which holds at most 64.
/// - A3 once `over` is true it stays, and nothing is ready any more.
/// - A4 nothing is woken, spawned, run or dropped under the lock.
/// - A5 no job ends its worker, whatever its handler or a destructor of its values does.
pub(crate) struct Attachment {
    group: TaskGroup<Infallible>,
    over: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Work>,
    idle: Vec<(u64, Waker)>,
    next_worker: u64,
    /// Those who wait for the end of the broker.
    watching: Slab<Waker>,
}

impl Attachment {
    /// Attaches `executor` to the broker whose tasks are the children of `group`.
    pub(crate) fn open(group: &TaskGroup<Infallible>, executor: &Arc<dyn Executor>) -> Arc<Self> {
        let this = Arc::new(Self {
            group: group.clone(),
            over: AtomicBool::new(false),
            state: Mutex::default(),
        });
        let end = EndOnDrop(this.clone(), executor.clone());
        drop(group.spawn_ok(async move {
            let _until_dropped = end;
            std::future::pending::<()>().await
        }));
        this
    }

    /// The group whose children the handlers are.
    pub(super) fn group(&self) -> &TaskGroup<Infallible> {
        &self.group
    }

    /// Whether the broker has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Completes when the broker has ended.
    pub(crate) fn over(&self) -> Over<'_> {
        Over {
            attachment: self,
            place: None,
        }
    }

    /// Runs `work` in a worker; after the end of the broker it is dropped.
    pub(super) fn give(self: &Arc<Self>, work: Work) {
        let mut state = self.state();
        if self.is_over() {
            drop(state);
            drop(work);
            return;
        }
        state.ready.push_back(work);
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
        self.over.store(true, Ordering::Release);
        let ready = std::mem::take(&mut state.ready);
        let idle = std::mem::take(&mut state.idle);
        let watching: Vec<_> = state.watching.iter().map(|(_, w)| w.clone()).collect();
        drop(state);
        drop((ready, idle));
        watching.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A worker.
async fn run_jobs(attachment: Arc<Attachment>, number: u64) {
    loop {
        for _ in 0..BATCH {
            let next = NextWork {
                attachment: &attachment,
                number,
                sleeps: false,
            };
            match next.await {
                Some(mut work) => contained(&mut work.running).await,
                None => return,
            }
        }
        yield_now().await;
    }
}

/// The next work for a worker; `None` if it is to end.
struct NextWork<'a> {
    attachment: &'a Attachment,
    number: u64,
    sleeps: bool,
}

impl NextWork<'_> {
    /// Takes its waker back, unless it was woken for a job.
    fn wake_up(&mut self, state: &mut State) -> Option<Waker> {
        if !std::mem::take(&mut self.sleeps) {
            return None;
        }
        let place = state.idle.iter().position(|(it, _)| *it == self.number)?;
        Some(state.idle.swap_remove(place).1)
    }
}

impl Future for NextWork<'_> {
    type Output = Option<Work>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = cx.waker().clone();
        let attachment = self.attachment;
        let mut state = attachment.state();
        let former = self.wake_up(&mut state);
        let next = match state.ready.pop_front() {
            Some(work) => Poll::Ready(Some(work)),
            None if attachment.is_over() || state.idle.len() >= IDLE => Poll::Ready(None),
            None => {
                state.idle.push((self.number, waker));
                self.sleeps = true;
                Poll::Pending
            }
        };
        drop(state);
        drop(former);
        next
    }
}

impl Drop for NextWork<'_> {
    fn drop(&mut self) {
        if self.sleeps {
            let attachment = self.attachment;
            let former = self.wake_up(&mut attachment.state());
            drop(former);
        }
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
