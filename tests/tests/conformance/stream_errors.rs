//! Streams that go wrong: S10, S12, S13, S17.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpOptions, TcpStream};
use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt, ByteWriter};
use bowline_backend::task::RunOptions;
use bowline_backend::time::{now, sleep_until};

use crate::conformance;
use crate::kinds::{Kind, Tcp, on_streams};
use crate::reality::{Outcome, check, done, failed};
use crate::streams::{read_all, read_some, read_whole};

on_streams![
    a_write_error_leaves_reading,
    outcomes_are_in_the_reality_table
];

conformance! {
    all: [an_abort_is_a_reset, connecting_fails_as_it_should]
    real: []
    dropping: []
    real_dropping: []
}

async fn read(stream: &mut impl ByteReader) -> Outcome {
    match read_some(stream).await {
        Ok(bytes) if bytes.is_empty() => Outcome::Ended,
        Ok(_) => Outcome::Data,
        Err(error) => failed(&error),
    }
}

async fn write(stream: &mut impl ByteWriter) -> Outcome {
    match stream.write_all(b"bytes").await {
        Ok(()) => Outcome::Done,
        Err(error) => failed(&error),
    }
}

/// Time for what was sent to arrive; nothing else tells when the peer's reset is here.
async fn settle() {
    sleep_until(now() + Duration::from_millis(20)).await;
}

// S12
fn outcomes_are_in_the_reality_table<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (listener, at) = K::listen(None);
        let mut queued = K::connect(&at, None).await.unwrap();
        drop(listener);
        let outcome = read(&mut queued).await;
        let situation = "listener dropped, connection queued";
        check(backend, situation, "peer read", outcome);
        let refused = K::connect(&at, None).await.unwrap_err();
        check(backend, "nobody listens", "connect", failed(&refused));

        let situation = "peer closed after reading all";
        let (mut ours, peer) = K::pair().await;
        drop(peer);
        check(backend, situation, "read", read(&mut ours).await);
        check(backend, situation, "first write", write(&mut ours).await);
        settle().await;
        check(backend, situation, "later write", write(&mut ours).await);

        let situation = format!("{} peer closed with our bytes unread", K::NAME);
        let (mut ours, mut peer) = K::pair().await;
        peer.write_all(b"before").await.unwrap();
        ours.write_all(b"unread").await.unwrap();
        settle().await;
        drop(peer);
        let first = read(&mut ours).await;
        check(backend, &situation, "read", first);
        if first == Outcome::Data {
            // A read may give a part of it.
            let mut rest = first;
            while rest == Outcome::Data {
                rest = read(&mut ours).await;
            }
            check(backend, &situation, "read again", rest);
        }

        let situation = format!("{} peer aborted", K::NAME);
        let (mut ours, peer) = K::pair().await;
        peer.abort();
        check(backend, &situation, "read", read(&mut ours).await);
        check(backend, &situation, "read again", read(&mut ours).await);
        check(backend, &situation, "write", write(&mut ours).await);
        let shut = done(&ours.shutdown().await);
        check(backend, "shutdown after reset", "shutdown", shut);

        let situation = "peer half-closed";
        let (mut ours, mut peer) = K::pair().await;
        peer.shutdown().await.unwrap();
        check(backend, situation, "read", read(&mut ours).await);
        check(backend, situation, "write", write(&mut ours).await);
        assert_eq!(
            read_whole(&mut peer, 5).await.unwrap(),
            b"bytes",
            "delivered"
        );

        let (mut ours, mut peer) = K::pair().await;
        for side in [&mut ours, &mut peer] {
            let shut = done(&side.shutdown().await);
            check(backend, "both closed at once", "shutdown", shut);
        }
        let late = write(&mut ours).await;
        check(backend, "we shut down, then write", "write", late);

        let (ours, mut peer) = K::pair().await;
        let (reader, _writer) = ours.into_split();
        drop(reader);
        let outcome = write(&mut peer).await;
        let situation = "our read half dropped, peer sends";
        check(backend, situation, "peer write", outcome);
    });
}

// S10
fn an_abort_is_a_reset(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut ours, mut peer) = Tcp::pair().await;
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
fn a_write_error_leaves_reading<K: Kind>(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut ours, mut peer) = K::pair().await;
        peer.write_all(b"still readable").await.unwrap();
        ours.shutdown().await.unwrap();
        let error =
            poll_fn(|cx| futures_lite::AsyncWrite::poll_write(Pin::new(&mut ours), cx, b"late"));
        assert_eq!(error.await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        peer.shutdown().await.unwrap();
        assert_eq!(read_all(&mut ours).await.unwrap(), b"still readable");
    });
}
