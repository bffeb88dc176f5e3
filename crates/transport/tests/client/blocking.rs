//! Clients for threads: every operation parks its thread, and no longer than it may.

use std::error::Error as _;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpListener;
use bowline_backend::stream::ByteStreamExt;
use bowline_codec::Lines;
use bowline_concurrency::{Root, sleep};
use bowline_transport::{BlockingClient, Client, Delivery, ErrorKind, Operation, Transport};
use bytes::BytesMut;

use crate::{Text, accept, client, in_sim, listen, on, text};
use std::net::SocketAddr;

/// One test for each real backend: a simulated world waits for no thread.
macro_rules! on_real_backends {
    ($($case:ident,)*) => {
        mod on_tokio { $(#[test] fn $case() { super::$case(super::Backend::Tokio); })* }
        mod on_smol { $(#[test] fn $case() { super::$case(super::Backend::Smol); })* }
        mod on_async_std { $(#[test] fn $case() { super::$case(super::Backend::AsyncStd); })* }
    };
}

on_real_backends!(
    many_threads_get_their_own_replies,
    a_wait_for_the_turn_counts,
    a_close_wakes_who_receives,
    what_comes_in_is_iterated_to_its_error,
    inside_a_task_it_is_unsupported,
    a_call_cut_off_is_not_answered_later,
    the_last_drop_ends_it,
    a_late_deadline_has_passed,
    what_is_sent_is_written_though_nobody_does_anything_more,
    what_is_fed_goes_out_with_a_flush,
);

/// A server in a thread of its own beside `talk`.
fn beside<F>(
    backend: Backend,
    serve: impl FnOnce(TcpListener) -> F + Send,
    talk: impl FnOnce(SocketAddr),
) where
    F: Future<Output = ()>,
{
    let (told, at) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            on(backend, async move {
                let (listener, at) = listen();
                told.send(at).unwrap();
                serve(listener).await;
            });
        });
        talk(at.recv().unwrap());
    });
}

/// Answers every line of one connection, to its end.
async fn echo(listener: TcpListener) {
    let mut peer = accept(&listener).await;
    while let Ok(Some(line)) = peer.recv().await {
        peer.send(&format!("re {line}")).await.unwrap();
    }
}

/// Says nothing until the client is gone.
async fn silent(listener: TcpListener) {
    let mut peer = accept(&listener).await;
    while let Ok(Some(_)) = peer.recv().await {}
}

fn blocking(backend: Backend, at: SocketAddr) -> (BlockingClient<String, String>, Text) {
    let client = client(at);
    (BlockingClient::new(client.clone()).backend(backend), client)
}

/// Gives whoever is about to receive the time to begin: what follows holds either way. It takes its
/// turn like everybody; a receiver that does not would make the other one busy.
fn let_somebody_receive(client: &BlockingClient<String, String>) {
    let late = client.timeout(Duration::from_millis(20)).recv_blocking();
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Elapsed);
}

// CL5
fn many_threads_get_their_own_replies(backend: Backend) {
    beside(backend, echo, |at| {
        let (client, _) = blocking(backend, at);
        thread::scope(|scope| {
            for n in 0..16 {
                let client = client.clone();
                scope.spawn(move || {
                    for round in 0..20 {
                        let asked = format!("{n}.{round}");
                        let reply = client.call_blocking(asked.clone()).unwrap();
                        assert_eq!(reply, format!("re {asked}"));
                    }
                });
            }
        });
        client.close().unwrap();
    });
}

// CL5
fn a_wait_for_the_turn_counts(backend: Backend) {
    beside(backend, silent, |at| {
        let (client, _) = blocking(backend, at);
        client.connect_blocking().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| client.recv_blocking());
            let_somebody_receive(&client);
            let hurried = client.timeout(Duration::from_millis(20));
            let late = hurried.recv_blocking().unwrap_err();
            assert_eq!(late.kind(), ErrorKind::Elapsed);
            let late = hurried.call_blocking(text(1)).unwrap_err();
            assert_eq!(
                (late.kind(), late.delivery(), late.operation()),
                (ErrorKind::Elapsed, Delivery::NotSent, Operation::Send),
                "it never had its turn"
            );
            assert!(!waiting.is_finished());
            client.close().unwrap();
            assert_eq!(
                waiting.join().unwrap().unwrap_err().kind(),
                ErrorKind::Closed
            );
        });
    });
}

// CL5
fn a_close_wakes_who_receives(backend: Backend) {
    beside(backend, silent, |at| {
        let (client, _) = blocking(backend, at);
        client.connect_blocking().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| client.recv_blocking());
            let second = scope.spawn(|| client.recv_blocking());
            let_somebody_receive(&client);
            client.close().unwrap();
            for waiting in [waiting, second] {
                let woken = waiting.join().unwrap().unwrap_err();
                assert_eq!(woken.kind(), ErrorKind::Closed);
            }
        });
        let after = client.send_blocking(text(1)).unwrap_err();
        assert_eq!(after.kind(), ErrorKind::Closed);
    });
}

// CL5, CL6
fn what_comes_in_is_iterated_to_its_error(backend: Backend) {
    let serve = |listener: TcpListener| async move {
        let mut peer = accept(&listener).await;
        for n in 0..3 {
            peer.send(&text(n)).await.unwrap();
        }
        peer.flush().await.unwrap();
        // It has read them.
        peer.recv().await.unwrap();
        peer.abort();
    };
    beside(backend, serve, |at| {
        let (client, _) = blocking(backend, at);
        let mut iter = client.iter();
        for n in 0..3 {
            assert_eq!(iter.next().unwrap().unwrap(), text(n));
        }
        client.send_blocking(text("done")).unwrap();
        let shown = iter.next().unwrap().unwrap_err();
        assert!(matches!(shown.kind(), ErrorKind::Broken(_)), "{shown}");
        assert!(iter.next().is_none());
    });
}

// CL5
fn inside_a_task_it_is_unsupported(backend: Backend) {
    let (client, _) = blocking(backend, "127.0.0.1:9".parse().unwrap());
    Root::new().backend(backend).block_on(async {
        let error = client.recv_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let what_to_do = error.source().unwrap().to_string();
        assert!(what_to_do.ends_with("use the `Client` itself"), "{error}");
        let error = client.close().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

// CL5, CL4
fn a_call_cut_off_is_not_answered_later(backend: Backend) {
    let serve = |listener: TcpListener| async move {
        // The first connection answers nothing.
        let mut peer = accept(&listener).await;
        while let Ok(Some(_)) = peer.recv().await {}
        echo(listener).await;
    };
    beside(backend, serve, |at| {
        let (client, _) = blocking(backend, at);
        client.connect_blocking().unwrap();
        let hurried = client.timeout(Duration::from_millis(50));
        let (late, line) = loop {
            let (late, line) = (hurried.call_blocking(text("first")).unwrap_err(), line!());
            // On a busy machine it may not come so far.
            match (late.kind(), late.delivery(), late.operation()) {
                (ErrorKind::Elapsed, Delivery::MaybeSent, Operation::Recv) => break (late, line),
                early => assert_eq!(
                    early,
                    (ErrorKind::Elapsed, Delivery::NotSent, Operation::Send)
                ),
            }
        };
        // With whom, how long it may take, and which call of the program it was.
        assert_eq!(late.peer(), Some(&at.into()));
        let why = late.source().unwrap().to_string();
        let due = format!("it took longer than 50ms; called at {}:{line}:", file!());
        assert!(why.starts_with(&due), "{why}");
        assert_eq!(client.call_blocking(text("second")).unwrap(), "re second");
        client.close().unwrap();
    });
}

// CL5
fn the_last_drop_ends_it(backend: Backend) {
    let serve = |listener: TcpListener| async move {
        let mut peer = accept(&listener).await;
        assert_eq!(peer.recv().await.unwrap(), Some(text(1)));
        peer.recv().await.expect_err("a reset, not a clean end");
    };
    beside(backend, serve, |at| {
        let (client, inner) = blocking(backend, at);
        drop(inner);
        let other = client.clone();
        drop(client);
        other.send_blocking(text(1)).unwrap();
        drop(other);
    });
}

// CL5
fn a_late_deadline_has_passed(backend: Backend) {
    beside(backend, silent, |at| {
        let (client, _) = blocking(backend, at);
        client.connect_blocking().unwrap();
        let passed = client.deadline(backend.now());
        assert_eq!(
            passed.recv_blocking().unwrap_err().kind(),
            ErrorKind::Elapsed
        );
        client.close().unwrap();
    });
}

/// More than sockets hold.
const LARGE: usize = 20_000_000;

fn large_lines(at: SocketAddr) -> BlockingClient<String, String> {
    let lines = || Lines::lf().max_frame(LARGE).text();
    BlockingClient::new(Client::new(at, lines))
}

// CL5
fn what_is_sent_is_written_though_nobody_does_anything_more(backend: Backend) {
    let (told, heard) = channel();
    let serve = |listener: TcpListener| async move {
        // Who reads nothing leaves the message queued.
        let (stream, _) = listener.accept().await.unwrap();
        told.send(0).unwrap();
        let (mut next, _) = listener.accept().await.unwrap();
        drop(stream);
        let mut count = 0;
        let mut read = BytesMut::new();
        while count <= LARGE {
            read.clear();
            count += next.read_into(&mut read, NonZeroUsize::MAX).await.unwrap();
        }
        told.send(count).unwrap();
    };
    beside(backend, serve, |at| {
        let unread = large_lines(at).backend(backend);
        let hurried = unread.timeout(Duration::from_millis(100));
        let late = hurried.send_blocking("x".repeat(LARGE)).unwrap_err();
        assert_eq!(
            (late.kind(), late.delivery(), late.operation()),
            (ErrorKind::Elapsed, Delivery::MaybeSent, Operation::Send)
        );
        assert_eq!(heard.recv().unwrap(), 0);
        let client = large_lines(at).backend(backend);
        client.send_blocking("x".repeat(LARGE)).unwrap();
        let whole = heard.recv_timeout(Duration::from_secs(30));
        assert_eq!(whole, Ok(LARGE + 1), "nobody writes the rest");
    });
}

// CL5
fn what_is_fed_goes_out_with_a_flush(backend: Backend) {
    beside(backend, echo, |at| {
        let (client, _) = blocking(backend, at);
        for n in 0..10 {
            client.feed_blocking(text(n)).unwrap();
        }
        client.flush_blocking().unwrap();
        for n in 0..10 {
            let reply = client.recv_blocking().unwrap();
            assert_eq!(reply, Some(format!("re {n}")));
        }
        client.close().unwrap();
    });
    // It waits for nobody, as a flush does.
    let over = AtomicBool::new(false);
    let serve = async |listener: TcpListener| {
        let (_stream, _) = listener.accept().await.unwrap();
        while !over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    beside(backend, serve, |at| {
        let unread = large_lines(at).backend(backend);
        unread.connect_blocking().unwrap();
        unread.feed_blocking("x".repeat(LARGE)).unwrap();
        let hurried = unread.timeout(Duration::from_millis(20));
        let late = hurried.flush_blocking().unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Elapsed);
        over.store(true, Ordering::Relaxed);
    });
}

// CL5
#[test]
fn a_simulated_world_has_no_thread() {
    let (client, _) = blocking(Backend::Sim, "127.0.0.1:9".parse().unwrap());
    let error = client.connect_blocking().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    in_sim(0, async {
        let error = client.connect_blocking().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

/// How many descriptors this process may have from now on.
#[cfg(target_os = "linux")]
fn limit_descriptors(most: u64) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = Rlimit {
        current: Some(most),
        ..getrlimit(Resource::Nofile)
    };
    setrlimit(Resource::Nofile, limit).unwrap();
}

// CL5, TR12
#[cfg(target_os = "linux")]
#[test]
fn a_thread_that_could_not_be_started_is_started_by_the_next_use() {
    let name = "blocking::a_thread_that_could_not_be_started_is_started_by_the_next_use";
    // The others share what they take of the system for as long as the process lives.
    crate::child::run(name, Backend::Tokio, |backend| {
        #[allow(clippy::disallowed_types)]
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (client, _) = blocking(backend, listener.local_addr().unwrap());
        let enough = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        limit_descriptors(3); // nothing can be opened
        for _ in 0..2 {
            let error = client.connect_blocking().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Resource);
            assert!(error.is_retryable());
        }
        limit_descriptors(enough.unwrap_or(1024));
        client.connect_blocking().unwrap();
        listener.accept().unwrap();
    });
}
