//! What loss and bandwidth cost a connection: time, and never a byte.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::{Keep, Link, Sim, host};
use cut::{MS, Notes, SECOND, constant, until};
use datagrams::{bind, recv, send_to};
use echo::{accept, dial, listen, read_some, write_all};
use std::io;
use std::time::Duration;

/// How long each of `count` single bytes takes from "near" to "far" over a link that loses with
/// probability `loss` in this direction; sent far apart.
fn delays(seed: u64, loss: f64, count: usize) -> Vec<u64> {
    let delays = Notes::default();
    let seen = delays.clone();
    let report = Sim::builder()
        .seed(seed)
        .trace(Keep::Off)
        .horizon(Duration::MAX) // as there is one byte in 1 000 s
        .client("far", move || {
            let seen = seen.clone();
            async move {
                let listener = listen(80)?;
                let stream = accept(&listener).await?;
                let mut number = 0_u64;
                loop {
                    let byte = read_some(&stream, 1).await?;
                    if byte.is_empty() {
                        return Ok::<(), io::Error>(());
                    }
                    assert_eq!(byte, [number as u8], "every byte, in order");
                    // Sent on the even thousand seconds.
                    seen.add(host::now() % (1000 * SECOND));
                    number += 1;
                }
            }
        })
        .client("near", move || async move {
            until(MS).await;
            let stream = dial("far", 80).await?;
            stream.set_nodelay(true)?;
            for number in 1..=count as u64 {
                until(1000 * SECOND * number).await;
                write_all(&stream, &[(number - 1) as u8]).await?;
            }
            Ok::<(), io::Error>(())
        })
        .link("near", "far", constant(MS))
        .at(Duration::from_secs(500), move |world| {
            world.set_link_one_way("near", "far", constant(MS).loss(loss));
        })
        .run()
        .expect("loss is no error");
    assert_eq!(report.bytes, count as u64);
    assert!(loss == 0.0 || report.lost > 0);
    delays.take()
}

// SIM66
#[test]
fn the_mean_delay_of_a_lossy_link_is_the_formulas() {
    for (loss, worlds) in [(0.05, 30_u64), (0.1, 16), (0.2, 16)] {
        let mut all = Vec::new();
        for seed in 0..worlds {
            all.extend(delays(seed, loss, 2_500));
        }
        let mean = all.iter().sum::<u64>() as f64 / all.len() as f64;
        // Lost k times in a row, a byte comes 200 ms * (2^k - 1) later.
        let lost = 200e6 * loss / (1.0 - 2.0 * loss);
        // The time of a poll lies between the clock and the send.
        let formula = 1e6 + lost;
        let off = (mean - formula) / lost;
        assert!(off.abs() < 0.05, "loss {loss}: {mean} is not {formula}");
        let delayed = all.iter().filter(|delay| **delay > 100 * MS).count();
        let share = delayed as f64 / all.len() as f64;
        assert!((share - loss).abs() < loss / 20.0, "{share} of {loss}");
    }
}

// SIM66
#[test]
fn each_further_loss_doubles_the_delay() {
    let mut seen: Vec<u64> = (0..4).flat_map(|seed| delays(seed, 0.5, 250)).collect();
    seen.sort_unstable();
    // Two polls lie between, of 50 to 500 ns each.
    let times = seen.iter().map(|delay| (delay - MS) / MS / 100 * 100);
    let mut times: Vec<u64> = times.collect();
    times.dedup();
    assert!(times.len() > 6, "{times:?}");
    for (k, time) in times.iter().enumerate().take(7) {
        assert_eq!(*time, 200 * ((1 << k) - 1));
    }
}

/// Which of 3000 datagrams, a millisecond apart, a link loses.
fn lost(seed: u64, link: Link) -> Vec<bool> {
    let arrived = Notes::default();
    let seen = arrived.clone();
    let world = Sim::builder()
        .seed(seed)
        .trace(Keep::Off)
        .host("far", move || {
            let seen = seen.clone();
            async move {
                let socket = bind("0.0.0.0:7")?;
                loop {
                    let number = recv(&socket).await?.payload;
                    seen.add(u64::from(number[0]) * 256 + u64::from(number[1]));
                }
                #[allow(unreachable_code, reason = "it names the type of the error")]
                Ok::<(), io::Error>(())
            }
        })
        .client("near", || async {
            let to = host::resolve("far", host::Family::V4).await?[0];
            let socket = bind("0.0.0.0:0")?;
            for number in 0..3000_u64 {
                until(SECOND + number * MS).await;
                let payload = [(number / 256) as u8, number as u8];
                send_to(&socket, &payload, (to, 7).into()).await?;
            }
            until(5 * SECOND).await;
            Ok::<(), io::Error>(())
        })
        .link_one_way("near", "far", link);
    let report = world.run().expect("they are lost in silence");
    let mut lost = vec![true; 3000];
    for number in arrived.take() {
        lost[number as usize] = false;
    }
    let count = lost.iter().filter(|lost| **lost).count();
    assert_eq!(report.lost, count as u64);
    lost
}

// SIM70
#[test]
fn bursts_lose_as_much_in_longer_runs() {
    let runs = |link: Link| {
        let (mut total, mut runs) = (0, 0);
        for seed in 0..10 {
            let lost = lost(seed, link);
            total += lost.iter().filter(|lost| **lost).count();
            runs += lost
                .chunk_by(|one, next| one == next)
                .filter(|run| run[0])
                .count();
        }
        let share = total as f64 / 30_000.0;
        assert!((share - 1.0 / 3.0).abs() < 0.02, "{share}");
        total as f64 / runs as f64
    };
    let scattered = runs(Link::lan().loss(1.0 / 3.0));
    assert!((scattered - 1.5).abs() < 0.05, "{scattered}");
    // A burst begins one time in ten and ends one time in five: a third of the time is in one.
    let bursty = runs(Link::lan().loss_bursts(0.1, 0.2, 1.0));
    assert!((bursty - 5.0).abs() < 0.3, "{bursty}");
}

/// The time "size" bytes take from the first write to the end as the reader sees it.
fn transfer(seed: u64, size: usize, link: Link) -> u64 {
    let took = Notes::default();
    let seen = took.clone();
    Sim::builder()
        .seed(seed)
        .trace(Keep::Off)
        .client("far", move || {
            let seen = seen.clone();
            async move {
                let listener = listen(80)?;
                let stream = accept(&listener).await?;
                let mut got = 0;
                while got < size {
                    got += read_some(&stream, 65_536).await?.len();
                }
                seen.add(host::now() - SECOND);
                Ok::<(), io::Error>(())
            }
        })
        .client("near", move || async move {
            until(MS).await;
            let stream = dial("far", 80).await?;
            until(SECOND).await;
            write_all(&stream, &vec![7; size]).await
        })
        .link("near", "far", link)
        .run()
        .expect("it arrives");
    took.take()[0]
}

// SIM67
#[test]
fn a_transfer_takes_size_by_rate_and_the_latency() {
    for (size, rate, latency) in [
        (1_000_000, 1_000_000, 5 * MS),
        (300_000, 100_000, 20 * MS),
        (2_000_000, 10_000_000, MS),
        (100, 1_000, 50 * MS),
    ] {
        for seed in 0..5 {
            let link = constant(latency).bandwidth(rate);
            let took = transfer(seed, size, link) as f64;
            let formula = size as f64 / rate as f64 * 1e9 + latency as f64;
            let off = (took - formula) / formula;
            assert!(
                off.abs() < 0.02,
                "{size} at {rate}: {took} is not {formula}"
            );
        }
    }
    // Without a limit it is the window that counts: many bytes, a few round trips.
    assert!(transfer(1, 1_000_000, constant(MS)) < 100 * MS);
}

// SIM67
#[test]
fn a_queue_that_is_full_drops() {
    // A window of 64 KiB does not fit into 8 KiB: what is dropped comes by retransmission.
    let narrow = constant(MS).bandwidth(1_000_000);
    let roomy = transfer(1, 100_000, narrow);
    let tight = transfer(1, 100_000, narrow.queue(8 * 1024));
    assert!(roomy < 120 * MS, "{roomy}");
    assert!(tight > 300 * MS, "{tight}");
}

// SIM67
#[test]
fn a_segment_is_as_long_as_the_mtu_lets_it() {
    for (mtu, most) in [(1500, 1460), (576, 536), (9000, 8960)] {
        let report = Sim::builder()
            .trace(Keep::Full)
            .client("far", || async {
                let listener = listen(80)?;
                let stream = accept(&listener).await?;
                echo::read_to_end(&stream).await.map(drop)
            })
            .client("near", || async {
                until(MS).await;
                let stream = dial("far", 80).await?;
                write_all(&stream, &[7; 40_000]).await
            })
            .link("near", "far", Link::lan().mtu(mtu))
            .run()
            .expect("it arrives");
        let events = report.trace().iter().map(|line| line.event());
        let data = events.filter(|event| event.label() == "data");
        let longest = data.map(|event| event.values().1).max();
        assert_eq!(longest, Some(most));
    }
}
