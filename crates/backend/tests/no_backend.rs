//! What a build without any backend does. `cargo xtask features` runs it; with a backend feature on
//! there is nothing in it.
#![cfg(not(any(
    feature = "tokio",
    feature = "smol",
    feature = "async-std",
    feature = "sim"
)))]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Waker};

use bowline_backend::time::{self, Instant};
use bowline_backend::{Backend, task};

const TEXT: &str =
    "no backend enabled: turn on one of the features tokio, smol, eventloop, async-std, sim";

/// The panic that polling `future` once ends in.
fn panic_of(future: impl Future<Output = ()>) -> String {
    let mut future = pin!(future);
    let polled = catch_unwind(AssertUnwindSafe(|| {
        let _ = future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
    }));
    let payload = polled.expect_err("it panics");
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| {
        payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
    })
    .expect("a panic with a text")
}

// B63
#[test]
fn a_polled_sleep_panics_and_names_the_features() {
    let text = panic_of(async { time::sleep_until(Instant::NEVER).await });
    assert!(text.contains(TEXT), "{text}");
}

// B63
#[test]
fn a_spawn_panics_and_names_the_features() {
    let text = panic_of(async { task::spawn_detached(async {}) });
    assert!(text.contains(TEXT), "{text}");
}

// B63
#[test]
fn there_is_nothing_to_choose_from() {
    assert!(Backend::available().is_empty());
    assert_eq!(Backend::current().unwrap_err().to_string(), TEXT);
    assert!(
        Backend::from_name("tokio")
            .unwrap_err()
            .to_string()
            .ends_with("there are none")
    );
}
