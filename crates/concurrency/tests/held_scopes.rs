//! What a root says of cancelled scopes that wait long for what holds them.

use bowline_backend::Backend;
use bowline_concurrency::{
    CancelHandle, CancelScope, GroupError, Root, critical, gather, run_in_thread, scope, shield,
    sleep, sleep_forever, task_group, yield_now,
};
use futures_util::future::{poll_immediate, select};
use std::pin::pin;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const AGAIN: &str = "BOWLINE_TEST_SAYS";

/// Runs `test` in another process, in which it is the test of that name; answers what it said of
/// scopes that wait. Nothing in that process.
fn said_by(name: &str, test: impl FnOnce()) -> Option<Vec<String>> {
    if std::env::var_os(AGAIN).is_some() {
        test();
        return None;
    }
    let this = std::env::current_exe().expect("a test has a file");
    let output = Command::new(this)
        .args([name, "--exact", "--nocapture"])
        .env(AGAIN, "1")
        .output();
    let output = output.expect("the test runs again");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = errors.lines().filter(|line| line.contains("has waited"));
    Some(lines.map(str::to_owned).collect())
}

fn in_a_world<T: 'static>(root: Root, body: impl Future<Output = T>) -> T {
    bowline_sim::block_on(7, root.backend(Backend::Sim).entered(body))
}

/// A scope that is cancelled once it was polled.
fn named(name: &'static str) -> (CancelScope, CancelHandle) {
    let scope = CancelScope::new().name(name);
    let handle = scope.handle();
    (scope, handle)
}

/// Runs `hold` in a cancelled scope of that name, which waits for it.
async fn held(name: &'static str, hold: impl Future) {
    let (scope, handle) = named(name);
    let body = async {
        let mut hold = pin!(hold);
        assert!(poll_immediate(&mut hold).await.is_none());
        handle.cancel("stop");
        yield_now().await;
        hold.await;
        sleep_forever().await
    };
    let outcome = scope.run(body).await;
    assert!(outcome.cause().is_some());
}

// CS60
#[test]
fn a_scope_whose_hold_nobody_polls_is_named_once() {
    let said = said_by("a_scope_whose_hold_nobody_polls_is_named_once", || {
        in_a_world(Root::new().name("main"), async {
            let (scope, handle) = named("forgets");
            let waits = scope.run(async {
                let mut kept = pin!(shield(sleep_forever()));
                assert!(poll_immediate(&mut kept).await.is_none());
                handle.cancel("stop");
                sleep_forever().await
            });
            // It would wait for ever.
            select(pin!(waits), pin!(sleep(35 * SECOND))).await;
        });
    });
    let Some(said) = said else { return };
    assert_eq!(said.len(), 1, "{said:#?}");
    for part in [
        "bowline: scope \"forgets\" of crates/concurrency/tests/held_scopes.rs:",
        " in task 1 \"main\" spawned at crates/concurrency/tests/held_scopes.rs:",
        ", cancelled \"stop\" by task 1 at crates/concurrency/tests/held_scopes.rs:",
        ", has waited 10s for a shield of crates/concurrency/tests/held_scopes.rs:",
    ] {
        assert!(said[0].contains(part), "{part} is not in {}", said[0]);
    }
}

// CS60
#[test]
fn who_goes_on_in_time_is_not_named() {
    let said = said_by("who_goes_on_in_time_is_not_named", || {
        in_a_world(Root::new(), async {
            held("short", shield(sleep(9 * SECOND))).await;
            held("long", shield(sleep(11 * SECOND))).await;
            held("short too", shield(sleep(9 * SECOND))).await;
            held("long too", shield(sleep(30 * SECOND))).await;
        });
        in_a_world(Root::new().name_held_after(Duration::MAX), async {
            held("never", shield(sleep(3600 * SECOND))).await;
        });
        in_a_world(Root::new().name_held_after(SECOND), async {
            held("short", shield(sleep(SECOND / 2))).await;
            held("soon", shield(sleep(2 * SECOND))).await;
        });
    });
    let Some(said) = said else { return };
    let names = ["\"long\"", "\"long too\"", "\"soon\""];
    assert_eq!(said.len(), names.len(), "{said:#?}");
    assert!(
        said.iter().zip(names).all(|(s, name)| s.contains(name)),
        "{said:#?}"
    );
}

// CS60
#[test]
fn every_kind_of_hold_has_its_name() {
    let said = said_by("every_kind_of_hold_has_its_name", every_kind);
    let Some(said) = said else { return };
    let expected = [
        ("scope \"shields\"", "for a shield of"),
        ("scope \"groups\"", "for a group \"inner\" of"),
        ("scope \"starts\"", "for a wait \"start\" of"),
        ("task 3 \"\"", "for a shield of"),
        ("scope \"works\"", "for a shield \"critical\" of"),
        ("scope \"gathers\"", "for a shield of"),
        ("scope \"many\"", "held_scopes.rs:"),
        ("scope \"threads\"", "for a thread \"job\" of"),
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, (what, whom)) in said.iter().zip(expected) {
        assert!(said.contains(what) && said.contains(whom), "{said}");
    }
    assert!(said[6].ends_with(" and 2 more"), "{}", said[6]);
    assert_eq!(said[6].matches("a shield of").count(), 3, "{}", said[6]);
}

fn every_kind() {
    in_a_world(Root::new(), async {
        let long = || sleep(20 * SECOND);
        held("shields", shield(long())).await;
        let group = bowline_concurrency::TaskGroup::builder().name("inner");
        let group = group.run(|group| async move {
            group.spawn_ok(sleep(SECOND));
            shield(sleep(20 * SECOND)).await;
            Ok::<(), ()>(())
        });
        held("groups", group).await;
        let starts = task_group::<(), (), _, _>(|group| async move {
            let start = group.start(async |started| {
                shield(sleep(20 * SECOND)).await;
                let _ = started.send(());
                Ok::<(), ()>(())
            });
            held("starts", start).await;
            Ok(())
        });
        assert!(starts.await.is_ok());
        held("works", critical(long())).await;
        let both = [true, false].map(|shielded| async move {
            if shielded {
                shield(long()).await;
                return Ok::<(), ()>(());
            }
            match sleep_forever().await {}
        });
        held("gathers", gather(both)).await;
        let many = (0..5).map(|_| Box::pin(shield(long())));
        held("many", futures_util::future::join_all(many)).await;
    });
    // A world has one thread.
    let root = Root::new().backend(Backend::Smol);
    root.name_held_after(Duration::ZERO).block_on(async {
        let (opens, gate) = mpsc::channel::<()>();
        let thread = run_in_thread(move || gate.recv().is_err()).name("job");
        let (scope, handle) = named("threads");
        let body = scope.run(async move {
            let mut thread = pin!(thread);
            assert!(poll_immediate(&mut thread).await.is_none());
            handle.cancel("stop");
            // At the end of this poll it is named.
            yield_now().await;
            drop(opens);
            thread.await
        });
        assert_eq!(body.await.done(), Some(true));
    });
}

// CS60
#[test]
fn of_nested_scopes_the_outermost_is_named() {
    let said = said_by("of_nested_scopes_the_outermost_is_named", || {
        in_a_world(Root::new(), async {
            let (outer, cancel_outer) = named("outer");
            let (middle, cancel_middle) = named("middle");
            let cancels = async move {
                cancel_middle.cancel("first");
                sleep(SECOND).await;
                cancel_outer.cancel("second");
            };
            let inner = middle.run(held("inner", shield(sleep(20 * SECOND))));
            let outer = outer.run(inner);
            let (outcome, ()) = futures_util::future::join(outer, cancels).await;
            assert_eq!(outcome.cause().map(|cause| cause.reason()), Some("second"));
        });
    });
    let Some(said) = said else { return };
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(said[0].contains("scope \"outer\""), "{said:#?}");
}

// CS60
#[test]
fn tasks_and_regions_are_named_too() {
    let said = said_by("tasks_and_regions_are_named_too", || {
        let tasks = task_group::<(), (), _, _>(|group| async move {
            let child = group.named("child").spawn_ok(shield(sleep(20 * SECOND)));
            yield_now().await;
            child.cancel("stop");
            Ok(())
        });
        assert!(in_a_world(Root::new(), tasks).is_ok());
        // The failure of one cancels the region of the other.
        let gathers = async {
            let both = [true, false].map(|shielded| async move {
                if shielded {
                    shield(sleep(20 * SECOND)).await;
                }
                Err::<(), ()>(())
            });
            gather(both).await
        };
        assert!(in_a_world(Root::new(), gathers).is_err());
        let scopes = scope::<(), (), _, _>(|scope| async move {
            scope.spawn_ok(shield(sleep(20 * SECOND)));
            Err(())
        });
        assert!(in_a_world(Root::new(), scopes).is_err());
        // Outside of any root.
        bowline_sim::block_on(7, async {
            held("process", shield(sleep(20 * SECOND))).await;
            held("later", shield(sleep(20 * SECOND))).await;
        });
    });
    let Some(said) = said else { return };
    let names = [
        "task 2 \"child\"",
        "scope \"\"",
        "scope \"\"",
        "\"process\"",
        "\"later\"",
    ];
    assert_eq!(said.len(), names.len(), "{said:#?}");
    assert!(
        said.iter().zip(names).all(|(s, name)| s.contains(name)),
        "{said:#?}"
    );
}

// CS60
#[test]
fn so_many_are_watched_at_a_time() {
    let said = said_by("so_many_are_watched_at_a_time", || {
        let crowd = async |count: usize, name: &'static str, span: Duration| {
            let done: Result<(), GroupError<()>> = task_group(|group| async move {
                for _ in 0..count {
                    group.named(name).spawn_ok(shield(sleep(span)));
                }
                group.cancel("stop");
                Ok(())
            })
            .await;
            assert!(done.is_ok());
        };
        in_a_world(Root::new(), async {
            // Those that have ended make room for others before their time.
            crowd(1024, "gone", SECOND).await;
            crowd(5, "after", 20 * SECOND).await;
            crowd(3000, "crowd", 20 * SECOND).await;
            crowd(7, "last", 20 * SECOND).await;
        });
    });
    let Some(said) = said else { return };
    let count = |name: &str| said.iter().filter(|line| line.contains(name)).count();
    let counts = ["\"gone\"", "\"after\"", "\"crowd\"", "\"last\""].map(count);
    assert_eq!(counts, [0, 5, 1024, 7]);
}
