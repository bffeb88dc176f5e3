//! The line that a failure prints, and what it runs.

use bowline_sim::checker::OneOutcome;
use bowline_sim::host::{self, Signal, Sleep};
use bowline_sim::{Builder, Failure, FailureKind, Sim};
use std::future::poll_fn;

const SECOND: u64 = 1_000_000_000;

/// Runs what the line of `failure` says, and expects the same failure.
fn replayed(world: &Builder, failure: &Failure) {
    let line = failure.replay_line();
    let mut words = line.split(' ').skip_while(|word| *word != "--seed");
    let seed = words.nth(1).expect("a seed").parse().expect("a number");
    let event = words.nth(1).expect("an event").parse().expect("a number");
    let again = world.clone().seed(seed).build().run_past(event);
    let again = again.expect_err("it fails again");
    assert_eq!(again.kind(), failure.kind());
    assert_eq!(again.message(), failure.message());
    assert_eq!(again.event_index(), failure.event_index());
    assert_eq!(again.virtual_time(), failure.virtual_time());
}

// SIM80
#[test]
fn the_line_replays_what_fails_after_the_clients_are_done() {
    let unanswered = Sim::builder()
        .scenario("unanswered")
        .client("c", || async {
            Sim::note("call", 1);
            Sleep::new(SECOND).await;
        })
        .checker(|| OneOutcome::of("call", "outcome"));
    let deaf = Sim::builder()
        .scenario("deaf")
        .host("deaf", || async {
            let mut signals = host::signals(Signal::Terminate);
            loop {
                poll_fn(|cx| signals.poll_recv(cx)).await;
            }
            #[allow(unreachable_code, reason = "it names the type of the outcome")]
            ()
        })
        .client("c", || Sleep::new(SECOND));
    for (world, leaks) in [(unanswered, false), (deaf, true)] {
        for seed in 0..10 {
            let failure = world.clone().seed(seed).run().expect_err("it fails");
            assert_eq!(*failure.kind() == FailureKind::Leak, leaks, "{failure}");
            replayed(&world, &failure);
        }
    }
}

// SIM80
#[test]
fn a_run_past_an_event_stops_behind_it_and_goes_to_its_end_at_most() {
    let world = Sim::builder().client("c", || async {
        for _ in 0..10 {
            host::yield_now().await;
        }
    });
    let kept = world.build().run_past(5).expect("nothing fails");
    assert!((6..10).contains(&kept.len()), "{kept:?}");
    let kept = world.build().run_past(1_000_000).expect("nothing fails");
    let report = world.run().expect("nothing fails");
    assert_eq!(kept.len() as u64, report.events);
}

// SIM80
#[test]
fn the_line_is_a_command_also_outside_this_repository() {
    let stuck = Sim::builder()
        .seed_from_env()
        .seed(9)
        .client("stuck", || Sleep::new(Sleep::NEVER));
    let failure = stuck.run().expect_err("it never wakes");
    let event = failure.event_index();
    let here = format!("the same again # seed 9 stands in its code; fails at event {event}");
    assert_eq!(failure.replay_line(), here);
    // The variable is set for a program that the line runs, and that asks for it.
    let failure = stuck.clone().seed_from_env().run();
    let line = failure.expect_err("it never wakes").replay_line();
    let variable = format!("BOWLINE_SIM_SEED=9 cargo test # fails at event {event}");
    assert_eq!(line, variable);
    let told = stuck
        .scenario("stuck")
        .replay_with("run {scenario} {seed} to {event}");
    let failure = told.run().expect_err("it never wakes");
    assert_eq!(failure.replay_line(), format!("run stuck 9 to {event}"));
}
