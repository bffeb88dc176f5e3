//! The drop explorer: the mechanical test of cancel safety.

use crate::sim::block_on;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Drops a future at each of its awaits in turn and checks what is left.
///
/// For k = 1, 2, .. it calls `make` inside a fresh world (seed 0), polls the future it gave,
/// drops it when it was `Pending` for the k-th time and calls the check that came with it. It ends
/// with the first run in which the future completes, whose check is called too, and returns how
/// many awaits it dropped at.
///
/// # Panics
/// With the check's panic, and as [`block_on`].
///
/// ```
/// use bowline_sim::{explore_drops, host};
///
/// let awaits = explore_drops(|| {
///     let future = async {
///         host::yield_now().await;
///         host::yield_now().await;
///     };
///     (future, || {})
/// });
/// assert_eq!(awaits, 2);
/// ```
#[track_caller]
pub fn explore_drops<F, C>(mut make: impl FnMut() -> (F, C)) -> usize
where
    F: Future,
    C: FnOnce(),
{
    let mut dropped_at = 0;
    loop {
        let completed = block_on(0, async {
            let (future, check) = make();
            let completed = Until {
                future: Some(Box::pin(future)),
                left: dropped_at + 1,
            }
            .await;
            check();
            completed
        });
        if completed {
            return dropped_at;
        }
        dropped_at += 1;
    }
}

/// Polls a future until it was pending `left` times; true if it completed before.
struct Until<F> {
    future: Option<Pin<Box<F>>>,
    left: usize,
}

impl<F: Future> Future for Until<F> {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let Some(future) = &mut self.future else {
            return Poll::Ready(false);
        };
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        self.left -= 1;
        if self.left == 0 {
            self.future = None;
            return Poll::Ready(false);
        }
        Poll::Pending
    }
}
