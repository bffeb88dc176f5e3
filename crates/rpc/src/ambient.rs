//! What a handler hands on to the calls it makes, wherever they are made.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bowline_backend::time::{self, Instant};
use bowline_concurrency::{Nesting, current_nesting, in_nesting, scope_local};

use crate::trace;

scope_local! {
    /// When the caller of a handler that no scope ends stops waiting.
    static UNTIL: Instant, inherit;
}

/// Has the calls that `body` makes belong to `trace`, and wait no longer than to `until`, as a scope with a
/// deadline would, which does not end it then.
pub(crate) fn handed_on<'a, T: 'a>(
    trace: Option<Arc<str>>,
    until: Option<Instant>,
    body: Pin<Box<dyn Future<Output = T> + Send + 'a>>,
) -> Pin<Box<dyn Future<Output = T> + Send + 'a>> {
    let traced = match trace {
        Some(trace) => Box::pin(trace::inside(trace, body)),
        None => body,
    };
    match until {
        Some(until) => Box::pin(UNTIL.scope(until, traced)),
        None => traced,
    }
}

/// When calls made here by a handler that no scope ends are over at the latest. Once its caller has stopped
/// waiting that is no matter any more: what it does then it does for others.
pub(crate) fn deadline() -> Option<Instant> {
    let until = UNTIL.with(|until| *until).ok()?;
    (time::now() < until).then_some(until)
}

/// What is handed on here, to be handed on from a thread.
pub(crate) struct Ambient {
    nesting: Nesting,
    trace: Option<Arc<str>>,
    until: Option<Instant>,
}

impl Ambient {
    pub(crate) fn here() -> Self {
        Self {
            nesting: current_nesting(),
            trace: trace::current(),
            until: UNTIL.with(|until| *until).ok(),
        }
    }

    /// Runs `f` as if it ran where this was asked for.
    pub(crate) fn around<R>(self, f: impl FnOnce() -> R + Send) -> R {
        let body = handed_on(self.trace, self.until, Box::pin(async { f() }));
        in_nesting(self.nesting, || now(body))
    }
}

/// What a future gives that waits for nothing.
fn now<F: Future + Unpin>(mut ready: F) -> F::Output {
    match Pin::new(&mut ready).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("it waits for nothing"),
    }
}
