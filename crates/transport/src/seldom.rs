//! What is said of one thing that happens often.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_concurrency::now;

/// How long the most that is said has to last.
const EVERY: Duration = Duration::from_secs(5);

/// Says something a number of times in 5 s, however often there is reason to: whoever gives the reason
/// does not write the log.
#[derive(Debug)]
pub(crate) struct Seldom {
    most: u32,
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    since: Option<Instant>,
    times: u32,
    left_out: u64,
}

impl Seldom {
    /// So many times in 5 s.
    pub(crate) fn new(most: u32) -> Seldom {
        Seldom {
            most,
            said: Mutex::default(),
        }
    }

    /// Whether it is to be said now; then how many times it was not, since the last time.
    pub(crate) fn ask(&self) -> Option<u64> {
        let now = now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |since| now.saturating_duration_since(since) >= EVERY;
        if said.since.is_none_or(over) {
            said.since = Some(now);
            said.times = 0;
        }
        if said.times >= self.most {
            said.left_out += 1;
            return None;
        }
        said.times += 1;
        Some(mem::take(&mut said.left_out))
    }
}
