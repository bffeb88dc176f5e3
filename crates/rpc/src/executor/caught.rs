//! Panics of handlers, and of the destructors of what they leave.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project_lite::pin_project! {
    /// Catches a panic out of a poll; the panic hook has run. Dropping it does not panic.
    pub(super) struct Caught<F> {
        #[pin]
        running: Option<F>,
    }

    impl<F> PinnedDrop for Caught<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut running = this.project().running;
            quietly(|| running.set(None));
        }
    }
}

pub(super) fn caught<F: Future>(running: F) -> Caught<F> {
    Caught {
        running: Some(running),
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, Box<dyn Any + Send>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(running) = self.project().running.as_pin_mut() else {
            return Poll::Pending;
        };
        // After a panic the future is never polled again, only dropped.
        match panic::catch_unwind(AssertUnwindSafe(|| running.poll(cx))) {
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(payload) => Poll::Ready(Err(payload)),
        }
    }
}

/// Runs `work` to its end, which a panic is too.
pub(super) async fn contained(work: impl Future<Output = ()>) {
    if let Err(payload) = caught(work).await {
        discard(payload);
    }
}

/// Drops what belongs to a handler or a caller and nobody wants: a panic of its destructor has no
/// one to go to.
pub(crate) fn discard<T>(unwanted: T) {
    quietly(|| drop(unwanted));
}

fn quietly(foreign: impl FnOnce()) {
    if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(foreign)) {
        // Dropping it may panic like what it came from, for ever.
        std::mem::forget(payload);
    }
}
