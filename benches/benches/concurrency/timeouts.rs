//! What a timeout costs that never passes.

use crate::bodies::{Yield, each, in_task};
use bowline::concurrency::timeout;
use std::time::{Duration, Instant};

const YIELDS: usize = 1000;
/// Bare yields and those with a timeout in turns, so that a busy machine disturbs both alike; of
/// each the shortest counts.
const TURNS: usize = 10;
const SPAN: Duration = Duration::from_secs(1);

/// Nanoseconds that `$timed` takes longer than a yield.
macro_rules! beyond_a_yield {
    ($timed:expr) => {
        in_task(async {
            let (mut bare, mut timed) = (f64::MAX, f64::MAX);
            for _ in 0..TURNS {
                let start = Instant::now();
                for _ in 0..YIELDS {
                    Yield::default().await;
                }
                bare = bare.min(each(start, YIELDS));
                let start = Instant::now();
                for _ in 0..YIELDS {
                    assert!($timed.await.is_ok());
                }
                timed = timed.min(each(start, YIELDS));
            }
            timed - bare
        })
    };
}

pub(crate) fn bowline() -> f64 {
    beyond_a_yield!(timeout(SPAN, Yield::default()))
}

pub(crate) fn tokio() -> f64 {
    beyond_a_yield!(tokio::time::timeout(SPAN, Yield::default()))
}
