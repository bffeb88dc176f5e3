//! What programs do with sockets and signals on the hosts of a simulated world.

use bowline::concurrency::{sleep_forever, task_group};
use bowline::sim::host::Signal as Sent;
use bowline::sim::{Builder, HostLimits, Sim};
use bowline_backend::accept_error::AcceptErrorKind;
use bowline_backend::blocking::spawn_blocking;
use bowline_backend::net::{Family, Query, TcpListener, TcpStream, UdpSocket, resolve};
use bowline_backend::net::{UnixListener, UnixStream};
use bowline_backend::signal::{Signal, listen};
use bowline_backend::stream::{Address, ByteStreamExt, UnixAddress};
use bowline_backend::task::yield_now;
use bowline_backend::time::{now, sleep_until, unix_time};
use bytes::BytesMut;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

const MOST: NonZeroUsize = NonZeroUsize::new(1500).expect("not zero");

async fn pause() {
    sleep_until(now() + Duration::from_millis(100)).await;
}

async fn address_of(host: &str, port: u16) -> io::Result<SocketAddr> {
    let query = Query::host(host, port).family(Family::V4);
    Ok(resolve(query).await?[0])
}

fn limited(builder: Builder, host: &str, descriptors: usize) -> Builder {
    let mut limits = HostLimits::default();
    limits.descriptors = descriptors;
    builder.limits(host, limits)
}

// L5
#[test]
fn accepting_goes_on_after_descriptors_ran_out() {
    let world = Sim::builder()
        .host("server", || async {
            let listener = TcpListener::bind("0.0.0.0:80".parse().expect("an address"))?;
            let (mut held, mut exhausted) = (Vec::new(), 0);
            while held.len() + exhausted < 4 {
                match listener.accept().await {
                    Ok((stream, _)) => held.push(stream),
                    Err(error) => {
                        assert_eq!(
                            AcceptErrorKind::of(&error),
                            AcceptErrorKind::Exhausted,
                            "{error}"
                        );
                        exhausted += 1;
                        held.remove(0);
                        // The connection is still queued.
                        held.push(listener.accept().await?.0);
                    }
                }
            }
            for stream in &mut held {
                stream.write_all(b"served").await?;
            }
            Ok::<(), io::Error>(())
        })
        .host_must_not_fail("server")
        .client("client", || async {
            let to = address_of("server", 80).await?;
            let mut streams = Vec::new();
            for _ in 0..4 {
                streams.push(TcpStream::connect(to).await?);
            }
            let mut served = 0;
            for mut stream in streams {
                let mut buffer = BytesMut::new();
                while stream.read_into(&mut buffer, MOST).await? > 0 {}
                served += usize::from(buffer == "served");
            }
            // The listener and two connections: two of four were pushed out.
            assert_eq!(served, 2);
            Ok::<(), io::Error>(())
        });
    for seed in 0..30 {
        let world = limited(world.clone().seed(seed), "server", 3);
        world.run().expect("every connection is taken");
    }
}

// L5
#[test]
fn unix_accepting_goes_on_too() {
    let world = Sim::builder().client("small", || async {
        let at = UnixAddress::from_abstract("small")?;
        let listener = UnixListener::bind(&at)?;
        let held = (
            UnixStream::connect(&at).await?,
            UnixStream::connect(&at).await?,
        );
        let full = TcpStream::connect(address_of("small", 80).await?).await;
        let error = full.expect_err("three are open");
        assert_eq!(AcceptErrorKind::of(&error), AcceptErrorKind::Exhausted);
        let error = listener.accept().await.expect_err("three are open");
        assert_eq!(AcceptErrorKind::of(&error), AcceptErrorKind::Exhausted);
        drop(held);
        listener.accept().await?;
        listener.accept().await.map(drop)
    });
    limited(world, "small", 3)
        .run()
        .expect("there is room again");
}

// U4
#[test]
fn datagrams_go_from_host_to_host() {
    let world = Sim::builder()
        .host("server", || async {
            let socket = UdpSocket::bind("0.0.0.0:7".parse().expect("an address"))?;
            loop {
                let mut buffer = BytesMut::new();
                let received = socket.recv_from(&mut buffer, MOST).await?;
                let from = received.from.expect("UDP has senders");
                socket.send_to(&buffer, &from).await?;
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            pause().await;
            let to = address_of("server", 7).await?;
            let socket = UdpSocket::connect(to)?;
            for number in 0..20_u8 {
                socket.send(&[number]).await?;
            }
            for number in 0..20_u8 {
                let mut buffer = BytesMut::new();
                let received = socket.recv_from(&mut buffer, MOST).await?;
                assert_eq!(&buffer[..], [number]);
                assert_eq!(received.from, Some(Address::Inet(to)));
            }
            Ok::<(), io::Error>(())
        });
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("none is lost");
    }
}

// B55
#[test]
fn a_script_ends_a_server() {
    let world = Sim::builder()
        .client("server", || async {
            let mut end = listen(Signal::Terminate)?;
            let mut reload = listen(Signal::Hangup)?;
            reload.recv().await?;
            Sim::note("reloaded", 1);
            end.recv().await
        })
        .at(Duration::from_secs(1), |world| {
            world.signal("server", Sent::Hangup);
        })
        .at(Duration::from_secs(2), |world| {
            world.signal("server", Sent::Terminate);
        });
    let report = world.run().expect("it ends when told");
    assert_eq!(report.virtual_time.as_secs(), 2);
    let lines = report.trace().iter().map(|line| line.event());
    let note = lines.filter(|event| event.label() == "reloaded");
    assert_eq!(note.count(), 1);
}

// B27
#[test]
fn a_step_of_the_wall_clock_moves_no_sleep() {
    let world = Sim::builder()
        .client("client", || async {
            let (start, wall) = (now(), unix_time());
            sleep_until(start + Duration::from_secs(3)).await;
            assert_eq!(now().saturating_duration_since(start).as_secs(), 3);
            assert!(unix_time() < wall, "it was set back by a minute");
            sleep_until(start + Duration::from_secs(6)).await;
            assert_eq!(now().saturating_duration_since(start).as_secs(), 6);
            assert!(unix_time() > wall + Duration::from_secs(3_600));
        })
        .at(Duration::from_secs(1), |world| {
            world.set_wall_clock("client", Duration::from_secs(1_577_836_740));
        })
        .at(Duration::from_secs(4), |world| {
            world.set_wall_clock("client", Duration::from_secs(1_577_847_600));
        });
    for seed in 0..20 {
        world
            .clone()
            .seed(seed)
            .run()
            .expect("sleeps go by the other clock");
    }
}

// B33
#[test]
fn sixty_four_jobs_overlap_while_tasks_run() {
    let world = Sim::builder().client("busy", || async {
        let start = now();
        let jobs: Vec<_> = (0..64).map(|_| spawn_blocking(now)).collect();
        let mut turns = 0;
        while now() < start + Duration::from_micros(100) {
            yield_now().await;
            turns += 1;
        }
        assert!(turns > 10, "{turns} turns while 64 jobs ran");
        let mut last = start;
        for job in jobs {
            last = last.max(job.await.expect("no job panics"));
        }
        // One after the other they would take 32 times as long, on average.
        let together = last.saturating_duration_since(start);
        assert!(together <= Duration::from_millis(10), "{together:?}");
    });
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("all end");
    }
}

// SIM23
#[test]
fn a_child_of_a_group_that_waits_is_reported_where_it_was_spawned() {
    let world = Sim::builder().client("c", || async {
        let ended = task_group(async |group| {
            group.spawn_ok(sleep_forever());
            Ok::<(), io::Error>(())
        });
        ended.await.map_err(io::Error::other)
    });
    let failure = world.run().expect_err("nobody ends it");
    let line = line!() - 6;
    let mut places = failure.wait_graph().iter().map(|line| line.location());
    assert!(
        places.any(|place| place.file() == file!() && place.line() == line),
        "{failure}"
    );
}

// SIM23
#[test]
fn a_child_that_never_starts_is_reported_where_it_was_to_start() {
    let world = Sim::builder().client("c", || async {
        let ended = task_group(async |group| {
            let started = group.start(async |started| {
                sleep_forever().await;
                let _ = started.send(());
                Ok::<(), io::Error>(())
            });
            started.await.map(drop).map_err(io::Error::other)
        });
        ended.await.map_err(io::Error::other)
    });
    let failure = world.run().expect_err("nobody ends it");
    let line = line!() - 10;
    let mut places = failure.wait_graph().iter().map(|line| line.location());
    assert!(
        places.any(|place| place.file() == file!() && place.line() == line),
        "{failure}"
    );
}
