//! The lock inside every primitive, and what a step under it leaves to be done without it.

use crate::caught::quietly;
use crate::node::NodeRef;
#[cfg(not(loom))]
use crate::spin_lock::SpinLock;
#[cfg(loom)]
use std::sync::PoisonError;
use std::task::Waker;

/// The state of a primitive. Under its lock only bookkeeping of ours runs: no waker is woken,
/// cloned or dropped there, and nothing of the user's.
pub(crate) struct Guarded<S> {
    state: SpinLock<S>,
}

impl<S> Guarded<S> {
    pub(crate) const fn new(state: S) -> Guarded<S> {
        Guarded {
            state: SpinLock::new(state),
        }
    }

    /// Runs one step under the lock, then wakes and drops what it left, without the lock.
    #[inline]
    pub(crate) fn step<R>(&self, step: impl FnOnce(&mut S, &mut After) -> R) -> R {
        let mut after = After::default();
        let result = self.state.with(|state| step(state, &mut after));
        after.run();
        result
    }

    /// Reads under the lock.
    #[inline]
    pub(crate) fn look<R>(&self, look: impl FnOnce(&S) -> R) -> R {
        self.state.with(|state| look(state))
    }

    pub(crate) fn into_inner(self) -> S {
        self.state.into_inner()
    }
}

/// Wakers to wake, and what was replaced or removed and is to be dropped.
///
/// Most steps leave nothing or one thing, which needs no allocation.
#[derive(Default)]
pub(crate) struct After {
    first: Option<Leftover>,
    rest: Vec<Leftover>,
}

enum Leftover {
    Wake(Waker),
    Waker(Waker),
    Context(NodeRef),
}

impl After {
    pub(crate) fn wake(&mut self, waker: Waker) {
        self.push(Leftover::Wake(waker));
    }

    pub(crate) fn discard(&mut self, waker: Option<Waker>, context: Option<NodeRef>) {
        if let Some(waker) = waker {
            self.push(Leftover::Waker(waker));
        }
        if let Some(context) = context {
            self.push(Leftover::Context(context));
        }
    }

    fn push(&mut self, leftover: Leftover) {
        if self.first.is_none() {
            self.first = Some(leftover);
        } else {
            self.rest.push(leftover);
        }
    }

    /// Wakes everybody, in order, and drops the rest, even if a waker panics.
    ///
    /// Such a panic ends here, behind the panic hook: going on it would destroy what the step
    /// gave, a value just received for instance, and tell it to a task that did nothing wrong.
    #[inline]
    fn run(self) {
        let After { first, rest } = self;
        match first {
            Some(first) if rest.is_empty() => {
                std::mem::forget(rest);
                first.run();
            }
            Some(first) => run_all(first, rest),
            // Empty, and nothing was allocated: its destructor would only cost time.
            None => std::mem::forget(rest),
        }
    }
}

#[cold]
fn run_all(first: Leftover, rest: Vec<Leftover>) {
    first.run();
    for leftover in rest {
        leftover.run();
    }
}

impl Leftover {
    #[inline(never)]
    fn run(self) {
        quietly(|| match self {
            Leftover::Wake(waker) => waker.wake(),
            Leftover::Waker(waker) => drop(waker),
            Leftover::Context(node) => drop(node),
        });
    }
}

/// In a model a lock of loom's stands in, made at the first use: constructors stay `const` so.
#[cfg(loom)]
struct SpinLock<S> {
    seed: std::sync::Mutex<Option<S>>,
    made: std::sync::OnceLock<loom::sync::Mutex<S>>,
}

#[cfg(loom)]
impl<S> SpinLock<S> {
    const fn new(state: S) -> Self {
        SpinLock {
            seed: std::sync::Mutex::new(Some(state)),
            made: std::sync::OnceLock::new(),
        }
    }

    fn made(&self) -> &loom::sync::Mutex<S> {
        self.made.get_or_init(|| {
            let seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
            let state = { seed }.take();
            loom::sync::Mutex::new(state.expect("the seed is taken once"))
        })
    }

    fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut self.made().lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn into_inner(self) -> S {
        self.made();
        let made = self.made.into_inner().expect("it was just made");
        made.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
