//! The end of a transport, which waits for what is queued, but not for ever.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bowline_backend::time::{self, Sleep};

use crate::error::Error;

/// Waits for `shutdown` of `sender`, at most as long as `most`; `late` is the error after that.
///
/// The clock is asked only once something waits: what is flushed closes anywhere.
pub(crate) async fn shut_down_within<S>(
    most: Duration,
    sender: &mut S,
    mut shutdown: impl FnMut(&mut S, &mut Context<'_>) -> Poll<Result<(), Error>>,
    late: impl Fn(&S) -> Error,
) -> Result<(), Error> {
    let mut sleep: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if let Poll::Ready(result) = shutdown(sender, cx) {
            return Poll::Ready(result);
        }
        let sleep = sleep.get_or_insert_with(|| Box::pin(time::sleep_until(time::now() + most)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(late(sender)))
    })
    .await
}
