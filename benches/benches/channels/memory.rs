//! What channels cost in memory.

use std::hint::black_box;

use bowline_benches::allocations::{count, live_bytes};

use crate::flow::{Workers, flow};
use crate::peers::{Bowline, Entrant};

/// Bytes of a channel nothing was sent into.
pub(crate) fn idle<E: Entrant>(capacity: usize) -> Option<f64> {
    let before = live_bytes();
    let channel = E::open(capacity, 1, 1)?;
    let bytes = live_bytes() - before;
    drop(black_box(channel));
    Some(bytes as f64)
}

/// Bytes of an unbounded channel after ten thousand values came and went.
pub(crate) fn drained<E: Entrant>() -> Option<f64> {
    let before = live_bytes();
    let (mut tx, mut rx) = E::open(crate::peers::UNBOUNDED, 1, 1)?;
    for value in 0..10_000 {
        assert!(E::try_send(&mut tx, value));
    }
    while E::try_recv(&mut rx).is_some() {}
    let bytes = live_bytes() - before;
    drop((tx, rx));
    Some(bytes as f64)
}

/// Allocations per value beyond those of the runtime and of a first use.
pub(crate) fn per_value(capacity: usize) -> f64 {
    let run = |values| {
        let before = count();
        flow::<Bowline>(Workers::One, 4, 4, capacity, values);
        (count() - before) as f64
    };
    let (few, many) = (run(4_000), run(84_000));
    (many - few) / 80_000.0
}
