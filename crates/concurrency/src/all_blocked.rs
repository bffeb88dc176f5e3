use crate::ambient;
use crate::node::Waiting;
use bowline_backend::task;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Waits until every other task of the simulated world is parked, before its clock moves on.
///
/// For tests: what was started before has then gone as far as it can without time passing, so
/// there is no need to sleep for a while and hope. Of several who wait the first is let go alone.
///
/// # Panics
///
/// When polled on a backend other than the simulator: a real one cannot tell.
///
/// # Cancel safety
///
/// Nothing happened.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "sim")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::sync::Event;
/// use bowline_concurrency::{GroupError, Root, task_group, wait_all_blocked};
/// use std::sync::Arc;
///
/// let event = Arc::new(Event::new());
/// let done: Result<(), GroupError<()>> =
///     Root::new().backend(Backend::Sim).block_on(task_group(|group| async move {
///         for _ in 0..3 {
///             let event = event.clone();
///             group.spawn_ok(async move { event.wait().await });
///         }
///         wait_all_blocked().await;
///         assert_eq!(event.statistics().waiting, 3);
///         event.set();
///         Ok(())
///     }));
/// assert!(done.is_ok());
/// # }
/// ```
pub fn wait_all_blocked() -> WaitAllBlocked {
    WaitAllBlocked {
        wait: task::all_blocked(),
    }
}

/// Future of [`wait_all_blocked`].
#[must_use = "this waits for nothing until it is awaited"]
pub struct WaitAllBlocked {
    wait: task::AllBlocked,
}

impl Future for WaitAllBlocked {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if ambient::is_cancelled() {
            return Poll::Pending;
        }
        let waited = Pin::new(&mut self.wait).poll(cx);
        if waited.is_pending() {
            ambient::wait_for(Waiting::AllBlocked);
        }
        waited
    }
}

impl fmt::Debug for WaitAllBlocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitAllBlocked").finish_non_exhaustive()
    }
}
