//! Which backend is current: B17, B18, B60 to B62, B65 and B66.

use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use bowline_backend::stream::ByteStreamExt;
use bowline_backend::task::{RunOptions, spawn_detached, yield_now};
use bowline_backend::time::{Instant, sleep_until};
use bowline_backend::{Backend, blocking, entropy, net, signal, stream, time};
use bowline_tests::latch::{Latch, OnDrop};
use futures_lite::future::block_on;

#[cfg(target_os = "linux")]
use crate::children::is_alone;
use crate::kinds::{Kind, Tcp};
use crate::streams::read_whole;
use crate::{conformance, message};

const MS: Duration = Duration::from_millis(1);

conformance! {
    all: [current_is_right_in_task_job_and_drop, attaching_nests_and_restores]
    real: [sockets_and_sleeps_work_anywhere, sockets_and_sleeps_are_dropped_anywhere]
    dropping: []
    real_dropping: []
}

fn at(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

// B17
#[test]
fn outside_a_backend_every_use_says_so() {
    type Use = fn(Backend);
    let uses: [(&str, Use); 8] = [
        ("spawn", |backend| backend.spawn_detached(async {})),
        ("sleep", |backend| drop(backend.sleep_until(Instant::NEVER))),
        ("job", |backend| drop(backend.spawn_blocking(|| ()))),
        ("listener", |_| drop(net::TcpListener::bind(at(0)))),
        ("connect", |_| {
            drop(block_on(net::TcpStream::connect(at(1))))
        }),
        ("datagrams", |_| drop(net::UdpSocket::bind(at(0)))),
        ("signals", |_| drop(signal::listen(signal::Signal::User2))),
        ("look-up", |_| {
            drop(block_on(net::resolve(net::Query::loopback(1))))
        }),
    ];
    let _default = DEFAULT.lock().unwrap();
    for backend in [Backend::Tokio, Backend::Sim] {
        // What takes no backend is of the current one.
        let before = Backend::set_default(backend);
        for (name, act) in uses {
            let text = message(catch_unwind(|| act(backend)).unwrap_err());
            let expected = format!(
                "backend {backend} does not run on this thread; enter it through \
                 Backend::block_on or choose with Backend::set_default"
            );
            assert_eq!(text, expected, "{name}");
        }
        assert!(!backend.is_running());
        Backend::set_default(before);
    }
}

struct Asks(Arc<Mutex<Vec<Backend>>>, Latch);

impl Drop for Asks {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(Backend::current().unwrap());
        self.1.count_down();
    }
}

// B18
fn current_is_right_in_task_job_and_drop(backend: Backend, options: RunOptions) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let dropped = Latch::new(3);
    backend.block_on_with(options, async {
        assert_eq!(Backend::current(), Ok(backend));
        assert!(backend.is_running());
        let asks = Asks(seen.clone(), dropped.clone());
        spawn_detached(async move {
            let asks = asks;
            yield_now().await;
            asks.0.lock().unwrap().push(Backend::current().unwrap());
            drop(asks);
            panic!("of a task, on purpose");
        });
        let asks = Asks(seen.clone(), dropped.clone());
        let in_job = blocking::spawn_blocking(move || {
            drop(asks);
            Backend::current().unwrap()
        });
        assert_eq!(in_job.await.unwrap(), backend);
        // The value of a job that nobody waits for.
        let asks = Asks(seen.clone(), dropped.clone());
        drop(blocking::spawn_blocking(move || asks));
        dropped.wait().await;
    });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|found| *found == backend), "{seen:?}");
}

/// Held by the tests that read or change the default of the process.
static DEFAULT: Mutex<()> = Mutex::new(());

// B60
#[test]
fn foreign_mains_are_recognised() {
    let _default = DEFAULT.lock().unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio.block_on(async {
        assert_eq!(Backend::current(), Ok(Backend::Tokio));
        let task = tokio::spawn(async { Backend::current() });
        assert_eq!(task.await.unwrap(), Ok(Backend::Tokio));
        let job = tokio::task::spawn_blocking(Backend::current);
        assert_eq!(job.await.unwrap(), Ok(Backend::Tokio));
    });
    {
        let _entered = tokio.enter();
        assert_eq!(Backend::current(), Ok(Backend::Tokio));
    }
    ::async_std::task::block_on(async {
        assert_eq!(Backend::current(), Ok(Backend::AsyncStd));
        let task = ::async_std::task::spawn(async { Backend::current() });
        assert_eq!(task.await, Ok(Backend::AsyncStd));
    });
    // Foreign executors that cannot be asked see the default of the process.
    let outside = futures_executor_block_on(async { Backend::current() });
    assert_eq!(outside, Ok(Backend::default()));
    // A tokio context entered inside a smol task stays smol: the innermost mark wins.
    Backend::Smol.block_on(async {
        let _entered = tokio.enter();
        assert_eq!(Backend::current(), Ok(Backend::Smol));
    });
    let from_smol = thread::spawn(|| {
        futures_executor_block_on(Backend::Smol.attach(async {
            let latch = Latch::new(1);
            let inner = latch.clone();
            spawn_detached(async move { inner.count_down() });
            latch.wait().await;
            Backend::current()
        }))
    });
    assert_eq!(from_smol.join().unwrap(), Ok(Backend::Smol));
}

/// Calls what it holds as a thread ends.
struct CallsAtEnd(RefCell<Option<Box<dyn FnOnce() + Send>>>);

impl Drop for CallsAtEnd {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

thread_local! {
    static AT_END: CallsAtEnd = const { CallsAtEnd(RefCell::new(None)) };
}

/// Has a thread run `before`, and `act` from the destructor of a thread-local value. Those of what
/// `before` uses may have run already, for they came later.
fn at_thread_end(before: impl FnOnce() + Send + 'static, act: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        AT_END.with(|at_end| at_end.0.replace(Some(Box::new(act))));
        before();
    });
    thread.join().unwrap();
}

// B60
#[test]
fn a_thread_local_destructor_spawns() {
    let (ended, waiting) = std::sync::mpsc::channel();
    let attached = ended.clone();
    at_thread_end(
        || Backend::Smol.block_on(async { yield_now().await }),
        move || {
            let ended = ended.clone();
            Backend::Smol.spawn_detached(async move {
                ended.send(Backend::current()).unwrap();
            });
        },
    );
    assert_eq!(waiting.recv(), Ok(Ok(Backend::Smol)));
    at_thread_end(
        || Backend::Smol.block_on(async { yield_now().await }),
        move || {
            let spawns = Backend::Smol.attach(async move {
                let inner = attached.clone();
                spawn_detached(async move { inner.send(Backend::current()).unwrap() });
                drop(blocking::spawn_blocking(move || {
                    attached.send(Backend::current()).unwrap()
                }));
            });
            futures_executor_block_on(spawns);
        },
    );
    assert_eq!(waiting.recv(), Ok(Ok(Backend::Smol)));
    assert_eq!(waiting.recv(), Ok(Ok(Backend::Smol)));
}

/// The threads of this process that run tasks of smol for it.
#[cfg(target_os = "linux")]
fn threads_of_smol() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
    // A thread that ended meanwhile has no name.
    let names = names.filter_map(Result::ok);
    names
        .filter(|name| name.starts_with("bowline-smol-"))
        .count()
}

// B60, B61
#[test]
#[cfg(target_os = "linux")]
fn attaching_starts_no_thread_until_a_task_is_spawned() {
    // Other tests start them too.
    if !is_alone("context::attaching_starts_no_thread_until_a_task_is_spawned") {
        return;
    }
    futures_executor_block_on(Backend::Smol.attach(async {
        sleep_until(time::now()).await;
        assert_eq!(threads_of_smol(), 0);
        let latch = Latch::new(1);
        let inner = latch.clone();
        spawn_detached(async move { inner.count_down() });
        latch.wait().await;
        assert!(threads_of_smol() > 0);
    }));
}

/// An executor that is none of ours.
fn futures_executor_block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}

// B61
fn attaching_nests_and_restores(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let other = if backend == Backend::Sim {
            Backend::Sim
        } else {
            Backend::Smol
        };
        let nested = backend.attach(async {
            let inner = other.attach(async { Backend::current().unwrap() }).await;
            (inner, Backend::current().unwrap())
        });
        assert_eq!(nested.await, (other, backend));
        let mut panics = Box::pin(other.attach(async { panic!("attached, on purpose") }));
        let mut cx = Context::from_waker(Waker::noop());
        let panicked = catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(&mut cx)));
        assert!(panicked.is_err());
        assert_eq!(Backend::current(), Ok(backend));
        drop(panics);
        assert_eq!(Backend::current(), Ok(backend));
    });
}

type Objects = (net::TcpStream, net::TcpStream, Pin<Box<time::Sleep>>);

async fn objects() -> Objects {
    let (client, server) = Tcp::pair().await;
    (client, server, Box::pin(sleep_until(time::now() + 5 * MS)))
}

/// Has each end wait for the other, and the sleep fire twice.
async fn use_up(backend: Backend, (mut client, mut server, mut sleep): Objects) {
    assert_eq!((client.backend(), sleep.backend()), (backend, backend));
    for _ in 0..20 {
        let answer = async {
            assert_eq!(read_whole(&mut server, 8).await.unwrap(), b"question");
            server.write_all(b"answer").await.unwrap();
        };
        let ask = async {
            yield_now().await;
            client.write_all(b"question").await.unwrap();
            assert_eq!(read_whole(&mut client, 6).await.unwrap(), b"answer");
        };
        futures_lite::future::zip(answer, ask).await;
    }
    sleep.as_mut().await;
    let again = sleep.deadline() + 10 * MS;
    sleep.as_mut().reset(again);
    sleep.as_mut().await;
    assert!(backend.now() >= again);
}

// B62
fn sockets_and_sleeps_work_anywhere(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        // The runtime of the objects goes on here, for nobody else would turn its reactor.
        for other in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
            let (objects, ended) = (objects().await, Latch::new(1));
            let on_end = OnDrop(ended.clone());
            let there = thread::spawn(move || {
                let _ended = on_end;
                other.block_on(async move {
                    assert_eq!(Backend::current(), Ok(other));
                    use_up(backend, objects).await;
                });
            });
            ended.wait().await;
            there.join().unwrap();
        }
        let (objects, ended) = (objects().await, Latch::new(1));
        let on_end = OnDrop(ended.clone());
        let plain = thread::spawn(move || {
            let _ended = on_end;
            futures_executor_block_on(use_up(backend, objects));
        });
        ended.wait().await;
        plain.join().unwrap();
    });
}

// B62
fn sockets_and_sleeps_are_dropped_anywhere(backend: Backend, options: RunOptions) {
    use stream::ByteStreamExt;
    let (listener, mut client) = backend.block_on_with(options.clone(), async {
        let at = "127.0.0.1:0".parse().unwrap();
        let listener = net::TcpListener::bind(at).unwrap();
        let address = listener.local_addr().unwrap();
        let client = net::TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        // On a plain thread.
        let sleep = Box::pin(sleep_until(time::now()));
        let plain = thread::spawn(move || {
            assert_eq!(sleep.backend(), backend);
            drop(sleep);
            server.backend()
        });
        assert_eq!(plain.join().unwrap(), backend);
        (listener, client)
    });
    // Under another backend, after its own has ended.
    let other = if backend == Backend::Smol {
        Backend::Tokio
    } else {
        Backend::Smol
    };
    other.block_on(async move {
        assert_eq!(listener.backend(), backend);
        assert_eq!(client.backend(), backend);
        drop(listener);
        let _ = poll_fn(|cx| std::pin::Pin::new(&mut client.shutdown()).poll(cx)).await;
        drop(client);
    });
}

// B62
#[test]
fn a_simulated_half_is_dropped_outside_its_world() {
    use stream::ByteStream;
    let (reader, writer) = Backend::Sim.block_on(async {
        let listener = net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let client = net::TcpStream::connect(address).await.unwrap();
        client.into_split()
    });
    drop(writer);
    Backend::Sim.block_on(async move { drop(reader) });
}

// B65
#[test]
fn sizes_stay_small_with_every_backend_on() {
    let sizes = [
        ("TcpStream", size_of::<net::TcpStream>(), 48),
        ("TcpReadHalf", size_of::<net::TcpReadHalf>(), 48),
        ("TcpWriteHalf", size_of::<net::TcpWriteHalf>(), 48),
        ("TcpListener", size_of::<net::TcpListener>(), 48),
        ("UdpSocket", size_of::<net::UdpSocket>(), 48),
        #[cfg(unix)]
        ("UnixStream", size_of::<net::UnixStream>(), 48),
        #[cfg(unix)]
        ("UnixReadHalf", size_of::<net::UnixReadHalf>(), 48),
        #[cfg(unix)]
        ("UnixWriteHalf", size_of::<net::UnixWriteHalf>(), 48),
        #[cfg(unix)]
        ("UnixListener", size_of::<net::UnixListener>(), 48),
        #[cfg(unix)]
        ("UnixDatagram", size_of::<net::UnixDatagram>(), 48),
        ("Sleep", size_of::<time::Sleep>(), 128),
        ("Backend", size_of::<Backend>(), 1),
    ];
    for (name, size, most) in sizes {
        assert!(size <= most, "{name} has {size} bytes");
    }
}

// B66
#[test]
fn the_default_changes_later_look_ups_alone() {
    let _default = DEFAULT.lock().unwrap();
    for backend in Backend::available() {
        assert_eq!(Backend::from_name(backend.name()), Ok(*backend));
        assert_eq!(backend.to_string().parse(), Ok(*backend));
    }
    let error = Backend::from_name("trio").unwrap_err().to_string();
    assert_eq!(
        error,
        "no backend called \"trio\" is compiled in; there are tokio, smol, async-std, sim"
    );
    let before = Backend::current().unwrap();
    assert_eq!(before, Backend::default());
    assert_eq!(Backend::set_default(Backend::Smol), before);
    assert_eq!(Backend::current(), Ok(Backend::Smol));
    assert_eq!(Backend::set_default(before), Backend::Smol);
    Backend::Tokio.block_on(async {
        Backend::set_default(Backend::Smol);
        assert_eq!(
            Backend::current(),
            Ok(Backend::Tokio),
            "running code keeps its backend"
        );
        Backend::set_default(before);
    });
    let mut bytes = [0; 4];
    entropy::fill(&mut bytes);
}

/// The text of the panic of `future` on a runtime of tokio that someone else built.
fn panic_on(builder: &mut tokio::runtime::Builder, future: impl Future<Output = ()>) -> String {
    let runtime = builder.build().unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| runtime.block_on(future)));
    message(panic.unwrap_err())
}

// B60
#[test]
fn a_foreign_runtime_without_drivers_is_told_what_it_lacks() {
    let bare = tokio::runtime::Builder::new_current_thread;
    let no_time = "the tokio runtime on this thread has no time driver: build it with enable_time \
                   or enable_all, or enter Backend::block_on";
    let text = panic_on(&mut bare(), async {
        sleep_until(time::now() + MS).await;
    });
    assert_eq!(text, no_time);
    let text = panic_on(bare().enable_io(), async {
        let mut sleep = Box::pin(sleep_until(Instant::NEVER));
        sleep.as_mut().reset(time::now() + MS);
        sleep.await;
    });
    assert_eq!(text, no_time);
    let no_io = "the tokio runtime on this thread has no IO driver: build it with enable_io or \
                 enable_all, or enter Backend::block_on";
    let at = "127.0.0.1:0".parse().unwrap();
    let text = panic_on(bare().enable_time(), async move {
        drop(net::TcpListener::bind(at));
    });
    assert_eq!(text, no_io);
    let listener = std::net::TcpListener::bind(at).unwrap();
    let address = listener.local_addr().unwrap();
    let text = panic_on(&mut bare(), async move {
        drop(net::TcpStream::connect(address).await);
    });
    assert_eq!(text, no_io);
    let text = panic_on(&mut bare(), async move {
        drop(net::TcpListener::from_std(listener));
    });
    assert_eq!(text, no_io);
}
