use super::Portal;
use super::error::{PortalError, PortalStartError};
use super::handle::PortalHandle;
use super::ticket::{self, Ticket};
use crate::ambient;
use crate::sync::parked;
use crate::task_group::{Accepts, Started};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// A task that has started, and what it said.
type Begun<T, E, V> = (PortalHandle<Result<T, E>>, V);

impl Portal {
    /// Runs the future that `f` makes as a task behind the portal, and parks the thread until the
    /// task says that it has started, with a value: the port it listens on, say.
    ///
    /// # Errors
    ///
    /// [`PortalStartError`], if the task ended first or was not taken. What it returns afterwards
    /// is the value of the handle.
    #[track_caller]
    pub fn start<T, E, V, F, Fut>(&self, f: F) -> Result<Begun<T, E, V>, PortalStartError<E>>
    where
        F: FnOnce(Started<V>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
        V: Send + 'static,
    {
        let sent = Arc::new(Sent::new());
        let record = sent.clone();
        let ticket = self.order(move || {
            let Some(task) = ambient::task() else {
                unreachable!("the future of a call is made in its task");
            };
            f(Started::new(record, task))
        });
        match parked(started(&ticket, &sent)).map_err(PortalStartError::Portal)? {
            Some(value) => {
                let handle = PortalHandle::new(self.passage().clone(), ticket);
                Ok((handle, value))
            }
            None => Err(self.ended_early(&ticket)),
        }
    }

    /// Why a task ended that has not started.
    fn ended_early<T, E>(&self, ticket: &Ticket<Result<T, E>>) -> PortalStartError<E>
    where
        T: Send + 'static,
        E: Send + 'static,
    {
        let joined = ticket.take().map(|task| task.try_join());
        let Some(Ok(joined)) = joined else {
            unreachable!("the task has ended, and its handle is here");
        };
        match ticket::outcome(joined, &self.passage().group) {
            Ok(Ok(_)) => PortalStartError::ExitedEarly,
            Ok(Err(error)) => PortalStartError::Failed(error),
            Err(error) => PortalStartError::Portal(error),
        }
    }
}

/// Waits for the value; there is none if the task has ended without.
async fn started<T: Send + 'static, V>(
    ticket: &Ticket<T>,
    sent: &Sent<V>,
) -> Result<Option<V>, PortalError> {
    let task = poll_fn(|cx| ticket.poll_begun(cx)).await?;
    let mut ended = pin!(task.wait());
    let value = poll_fn(|cx| {
        if let Some(value) = sent.take(cx) {
            return Poll::Ready(Some(value));
        }
        // A value that was sent came before the end.
        ended.as_mut().poll(cx).map(|_| sent.take(cx))
    });
    Ok(value.await)
}

/// The value on its way. Invariant: under the lock no waker is cloned or woken.
struct Sent<V>(Mutex<Way<V>>);

struct Way<V> {
    value: Option<V>,
    waker: Option<Waker>,
}

impl<V> Sent<V> {
    fn new() -> Sent<V> {
        Sent(Mutex::new(Way {
            value: None,
            waker: None,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Way<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, cx: &Context<'_>) -> Option<V> {
        let waker = cx.waker().clone();
        let mut way = self.lock();
        if let Some(value) = way.value.take() {
            return Some(value);
        }
        let former = way.waker.replace(waker);
        drop(way);
        drop(former);
        None
    }
}

impl<V: Send> Accepts<V> for Sent<V> {
    fn accept(&self, value: V) -> Result<Option<Waker>, V> {
        let mut way = self.lock();
        way.value = Some(value);
        Ok(way.waker.take())
    }
}
