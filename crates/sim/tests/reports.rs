//! What a failure says of clients and tasks.

use bowline_sim::host::{self, Sleep};
use bowline_sim::{Failure, FailureKind, HostCrash, Sim, always};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// The tasks of a report: each with its host, and whether it ran.
fn tasks(failure: &Failure) -> Vec<(&str, bool)> {
    let tasks = failure.wait_graph().iter();
    tasks.map(|task| (task.host(), task.is_running())).collect()
}

// SIM23, SIM28
#[test]
fn the_task_that_fails_is_running_and_the_others_wait() {
    let world = |fail: fn()| {
        let world = Sim::builder().host("idle", || Sleep::new(Sleep::NEVER));
        world.client("client", move || async move {
            host::spawn(async move {
                Sleep::new(SECOND).await;
                fail();
            });
            Sleep::new(2 * SECOND).await;
        })
    };
    for (fail, kind) in [
        ((|| panic!("it does")) as fn(), FailureKind::Panic),
        (|| always!("id", false), FailureKind::Assertion("id")),
    ] {
        let failure = world(fail).run().expect_err("it fails");
        assert_eq!(*failure.kind(), kind);
        let mut found = tasks(&failure);
        found.sort_unstable();
        assert_eq!(
            found,
            [("client", false), ("client", true), ("idle", false)]
        );
        let text = failure.to_string();
        let is_running = |line: &&str| line.ends_with(" was running");
        let running: Vec<_> = text.lines().filter(is_running).collect();
        assert_eq!(running.len(), 1, "{text}");
        assert!(running[0].starts_with("  client/2 spawned at "), "{text}");
    }
    // Where the world itself finds out, none is.
    let stuck = Sim::builder().client("client", || Sleep::new(Sleep::NEVER));
    let failure = stuck.run().expect_err("it waits for ever");
    assert_eq!(tasks(&failure), [("client", false)]);
}

// SIM23
#[test]
fn the_clients_that_are_not_done_are_named() {
    let stuck = || Sleep::new(Sleep::NEVER);
    let one = Sim::builder()
        .host("server", stuck)
        .client("done", || async {})
        .client("one", stuck);
    let failure = one.run().expect_err("it waits for ever");
    assert_eq!(*failure.kind(), FailureKind::Deadlock);
    let told = r#"nothing can run and the client "one" is not done"#;
    assert_eq!(failure.message(), told);
    let three = one.client("two", stuck).client("three", stuck);
    let failure = three.run().expect_err("they wait for ever");
    let told = r#"nothing can run and the clients "one", "two" and "three" are not done"#;
    assert_eq!(failure.message(), told);
    let many = (0..30).fold(Sim::builder(), |world, number| {
        world.client(&format!("c{number}"), stuck)
    });
    let failure = many.run().expect_err("they wait for ever");
    let told = r#""c18" and "c19"; and 10 more clients are not done"#;
    assert!(failure.message().ends_with(told), "{failure}");
    let late = Sim::builder()
        .client("late", || Sleep::new(9 * SECOND))
        .horizon(std::time::Duration::from_secs(3));
    let failure = late.run().expect_err("it takes longer");
    assert_eq!(*failure.kind(), FailureKind::Horizon);
    assert_eq!(failure.message(), r#"the client "late" is not done"#);
}

#[test]
fn hosts_that_ended_by_themselves_are_named_with_their_reason() {
    let world = |patient: bool| {
        Sim::builder()
            .host("store", || async {
                Sleep::new(1_000_000_000).await;
                Err::<(), _>("no disk")
            })
            .host("cache", || async {
                Sleep::new(2_000_000_000).await;
                assert_eq!(host::now(), 0, "no memory");
            })
            .client("reader", move || async move {
                Sleep::new(3_000_000_000).await;
                if patient {
                    Ok(())
                } else {
                    Err("nobody answers")
                }
            })
    };
    let told = |crashes: &[HostCrash]| -> Vec<String> {
        crashes.iter().map(HostCrash::to_string).collect()
    };

    let failure = world(false).run().expect_err("the reader gives up");
    assert_eq!(failure.message(), "nobody answers");
    let crashes = told(failure.crashed_hosts());
    assert!(crashes[0].starts_with("host store ended at t=1."));
    assert!(crashes[0].ends_with(": error: no disk"));
    assert!(crashes[1].starts_with("host cache ended at t=2."));
    assert!(crashes[1].contains(": panic: ") && crashes[1].contains("no memory"));
    let whole = failure.to_string();
    assert!(crashes.iter().all(|line| whole.contains(line)), "{whole}");

    let report = world(true).run().expect("the reader is patient");
    assert_eq!(report.crashes, 2);
    assert_eq!(told(&report.crashed_hosts), crashes);
}

#[test]
fn a_report_of_many_hosts_lists_the_first_and_counts_the_rest() {
    let stuck = || Sleep::new(Sleep::NEVER);
    let mut world = (0..3_000).fold(Sim::builder(), |world, index| {
        world.host(&format!("host-{index}"), stuck)
    });
    world = world.at(Duration::from_secs(1), |world| {
        (0..3_000).for_each(|index| world.pause(&format!("host-{index}")));
    });
    let failure = world.client("last", stuck).run().expect_err("all wait");
    assert_eq!(*failure.kind(), FailureKind::Deadlock);
    assert_eq!(failure.wait_graph().len(), 3_001);
    let text = failure.to_string();
    assert!(text.lines().count() < 150, "{text}");
    assert!(text.contains("\n  last/1 spawned"), "{text}");
    assert!(text.contains("\n  and 2901 more tasks\n"), "{text}");
    assert!(text.contains("; and 2980 more hosts\n"), "{text}");
}
