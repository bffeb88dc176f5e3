//! What failed accepts mean.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_backend::stream::{Address, ByteStreamExt};
use bowline_concurrency::{AnyError, GroupError, TaskGroup, now, task_group};
use bowline_transport::{
    ErrorKind, Listener, Listeners, MessageStream, Operation, Server, ServerLimits, TcpConnector,
    Transport, serve_streams,
};

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
}

impl Failing {
    pub(crate) async fn new(errors: impl IntoIterator<Item = i32>) -> Failing {
        let listeners = Listeners::builder(0).host("127.0.0.1").bind().await;
        Failing {
            listeners: listeners.unwrap(),
            errors: errors.into_iter().collect(),
        }
    }
}

impl Listener for Failing {
    type Connection = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Address)>> {
        match self.errors.pop_front() {
            Some(code) => Poll::Ready(Err(io::Error::from_raw_os_error(code))),
            None => self.listeners.poll_accept(cx),
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
