//! How children die, at any time and as they start, and what is seen of it.

use std::future::IntoFuture;
use std::pin::pin;
use std::time::Duration;

use bowline_backend::time;
use bowline_concurrency::{TaskGroup, sleep, task_group, timeout};
use bowline_rpc::{Caller, Certainty, Code, Error, Limits, MemoryBroker, Retry, TcpBroker};
use futures_util::future::{Either, select};

use crate::methods::{
    CRASHES, CRASHES_AFTER, DiesAlways, DiesOnce, Held, LONG, SLOW, SOON, STARTS, Scratch, ended,
    gone, is_quiet, kill, pool,
};

// EX10
pub(crate) async fn a_child_that_is_killed_ends_its_call_and_nothing_else() {
    let (one, two) = (Scratch::new("one"), Scratch::new("two"));
    MemoryBroker::new(pool(2))
        .run(async |broker| -> Result<(), Error> {
            let ended_by = task_group(|group: TaskGroup<Error>| async move {
                let call = |scratch: &Scratch| {
                    let (broker, path) = (broker.clone(), scratch.text());
                    group.spawn_ok(async move { broker.call(Held(path)).no_deadline().await })
                };
                let calls = [call(&one), call(&two)];
                let (killed, other) = (one.pid().await, two.pid().await);
                assert_ne!(killed, other);
                kill(killed, "KILL");
                let [killed_call, other_call] = calls;
                let error = killed_call
                    .join()
                    .await
                    .expect("it has its outcome")
                    .expect_err("its child died");
                assert_eq!(
                    (error.code(), error.certainty()),
                    (Code::ConnectionLost, Certainty::MaybeExecuted)
                );
                assert_eq!(
                    error.message(),
                    format!("the worker {killed} ended by signal 9")
                );
                gone(killed).await;
                // Another child takes the next call, and the other goes on to its end.
                let next = broker.call_named::<u32>("pid", ()).await?;
                assert!(next != killed && next != other);
                two.let_go();
                let answer = other_call.join().await.expect("it has its outcome");
                assert_eq!(answer.expect("nothing befell it"), other);
                Ok(())
            })
            .await;
            ended_by.map_err(|error| panic!("{error}"))
        })
        .await
        .expect("the case holds");
}

// EX10
pub(crate) async fn a_child_that_crashes_ends_its_call_and_says_how() {
    MemoryBroker::new(pool(1))
        .run(async |broker| -> Result<(), Error> {
            for (how, words) in [
                ("code", "ended with code 7"),
                ("abort", "ended by signal 6"),
                // What the standard library makes of a fault below the stack.
                ("overflow", "ended by signal 6"),
            ] {
                let pid = broker.call_named::<u32>("pid", ()).await?;
                let error = match how {
                    "code" => broker.call_named::<()>(how, (7,)).await,
                    "abort" => broker.call_named::<()>(how, ()).await,
                    _ => broker.call_named::<u64>(how, (0,)).await.map(drop),
                }
                .expect_err("its child died");
                assert_eq!(
                    (error.code(), error.certainty()),
                    (Code::ConnectionLost, Certainty::MaybeExecuted)
                );
                assert_eq!(error.message(), format!("the worker {pid} {words}"));
                gone(pid).await;
            }
            // Where it may run twice it does, and no more than twice.
            let twice = Scratch::new("twice");
            std::fs::write(format!("{}.first", twice.text()), b"").expect("the place is writable");
            assert!(broker.call(DiesOnce(twice.text())).await.is_ok());
            let runs = Scratch::new("runs");
            assert_eq!(
                ended(broker.call(DiesAlways(runs.text())).await),
                (Code::ConnectionLost, Certainty::MaybeExecuted)
            );
            assert_eq!(runs.length(), 2);
            // Items that came before are no whole.
            let mut items = broker
                .call_named::<()>("count", (u32::MAX,))
                .open::<(u32, u32)>()
                .await?;
            let (pid, _) = items.recv().await?.expect("there are many");
            kill(pid, "KILL");
            let mut next = 1;
            let error = loop {
                match timeout(LONG, items.recv()).await.expect("it ends") {
                    Ok(Some((_, number))) => {
                        assert_eq!(number, next);
                        next += 1;
                    }
                    Ok(None) => panic!("it is not the whole"),
                    Err(error) => break error,
                }
            };
            assert_eq!(
                (error.code(), error.certainty()),
                (Code::ConnectionLost, Certainty::MaybeExecuted)
            );
            assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX10
pub(crate) async fn a_call_may_have_run_though_no_other_child_takes_it() {
    // The child that runs it dies, and none serves after it: the pool gives up before the call does.
    let runs = Scratch::new("runs");
    let executor = pool(1).env(CRASHES_AFTER, runs.text());
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> {
            let call = broker.call(DiesAlways(runs.text())).no_deadline();
            assert_eq!(
                ended(call.await),
                (Code::NoExecutor, Certainty::MaybeExecuted)
            );
            assert_eq!(runs.length(), 1);
            Ok(())
        })
        .await
        .expect("the case holds");
    // The call does, at a deadline that its caller does not know of, while the next child is waited for.
    let runs = Scratch::new("runs");
    let executor = pool(1)
        .env(CRASHES_AFTER, runs.text())
        .respawn(Duration::from_secs(20));
    let mut limits = Limits::default();
    limits.max_deadline = 10 * SOON;
    TcpBroker::builder(executor)
        .limits(limits)
        .expect("they are possible")
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller().project("example");
            let client = client.connect(server.local_addrs()[0]);
            client
                .run(async |client| {
                    // Its child is there before, however long that takes.
                    let there =
                        async { while client.call_named::<u32>("pid", ()).await.is_err() {} };
                    timeout(LONG, there).await.expect("a child serves");
                    let call = client.call(DiesAlways(runs.text()));
                    let call = call.timeout(LONG).retry(Retry::never());
                    assert_eq!(
                        ended(call.await),
                        (Code::DeadlineExceeded, Certainty::MaybeExecuted)
                    );
                    Ok(())
                })
                .await
        })
        .await
        .expect("the case holds");
}

/// Children of this process, zombies among them.
fn children() -> usize {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").expect("there is one");
    let status = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()
    };
    processes
        .filter_map(status)
        // After the name, which ends with the last parenthesis: the state and the parent.
        .filter(|stat| {
            let after = stat.rsplit(')').next().unwrap_or_default();
            after.split_whitespace().nth(1) == Some(own.as_str())
        })
        .count()
}

// EX10
pub(crate) async fn a_call_that_is_given_up_while_its_child_starts_leaves_no_process() {
    let before = children();
    MemoryBroker::new(pool(1).max_tasks_per_child(1))
        .run(async |broker| -> Result<(), Error> {
            for n in 0..60 {
                // Before the start, in the middle of it, and when the child serves.
                let call = broker.call_named::<u32>("pid", ()).into_future();
                let _ = timeout(Duration::from_micros(150 * n), call).await;
            }
            assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
            Ok(())
        })
        .await
        .expect("the case holds");
    none_but(before).await;
}

// EX10
pub(crate) async fn a_broker_that_ends_while_its_child_starts_leaves_no_process() {
    let before = children();
    for n in 0..60 {
        // Before there is a process, while it is made, and while it is asked who it is.
        let slow = if n % 2 == 0 { "0" } else { "50" };
        let executor = pool(1).env(SLOW, slow);
        let running = MemoryBroker::new(executor).run(async |_| -> Result<(), Error> { Ok(()) });
        let _ = timeout(Duration::from_micros(50 * n), running).await;
    }
    none_but(before).await;
}

/// Completes when there are no more children than `before`.
async fn none_but(before: usize) {
    let none = async {
        while children() > before {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, none).await.expect("each is reaped");
}

// EX11
pub(crate) async fn children_that_crash_at_their_start_are_started_rarely() {
    let starts = Scratch::new("starts");
    let executor = pool(1)
        .queue(100)
        .env(CRASHES, starts.text())
        .respawn(Duration::from_secs(20));
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> {
            // While the pool pauses a call waits no longer than it is told.
            let began = time::now();
            for _ in 0..5 {
                let late = broker.call_named::<i64>("add", (1, 2)).timeout(SOON).await;
                assert_eq!(
                    late.expect_err("no child serves").code(),
                    Code::DeadlineExceeded
                );
            }
            assert!(time::now().saturating_duration_since(began) < LONG);
            // One that waits longer costs nothing meanwhile.
            let waits = broker.call_named::<i64>("add", (1, 2)).timeout(LONG);
            let quiet = match select(pin!(is_quiet()), waits.into_future()).await {
                Either::Left((quiet, _)) => quiet,
                Either::Right((ended, _)) => panic!("it does not wait: {ended:?}"),
            };
            assert!(quiet, "it spins");
            // Pauses are drawn from 20 s and more: few of them are over by now.
            assert!((1..=4).contains(&starts.length()), "{}", starts.length());
            Ok(())
        })
        .await
        .expect("the case holds");
    // Five in a row, and calls are refused at once.
    let starts = Scratch::new("starts");
    let executor = pool(1)
        .env(CRASHES, starts.text())
        .respawn(Duration::from_millis(10));
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> {
            let refused = timeout(LONG, async {
                loop {
                    let ended = ended(broker.call_named::<i64>("add", (1, 2)).await);
                    if ended.0 == Code::NoExecutor {
                        return ended;
                    }
                }
            });
            assert_eq!(
                refused.await.expect("it is broken"),
                (Code::NoExecutor, Certainty::Refused)
            );
            assert!(starts.length() >= 5, "{}", starts.length());
            // However many come, children are started as rarely as before.
            for _ in 0..1000 {
                let refused = ended(broker.call_named::<i64>("add", (1, 2)).await);
                assert_eq!(refused, (Code::NoExecutor, Certainty::Refused));
            }
            assert!(starts.length() <= 40, "{}", starts.length());
            assert!(is_quiet().await, "it spins");
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX11
pub(crate) async fn children_that_die_of_their_first_call_are_started_rarely() {
    let starts = Scratch::new("starts");
    let executor = pool(1).env(STARTS, starts.text());
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> {
            const DIED: (Code, Certainty) = (Code::ConnectionLost, Certainty::MaybeExecuted);
            const REFUSED: (Code, Certainty) = (Code::NoExecutor, Certainty::Refused);
            let dies = async || ended(broker.call_named::<()>("abort", ()).await);
            let refused = async {
                loop {
                    match dies().await {
                        DIED => {}
                        other => return other,
                    }
                }
            };
            let refused = timeout(LONG, refused).await;
            assert_eq!(refused.expect("the pool pauses"), REFUSED);
            assert!(starts.length() >= 5, "{}", starts.length());
            for _ in 0..1000 {
                let ended = dies().await;
                assert!([DIED, REFUSED].contains(&ended), "{ended:?}");
            }
            assert!(starts.length() <= 40, "{}", starts.length());
            // One that is answered shows that it was the calls.
            let answered = async {
                while broker.call_named::<i64>("add", (2, 3)).await.is_err() {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(2 * LONG, answered).await.expect("a child starts");
            let before = starts.length();
            assert_eq!(dies().await, DIED);
            assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
            assert_eq!(starts.length(), before + 1);
            Ok(())
        })
        .await
        .expect("the case holds");
}
