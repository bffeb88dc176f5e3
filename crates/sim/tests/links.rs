//! Bytes over every kind of link, size, pace and fault.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_sim::{Builder, FaultKind, Faults, Latency, Link, Sim, World, host};
use echo::{accept, read_some, read_to_end, shutdown, write_all};
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

const SEEDS: u64 = 10_000;

/// Byte number `at` of what a seed sends.
fn byte(seed: u64, at: usize) -> u8 {
    (seed as usize ^ (at / 251) ^ at) as u8
}

/// An echo between two hosts, with sizes, buffers and a link of the seed's kind.
fn world(seed: u64) -> Builder {
    let size = match seed % 7 {
        0 => 1,
        1 => 1 + (seed as usize / 7) % 3_000,
        _ => 1 + (seed as usize / 7) % 400,
    };
    let buffer = (!seed.is_multiple_of(3)).then_some(1 + (seed as usize / 3) % 500);
    let link = match seed % 11 {
        0 => Link::loopback(),
        1 => Link::lan(),
        2 => Link::wan(),
        3 => Link::mobile(),
        4 => Link::lan().latency(Duration::ZERO..Duration::from_secs(2)),
        5 => Link::lan().loss(0.2),
        6 => Link::lan().loss_bursts(0.1, 0.6, 0.9),
        7 => Link::wan().bandwidth(2_000).queue(1_500),
        8 => Link::lan().mtu(68).jitter(Duration::from_millis(50)),
        9 => Link::mobile().loss(0.05).duplication(0.5).mtu(100),
        _ => Link::wan().latency(Latency::exponential(
            Duration::ZERO,
            Duration::from_millis(50),
        )),
    };
    let serve = move || async move {
        let mut options = TcpListenOptions::default();
        options.recv_buffer = buffer;
        let any = SocketAddr::from(([0, 0, 0, 0], 80));
        let listener = TcpListener::bind(any, options)?;
        let stream = accept(&listener).await?;
        let mut seen = 0;
        loop {
            let part = read_some(&stream, 1 + (seed as usize % 600)).await?;
            if part.is_empty() {
                break;
            }
            for (at, got) in part.iter().enumerate() {
                assert_eq!(*got, byte(seed, seen + at), "byte {}", seen + at);
            }
            seen += part.len();
            write_all(&stream, &part).await?;
        }
        assert_eq!(seen, size);
        shutdown(&stream).await
    };
    let call = move || async move {
        // A server that does not listen yet refuses.
        host::Sleep::new(1_000_000).await;
        let to = host::resolve("server", host::Family::V4).await?[0];
        let mut options = TcpOptions::default();
        options.nodelay = seed.is_multiple_of(2);
        options.send_buffer = buffer;
        let stream = TcpStream::connect(SocketAddr::new(to, 80), options).await?;
        let stream = std::sync::Arc::new(stream);
        let writer = std::sync::Arc::clone(&stream);
        host::spawn(async move {
            let sent: Vec<u8> = (0..size).map(|at| byte(seed, at)).collect();
            write_all(&writer, &sent).await.expect("the peer reads all");
            shutdown(&writer).await.expect("it is open");
        });
        let echoed = read_to_end(&stream).await?;
        assert_eq!(echoed.len(), size);
        let intact = echoed.iter().enumerate();
        assert!(intact.clone().all(|(at, got)| *got == byte(seed, at)));
        Ok::<(), io::Error>(())
    };
    Sim::builder()
        .seed(seed)
        .client("server", serve)
        .client("caller", call)
        .link("server", "caller", link)
}

/// Faults of the seed's kind, while the bytes are under way.
fn with_faults(seed: u64, world: Builder) -> Builder {
    let ms = Duration::from_millis;
    let at = ms(1 + seed / 13 % 40);
    let ends = at + ms(1 + seed / 17 % 900);
    match seed % 13 {
        0 => world
            .at(at, |world| world.partition(&["server"], &["caller"]))
            .at(ends, World::heal),
        1 => world
            .at(at, |world| {
                world.partition_one_way(&["server"], &["caller"])
            })
            .at(ends, World::heal),
        2 => world
            .at(at, |world| {
                world.partition_one_way(&["caller"], &["server"])
            })
            .at(ends, World::heal),
        3 => world
            .at(at, |world| world.hold(&["server"], &["caller"]))
            .at(ends, World::heal),
        4 => world.at(at, move |world| world.clog("server", "caller", ends)),
        5 => world
            .at(at, move |world| {
                world.flap("server", "caller", ms(31), ms(22));
            })
            .at(ends + ms(3_000), World::heal),
        6 => world.at(at, move |world| {
            world.swizzle_clog(&["server", "caller"], ends);
        }),
        7 => world
            .at(at, |world| world.hold(&["server"], &["caller"]))
            .at(at + ms(5), World::partition_halves)
            .at(ends, World::heal),
        8 => world.at(at, move |world| {
            world.latency_spike("server", "caller", ms(300), ends);
        }),
        9 => world
            .at(at, |world| {
                world.set_link("server", "caller", Link::lan().loss(0.9));
            })
            .at(ends, |world| {
                world.set_link("server", "caller", Link::lan())
            }),
        _ => world,
    }
}

/// Faults of hosts, or drawn ones, on top of those of the links.
fn with_more_faults(seed: u64, world: Builder) -> Builder {
    let ms = Duration::from_millis;
    let at = ms(1 + seed / 19 % 60);
    let ends = at + ms(1 + seed / 23 % 2_000);
    let victim = match seed / 5 % 2 {
        0 => "server",
        _ => "caller",
    };
    match seed % 17 {
        0 | 5 => world
            .at(at, move |world| {
                world.slow(victim, 2 + (seed % 5_000) as u32)
            })
            .at(ends, move |world| world.slow(victim, 1)),
        1 | 6 => world
            .at(at, move |world| world.pause(victim))
            .at(ends, move |world| world.resume(victim)),
        2 | 7 => world
            .clock_drift(victim, (seed % 1_000) as i32 * 900 - 450_000)
            .at(ends, move |world| world.set_clock_drift(victim, 0)),
        3 | 8 | 9 => world
            // Its buffers are the seed's, and it asks for names once. The script's own faults go on
            // after the heal.
            .faults(
                Faults::swarm()
                    .without(FaultKind::Buffers)
                    .without(FaultKind::Names),
            )
            .heal_at(Duration::from_secs(5))
            .settle(Duration::from_secs(3_600)),
        _ => world,
    }
}

// SIM60
#[test]
fn bytes_stay_whole_over_every_link() {
    let (mut lost, mut late) = (0, 0);
    let mut drawn = BTreeSet::new();
    for seed in 0..SEEDS {
        let report = with_more_faults(seed, with_faults(seed, world(seed))).run();
        let report = report.unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
        assert_eq!(report.crashes, 0);
        drawn.extend(report.faults_by_kind.into_keys());
        lost += u64::from(report.lost > 0);
        late += u64::from(report.virtual_time > Duration::from_secs(1));
    }
    // The faults reach the bytes.
    assert!(lost > SEEDS / 4 && late > SEEDS / 4, "{lost} {late}");
    // All but buffers, names, and the ends of those who serve, where nobody does.
    assert_eq!(drawn.len(), FaultKind::ALL.len() - 4, "{drawn:?}");
}

// SIM61
#[test]
fn jitter_is_added_to_each_packet() {
    let (fewest, most) = (2_000_000, 22_000_000);
    let world = Sim::builder()
        .host("server", || async {
            let listener = echo::listen(80)?;
            loop {
                echo::accept(&listener).await?;
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .client("client", move || async move {
            let ip = host::resolve("server", host::Family::V4).await?[0];
            let mut times = Vec::new();
            for _ in 0..300 {
                let before = host::now();
                TcpStream::connect((ip, 80).into(), TcpOptions::default()).await?;
                times.push(host::now() - before);
            }
            // There and back: a millisecond and up to ten more, evenly, each time.
            let within = |time: &u64| (fewest..most + 1_000).contains(time);
            assert!(times.iter().all(within));
            let mean = times.iter().sum::<u64>() / 300;
            assert!(mean.abs_diff((fewest + most) / 2) < 1_000_000, "{mean}");
            assert!(times.iter().any(|time| *time < fewest + 4_000_000));
            assert!(times.iter().any(|time| *time > most - 4_000_000));
            Ok::<(), io::Error>(())
        })
        .link("client", "server", jittering());
    for seed in 0..5 {
        world.clone().seed(seed).run().expect("it connects");
    }
}

fn jittering() -> Link {
    let ms = Duration::from_millis;
    Link::lan().latency(Latency::constant(ms(1))).jitter(ms(10))
}
