//! Nothing that happens to a scope while its body is polled is slept through.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::{
    CancelScope, CauseKind, Deadline, Outcome, Root, TaskGroup, now, on_cancel, sleep,
    sleep_forever, task_group, timeout,
};
use every_backend::every_backend;
use futures_util::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

every_backend!(
    a_leaf_that_was_frozen_is_polled_when_a_shield_hides_the_cancel,
    an_admission_that_began_frozen_looks_for_room_when_a_shield_hides_the_cancel,
);

fn kind<T>(outcome: &Outcome<T>) -> Option<CauseKind> {
    outcome.cause().map(|cause| cause.kind())
}

// CS16
fn a_leaf_that_was_frozen_is_polled_when_a_shield_hides_the_cancel(root: Root) {
    root.block_on(async {
        for later in [false, true] {
            let (outer, inner) = (CancelScope::new(), CancelScope::new());
            let (outside, inside) = (outer.handle(), inner.handle());
            let body = async move {
                if later {
                    bowline_concurrency::yield_now().await;
                }
                outside.cancel("enough");
                let mut leaf = pin!(sleep(MS));
                let mut raised = false;
                poll_fn(|cx| {
                    let polled = leaf.as_mut().poll(cx);
                    if !std::mem::replace(&mut raised, true) {
                        assert!(polled.is_pending(), "the cancel freezes it");
                        inside.raise_shield();
                    }
                    polled
                })
                .await;
            };
            let outcome = outer.run(inner.run(body)).await;
            assert!(matches!(outcome, Outcome::Done(Outcome::Done(()))));
        }
    })
}

// CS16, TG14
fn an_admission_that_began_frozen_looks_for_room_when_a_shield_hides_the_cancel(root: Root) {
    let group = TaskGroup::builder().max_children(1);
    let result = root.block_on(group.run::<_, (), _, _>(|group| async move {
        let (outer, inner) = (CancelScope::new(), CancelScope::new());
        let (outside, inside) = (outer.handle(), inner.handle());
        let body = async move {
            outside.cancel("enough");
            let mut admission = pin!(group.admit());
            let mut raised = false;
            poll_fn(|cx| {
                let polled = admission.as_mut().poll(cx);
                if !std::mem::replace(&mut raised, true) {
                    assert!(polled.is_pending(), "the cancel freezes it");
                    inside.raise_shield();
                }
                polled
            })
            .await
            .map(drop)
        };
        Ok(outer.run(inner.run(body)).await)
    }));
    assert!(matches!(result, Ok(Outcome::Done(Outcome::Done(Ok(()))))));
}

// CS41, CS47
#[test]
fn finalisers_of_a_scope_below_no_root_end_in_time() {
    for &backend in Backend::available() {
        let eager = CancelScope::new().eager_drop().timeout(MS);
        let outcome = backend.block_on(eager.finalise_within(5 * MS).run(async {
            let _guard = on_cancel(|_| async {
                sleep_forever().await;
            });
            sleep_forever().await
        }));
        assert_eq!(kind(&outcome), Some(CauseKind::Deadline), "{backend}");
    }
}

// CS41
#[test]
fn a_finaliser_below_no_root_may_wait_for_one_deadline_after_another() {
    for &backend in Backend::available() {
        let waited = Arc::new(AtomicU32::new(0));
        let count = waited.clone();
        let outcome = backend.block_on(CancelScope::new().timeout(MS).run(async move {
            let _guard = on_cancel(move |_| async move {
                for _ in 0..3 {
                    assert!(timeout(MS, sleep_forever()).await.is_err());
                    count.fetch_add(1, Ordering::SeqCst);
                }
            });
            sleep_forever().await
        }));
        assert_eq!(kind(&outcome), Some(CauseKind::Deadline), "{backend}");
        assert_eq!(waited.load(Ordering::SeqCst), 3, "{backend}");
    }
}

// CS31
#[test]
fn a_scope_taken_out_of_every_task_hears_of_a_new_deadline() {
    for &backend in Backend::available() {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let outcome = backend.block_on(async {
            let mut running = pin!(scope.run(sleep_forever()));
            let polled = task_group::<_, (), _, _>(async |_| {
                Ok(poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx).is_pending())).await)
            });
            assert_eq!(polled.await.ok(), Some(true));
            let alone = poll_fn(|cx| Poll::Ready(running.as_mut().poll(cx).is_pending()));
            assert!(alone.await);
            handle.set_deadline(Deadline::At(now() + MS));
            running.await
        });
        assert_eq!(kind(&outcome), Some(CauseKind::Deadline), "{backend}");
    }
}
