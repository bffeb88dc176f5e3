//! What a close came to, for all who want to know; and for who waits for something else, that there is
//! one.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use bowline_concurrency::sync::{Event, Once};

use crate::error::Error;

/// The result of the close of something that several tasks share.
#[derive(Default)]
pub(crate) struct Ended(Once<Result<(), Error>>);

impl Ended {
    /// Waits for the result of a close that somebody else has begun.
    pub(crate) async fn wait(&self) -> Result<(), Error> {
        self.0.wait().await.clone()
    }

    /// It was aborted, and there is no close.
    pub(crate) fn nothing_to_wait_for(&self) {
        let _ = self.0.set(Ok(()));
    }

    /// For the one who closes: he is to tell the result, else it is what `aborted` makes.
    pub(crate) fn tell<F: Fn() -> Error>(&self, aborted: F) -> Telling<'_, F> {
        Telling {
            ended: self,
            aborted,
        }
    }
}

/// A close under way; dropped, it has become an abort.
pub(crate) struct Telling<'a, F: Fn() -> Error> {
    ended: &'a Ended,
    aborted: F,
}

impl<F: Fn() -> Error> Telling<'_, F> {
    /// Tells what the close came to.
    pub(crate) fn result(self, result: Result<(), Error>) -> Result<(), Error> {
        let _ = self.ended.0.set(result.clone());
        result
    }

    /// Tells that somebody else gave up meanwhile.
    pub(crate) fn aborted(self) -> Result<(), Error> {
        let error = (self.aborted)();
        self.result(Err(error))
    }
}

impl<F: Fn() -> Error> Drop for Telling<'_, F> {
    fn drop(&mut self) {
        if self.ended.0.get().is_none() {
            let _ = self.ended.0.set(Err((self.aborted)()));
        }
    }
}

/// What `future` gives; `None` where it has to wait once something is `closed`.
pub(crate) async fn unless_closed<F: Future>(closed: &Event, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut closed = pin!(closed.wait());
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => closed.as_mut().poll(cx).map(|()| None),
    })
    .await
}
