//! How long a stream may take no byte of what waits for it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::time::{self, Instant, Sleep};

/// Runs while bytes wait, from the last one that was taken.
///
/// Where no backend runs, nothing can be timed and nothing stalls.
pub(super) struct Stall {
    most: Option<Duration>,
    /// Bytes wait since then, or since some were taken, plus what is allowed.
    until: Instant,
    /// Armed at `until` or at an earlier one; absent while nothing waits.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub(super) fn new(most: Option<Duration>) -> Stall {
        Stall {
            most,
            until: Instant::NEVER,
            sleep: None,
        }
    }

    /// Nothing waits any more.
    pub(super) fn over(&mut self) {
        self.sleep = None;
    }

    /// Bytes wait. Ready once none was taken for too long; until then `cx` is woken at that time.
    pub(super) fn poll(&mut self, progress: Progress, cx: &mut Context<'_>) -> Poll<()> {
        let Some(most) = self.most else {
            return Poll::Pending;
        };
        if self.sleep.is_none() && !Backend::current().is_ok_and(Backend::is_running) {
            return Poll::Pending;
        }
        if self.sleep.is_none() || progress == Progress::Made {
            self.until = time::now().saturating_add(most);
        }
        let until = self.until;
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(time::sleep_until(until)));
        while sleep.as_mut().poll(cx).is_ready() {
            // Bytes that were taken move the end, and the timer learns of it once it rings.
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}

/// Whether the stream took bytes in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Made,
    None,
}
