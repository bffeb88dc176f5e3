//! Hosts that stop, vanish and come back, in the reality table of S12: what no kernel shows by
//! itself, so over the simulator alone.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bowline::sim::{Builder, Crash, Sim};
use bowline_backend::Backend;
use bowline_backend::net::{Family, Keepalive, Query, TcpListener, TcpOptions, TcpStream, resolve};
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time::{Instant, now, sleep_until};
use futures_lite::AsyncWrite;

use crate::reality::{Outcome, check, done, failed};
use crate::streams::read_some;

const SECOND: Duration = Duration::from_secs(1);
const SEEDS: u64 = 10;

/// A server that takes connections and reads nothing, and a client that is connected to it from
/// the first second on.
fn world<C, F>(options: TcpOptions, client: C) -> Builder
where
    C: Fn(TcpStream, Instant) -> F + Clone + 'static,
    F: Future<Output = ()>,
{
    Sim::builder()
        .host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:80".parse().unwrap())?;
            let (_stream, _) = listener.accept().await?;
            pending::<io::Result<()>>().await
        })
        .host_must_not_fail("server")
        .client("client", move || {
            let (options, client) = (options.clone(), client.clone());
            async move {
                let start = now();
                let query = Query::host("server", 80).family(Family::V4);
                let at = resolve(query).await?[0];
                sleep_until(start + SECOND).await;
                client(TcpStream::connect_with(at, options).await?, start).await;
                Ok::<(), io::Error>(())
            }
        })
}

/// One of the reality table.
#[derive(Copy, Clone)]
struct Situation(&'static str);

impl Situation {
    /// Panics unless `operation` may do so in it.
    fn shows(self, operation: &str, outcome: Outcome) {
        check(Backend::Sim, self.0, operation, outcome);
    }
}

fn goes_well(world: &Builder) {
    for seed in 0..SEEDS {
        world.clone().seed(seed).run().expect("the client ends");
    }
}

async fn write(stream: &mut TcpStream) -> Outcome {
    done(&stream.write_all(b"bytes").await)
}

/// Writes until it waits, also a while later.
async fn fill(stream: &mut TcpStream) -> Outcome {
    let mut quiet = 0;
    while quiet < 10 {
        let written = poll_fn(|cx| {
            Poll::Ready(match Pin::new(&mut *stream).poll_write(cx, &[1; 4_096]) {
                Poll::Ready(written) => Some(written),
                Poll::Pending => None,
            })
        });
        match written.await {
            Some(Ok(_)) => quiet = 0,
            Some(Err(error)) => return failed(&error),
            None => {
                quiet += 1;
                sleep_until(now() + SECOND / 10).await;
            }
        }
    }
    Outcome::Waits
}

// S12
#[test]
fn the_process_of_the_peer_is_paused() {
    let situation = Situation("process of the peer paused");
    let world = world(TcpOptions::new(), move |mut stream, start| async move {
        sleep_until(start + 3 * SECOND).await;
        situation.shows("first write", write(&mut stream).await);
        situation.shows("later write", fill(&mut stream).await);
        // Its kernel answers for it, so nobody gives up.
        sleep_until(start + 3_600 * SECOND).await;
        situation.shows("later write", fill(&mut stream).await);
    });
    goes_well(&world.at(2 * SECOND, |world| world.pause("server")));
}

// S12
#[test]
fn the_host_of_the_peer_vanishes() {
    let situation = Situation("host of the peer vanished");
    // Whether a user timeout is set, and the span in which the writer gives up.
    let spans = [
        (TcpOptions::new(), 600 * SECOND..1_200 * SECOND),
        (
            TcpOptions::new().user_timeout(30 * SECOND),
            30 * SECOND..120 * SECOND,
        ),
    ];
    for (options, span) in spans {
        let world = world(options, move |mut stream, start| {
            let span = span.clone();
            async move {
                sleep_until(start + 3 * SECOND).await;
                situation.shows("first write", write(&mut stream).await);
                situation.shows("later write", fill(&mut stream).await);
                // Room comes never.
                let late = write(&mut stream).await;
                situation.shows("write that waits", late);
                let after = now().saturating_duration_since(start);
                assert!(span.contains(&after), "given up after {after:?}");
            }
        });
        goes_well(&world.at(2 * SECOND, |world| world.crash("server", Crash::PowerLoss)));
    }
}

// S12
#[test]
fn keepalive_finds_that_the_host_of_the_peer_vanished() {
    let situation = Situation("host of the peer vanished");
    let keepalive = Keepalive::new(60 * SECOND, 10 * SECOND, 5);
    for options in [TcpOptions::new(), TcpOptions::new().keepalive(keepalive)] {
        let probes = options != TcpOptions::new();
        let world = world(options, move |mut stream, start| async move {
            let late = start + 3_600 * SECOND;
            let read = async { done(&read_some(&mut stream).await) };
            let waits = async {
                sleep_until(late).await;
                Outcome::Waits
            };
            let outcome = futures_lite::future::or(read, waits).await;
            let operation = match probes {
                true => "read with keepalive",
                false => "read",
            };
            situation.shows(operation, outcome);
            let after = now().saturating_duration_since(start);
            assert_eq!(probes, after < 200 * SECOND, "told after {after:?}");
        });
        goes_well(&world.at(2 * SECOND, |world| world.crash("server", Crash::PowerLoss)));
    }
}

// S12
#[test]
fn the_peer_restarts_and_knows_nothing_of_the_connection() {
    let situation = Situation("peer restarted, old connection");
    let world = world(TcpOptions::new(), move |mut stream, start| async move {
        sleep_until(start + 10 * SECOND).await;
        situation.shows("first write", write(&mut stream).await);
        sleep_until(start + 20 * SECOND).await;
        situation.shows("later write", write(&mut stream).await);
    });
    goes_well(
        &world
            .at(2 * SECOND, |world| world.crash("server", Crash::PowerLoss))
            .at(3 * SECOND, |world| world.restart("server")),
    );
}
