//! Which backend is current on this thread.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::Backend;
use crate::runtime::{AnyContext, Runtime, Variant};

/// What every use outside a backend says, after its name.
pub(crate) const OUTSIDE: &str = "does not run on this thread; enter it through Backend::block_on \
                                  or choose with Backend::set_default";

thread_local! {
    /// Set around everything that runs inside a backend by our doing. The innermost wins.
    static MARK: Cell<Option<Backend>> = const { Cell::new(None) };
}

/// Marks this thread as inside `backend` until the guard is dropped, also by unwinding.
pub(crate) fn mark(backend: Backend) -> Mark {
    Mark(MARK.replace(Some(backend)))
}

/// Marks this thread as inside `backend` for its life.
#[cfg(any(feature = "tokio", feature = "smol"))]
pub(crate) fn mark_thread(backend: Backend) {
    MARK.set(Some(backend));
}

/// Restores the former mark.
#[must_use = "the mark ends with it"]
pub(crate) struct Mark(Option<Backend>);

impl Drop for Mark {
    fn drop(&mut self) {
        MARK.set(self.0);
    }
}

/// Whether this thread is marked as inside `backend`: then it runs here, and need not be asked.
pub(crate) fn is_marked(backend: Backend) -> bool {
    MARK.get() == Some(backend)
}

/// The backend that runs here, asked from the inside out, without the default of the process.
pub(crate) fn here() -> Option<Backend> {
    #[cfg(feature = "sim")]
    if crate::sim::Sim::is_running() {
        return Some(Backend::Sim);
    }
    if let Some(backend) = MARK.get() {
        return Some(backend);
    }
    #[cfg(feature = "tokio")]
    if crate::tokio::Tokio::is_running() {
        return Some(Backend::Tokio);
    }
    #[cfg(feature = "async-std")]
    if crate::async_std::in_task() {
        return Some(Backend::AsyncStd);
    }
    None
}

/// Panics where a backend runs on this thread already.
#[track_caller]
pub(crate) fn refuse_nested() {
    if let Some(backend) = here() {
        panic!(
            "Backend::block_on inside a run of backend {backend}: it would stop the tasks of this \
             thread; await the future, or use a thread of your own"
        );
    }
}

pin_project! {
    /// A future around whose polls and drop a backend is current. See [`Backend::attach`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Attached<F> {
        #[pin]
        future: Option<F>,
        backend: Backend,
        context: AnyContext,
    }

    impl<F> PinnedDrop for Attached<F> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            let mut future = this.future;
            inside(*this.backend, this.context, || future.set(None));
        }
    }
}

impl<F> Attached<F> {
    #[track_caller]
    pub(crate) fn new(backend: Backend, future: F) -> Attached<F> {
        #[cfg(feature = "sim")]
        if crate::sim::Sim::is_running() && backend != Backend::Sim {
            panic!("backend {backend} attached inside a simulated world");
        }
        backend.running();
        Attached {
            future: Some(future),
            backend,
            context: dispatch!(backend, R => R::any_context(R::context())),
        }
    }
}

impl<F: Future> Future for Attached<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let future = this.future.as_pin_mut().expect("polled before its drop");
        inside(*this.backend, this.context, || future.poll(cx))
    }
}

impl<F> fmt::Debug for Attached<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// Runs `act` marked as inside `backend`, with its context restored.
pub(crate) fn inside<T>(backend: Backend, context: &AnyContext, act: impl FnOnce() -> T) -> T {
    let _mark = mark(backend);
    within(context, act)
}

/// Runs `act` with the executor, loop or handle of `context` restored.
fn within<T>(context: &AnyContext, act: impl FnOnce() -> T) -> T {
    use crate::runtime::Choice;
    match context {
        #[cfg(feature = "tokio")]
        Choice::Tokio { value } => crate::tokio::Tokio::within(value, act),
        #[cfg(feature = "smol")]
        Choice::Smol { value } => crate::smol::Smol::within(value, act),
        #[cfg(feature = "async-std")]
        Choice::AsyncStd { value } => crate::async_std::AsyncStd::within(value, act),
        #[cfg(feature = "sim")]
        Choice::Sim { value } => crate::sim::Sim::within(value, act),
        #[allow(unreachable_patterns, reason = "variants of backends that are off")]
        _ => act(),
    }
}
