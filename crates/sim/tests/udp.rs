//! The simulated UDP: what a datagram may go through, and what a socket says of it.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;

use bowline_sim::net::{Datagram, UdpOptions, UdpSocket};
use bowline_sim::{block_on, host};
use datagrams::{at, bind, io_code, recv, send, send_to, settle};
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::task::Poll;

/// What waits to be received right now.
async fn waiting(socket: &UdpSocket) -> Vec<Datagram<SocketAddr>> {
    let mut all = Vec::new();
    poll_fn(|cx| {
        while let Poll::Ready(datagram) = socket.poll_recv(cx, 70_000) {
            all.push(datagram.expect("no error"));
        }
        Poll::Ready(())
    })
    .await;
    all
}

fn pair() -> (UdpSocket, UdpSocket, SocketAddr) {
    let receiver = bind("127.0.0.1:0").expect("a free port");
    let to = receiver.local_addr().expect("bound");
    let sender = UdpSocket::connect(to, UdpOptions::default()).expect("a free port");
    (sender, receiver, to)
}

#[test]
fn datagrams_keep_their_bounds() {
    for seed in 0..20 {
        block_on(seed, async {
            let (sender, receiver, to) = pair();
            assert_eq!(sender.peer_addr().expect("connected"), to);
            assert_eq!(
                receiver.peer_addr().expect_err("not connected").kind(),
                ErrorKind::NotConnected
            );
            for size in [0, 1, 1500, 65_507, 0] {
                let payload = vec![size as u8; size];
                send(&sender, &payload).await.expect("it fits");
                let got = recv(&receiver).await.expect("it arrives");
                assert_eq!(got.payload, payload);
                assert_eq!(got.from, sender.local_addr().expect("bound"));
                assert!(!got.truncated);
            }
            // Too long is told, and the next one goes through.
            let error = send(&sender, &[0; 65_508]).await.expect_err("too long");
            assert_eq!(error.raw_os_error(), io_code(90));
            send(&sender, b"long enough").await.expect("it fits");
            send(&sender, b"next").await.expect("it fits");
            let cut = poll_fn(|cx| receiver.poll_recv(cx, 4)).await;
            let cut = cut.expect("it arrives");
            assert_eq!((&cut.payload[..], cut.truncated), (&b"long"[..], true));
            assert_eq!(recv(&receiver).await.expect("whole").payload, &b"next"[..]);
        });
    }
}

#[test]
fn a_connected_socket_hears_its_peer_alone() {
    block_on(1, async {
        let (connected, peer, to) = pair();
        let stranger = bind("127.0.0.1:0").expect("a free port");
        let local = connected.local_addr().expect("bound");
        send_to(&stranger, b"stranger", local).await.expect("sent");
        send_to(&peer, b"peer", local).await.expect("sent");
        settle().await;
        let heard = waiting(&connected).await;
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].payload, &b"peer"[..]);
        assert_eq!(heard[0].from, to);
        // A socket without a peer needs an address.
        let error = send(&stranger, b"where").await.expect_err("no peer");
        assert_eq!(error.raw_os_error(), io_code(89));
    });
}

#[test]
fn a_closed_port_of_the_own_host_refuses_once() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        seen.insert(block_on(seed, async {
            let (sender, receiver, to) = pair();
            drop(receiver);
            send(&sender, b"anybody").await.expect("it leaves");
            settle().await;
            let first = match send(&sender, b"there").await {
                Ok(()) => "silence",
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                    assert!(sender.take_error().expect("open").is_none(), "told once");
                    "send"
                }
            };
            // A receiver that waits is woken by the refusal.
            send(&sender, b"hello").await.ok();
            let mut wait = Box::pin(async { recv(&sender).await.expect_err("nobody sends") });
            let mut patience = Box::pin(settle());
            let told = poll_fn(|cx| match wait.as_mut().poll(cx) {
                Poll::Ready(error) => Poll::Ready(Some(error.kind())),
                Poll::Pending => patience.as_mut().poll(cx).map(|()| None),
            });
            let told = told.await;
            assert!(told.is_none_or(|kind| kind == ErrorKind::ConnectionRefused));
            // The socket goes on, and one without a peer never hears of it.
            let again = UdpSocket::bind(to, UdpOptions::default()).expect("free");
            let other = bind("127.0.0.1:0").expect("a free port");
            drop(again);
            send_to(&other, b"x", to).await.expect("sent");
            settle().await;
            assert!(other.take_error().expect("open").is_none());
            let again = UdpSocket::bind(to, UdpOptions::default()).expect("free");
            while send(&sender, b"back").await.is_err() {}
            assert_eq!(recv(&again).await.expect("open").payload, &b"back"[..]);
            (first, told.is_some())
        }));
    }
    // Other hosts may say nothing.
    assert_eq!(seen, BTreeSet::from([("send", true)]));
}

#[test]
fn every_datagram_goes_to_one_receiver() {
    for seed in 0..20 {
        block_on(seed, async {
            let receiver = Arc::new(bind("127.0.0.1:0").expect("a free port"));
            let to = receiver.local_addr().expect("bound");
            let seen = Arc::new(Mutex::new(Vec::new()));
            for _ in 0..2 {
                let (receiver, seen) = (Arc::clone(&receiver), Arc::clone(&seen));
                host::spawn(async move {
                    while let Ok(got) = recv(&receiver).await {
                        let from = got.from.port();
                        seen.lock().expect("whole").push((from, got.payload[0]));
                    }
                });
            }
            for _ in 0..8 {
                host::spawn(async move {
                    let sender = bind("127.0.0.1:0").expect("a free port");
                    for number in 0..10 {
                        send_to(&sender, &[number], to).await.expect("it fits");
                        host::yield_now().await;
                    }
                });
            }
            settle().await;
            let seen = seen.lock().expect("whole");
            assert_eq!(seen.len(), 80, "each datagram once");
            assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 80);
        });
    }
}

#[test]
fn a_dropped_receive_loses_nothing() {
    block_on(3, async {
        let (sender, receiver, _) = pair();
        for number in 0..20 {
            let mut given_up = Box::pin(recv(&receiver));
            poll_fn(|cx| {
                assert!(given_up.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            send(&sender, &[number]).await.expect("sent");
            settle().await;
            drop(given_up);
            assert_eq!(recv(&receiver).await.expect("kept").payload, [number][..]);
        }
    });
}

#[test]
fn a_full_receiver_loses_silently() {
    block_on(4, async {
        let mut small = UdpOptions::default();
        small.recv_buffer = Some(5_000);
        let receiver = UdpSocket::bind(at("127.0.0.1:0"), small).expect("a free port");
        let to = receiver.local_addr().expect("bound");
        let sender = UdpSocket::connect(to, UdpOptions::default()).expect("a free port");
        for number in 0..40 {
            send(&sender, &[number; 1000]).await.expect("it leaves");
        }
        // 768 + 1000 bytes each: six pass twice 5 000, so the sixth was the last one taken.
        let kept = waiting(&receiver).await;
        let numbers: Vec<u8> = kept.iter().map(|datagram| datagram.payload[0]).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
        send(&sender, b"room again").await.expect("sent");
        let again = recv(&receiver).await.expect("kept");
        assert_eq!(again.payload, &b"room again"[..]);
    });
}

// SIM75
#[test]
fn families_are_apart_unless_dual_stack() {
    block_on(2, async {
        let six = bind("[::]:5000").expect("free");
        let four = bind("0.0.0.0:5000").expect("the port is free for IPv4");
        assert_eq!(
            bind("[::1]:5000").expect_err("taken").kind(),
            ErrorKind::AddrInUse
        );
        for (to, receiver) in [("127.0.0.1:5000", &four), ("[::1]:5000", &six)] {
            let sender = UdpSocket::connect(at(to), UdpOptions::default()).expect("a port");
            send(&sender, to.as_bytes()).await.expect("sent");
            let got = recv(receiver).await.expect("received");
            assert_eq!(got.payload, to.as_bytes());
            assert_eq!(got.from, sender.local_addr().expect("bound"));
        }
        let error = send_to(&four, b"x", at("[::1]:5000")).await;
        assert_eq!(error.expect_err("IPv4 only").raw_os_error(), io_code(97));
        let error = send_to(&six, b"x", at("127.0.0.1:5000")).await;
        assert_eq!(error.expect_err("IPv6 only").raw_os_error(), io_code(101));
        drop(four);
        let mut both = UdpOptions::default();
        both.v6only = false;
        let dual = UdpSocket::bind(at("[::]:6000"), both).expect("free");
        assert_eq!(
            bind("0.0.0.0:6000").expect_err("taken").kind(),
            ErrorKind::AddrInUse
        );
        for (to, from) in [
            ("127.0.0.1:6000", "[::ffff:127.0.0.1]"),
            ("[::1]:6000", "[::1]"),
        ] {
            let sender = UdpSocket::connect(at(to), UdpOptions::default()).expect("a port");
            send(&sender, b"ping").await.expect("sent");
            let got = recv(&dual).await.expect("received");
            let port = sender.local_addr().expect("bound").port();
            assert_eq!(got.from, at(&format!("{from}:{port}")));
            send_to(&dual, b"pong", got.from).await.expect("sent");
            assert_eq!(recv(&sender).await.expect("back").payload, &b"pong"[..]);
        }
    });
}

#[test]
fn addresses_and_options_are_the_kernels() {
    block_on(5, async {
        assert_eq!(
            bind("192.0.2.1:80").expect_err("not ours").kind(),
            ErrorKind::AddrNotAvailable
        );
        let one = bind("127.0.0.1:80").expect("free");
        assert_eq!(
            bind("0.0.0.0:80").expect_err("taken").kind(),
            ErrorKind::AddrInUse
        );
        let error = send_to(&one, b"x", at("127.0.0.1:0")).await;
        assert_eq!(error.expect_err("no port").kind(), ErrorKind::InvalidInput);
        let error = send_to(&one, b"x", at("10.9.9.9:80")).await;
        assert_eq!(error.expect_err("loopback").kind(), ErrorKind::InvalidInput);
        let error = send_to(&one, b"x", at("255.255.255.255:80")).await;
        assert_eq!(
            error.expect_err("not asked for").kind(),
            ErrorKind::PermissionDenied
        );
        let mut options = UdpOptions::default();
        options.local = Some(at("[::1]:0"));
        let mixed = UdpSocket::connect(at("127.0.0.1:80"), options);
        assert_eq!(
            mixed.expect_err("two families").kind(),
            ErrorKind::InvalidInput
        );
        options.local = Some(at("127.0.0.1:4000"));
        let from = UdpSocket::connect(at("127.0.0.1:80"), options).expect("free");
        assert_eq!(from.local_addr().expect("bound"), at("127.0.0.1:4000"));
        // Shared by hash of the sender, if all sharers ask for it.
        options.reuse_port = true;
        let sharers = [(); 2].map(|()| UdpSocket::bind(at("127.0.0.1:90"), options));
        let sharers = sharers.map(|socket| socket.expect("shared"));
        assert!(bind("127.0.0.1:90").is_err());
        for _ in 0..40 {
            let sender = UdpSocket::connect(at("127.0.0.1:90"), UdpOptions::default());
            let sender = sender.expect("a port");
            send(&sender, b"x").await.expect("sent");
        }
        settle().await;
        let counts = [
            waiting(&sharers[0]).await.len(),
            waiting(&sharers[1]).await.len(),
        ];
        assert_eq!(counts[0] + counts[1], 40);
        assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
    });
}
