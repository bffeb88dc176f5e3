//! That something ends by what is to end it, and not only with a peer that is silent for too long.

use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::time::{self, Instant};

/// Asserts that what began at `began` ends now `after` that: within 100 ms in a simulated world, and long before
/// a silent peer is given up elsewhere, which takes 15 s.
#[track_caller]
pub(crate) fn ends_on_time(began: Instant, after: Duration) {
    let took = time::now().saturating_duration_since(began);
    let slack = match Backend::current() {
        Ok(Backend::Sim) => Duration::from_millis(100),
        _ => Duration::from_secs(10),
    };
    let expected = after..after + slack;
    assert!(expected.contains(&took), "{took:?} of {expected:?}");
}
