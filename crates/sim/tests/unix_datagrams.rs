//! Simulated Unix datagrams: order, waiting, and what a sender hears.

use bowline_sim::net::{Datagram, UnixAddress, UnixDatagram, UnixListener, UnixOptions};
use bowline_sim::{block_on, host};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex};
use std::task::Poll;

fn at(text: &str) -> UnixAddress {
    UnixAddress::Path(text.into())
}

fn bind(text: &str) -> UnixDatagram {
    UnixDatagram::bind(at(text), UnixOptions::default()).expect("free")
}

fn unbound() -> UnixDatagram {
    UnixDatagram::unbound(UnixOptions::default()).expect("no limit")
}

fn connect(to: &str, local: Option<&str>) -> io::Result<UnixDatagram> {
    let mut options = UnixOptions::default();
    options.local = local.map(at);
    UnixDatagram::connect(at(to), options)
}

async fn send(socket: &UnixDatagram, payload: &[u8]) -> io::Result<()> {
    poll_fn(|cx| socket.poll_send(cx, payload)).await
}

async fn send_to(socket: &UnixDatagram, payload: &[u8], to: &str) -> io::Result<()> {
    poll_fn(|cx| socket.poll_send_to(cx, payload, &at(to))).await
}

async fn recv(socket: &UnixDatagram) -> Datagram<UnixAddress> {
    let received = poll_fn(|cx| socket.poll_recv(cx, 300_000)).await;
    received.expect("open")
}

async fn settle() {
    host::Sleep::new(host::now() + 1_000_000_000).await;
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("it fails").kind()
}

fn code(error: &io::Error, number: i32) -> bool {
    !cfg!(target_os = "linux") || error.raw_os_error() == Some(number)
}

// SIM71
#[test]
fn datagrams_keep_bounds_order_and_sender() {
    for seed in 0..20 {
        block_on(seed, async {
            let receiver = bind("/run/sink");
            let named = bind("/run/named");
            let unnamed = unbound();
            for size in [0, 1, 65_507, 212_960] {
                send_to(&named, &vec![size as u8; size], "/run/sink")
                    .await
                    .expect("it fits");
                let got = recv(&receiver).await;
                assert_eq!((got.payload.len(), got.truncated), (size, false));
                assert_eq!(got.from, at("/run/named"));
            }
            let error = send_to(&named, &[0; 212_961], "/run/sink").await;
            assert!(code(&error.expect_err("too long"), 90));
            for number in 0..8 {
                let from = if number % 2 == 0 { &named } else { &unnamed };
                send_to(from, &[number, 0], "/run/sink")
                    .await
                    .expect("room");
            }
            for number in 0..8 {
                let cut = poll_fn(|cx| receiver.poll_recv(cx, 1)).await;
                let cut = cut.expect("open");
                assert_eq!((&cut.payload[..], cut.truncated), (&[number][..], true));
                assert_eq!(cut.from == UnixAddress::Unnamed, number % 2 == 1);
            }
        });
    }
}

// SIM71
#[test]
fn a_sender_waits_while_the_receiver_is_full() {
    for seed in 0..20 {
        block_on(seed, async {
            let receiver = bind("/run/sink");
            let sent = Arc::new(Mutex::new(0));
            let count = Arc::clone(&sent);
            host::spawn(async move {
                let sender = connect("/run/sink", None).expect("it is there");
                for number in 0..40 {
                    send(&sender, &[number]).await.expect("in the end");
                    *count.lock().expect("whole") += 1;
                }
            });
            settle().await;
            assert_eq!(*sent.lock().expect("whole"), 11);
            for number in 0..40 {
                assert_eq!(recv(&receiver).await.payload, [number][..]);
                if number == 4 {
                    settle().await;
                    assert_eq!(*sent.lock().expect("whole"), 16);
                }
            }
        });
    }
}

// SIM71
#[test]
fn a_sender_waits_for_its_own_buffer() {
    block_on(1, async {
        let receiver = bind("/run/sink");
        let mut options = UnixOptions::default();
        options.send_buffer = Some(2000);
        let sender = UnixDatagram::connect(at("/run/sink"), options).expect("it is there");
        // With 512 bytes for each record, the third passes twice 2000.
        for _ in 0..3 {
            send(&sender, &[1; 1000]).await.expect("room");
        }
        let mut fourth = Box::pin(send(&sender, b"last"));
        let pending = poll_fn(|cx| Poll::Ready(fourth.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
        drop(recv(&receiver).await);
        fourth.await.expect("room");
        for _ in 0..2 {
            drop(recv(&receiver).await);
        }
        assert_eq!(recv(&receiver).await.payload, &b"last"[..]);
    });
}

// SIM71
#[test]
fn a_pair_is_bounded_by_its_buffers() {
    block_on(1, async {
        let (one, other) = UnixDatagram::pair().expect("two");
        assert_eq!(one.peer_addr().expect("a pair"), UnixAddress::Unnamed);
        let mut sent = 0_u64;
        loop {
            let took = poll_fn(|cx| Poll::Ready(one.poll_send(cx, &[0; 512]))).await;
            match took {
                Poll::Ready(done) => done.expect("open"),
                Poll::Pending => break,
            }
            sent += 1;
        }
        // 208 KiB of 512 bytes and as much for each record.
        assert_eq!(sent, 208);
        let got = recv(&other).await;
        assert_eq!((got.payload.len(), got.from), (512, UnixAddress::Unnamed));
        send(&one, b"room").await.expect("room");
        drop(other);
        assert_eq!(kind(send(&one, b"x").await), ErrorKind::ConnectionRefused);
        assert_eq!(kind(send(&one, b"x").await), ErrorKind::NotConnected);
    });
}

// SIM71
#[test]
fn a_receiver_that_is_gone_refuses() {
    block_on(1, async {
        assert_eq!(kind(connect("/run/sink", None)), ErrorKind::NotFound);
        let receiver = bind("/run/sink");
        let sender = connect("/run/sink", None).expect("it is there");
        assert_eq!(sender.peer_addr().expect("connected"), at("/run/sink"));
        let loose = unbound();
        assert_eq!(kind(loose.peer_addr()), ErrorKind::NotConnected);
        assert_eq!(kind(send(&loose, b"x").await), ErrorKind::NotConnected);
        // One that waits for room hears of the end.
        for _ in 0..11 {
            send(&sender, b"fill").await.expect("room");
        }
        let mut waits = Box::pin(send_to(&loose, b"more", "/run/sink"));
        let pending = poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await;
        assert!(pending);
        drop(receiver);
        assert_eq!(kind(waits.await), ErrorKind::ConnectionRefused);
        assert_eq!(
            kind(send(&sender, b"x").await),
            ErrorKind::ConnectionRefused
        );
        assert_eq!(kind(send(&sender, b"x").await), ErrorKind::NotConnected);
        assert_eq!(
            kind(send_to(&loose, b"x", "/run/sink").await),
            ErrorKind::ConnectionRefused
        );
        let taken = UnixDatagram::bind(at("/run/sink"), UnixOptions::default());
        assert_eq!(kind(taken), ErrorKind::AddrInUse);
        host::remove_file("/run/sink").expect("stale");
        assert_eq!(
            kind(send_to(&loose, b"x", "/run/sink").await),
            ErrorKind::NotFound
        );
        let again = bind("/run/sink");
        send_to(&loose, b"again", "/run/sink").await.expect("room");
        assert_eq!(recv(&again).await.payload, &b"again"[..]);
    });
}

// SIM71
#[test]
fn a_connected_socket_hears_its_peer_alone() {
    block_on(1, async {
        let server = bind("/run/server");
        let client = connect("/run/server", Some("/run/client")).expect("it is there");
        let stranger = unbound();
        let error = send_to(&stranger, b"x", "/run/client").await;
        assert_eq!(kind(error), ErrorKind::PermissionDenied);
        assert_eq!(
            kind(connect("/run/client", None)),
            ErrorKind::PermissionDenied
        );
        send_to(&server, b"yes", "/run/client").await.expect("room");
        let got = recv(&client).await;
        assert_eq!(
            (got.payload, got.from),
            (b"yes"[..].into(), at("/run/server"))
        );
        // A stream socket is no receiver of datagrams, nor the other way round.
        let listener = UnixListener::bind(&at("/run/stream"), Default::default()).expect("free");
        let error = send_to(&stranger, b"x", "/run/stream").await;
        assert!(code(&error.expect_err("a stream"), 91));
        let stream = bowline_sim::net::UnixStream::connect(at("/run/server"), Default::default());
        assert!(code(&stream.await.expect_err("datagrams"), 91));
        drop(listener);
    });
}

// SIM71
#[test]
fn every_datagram_goes_to_one_receiver() {
    for seed in 0..20 {
        block_on(seed, async {
            let receiver = Arc::new(bind("/run/sink"));
            let seen = Arc::new(Mutex::new(Vec::new()));
            for _ in 0..2 {
                let (receiver, seen) = (Arc::clone(&receiver), Arc::clone(&seen));
                host::spawn(async move {
                    loop {
                        let got = recv(&receiver).await;
                        seen.lock().expect("whole").push(got.payload);
                    }
                });
            }
            for sender in 0..8 {
                host::spawn(async move {
                    let socket = unbound();
                    for number in 0..20 {
                        send_to(&socket, &[sender, number], "/run/sink")
                            .await
                            .expect("in the end");
                    }
                });
            }
            settle().await;
            let mut seen = std::mem::take(&mut *seen.lock().expect("whole"));
            seen.sort();
            assert_eq!(seen.len(), 160);
            seen.dedup();
            assert_eq!(seen.len(), 160, "each once");
        });
    }
}
