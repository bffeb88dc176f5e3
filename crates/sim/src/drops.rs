//! The drop explorer: the mechanical test of cancel safety.

use crate::sim::block_on;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

/// So many awaits one exploration goes through.
const MOST: usize = 1_000;

/// Drops a future at each of its awaits in turn and checks what is left.
///
/// For k = 1, 2, .. it calls `make` inside a fresh world (seed 0), polls the future it gave,
/// drops it when it was `Pending` for the k-th time and calls the check that came with it. It ends
/// with the first run in which the future completes, whose check is called too, and returns how
/// many awaits it dropped at.
///
/// What is around the future may come in another order under another seed: see
/// [`explore_drops_under`].
///
/// # Panics
/// With the check's panic, and as [`block_on`]; and with a future that is pending more than 1 000
/// times, for it may never complete.
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
    explore(0, &mut make)
}

/// As [`explore_drops`], under each of `seeds`: how many awaits it dropped at in all of them.
///
/// # Panics
/// As [`explore_drops`]. What panics says under which seed on the standard error.
#[track_caller]
pub fn explore_drops_under<F, C>(seeds: Range<u64>, mut make: impl FnMut() -> (F, C)) -> usize
where
    F: Future,
    C: FnOnce(),
{
    let mut dropped_at = 0;
    for seed in seeds {
        let telling = Telling(seed);
        dropped_at += explore(seed, &mut make);
        drop(telling);
    }
    dropped_at
}

/// Tells the seed where a panic goes through.
struct Telling(u64);

impl Drop for Telling {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the drop explorer failed under seed {}", self.0);
        }
    }
}

#[track_caller]
fn explore<F, C>(seed: u64, make: &mut impl FnMut() -> (F, C)) -> usize
where
    F: Future,
    C: FnOnce(),
{
    for dropped_at in 0..=MOST {
        let completed = block_on(seed, async {
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
    }
    panic!("under seed {seed} the future was pending {MOST} times and more: it may never complete")
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
