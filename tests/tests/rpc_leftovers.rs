//! What is left of a broker whose `run` was dropped, and of connections that came and went: tasks,
//! sockets, timers and memory are counted. A test binary of its own, for it counts allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline::backend::Backend;
use bowline::backend::net::TcpStream;
use bowline::backend::stream::ByteStreamExt;
use bowline::channel::{Receiver, bounded};
use bowline::concurrency::{TaskGroup, sleep, sleep_forever, task_group, timeout, yield_now};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{Caller, Error, ErrorKind, MemoryBroker, Registry, TcpBroker};
use bowline::sim::{EventKind, Sim};
use futures_util::future::{Either, join_all, select};

/// Counts the bytes that are allocated.
struct Counting;

static BYTES: AtomicIsize = AtomicIsize::new(0);

#[expect(unsafe_code, reason = "the allocator trait is unsafe")]
// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as isize, Ordering::Relaxed);
        // SAFETY: `pointer` came from `System`, by `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Held by each test that counts, where the tests share a process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    let _alone = alone();
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
    let _alone = alone();
    // One that is left is seen; the other is that of the hour itself.
    assert_eq!(timers_after(async || Sim::spawn(sleep(LONG))), 2);
    assert_eq!(timers_after(async || drop_memory_broker(|| ()).await), 1);
    assert_eq!(timers_after(async || drop_tcp_broker(|| ()).await), 1);
}

/// How often peers come and go: so often, or as `BOWLINE_CONNECTIONS` says.
fn cycles(usual: usize) -> usize {
    let asked = std::env::var("BOWLINE_CONNECTIONS").ok();
    asked.map_or(usual, |text| text.parse().expect("a number"))
}

/// Peers that come and go at the same time: one of each kind, so that there is one call at a time, as
/// others would have workers of the executor start, which stay.
const AT_ONCE: usize = 4;

/// Peers that come and go before a host has no port left but those of connections that it remembers.
const PORTS: usize = 20_000;

/// So many peers come and go, some at a time: one by one, most of the time would be that of waiting.
async fn come_and_go(server: &TcpBroker, cycles: usize) {
    for first in (0..cycles).step_by(AT_ONCE) {
        let these = first..cycles.min(first + AT_ONCE);
        let accepted = server.statistics().accepted + these.len() as u64;
        join_all(these.map(|cycle| one_comes_and_goes(server, cycle))).await;
        let gone = timeout(LONG, async {
            while server.statistics().accepted < accepted || server.statistics().open > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        gone.await.expect("they are closed");
    }
}

/// A broker that calls, one with another project, one that says nothing, or one that speaks another
/// protocol.
async fn one_comes_and_goes(server: &TcpBroker, cycle: usize) {
    let address = server.local_addrs()[0];
    match cycle % 4 {
        0 => {
            let client = TcpBroker::caller().project("example").connect(address);
            let call =
                client.run(async |client| Ok(client.call_named::<i64>("add", (2, 3)).await?));
            assert_eq!(call.await.map_err(|error: Error| error.kind()), Ok(5));
        }
        1 => {
            let stranger = TcpBroker::caller().project("other").connect(address);
            let refused = stranger.run(async |_| Ok::<(), Error>(()));
            assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::WrongProject);
        }
        2 => drop(TcpStream::connect(address).await.unwrap()),
        _ => {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        }
    }
}

/// A broker with one method, which runs meanwhile.
async fn serving<F>(body: impl FnOnce(TcpBroker) -> F + Send)
where
    F: Future<Output = ()> + Send,
{
    let registry = Registry::new("example");
    registry
        .register_fn("add", |(a, b): (i64, i64)| async move { a + b })
        .unwrap();
    TcpBroker::builder(AsyncExecutor::new(registry, 4))
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            body(server).await;
            Ok(())
        })
        .await
        .unwrap();
}

// D5
#[cfg(target_os = "linux")]
#[test]
fn connections_that_come_and_go_leave_no_task_no_memory_and_no_descriptor() {
    let _alone = alone();
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    // The other runtimes do not count theirs.
    let tasks = || {
        let runtime = tokio::runtime::Handle::try_current();
        runtime.map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    };
    let cycles = cycles(1_000);
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        backend.block_on(serving(async move |server: TcpBroker| {
            // By then every table and cache has the room it needs.
            come_and_go(&server, 400).await;
            let before = (descriptors(), tasks());
            let bytes = BYTES.load(Ordering::Relaxed);
            come_and_go(&server, cycles).await;
            let left = || (descriptors(), tasks());
            let ended = timeout(LONG, async {
                while left().0 > before.0 || left().1 > before.1 {
                    yield_now().await;
                }
            });
            let ended = ended.await.is_ok();
            assert!(ended, "{backend}: {:?} and {before:?} before", left());
            // What runtimes keep comes and goes, and grows with no connection.
            let grown = BYTES.load(Ordering::Relaxed) - bytes;
            println!("{backend}: {cycles} connections, {grown} bytes more");
            assert!(grown < 32 * 1024, "{backend}: {grown} bytes more");
        }));
    }
}

// D5
#[test]
fn connections_that_come_and_go_leave_no_task_and_no_socket_of_a_world() {
    let _alone = alone();
    let cycles = cycles(1_000);
    let passed = Arc::new(AtomicUsize::new(0));
    let passing = passed.clone();
    let mut world = Sim::builder()
        .seed(1)
        .client("one", move || {
            let passing = passing.clone();
            serving(async move |server: TcpBroker| {
                for part in [40, cycles] {
                    for first in (0..part).step_by(PORTS) {
                        come_and_go(&server, PORTS.min(part - first)).await;
                        // What a closed connection is remembered for is over then.
                        sleep(LONG * 5).await;
                    }
                    passing.fetch_add(1, Ordering::SeqCst);
                    sleep(LONG).await;
                }
            })
        })
        .build();
    let mut after = |part| {
        world
            .run_until(|_| passed.load(Ordering::SeqCst) == part)
            .unwrap();
        world.stats("one").unwrap()
    };
    let before = after(1);
    assert_eq!(after(2), before);
}
