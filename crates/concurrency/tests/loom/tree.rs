//! The races of the tree: who is cancelled while something ends, comes, moves or is shielded.

use crate::{end, explore_two, start};
use bowline_concurrency::sync::Event;
use bowline_concurrency::{CancelScope, Outcome, propagate, shield, sleep_forever};
use loom::future::block_on;
use loom::thread::{self, JoinHandle};
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

/// Hands a future to a thread that runs it to its end.
fn hand_over(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    thread::spawn(move || block_on(future))
}

/// What a scope that waits for ever was cancelled with.
fn reason<T>(outcome: &Outcome<T>) -> &str {
    outcome.cause().expect("it does not end by itself").reason()
}

#[test]
fn scope_cancelled_while_its_body_ends() {
    explore_two(|| {
        let scope = CancelScope::new();
        let handle = Arc::new(scope.handle());
        let cancels = start(&handle, |handle| assert!(handle.cancel("x")));
        let mut polls = 0;
        let outcome = block_on(scope.run(poll_fn(|cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            if polls == 3 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })));
        end([cancels]);
        assert!(handle.cancel_called());
        assert_eq!(handle.cancelled_caught(), outcome.cause().is_some());
    });
}

#[test]
fn scope_cancelled_by_two() {
    explore_two(|| {
        let scope = CancelScope::new();
        let handle = Arc::new(scope.handle());
        let other = Arc::new(loom::sync::Mutex::new(false));
        let told = other.clone();
        let cancels = start(&handle, move |handle| {
            *told.lock().unwrap() = handle.cancel("other");
        });
        let mut own = false;
        let outcome = block_on(scope.run(async {
            own = handle.cancel("own");
            sleep_forever().await
        }));
        end([cancels]);
        assert_ne!(own, *other.lock().unwrap(), "one of them is the first");
        assert_eq!(reason(&outcome), if own { "own" } else { "other" });
    });
}

#[test]
fn node_linked_while_what_is_above_is_cancelled() {
    explore_two(|| {
        let scope = CancelScope::new();
        let handle = Arc::new(scope.handle());
        let cancels = start(&handle, |handle| assert!(handle.cancel("x")));
        let mut carried = None;
        let outcome = block_on(scope.run(async {
            carried = Some(propagate(sleep_forever()));
            sleep_forever().await
        }));
        assert_eq!(reason(&outcome), "x");
        end([cancels]);
        // It ends only if the cancel reached its node.
        if let Some(carried) = carried {
            assert!(block_on(carried).cause().is_some());
        }
    });
}

#[test]
fn body_that_runs_elsewhere_while_its_place_is_cancelled() {
    explore_two(|| {
        let mut elsewhere = None;
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = block_on(scope.run(async {
            let carried = propagate(sleep_forever());
            elsewhere = Some(hand_over(async {
                assert!(carried.await.cause().is_some())
            }));
            handle.cancel("x");
            sleep_forever().await
        }));
        assert_eq!(reason(&outcome), "x");
        end(elsewhere);
    });
}

#[test]
fn last_hold_moved_away_while_the_scope_is_cancelled() {
    explore_two(|| {
        let scope = CancelScope::new();
        let handle = Arc::new(scope.handle());
        let mut moves = None;
        let cancels = start(&handle, |handle| assert!(handle.cancel("x")));
        let outcome = block_on(scope.run(async {
            let event = Event::new();
            let mut held = Box::pin(shield(async move {
                poll_fn(|_| match event.is_set() {
                    true => Poll::Ready(()),
                    false => {
                        event.set();
                        Poll::Pending
                    }
                })
                .await;
            }));
            poll_fn(|cx| Poll::Ready(assert!(held.as_mut().poll(cx).is_pending()))).await;
            // Polled where nothing of ours is around, it leaves with its hold, and ends.
            moves = Some(hand_over(held));
            sleep_forever().await
        }));
        assert_eq!(reason(&outcome), "x");
        end([cancels].into_iter().chain(moves));
    });
}

#[test]
fn shield_raised_and_lowered_while_what_is_above_is_cancelled() {
    explore_two(|| {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let handle = Arc::new(outer.handle());
        let shield = inner.handle();
        let cancels = start(&handle, |handle| assert!(handle.cancel("x")));
        let outcome = block_on(outer.run(inner.run(async {
            shield.raise_shield();
            shield.lower_shield();
            sleep_forever().await
        })));
        assert_eq!(reason(&outcome), "x");
        end([cancels]);
    });
}

#[test]
fn shield_raised_over_a_leaf_that_the_cancel_froze() {
    explore_two(|| {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let handles = Arc::new((outer.handle(), inner.handle()));
        let event = Event::new();
        event.set();
        let raises = start(&handles, |(outer, inner)| {
            outer.cancel("x");
            inner.raise_shield();
        });
        // Ready, unless it is polled between the cancel and the shield.
        let outcome = block_on(outer.run(inner.run(event.wait())));
        match outcome {
            Outcome::Done(Outcome::Done(())) => {}
            cut => assert_eq!(reason(&cut), "x"),
        }
        end([raises]);
    });
}
