//! The attribute macros, where the facade says which backends there are.

use std::time::Duration;

use bowline::backend::{Backend, time};
use bowline::concurrency::{shield, sleep};

#[bowline::test(tokio)]
async fn a_named_backend_is_the_one_that_runs() {
    assert_eq!(Backend::current().unwrap().name(), "tokio");
}

#[bowline::test]
async fn every_backend_of_the_build_runs_the_test() -> Result<(), bowline::Error> {
    let backend = Backend::current()?;
    assert!(Backend::available().contains(&backend));
    let before = time::now();
    sleep(Duration::from_millis(2)).await;
    assert!(time::now() >= before + Duration::from_millis(2));
    Ok(())
}

#[bowline::test]
#[should_panic(expected = "on purpose")]
async fn a_panic_reaches_the_harness() {
    panic!("on purpose");
}

#[bowline::test(sim, seeds = 20)]
async fn a_simulated_minute_takes_no_time() {
    let before = time::now();
    sleep(Duration::from_secs(60)).await;
    assert!(time::now() >= before + Duration::from_secs(60));
}

// TX9
#[bowline::test]
#[should_panic(expected = "a shield was dropped half-way; it is the one of")]
async fn a_shield_dropped_half_way_fails_the_test() {
    let mut lost = Box::pin(shield(sleep(Duration::from_secs(60))));
    std::future::poll_fn(|cx| {
        assert!(lost.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(lost);
}

#[bowline::test]
async fn a_shield_that_was_never_polled_may_be_dropped() {
    drop(shield(sleep(Duration::from_secs(60))));
    shield(sleep(Duration::from_millis(1))).await;
}

/// The facade may be found elsewhere.
mod vendored {
    pub(crate) mod deep {
        pub(crate) use ::bowline as knots;
    }
}

#[bowline::test(crate = crate::vendored::deep::knots)]
async fn the_facade_may_be_found_elsewhere() {
    assert!(Backend::current().is_ok());
}
