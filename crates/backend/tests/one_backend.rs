//! What a build with exactly one backend does. `cargo xtask features` runs it with smol alone; with
//! another set of features there is nothing in it.
#![cfg(all(
    feature = "smol",
    not(any(feature = "tokio", feature = "async-std", feature = "sim"))
))]

use std::mem::size_of;

use bowline_backend::Backend;

// B64
#[test]
fn the_one_backend_is_current_everywhere() {
    assert_eq!(Backend::available(), [Backend::Smol]);
    assert_eq!(Backend::current(), Ok(Backend::Smol));
    let elsewhere = std::thread::spawn(Backend::current).join();
    assert_eq!(
        elsewhere.expect("the look-up does not panic"),
        Ok(Backend::Smol)
    );
}

// B64
#[test]
fn one_variant_needs_no_tag() {
    assert_eq!(size_of::<Backend>(), 0);
    assert_eq!(size_of::<Option<Backend>>(), 1);
}
