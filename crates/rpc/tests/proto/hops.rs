//! A call that causes another, and so on, over machines whose clocks have nothing in common.

use bowline_backend::time::Instant;
use bowline_rpc::proto::{Command, Event, Machine, Side};
use bowline_rpc::{Code, Limits};

use crate::pair::{call, config, ends, events, frames, millis, opened, receive, sent};

/// Two machines past their handshake, each with a clock of its own.
fn connected(here: Instant, there: Instant) -> (Machine, Machine) {
    let limits = Limits::default();
    let mut dialer = Machine::new(config(&limits), Side::Dialer, here, [1; 32]);
    let mut listener = Machine::new(config(&limits), Side::Listener, there, [2; 32]);
    for _ in 0..3 {
        let bytes = sent(&mut dialer, here);
        receive(&mut listener, there, &bytes).unwrap();
        let bytes = sent(&mut listener, there);
        receive(&mut dialer, here, &bytes).unwrap();
    }
    events(&mut dialer);
    events(&mut listener);
    (dialer, listener)
}

/// The budgets on the wire of three hops, each of which takes 5 ms, by clocks that are so many hours
/// ahead of the first.
fn budgets(ahead: [i64; 3]) -> Vec<u64> {
    let origin = 50 * 3600 * 1_000_000_000i64;
    let at = |hop: usize, passed: u64| {
        let offset = if hop == 0 { 0 } else { ahead[hop - 1] };
        let base = origin + offset * 3600 * 1_000_000_000;
        Instant::from_nanos(base as u64) + millis(passed)
    };
    let mut deadline = at(0, 0) + millis(1000);
    let mut seen = Vec::new();
    for hop in 0..3 {
        let passed = 5 * hop as u64;
        let (here, there) = (at(hop, passed), at(hop + 1, passed));
        let (mut caller, mut executor) = connected(here, there);
        let next = call(b"x").deadline(deadline).hops(hop as u8);
        let id = caller.command(here, Command::Open(next)).unwrap();
        // It waits here for a while, and what it waits does not come back.
        let later = |instant: Instant| instant + millis(1);
        let bytes = sent(&mut caller, later(here));
        let budget = &frames(&bytes)[0].payload[8..16];
        seen.push(
            budget
                .iter()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        );
        receive(&mut executor, later(there), &bytes).unwrap();
        let incoming = opened(events(&mut executor));
        assert_eq!(incoming[0].hops, hop as u8);
        // The caller gives up by its own clock, whatever that of the other side says.
        let its_end = deadline;
        deadline = incoming[0].deadline;
        caller.handle_timeout(its_end);
        let ended = ends(&mut caller);
        assert!(matches!(&ended[..], [(call, Err((Code::DeadlineExceeded, _)))] if *call == id));
        let bytes = sent(&mut caller, its_end);
        receive(&mut executor, later(there), &bytes).unwrap();
        let seen = events(&mut executor);
        assert!(matches!(&seen[..], [Event::Cancelled { .. }]), "{seen:?}");
    }
    seen
}

// R6
#[test]
fn budgets_decrease_from_hop_to_hop_and_clocks_do_not_matter() {
    let alike = budgets([0, 0, 0]);
    assert_eq!(alike, [999_000, 994_000, 989_000]);
    for ahead in [[1, 0, 1], [-1, 1, -1], [1, 2, 3], [-1, -2, -40]] {
        assert_eq!(budgets(ahead), alike, "{ahead:?}");
    }
}
