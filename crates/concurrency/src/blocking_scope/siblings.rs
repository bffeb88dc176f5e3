use crate::cancel_scope::{CancelHandle, CancelScope};
use crate::caught::discard;
use crate::cause::CauseKind;
use bowline_backend::Backend;
use slab::Slab;
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The children of one blocking scope, each known by the cancel scope around its body.
///
/// Invariants:
/// 1. Once `stop` is set every child is cancelled, those that come later before they run.
/// 2. Under the lock nothing is cancelled and no panic dropped.
pub(super) struct Siblings {
    pub(super) backend: Backend,
    pub(super) location: &'static Location<'static>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    children: Slab<CancelHandle>,
    stop: Option<Stop>,
    /// The first panic of a child.
    panic: Option<Box<dyn Any + Send>>,
}

type Stop = (CauseKind, Cow<'static, str>, &'static Location<'static>);

impl Siblings {
    pub(super) fn new(backend: Backend, location: &'static Location<'static>) -> Siblings {
        Siblings {
            backend,
            location,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the scope around a further child.
    #[track_caller]
    pub(super) fn add(&self) -> (CancelScope, usize) {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let (key, stop) = {
            let mut state = self.lock();
            (state.children.insert(handle.clone()), state.stop.clone())
        };
        if let Some((kind, reason, at)) = stop {
            handle.cancel_for(kind, reason, at);
        }
        (scope, key)
    }

    pub(super) fn remove(&self, key: usize) {
        let former = self.lock().children.try_remove(key);
        drop(former);
    }

    /// Cancels the children there are and those to come. The first cause stays.
    #[track_caller]
    pub(super) fn cancel(&self, kind: CauseKind, reason: Cow<'static, str>) {
        let at = match kind {
            CauseKind::Explicit => Location::caller(),
            _ => self.location,
        };
        let children: Vec<CancelHandle> = {
            let mut state = self.lock();
            state.stop.get_or_insert((kind, reason.clone(), at));
            state
                .children
                .iter()
                .map(|(_, child)| child.clone())
                .collect()
        };
        for child in children {
            child.cancel_for(kind, reason.clone(), at);
        }
    }

    /// A child has panicked: keeps the first payload, and cancels the others.
    pub(super) fn panicked(&self, panic: Box<dyn Any + Send>) {
        let mut state = self.lock();
        let surplus = match state.panic {
            Some(_) => Some(panic),
            None => state.panic.replace(panic),
        };
        drop(state);
        discard(surplus);
        self.cancel(CauseKind::SiblingFailed, Cow::Borrowed(""));
    }

    pub(super) fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.lock().panic.take()
    }
}

impl fmt::Debug for Siblings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Siblings")
            .field("backend", &self.backend)
            .field("live", &state.children.len())
            .field("cancelled", &state.stop.is_some())
            .finish_non_exhaustive()
    }
}
