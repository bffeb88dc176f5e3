//! A future that several tasks share and none of them owns.

use bowline_backend::Backend;
use bowline_concurrency::{Root, apart, cancel_scope, move_on_after, sleep_forever, timeout};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

type Shared = Arc<Mutex<Pin<Box<dyn Future<Output = &'static str> + Send>>>>;

/// What a deadline inside ends; without one of its own timers it would wait for ever.
fn shared() -> Shared {
    Arc::new(Mutex::new(Box::pin(apart(async {
        let late = timeout(20 * MS, sleep_forever()).await;
        if late.is_err() { "late" } else { "?" }
    }))))
}

async fn wait(shared: &Shared) -> &'static str {
    poll_fn(|cx| shared.lock().unwrap().as_mut().poll(cx)).await
}

fn on_each(body: impl AsyncFn()) {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        Root::new().backend(backend).block_on(body());
    }
}

#[test]
fn a_cancel_around_one_who_waits_does_not_end_it() {
    on_each(async || {
        let shared = shared();
        assert!(move_on_after(MS, wait(&shared)).await.done().is_none());
        let cancelled = cancel_scope(async |scope| {
            scope.cancel("enough");
            wait(&shared).await
        });
        assert!(cancelled.await.done().is_none());
        assert_eq!(wait(&shared).await, "late");
    });
}
