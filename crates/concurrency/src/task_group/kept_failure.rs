use super::TaskGroup;
use super::child::Duty;
use super::start::{EndedEarly, Reported, Reports};
use crate::caught::discard;
use crate::panic::Panic;
use crate::task_handle::TaskHandle;
use std::borrow::Cow;
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};

/// The failure that a child ends with, however it ends. It lies outside of the child's body, so it
/// is still there when a cancel or the runtime has dropped that.
///
/// Invariant: the first failure stays; none is dropped under the lock.
pub(crate) struct KeptFailure<E> {
    first: Mutex<Option<EndedEarly<E>>>,
}

impl<E> KeptFailure<E> {
    fn new() -> KeptFailure<E> {
        KeptFailure {
            first: Mutex::new(None),
        }
    }

    /// The child is to fail with this, unless it has failed before.
    pub(crate) fn keep(&self, failure: Result<E, Panic>) {
        let failure = match failure {
            Ok(error) => EndedEarly::Failed(error),
            Err(panic) => EndedEarly::Panicked(panic),
        };
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let surplus = match &mut *first {
            Some(_) => Some(failure),
            none => none.replace(failure),
        };
        drop(first);
        discard(surplus);
    }

    fn take(&self) -> Option<EndedEarly<E>> {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.take()
    }
}

impl<E: Send> Reports<E> for KeptFailure<E> {
    fn report(&self, ended: EndedEarly<E>) -> Reported<E> {
        match self.take() {
            None => Reported::Started(ended),
            Some(kept) => {
                discard(ended);
                Reported::Started(kept)
            }
        }
    }
}

impl<E: Send + 'static> TaskGroup<E> {
    /// Starts a child that says of its failures while it goes on; `None` if the group has ended or
    /// is full.
    #[track_caller]
    pub(crate) fn spawn_keeping<F, Fut>(
        &self,
        name: impl Into<Cow<'static, str>>,
        make: F,
    ) -> Option<TaskHandle<()>>
    where
        F: FnOnce(Arc<KeptFailure<E>>) -> Fut,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
    {
        let child = self.new_child::<()>(name.into(), Location::caller());
        let kept = Arc::new(KeptFailure::new());
        let future = make(kept.clone());
        self.admit_waitless(&child).ok()?;
        let duty = Duty {
            child,
            group: self.node.clone(),
            start: Some(kept),
        };
        Some(self.launch_with(duty, future, |result| result))
    }
}
