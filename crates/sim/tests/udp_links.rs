//! What links do to datagrams: loss, copies, overtaking, cutting, and what a closed port answers.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{UdpOptions, UdpSocket};
use bowline_sim::{Keep, Link, Sim, host};
use cut::{MS, Notes, SECOND, constant, until};
use datagrams::{bind, recv, send, send_to};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

const COUNT: u64 = 20_000;

/// The numbers of datagrams that arrive of 20 000, a millisecond apart, in the order of arrival.
fn arrivals(seed: u64, link: Link, length: usize) -> Vec<u64> {
    let notes = Notes::default();
    let heard = notes.clone();
    let world = Sim::builder()
        .seed(seed)
        .trace(Keep::Off)
        .host("far", move || {
            let heard = heard.clone();
            async move {
                let socket = bind("0.0.0.0:7")?;
                loop {
                    let got = recv(&socket).await?.payload;
                    assert_eq!(got.len(), length, "whole or not at all");
                    let number = got[..4].try_into().expect("four bytes");
                    heard.add(u64::from(u32::from_le_bytes(number)));
                }
                #[allow(unreachable_code, reason = "it names the type of the error")]
                Ok::<(), io::Error>(())
            }
        })
        .client("near", move || async move {
            let to = host::resolve("far", host::Family::V4).await?[0];
            let socket = bind("0.0.0.0:0")?;
            let mut payload = vec![0; length];
            for number in 0..COUNT {
                until(SECOND + number * MS).await;
                payload[..4].copy_from_slice(&(number as u32).to_le_bytes());
                send_to(&socket, &payload, (to, 7).into()).await?;
            }
            until(30 * SECOND).await;
            Ok::<(), io::Error>(())
        })
        .link_one_way("near", "far", link);
    world.run().expect("no fault of a link is an error");
    notes.take()
}

/// Whether `count` of `trials` is within five standard deviations of `probability`.
fn is_within_5_sigma(count: usize, trials: u64, probability: f64) -> bool {
    let mean = trials as f64 * probability;
    let sigma = (mean * (1.0 - probability)).sqrt();
    (count as f64 - mean).abs() <= 5.0 * sigma
}

// SIM70
#[test]
fn loss_duplication_and_reordering_come_at_their_rates() {
    for (seed, rate) in [(1, 0.01), (2, 0.1), (3, 0.5)] {
        let lossy = arrivals(seed, constant(MS).loss(rate), 4);
        assert!(lossy.is_sorted(), "what is left keeps its order");
        let lost = COUNT as usize - lossy.len();
        assert!(is_within_5_sigma(lost, COUNT, rate), "{lost} at {rate}");

        let doubled = arrivals(seed, constant(MS).duplication(rate), 4);
        let mut once = doubled.clone();
        once.dedup();
        assert_eq!(once, (0..COUNT).collect::<Vec<_>>());
        let copies = doubled.len() - once.len();
        assert!(is_within_5_sigma(copies, COUNT, rate), "{copies} at {rate}");

        let later = Duration::from_millis(20);
        let mixed = arrivals(seed, constant(MS).reordering(rate, later), 4);
        let mut sorted = mixed.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, once, "each arrives, and once");
        let mut newest = 0;
        let overtaken = mixed.iter().filter(|number| {
            newest = newest.max(**number);
            **number < newest
        });
        // At the half, one in many is overtaken by nobody, for all the next twenty were late too.
        let overtaken = overtaken.count();
        let fits = is_within_5_sigma(overtaken, COUNT, rate);
        assert!(fits, "{overtaken} at {rate}");
    }
}

// SIM70
#[test]
fn a_datagram_of_several_packets_is_lost_with_any_of_them() {
    // 4000 bytes of 1472 at most: three packets.
    let lost = COUNT as usize - arrivals(5, constant(MS).loss(0.1), 4000).len();
    let probability = 1.0 - 0.9_f64.powi(3);
    assert!(is_within_5_sigma(lost, COUNT, probability), "{lost}");
    let lost = COUNT as usize - arrivals(5, constant(MS).loss(0.1).mtu(9000), 4000).len();
    assert!(is_within_5_sigma(lost, COUNT, 0.1), "{lost}");
}

// SIM70
#[test]
fn a_slow_link_drops_what_its_queue_does_not_take() {
    // Ten times as much as it carries; the queue keeps 10 000 bytes.
    let slow = constant(MS).bandwidth(100_000).queue(10_000);
    let got = arrivals(1, slow, 1000);
    assert!(got.is_sorted());
    let least = COUNT as usize / 10;
    assert!((least..least + 20).contains(&got.len()), "{}", got.len());
}

// SIM70
#[test]
fn what_is_too_long_for_the_receiver_is_cut_on_any_link() {
    let world = Sim::builder()
        .client("far", || async {
            let socket = bind("0.0.0.0:7")?;
            for length in [10, 0, 5] {
                let got = poll_fn(|cx| socket.poll_recv(cx, 10)).await?;
                assert_eq!((got.payload.len(), got.truncated), (length, length == 10));
            }
            Ok::<(), io::Error>(())
        })
        .client("near", || async {
            until(SECOND).await;
            let to = host::resolve("far", host::Family::V4).await?[0];
            let socket = bind("0.0.0.0:0")?;
            for payload in [&[1; 3000][..], &[], &[2; 5]] {
                send_to(&socket, payload, (to, 7).into()).await?;
            }
            until(2 * SECOND).await;
            Ok::<(), io::Error>(())
        })
        .default_link(Link::wan());
    world.run().expect("all arrive");
}

// SIM70
#[test]
fn a_closed_port_refuses_as_often_as_the_links_let_its_answer_through() {
    let refusals = |back: Link| {
        let notes = Notes::default();
        let refused = notes.clone();
        let world = Sim::builder()
            .seed(4)
            .host("far", || until(host::Sleep::NEVER))
            .client("near", move || {
                let refused = refused.clone();
                async move {
                    let to = host::resolve("far", host::Family::V4).await?[0];
                    let to = SocketAddr::new(to, 7);
                    let socket = UdpSocket::connect(to, UdpOptions::default())?;
                    for number in 1..=4000_u64 {
                        send(&socket, b"anybody").await?;
                        until(number * SECOND).await;
                        let heard = poll_fn(|cx| {
                            std::task::Poll::Ready(match socket.poll_recv(cx, 10) {
                                std::task::Poll::Ready(heard) => heard.err(),
                                std::task::Poll::Pending => None,
                            })
                        });
                        if let Some(error) = heard.await {
                            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                            refused.add(number);
                        }
                    }
                    Ok::<(), io::Error>(())
                }
            })
            .link_one_way("far", "near", back);
        world.run().expect("a refusal is no end");
        notes.take().len()
    };
    // Hosts answer seven times of eight.
    let plain = refusals(constant(MS));
    assert!(is_within_5_sigma(plain, 4000, 7.0 / 8.0), "{plain}");
    let lossy = refusals(constant(MS).loss(0.5));
    assert!(is_within_5_sigma(lossy, 4000, 7.0 / 16.0), "{lossy}");
    assert_eq!(refusals(constant(MS).loss(1.0)), 0);
}
