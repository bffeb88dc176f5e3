//! Datagrams between hosts: those under way, limits, broadcasts.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;

use bowline_sim::net::{UdpOptions, UdpSocket};
use bowline_sim::{HostLimits, Link, Sim, host};
use datagrams::{at, bind, io_code, recv, send, send_to, settle};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

#[test]
fn a_sender_waits_while_its_buffer_is_on_its_way() {
    for seed in 0..20 {
        let world = Sim::builder()
            .seed(seed)
            .client("receiver", || async {
                let socket = bind("0.0.0.0:7")?;
                for number in 0..40 {
                    assert_eq!(recv(&socket).await?.payload, vec![number; 1000]);
                }
                // The port is closed from here on.
                Ok::<(), io::Error>(())
            })
            .client("sender", || async {
                host::Sleep::new(1_000_000).await;
                let to = host::resolve("receiver", host::Family::V4).await?[0];
                let mut options = UdpOptions::default();
                options.send_buffer = Some(4000);
                let sender = UdpSocket::connect(SocketAddr::new(to, 7), options)?;
                let mut waited = 0;
                for number in 0..40 {
                    let sent = poll_fn(|cx| {
                        let sent = sender.poll_send(cx, &[number; 1000]);
                        waited += usize::from(sent.is_pending());
                        sent
                    });
                    sent.await?;
                }
                assert!(waited > 5, "three fit at a time, it waited {waited} times");
                settle().await;
                // One that waits to receive is woken by the refusal.
                let mut refusals = 0;
                while refusals < 2 {
                    send(&sender, b"anybody").await.ok();
                    let mut wait = Box::pin(recv(&sender));
                    let mut patience = Box::pin(settle());
                    let refused = poll_fn(|cx| match wait.as_mut().poll(cx) {
                        Poll::Ready(received) => Poll::Ready(received.err()),
                        Poll::Pending => patience.as_mut().poll(cx).map(|()| None),
                    });
                    if let Some(error) = refused.await {
                        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                        refusals += 1;
                    }
                }
                Ok::<(), io::Error>(())
            });
        world.run().expect("all arrive");
    }
}

// SIM44
#[test]
fn a_host_has_so_many_bytes_of_datagrams() {
    let mut limits = HostLimits::default();
    limits.datagram_bytes = 10_000;
    limits.descriptors = 2;
    let world = Sim::builder()
        .host("sink", || async {
            let _sink = bind("0.0.0.0:9")?;
            host::Sleep::new(host::Sleep::NEVER).await;
            Ok::<(), io::Error>(())
        })
        .client("small", || async {
            let sink = host::resolve("sink", host::Family::V4).await?[0];
            let to = SocketAddr::new(sink, 9);
            let (one, two) = (bind("0.0.0.0:0")?, bind("0.0.0.0:0")?);
            let none = bind("0.0.0.0:0").expect_err("both descriptors are taken");
            assert_eq!(none.raw_os_error(), io_code(24));
            send_to(&one, &[0; 5000], to).await?;
            send_to(&two, &[0; 3000], to).await?;
            let full = send_to(&one, &[0; 1000], to).await.expect_err("no room");
            assert_eq!(full.raw_os_error(), io_code(105));
            settle().await;
            send_to(&one, &[0; 9000], to).await?;
            drop(two);
            bind("0.0.0.0:0").map(drop)
        })
        .limits("small", limits);
    for seed in 0..20 {
        let report = world.clone().seed(seed).run().expect("room again");
        assert_eq!(report.datagrams, 2);
    }
}

#[test]
fn a_broadcast_reaches_every_host_that_listens() {
    let listen = || async {
        let socket = bind("0.0.0.0:7")?;
        let got = recv(&socket).await?;
        Sim::note("heard", got.payload.len() as u64);
        Ok::<(), io::Error>(())
    };
    let world = Sim::builder()
        .client("a", listen)
        .client("b", listen)
        .client("speaker", || async {
            settle().await;
            let mut options = UdpOptions::default();
            options.broadcast = true;
            let socket = UdpSocket::bind(at("0.0.0.0:0"), options)?;
            send_to(&socket, b"all", at("255.255.255.255:7")).await
        });
    let report = world.run().expect("both hear it");
    assert_eq!(report.datagrams, 2);
}

#[test]
fn datagrams_of_one_socket_keep_their_order() {
    for seed in 0..100 {
        let jumpy = Link::lan().latency(Duration::from_millis(1)..Duration::from_millis(50));
        let world = Sim::builder()
            .seed(seed)
            .client("receiver", || async {
                let socket = bind("0.0.0.0:7")?;
                for number in 0..30 {
                    assert_eq!(recv(&socket).await?.payload, [number][..]);
                }
                Ok::<(), io::Error>(())
            })
            .client("sender", || async {
                host::Sleep::new(1_000_000).await;
                let to = host::resolve("receiver", host::Family::V4).await?[0];
                let to = SocketAddr::new(to, 7);
                let socket = UdpSocket::connect(to, UdpOptions::default())?;
                for number in 0..30 {
                    send(&socket, &[number]).await?;
                }
                settle().await;
                Ok::<(), io::Error>(())
            })
            .link("receiver", "sender", jumpy);
        world.run().expect("in order, and none is lost");
    }
}
