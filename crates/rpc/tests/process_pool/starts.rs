//! When children start and how many, and which calls they get.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::future::IntoFuture;
use std::io::Write;
use std::time::Duration;

use bowline_concurrency::{Root, TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::Executor;
use bowline_rpc::{CallError, Caller, Code, Error, MemoryBroker};

use crate::methods::{
    LONG, SLOW, SOON, STARTS, Scratch, Stubborn, dead, ended, exists, gone, kill, pool,
};

// EX2
pub(crate) async fn a_child_starts_though_no_caller_waits_for_so_long() {
    let starts = Scratch::new("starts");
    let executor = pool(1).env(STARTS, starts.text()).env(SLOW, "300");
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> {
            let first = broker.call_named::<u32>("pid", ()).await?;
            kill(first, "KILL");
            gone(first).await;
            let served = async {
                let mut patience = Duration::from_millis(20);
                for attempt in 1.. {
                    let call = broker.call_named::<u32>("pid", ());
                    if let Ok(pid) = call.timeout(patience).await {
                        return pid;
                    }
                    // By then it has been there for long: a busy machine needs longer to answer.
                    if attempt % 100 == 0 {
                        patience *= 4;
                    }
                }
                unreachable!("it does not give up")
            };
            let next = timeout(LONG, served).await.expect("a child serves");
            assert_ne!(next, first);
            // It, and the one before; none for each call that gave up.
            assert_eq!(starts.length(), 2);
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX2
pub(crate) async fn a_child_may_take_longer_to_start_than_a_peer_to_greet() {
    // A peer has 5 s for its handshake, and a child begins with that once its registry is built.
    MemoryBroker::new(pool(1).env(SLOW, "5500"))
        .run(async |broker| -> Result<(), Error> {
            assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX3
pub(crate) async fn a_burst_starts_as_many_children_as_its_calls_fill() {
    let starts = Scratch::new("starts");
    let executor = pool(4)
        .calls_per_worker(16)
        .queue(200)
        .env(STARTS, starts.text())
        .env(SLOW, "100");
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> {
            let pids = task_group(|group: TaskGroup<CallError>| async move {
                let calls: Vec<_> = (0..100)
                    .map(|_| {
                        let broker = broker.clone();
                        group.spawn(async move { broker.call_named::<u32>("brief", ()).await })
                    })
                    .collect();
                let mut pids = Vec::new();
                for call in calls {
                    pids.extend(call.join().await.ok());
                }
                Ok(pids)
            });
            let pids = pids.await.expect("each is answered");
            assert_eq!(pids.len(), 100);
            let pids: BTreeSet<_> = pids.into_iter().collect();
            assert!((1..=4).contains(&pids.len()), "{pids:?}");
            assert!((1..=4).contains(&starts.length()), "{}", starts.length());
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX3
pub(crate) async fn calls_that_follow_each_other_start_no_more_children_than_there_are_places() {
    let starts = Scratch::new("starts");
    let executor = pool(4).queue(1000).env(STARTS, starts.text());
    MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> {
            let ended = task_group(|group: TaskGroup<CallError>| async move {
                for _ in 0..600 {
                    let broker = broker.clone();
                    drop(group.spawn(async move {
                        broker.call_named::<u32>("pid", ()).timeout(LONG).await
                    }));
                }
                Ok(())
            });
            ended.await.expect("each is answered");
            assert!((1..=4).contains(&starts.length()), "{}", starts.length());
            Ok(())
        })
        .await
        .expect("the case holds");
}

// EX14
pub(crate) async fn a_handler_that_goes_on_ends_its_child_though_others_run_there() {
    let executor = pool(1).calls_per_worker(2).cancel_grace(SOON);
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            let ended = task_group(|group: TaskGroup<Error>| async move {
                // Calls that come and go at the other place of the child.
                let calling = broker.clone();
                let others = group.spawn_ok(async move {
                    loop {
                        match calling.call_named::<u32>("pid", ()).await {
                            Ok(_) => {}
                            Err(error) => assert_eq!(error.code(), Code::ConnectionLost),
                        }
                    }
                });
                for _ in 0..5 {
                    let stubborn = Scratch::new("stubborn");
                    let (calling, path) = (broker.clone(), stubborn.text());
                    let call = group.spawn_ok(async move {
                        calling.call(Stubborn(path)).no_deadline().await.is_ok()
                    });
                    let pid = stubborn.pid().await;
                    call.cancel("nobody waits");
                    gone(pid).await;
                }
                others.cancel("the case is over");
                assert!(others.join().await.is_err(), "it never ends by itself");
                assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
                let free = async {
                    while executor.capacity().running > 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                };
                timeout(LONG, free).await.expect("no place is taken");
                Ok(())
            });
            ended.await.map_err(|error| panic!("{error}"))
        })
        .await
        .expect("the case holds");
}

// EX10
pub(crate) async fn a_call_for_a_child_that_died_idle_goes_to_another() {
    MemoryBroker::new(pool(1))
        .run(async |broker| -> Result<(), Error> {
            for _ in 0..30 {
                let pid = broker.call_named::<u32>("pid", ()).await?;
                kill(pid, "KILL");
                // Its socket is closed, which this program may not know yet.
                while exists(pid) && !dead(pid) {
                    std::hint::spin_loop();
                }
                let next = broker.call_named::<u32>("pid", ()).into_future().await?;
                assert_ne!(next, pid);
            }
            Ok(())
        })
        .await
        .expect("it certainly did not run");
}

/// Names a file that gets a line for each child which runs the program instead of serving.
const FORGETS: &str = "FORGETS_ITS_ENTRY";

/// In a child that is told to: starts a pool as its parent did, and tells what came of it.
pub(crate) fn forget_the_entry() {
    let Ok(path) = std::env::var(FORGETS) else {
        return;
    };
    let outcome = Root::new()
        .block_on(MemoryBroker::new(pool(1)).run(async |_| -> Result<(), Error> { Ok(()) }));
    let told = outcome.map_or_else(|error| error.to_string(), |()| "it started".into());
    let file = OpenOptions::new().create(true).append(true).open(path);
    let written = file.and_then(|mut file| writeln!(file, "{told}"));
    std::process::exit(i32::from(written.is_err()));
}

// EX11
pub(crate) async fn a_program_that_forgets_its_entry_starts_no_children_of_children() {
    let told = Scratch::new("told");
    MemoryBroker::new(pool(1).env(FORGETS, told.text()))
        .run(async |broker| -> Result<(), Error> {
            let refused = async {
                while ended(broker.call_named::<i64>("add", (1, 2)).await).0 != Code::NoExecutor {}
            };
            timeout(LONG, refused).await.expect("no child serves");
            Ok(())
        })
        .await
        .expect("the case holds");
    let told = std::fs::read_to_string(told.text()).expect("children told");
    for line in told.lines() {
        assert!(line.contains("`worker_entry`"), "{line}");
    }
    assert!((5..50).contains(&told.lines().count()), "{told}");
}
