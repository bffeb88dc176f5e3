//! What a cancel scope costs, per poll and per scope.

use crate::bodies::{Idle, PendingOnce, each, in_task};
use bowline::concurrency::CancelScope;
use std::future::poll_fn;
use std::hint::black_box;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

const POLLS: usize = 20_000;
const SCOPES: usize = 5000;

pub(crate) fn scope_polled() -> f64 {
    in_task(per_poll(CancelScope::new().run(Idle)))
}

pub(crate) fn token_polled() -> f64 {
    in_task(async {
        let token = CancellationToken::new().child_token();
        per_poll(token.run_until_cancelled(Idle)).await
    })
}

pub(crate) fn four_scopes_polled() -> f64 {
    let scope = CancelScope::new;
    let inner = scope().run(scope().run(Idle));
    in_task(per_poll(scope().run(scope().run(inner))))
}

pub(crate) fn four_tokens_polled() -> f64 {
    in_task(async {
        let outer = CancellationToken::new();
        let second = outer.child_token();
        let third = second.child_token();
        let fourth = third.child_token();
        let inner = third.run_until_cancelled(fourth.run_until_cancelled(Idle));
        per_poll(outer.run_until_cancelled(second.run_until_cancelled(inner))).await
    })
}

pub(crate) fn scope_made() -> f64 {
    in_task(async {
        let start = Instant::now();
        for n in 0..SCOPES {
            let outcome = CancelScope::new().run(async move { n }).await;
            assert_eq!(black_box(outcome).done(), Some(n));
        }
        each(start, SCOPES)
    })
}

pub(crate) fn token_made() -> f64 {
    in_task(async {
        let outer = CancellationToken::new();
        let start = Instant::now();
        for n in 0..SCOPES {
            let token = outer.child_token();
            let outcome = token.run_until_cancelled(async move { n }).await;
            assert_eq!(black_box(outcome), Some(n));
        }
        each(start, SCOPES)
    })
}

pub(crate) fn scope_made_pending() -> f64 {
    in_task(per_made(|| CancelScope::new().run(PendingOnce::default())))
}

pub(crate) fn token_made_pending() -> f64 {
    in_task(async {
        let outer = CancellationToken::new();
        per_made(|| {
            outer
                .child_token()
                .run_until_cancelled_owned(PendingOnce::default())
        })
        .await
    })
}

/// Nanoseconds per poll of a future that is never ready.
async fn per_poll(future: impl Future) -> f64 {
    let mut future = pin!(future);
    poll_fn(|cx| {
        assert!(future.as_mut().poll(cx).is_pending());
        let start = Instant::now();
        for _ in 0..POLLS {
            assert!(black_box(future.as_mut().poll(cx)).is_pending());
        }
        Poll::Ready(each(start, POLLS))
    })
    .await
}

/// Nanoseconds to make a future that is pending once, poll it twice and drop it.
async fn per_made<F: Future>(mut make: impl FnMut() -> F) -> f64 {
    poll_fn(|cx| {
        let start = Instant::now();
        for _ in 0..SCOPES {
            let mut future = pin!(make());
            assert!(black_box(future.as_mut().poll(cx)).is_pending());
            assert!(black_box(future.as_mut().poll(cx)).is_ready());
        }
        Poll::Ready(each(start, SCOPES))
    })
    .await
}
