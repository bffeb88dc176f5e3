//! What executors promise, behind both brokers.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_concurrency::{TaskGroup, sleep, task_group, timeout, yield_now};
use bowline_rpc::executor::{
    AsyncExecutor, Capacity, Executor, Job, NullExecutor, Refusal, ThreadPoolExecutor, Ticket,
};
use bowline_rpc::{
    Broker, CallError, Caller, Certainty, Code, Error, MemoryBroker, Registry, TcpBroker,
};
use futures_util::future::{Either, select};

use crate::backends::{fall, on_every_backend, registry};
use crate::held::{LONG, client, ended, held, hold};
use crate::made::{Made, of_both_kinds};

/// Counts how often it is asked for its capacity, which takes a lock.
#[derive(Debug)]
struct Asked {
    executor: AsyncExecutor,
    times: Arc<AtomicUsize>,
}

impl Executor for Asked {
    fn registry(&self) -> &Registry {
        self.executor.registry()
    }

    fn capacity(&self) -> Capacity {
        self.times.fetch_add(1, Ordering::Relaxed);
        self.executor.capacity()
    }

    fn admit(&self, job: Job) -> Result<Ticket, Refusal> {
        self.executor.admit(job)
    }

    fn purge(&self) {
        self.executor.purge();
    }
}

/// Runs the case with a memory broker, then with a client of a TCP broker, over one executor each of
/// every kind.
macro_rules! behind_both {
    ($registry:expr, $workers:expr, $case:ident) => {
        behind_both!(AsyncExecutor, $registry, $workers, $case);
        behind_both!(ThreadPoolExecutor, $registry, $workers, $case);
    };
    ($executor:ty, $registry:expr, $workers:expr, $case:ident) => {
        MemoryBroker::new(<$executor>::new($registry, $workers))
            .run(async |broker| -> Result<(), Error> {
                $case(broker).await;
                Ok(())
            })
            .await
            .unwrap();
        TcpBroker::builder(<$executor>::new($registry, $workers))
            .listen("127.0.0.1:0")
            .run(async |server| -> Result<(), Error> {
                TcpBroker::caller()
                    .project("example")
                    .connect(server.local_addrs()[0])
                    .run(async |client| -> Result<(), Error> {
                        $case(client).await;
                        Ok(())
                    })
                    .await
            })
            .await
            .unwrap();
    };
}

async fn mul(broker: impl Broker) {
    assert_eq!(broker.call_named::<i64>("mul", (1, 2, 3)).await.unwrap(), 6);
}

async fn a_hundred(broker: impl Broker) {
    let sums = task_group(|group: TaskGroup<CallError>| async move {
        let mut calls = Vec::new();
        for n in 0..100_i64 {
            let broker = broker.clone();
            calls.push(group.spawn(async move { broker.call_named::<i64>("add", (n, 1)).await }));
        }
        let mut sums = Vec::new();
        for call in calls {
            sums.extend(call.join().await.ok());
        }
        Ok(sums)
    })
    .await
    .unwrap();
    assert_eq!(sums, (1..=100).collect::<Vec<_>>());
}

async fn a_panic(broker: impl Broker) {
    let error = broker.call(fall()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.certainty()),
        (Code::Panic, Certainty::Executed)
    );
    assert_eq!(error.message(), "", "what it said is nobody's business");
    assert_eq!(broker.call_named::<i64>("add", (2, 3)).await.unwrap(), 5);
}

/// At a broker that is told to expose what panics say.
async fn a_panic_that_is_told(broker: impl Broker) {
    for (said, told) in [
        ("by \u{1b}hand".to_owned(), "by \\u{1b}hand".to_owned()),
        ("é".repeat(3000), "é".repeat(2048)),
    ] {
        let error = broker.call_named::<()>("say", (said,)).await.unwrap_err();
        assert_eq!((error.code(), error.message()), (Code::Panic, &*told));
    }
    let error = broker.call(fall()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (Code::Panic, "as it should")
    );
}

fn fall_saying(what: String) {
    std::panic::panic_any(what)
}

/// With a method that panics with what it is given.
fn saying() -> Registry {
    let registry = registry();
    registry
        .register_fn("say", |(what,): (String,)| async move { fall_saying(what) })
        .unwrap();
    registry
}

/// A method that counts how many of it run at once.
fn counting(most: &Arc<AtomicUsize>, runs: &Arc<AtomicUsize>) -> Registry {
    let registry = Registry::new("example");
    let (most, runs, now) = (most.clone(), runs.clone(), Arc::new(AtomicUsize::new(0)));
    registry
        .register_fn("add", move |(a, b): (i64, i64)| {
            let (most, runs, now) = (most.clone(), runs.clone(), now.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..3 {
                    yield_now().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                runs.fetch_add(1, Ordering::SeqCst);
                a + b
            }
        })
        .unwrap();
    registry
}

/// Completes when so many jobs wait.
async fn waiting(executor: &impl Executor, jobs: usize) {
    timeout(LONG, async {
        while executor.capacity().waiting != jobs {
            sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("they come and go");
}

async fn a_full_queue<E: Made>() {
    let held = held();
    let executor = E::made(held.registry, 1, 1);
    task_group(|group: TaskGroup<Error>| async move {
        let (memory, server) = of_both_kinds(&executor, &group).await?;
        let mut calls = vec![hold(&group, &memory, 0)];
        held.started.recv().await.expect("it starts");
        for n in 1..4 {
            calls.push(hold(&group, &memory, n));
            waiting(&executor, n as usize).await;
        }
        client(&server)
            .run(async |client| -> Result<(), Error> {
                let error = client.call_named::<i64>("held", (9,)).await.unwrap_err();
                assert_eq!(
                    (error.code(), error.certainty()),
                    (Code::Overloaded, Certainty::Refused)
                );
                Ok(())
            })
            .await?;
        for (call, n) in calls.into_iter().zip(0..) {
            held.let_go.send(()).await.unwrap();
            assert_eq!(call.await.unwrap(), n);
        }
        // The three that waited and no other.
        for _ in 0..3 {
            held.started.try_recv().expect("it ran");
        }
        assert!(held.started.try_recv().is_err(), "the refused call ran");
        group.cancel("done");
        Ok(())
    })
    .await
    .unwrap();
}

async fn a_caller_that_is_gone<E: Made>() {
    let held = held();
    let executor = E::made(held.registry, 1, 1);
    task_group(|group: TaskGroup<Error>| async move {
        let (memory, server) = of_both_kinds(&executor, &group).await?;
        client(&server)
            .run(async |client| -> Result<(), Error> {
                let running = hold(&group, &memory, 1);
                held.started.recv().await.expect("it starts");
                let local = memory.call_named::<i64>("held", (2,)).into_future();
                let remote = client.call_named::<i64>("held", (3,)).into_future();
                for call in [local, remote] {
                    let both = select(call, Box::pin(waiting(&executor, 1))).await;
                    assert!(matches!(both, Either::Right(_)), "the call ended");
                    drop(both);
                    waiting(&executor, 0).await;
                }
                // One whose deadline passes says that it was not started.
                let late = memory
                    .call_named::<i64>("held", (4,))
                    .timeout(std::time::Duration::from_millis(50))
                    .await;
                assert_eq!(ended(late), (Code::DeadlineExceeded, Certainty::Refused));
                held.let_go.send(()).await.unwrap();
                assert_eq!(running.await.unwrap(), 1);
                assert_eq!(memory.call_named::<i64>("add", (2, 3)).await?, 5);
                assert!(
                    held.started.try_recv().is_err(),
                    "a job that nobody waits for ran"
                );
                Ok(())
            })
            .await?;
        group.cancel("done");
        Ok(())
    })
    .await
    .unwrap();
}

on_every_backend! {
    async fn a_connection_asks_for_the_capacity_once_and_not_for_every_call() {
        let times = Arc::new(AtomicUsize::new(0));
        let executor = Asked { executor: AsyncExecutor::new(registry(), 4), times: times.clone() };
        TcpBroker::builder(executor).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let client = TcpBroker::caller().project("example").connect(server.local_addrs()[0]);
            client.run(async |client| -> Result<(), Error> {
                assert_eq!(client.call_named::<i64>("add", (1, 1)).await?, 2);
                let before = times.load(Ordering::Relaxed);
                for n in 0..20 {
                    assert_eq!(client.call_named::<i64>("add", (n, 1)).await?, n + 1);
                }
                assert_eq!(times.load(Ordering::Relaxed), before);
                Ok(())
            }).await
        }).await.unwrap();
    }

    // EX1
    async fn a_blocking_method_gives_its_product() {
        behind_both!(registry(), 4, mul);
    }

    // EX2
    async fn a_hundred_calls_give_a_hundred_results() {
        behind_both!(registry(), 16, a_hundred);
    }

    // EX3
    async fn no_more_handlers_run_than_there_are_workers() {
        let (most, runs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        behind_both!(counting(&most, &runs), 4, a_hundred);
        assert_eq!(most.load(Ordering::SeqCst), 4);
        assert_eq!(runs.load(Ordering::SeqCst), 400);
    }

    // EX4
    async fn a_full_queue_makes_callers_within_the_process_wait_and_refuses_peers() {
        a_full_queue::<AsyncExecutor>().await;
        a_full_queue::<ThreadPoolExecutor>().await;
    }

    // EX7, EX17
    async fn a_job_whose_caller_is_gone_leaves_the_queue_and_never_runs() {
        a_caller_that_is_gone::<AsyncExecutor>().await;
        a_caller_that_is_gone::<ThreadPoolExecutor>().await;
    }

    // EX5
    async fn an_executor_that_runs_nothing_offers_nothing() {
        let registry = registry();
        let names = registry.names();
        TcpBroker::builder(NullExecutor::new(registry.clone()))
            .listen("127.0.0.1:0")
            .run(async |server| -> Result<(), Error> {
                TcpBroker::caller().project("example").connect(server.local_addrs()[0]).run(async |client| {
                    let error = client.call_named::<i64>("add", (2, 3)).fail_fast().await.unwrap_err();
                    assert_eq!(error.code(), Code::UnknownMethod);
                    Ok(())
                }).await
            })
            .await
            .unwrap();
        MemoryBroker::new(NullExecutor::new(registry.clone()))
            .run(async |broker| -> Result<(), Error> {
                let error = broker.call_named::<i64>("add", (2, 3)).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::NoExecutor, Certainty::Refused));
                let error = broker.call(fall()).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::NoExecutor, Certainty::Refused));
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!(registry.names(), names);
    }

    // EX6
    async fn a_panic_fails_its_call_and_nothing_else() {
        behind_both!(registry(), 1, a_panic);
    }

    async fn what_a_panic_said_is_told_where_internals_are_exposed() {
        MemoryBroker::new(AsyncExecutor::new(saying(), 1))
            .expose_internals()
            .run(async |broker| -> Result<(), Error> {
                a_panic_that_is_told(broker).await;
                Ok(())
            })
            .await
            .unwrap();
        TcpBroker::builder(AsyncExecutor::new(saying(), 1))
            .expose_internals()
            .listen("127.0.0.1:0")
            .run(async |server| -> Result<(), Error> {
                client(&server)
                    .run(async |client| -> Result<(), Error> {
                        a_panic_that_is_told(client).await;
                        Ok(())
                    })
                    .await
            })
            .await
            .unwrap();
    }
}
