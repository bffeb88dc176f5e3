//! What is left of a broker whose `run` was dropped: tasks, sockets and timers are counted.

use std::convert::Infallible;
use std::time::Duration;

use bowline::backend::Backend;
use bowline::channel::{Receiver, bounded};
use bowline::concurrency::{TaskGroup, sleep, sleep_forever, task_group, timeout, yield_now};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Caller, Error, MemoryBroker, Registry, TcpBroker};
use bowline::sim::{EventKind, Sim};
use futures_util::future::{Either, select};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// An executor with `hang`, which says that it started, has a child, and never ends by itself.
fn hanging() -> (AsyncExecutor, Receiver<()>) {
    let (starting, started) = bounded(8);
    let registry = Registry::new("example");
    registry
        .register_fn("hang", move |(): ()| {
            let starting = starting.clone();
            async move {
                let hung = task_group(|group: TaskGroup<Infallible>| async move {
                    drop(group.spawn_ok(sleep(LONG)));
                    let _ = starting.send(()).await;
                    sleep_forever().await;
                    Ok(())
                });
                let _ = hung.await;
            }
        })
        .unwrap();
    (AsyncExecutor::new(registry, 4), started)
}

/// Runs a memory broker until its handler hangs, and drops it.
async fn drop_memory_broker(while_running: impl FnOnce()) {
    let (executor, started) = hanging();
    let running = MemoryBroker::new(executor)
        .run(async |broker| -> Result<(), Error> { Ok(broker.call_named("hang", ()).await?) });
    let both = select(Box::pin(running), Box::pin(started.recv())).await;
    assert!(matches!(both, Either::Right((Ok(()), _))), "it ended");
    while_running();
    drop(both);
}

/// The same with a TCP broker and a client of it, two brokers within each other.
async fn drop_tcp_broker(while_running: impl FnOnce()) {
    let (executor, started) = hanging();
    let running = TcpBroker::builder(executor).listen("127.0.0.1:0").run(
        async |server| -> Result<(), Error> {
            TcpBroker::caller()
                .project("example")
                .connect(server.local_addrs()[0])
                .run(async |client| Ok(client.call_named("hang", ()).await?))
                .await
        },
    );
    let both = select(Box::pin(running), Box::pin(started.recv())).await;
    assert!(matches!(both, Either::Right((Ok(()), _))), "it ended");
    while_running();
    drop(both);
}

/// Tasks of the runtime and descriptors of the process.
#[cfg(target_os = "linux")]
fn in_use() -> (usize, usize) {
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    (tasks, std::fs::read_dir("/proc/self/fd").unwrap().count())
}

/// Completes when as much is in use as before.
#[cfg(target_os = "linux")]
async fn back_to(before: (usize, usize)) {
    let ended = timeout(LONG, async {
        while in_use() != before {
            yield_now().await;
        }
    });
    if ended.await.is_err() {
        panic!("{:?} in use, {before:?} before", in_use());
    }
}

// BR16
#[cfg(target_os = "linux")]
#[test]
fn a_dropped_broker_leaves_no_task_and_no_socket() {
    Backend::Tokio.block_on(async {
        let before = in_use();
        drop_memory_broker(|| assert!(in_use().0 >= before.0 + 3, "broker, handler, child")).await;
        back_to(before).await;
        drop_tcp_broker(|| {
            let now = in_use();
            assert!(now.0 >= before.0 + 6, "and listener, dialer, connections");
            assert!(
                now.1 >= before.1 + 3,
                "a listener and both ends of a stream"
            );
        })
        .await;
        back_to(before).await;
    });
}

/// How often a timer fires in the hour after both brokers were dropped, but for its first seconds:
/// ten seconds after a cancel the root looks, once, whether something still holds a scope.
fn timers_after(drop_broker: impl AsyncFn() + Copy + Send + Sync + 'static) -> usize {
    let mut world = Sim::builder()
        .seed(1)
        .client("one", move || async move {
            drop_broker().await;
            Sim::note("dropped", 0);
            sleep(Duration::from_secs(3600)).await;
        })
        .ignore_leaks()
        .build();
    world.run_until(|world| world.is_finished()).unwrap();
    let trace = world.trace();
    let events = trace.iter().map(|line| line.event());
    let mut after = events.skip_while(|event| event.label() != "dropped");
    let dropped = after.next().expect("it was noted").time();
    let looked = dropped + 11_000_000_000;
    after
        .filter(|event| event.kind() == EventKind::Timer && event.time() > looked)
        .count()
}

// BR16
#[test]
fn a_dropped_broker_leaves_no_timer() {
    // One that is left is seen; the other is that of the hour itself.
    assert_eq!(timers_after(async || Sim::spawn(sleep(LONG))), 2);
    assert_eq!(timers_after(async || drop_memory_broker(|| ()).await), 1);
    assert_eq!(timers_after(async || drop_tcp_broker(|| ()).await), 1);
}
