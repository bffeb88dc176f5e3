//! What holds of handlers that hold a thread.

use std::collections::BTreeSet;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads};
use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::{Root, TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::{AsyncExecutor, Executor, ThreadPoolExecutor};
use bowline_rpc::{
    Broker, Caller, Certainty, Code, Context, Error, MemoryBroker, Registry, Retry, TcpBroker,
};

use crate::backends::registry;
use crate::held::{LONG, client, ended, hold};
use crate::made::Made;

const SOON: Duration = Duration::from_millis(50);
const WITH_THREADS: [Backend; 3] = [Backend::Tokio, Backend::Smol, Backend::AsyncStd];

/// A registry with `held`, which holds its thread until it is let go, whatever it is told.
fn held_on_threads() -> (Registry, Receiver<()>, Sender<()>) {
    let ((starting, started), (let_go, waiting)) = (bounded(64), bounded(64));
    let registry = registry();
    registry
        .register_blocking("held", move |_: Context, (n,): (i64,)| {
            let _ = starting.try_send(());
            let _ = waiting.recv_blocking();
            n
        })
        .unwrap();
    (registry, started, let_go)
}

async fn until(holds: impl Fn() -> bool) {
    timeout(LONG, async {
        while !holds() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("it comes to hold");
}

async fn a_handler_that_ignores_its_cancel<E: Made>() {
    let (registry, started, let_go) = held_on_threads();
    let executor = E::made(registry, 2, 8);
    task_group(|group: TaskGroup<Error>| async move {
        let memory = MemoryBroker::new(executor.clone()).start(&group).await?;
        let call = hold(&group, &memory, 1);
        until(|| started.try_recv().is_ok()).await;
        let report = executor.shutdown(SOON).await;
        assert_eq!(
            (report.finished, report.cancelled, report.abandoned),
            (0, 0, 1)
        );
        assert_eq!(
            ended(call.await),
            (Code::Cancelled, Certainty::MaybeExecuted)
        );
        // It holds its place, which is to be seen, and the pool serves others beside it.
        assert_eq!(
            (executor.capacity().running, executor.capacity().abandoned),
            (1, 1)
        );
        let again = MemoryBroker::new(executor.clone()).start(&group).await?;
        assert_eq!(again.call_named::<i64>("mul", (1, 2, 3)).await?, 6);
        // An answer may come before the place of its call is free.
        until(|| executor.capacity().running == 1).await;
        // So it does when both brokers have ended.
        memory.close();
        again.close();
        memory.closed().await;
        again.closed().await;
        assert_eq!(
            (executor.capacity().running, executor.capacity().abandoned),
            (1, 1)
        );
        let_go.try_send(()).unwrap();
        until(|| executor.capacity().running == 0).await;
        assert_eq!(executor.capacity().abandoned, 0);
        // One whose broker ends is left as well, and one whose deadline passes.
        let memory = MemoryBroker::new(executor.clone()).start(&group).await?;
        let call = hold(&group, &memory, 2);
        until(|| started.try_recv().is_ok()).await;
        assert_eq!(memory.stats().executor.abandoned, 0);
        memory.close();
        assert_eq!(ended(call.await).1, Certainty::MaybeExecuted);
        until(|| executor.capacity().abandoned == 1).await;
        let server = TcpBroker::builder(executor.clone())
            .listen("127.0.0.1:0")
            .start(&group)
            .await?;
        let peer = client(&server).start(&group).await?;
        let late = peer
            .call_named::<i64>("held", (3,))
            .timeout(SOON)
            .retry(Retry::never());
        assert_eq!(ended(late.await).0, Code::DeadlineExceeded);
        until(|| {
            let told = server.stats().executor;
            told.abandoned > 0 && told.abandoned == told.running
        })
        .await;
        // A token for each, however many of them began.
        until(|| {
            let _ = let_go.try_send(());
            executor.capacity().running == 0
        })
        .await;
        assert_eq!(executor.capacity().abandoned, 0);
        group.cancel("done");
        Ok(())
    })
    .await
    .unwrap();
}

// EX9
#[test]
fn a_handler_that_ignores_its_cancel_holds_its_place_and_nothing_else() {
    for backend in WITH_THREADS {
        crate::backends::run(
            backend,
            a_handler_that_ignores_its_cancel::<ThreadPoolExecutor>(),
        );
        crate::backends::run(
            backend,
            a_handler_that_ignores_its_cancel::<AsyncExecutor>(),
        );
    }
}

async fn more_than_the_backend_has<E: Made>(calls: usize) {
    let (registry, started, let_go) = held_on_threads();
    let executor = E::made(registry, calls, calls);
    task_group(|group: TaskGroup<Error>| async move {
        let server = TcpBroker::builder(executor)
            .listen("127.0.0.1:0")
            .start(&group)
            .await?;
        client(&server)
            .run(async |client| -> Result<(), Error> {
                let running: Vec<_> = (0..calls)
                    .map(|n| hold(&group, &client, n as i64))
                    .collect();
                for _ in 0..calls {
                    until(|| started.try_recv().is_ok()).await;
                }
                // The only thread of the backend is free, and so is that of others.
                assert_eq!(
                    client
                        .call_named::<i64>("held", (1,))
                        .timeout(SOON)
                        .await
                        .map_err(|e| e.code()),
                    Err(Code::DeadlineExceeded)
                );
                for _ in 0..calls {
                    let_go.try_send(()).unwrap();
                }
                for (call, n) in running.into_iter().zip(0..) {
                    assert_eq!(call.await.unwrap(), n);
                }
                Ok(())
            })
            .await?;
        group.cancel("done");
        Ok(())
    })
    .await
    .unwrap();
}

// EX16
#[test]
fn a_blocking_handler_holds_up_no_thread_of_the_backend() {
    for backend in WITH_THREADS {
        let options = RunOptions::default().threads(Threads::One);
        let root = bowline_concurrency::Root::new()
            .backend(backend)
            .options(options);
        root.block_on(async {
            more_than_the_backend_has::<ThreadPoolExecutor>(8).await;
            more_than_the_backend_has::<AsyncExecutor>(8).await;
        });
    }
}

/// Names and numbers of threads.
#[test]
fn threads_have_their_name_and_are_used_again() {
    let registry = Registry::new("example");
    registry
        .register_blocking("name", |(): ()| {
            std::thread::current().name().unwrap().to_owned()
        })
        .unwrap();
    let executor = ThreadPoolExecutor::new(registry, 4)
        .thread_name("shop")
        .stack_size(1 << 20);
    crate::backends::run(Backend::Smol, async {
        MemoryBroker::new(executor)
            .run(async |broker| -> Result<(), Error> {
                let mut names = BTreeSet::new();
                for _ in 0..50 {
                    names.insert(broker.call_named::<String>("name", ()).await?);
                }
                // One call at a time: its thread is free again before its end is told.
                assert_eq!(names, BTreeSet::from(["shop-0".to_owned()]));
                Ok(())
            })
            .await
            .unwrap();
    });
}

// I4
#[test]
fn a_call_for_which_no_thread_can_be_started_is_refused() {
    for backend in WITH_THREADS {
        // A stack of more than there are addresses.
        let executor = ThreadPoolExecutor::new(registry(), 4).stack_size(1 << 47);
        Root::new().backend(backend).block_on(async {
            let outcome =
                MemoryBroker::new(executor.clone()).run(async |broker| -> Result<(), Error> {
                    for _ in 0..3 {
                        let error = broker
                            .call_named::<i64>("mul", (1, 2, 3))
                            .await
                            .unwrap_err();
                        assert_eq!(
                            (error.code(), error.certainty()),
                            (Code::Overloaded, Certainty::Refused)
                        );
                        assert_eq!(error.message(), "no thread could be started");
                    }
                    // What needs none is served.
                    assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
                    Ok(())
                });
            outcome.await.unwrap();
            assert_eq!(executor.capacity().running, 0);
        });
    }
}
