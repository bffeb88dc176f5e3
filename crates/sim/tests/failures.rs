//! How runs fail: deadlock, foreign wakes, panics, assertions; and seeing it again.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use bowline_sim::host::{self, Sleep};
use bowline_sim::{FailureKind, Sim, Step, always, block_on, sometimes};

/// A lock whose waiters queue: enough to build a cycle.
#[derive(Default)]
struct Lock(Mutex<(bool, VecDeque<Waker>)>);

impl Lock {
    async fn acquire(&self) {
        poll_fn(|cx| {
            let mut state = self.0.lock().expect("not poisoned");
            if state.0 {
                state.1.push_back(cx.waker().clone());
                return Poll::Pending;
            }
            state.0 = true;
            Poll::Ready(())
        })
        .await;
    }
}

fn text_of(panic: Box<dyn std::any::Any + Send>) -> String {
    *panic.downcast::<String>().expect("a formatted panic")
}

// SIM23
#[test]
fn a_deadlock_names_both_tasks() {
    let failure = Sim::builder()
        .seed(2)
        .scenario("abba")
        .client("bank", || async {
            let locks = Arc::new((Lock::default(), Lock::default()));
            let other = Arc::clone(&locks);
            host::spawn(async move {
                other.1.acquire().await;
                Sleep::new(1000).await;
                other.0.acquire().await;
            });
            locks.0.acquire().await;
            Sleep::new(1_000_000).await;
            locks.1.acquire().await;
        })
        .run()
        .expect_err("it deadlocks");
    assert_eq!(*failure.kind(), FailureKind::Deadlock);
    let graph = failure.wait_graph();
    assert_eq!(graph.len(), 2);
    assert_ne!(graph[0].location().line(), graph[1].location().line());
    let text = failure.to_string();
    for task in graph {
        assert_eq!(task.host(), "bank");
        assert_eq!(task.waits_for(), "a waker of its own");
        assert!(text.contains(&task.location().to_string()), "{text}");
    }
    assert!(text.contains("cargo xtask sim abba --seed 2"), "{text}");
}

// SIM23
#[test]
fn a_deadlock_in_block_on_panics_with_the_report() {
    let panic = catch_unwind(|| {
        block_on(9, async {
            host::spawn(Sleep::new(Sleep::NEVER));
            std::future::pending::<()>().await;
        });
    });
    let text = text_of(panic.expect_err("it deadlocks"));
    assert!(text.contains("deadlock"), "{text}");
    assert!(text.contains("a sleep without end"), "{text}");
    assert!(text.contains("a waker of its own"), "{text}");
    assert!(
        text.contains("replay: the same call of `block_on` with the seed 9 #"),
        "{text}"
    );
}

// SIM26
#[test]
fn a_wake_from_another_thread_is_nondeterminism() {
    let failure = Sim::builder()
        .client("leaky", || async {
            let mut woken = false;
            poll_fn(|cx| {
                if woken {
                    return Poll::Ready(());
                }
                woken = true;
                let waker = cx.waker().clone();
                let thread = std::thread::Builder::new().name("stranger".to_owned());
                let thread = thread.spawn(move || waker.wake()).expect("a thread");
                thread.join().expect("it only wakes");
                Poll::Pending
            })
            .await;
        })
        .run()
        .expect_err("it is refused");
    assert_eq!(*failure.kind(), FailureKind::Nondeterminism);
    assert!(failure.message().contains("stranger"), "{failure}");
}

// SIM26
#[test]
fn objects_are_of_no_use_outside_their_world() {
    let stream_of = || {
        block_on(1, async {
            let at = ([127, 0, 0, 1], 80).into();
            bowline_sim::net::TcpListener::bind(at, Default::default()).expect("a free port")
        })
    };
    let listener = stream_of();
    let waker = Waker::noop();
    let outside = catch_unwind(AssertUnwindSafe(|| {
        let _ = listener.poll_accept(&mut std::task::Context::from_waker(waker));
    }));
    assert!(text_of(outside.expect_err("it panics")).contains("outside its simulated world"));
    let foreign = catch_unwind(AssertUnwindSafe(|| {
        block_on(2, async {
            poll_fn(|cx| listener.poll_accept(cx).map(drop)).await;
        });
    }));
    assert!(text_of(foreign.expect_err("it fails")).contains("nondeterminism"));
    drop(listener);
}

// SIM28
#[test]
fn a_panic_follows_the_hosts_policy() {
    let builder = |faithful: bool| {
        let builder = Sim::builder()
            .host("fragile", || async {
                host::spawn(async { panic!("a bug") });
                Sleep::new(Sleep::NEVER).await;
            })
            .client("witness", || Sleep::new(1_000_000_000));
        if faithful {
            builder.host_must_not_fail("fragile")
        } else {
            builder
        }
    };
    let report = builder(false).run().expect("a host may crash");
    assert_eq!(report.crashes, 1);
    let failure = builder(true).run().expect_err("this one may not");
    assert_eq!(*failure.kind(), FailureKind::Panic);
    assert_eq!(failure.host(), Some("fragile"));
    assert!(failure.message().contains("a bug"), "{failure}");
    assert!(failure.message().contains("failures.rs:"), "{failure}");

    let failure = Sim::builder()
        .client("fragile", || async {
            assert_eq!(1, 2, "a bug of a client")
        })
        .run()
        .expect_err("clients may not panic");
    assert_eq!(*failure.kind(), FailureKind::Panic);
    let failure = Sim::builder()
        .client("failing", || async { Err::<(), _>("no luck") })
        .run()
        .expect_err("clients may not fail");
    assert_eq!(*failure.kind(), FailureKind::ClientError);
    assert_eq!(failure.message(), "no luck");
}

// SIM28
#[test]
fn a_panic_of_a_task_in_block_on_is_contained() {
    let value = block_on(3, async {
        host::spawn(async { panic!("contained") });
        host::spawn_blocking(Box::new(|| panic!("contained too")));
        Sleep::new(1_000_000_000).await;
        5
    });
    assert_eq!(value, 5);
    let main = catch_unwind(|| block_on(3, async { std::panic::panic_any("of the main future") }));
    let panic = main.expect_err("it is resumed");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"of the main future"));
}

// SIM28
#[test]
fn what_remains_is_dropped_inside_the_world() {
    struct Witness(Arc<Mutex<Vec<bool>>>);
    impl Drop for Witness {
        fn drop(&mut self) {
            self.0.lock().expect("not poisoned").push(Sim::is_running());
            if Sim::is_running() {
                // Dropped unpolled: the world is ending.
                let again = Arc::clone(&self.0);
                host::spawn(async move { again.lock().expect("not poisoned").push(false) });
            }
        }
    }
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (task, job, main) = (Arc::clone(&seen), Arc::clone(&seen), Arc::clone(&seen));
    assert!(!Sim::is_running());
    block_on(1, async move {
        let _main = Witness(main);
        let task = Witness(task);
        host::spawn(async move {
            let _task = task;
            std::future::pending::<()>().await;
        });
        host::yield_now().await;
        let job = Witness(job);
        host::spawn_blocking(Box::new(move || drop(job)));
    });
    assert!(!Sim::is_running());
    assert_eq!(*seen.lock().expect("not poisoned"), [true, true, true]);
}

// SIM80
#[test]
fn always_fails_at_the_same_event_again() {
    let builder = |seed| {
        Sim::builder()
            .seed(seed)
            .scenario("overdraw")
            .client("account", || async {
                let balance = Arc::new(Mutex::new(10_i64));
                for _ in 0..2 {
                    let balance = Arc::clone(&balance);
                    host::spawn(async move {
                        let enough = *balance.lock().expect("not poisoned") >= 10;
                        host::yield_now().await;
                        if enough {
                            *balance.lock().expect("not poisoned") -= 10;
                        }
                        let left = *balance.lock().expect("not poisoned");
                        sometimes!("withdrawn", enough);
                        always!("never overdrawn", left >= 0, "{left} left");
                    });
                }
                Sleep::new(1_000_000_000).await;
            })
    };
    let failures: Vec<_> = (0..50)
        .filter_map(|seed| builder(seed).run().err())
        .collect();
    assert!(!failures.is_empty() && failures.len() < 50);
    for failure in failures {
        assert_eq!(*failure.kind(), FailureKind::Assertion("never overdrawn"));
        // What was said, and where: the line of the macro, not of the simulator.
        let (said, at) = failure.message().split_once(", at ").expect("a place");
        assert_eq!(said, "-10 left");
        assert!(at.contains("failures.rs:"), "{at}");
        let line = failure.replay_line();
        assert!(failure.to_string().contains(&line));
        // What the line says: the seed, and the event to stop at.
        let mut words = line.split(' ').skip_while(|word| *word != "--seed");
        let seed = words.nth(1).expect("a seed").parse().expect("a number");
        let event: u64 = words.nth(1).expect("an event").parse().expect("a number");
        let mut world = builder(seed).build();
        let again = world
            .run_until(|world| world.events() > event)
            .expect_err("it fails by then");
        assert_eq!(again.kind(), failure.kind());
        assert_eq!(again.event_index(), event);
        assert_eq!(again.virtual_time(), failure.virtual_time());
    }
}

// SIM80
#[test]
fn assertions_are_nothing_outside_a_world() {
    let mut evaluated = false;
    always!("outside", {
        evaluated = true;
        false
    });
    assert!(!evaluated);
}

#[test]
fn the_horizon_is_a_failure_with_live_clients() {
    let builder = Sim::builder()
        .horizon(Duration::from_secs(5))
        .client("slow", || Sleep::new(6_000_000_000));
    let failure = builder.run().expect_err("too slow");
    assert_eq!(*failure.kind(), FailureKind::Horizon);
    assert_eq!(failure.virtual_time(), Duration::from_secs(5));
}

#[test]
fn a_world_has_a_horizon_of_four_hours() {
    let client =
        |time: u64| Sim::builder().client("slow", move || Sleep::new(time * 1_000_000_000));
    let report = client(14_399).run().expect("in time");
    assert_eq!(report.virtual_time.as_secs(), 14_399);
    let failure = client(14_401).run().expect_err("too slow");
    assert_eq!(*failure.kind(), FailureKind::Horizon);
    assert_eq!(failure.virtual_time(), Duration::from_secs(14_400));
    let endless = client(4_000_000_000).horizon(Duration::MAX);
    endless.run().expect("a hundred years are fine");
}

#[test]
fn a_world_without_clients_ends_at_its_horizon() {
    let ticks = || async {
        loop {
            Sleep::new(host::now() + 500_000_000).await;
        }
        #[allow(unreachable_code, reason = "it names the type of the outcome")]
        ()
    };
    let world = Sim::builder().host("ticks", ticks);
    let second = world.clone().horizon(Duration::from_secs(1));
    let report = second.run().expect("nobody is late");
    assert_eq!(report.virtual_time, Duration::from_secs(1));
    let mut driven = world.build();
    let (step, hours) = (driven.run_until(|_| false), driven.now());
    assert_eq!(
        (step.expect("nobody is late"), hours.as_secs()),
        (Step::Finished, 14_400)
    );
}

#[test]
fn a_world_that_nothing_ends_is_not_run() {
    let idle = || Sleep::new(Sleep::NEVER);
    let cause = "no client was added, whose end would end the run: add one with `client`, or say \
                 with `horizon` how long the hosts run";
    let worlds = [Sim::builder(), Sim::builder().host("idle", idle)];
    for world in worlds {
        assert_eq!(world.check(), Ok(()), "it can be driven by hand");
        let failure = world.run().expect_err("it would prove nothing");
        assert_eq!(
            (failure.kind(), failure.message()),
            (&FailureKind::Setup, cause)
        );
        let one = move |_| Sim::builder().host("idle", idle);
        let failed = Sim::seeds(4..6).run(one).expect_err("as little");
        let lowest = failed.lowest().expect("a run failed");
        assert_eq!((lowest.seed(), lowest.message()), (4, cause));
        world
            .horizon(Duration::from_secs(1))
            .run()
            .expect("it was said how long");
    }
}

/// Asserts what is false when it is dropped.
struct Guard;

impl Drop for Guard {
    fn drop(&mut self) {
        always!("guarded", false);
    }
}

// SIM80
#[test]
fn a_false_assertion_in_a_destructor_fails_the_run_and_nothing_else() {
    let panics = Sim::builder().seed(5).client("c", || async {
        let _guards = [Guard, Guard];
        host::yield_now().await;
        assert_eq!(Sim::host_name(), "nobody");
    });
    let returns = Sim::builder().seed(5).client("c", || async {
        let _guards = [Guard, Guard];
        host::yield_now().await;
    });
    for world in [panics, returns] {
        let failure = world.run().expect_err("it is false");
        assert_eq!(*failure.kind(), FailureKind::Assertion("guarded"));
        assert_eq!(failure.seed(), 5);
        assert_eq!(failure.host(), Some("c"));
    }
}
