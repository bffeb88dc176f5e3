//! Branches of a scope or combinator, and cancels of the scopes around it.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_concurrency::sync::Event;
use bowline_concurrency::{
    CancelScope, Root, as_completed, cancel_scope, cancelled, gather, scope, shield, sleep_forever,
    timeout,
};
use every_backend::every_backend;
use futures_util::future::{Either, poll_immediate, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// More than a task polls of them at a time.
const MANY: usize = 200;

every_backend!(
    many_that_were_granted_before_a_cancel_complete,
    many_hear_of_a_cancel_in_their_last_poll,
    many_that_are_ready_pass_in_a_cancelled_scope,
    no_value_is_missing_where_a_shield_hides_the_cancel,
    a_timeout_around_one_wait_cuts_nothing,
    a_stream_that_was_taken_out_of_its_scope_ends_with_the_next,
);

// CP5
fn many_that_were_granted_before_a_cancel_complete(root: Root) {
    let done = AtomicUsize::new(0);
    let outcome = root.block_on(cancel_scope(|outer| {
        scope::<(), (), _, _>(|scope| {
            let done = &done;
            async move {
                let gate = std::sync::Arc::new(Event::new());
                for _ in 0..MANY {
                    let gate = gate.clone();
                    scope.spawn_ok(async move {
                        gate.wait().await;
                        done.fetch_add(1, Ordering::Relaxed);
                    });
                }
                while gate.statistics().waiting < MANY {
                    bowline_concurrency::yield_now().await;
                }
                gate.set();
                outer.cancel("enough");
                sleep_forever().await;
                Ok(())
            }
        })
    }));
    assert!(outcome.cause().is_some());
    assert_eq!(done.into_inner(), MANY);
}

// CS44
fn many_hear_of_a_cancel_in_their_last_poll(root: Root) {
    let heard = AtomicUsize::new(0);
    let outcome = root.block_on(cancel_scope(|outer| {
        let heard = &heard;
        let waiting = (0..MANY).map(move |n| {
            let outer = outer.clone();
            async move {
                if n == MANY / 2 {
                    bowline_concurrency::yield_now().await;
                    outer.cancel("enough");
                }
                cancelled().await;
                heard.fetch_add(1, Ordering::Relaxed);
                sleep_forever().await;
                Ok::<_, ()>(())
            }
        });
        gather(waiting)
    }));
    assert!(outcome.cause().is_some());
    assert_eq!(heard.into_inner(), MANY);
}

// TG44
fn many_that_are_ready_pass_in_a_cancelled_scope(root: Root) {
    let outcome = root.block_on(cancel_scope(|outer| {
        outer.cancel("before it began");
        gather((0..MANY).map(|n| ready(Ok::<_, ()>(n))))
    }));
    let values = outcome.done().expect("it completes in its one poll");
    assert_eq!(values.unwrap(), (0..MANY).collect::<Vec<_>>());
}

// TG44
fn no_value_is_missing_where_a_shield_hides_the_cancel(root: Root) {
    root.block_on(async {
        let gate = Event::new();
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outer_handle, inner_handle) = (outer.handle(), inner.handle());
        let two = gather([
            Either::Left(async {
                sleep_forever().await;
                Ok::<_, ()>(0)
            }),
            Either::Right(async {
                shield(gate.wait()).await;
                Ok(1)
            }),
        ]);
        let mut running = Box::pin(outer.run(inner.run(two)));
        assert!(poll_immediate(&mut running).await.is_none());
        outer_handle.cancel("cuts the first");
        assert!(poll_immediate(&mut running).await.is_none());
        inner_handle.raise_shield();
        gate.set();
        for _ in 0..3 {
            let answer = poll_immediate(&mut running).await;
            assert!(answer.is_none(), "{answer:?}");
        }
    });
}

// TG46
fn a_timeout_around_one_wait_cuts_nothing(root: Root) {
    root.block_on(async {
        let gates = [Event::new(), Event::new()];
        let mut waits = as_completed(gates.iter().map(|gate| gate.wait()));
        for _ in 0..3 {
            assert!(timeout(Duration::ZERO, waits.next()).await.is_err());
            assert_eq!(waits.len(), 2);
        }
        gates[1].set();
        assert_eq!(waits.next().await, Some((1, ())));
        gates[0].set();
        assert_eq!(waits.next().await, Some((0, ())));
        assert_eq!(waits.next().await, None);
    });
}

// TG46
fn a_stream_that_was_taken_out_of_its_scope_ends_with_the_next(root: Root) {
    root.block_on(async {
        let gate = Event::new();
        let made = cancel_scope(|_| async {
            let mut waits = as_completed([0, 1].map(|n| {
                let gate = &gate;
                async move {
                    if n == 0 {
                        gate.wait().await;
                    }
                    sleep_forever().await
                }
            }));
            assert!(poll_immediate(waits.next()).await.is_none());
            waits
        });
        let mut waits = made.await.done().expect("nobody cancelled it");
        gate.set();
        let outcome = cancel_scope(|handle| {
            let waits = &mut waits;
            async move {
                assert!(poll_immediate(waits.next()).await.is_none());
                handle.cancel("it is below this scope now");
                assert!(poll_immediate(waits.next()).await.is_none());
                assert_eq!(waits.len(), 0, "they were cut");
                sleep_forever().await
            }
        });
        assert!(outcome.await.cause().is_some());
    });
}
