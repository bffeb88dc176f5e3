//! What is left behind after many runs and many connections: a test binary of its own, for it
//! counts the threads and descriptors of its process.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::blocking::spawn_blocking;
use bowline_backend::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use bowline_backend::stream::{ByteStreamExt, UnixAddress};
use bowline_backend::task::{RunOptions, Threads, spawn_detached};
use bowline_backend::time::{now, sleep_until};
use bowline_tests::latch::Latch;
use bowline_tests::temp_dir::TempDir;
use futures_lite::future::{pending, poll_once};

/// Held by each test, where the tests share a process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

fn threads() -> usize {
    entries("/proc/self/task")
}

fn descriptors() -> usize {
    entries("/proc/self/fd")
}

const REAL: [(Backend, Threads); 5] = [
    (Backend::Tokio, Threads::One),
    (Backend::Tokio, Threads::Auto),
    (Backend::Smol, Threads::One),
    (Backend::Smol, Threads::Auto),
    (Backend::AsyncStd, Threads::Auto),
];

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// Counts itself while it lives.
struct Alive(Arc<AtomicUsize>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A run that uses everything, and leaves a task where the backend drops it.
fn run_once(backend: Backend, threads: Threads) {
    let alive = Arc::new(AtomicUsize::new(0));
    let options = RunOptions::default().threads(threads);
    backend.block_on_with(options, async {
        let (started, ended) = (Latch::new(1), Latch::new(1));
        let (start, end) = (started.clone(), ended.clone());
        alive.fetch_add(1, Ordering::SeqCst);
        let held = Alive(alive.clone());
        let leave = backend.capabilities().drops_tasks_on_exit;
        spawn_detached(async move {
            let listener = TcpListener::bind(loopback()).unwrap();
            let mut client = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.write_all(b"bytes").await.unwrap();
            spawn_blocking(|| ()).await.unwrap();
            sleep_until(now() + Duration::from_millis(1)).await;
            start.count_down();
            if leave {
                pending::<()>().await;
            }
            drop((listener, client, server, held));
            end.count_down();
        });
        started.wait().await;
        if !leave {
            ended.wait().await;
        }
    });
    assert_eq!(alive.load(Ordering::SeqCst), 0, "{backend} left a task");
}

// B11
#[test]
fn many_runs_leave_no_thread_descriptor_or_task() {
    // What the threads and reactors of the process keep, and threads about to end.
    const LASTING: usize = 25;
    let _alone = alone();
    for (backend, count) in REAL {
        for _ in 0..3 {
            run_once(backend, count);
        }
        let before = (threads(), descriptors());
        for _ in 0..50 {
            run_once(backend, count);
        }
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..50).for_each(|_| run_once(backend, count)));
            }
        });
        let after = (threads(), descriptors());
        assert!(
            after.0 <= before.0 + LASTING && after.1 <= before.1 + LASTING,
            "{backend} on {count:?}: threads and descriptors were {before:?}, are {after:?}"
        );
    }
}

// S19
#[test]
fn ten_thousand_connects_and_closes_leave_no_descriptor() {
    const ROUNDS: usize = 2_500;
    let _alone = alone();
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        backend.block_on_with(RunOptions::default().threads(Threads::One), async {
            let listener = TcpListener::bind(loopback()).unwrap();
            let address = listener.local_addr().unwrap();
            // Bound and never listening: the port stays ours, and nobody answers there.
            let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
            let silent = silent.unwrap();
            silent.bind(&loopback().into()).unwrap();
            let nobody = silent.local_addr().unwrap().as_socket().unwrap();
            let before = descriptors();
            for _ in 0..ROUNDS {
                let client = TcpStream::connect(address).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                drop((client, server));
                assert!(TcpStream::connect(nobody).await.is_err());
                drop(TcpStream::connect(address));
                // Polled once, which sends the request; it may be through already.
                drop(poll_once(TcpStream::connect(address)).await);
                drop(listener.accept().await);
            }
            assert_eq!(descriptors(), before, "{backend}");
        });
    }
}

// S19
#[test]
fn ten_thousand_unix_connects_and_closes_leave_no_descriptor() {
    const ROUNDS: usize = 2_500;
    let _alone = alone();
    let directory = TempDir::new();
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        backend.block_on_with(RunOptions::default().threads(Threads::One), async {
            let at = UnixAddress::from_path(directory.join(backend.name())).unwrap();
            let nobody = UnixAddress::from_path(directory.join("nobody")).unwrap();
            let listener = UnixListener::bind(&at).unwrap();
            let before = descriptors();
            for _ in 0..ROUNDS {
                let client = UnixStream::connect(&at).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                drop((client, server));
                assert!(UnixStream::connect(&nobody).await.is_err());
                drop(UnixStream::connect(&at));
                // Polled once, and through: the listener has room.
                drop(poll_once(UnixStream::connect(&at)).await);
                drop(listener.accept().await);
            }
            assert_eq!(descriptors(), before, "{backend}");
        });
    }
}

// S13
#[test]
fn a_connect_into_a_black_hole_closes_its_descriptor_when_dropped() {
    const CONNECTS: usize = 20;
    let _alone = alone();
    // The kernel is silent to those who come when the queue of a listener is full.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&loopback().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    for (backend, count) in REAL {
        backend.block_on_with(RunOptions::default().threads(count), async {
            let mut queued = Vec::new();
            loop {
                let mut connect = Box::pin(TcpStream::connect(address));
                let mut deadline = pin!(sleep_until(now() + Duration::from_millis(100)));
                let through = async { Some(connect.as_mut().await.unwrap()) };
                let late = async {
                    deadline.as_mut().await;
                    None
                };
                match futures_lite::future::or(through, late).await {
                    Some(stream) => queued.push(stream),
                    None => break,
                }
                assert!(queued.len() < 10, "{backend}: the listener takes everyone");
            }
            let before = descriptors();
            let mut waiting = Vec::new();
            for _ in 0..CONNECTS {
                let mut connect = Box::pin(TcpStream::connect(address));
                assert!(poll_once(&mut connect).await.is_none(), "{backend}");
                waiting.push(connect);
            }
            assert_eq!(descriptors(), before + CONNECTS, "{backend}");
            drop(waiting);
            assert_eq!(descriptors(), before, "{backend}");
        });
    }
}
