//! Links that are held, clogged, flapping or slow for a while, and hosts cut into halves.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::{Crash, Link, Sim, World, host};
use cut::{CUT, MS, Notes, SECOND, constant, seconds, stream_world, until, whole};
use datagrams::{Speaker, bind, hear};
use echo::{accept, dial, listen, read_some, read_to_end, write_all};
use std::io;
use std::time::Duration;

// SIM74
#[test]
fn what_is_lost_of_a_host_without_power_leaves_no_gap() {
    let lossy = Link::lan()
        .latency(Duration::from_millis(1)..Duration::from_millis(500))
        .loss(0.3);
    let mut held = 0;
    for seed in 0..100 {
        let (notes, late) = (Notes::default(), Notes::default());
        let (got, after) = (notes.clone(), late.clone());
        let world = Sim::builder()
            .seed(seed)
            .host("server", || async {
                let stream = accept(&listen(80)?).await?;
                stream.set_nodelay(true)?;
                for number in 0..200 {
                    until(10 * SECOND + number * 20 * MS).await;
                    write_all(&stream, &[number as u8]).await?;
                }
                std::future::pending::<io::Result<()>>().await
            })
            .client("client", move || {
                let (got, after) = (got.clone(), after.clone());
                async move {
                    let stream = dial("server", 80).await?;
                    host::spawn(async move {
                        while let Ok(bytes) = read_some(&stream, 512).await {
                            bytes.iter().for_each(|byte| got.add(u64::from(*byte)));
                            if host::now() > 25 * SECOND {
                                after.add(1);
                            }
                        }
                    });
                    until(60 * SECOND).await;
                    Ok::<(), io::Error>(())
                }
            })
            .link("server", "client", lossy)
            .ignore_leaks()
            .at(seconds(12), |world| world.hold(&["server"], &["client"]))
            .at(seconds(20), |world| world.crash("server", Crash::PowerLoss))
            .at(seconds(25), |world| world.release(&["server"], &["client"]));
        world.run().expect("nothing fails");
        let got = notes.take();
        let whole = (0..got.len() as u64).collect::<Vec<u64>>();
        assert_eq!(got, whole, "seed {seed}");
        held += late.take().len();
    }
    assert!(held > 0, "nothing comes of what was held");
}

// SIM74
#[test]
fn what_is_held_comes_in_order_when_it_is_released() {
    let jumpy = Link::lan().latency(Duration::from_millis(1)..Duration::from_millis(500));
    for seed in 0..50 {
        let release: fn(&mut World) = match seed % 3 {
            0 => World::heal,
            1 => |world| world.release(&["server"], &["client"]),
            _ => |world| world.release(&["client"], &["server"]),
        };
        let notes = Notes::default();
        let got = notes.clone();
        let world = Sim::builder()
            .seed(seed)
            .client("server", move || {
                let got = got.clone();
                async move {
                    let socket = bind("0.0.0.0:7")?;
                    let listener = listen(80)?;
                    let stream = accept(&listener).await?;
                    host::spawn(async move {
                        let all = read_to_end(&stream).await.expect("no reset");
                        let whole = all.iter().enumerate().all(|(at, byte)| at as u8 == *byte);
                        assert!(whole && all.len() == 200, "{all:?}");
                    });
                    for _ in 0..100 {
                        let number = hear(&socket).await?;
                        got.add(number);
                        if number < 80 && number > 9 {
                            assert!(host::now() > 30 * SECOND, "{number} was held");
                        }
                    }
                    until(60 * SECOND).await;
                    Ok::<(), io::Error>(())
                }
            })
            .client("client", || async {
                until(SECOND).await;
                let speaker = Speaker::to("server").await?;
                let stream = dial("server", 80).await?;
                stream.set_nodelay(true)?;
                // Ten before the hold, seventy in it, twenty right after it.
                for number in 0..100_u64 {
                    until(match number {
                        0..10 => 9 * SECOND + 990 * MS,
                        10..80 => (10 + number / 8) * SECOND,
                        _ => 30 * SECOND + (number - 80) * MS,
                    })
                    .await;
                    let both = [2 * number as u8, 2 * number as u8 + 1];
                    write_all(&stream, &both).await?;
                    speaker.say(number).await?;
                }
                Ok::<(), io::Error>(())
            })
            .link("server", "client", jumpy)
            .at(seconds(10), |world| world.hold(&["server"], &["client"]))
            .at(seconds(30), release);
        let report = world.run().expect("nothing is lost");
        assert_eq!(report.lost, 0);
        assert_eq!(notes.take(), (0..100).collect::<Vec<u64>>());
    }
}

// SIM74, SIM68
#[test]
fn a_hold_without_an_end_is_a_timeout() {
    let notes = Notes::default();
    let world = stream_world(1, Some(seconds(60)), &notes).at(CUT, |world| {
        world.hold(&["server"], &["client"]);
    });
    let failure = world.run().expect_err("nothing comes");
    assert_eq!(whole(failure.virtual_time().as_nanos() as u64), 81_000);
}

// SIM74
#[test]
fn a_clog_ends_by_itself_and_a_swizzle_in_any_order() {
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..30 {
        let notes = Notes::default();
        let mut world = Sim::builder().seed(seed).default_link(constant(MS));
        for name in ["a", "b", "c"] {
            world = world.client(name, || async {
                until(10 * SECOND).await;
                Speaker::to("sink").await?.say(host_number()).await?;
                until(100 * SECOND).await;
                Ok::<(), io::Error>(())
            });
        }
        let (heard, clogged) = (notes.clone(), seed % 2 == 0);
        let world = world
            .client("sink", move || {
                let heard = heard.clone();
                async move {
                    let socket = bind("0.0.0.0:7")?;
                    for _ in 0..3 {
                        let from = hear(&socket).await?;
                        heard.add(from);
                        let time = host::now();
                        assert!(time > 10 * SECOND && time < 40 * SECOND);
                        if clogged {
                            // Only the link of the first is clogged.
                            assert_eq!(from == 0, time > 29 * SECOND);
                        }
                    }
                    Ok::<(), io::Error>(())
                }
            })
            .at(seconds(9), move |world| match clogged {
                true => world.clog("a", "sink", seconds(20)),
                false => world.swizzle_clog(&["a", "b", "c", "sink"], seconds(20)),
            });
        world.run().expect("all of them arrive");
        let order = notes.take();
        if clogged {
            assert_eq!(order[2], 0);
        } else {
            orders.insert(order);
        }
    }
    assert!(orders.len() > 3, "{orders:?}");
}

fn host_number() -> u64 {
    u64::from(Sim::host_name().as_bytes()[0] - b'a')
}

/// Which of a datagram each second arrive in 60 seconds, and after how many milliseconds.
fn arrivals(act: impl Fn(&mut World) + 'static) -> Vec<(u64, u64)> {
    let notes = Notes::default();
    let heard = notes.clone();
    let world = Sim::builder()
        .host("sink", move || {
            let heard = heard.clone();
            async move {
                let socket = bind("0.0.0.0:7")?;
                loop {
                    let number = hear(&socket).await?;
                    heard.add(number);
                    heard.add(whole(host::now() - number * SECOND));
                }
                #[allow(unreachable_code, reason = "it names the type of the error")]
                Ok::<(), io::Error>(())
            }
        })
        .client("source", || async {
            let speaker = Speaker::to("sink").await?;
            for number in 1..60 {
                until(number * SECOND).await;
                speaker.say(number).await?;
            }
            until(100 * SECOND).await;
            Ok::<(), io::Error>(())
        })
        .default_link(constant(MS))
        .at(Duration::from_millis(9_500), act);
    world.run().expect("datagrams are lost in silence");
    let notes = notes.take();
    notes.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

// SIM73
#[test]
fn a_link_flaps_until_it_is_healed() {
    let got = arrivals(|world| world.flap("source", "sink", seconds(3), seconds(2)));
    // Up for three, down for two, from 9.5 s on.
    let expected = (1..60).filter(|number| *number < 10 || (number - 10) % 5 < 3);
    let got: Vec<u64> = got.into_iter().map(|pair| pair.0).collect();
    assert_eq!(got, expected.collect::<Vec<u64>>());
}

// SIM73
#[test]
fn a_spike_passes() {
    let spike = |world: &mut World| {
        world.latency_spike("source", "sink", seconds(5), seconds(10));
    };
    for (number, took) in arrivals(spike) {
        // One socket's datagrams keep their order: those after the spike wait for those in it.
        let waits = match number {
            10..20 => 5_001,
            20..24 => 5_001 - 1000 * (number - 19),
            _ => 1,
        };
        assert_eq!(took, waits, "number {number}");
    }
}

// SIM73
#[test]
fn halves_are_drawn() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let notes = Notes::default();
        let mut world = Sim::builder().seed(seed);
        for name in ["a", "b", "c"] {
            let heard = notes.clone();
            world = world.client(name, move || {
                let heard = heard.clone();
                async move {
                    let socket = bind("0.0.0.0:7")?;
                    until(10 * SECOND).await;
                    for other in ["a", "b", "c"] {
                        Speaker::to(other).await?.say(host_number()).await?;
                    }
                    host::spawn(async move {
                        while let Ok(from) = hear(&socket).await {
                            heard.add(from * 10 + host_number());
                        }
                    });
                    until(20 * SECOND).await;
                    Ok::<(), io::Error>(())
                }
            });
        }
        let world = world.at(seconds(5), World::partition_halves);
        world.ignore_leaks().run().expect("it goes on");
        let mut pairs = notes.take();
        pairs.sort_unstable();
        // Both directions of a pair, or none.
        let back = |pair: &u64| pair % 10 * 10 + pair / 10;
        assert!(pairs.iter().all(|pair| pairs.contains(&back(pair))));
        assert!([0, 11, 22].iter().all(|own| pairs.contains(own)));
        seen.insert(pairs);
    }
    // All together, or one of the three alone.
    assert_eq!(seen.len(), 4, "{seen:?}");
}
