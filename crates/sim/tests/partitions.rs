//! Links that are cut and healed while a world turns: in what time what fails, and how.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_sim::{Builder, Sim, World, host};
use cut::{CUT, MS, Notes, SECOND, constant, seconds, stream_world, until, whole};
use datagrams::{Speaker, bind, hear};
use echo::{accept, dial, listen, read_to_end, write_all};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

/// How long a connect to `to` takes, and what it ends with.
async fn connect(to: SocketAddr) -> (Option<ErrorKind>, u64) {
    let start = host::now();
    let result = TcpStream::connect(to, TcpOptions::default()).await;
    (result.err().map(|error| error.kind()), host::now() - start)
}

// SIM63
#[test]
fn refused_blackholed_and_partitioned_differ_in_time_and_kind() {
    for seed in 0..10 {
        let world = Sim::builder()
            .seed(seed)
            .host("server", || async {
                let _listener = listen(80)?;
                until(host::Sleep::NEVER).await;
                Ok::<(), io::Error>(())
            })
            .client("client", || async {
                until(SECOND).await;
                let server = host::resolve("server", host::Family::V4).await?[0];
                let open = connect((server, 80).into()).await;
                assert_eq!((open.0, whole(open.1)), (None, 2));
                // Nobody listens: the other host says so, a round trip later.
                let refused = connect((server, 81).into()).await;
                let kind = Some(ErrorKind::ConnectionRefused);
                assert_eq!((refused.0, whole(refused.1)), (kind, 2));
                // Nobody has the address: nobody says so.
                let nowhere = connect(([10, 99, 99, 99], 80).into()).await;
                let timed_out = (Some(ErrorKind::TimedOut), 127_000);
                assert_eq!((nowhere.0, whole(nowhere.1)), timed_out);
                // Cut for ever, whether somebody listens or not.
                until(1000 * SECOND).await;
                for port in [80, 81] {
                    let cut = connect((server, port).into()).await;
                    assert_eq!((cut.0, whole(cut.1)), timed_out);
                }
                // Cut for 4 s: the requests after 1 and 3 s are lost, that after 7 s is not.
                until(2000 * SECOND).await;
                let healed = connect((server, 80).into()).await;
                assert_eq!((healed.0, whole(healed.1)), (None, 7_002));
                until(3000 * SECOND).await;
                let healed = connect((server, 81).into()).await;
                assert_eq!((healed.0, whole(healed.1)), (kind, 7_002));
                Ok::<(), io::Error>(())
            })
            .link("server", "client", constant(MS))
            .at(seconds(900), |world| {
                world.partition(&["client"], &["server"])
            })
            .at(seconds(1900), World::heal)
            .at(seconds(1999), |world| world.isolate("server"))
            .at(seconds(2004), World::heal)
            // The request gets through, the answer does not.
            .at(seconds(2999), |world| {
                world.partition_one_way(&["server"], &["client"]);
            })
            .at(seconds(3004), World::heal);
        world.run().expect("each as it must");
    }
}

// SIM68, SIM60
#[test]
fn a_short_partition_heals_without_an_error() {
    let notes = Notes::default();
    for (seed, length) in [(0, 1), (1, 10), (2, 60), (3, 300), (4, 800)] {
        let cut = stream_world(seed, None, &notes)
            .at(CUT, |world| {
                world.partition(&["server"], &["client"]);
            })
            .at(CUT + seconds(length), World::heal)
            .run();
        let report = cut.expect("the partition was shorter than the timeout");
        assert_eq!(notes.take(), [100], "every byte, once");
        assert!(report.lost > 0);
    }
}

// SIM68
#[test]
fn a_long_partition_ends_in_a_timeout_at_the_computed_time() {
    // The byte of 21 s is lost; 15 more tries in vain, up to 120 s apart: 924.6 s.
    let doubling: u64 = (0..10).map(|k| 200 << k).sum();
    let computed = 21_000 + doubling + 6 * 120_000;
    let never = World::isolate;
    for (user_timeout, time) in [(None, computed), (Some(seconds(30)), 51_000)] {
        for both_ways in [true, false] {
            let notes = Notes::default();
            let world = stream_world(7, user_timeout, &notes)
                .horizon(seconds(5_000))
                .at(CUT, move |world| match both_ways {
                    true => never(world, "server"),
                    false => world.partition_one_way(&["client"], &["server"]),
                });
            let failure = world.run().expect_err("the client times out");
            assert!(failure.message().contains("timed out"), "{failure}");
            assert_eq!(failure.host(), Some("client"));
            assert_eq!(whole(failure.virtual_time().as_nanos() as u64), time);
        }
    }
}

// SIM73
#[test]
fn a_cut_of_one_direction_leaves_the_other() {
    for seed in 0..10 {
        let notes = Notes::default();
        let heard = notes.clone();
        let world = Sim::builder()
            .seed(seed)
            .client("deaf", || async {
                let socket = bind("0.0.0.0:7")?;
                until(20 * SECOND).await;
                // What it says arrives; what is said to it does not.
                let speaker = Speaker::to("mute").await?;
                for number in 0..10 {
                    speaker.say(number).await?;
                }
                assert_eq!(hear(&socket).await?, 200);
                Ok::<(), io::Error>(())
            })
            .client("mute", move || {
                let heard = heard.clone();
                async move {
                    let socket = bind("0.0.0.0:7")?;
                    let speaker = Speaker::to("deaf").await?;
                    until(15 * SECOND).await;
                    for number in 100..110 {
                        speaker.say(number).await?;
                    }
                    for _ in 0..10 {
                        heard.add(hear(&socket).await?);
                    }
                    until(40 * SECOND).await;
                    speaker.say(200).await
                }
            })
            .at(seconds(10), |world| {
                world.partition_one_way(&["mute"], &["deaf"]);
            })
            .at(seconds(30), World::heal);
        let report = world.run().expect("one direction is open");
        assert_eq!(report.lost, 10);
        assert_eq!(notes.take(), (0..10).collect::<Vec<u64>>());
    }
}

// SIM73, SIM68
#[test]
fn acknowledgements_that_are_cut_off_end_the_writer_alone() {
    let notes = Notes::default();
    let world = stream_world(3, None, &notes)
        .horizon(seconds(5_000))
        .at(CUT, |world| {
            world.partition_one_way(&["server"], &["client"]);
        });
    let failure = world.run().expect_err("the client hears nothing any more");
    // The byte of 21 s arrives; that it did is lost 1 ms later.
    let doubling: u64 = (0..10).map(|k| 200 << k).sum();
    let computed = 21_001 + doubling + 6 * 120_000;
    assert_eq!(whole(failure.virtual_time().as_nanos() as u64), computed);
    assert_eq!(failure.host(), Some("client"));
}

// SIM73
#[test]
fn a_lost_acknowledgement_is_made_good_by_the_next() {
    let notes = Notes::default();
    for seed in 0..10 {
        let world = stream_world(seed, None, &notes)
            .at(CUT, |world| {
                world.partition_one_way(&["server"], &["client"]);
            })
            .at(CUT + seconds(30), World::heal);
        world.run().expect("it was shorter than the timeout");
        assert_eq!(notes.take(), [100]);
    }
}

// SIM73, SIM61
#[test]
fn a_lost_window_is_asked_for() {
    for seed in 0..10 {
        for waits_for_it in [true, false] {
            let notes = Notes::default();
            let read = notes.clone();
            let world = Sim::builder()
                .seed(seed)
                .client("server", move || {
                    let read = read.clone();
                    async move {
                        let mut options = TcpListenOptions::default();
                        options.recv_buffer = Some(10);
                        let any = SocketAddr::from(([0, 0, 0, 0], 80));
                        let listener = TcpListener::bind(any, options)?;
                        let stream = accept(&listener).await?;
                        until(20 * SECOND).await;
                        read.add(read_to_end(&stream).await?.len() as u64);
                        Ok::<(), io::Error>(())
                    }
                })
                .client("client", move || async move {
                    until(SECOND).await;
                    let stream = dial("server", 80).await?;
                    stream.set_nodelay(true)?;
                    // The window is full, and so much is acknowledged.
                    write_all(&stream, &[1; 10]).await?;
                    if waits_for_it {
                        write_all(&stream, &[1; 90]).await?;
                    }
                    // What the reader says at 20 s is lost; nobody says it again by itself.
                    until(30 * SECOND).await;
                    if !waits_for_it {
                        write_all(&stream, &[1; 90]).await?;
                    }
                    until(60 * SECOND).await;
                    Ok::<(), io::Error>(())
                })
                .link("server", "client", constant(MS))
                .horizon(seconds(100))
                .at(seconds(15), |world| {
                    world.partition_one_way(&["server"], &["client"]);
                })
                .at(seconds(25), World::heal);
            world.run().expect("the writer asks");
            assert_eq!(notes.take(), [100], "seed {seed}");
        }
    }
}

// SIM63
#[test]
fn a_handshake_whose_last_part_is_lost_is_completed() {
    for seed in 0..10 {
        let notes = Notes::default();
        let accepted = notes.clone();
        // The answer to the request comes 3 ms after it was sent; what confirms it is lost.
        let world = Sim::builder()
            .seed(seed)
            .client("server", move || {
                let accepted = accepted.clone();
                async move {
                    let listener = listen(80)?;
                    for _ in 0..2 {
                        accept(&listener).await?;
                        accepted.add(whole(host::now()));
                    }
                    Ok::<(), io::Error>(())
                }
            })
            .client("client", || async {
                let to = host::resolve("server", host::Family::V4).await?[0];
                let to = SocketAddr::new(to, 80);
                // Nothing is said: the listener must ask again.
                until(SECOND).await;
                let silent = TcpStream::connect(to, TcpOptions::default()).await?;
                // What is said says that the answer came.
                until(20 * SECOND).await;
                let speaks = TcpStream::connect(to, TcpOptions::default()).await?;
                until(20 * SECOND + 100 * MS).await;
                write_all(&speaks, b"x").await?;
                until(40 * SECOND).await;
                drop((silent, speaks));
                Ok::<(), io::Error>(())
            })
            .link("server", "client", constant(2 * MS));
        let cut_at = |world: Builder, time: u64| {
            world
                .at(Duration::from_millis(time + 3), |world| {
                    world.partition_one_way(&["client"], &["server"]);
                })
                .at(Duration::from_millis(time + 50), World::heal)
        };
        let world = cut_at(cut_at(world, 1_000), 20_000);
        world.run().expect("both are accepted");
        // A second and a round trip after the loss, and at once with the byte.
        assert_eq!(notes.take(), [2_008, 20_102]);
    }
}
