//! What a failure says of clients and tasks.

use bowline_sim::host::{self, Sleep};
use bowline_sim::{Failure, FailureKind, Sim, always};

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
