//! How long a frame may be under way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::time::{self, Instant, Sleep};

/// Looks at the clock, in the time that a frame may take.
const LOOKS: u32 = 16;

/// The least time between two of them.
const LOOK_MIN: Duration = Duration::from_millis(500);

/// The time in which somebody waited for the rest of the frame that is under way.
///
/// Nobody tells a receiver that a `recv` was given up. But who waits is woken for every look at the
/// clock, so of a longer time between two polls it is known that nobody received: it is not counted.
///
/// The timer is kept where a frame is whole, for the next one may come in pieces too; it rings once
/// more and is dropped.
#[derive(Default)]
pub(super) struct Late {
    spent: Duration,
    /// When somebody last waited for the frame under way.
    polled: Option<Instant>,
    look: Option<Pin<Box<Sleep>>>,
}

impl Late {
    /// For a read that waits with a frame under way: ready once that took longer than `most`.
    pub(super) fn poll(&mut self, most: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let pause = (most / LOOKS).max(LOOK_MIN);
        let now = time::now();
        if let Some(before) = self.polled.replace(now) {
            let passed = now.saturating_duration_since(before);
            if passed <= 2 * pause {
                self.spent = self.spent.saturating_add(passed);
            }
        }
        let left = most.saturating_sub(self.spent);
        if left.is_zero() {
            return Poll::Ready(());
        }
        let next = now.saturating_add(pause.min(left));
        let look = self
            .look
            .get_or_insert_with(|| Box::pin(time::sleep_until(next)));
        // One that was set for an earlier frame may ring earlier, and never later.
        if look.deadline() > next || look.as_mut().poll(cx).is_ready() {
            look.as_mut().reset(next);
            if look.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// For a read that waits between two frames.
    pub(super) fn rest(&mut self, cx: &mut Context<'_>) {
        if let Some(look) = &mut self.look
            && look.as_mut().poll(cx).is_ready()
        {
            self.look = None;
        }
    }

    /// A frame is whole, or there is none.
    pub(super) fn whole(&mut self) {
        self.spent = Duration::ZERO;
        self.polled = None;
    }
}
