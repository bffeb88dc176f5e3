//! How long a root waits for what foreign code left behind, and what it says of the rest.

use bowline_backend::Backend;
use bowline_concurrency::{
    Leftovers, Root, cancel_scope, critical, drain, now, on_cancel, sleep, sleep_forever,
    task_group,
};
use bowline_sim::Sim;
use futures_util::future::{join, poll_immediate};
use std::process::Command;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// Leaves a critical section of its own, which lasts so long.
async fn leave_behind(span: Duration) {
    let mut waiter = Box::pin(critical(sleep(span)));
    assert!(poll_immediate(&mut waiter).await.is_none());
}

/// Leaves a group behind, with a child that finalises for ever.
async fn leave_a_group_behind() {
    let mut group = Box::pin(task_group::<(), (), _, _>(|group| async move {
        for _ in 0..2 {
            group.named("late").spawn_ok(async {
                let _never_ends = on_cancel(|_| async {
                    sleep_forever().await;
                });
                // A child is cut at its next `Pending`, then it finalises.
                sleep_forever().await
            });
        }
        sleep_forever().await;
        Ok(())
    }));
    assert!(poll_immediate(&mut group).await.is_none());
}

/// Milliseconds that a root runs in a world of its own.
fn lasts<F: Future<Output = ()> + 'static>(root: fn() -> Root, body: fn() -> F) -> u128 {
    let world = Sim::builder().client("main", move || root().backend(Backend::Sim).entered(body()));
    // What the root no longer waits for ends with its host.
    let report = world.ignore_leaks().run();
    let report = report.expect("the world runs to its end");
    report.virtual_time.as_millis()
}

// TX11
#[test]
fn a_root_waits_without_bound_for_what_it_adopted() {
    let hour = || leave_behind(3600 * SECOND);
    assert_eq!(lasts(Root::new, hour), 3_600_000);
    // Children of dropped groups are cancelled; they end with their finalisers.
    assert_eq!(lasts(Root::new, leave_a_group_behind), 5000);
}

// TX11
#[test]
fn a_root_waits_no_longer_than_it_is_told_to() {
    let root = || Root::new().drain_within(SECOND);
    assert_eq!(lasts(root, || leave_behind(3600 * SECOND)), 1000);
    assert_eq!(lasts(root, leave_a_group_behind), 1000);
    assert_eq!(lasts(root, || leave_behind(SECOND / 2)), 500);
    assert_eq!(lasts(root, || leave_behind(Duration::MAX)), 1000);
    // The time begins when the body has ended.
    let later = || async {
        sleep(5 * SECOND).await;
        leave_behind(3600 * SECOND).await;
    };
    assert_eq!(lasts(root, later), 6000);
    let at_once = || Root::new().drain_within(Duration::ZERO);
    assert_eq!(lasts(at_once, || leave_behind(3600 * SECOND)), 0);
}

// TX11
#[test]
fn what_a_root_leaves_is_named_on_standard_error() {
    const CHILD: &str = "BOWLINE_TEST_LEAVES_TASKS";
    if std::env::var_os(CHILD).is_some() {
        let all = [
            Backend::Tokio,
            Backend::Smol,
            Backend::AsyncStd,
            Backend::Sim,
        ];
        for backend in all {
            let root = Root::new().backend(backend).drain_within(10 * MS);
            root.block_on(async {
                leave_behind(Duration::MAX).await;
                leave_a_group_behind().await;
            });
        }
        let root = Root::new().backend(Backend::Sim);
        root.block_on(leave_behind(25 * SECOND));
        return;
    }
    let this = std::env::current_exe().expect("a test has a file");
    let name = "what_a_root_leaves_is_named_on_standard_error";
    let mut command = Command::new(this);
    let output = command
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, "1")
        .output();
    let output = output.expect("the test runs again");
    assert!(output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    let count = |part: &str| errors.lines().filter(|line| line.contains(part)).count();
    assert_eq!(count("bowline: left behind task"), 12, "{errors}");
    assert_eq!(count("\"late\" spawned at"), 8, "{errors}");
    assert_eq!(count("\"critical\" spawned at"), 4 + 2, "{errors}");
    assert_eq!(count("bowline: waiting for task"), 2, "one in 10 s");
}

/// Of the root of the process, outside of any other.
async fn drain_says_what_was_left() {
    assert!(drain(MS).await.is_empty(), "nothing was left so far");
    leave_behind(5 * MS).await;
    assert!(drain(60 * SECOND).await.is_empty(), "it has ended");
    leave_behind(Duration::MAX).await;
    leave_a_group_behind().await;
    let left: Leftovers = drain(20 * MS).await;
    assert_eq!(left.len(), 3);
    let mut names: Vec<&str> = left.iter().map(|task| task.name()).collect();
    names.sort_unstable();
    assert_eq!(names, ["critical", "late", "late"]);
    assert_eq!(left.to_string().lines().count(), 3);
}

// TX11
#[test]
fn a_root_that_nobody_hears_waits_all_the_same() {
    const CHILD: &str = "BOWLINE_TEST_NOBODY_HEARS";
    if std::env::var_os(CHILD).is_some() {
        let hour = || leave_behind(3600 * SECOND);
        assert_eq!(lasts(Root::new, hour), 3_600_000);
        println!("it waited");
        return;
    }
    let (reader, nobody_reads) = std::io::pipe().unwrap();
    drop(reader);
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_root_that_nobody_hears_waits_all_the_same"])
        .arg("--nocapture")
        .env(CHILD, "1")
        .stderr(nobody_reads)
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    assert!(said.contains("it waited"), "{said}");
}

// TX12
#[test]
fn drain_waits_for_the_root_of_the_process() {
    // No other test of this file uses these roots, which are one per process.
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        backend.block_on(drain_says_what_was_left());
    }
}

// TX12
#[test]
fn drain_returns_with_the_last_task() {
    Backend::Sim.block_on(async {
        let start = now();
        assert!(drain(SECOND).await.is_empty());
        assert_eq!((now() - start).as_millis(), 0);
        leave_behind(2 * SECOND).await;
        leave_behind(3 * SECOND).await;
        let (early, late) = join(drain(SECOND), drain(10 * SECOND)).await;
        assert_eq!((early.len(), late.len()), (2, 0));
        assert_eq!((now() - start).as_millis(), 3000);
        let cut = cancel_scope(|scope| async move {
            scope.cancel("x");
            drain(Duration::ZERO).await
        });
        assert!(cut.await.cause().is_some(), "a leaf behind the cancel");
    });
    // What is below a root of its own does not count.
    let inside = Root::new().backend(Backend::Sim).drain_within(SECOND);
    inside.block_on(async {
        leave_behind(3600 * SECOND).await;
        assert!(drain(SECOND).await.is_empty());
    });
}
