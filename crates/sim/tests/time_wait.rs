//! TIME_WAIT: whose port stays taken after a connection, for how long, and who may have it.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_sim::{Crash, Sim, block_on, host};
use echo::{accept, read_to_end, shutdown};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn listen(reuse_address: bool) -> io::Result<TcpListener> {
    let mut options = TcpListenOptions::default();
    options.reuse_address = reuse_address;
    TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 80)), options)
}

async fn connect_from(port: u16) -> io::Result<TcpStream> {
    let mut options = TcpOptions::default();
    options.local = Some(at(port));
    TcpStream::connect(at(80), options).await
}

async fn settle(seconds: u64) {
    host::Sleep::new(host::now() + seconds * SECOND).await;
}

/// A connection from port 1000 to port 80 that is over, closed first by the end `first`.
async fn over(first: usize) {
    let listener = listen(true).expect("a port of one's own");
    let connected = connect_from(1000).await.expect("it listens");
    let accepted = accept(&listener).await.expect("one waits");
    let mut ends = [Some(accepted), Some(connected)];
    let closing = ends[first].take();
    drop(closing);
    settle(1).await;
    let last = ends[1 - first].take().expect("there are two");
    assert!(read_to_end(&last).await.expect("no reset").is_empty());
    drop((last, listener));
    settle(1).await;
}

fn in_use<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

// SIM65
#[test]
fn the_end_that_closed_first_keeps_its_port_for_a_minute() {
    for seed in 0..20 {
        block_on(seed, async {
            over(0).await;
            assert!(in_use(listen(false)), "the listener's end waits");
            drop(listen(true).expect("it may be used again"));
            // The other end's port is free at once.
            let listener = listen(true).expect("it may be used again");
            drop(connect_from(1000).await.expect("its port is free"));
            drop(listener);
        });
        block_on(seed, async {
            over(0).await;
            settle(56).await;
            assert!(in_use(listen(false)));
            settle(4).await;
            listen(false).expect("the minute is over");
        });
    }
}

// SIM65
#[test]
fn a_client_that_closed_first_cannot_come_from_the_port_again() {
    for seed in 0..20 {
        block_on(seed, async {
            over(1).await;
            let listener = listen(false).expect("the listener closed second");
            assert!(in_use(connect_from(1000).await));
            assert!(connect_from(1001).await.is_ok(), "another port is free");
            settle(60).await;
            connect_from(1000).await.expect("the minute is over");
            drop(listener);
        });
    }
}

// SIM65
#[test]
fn both_wait_that_closed_at_once_and_nobody_after_a_reset() {
    for seed in 0..20 {
        for reset in [false, true] {
            block_on(seed, async {
                let listener = listen(true).expect("a port of one's own");
                let connected = connect_from(1000).await.expect("it listens");
                let accepted = accept(&listener).await.expect("one waits");
                if reset {
                    accepted.abort();
                    drop(connected);
                } else {
                    shutdown(&connected).await.expect("open");
                    shutdown(&accepted).await.expect("open");
                    drop((connected, accepted));
                }
                drop(listener);
                settle(1).await;
                assert_eq!(in_use(listen(false)), !reset);
                let listener = listen(true).expect("it may be used again");
                assert_eq!(in_use(connect_from(1000).await), !reset);
                drop(listener);
            });
        }
    }
}

// SIM65
#[test]
fn the_minute_begins_with_the_end_and_not_with_the_close() {
    block_on(1, async {
        let listener = listen(true).expect("a port of one's own");
        let connected = connect_from(1000).await.expect("it listens");
        let accepted = accept(&listener).await.expect("one waits");
        shutdown(&accepted).await.expect("open");
        settle(1).await;
        drop(connected);
        settle(100).await;
        drop((accepted, listener));
        listen(false).expect("it ended long ago");
    });
}

// SIM40, SIM42, SIM65
#[test]
fn a_kernel_that_was_started_again_remembers_no_connection() {
    // A killed process leaves its connections to the kernel, which goes on.
    for (crash, free) in [(Crash::PowerLoss, true), (Crash::Kill, false)] {
        for closes in [1, 30] {
            let world = Sim::builder()
                .host("server", move || async move {
                    let started = host::now();
                    match listen(started == 0) {
                        Ok(listener) => {
                            let stream = accept(&listener).await?;
                            // Before the crash, or by it.
                            settle(closes).await;
                            drop(stream);
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::AddrInUse);
                            assert!(started > 0 && !free, "its port is free");
                            return Ok(());
                        }
                    }
                    if started == 0 {
                        host::Sleep::new(host::Sleep::NEVER).await;
                    }
                    Ok::<(), io::Error>(())
                })
                .host_must_not_fail("server")
                .client("client", move || async move {
                    let ip = host::resolve("server", host::Family::V4).await?[0];
                    let at = SocketAddr::new(ip, 80);
                    let stream = TcpStream::connect(at, TcpOptions::default()).await?;
                    host::Sleep::new(20 * SECOND).await;
                    drop(stream);
                    host::Sleep::new(40 * SECOND).await;
                    let again = TcpStream::connect(at, TcpOptions::default()).await;
                    assert_eq!(again.is_ok(), free);
                    Ok::<(), io::Error>(())
                })
                .at(Duration::from_secs(10), move |world| {
                    world.crash("server", crash);
                })
                .at(Duration::from_secs(12), |world| world.restart("server"));
            world.run().expect("as expected");
        }
    }
}

// SIM65
#[test]
fn nobody_listens_at_the_source_port_of_a_connection() {
    let listens = |ip: &str, port, v6only| {
        let at = SocketAddr::new(ip.parse().expect("an address"), port);
        let mut options = TcpListenOptions::default();
        options.reuse_address = true;
        options.v6only = v6only;
        TcpListener::bind(at, options)
    };
    for seed in 0..20 {
        block_on(seed, async {
            let listener = listen(true).expect("a port of one's own");
            let options = TcpOptions::default();
            let client = TcpStream::connect(at(80), options)
                .await
                .expect("it listens");
            let server = accept(&listener).await.expect("one waits");
            let port = client.local_addr().expect("it has one").port();
            let in_use_where_it_is = || {
                assert!(in_use(listens("127.0.0.1", port, false)));
                assert!(in_use(listens("0.0.0.0", port, false)));
                assert!(in_use(listens("::", port, false)));
                // Elsewhere the port is another one.
                listens("127.0.0.2", port, false).expect("another address");
                listens("::1", port, false).expect("another address");
                listens("::", port, true).expect("not this one");
            };
            in_use_where_it_is();
            drop(client);
            in_use_where_it_is();
            drop(server);
            settle(1).await;
            in_use_where_it_is();
            settle(60).await;
            listens("0.0.0.0", port, false).expect("the minute is over");
            // Of one that closed second nothing stays.
            let client = TcpStream::connect(at(80), options)
                .await
                .expect("it listens");
            let port = client.local_addr().expect("it has one").port();
            drop(accept(&listener).await.expect("one waits"));
            settle(1).await;
            drop(client);
            settle(1).await;
            listens("127.0.0.1", port, false).expect("it is free");
        });
    }
}

// SIM65
#[test]
fn a_port_is_taken_at_the_address_of_its_connection_alone() {
    let listens = |ip: &str, reuse_address| {
        let at = SocketAddr::new(ip.parse().expect("an address"), 80);
        let mut options = TcpListenOptions::default();
        options.reuse_address = reuse_address;
        options.v6only = false;
        TcpListener::bind(at, options)
    };
    for (seed, first_reuses) in (0..10).flat_map(|seed| [(seed, false), (seed, true)]) {
        block_on(seed, async {
            let listener = listens("127.0.0.1", first_reuses).expect("a port of one's own");
            let client = connect_from(1000).await.expect("it listens");
            let server = accept(&listener).await.expect("one waits");
            drop(listener);
            let taken_where_it_is = || {
                for ip in ["127.0.0.1", "0.0.0.0", "::"] {
                    assert!(in_use(listens(ip, false)), "{ip}");
                    // Who reuses an address does so with who does too.
                    assert_eq!(in_use(listens(ip, true)), !first_reuses, "{ip}");
                }
                listens("127.0.0.2", false).expect("another address");
                listens("127.0.0.2", true).expect("another address");
            };
            taken_where_it_is();
            drop(server);
            settle(1).await;
            taken_where_it_is();
            drop(client);
            settle(1).await;
            taken_where_it_is();
            settle(60).await;
            listens("0.0.0.0", false).expect("the minute is over");
        });
    }
}

// SIM65
#[test]
fn an_end_that_closed_second_has_no_port_though_it_is_held() {
    for seed in 0..20 {
        block_on(seed, async {
            let listener = listen(true).expect("a port of one's own");
            for asked in [None, Some(at(0)), Some(at(1000))] {
                let mut options = TcpOptions::default();
                options.local = asked;
                let client = TcpStream::connect(at(80), options)
                    .await
                    .expect("it listens");
                let own = client.local_addr().expect("it has one");
                drop(accept(&listener).await.expect("one waits"));
                settle(1).await;
                let listens = || TcpListener::bind(own, TcpListenOptions::default());
                let mut exclusive = TcpListenOptions::default();
                exclusive.reuse_address = false;
                let alone = || TcpListener::bind(own, exclusive);
                assert!(in_use(alone()), "{asked:?}");
                shutdown(&client).await.expect("it is open");
                settle(1).await;
                // But one that was asked for is kept as long as it is held.
                assert_eq!(in_use(alone()), asked == Some(at(1000)), "{asked:?}");
                drop(client);
                settle(1).await;
                listens().expect("it is free");
            }
        });
    }
}
