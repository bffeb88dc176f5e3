//! What failed accepts mean.

use std::collections::VecDeque;
use std::future::IntoFuture as _;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_backend::stream::{Address, ByteStreamExt};
use bowline_concurrency::{
    AnyError, GroupError, Root, TaskGroup, cancelled, checkpoint, now, task_group, yield_now,
};
use bowline_transport::{
    ErrorKind, Listener, Listeners, MessageStream, Operation, Server, ServerLimits, TcpConnector,
    Transport, serve_streams,
};
use futures_util::FutureExt;
use futures_util::future::join;

use crate::endings::greet;
use crate::script::{Script, Scripted};
use crate::{beside, line};

pub(crate) const EMFILE: i32 = 24;
const ENOMEM: i32 = 12;
const EBADF: i32 = 9;
const EPROTO: i32 = 71;
const ECONNABORTED: i32 = 103;

/// Listens, but first fails as it was told to.
pub(crate) struct Failing {
    listeners: Listeners,
    errors: VecDeque<i32>,
    /// The same, once it has accepted somebody.
    later: VecDeque<i32>,
}

impl Failing {
    pub(crate) async fn new(errors: impl IntoIterator<Item = i32>) -> Failing {
        let listeners = Listeners::builder(0).host("127.0.0.1").bind().await;
        Failing {
            listeners: listeners.unwrap(),
            errors: errors.into_iter().collect(),
            later: VecDeque::new(),
        }
    }

    /// Fails so once more, after the first connection.
    fn then(mut self, errors: impl IntoIterator<Item = i32>) -> Failing {
        self.later.extend(errors);
        self
    }
}

impl Listener for Failing {
    type Connection = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Address)>> {
        match self.errors.pop_front() {
            Some(code) => Poll::Ready(Err(io::Error::from_raw_os_error(code))),
            None => {
                let accepted = self.listeners.poll_accept(cx);
                if accepted.is_ready() {
                    self.errors.append(&mut self.later);
                }
                accepted
            }
        }
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        self.listeners.local_addrs()
    }
}

// SV1
pub(crate) async fn failures_of_one_connection_are_skipped() {
    // More of them than are taken in one turn.
    let errors = [ECONNABORTED, EPROTO].into_iter().cycle().take(100);
    let bound = Server::over(Failing::new(errors).await)
        .codec(line)
        .bind()
        .await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    let begun = now();
    beside(bound.serve(Script::new(&Scripted::new())), async {
        greet(&handle, "served").await.close().await.unwrap();
        if Backend::current() == Ok(Backend::Sim) {
            let passed = now().saturating_duration_since(begun);
            assert!(passed < Duration::from_millis(100), "{passed:?}: it paused");
        }
        handle.drain(Duration::from_secs(10)).await;
        let counters = handle.counters();
        assert_eq!(
            (counters.accept_skipped, counters.accept_exhausted),
            (100, 0)
        );
    })
    .await;
}

// SV1
pub(crate) async fn a_broken_listener_ends_the_server() {
    let told = Scripted::new();
    let failing = Failing::new([ECONNABORTED, EBADF]).await;
    let limits = ServerLimits::new().grace(Duration::from_millis(1));
    let server = Server::over(failing).codec(line).limits(limits);
    let bound = server.bind().await.unwrap();
    let handle = bound.handle();
    let error = bound.serve(Script::new(&told)).await.unwrap_err();
    assert_eq!(error.operation(), Operation::Accept);
    let source = std::error::Error::source(&error).unwrap();
    let source = source.downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.raw_os_error(), Some(EBADF));
    assert_eq!(
        (handle.counters().accept_skipped, handle.is_serving()),
        (1, false)
    );
}

// SV1
pub(crate) async fn a_system_without_descriptors_is_waited_for() {
    let count = if Backend::current() == Ok(Backend::Sim) {
        40
    } else {
        2
    };
    let errors = [EMFILE, ENOMEM].into_iter().cycle().take(count);
    let failing = Failing::new(errors).await;
    let bound = Server::over(failing).codec(line).bind().await.unwrap();
    let handle = bound.handle();
    let begun = now();
    beside(bound.serve(Script::new(&Scripted::new())), async {
        greet(&handle, "served").await.close().await.unwrap();
        if Backend::current() == Ok(Backend::Sim) {
            // 100, 200, 400, 800 ms and then 1 s each, of which half is sure.
            let least = Duration::from_millis(750) + Duration::from_millis(500) * 36;
            let passed = now().saturating_duration_since(begun);
            assert!(
                passed >= least && passed <= least * 2 + Duration::from_secs(1),
                "{passed:?}"
            );
            // The rest is drawn: together about half of it.
            assert!(passed >= least * 5 / 4, "{passed:?}");
        }
        handle.drain(Duration::from_secs(10)).await;
        let counters = handle.counters();
        assert_eq!(counters.accept_exhausted, count as u64);
        assert_eq!((counters.accept_skipped, counters.accepted), (0, 1));
    })
    .await;
    // A server that pauses can be stopped.
    let failing = Failing::new([EMFILE; 1000]).await;
    let bound = Server::over(failing).codec(line).bind().await.unwrap();
    let handle = bound.handle();
    beside(bound.serve(Script::new(&Scripted::new())), async {
        while handle.counters().accept_exhausted < 2 {
            bowline_concurrency::sleep(Duration::from_millis(10)).await;
        }
        handle.drain(Duration::ZERO).await;
    })
    .await;
}

// SV1
#[test]
fn pauses_begin_anew_after_a_connection() {
    for seed in 0..20 {
        let law = async {
            let failing = Failing::new([EMFILE; 8]).await.then([EMFILE]);
            let bound = Server::over(failing).codec(line).bind().await.unwrap();
            let handle = bound.handle();
            beside(bound.serve(Script::new(&Scripted::new())), async {
                let _first = greet(&handle, "first").await;
                let begun = now();
                let _second = greet(&handle, "second").await;
                let passed = now().saturating_duration_since(begun);
                // The first pause is of 100 ms at most, the ninth of half a second at least.
                assert!(passed < Duration::from_millis(200), "{passed:?}");
                assert_eq!(handle.counters().accept_exhausted, 9);
                handle.drain(Duration::from_secs(10)).await;
            })
            .await;
        };
        bowline_sim::block_on(seed, Root::new().backend(Backend::Sim).entered(law));
    }
}

/// Fails without end, and each time at once.
struct Endless(Listeners);

impl Listener for Endless {
    type Connection = TcpStream;

    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Address)>> {
        Poll::Ready(Err(io::Error::from_raw_os_error(ECONNABORTED)))
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        self.0.local_addrs()
    }
}

// SV1, SV5
pub(crate) async fn a_listener_that_only_fails_lets_others_run() {
    let listeners = Listeners::builder(0).host("127.0.0.1").bind().await;
    let endless = Server::over(Endless(listeners.unwrap())).codec(line);
    let bound = endless.bind().await.unwrap();
    let handle = bound.handle();
    beside(bound.serve(Script::new(&Scripted::new())), async {
        while handle.counters().accept_skipped < 100 {
            checkpoint().await;
        }
        handle.drain(Duration::from_secs(10)).await;
        assert!(!handle.is_serving());
    })
    .await;
}

// SV2
pub(crate) async fn accepting_that_is_polled_without_need_notes_nothing_twice() {
    let served: Result<(), GroupError<AnyError>> =
        task_group(|group: TaskGroup<AnyError>| async move {
            let failing = Failing::new([]).await;
            let address = failing.local_addrs()?[0].as_inet().unwrap();
            let serve = |mut stream: TcpStream, _| async move {
                stream.write_all(b"hello\n").await?;
                std::future::pending().await
            };
            let limits = ServerLimits::new().max_connections(1).grace(Duration::ZERO);
            let serving = serve_streams(failing, &group, serve).limits(limits);
            let handle = serving.handle();
            // In one task: what wakes the one polls the other.
            let beside_it = async {
                let stream = TcpConnector::new(address).connect().await?;
                let mut client = MessageStream::new(stream, line());
                assert_eq!(client.recv().await?.as_deref(), Some("hello"));
                while handle.counters().accept_full == 0 {
                    checkpoint().await;
                }
                for _ in 0..10 {
                    yield_now().await;
                }
                assert_eq!(handle.counters().accept_full, 1);
                handle.drain(Duration::ZERO).await;
                Ok::<_, AnyError>(())
            };
            let (served, done) = join(serving.into_future(), beside_it).await;
            served?;
            done
        })
        .await;
    served.unwrap();
}

// SV2, SV4
pub(crate) async fn what_the_low_level_served_is_counted_by_its_end() {
    for word in ["return", "return once cancelled", "fail", "panic"] {
        let failing = Failing::new([]).await;
        let address = failing.local_addrs().unwrap()[0].as_inet().unwrap();
        let serve = move |mut stream: TcpStream, _| async move {
            stream.write_all(b"hello\n").await?;
            match word {
                "return" => Ok(()),
                "fail" => Err(AnyError::new("told to")),
                "panic" => panic!("told to"),
                _ => {
                    cancelled().await;
                    Ok(())
                }
            }
        };
        let mut told = None;
        let served = task_group(|group: TaskGroup<AnyError>| {
            let serving = serve_streams(failing, &group, serve);
            let handle = told.insert(serving.handle()).clone();
            group.spawn(async move { Ok(serving.await?) });
            async move {
                let stream = TcpConnector::new(address).connect().await?;
                let _ = MessageStream::new(stream, line()).recv().await;
                if word.starts_with("return") {
                    let report = handle.drain(Duration::from_millis(1)).await;
                    assert_eq!(report.aborted, 0, "{report:?}");
                    return Ok(());
                }
                std::future::pending().await
            }
        });
        let served = std::panic::AssertUnwindSafe(served).catch_unwind().await;
        let is_ok = matches!(&served, Ok(Ok(())));
        assert_eq!(is_ok, word.starts_with("return"), "{word}");
        let counters = told.unwrap().counters();
        let ends = [counters.completed, counters.failed, counters.panicked];
        let due = match word {
            "fail" => [0, 1, 0],
            "panic" => [0, 0, 1],
            _ => [1, 0, 0],
        };
        assert_eq!((ends, counters.cancelled), (due, 0), "{word}");
    }
}

// SV2
pub(crate) async fn the_low_level_ends_with_its_group() {
    let failing = Failing::new([]).await;
    let address = failing.local_addrs().unwrap()[0].as_inet().unwrap();
    let serve = |_: TcpStream, _| async { Ok(()) };
    let group = task_group(|group: TaskGroup<AnyError>| async move {
        Ok::<_, AnyError>(serve_streams(failing, &group, serve))
    });
    let serving: Result<_, GroupError<AnyError>> = group.await;
    let serving = serving.unwrap();
    let handle = serving.handle();
    let connector = TcpConnector::new(address);
    let (served, connected) = join(serving.into_future(), connector.connect()).await;
    served.unwrap();
    drop(connected);
    assert!(!handle.is_serving());
    assert_eq!(handle.counters().cancelled, handle.counters().accepted);
}

// SV5
pub(crate) async fn the_low_level_accepts_and_drains() {
    let served: Result<(), GroupError<AnyError>> =
        task_group(|group: TaskGroup<AnyError>| async move {
            let failing = Failing::new([ECONNABORTED]).await;
            let address = failing.local_addrs()?[0].as_inet().unwrap();
            let serve = |mut stream: TcpStream, _| async move {
                stream.write_all(b"hello\n").await?;
                std::future::pending().await
            };
            let limits = ServerLimits::new().max_connections(1).grace(Duration::ZERO);
            let serving = serve_streams(failing, &group, serve).limits(limits);
            let handle = serving.handle();
            group.spawn(async move { Ok(serving.await?) });
            let mut clients = Vec::new();
            for _ in 0..2 {
                let stream = TcpConnector::new(address).connect().await?;
                clients.push(MessageStream::new(stream, line()));
            }
            assert_eq!(clients[0].recv().await?.as_deref(), Some("hello"));
            let report = handle.drain(Duration::from_millis(1)).await;
            // The other one waits in the backlog of a listener that is closed.
            assert_eq!((report.aborted, report.finished), (1, 0));
            for client in &mut clients {
                assert!(!matches!(client.recv().await, Ok(Some(_))));
            }
            assert_eq!(handle.connections(), 0);
            let refused = TcpConnector::new(address).connect().await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Refused);
            Ok(())
        })
        .await;
    served.unwrap();
}
