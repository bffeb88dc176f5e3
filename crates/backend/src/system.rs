//! The clocks and the entropy of the operating system, which all real backends share.

use std::time::{Duration, Instant as StdInstant};

use crate::entropy::system;
use crate::runtime::Surroundings;
use crate::time::{Instant, origin};

/// A backend over the operating system. The rest of [`Surroundings`] follows.
pub(crate) trait System {
    /// The monotonic clock, where the runtime has none of its own.
    fn now() -> Instant {
        origin::from_std(StdInstant::now())
    }
}

impl<R: System> Surroundings for R {
    fn now() -> Instant {
        R::now()
    }

    fn unix_time() -> Duration {
        origin::unix_time()
    }

    fn fill(buffer: &mut [u8]) {
        system::fill(buffer);
    }

    fn random_u64() -> u64 {
        system::random_u64()
    }
}
