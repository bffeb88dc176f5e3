//! How children end because nobody needs them any more, or nobody has any use for what they do.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::process::{Command, Stdio};
use std::time::Duration;

use bowline_concurrency::{Root, TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::Executor;
use bowline_rpc::{Call, Caller, Error, MemoryBroker, Typed};
use futures_util::future::join;

use crate::methods::{
    Deaf, Held, LONG, LongCleanUp, SOON, Scratch, Stubborn, Terminated, Undropped, UntilTold,
    exists, gone, is_quiet, kill, pool,
};

// EX12
pub(crate) async fn a_child_is_replaced_after_its_calls() {
    MemoryBroker::new(pool(1).max_tasks_per_child(3))
        .run(async |broker| -> Result<(), Error> {
            let mut pids = Vec::new();
            for _ in 0..10 {
                pids.push(broker.call_named::<u32>("pid", ()).await?);
            }
            let all: BTreeSet<_> = pids.iter().copied().collect();
            assert_eq!(all.len(), 4, "{pids:?}");
            for pid in &pids[..7] {
                if *pid != pids[9] {
                    gone(*pid).await;
                }
            }
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX13
pub(crate) async fn an_idle_child_is_retired_and_the_least_are_kept() {
    MemoryBroker::new(pool(1).idle_retire(SOON))
        .run(async |broker| -> Result<(), Error> {
            let pid = broker.call_named::<u32>("pid", ()).await?;
            gone(pid).await;
            assert_ne!(broker.call_named::<u32>("pid", ()).await?, pid);
            Ok(())
        })
        .await
        .expect("the case holds");
    MemoryBroker::new(pool(1).idle_retire(SOON).min_workers(1))
        .run(async |broker| -> Result<(), Error> {
            let pid = broker.call_named::<u32>("pid", ()).await?;
            sleep(4 * SOON).await;
            assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX13
pub(crate) async fn a_child_that_may_not_be_idle_ends_with_its_call() {
    let executor = pool(2).calls_per_worker(2).idle_retire(Duration::ZERO);
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            let mut last = 0;
            for _ in 0..5 {
                let pid = broker.call_named::<u32>("pid", ()).await?;
                assert_ne!(pid, last);
                gone(pid).await;
                last = pid;
            }
            // While a call runs, its child stays for others.
            let held = Scratch::new("held");
            let calling = broker.call(Held(held.text())).no_deadline();
            let looks = async {
                let pid = held.pid().await;
                assert_eq!(broker.call_named::<u32>("pid", ()).await.ok(), Some(pid));
                held.let_go();
                pid
            };
            let (ran, pid) = join(calling.into_future(), looks).await;
            assert_eq!(ran.expect("it is let go"), pid);
            gone(pid).await;
            assert_eq!(executor.capacity().running, 0);
            Ok(())
        })
        .await
        .expect("the case holds");
    MemoryBroker::new(pool(1).idle_retire(Duration::ZERO).min_workers(1))
        .run(async |broker| -> Result<(), Error> {
            let pid = broker.call_named::<u32>("pid", ()).await?;
            assert!(is_quiet().await, "it spins");
            assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
            Ok(())
        })
        .await
        .expect("the case holds");
}

/// Calls from a task of its own, and gives the call up once its handler runs: in which child that is.
async fn gives_up<C>(broker: &MemoryBroker, call: C, runs: &Scratch) -> u32
where
    C: Call<Request = Typed<C>>,
{
    let broker = broker.clone();
    task_group(|group: TaskGroup<Error>| async move {
        let call = group.spawn_ok(async move { broker.call(call).no_deadline().await.is_ok() });
        let pid = runs.pid().await;
        call.cancel("nobody waits");
        Ok(pid)
    })
    .await
    .expect("nothing fails")
}

// EX14
pub(crate) async fn a_cancel_reaches_the_handler_and_ends_a_child_that_goes_on() {
    // One that looks.
    MemoryBroker::new(pool(1).cancel_grace(LONG))
        .run(async |broker| -> Result<(), Error> {
            let told = Scratch::new("told");
            let pid = gives_up(&broker, UntilTold(told.text()), &told).await;
            assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
            Ok(())
        })
        .await
        .expect("the case holds");
    // One that does not, and one that hears no SIGTERM either.
    let executor = pool(1).cancel_grace(SOON);
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            let (stubborn, deaf) = (Scratch::new("stubborn"), Scratch::new("deaf"));
            let first = gives_up(&broker, Stubborn(stubborn.text()), &stubborn).await;
            gone(first).await;
            let pid = gives_up(&broker, Deaf(deaf.text()), &deaf).await;
            assert_ne!(pid, first);
            // A process that is stopped does nothing by itself: there is one signal left.
            kill(pid, "STOP");
            gone(pid).await;
            // Its place is free again, for another child.
            assert_ne!(broker.call_named::<u32>("pid", ()).await?, pid);
            let free = async {
                while executor.capacity().running > 0 {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(LONG, free).await.expect("no place is taken");
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX14
pub(crate) async fn a_child_that_is_asked_to_end_has_a_second_for_that() {
    let executor = pool(1).cancel_grace(SOON);
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            // On a machine that is too busy for a second it is killed before.
            for _ in 0..5 {
                let terminated = Scratch::new("terminated");
                let pid = gives_up(&broker, Terminated(terminated.text()), &terminated).await;
                gone(pid).await;
                if terminated.is_done() {
                    return Ok(());
                }
            }
            panic!("it ended before the second was over")
        })
        .await
        .expect("the case holds");
}

// EX14
pub(crate) async fn the_clean_up_of_a_handler_has_the_grace_of_its_pool() {
    MemoryBroker::new(pool(1).cancel_grace(LONG))
        .run(async |broker| -> Result<(), Error> {
            let cleans = Scratch::new("cleans");
            let pid = gives_up(&broker, LongCleanUp(cleans.text()), &cleans).await;
            // It waits for the place of the other, in the same child.
            assert_eq!(broker.call_named::<u32>("pid", ()).await?, pid);
            assert!(cleans.is_done(), "it was cut short");
            Ok(())
        })
        .await
        .expect("the case holds");
}

/// Whether SIGTERM waits for a process to go on.
fn is_asked_to_end(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pending = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let pending = pending.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    pending.is_some_and(|bits| bits & 1 << (15 - 1) != 0)
}

// EX14
pub(crate) async fn a_child_that_goes_on_is_asked_to_end_before_it_is_killed() {
    let executor = pool(1).cancel_grace(SOON);
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            let done = task_group(|group: TaskGroup<Error>| async move {
                let runs = Scratch::new("stopped");
                let call = Stubborn(runs.text());
                let call =
                    group.spawn_ok(async move { broker.call(call).no_deadline().await.is_ok() });
                let pid = runs.pid().await;
                // What a stopped process is sent waits, but for what kills it.
                kill(pid, "STOP");
                call.cancel("nobody waits");
                let asked = async {
                    while !is_asked_to_end(pid) {
                        assert!(exists(pid), "it was killed at once");
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                timeout(LONG, asked).await.expect("it is asked");
                // It has its place until then.
                let mut running = executor.capacity().running;
                while is_asked_to_end(pid) {
                    assert_eq!(running, 1);
                    sleep(Duration::from_millis(1)).await;
                    running = executor.capacity().running;
                }
                gone(pid).await;
                Ok(())
            });
            done.await.map_err(|error| panic!("{error}"))
        })
        .await
        .expect("the case holds");
}

/// Names the file of a program that is killed while it has children, and what they do then.
const PARENT: &str = "BOWLINE_POOL_PARENT";

/// In a program that is to be killed it does not return, in any other it does at once.
pub(crate) fn be_killed() {
    let words = [std::env::var("BOWLINE_POOL_DOES"), std::env::var(PARENT)];
    let [Ok(what), Ok(path)] = words else {
        return;
    };
    let outcome = Root::new().block_on(MemoryBroker::new(pool(1)).run(
        async |broker| -> Result<(), Error> {
            match &*what {
                "idle" => {
                    let pid = broker.call_named::<u32>("pid", ()).await?;
                    std::fs::write(path, pid.to_string()).expect("the place is writable");
                    sleep(Duration::from_secs(3600)).await;
                }
                "held" => drop(broker.call(Held(path)).no_deadline().await),
                "undropped" => drop(broker.call(Undropped(path)).no_deadline().await),
                "deaf" => drop(broker.call(Deaf(path)).no_deadline().await),
                _ => drop(broker.call(Stubborn(path)).no_deadline().await),
            }
            Ok(())
        },
    ));
    panic!("nobody killed it: {outcome:?}")
}

/// Whether there is such a process, and it is no zombie: who took it on may leave it that.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    !matches!(after.split_whitespace().next(), None | Some("Z" | "X"))
}

// EX10
pub(crate) async fn children_of_a_parent_that_is_killed_end_whatever_they_do() {
    for what in ["idle", "held", "undropped", "stubborn", "deaf"] {
        let scratch = Scratch::new("orphan");
        let mut parent = Command::new("/proc/self/exe")
            .env(PARENT, scratch.text())
            .env("BOWLINE_POOL_DOES", what)
            .stdin(Stdio::null())
            .spawn()
            .expect("it starts");
        let pid = timeout(LONG, scratch.pid()).await.expect("it has a child");
        assert!(runs(pid) && pid != parent.id());
        parent.kill().expect("it runs");
        parent.wait().expect("it is ours");
        let end = async {
            while runs(pid) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        if timeout(LONG, end).await.is_err() {
            kill(pid, "KILL");
            panic!("the child of a dead parent goes on: {what}");
        }
    }
}
