//! Links: how long a packet travels between two hosts.

use std::ops::Range;
use std::time::Duration;

/// One direction between two hosts, or both (see [`Builder::link`](crate::Builder::link)).
///
/// A link has a latency, drawn for each packet out of a range; packets of one connection never
/// overtake each other. Choice 0 is the shortest latency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    pub(crate) shortest: u64,
    pub(crate) longest: u64,
}

impl Link {
    fn between(shortest: Duration, longest: Duration) -> Link {
        Link {
            shortest: nanos(shortest),
            longest: nanos(longest),
        }
    }

    /// Within one machine: 5 to 20 microseconds. What a host uses to talk to itself.
    pub fn loopback() -> Link {
        Link::between(Duration::from_micros(5), Duration::from_micros(20))
    }

    /// Within one building: 50 to 500 microseconds. The default between hosts.
    pub fn lan() -> Link {
        Link::between(Duration::from_micros(50), Duration::from_micros(500))
    }

    /// Across a continent: 20 to 60 milliseconds.
    pub fn wan() -> Link {
        Link::between(Duration::from_millis(20), Duration::from_millis(60))
    }

    /// A telephone on the move: 40 to 300 milliseconds.
    pub fn mobile() -> Link {
        Link::between(Duration::from_millis(40), Duration::from_millis(300))
    }

    /// Sets the latency: each packet takes at least the start and less than the end of the range.
    ///
    /// # Panics
    /// If the range is empty.
    #[must_use]
    pub fn latency(mut self, range: Range<Duration>) -> Link {
        assert!(range.start < range.end, "a latency range must not be empty");
        self.shortest = nanos(range.start);
        self.longest = nanos(range.end) - 1;
        self
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
