//! Segments for sockets that no longer exist: what a host answers that knows nothing of them.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{Keepalive, TcpListenOptions, TcpListener, TcpStream};
use bowline_sim::{Builder, Crash, Sim, World, host};
use cut::{MS, Notes, SECOND, constant, seconds, until};
use echo::{accept, dial, listen, read_some, read_to_end, shutdown, write_all};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// A server that holds what it accepts, and a client that has a connection with it.
fn held<F: Future<Output = io::Result<()>> + 'static>(client: fn(TcpStream) -> F) -> Builder {
    Sim::builder()
        .horizon(seconds(20_000))
        .host("server", || async {
            let listener = listen(80)?;
            let mut held = Vec::new();
            loop {
                held.push(accept(&listener).await?);
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .client("client", move || async move {
            let stream = dial("server", 80).await?;
            client(stream).await
        })
        .link("client", "server", constant(10 * MS))
}

fn lose_power(world: &mut World) {
    world.crash("server", Crash::PowerLoss);
}

fn restart(world: &mut World) {
    world.restart("server");
}

async fn hears_reset(stream: &TcpStream) {
    let error = read_some(stream, 8).await.expect_err("nobody knows it");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

// SIM40
#[test]
fn the_end_of_a_stream_is_answered_by_a_reset_after_a_restart() {
    let world = held(|stream| async move {
        until(5 * SECOND).await;
        shutdown(&stream).await?;
        hears_reset(&stream).await;
        Ok(())
    });
    let world = world.at(seconds(1), lose_power).at(seconds(2), restart);
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("it hears of it");
    }
}

// SIM69
#[test]
fn the_end_of_a_stream_is_answered_by_a_reset_where_a_reset_was_lost() {
    let world = Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            let stream = accept(&listener).await?;
            until(2 * SECOND).await;
            // Its reset is lost.
            stream.abort();
            until(host::Sleep::NEVER).await;
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            let stream = dial("server", 80).await?;
            until(5 * SECOND).await;
            shutdown(&stream).await?;
            hears_reset(&stream).await;
            Ok::<(), io::Error>(())
        })
        .at(seconds(1), |world| world.isolate("client"))
        .at(seconds(3), World::heal);
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("it hears of it");
    }
}

// SIM65
#[test]
fn the_end_of_a_stream_is_acknowledged_for_a_minute_after_a_close() {
    for late in [30, 59, 61, 200] {
        let taken = Notes::default();
        let notes = taken.clone();
        let world = Sim::builder()
            .host("server", || async {
                let listener = listen(80)?;
                let stream = accept(&listener).await?;
                until(SECOND).await;
                drop(stream);
                until(host::Sleep::NEVER).await;
                Ok::<(), io::Error>(())
            })
            .client("client", move || {
                let notes = notes.clone();
                async move {
                    let stream = dial("server", 80).await?;
                    assert!(read_to_end(&stream).await?.is_empty());
                    until((1 + late) * SECOND).await;
                    shutdown(&stream).await?;
                    until((2 + late) * SECOND).await;
                    // What was acknowledged is no reset.
                    notes.add(u64::from(stream.take_error()?.is_none()));
                    Ok::<(), io::Error>(())
                }
            });
        world.run().expect("both are done");
        assert_eq!(taken.take(), [u64::from(late < 60)], "after {late} s");
    }
}

// SIM40
#[test]
fn a_bare_acknowledgement_is_answered_by_a_reset() {
    let world = Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            let stream = accept(&listener).await?;
            until(SECOND).await;
            write_all(&stream, b"x").await?;
            until(host::Sleep::NEVER).await;
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            let stream = dial("server", 80).await?;
            // The acknowledgement of it finds a host that knows nothing of it.
            assert_eq!(read_some(&stream, 8).await?, b"x");
            hears_reset(&stream).await;
            Ok::<(), io::Error>(())
        })
        .link("client", "server", constant(100 * MS))
        .at(millis(1_020), lose_power)
        .at(millis(1_150), restart);
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("it hears of it");
    }
}

// SIM40, SIM69
#[test]
fn a_probe_is_answered_by_a_reset_after_a_restart() {
    let world = held(|stream| async move {
        stream.set_keepalive(Some(Keepalive {
            idle: seconds(60),
            interval: seconds(10),
            count: 5,
        }))?;
        hears_reset(&stream).await;
        // At the first probe.
        assert!((60 * SECOND..61 * SECOND).contains(&host::now()));
        Ok(())
    });
    let world = world.at(seconds(1), lose_power).at(seconds(2), restart);
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("it hears of it");
    }
}

// SIM40
#[test]
fn the_last_part_of_a_handshake_is_answered_by_a_reset_after_a_restart() {
    let world = held(|stream| async move {
        hears_reset(&stream).await;
        assert!(host::now() < SECOND);
        Ok(())
    });
    // The answer is under way; the confirmation of it finds nobody who gave it.
    let world = world.at(millis(15), lose_power).at(millis(25), restart);
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("it hears of it");
    }
}

// SIM69
#[test]
fn the_answer_to_a_connect_that_was_given_up_is_answered_by_a_reset() {
    let world = Sim::builder()
        .host("server", || async {
            // Room for one.
            let mut options = TcpListenOptions::default();
            options.backlog = 0;
            let any = SocketAddr::from(([0, 0, 0, 0], 80));
            let listener = TcpListener::bind(any, options)?;
            until(host::Sleep::NEVER).await;
            drop(listener);
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            {
                let mut given_up = pin!(dial("server", 80));
                let mut soon = pin!(host::Sleep::new(15 * MS));
                poll_fn(|cx| {
                    assert!(given_up.as_mut().poll(cx).is_pending());
                    soon.as_mut().poll(cx)
                })
                .await;
            }
            until(100 * MS).await;
            let stream = dial("server", 80).await?;
            assert!(host::now() < 200 * MS, "it took the only place");
            drop(stream);
            Ok::<(), io::Error>(())
        })
        .link("client", "server", constant(10 * MS));
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("it connects");
    }
}
