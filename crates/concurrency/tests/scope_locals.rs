//! Values that code inside reads without being handed them, and places carried to foreign tasks.

#[path = "suite/every_backend.rs"]
mod every_backend;

use bowline_backend::Backend;
use bowline_concurrency::{
    NotSet, Root, cancel_scope, cancelled, checkpoint, propagate, scope_local, sleep,
    sleep_forever, task_group, yield_now,
};
use every_backend::every_backend;
use futures_util::future::join;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

scope_local! {
    /// Not inherited.
    static USER: String;
    static TRACE: u32, inherit;
    static PLAIN: u32;
}

every_backend!(
    a_local_is_set_inside_and_shadowed_by_an_inner_one,
    only_inherited_locals_reach_children,
    a_dropped_body_sees_its_locals,
    a_foreign_task_sees_the_cancel_that_is_carried_to_it,
);

fn user() -> Result<String, NotSet> {
    USER.with(|user| user.clone())
}

// CS58
fn a_local_is_set_inside_and_shadowed_by_an_inner_one(root: Root) {
    root.block_on(async {
        assert!(user().is_err());
        assert!(user().unwrap_err().to_string().contains("USER"));
        let nested = USER.scope("outer".to_owned(), async {
            assert_eq!(user().as_deref(), Ok("outer"));
            checkpoint().await;
            let inner = PLAIN.scope(
                1,
                USER.scope("inner".to_owned(), async {
                    checkpoint().await;
                    assert_eq!(PLAIN.with(|n| *n), Ok(1));
                    user()
                }),
            );
            assert_eq!(inner.await.as_deref(), Ok("inner"));
            assert!(PLAIN.with(|_| ()).is_err());
            user()
        });
        let beside = async {
            for _ in 0..4 {
                assert!(user().is_err(), "a branch beside sees it");
                yield_now().await;
            }
        };
        let (outer, ()) = join(nested, beside).await;
        assert_eq!(outer.as_deref(), Ok("outer"));
        assert!(user().is_err());
    });
}

// CS59
fn only_inherited_locals_reach_children(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let both = USER.scope(
            "host".to_owned(),
            TRACE.scope(1, async {
                let first = group.spawn_ok(async {
                    yield_now().await;
                    (user().ok(), TRACE.with(|trace| *trace).ok())
                });
                let second = TRACE.scope(2, async {
                    group.spawn_ok(async { TRACE.with(|t| *t).ok() })
                });
                let second = second.await;
                (first.join().await.ok(), second.join().await.ok())
            }),
        );
        assert_eq!(both.await, (Some((None, Some(1))), Some(Some(2))));
        let outside = group.spawn_ok(async { TRACE.with(|trace| *trace).ok() });
        assert_eq!(outside.join().await.ok(), Some(None));
        Ok(())
    }));
    assert!(result.is_ok());
}

// CS58
fn a_dropped_body_sees_its_locals(root: Root) {
    struct Probe(Arc<Mutex<Option<String>>>);
    impl Drop for Probe {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = user().ok();
        }
    }
    let seen = Arc::new(Mutex::new(None));
    let probe = Probe(seen.clone());
    let outcome = root.block_on(cancel_scope(|scope| {
        USER.scope("dropped".to_owned(), async move {
            let _probe = probe;
            scope.cancel("drop it");
            sleep_forever().await
        })
    }));
    assert!(outcome.cause().is_some());
    assert_eq!(seen.lock().unwrap().as_deref(), Some("dropped"));
}

// CS57
fn a_foreign_task_sees_the_cancel_that_is_carried_to_it(root: Root) {
    static WITHOUT: AtomicUsize = AtomicUsize::new(0);
    root.block_on(async {
        let ended = Arc::new(Mutex::new(None));
        let told = ended.clone();
        let outcome = cancel_scope(|scope| async move {
            let backend = Backend::current().expect("one runs");
            let carried = propagate(sleep_forever());
            backend.spawn_detached(async move {
                let outcome = carried.await;
                *told.lock().unwrap() = outcome.cause().map(|c| c.reason().to_owned());
            });
            backend.spawn_detached(async {
                cancelled().await;
                WITHOUT.fetch_add(1, Ordering::SeqCst);
            });
            checkpoint().await;
            scope.cancel("carried");
            sleep_forever().await
        });
        assert!(outcome.await.cause().is_some());
        while ended.lock().unwrap().is_none() {
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(ended.lock().unwrap().as_deref(), Some("carried"));
        assert_eq!(WITHOUT.load(Ordering::SeqCst), 0);
    });
}
