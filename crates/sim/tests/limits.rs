//! What a host has at most, and what happens beyond it.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_sim::{Builder, HostLimits, Sim, block_on, host};
use echo::{accept, dial, listen, read_to_end, write_all};
use std::io;
use std::net::SocketAddr;

/// `EMFILE`, which the standard library has no kind for.
#[cfg(target_os = "linux")]
const TOO_MANY_FILES: Option<i32> = Some(24);
#[cfg(not(target_os = "linux"))]
const TOO_MANY_FILES: Option<i32> = None;

fn is_out_of_descriptors(error: &io::Error) -> bool {
    error.raw_os_error() == TOO_MANY_FILES
}

async fn settle() {
    host::Sleep::new(host::now() + 1_000_000_000).await;
}

/// A server with `descriptors` of them, and a client that connects six times at once.
fn crowded(seed: u64, descriptors: usize) -> Builder {
    let mut limits = HostLimits::default();
    limits.descriptors = descriptors;
    Sim::builder()
        .seed(seed)
        .host("server", || async {
            let listener = listen(80)?;
            let mut held = Vec::new();
            let mut refused = 0;
            while held.len() + refused < 6 {
                match accept(&listener).await {
                    Ok(stream) => held.push(stream),
                    Err(error) if is_out_of_descriptors(&error) => {
                        refused += 1;
                        // The connection is still queued, and waits for a descriptor.
                        drop(held.pop().expect("something holds them"));
                        settle().await;
                        held.push(accept(&listener).await?);
                    }
                    Err(error) => return Err(error),
                }
            }
            for stream in &held {
                write_all(stream, b"served").await?;
            }
            Sim::note("refused", refused as u64);
            Ok(())
        })
        .limits("server", limits)
        .client("client", || async {
            let mut streams = Vec::new();
            for _ in 0..6 {
                streams.push(dial("server", 80).await?);
            }
            let mut served = 0;
            for stream in &streams {
                served += usize::from(read_to_end(stream).await? == b"served");
            }
            Sim::note("served", served as u64);
            Ok::<(), io::Error>(())
        })
}

fn noted(builder: &Builder, label: &str) -> u64 {
    let report = builder.run().expect("the world runs");
    let lines = report.trace().iter().map(|line| line.event());
    let mut noted = lines.filter(|event| event.label() == label);
    noted.next().expect("it was noted").values().0
}

// SIM44
#[test]
fn accept_says_emfile_and_recovers() {
    for seed in 0..50 {
        assert_eq!(noted(&crowded(seed, 7), "refused"), 0, "seed {seed}");
        assert_eq!(noted(&crowded(seed, 7), "served"), 6);
        // One for the listener, three for connections: each of the last three pushes one out.
        assert_eq!(noted(&crowded(seed, 4), "refused"), 3);
        assert_eq!(noted(&crowded(seed, 4), "served"), 3);
    }
}

// SIM44
#[test]
fn every_socket_takes_a_descriptor_and_gives_it_back() {
    let mut limits = HostLimits::default();
    limits.descriptors = 3;
    let world = Sim::builder().client("small", || async {
        let at = SocketAddr::from(([127, 0, 0, 1], 80));
        let options = TcpListenOptions::default();
        for _ in 0..3 {
            let listener = TcpListener::bind(at, options)?;
            let one = TcpStream::connect(at, TcpOptions::default()).await?;
            let other = accept(&listener).await?;
            let full = TcpStream::connect(at, TcpOptions::default()).await;
            assert!(is_out_of_descriptors(&full.expect_err("three are open")));
            let full = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 81)), options);
            assert!(is_out_of_descriptors(&full.expect_err("three are open")));
            // What was refused holds no port either.
            drop(other);
            drop(TcpListener::bind(
                SocketAddr::from(([127, 0, 0, 1], 81)),
                options,
            )?);
            drop(one);
            // A failed and a dropped connect give theirs back.
            for _ in 0..5 {
                let nobody = SocketAddr::from(([127, 0, 0, 1], 9));
                let refused = TcpStream::connect(nobody, TcpOptions::default()).await;
                assert_eq!(
                    refused.expect_err("nobody listens").kind(),
                    io::ErrorKind::ConnectionRefused
                );
                let mut connect = Box::pin(TcpStream::connect(at, TcpOptions::default()));
                std::future::poll_fn(|cx| {
                    let pending = connect.as_mut().poll(cx).is_pending();
                    assert!(pending);
                    std::task::Poll::Ready(())
                })
                .await;
            }
            settle().await;
        }
        Ok::<(), io::Error>(())
    });
    world
        .limits("small", limits)
        .run()
        .expect("nothing is lost");
}

// SIM44
#[test]
fn ephemeral_ports_run_out_and_come_back() {
    let mut limits = HostLimits::default();
    limits.ephemeral_ports = 2;
    let world = Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            let mut held = Vec::new();
            loop {
                held.push(accept(&listener).await?);
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .client("small", || async {
            let held = (dial("server", 80).await?, dial("server", 80).await?);
            let full = dial("server", 80).await.expect_err("both ports are taken");
            assert_eq!(full.kind(), io::ErrorKind::AddrNotAvailable);
            let any = SocketAddr::from(([0, 0, 0, 0], 0));
            let full = TcpListener::bind(any, TcpListenOptions::default());
            assert_eq!(
                full.expect_err("both ports are taken").kind(),
                io::ErrorKind::AddrInUse
            );
            drop(held.0);
            // It was the first to close, so it keeps the port for the old connection.
            settle().await;
            let full = dial("server", 80).await.expect_err("one of them waits");
            assert_eq!(full.kind(), io::ErrorKind::AddrNotAvailable);
            host::Sleep::new(host::now() + 60_000_000_000).await;
            dial("server", 80).await.map(drop)
        });
    for seed in 0..20 {
        let world = world.clone().seed(seed).limits("small", limits);
        world.run().expect("a port is free again");
    }
}

// SIM44
#[test]
fn connections_to_different_peers_share_a_port() {
    let mut limits = HostLimits::default();
    limits.ephemeral_ports = 1;
    let world = Sim::builder()
        .host("server", || async {
            let listeners = [listen(80)?, listen(81)?];
            let mut held = Vec::new();
            for listener in listeners.iter().cycle() {
                held.push(accept(listener).await?);
            }
            Ok::<(), io::Error>(())
        })
        .client("small", || async {
            let (one, other) = (dial("server", 80).await?, dial("server", 81).await?);
            let port = |stream: &TcpStream| stream.local_addr().map(|local| local.port());
            assert_eq!(port(&one)?, port(&other)?);
            let full = dial("server", 80)
                .await
                .expect_err("to this peer it is taken");
            assert_eq!(full.kind(), io::ErrorKind::AddrNotAvailable);
            // Nobody else may have it, nor a connect that binds first.
            let any = SocketAddr::from(([0, 0, 0, 0], 0));
            let taken = TcpListener::bind(any, TcpListenOptions::default());
            assert_eq!(taken.expect_err("taken").kind(), io::ErrorKind::AddrInUse);
            let mut options = TcpOptions::default();
            options.local = Some(any);
            let bound = TcpStream::connect(SocketAddr::new(one.peer_addr()?.ip(), 82), options);
            let taken = bound.await.expect_err("taken");
            assert_eq!(taken.kind(), io::ErrorKind::AddrNotAvailable);
            // Both are connections of their own.
            drop(other);
            settle().await;
            write_all(&one, b"x").await?;
            settle().await;
            assert!(one.take_error()?.is_none());
            dial("server", 82).await.expect_err("nobody listens");
            drop(one);
            Ok::<(), io::Error>(())
        });
    for seed in 0..20 {
        let world = world.clone().seed(seed).limits("small", limits);
        world.run().expect("one port is enough");
    }
}

#[test]
fn a_lone_host_has_descriptors_enough() {
    block_on(1, async {
        let at = SocketAddr::from(([127, 0, 0, 1], 0));
        let open = |_| TcpListener::bind(at, TcpListenOptions::default()).expect("no limit");
        let listeners: Vec<_> = (0..2000).map(open).collect();
        assert_eq!(listeners.len(), 2000);
    });
}
