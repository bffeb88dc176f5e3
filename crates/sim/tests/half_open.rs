//! Connections whose other end is gone without a word, and what finds out.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{Keepalive, TcpStream};
use bowline_sim::{Builder, EventKind, FailureKind, Link, Sim, World, host};
use cut::{MS, SECOND, constant, seconds, until, whole};
use echo::{accept, dial, listen, read_some, write_all};
use std::io::{self, ErrorKind};
use std::time::Duration;

const KEEPALIVE: Keepalive = Keepalive {
    idle: seconds(60),
    interval: seconds(10),
    count: 5,
};

/// A client that has a connection with a server, over a link that forgets after five minutes, and
/// the server's, which waits for a byte of it.
fn world<F: Future<Output = io::Result<()>> + 'static>(
    link: Link,
    keepalive: Option<Keepalive>,
    client: fn(TcpStream) -> F,
) -> Builder {
    Sim::builder()
        .horizon(seconds(20_000))
        .host("server", move || async move {
            let listener = listen(80)?;
            let stream = accept(&listener).await?;
            stream.set_keepalive(keepalive)?;
            loop {
                match read_some(&stream, 10).await {
                    Ok(bytes) if bytes.is_empty() => {
                        Sim::note("ended", 0);
                        break;
                    }
                    Ok(bytes) => Sim::note("read", bytes.len() as u64),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::TimedOut);
                        Sim::note("timed out", whole(host::now()) / 1000);
                        break;
                    }
                }
            }
            until(host::Sleep::NEVER).await;
            Ok::<(), io::Error>(())
        })
        .host_must_not_fail("server")
        .client("client", move || async move {
            until(SECOND).await;
            let stream = dial("server", 80).await?;
            client(stream).await
        })
        .link("client", "server", link)
}

/// The values that the world notes under `label`.
fn noted(world: &Builder, label: &str) -> Vec<u64> {
    let report = world.run().expect("it runs to its end");
    let events = report.trace().iter().map(|line| line.event());
    let noted = events.filter(|event| event.kind() == EventKind::Note && event.label() == label);
    noted.map(|event| event.values().0).collect()
}

fn forgetful() -> Link {
    constant(MS).forget_idle(seconds(300))
}

// SIM69
#[test]
fn an_idle_flow_is_forgotten_and_keepalive_finds_out() {
    // Idle for longer than the translator remembers: the first probe after it vanishes.
    let rare = Keepalive {
        idle: seconds(400),
        ..KEEPALIVE
    };
    let silent = |stream: TcpStream| async move {
        until(2000 * SECOND).await;
        drop(stream);
        until(2001 * SECOND).await;
        Ok(())
    };
    for seed in 0..10 {
        let found = world(forgetful(), Some(rare), silent).seed(seed);
        // At 1 s the connection, after 400 s a probe, and four more each 10 s; then the end.
        assert_eq!(noted(&found, "timed out"), [1 + 400 + 50]);
        // Without it the server waits for ever, and never hears that the client closed.
        let never = world(forgetful(), None, silent).seed(seed);
        assert_eq!(noted(&never, "timed out"), []);
        assert_eq!(noted(&never, "ended"), []);
        // A link that remembers brings the end.
        let known = world(constant(MS), Some(rare), silent).seed(seed);
        assert_eq!(noted(&known, "ended"), [0]);
    }
}

// SIM69
#[test]
fn probes_in_time_keep_a_flow_known() {
    let late = |stream: TcpStream| async move {
        until(2000 * SECOND).await;
        write_all(&stream, b"late").await?;
        until(2001 * SECOND).await;
        Ok(())
    };
    for seed in 0..10 {
        let kept = world(forgetful(), Some(KEEPALIVE), late).seed(seed);
        assert_eq!(noted(&kept, "read"), [4]);
        let forgotten = world(forgetful(), None, late).seed(seed);
        assert_eq!(noted(&forgotten, "read"), []);
        let lost = forgotten.run().expect("the writer does not wait").lost;
        assert!(lost > 0);
    }
}

// SIM69
#[test]
fn the_writer_into_a_forgotten_flow_times_out() {
    let writer = |stream: TcpStream| async move {
        until(1000 * SECOND).await;
        write_all(&stream, b"lost").await?;
        let error = read_some(&stream, 1).await.expect_err("nobody answers");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // 204.6 s of doubling and six times 120 s.
        assert_eq!(whole(host::now()), 1_000_000 + 924_600);
        Ok(())
    };
    for seed in 0..10 {
        let forgotten = world(forgetful(), None, writer).seed(seed);
        assert_eq!(noted(&forgotten, "read"), []);
    }
}

// SIM69
#[test]
fn flows_are_forgotten_on_command_and_new_ones_are_not() {
    let again = |stream: TcpStream| async move {
        until(20 * SECOND).await;
        write_all(&stream, b"lost").await?;
        let refused = dial("server", 81).await.expect_err("nobody listens there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        until(600 * SECOND).await;
        Ok(())
    };
    let forget = |world: &mut World| world.forget_flows("client", "server");
    let forgotten = world(constant(MS), Some(KEEPALIVE), again).at(seconds(10), forget);
    assert_eq!(noted(&forgotten, "read"), []);
    // The connection is of 1 s.
    assert_eq!(noted(&forgotten, "timed out"), [61 + 50]);
}

// SIM69
#[test]
fn keepalive_finds_a_cut_and_lives_through_a_short_one() {
    let silent = |stream: TcpStream| async move {
        until(600 * SECOND).await;
        write_all(&stream, b"late").await?;
        until(1800 * SECOND).await;
        Ok(())
    };
    let cut = |world: &mut World| world.isolate("client");
    let short = world(constant(MS), Some(KEEPALIVE), silent)
        .at(seconds(100), cut)
        .at(seconds(150), World::heal);
    assert_eq!(noted(&short, "read"), [4]);
    assert_eq!(noted(&short, "timed out"), []);
    let long = world(constant(MS), Some(KEEPALIVE), silent)
        .at(seconds(100), cut)
        .at(seconds(300), World::heal);
    assert_eq!(noted(&long, "read"), []);
    assert_eq!(noted(&long, "timed out"), [121 + 50]);
}

// SIM69
#[test]
fn the_probes_of_a_well_connection_change_nothing() {
    let silent = |stream: TcpStream| async move {
        until(5000 * SECOND).await;
        drop(stream);
        Ok(())
    };
    for seed in 0..5 {
        let hash = |keepalive| {
            let world = world(constant(MS), keepalive, silent).seed(seed);
            world.run().expect("it ends").trace_hash
        };
        assert_eq!(hash(Some(KEEPALIVE)), hash(None));
    }
    // Nor do they keep a world going that waits for nothing else.
    let stuck = |stream: TcpStream| async move {
        stream.set_keepalive(Some(KEEPALIVE))?;
        read_some(&stream, 1).await.map(drop)
    };
    for link in [constant(MS), forgetful(), constant(MS).loss(0.1)] {
        let failure = world(link, Some(KEEPALIVE), stuck).run();
        let failure = failure.expect_err("both wait for the other");
        assert_eq!(*failure.kind(), FailureKind::Deadlock);
        assert!(failure.virtual_time() < Duration::from_secs(200));
    }
}

/// Waits on a connection that is cut after 100 s, for the end that comes at `expected`.
async fn endure(stream: TcpStream, limit: u64, expected: u64) -> io::Result<()> {
    stream.set_keepalive(Some(KEEPALIVE))?;
    stream.set_user_timeout(Some(seconds(limit)))?;
    let error = read_some(&stream, 1).await.expect_err("it is cut");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(whole(host::now()) / 1000, expected, "with {limit} s");
    Ok(())
}

// SIM69
#[test]
fn a_user_timeout_bounds_the_silence_instead_of_the_count_of_probes() {
    fn times_out<F: Future<Output = io::Result<()>> + 'static>(client: fn(TcpStream) -> F) {
        let cut = |world: &mut World| world.isolate("client");
        let world = world(constant(MS), None, client).at(seconds(100), cut);
        world.run().expect("it times out when it is expected to");
    }
    // The last answer came at 61 s, the first that does not is asked for at 121 s: it is never given
    // up before one was, and with the first probe after the timeout.
    times_out(|stream| endure(stream, 25, 131));
    times_out(|stream| endure(stream, 95, 161));
    // Five in vain are not enough.
    times_out(|stream| endure(stream, 195, 261));
}
