//! What of a connection others look at while its driver works.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::proto::{Gauges, Stats};

/// What the driver saw last: numbers that are each right, of about the same moment.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    calls_sent: AtomicU64,
    calls_received: AtomicU64,
    call_credit: AtomicU64,
    notify_credit: AtomicU64,
    reassembly_credit: AtomicU64,
    /// In nanoseconds and 1; 0 is none.
    round_trip: AtomicU64,
    late_frames: AtomicU64,
    unknown_frames: AtomicU64,
    refused_calls: AtomicU64,
    dropped_notifications: AtomicU64,
}

impl Seen {
    /// For the driver alone.
    pub(crate) fn write(&self, gauges: &Gauges) {
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX - 1);
        let round_trip = gauges
            .round_trip
            .map_or(0, |span| nanos(span).saturating_add(1));
        for (place, value) in [
            (&self.calls_sent, gauges.calls_sent),
            (&self.calls_received, gauges.calls_received),
            (&self.call_credit, gauges.call_credit),
            (&self.notify_credit, gauges.notify_credit),
            (&self.reassembly_credit, gauges.reassembly_credit),
            (&self.round_trip, round_trip),
            (&self.late_frames, gauges.counted.late_frames),
            (&self.unknown_frames, gauges.counted.unknown_frames),
            (&self.refused_calls, gauges.counted.refused_calls),
            (
                &self.dropped_notifications,
                gauges.counted.dropped_notifications,
            ),
        ] {
            place.store(value, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Gauges {
        let get = |place: &AtomicU64| place.load(Ordering::Relaxed);
        let round_trip = get(&self.round_trip);
        Gauges {
            calls_sent: get(&self.calls_sent),
            calls_received: get(&self.calls_received),
            call_credit: get(&self.call_credit),
            notify_credit: get(&self.notify_credit),
            reassembly_credit: get(&self.reassembly_credit),
            round_trip: round_trip.checked_sub(1).map(Duration::from_nanos),
            counted: Stats {
                late_frames: get(&self.late_frames),
                unknown_frames: get(&self.unknown_frames),
                refused_calls: get(&self.refused_calls),
                dropped_notifications: get(&self.dropped_notifications),
            },
        }
    }
}
