use crate::ambient;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls and drops `future` as code that stands in no task and no scope, whoever polls it.
///
/// For work that several tasks wait for, and that whichever of them is polled moves on: in the scope
/// of one it would end with that one's cancel, and its timers would ring in that one's task. What is
/// cancelled around those who wait does not touch it, and deadlines in it have timers of their own.
#[doc(hidden)]
pub fn apart<F: Future>(future: F) -> Apart<F> {
    Apart {
        future: Some(future),
    }
}

pin_project! {
    /// Future of [`apart`].
    #[doc(hidden)]
    #[must_use = "this does nothing until it is awaited"]
    #[derive(Debug)]
    pub struct Apart<F> {
        // Gone once it is ready.
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Apart<F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if this.future.is_some() {
                ambient::inside(None, true, || this.future.set(None));
            }
        }
    }
}

impl<F: Future> Future for Apart<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        ambient::inside(None, true, || {
            let future = this.future.as_mut().as_pin_mut();
            let polled = future.expect("polled after it was ready").poll(cx);
            if polled.is_ready() {
                this.future.set(None);
            }
            polled
        })
    }
}

/// Whether the caller runs in a poll of a task or scope, where waiting by parking the thread would stop
/// what shares it. Closures of [`run_in_thread`](crate::run_in_thread) may park.
#[doc(hidden)]
pub fn in_poll() -> bool {
    let (place, in_task) = ambient::place();
    place != 0 || in_task
}
