//! Streams on TCP that go wrong: S10, S12, S13, S17. The table of S12 is data.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpOptions, TcpStream};
use bowline_backend::stream::{ByteStream, ByteStreamExt, ByteWriter};
use bowline_backend::task::RunOptions;
use bowline_backend::time::{now, sleep_until};

use crate::conformance;
use crate::streams::{pair, read_all, read_some};

conformance! {
    all: [
        an_abort_is_a_reset,
        connecting_fails_as_it_should,
        a_write_error_leaves_reading,
        outcomes_are_in_the_reality_table,
    ]
    real: []
    dropping: []
    real_dropping: []
}

/// What an operation did, in the words of the table.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Ended,
    Data,
    Waits,
    Refused,
    Reset,
    BrokenPipe,
}

use Outcome::{BrokenPipe, Data, Done, Ended, Refused, Reset, Waits};

/// The socket reality table: what the kernel may show in each situation.
const TABLE: &[(&str, &str, &[Outcome])] = &[
    ("nobody listens", "connect", &[Refused]),
    ("peer closed after reading all", "read", &[Ended]),
    (
        "peer closed after reading all",
        "first write",
        &[Done, BrokenPipe, Reset],
    ),
    (
        "peer closed after reading all",
        "later write",
        &[BrokenPipe, Reset],
    ),
    ("peer closed with our bytes unread", "read", &[Data, Reset]),
    ("peer aborted", "read", &[Reset]),
    ("peer aborted", "read again", &[Ended, Reset, BrokenPipe]),
    ("peer aborted", "write", &[BrokenPipe, Reset]),
    ("peer half-closed", "read", &[Ended]),
    ("peer half-closed", "write", &[Done]),
    ("both closed at once", "shutdown", &[Done]),
    ("we shut down, then write", "write", &[BrokenPipe]),
    ("shutdown after reset", "shutdown", &[Done]),
    (
        "our read half dropped, peer sends",
        "peer write",
        &[Done, Waits],
    ),
    (
        "listener dropped, connection queued",
        "peer read",
        &[Reset, Ended],
    ),
];

fn check(backend: Backend, situation: &str, operation: &str, outcome: Outcome) {
    let row = TABLE
        .iter()
        .find(|row| row.0 == situation && row.1 == operation);
    let (_, _, allowed) = row.expect("a row of the table");
    assert!(
        allowed.contains(&outcome),
        "{backend}: {situation}: {operation} gave {outcome:?}, allowed are {allowed:?}"
    );
}

fn failed(error: &io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused => Refused,
        ErrorKind::ConnectionReset => Reset,
        ErrorKind::BrokenPipe => BrokenPipe,
        other => panic!("{other:?} is in no row: {error}"),
    }
}

async fn read(stream: &mut TcpStream) -> Outcome {
    match read_some(stream).await {
        Ok(bytes) if bytes.is_empty() => Ended,
        Ok(_) => Data,
        Err(error) => failed(&error),
    }
}

async fn write(stream: &mut impl ByteWriter) -> Outcome {
    match stream.write_all(b"bytes").await {
        Ok(()) => Done,
        Err(error) => failed(&error),
    }
}

/// Time for what was sent to arrive; nothing else tells when the peer's reset is here.
async fn settle() {
    sleep_until(now() + Duration::from_millis(20)).await;
}

// S12
fn outcomes_are_in_the_reality_table(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let nobody = listener.local_addr().unwrap();
        drop(listener);
        let refused = TcpStream::connect(nobody).await.unwrap_err();
        check(backend, "nobody listens", "connect", failed(&refused));

        let situation = "peer closed after reading all";
        let (mut ours, peer) = pair().await;
        drop(peer);
        check(backend, situation, "read", read(&mut ours).await);
        check(backend, situation, "first write", write(&mut ours).await);
        settle().await;
        check(backend, situation, "later write", write(&mut ours).await);

        let situation = "peer closed with our bytes unread";
        let (mut ours, mut peer) = pair().await;
        peer.write_all(b"before").await.unwrap();
        ours.write_all(b"unread").await.unwrap();
        settle().await;
        drop(peer);
        check(backend, situation, "read", read(&mut ours).await);

        let situation = "peer aborted";
        let (mut ours, peer) = pair().await;
        peer.abort();
        check(backend, situation, "read", read(&mut ours).await);
        check(backend, situation, "read again", read(&mut ours).await);
        check(backend, situation, "write", write(&mut ours).await);
        let shut = ours
            .shutdown()
            .await
            .map_or_else(|error| failed(&error), |()| Done);
        check(backend, "shutdown after reset", "shutdown", shut);

        let situation = "peer half-closed";
        let (mut ours, mut peer) = pair().await;
        peer.shutdown().await.unwrap();
        check(backend, situation, "read", read(&mut ours).await);
        check(backend, situation, "write", write(&mut ours).await);
        assert_eq!(read_some(&mut peer).await.unwrap(), b"bytes", "delivered");

        let (mut ours, mut peer) = pair().await;
        for side in [&mut ours, &mut peer] {
            let shut = side
                .shutdown()
                .await
                .map_or_else(|error| failed(&error), |()| Done);
            check(backend, "both closed at once", "shutdown", shut);
        }
        check(
            backend,
            "we shut down, then write",
            "write",
            write(&mut ours).await,
        );

        let (ours, mut peer) = pair().await;
        let (reader, _writer) = ours.into_split();
        drop(reader);
        let outcome = write(&mut peer).await;
        check(
            backend,
            "our read half dropped, peer sends",
            "peer write",
            outcome,
        );

        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let mut queued = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        drop(listener);
        let outcome = read(&mut queued).await;
        check(
            backend,
            "listener dropped, connection queued",
            "peer read",
            outcome,
        );
    });
}

// S10
fn an_abort_is_a_reset(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut ours, mut peer) = pair().await;
        peer.write_all(b"lost or not").await.unwrap();
        peer.abort();
        let error = loop {
            match read_some(&mut ours).await {
                Ok(bytes) => assert!(!bytes.is_empty(), "an abort is no end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

// S13
fn connecting_fails_as_it_should(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        for bad in ["0.0.0.0:80", "[::]:80", "127.0.0.1:0"] {
            let error = TcpStream::connect(bad.parse().unwrap()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}: {error}");
        }
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let six = TcpOptions::new().local("[::1]:0".parse().unwrap());
        let error = TcpStream::connect_with(address, six).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let from: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let bound = TcpOptions::new().local(from);
        let stream = TcpStream::connect_with(address, bound).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(stream.local_addr().unwrap(), peer);
        // Dropped while it connects.
        for _ in 0..20 {
            let mut connecting = Box::pin(TcpStream::connect(address));
            let _ = poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx).map(drop))).await;
        }
    });
}

// S17
fn a_write_error_leaves_reading(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut ours, mut peer) = pair().await;
        peer.write_all(b"still readable").await.unwrap();
        ours.shutdown().await.unwrap();
        let error =
            poll_fn(|cx| futures_lite::AsyncWrite::poll_write(Pin::new(&mut ours), cx, b"late"));
        assert_eq!(error.await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        peer.shutdown().await.unwrap();
        assert_eq!(read_all(&mut ours).await.unwrap(), b"still readable");
    });
}
