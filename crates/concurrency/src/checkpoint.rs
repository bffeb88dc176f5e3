use crate::ambient;
use crate::cause::Cause;
use crate::node::{NodeRef, Waiting};
use bowline_backend::task;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Lets other tasks run, and never returns if the code around it is cancelled.
///
/// # Cancel safety
///
/// Nothing happened.
pub fn checkpoint() -> Checkpoint {
    Checkpoint {
        turn: task::yield_now(),
    }
}

/// Never returns if the code around it is cancelled; otherwise goes on at once.
///
/// # Cancel safety
///
/// Nothing happened.
pub fn checkpoint_if_cancelled() -> CheckpointIfCancelled {
    CheckpointIfCancelled(())
}

/// Lets other tasks run once; returns also in a cancelled scope.
///
/// # Cancel safety
///
/// Nothing happened.
#[doc(alias = "cancel_shielded_checkpoint")]
pub fn yield_now() -> YieldNow {
    YieldNow {
        turn: task::yield_now(),
    }
}

/// Waits until the code around it is cancelled, be it with a grace, and says why. Outside of any
/// scope it waits for ever.
///
/// A parked body gets one poll after the cancel, so code behind this runs up to its first
/// `Pending`. A cancel that comes from another thread in the middle of a poll takes effect at the
/// end of that poll.
///
/// # Cancel safety
///
/// Nothing happened.
pub fn cancelled() -> Cancelled {
    Cancelled { watch: None }
}

/// Whether the code that asks is cancelled: its scope or one around it, be it with a grace. In a
/// closure of [`run_in_thread`](crate::run_in_thread), those around whoever awaits that, or
/// whether nobody does any more.
pub fn is_cancelled() -> bool {
    ambient::with(|node| node.map(|node| node.is_noticed()))
        .unwrap_or_else(|| ambient::standpoint().is_some_and(|place| place.is_noticed()))
}

/// Says why the code that asks is cancelled, as [`is_cancelled`] finds it.
///
/// # Errors
///
/// The cause of the outermost cancelled scope around the caller.
pub fn check_cancelled() -> Result<(), Cause> {
    match visible_cause() {
        Some(cause) => Err(cause),
        None => Ok(()),
    }
}

fn visible_cause() -> Option<Cause> {
    let node = ambient::standpoint()?;
    if !node.is_noticed() {
        return None;
    }
    node.visible_cause()
}

/// Future of [`checkpoint`].
#[derive(Debug)]
#[must_use = "a checkpoint is none until it is awaited"]
pub struct Checkpoint {
    turn: task::YieldNow,
}

impl Future for Checkpoint {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if ambient::is_cancelled() {
            return Poll::Pending;
        }
        yielding(&mut self.turn, Waiting::Checkpoint, cx)
    }
}

/// Future of [`checkpoint_if_cancelled`].
#[derive(Debug)]
#[must_use = "a checkpoint is none until it is awaited"]
pub struct CheckpointIfCancelled(());

impl Future for CheckpointIfCancelled {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        match ambient::is_cancelled() {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    }
}

/// Future of [`yield_now`].
#[derive(Debug)]
#[must_use = "nothing is yielded until this is awaited"]
pub struct YieldNow {
    turn: task::YieldNow,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        yielding(&mut self.turn, Waiting::Yield, cx)
    }
}

fn yielding(turn: &mut task::YieldNow, what: Waiting, cx: &mut Context<'_>) -> Poll<()> {
    let yielded = Pin::new(turn).poll(cx);
    if yielded.is_pending() {
        ambient::wait_for(what);
    }
    yielded
}

/// Future of [`cancelled`].
#[must_use = "this waits for nothing until it is awaited"]
pub struct Cancelled {
    watch: Option<Watch>,
}

/// A place in a node's list of those to wake, given up on drop.
struct Watch {
    node: NodeRef,
    key: Option<usize>,
}

impl Future for Cancelled {
    type Output = Cause;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Cause> {
        let Some(node) = ambient::current() else {
            return Poll::Pending;
        };
        let watch = match &mut self.watch {
            Some(watch) if watch.node.address() == node.address() => watch,
            other => other.insert(Watch { node, key: None }),
        };
        if !watch.node.watch(cx.waker(), &mut watch.key) {
            watch.node.wait_for(Waiting::Cancelled);
            return Poll::Pending;
        }
        match watch.node.visible_cause() {
            Some(cause) => Poll::Ready(cause),
            // A shield was raised in between; nobody was registered.
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.node.unwatch(key);
        }
    }
}

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled").finish_non_exhaustive()
    }
}
