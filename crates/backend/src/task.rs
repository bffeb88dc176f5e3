//! Tasks that belong to nobody, and how a backend is entered.
//!
//! There is no handle, result, cancellation or panic payload here: `bowline-concurrency` builds
//! them, alike on every runtime.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::Backend;
use crate::current;
use crate::runtime::Runtime;

/// Starts `future` as a task of the current backend that nothing waits for.
///
/// It never runs inline and this never blocks. One thread polls a task at a time. A panic out of
/// it is contained: the panic hook has run, the future is dropped, everything else goes on. Once
/// the backend began to shut down, the future is dropped unpolled.
///
/// # Panics
///
/// Where the current backend does not run on this thread.
#[track_caller]
pub fn spawn_detached<F>(future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    spawn_on(Backend::required(), future);
}

#[track_caller]
pub(crate) fn spawn_on<F>(backend: Backend, future: F)
where
    F: Future<Output = ()> + Send + 'static,
{
    dispatch!(backend.running(), R => R::spawn(future));
}

/// Lets other tasks run: `Pending` once, having woken itself.
///
/// Yielding in a loop starves no ready task. No order is promised.
///
/// # Cancel safety
///
/// *Nothing happened.*
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// Future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Waits until every other task of the simulated world is parked, before its clock moves on: a
/// test then knows that all it started has gone as far as it can.
///
/// # Panics
///
/// When polled on a backend other than the simulator, which cannot tell, or where none is compiled
/// in.
///
/// # Cancel safety
///
/// *Nothing happened.*
pub fn all_blocked() -> AllBlocked {
    AllBlocked {
        #[cfg(feature = "sim")]
        world: bowline_sim::host::all_blocked(),
    }
}

/// Future of [`all_blocked`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct AllBlocked {
    #[cfg(feature = "sim")]
    world: bowline_sim::host::AllBlocked,
}

impl Future for AllBlocked {
    type Output = ();

    #[cfg_attr(not(feature = "sim"), expect(unused, reason = "only a world can wait"))]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let backend = Backend::required();
        #[cfg(feature = "sim")]
        if backend == Backend::Sim {
            return Pin::new(&mut self.world).poll(cx);
        }
        let name = backend.name();
        panic!(
            "the backend {name} cannot tell when every task is parked; the simulator (`sim`) can"
        )
    }
}

/// The one `T` of the current backend: one per backend and process, in a simulated world one per
/// incarnation of a host. `init` makes it at the first call.
///
/// For state that must not be shared between worlds, such as a root of tasks.
///
/// # Panics
///
/// Where no backend is compiled in, or a simulated world is current but does not turn here.
pub fn realm_slot<T: Any + Send + Sync>(init: fn() -> T) -> Arc<T> {
    let backend = Backend::required();
    #[cfg(feature = "sim")]
    if backend == Backend::Sim {
        return bowline_sim::host::slot(init);
    }
    process_slot(backend, init)
}

type Slots = BTreeMap<(Backend, TypeId), Arc<dyn Any + Send + Sync>>;

fn process_slot<T: Any + Send + Sync>(backend: Backend, init: fn() -> T) -> Arc<T> {
    static SLOTS: Mutex<Slots> = Mutex::new(BTreeMap::new());
    let key = (backend, TypeId::of::<T>());
    let slots = || SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = slots().get(&key).cloned();
    let slot = found.unwrap_or_else(|| {
        // Made outside the lock, for `init` is foreign code; the first to arrive stays.
        let made: Arc<dyn Any + Send + Sync> = Arc::new(init());
        let kept = slots().entry(key).or_insert_with(|| made.clone()).clone();
        drop(made);
        kept
    });
    slot.downcast().expect("a slot is filed under its own type")
}

/// How [`Backend::block_on_with`] runs.
///
/// # Examples
///
/// ```
/// use bowline_backend::task::{RunOptions, Threads};
///
/// let options = RunOptions::default().threads(Threads::One).name("loop");
/// assert_eq!(options.threads, Threads::One);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunOptions {
    /// Threads that run tasks; default [`Threads::Auto`]. Async-std ignores it, for its executor
    /// belongs to the process, and a simulated world has one.
    pub threads: Threads,
    /// Name of the threads; default `bowline`.
    pub name: Cow<'static, str>,
    /// How long running blocking jobs are waited for at the end; default 1 s.
    pub blocking_grace: Duration,
}

impl RunOptions {
    /// Sets the threads that run tasks.
    #[must_use = "this returns the changed options"]
    pub fn threads(mut self, threads: Threads) -> RunOptions {
        self.threads = threads;
        self
    }

    /// Sets the name of the threads.
    #[must_use = "this returns the changed options"]
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> RunOptions {
        self.name = name.into();
        self
    }

    /// Sets how long running blocking jobs are waited for at the end.
    #[must_use = "this returns the changed options"]
    pub fn blocking_grace(mut self, grace: Duration) -> RunOptions {
        self.blocking_grace = grace;
        self
    }
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions {
            threads: Threads::Auto,
            name: Cow::Borrowed("bowline"),
            blocking_grace: Duration::from_secs(1),
        }
    }
}

/// How many threads run tasks.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Threads {
    /// The calling thread alone.
    One,
    /// So many.
    Fixed(NonZeroUsize),
    /// As many as the machine runs at once.
    Auto,
}

impl Threads {
    #[cfg(any(feature = "tokio", feature = "smol"))]
    pub(crate) fn count(self) -> usize {
        match self {
            Threads::One => 1,
            Threads::Fixed(count) => count.get(),
            Threads::Auto => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        }
    }
}

pin_project! {
    /// What a real backend is given for a detached task: marks its polls and its drop, and keeps
    /// its panics in.
    #[allow(dead_code, reason = "real backends alone use it")]
    pub(crate) struct Detached<F> {
        #[pin]
        future: Option<F>,
        backend: Backend,
    }

    impl<F> PinnedDrop for Detached<F> {
        fn drop(this: Pin<&mut Self>) {
            this.end();
        }
    }
}

#[allow(dead_code, reason = "real backends alone use it")]
impl<F> Detached<F> {
    pub(crate) fn new(backend: Backend, future: F) -> Detached<F> {
        Detached {
            future: Some(future),
            backend,
        }
    }

    /// Drops the future inside its backend. A panic of its destructor goes no further than the
    /// panic hook, as one of its body does.
    fn end(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.future.is_none() {
            return;
        }
        let _mark = current::mark(*this.backend);
        let _ = catch_unwind(AssertUnwindSafe(|| this.future.set(None)));
    }
}

impl<F: Future<Output = ()>> Future for Detached<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.as_mut().project();
        let _mark = current::mark(*this.backend);
        // Once marked and caught, the common end as well: a spawn costs little more than the
        // runtime's.
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let Some(future) = this.future.as_mut().as_pin_mut() else {
                return Poll::Ready(());
            };
            ready!(future.poll(cx));
            this.future.set(None);
            Poll::Ready(())
        }));
        polled.unwrap_or_else(|_| {
            self.end();
            Poll::Ready(())
        })
    }
}
