//! What leaks into a world from outside is found by running it twice.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::{EventKind, Sim, host};
use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

// SIM3
#[test]
#[expect(clippy::iter_over_hash_type, reason = "the leak that is to be found")]
fn hash_order_is_found() {
    let builder = Sim::builder().seed(1).client("leaky", || async {
        Sim::note("start", 1);
        let map: HashMap<u64, ()> = (0..64).map(|key| (key, ())).collect();
        for key in map.keys() {
            Sim::note("key", *key);
        }
    });
    let difference = builder.compare().expect_err("hash order leaks");
    let (first, second) = (difference.first(), difference.second());
    let (first, second) = (
        first.last().expect("an event"),
        second.last().expect("an event"),
    );
    assert_eq!(first.event().kind(), EventKind::Note);
    assert_eq!(first.event().label(), "key");
    assert_ne!(first.event().values(), second.event().values());
    assert_eq!(first.event().index(), difference.index() as u64);
    // What came before is the same, and shown.
    assert!(difference.to_string().contains("note start 1"));
}

// SIM3
#[test]
fn the_system_clock_is_found() {
    let builder = Sim::builder().seed(1).client("leaky", || async {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = now.expect("after 1970").subsec_nanos();
        host::Sleep::new(1_000_000 + u64::from(nanos)).await;
    });
    let difference = builder.compare().expect_err("the clock leaks");
    let last = difference.first().last().expect("an event");
    assert_eq!(last.event().kind(), EventKind::Timer);
}

// SIM3
#[test]
fn an_honest_world_has_no_difference() {
    echo::world(8).compare().expect("nothing leaks");
}
