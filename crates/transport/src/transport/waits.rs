//! Waiting for one half of a transport, which is told when nobody does any more.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Polls `half` until it is ready. Dropped before, but polled, it has the half `leave`.
pub(crate) fn waits<H, P, L, T>(half: &mut H, leave: L, poll: P) -> Waits<'_, H, P, L>
where
    H: ?Sized,
    P: FnMut(&mut H, &mut Context<'_>) -> Poll<T> + Unpin,
    L: FnMut(&mut H) + Unpin,
{
    Waits {
        half,
        poll,
        leave,
        pending: false,
    }
}

#[must_use = "futures do nothing unless polled"]
pub(crate) struct Waits<'a, H, P, L>
where
    H: ?Sized,
    L: FnMut(&mut H),
{
    half: &'a mut H,
    poll: P,
    leave: L,
    /// It was not ready when it was polled last.
    pending: bool,
}

impl<H, P, L, T> Future for Waits<'_, H, P, L>
where
    H: ?Sized,
    P: FnMut(&mut H, &mut Context<'_>) -> Poll<T> + Unpin,
    L: FnMut(&mut H) + Unpin,
{
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        let polled = (this.poll)(this.half, cx);
        this.pending = polled.is_pending();
        polled
    }
}

impl<H, P, L> Drop for Waits<'_, H, P, L>
where
    H: ?Sized,
    L: FnMut(&mut H),
{
    fn drop(&mut self) {
        if self.pending {
            (self.leave)(self.half);
        }
    }
}
