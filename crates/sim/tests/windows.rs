//! Windows that stay closed, and acknowledgements that never come: the sender hears of it as at a
//! kernel.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Sleep};
use bowline_sim::net::{TcpOptions, TcpStream};
use bowline_sim::{Builder, Crash, FailureKind, Link, Report, Sim};
use echo::{accept, listen, read_some, read_to_end, shutdown, write_all};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;
/// More than both ends buffer.
static MUCH: [u8; 400_000] = [7; 400_000];
/// Fifteen probes in vain, and a wait after each: 204.6 s of doubling and six times 120 s.
const ALL_TRIES: u64 = 924_600;

async fn until(time: u64) {
    Sleep::new(time).await;
}

async fn dial(user_timeout: Option<Duration>) -> io::Result<TcpStream> {
    until(10 * MS).await;
    let ip = host::resolve("server", host::Family::V4).await?[0];
    let mut options = TcpOptions::default();
    options.user_timeout = user_timeout;
    TcpStream::connect(SocketAddr::new(ip, 80), options).await
}

/// A server that accepts a connection and does `serve` with it, and a client.
fn world<S, C>(serve: fn(TcpStream) -> S, call: fn() -> C) -> Builder
where
    S: Future<Output = io::Result<()>> + 'static,
    C: Future<Output = io::Result<()>> + 'static,
{
    let latency = Duration::from_millis(1);
    Sim::builder()
        .default_link(Link::lan().latency(latency..latency + Duration::from_nanos(1)))
        .host("server", move || async move {
            let listener = listen(80)?;
            serve(accept(&listener).await?).await
        })
        .client("client", call)
}

/// Holds the connection without reading.
async fn ignore(stream: TcpStream) -> io::Result<()> {
    Sleep::new(Sleep::NEVER).await;
    drop(stream);
    Ok(())
}

fn run(world: Builder) -> Report {
    world.run().unwrap_or_else(|failure| panic!("{failure}"))
}

/// Writes until it is refused; when that was, in ms.
async fn fails_with(stream: TcpStream, kind: ErrorKind) -> u64 {
    let error = write_all(&stream, &MUCH).await;
    let error = error.expect_err("nobody reads so much");
    assert_eq!(error.kind(), kind);
    host::now() / MS
}

/// Writes everything, and waits until it was read.
async fn write_to_the_end(stream: TcpStream) -> io::Result<()> {
    write_all(&stream, &MUCH).await?;
    shutdown(&stream).await?;
    assert_eq!(read_to_end(&stream).await?, []);
    Ok(())
}

// SIM40
#[test]
fn a_closed_window_of_a_host_without_power_times_out() {
    for seed in 0..10 {
        let call = || async {
            let gave_up = fails_with(dial(None).await?, ErrorKind::TimedOut).await;
            // The probe of 6.2 s was the last one to be answered, and the waits were longer by then.
            let expected = 10_000 + ALL_TRIES;
            assert!(gave_up > expected, "{gave_up}");
            assert!(gave_up < expected + 16 * 120_000, "{gave_up}");
            Ok(())
        };
        let dark = world(ignore, call).at(Duration::from_secs(10), |world| {
            world.crash("server", Crash::PowerLoss);
        });
        run(dark.seed(seed));
    }
}

// SIM40
#[test]
fn a_closed_window_of_a_host_with_power_again_is_reset() {
    for seed in 0..10 {
        let call = || async {
            let reset = fails_with(dial(None).await?, ErrorKind::ConnectionReset).await;
            // The first probe after 20 s: they come after 0.2, 0.6, 1.4, 3, 6.2, 12.6 and 25.4 s.
            assert!((25_400..25_600).contains(&reset), "{reset}");
            Ok(())
        };
        let dark = world(ignore, call)
            .at(Duration::from_secs(10), |world| {
                world.crash("server", Crash::PowerLoss);
            })
            .at(Duration::from_secs(20), |world| {
                world.restart("server");
            });
        run(dark.seed(seed));
    }
}

// SIM63
#[test]
fn a_user_timeout_bounds_how_long_a_window_is_closed() {
    for seed in 0..10 {
        let call = || async {
            let limit = Some(Duration::from_secs(5));
            let gave_up = fails_with(dial(limit).await?, ErrorKind::TimedOut).await;
            // Counted from the first probe.
            assert!((5_200..5_400).contains(&gave_up), "{gave_up}");
            Ok(())
        };
        run(world(ignore, call).seed(seed));
    }
}

// SIM61
#[test]
fn a_reader_may_let_the_writer_wait_for_hours() {
    let slow = |stream: TcpStream| async move {
        for hour in 1..4 {
            until(hour * 3600 * SECOND).await;
            read_some(&stream, 40_000).await?;
        }
        let rest = read_to_end(&stream).await?;
        assert!(rest.iter().all(|byte| *byte == 7));
        Ok(())
    };
    for seed in 0..10 {
        let call = || async { write_to_the_end(dial(None).await?).await };
        assert_eq!(run(world(slow, call).seed(seed)).bytes, MUCH.len() as u64);
    }
    // A timeout that is longer than each of the pauses does not matter.
    let slow = |stream: TcpStream| async move {
        for second in 1..9 {
            until(second * SECOND).await;
            read_some(&stream, 40_000).await?;
        }
        read_to_end(&stream).await.map(drop)
    };
    for seed in 0..10 {
        let call = || async {
            let stream = dial(Some(Duration::from_secs(3))).await?;
            write_to_the_end(stream).await
        };
        assert_eq!(run(world(slow, call).seed(seed)).bytes, MUCH.len() as u64);
    }
}

// SIM68
#[test]
fn a_closed_window_behind_a_partition_times_out_or_heals() {
    let slow = |stream: TcpStream| async move {
        until(100 * SECOND).await;
        read_to_end(&stream).await.map(drop)
    };
    let cut = |world: &mut bowline_sim::World| world.partition(&["client"], &["server"]);
    for seed in 0..10 {
        let call = || async {
            let gave_up = fails_with(dial(None).await?, ErrorKind::TimedOut).await;
            assert!(gave_up > 50_000 + ALL_TRIES, "{gave_up}");
            Ok(())
        };
        let parted = world(ignore, call).at(Duration::from_secs(50), cut);
        run(parted.seed(seed));
        // What tells of the room is lost; the probe after the partition brings it.
        let call = || async { write_to_the_end(dial(None).await?).await };
        let healed = world(slow, call)
            .at(Duration::from_secs(50), cut)
            .at(Duration::from_secs(300), |world| world.heal());
        assert_eq!(run(healed.seed(seed)).bytes, MUCH.len() as u64);
    }
}

// SIM23
#[test]
fn a_window_that_nobody_opens_is_a_deadlock_still() {
    let call = || async { write_all(&dial(None).await?, &MUCH).await };
    let failure = world(ignore, call).run().expect_err("nobody reads");
    assert_eq!(*failure.kind(), FailureKind::Deadlock);
}

// SIM64
#[test]
fn what_nobody_holds_any_more_does_not_wait_for_a_window_for_ever() {
    // Closed with bytes unsent: a kernel asks for 204.6 s, and waits 120 s more.
    let call = || async {
        let stream = dial(None).await?;
        // As much as goes without waiting.
        let written = std::future::poll_fn(|cx| stream.poll_write(cx, &MUCH)).await?;
        assert!(written > 70_000, "{written}");
        drop(stream);
        until(500 * SECOND).await;
        Ok(())
    };
    for seed in 0..10 {
        let in_time = |stream: TcpStream| async move {
            until(324 * SECOND).await;
            let read = read_to_end(&stream).await?;
            assert!(read.len() > 70_000, "{}", read.len());
            Ok(())
        };
        run(world(in_time, call).seed(seed).host_must_not_fail("server"));
        let too_late = |stream: TcpStream| async move {
            until(325 * SECOND).await;
            let read = read_to_end(&stream).await.map(|read| read.len());
            let kind = read.map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::ConnectionReset));
            Ok(())
        };
        run(world(too_late, call)
            .seed(seed)
            .host_must_not_fail("server"));
    }
}

/// Sends a little and hears no more.
async fn send_and_time_out() -> io::Result<()> {
    let stream = dial(None).await?;
    until(SECOND).await;
    write_all(&stream, b"hello").await?;
    let error = read_some(&stream, 1).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let gave_up = host::now() / MS;
    let expected = 1_000 + ALL_TRIES;
    assert!((expected..expected + 100).contains(&gave_up), "{gave_up}");
    Ok(())
}

// SIM40
#[test]
fn an_acknowledgement_that_waits_when_the_power_goes_is_missed() {
    let mut acknowledged = 0;
    for seed in 0..40 {
        // The bytes arrive at 1001 ms, and are acknowledged at once or up to 40 ms later.
        let dark = world(ignore, send_and_time_out).at(Duration::from_micros(1_001_900), |world| {
            world.crash("server", Crash::PowerLoss);
        });
        if let Err(failure) = dark.seed(seed).run() {
            // It has nothing to wait for but what will never come.
            assert_eq!(*failure.kind(), FailureKind::Deadlock, "{failure}");
            acknowledged += 1;
        }
    }
    assert!((5..35).contains(&acknowledged), "{acknowledged}");
}

// SIM68
#[test]
fn an_acknowledgement_that_waits_when_its_sender_gives_up_is_missed() {
    for seed in 0..40 {
        // What it sends at 1 s is lost, so it gives up at 1.3 s; by then it may owe an acknowledgement.
        let serve = |stream: TcpStream| async move {
            until(SECOND).await;
            stream.set_user_timeout(Some(Duration::from_millis(300)))?;
            write_all(&stream, b"lost").await?;
            let mut read = read_some(&stream, 9).await;
            while read.as_ref().is_ok_and(|read| !read.is_empty()) {
                read = read_some(&stream, 9).await;
            }
            assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
            until(3600 * SECOND).await;
            Ok(())
        };
        let call = || async {
            let stream = dial(None).await?;
            until(1_297 * MS).await;
            write_all(&stream, b"hello").await?;
            let error = read_some(&stream, 1).await.expect_err("nobody is there");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            Ok(())
        };
        let world = world(serve, call)
            .at(Duration::from_millis(999), |world| {
                world.partition_one_way(&["server"], &["client"]);
            })
            .at(Duration::from_secs(2), |world| world.heal());
        run(world.seed(seed).host_must_not_fail("server"));
    }
}
