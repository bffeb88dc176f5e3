//! What becomes true in time, what no run may reach, and what every host may see.

use bowline_sim::host::{self, Sleep};
use bowline_sim::{FailureKind, Keep, Sim, block_on, eventually, unreachable_in_sim};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn sleep(span: Duration) -> Sleep {
    Sleep::new(host::now() + span.as_nanos() as u64)
}

#[derive(Debug, Default)]
struct Ledger {
    stored: u32,
    lit: bool,
}

/// A host stores something after `delay`; a client that does not wait for it says within how long.
fn replicated(delay: Duration, within: Duration) -> bowline_sim::Builder {
    Sim::builder()
        .scenario("replicated")
        .host("store", move || async move {
            sleep(delay).await;
            Sim::ghost(|ledger: &mut Ledger| ledger.stored += 1);
            sleep(Duration::from_secs(1000)).await;
        })
        .client("writer", move || async move {
            sleep(SECOND).await;
            eventually!("stored", within, || Sim::ghost(
                |ledger: &mut Ledger| ledger.stored == 1
            ));
        })
}

// SIM82
#[test]
fn eventually_true_passes_and_ends_the_run_then() {
    let report = replicated(3 * SECOND, 5 * SECOND).run().expect("in time");
    // The client was done after a second; the run went on until it was true, and no longer.
    let took = report.virtual_time;
    assert!(took >= 3 * SECOND && took < 4 * SECOND, "{took:?}");
    // True when it is first asked.
    let report = replicated(Duration::ZERO, Duration::ZERO).run();
    assert!(report.expect("in time").virtual_time < 2 * SECOND);
}

// SIM82
#[test]
fn eventually_false_fails_at_its_time() {
    let failure = replicated(7 * SECOND, 5 * SECOND).run();
    let failure = failure.expect_err("too late");
    assert_eq!(*failure.kind(), FailureKind::Assertion("stored"));
    assert_eq!(failure.host(), Some("writer"));
    assert!(failure.message().contains("within 5s"), "{failure}");
    let at = failure.virtual_time();
    assert!(
        at >= 6 * SECOND && at < 6 * SECOND + SECOND / 1000,
        "{at:?}"
    );

    let mut again = replicated(7 * SECOND, 5 * SECOND).build();
    let repeated = loop {
        match again.step() {
            Ok(_) => {}
            Err(failure) => break failure,
        }
    };
    assert_eq!(repeated.event_index(), failure.event_index());
}

// SIM82
#[test]
fn eventually_sees_what_is_true_for_one_poll_only() {
    let world = |blinks: bool| {
        Sim::builder().client("lamp", move || async move {
            eventually!("lit", SECOND, || Sim::ghost(
                |ledger: &mut Ledger| ledger.lit
            ));
            for _ in 0..10 {
                host::yield_now().await;
            }
            Sim::ghost(|ledger: &mut Ledger| ledger.lit = blinks);
            host::yield_now().await;
            Sim::ghost(|ledger: &mut Ledger| ledger.lit = false);
            sleep(2 * SECOND).await;
        })
    };
    assert!(world(true).run().is_ok());
    let failure = world(false).run().expect_err("it never is");
    assert_eq!(*failure.kind(), FailureKind::Assertion("lit"));
}

// SIM82
#[test]
fn each_call_of_eventually_is_a_promise_of_its_own() {
    let failure = Sim::builder()
        .client("c", || async {
            for wanted in 1..=3_u32 {
                let within = Duration::from_secs(u64::from(wanted));
                eventually!("counted", within, move || {
                    Sim::ghost(|ledger: &mut Ledger| ledger.stored >= wanted)
                });
            }
            Sim::ghost(|ledger: &mut Ledger| ledger.stored = 2);
            Sim::note("counted to", 2);
        })
        .run()
        .expect_err("it never counts to three");
    assert_eq!(*failure.kind(), FailureKind::Assertion("counted"));
    assert!(failure.virtual_time() >= 3 * SECOND);
}

// SIM82
#[test]
fn eventually_works_in_a_world_of_one_host() {
    let run = |delay: Duration| {
        block_on(3, async move {
            host::spawn(async move {
                sleep(delay).await;
                Sim::ghost(|ledger: &mut Ledger| ledger.stored = 1);
            });
            eventually!("stored", SECOND, || Sim::ghost(
                |ledger: &mut Ledger| ledger.stored == 1
            ));
            5
        })
    };
    assert_eq!(run(SECOND / 2), 5);
    let panic = catch_unwind(|| run(2 * SECOND)).expect_err("too late");
    let text = panic.downcast_ref::<String>().expect("text");
    assert!(text.contains(r#"assertion "stored" failed"#), "{text}");
}

// SIM82
#[test]
fn a_condition_that_panics_fails_the_run() {
    let failure = Sim::builder()
        .client("c", || async {
            eventually!("asked", SECOND, || panic!("not to be asked"));
        })
        .run()
        .expect_err("it panics");
    assert_eq!(*failure.kind(), FailureKind::Panic);
    assert!(failure.message().contains("not to be asked"), "{failure}");
    assert!(failure.message().contains(r#""asked""#), "{failure}");
}

// SIM82
#[test]
fn outside_a_world_nothing_is_promised() {
    eventually!("outside", SECOND, || -> bool { panic!("it is evaluated") });
    unreachable_in_sim!("outside");
}

#[test]
fn what_must_not_be_reached_fails_the_run() {
    let world = |reaches: bool| {
        Sim::builder().client("c", move || async move {
            if reaches {
                unreachable_in_sim!("the far end");
            }
        })
    };
    assert!(world(false).run().is_ok());
    let failure = world(true).run().expect_err("it is reached");
    assert_eq!(*failure.kind(), FailureKind::Assertion("the far end"));
}

#[test]
fn ghost_state_is_one_value_per_world_and_type() {
    let world = Sim::builder()
        .host("store", || async {
            Sim::ghost(|count: &mut u32| *count += 1)
        })
        .client("a", || async {
            Sim::ghost(|count: &mut u32| *count += 10);
            Sim::ghost(|other: &mut u64| *other += 1);
            sleep(SECOND).await;
            // Seen at once by all hosts, and it costs no virtual time.
            let before = Sim::now();
            assert_eq!(Sim::ghost(|count: &mut u32| *count), 11);
            assert_eq!(Sim::now(), before);
        });
    for _ in 0..2 {
        let mut running = world.build();
        while running.step().expect("it goes well") != bowline_sim::Step::Finished {}
        assert_eq!(running.ghost(|count: &mut u32| *count), 11);
        assert_eq!(running.ghost(|other: &mut u64| *other), 1);
    }
    // Using one leaves no trace.
    let silent = |used: bool| {
        let world = Sim::builder().client("c", move || async move {
            if used {
                Sim::ghost(|count: &mut u32| *count += 1);
            }
            host::yield_now().await;
        });
        world
            .trace(Keep::Off)
            .run()
            .expect("it goes well")
            .trace_hash
    };
    assert_eq!(silent(true), silent(false));
}

#[test]
fn a_ghost_within_itself_is_refused_by_name() {
    let nested = || {
        block_on(1, async {
            Sim::ghost(|_: &mut u32| Sim::ghost(|_: &mut u32| ()))
        })
    };
    let panic = catch_unwind(AssertUnwindSafe(nested)).expect_err("it is refused");
    let text = panic.downcast_ref::<String>().expect("text");
    assert!(text.contains("ghost value u32"), "{text}");
}
