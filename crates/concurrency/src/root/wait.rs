//! How a root waits for what was left behind, and says so.

use super::Leftovers;
use crate::ambient;
use crate::node::NodeRef;
use bowline_backend::Backend;
use bowline_backend::time::{Instant, Sleep};
use std::fmt;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// How often a root that waits for leftovers names them.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The wait for what was left behind.
pub(super) struct Wait {
    /// Until the next report or the end.
    sleep: Pin<Box<Sleep>>,
    backend: Backend,
    until: Instant,
}

impl Wait {
    pub(super) fn new(root: &NodeRef, within: Option<Duration>) -> Wait {
        let backend = root.backend().unwrap_or_else(ambient::backend);
        let now = backend.now();
        let until = within.map_or(Instant::NEVER, |span| now.saturating_add(span));
        let next = until.min(now.saturating_add(REPORT_EVERY));
        Wait {
            sleep: Box::pin(backend.sleep_until(next)),
            backend,
            until,
        }
    }

    /// Names those that are left each time the sleep fires; ready when it was the last time.
    pub(super) fn poll(&mut self, root: &NodeRef, cx: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            let now = self.backend.now();
            let over = now >= self.until;
            let what = if over { "left behind" } else { "waiting for" };
            for line in Leftovers::of(root).to_string().lines() {
                say(format_args!("bowline: {what} {line}\n"));
            }
            if over {
                return Poll::Ready(());
            }
            let next = self.until.min(now.saturating_add(REPORT_EVERY));
            self.sleep.as_mut().reset(next);
        }
        Poll::Pending
    }
}

/// Tells whoever reads the standard error. That nobody does must not end the wait for what is left:
/// the macros would panic.
pub(super) fn say(text: fmt::Arguments<'_>) {
    let _ = io::stderr().write_fmt(text);
}
