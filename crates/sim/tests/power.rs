//! Hosts that lose their power: nothing leaves them any more.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Signal, Sleep};
use bowline_sim::net::{
    TcpOptions, TcpStream, UdpOptions, UdpSocket, UnixAddress, UnixListenOptions, UnixListener,
};
use bowline_sim::{Builder, Crash, EventKind, Keep, Report, Sim};
use echo::{accept, dial, listen, read_some, read_to_end, write_all};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
const PATH: &str = "/run/server";

fn notes(report: &Report, label: &str) -> Vec<(u64, u64)> {
    let lines = report.trace().iter().map(|line| line.event());
    let notes = lines.filter(|event| event.kind() == EventKind::Note && event.label() == label);
    notes
        .map(|event| (event.values().0, event.time()))
        .collect()
}

/// Does, when it is dropped, everything that could reach anybody.
struct LastWill {
    stream: Option<TcpStream>,
    udp: UdpSocket,
    client: IpAddr,
}

impl Drop for LastWill {
    fn drop(&mut self) {
        Sim::note("dropped", 0);
        let mut cx = Context::from_waker(Waker::noop());
        let stream = self.stream.take().expect("dropped once");
        let written = stream.poll_write(&mut cx, b"farewell");
        assert!(!matches!(written, Poll::Ready(Ok(1..))), "{written:?}");
        assert!(!matches!(
            stream.poll_read(&mut cx, &mut [0; 9]),
            Poll::Ready(Ok(1..))
        ));
        let _ = stream.poll_shutdown(&mut cx);
        stream.abort();
        let port = SocketAddr::new(self.client, 53);
        let sent = self.udp.poll_send_to(&mut cx, b"farewell", port);
        assert!(!matches!(sent, Poll::Ready(Ok(()))), "{sent:?}");
        let connect = pin!(TcpStream::connect(
            (self.client, 80).into(),
            TcpOptions::default()
        ));
        assert!(matches!(connect.poll(&mut cx), Poll::Ready(Err(_))));
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        assert!(UdpSocket::bind(any, UdpOptions::default()).is_err());
        assert!(listen(81).is_err());
        assert!(host::remove_file(PATH).is_err());
        assert!(host::create_file("/run/other").is_err());
        assert!(pin!(Sleep::new(host::now() + 1)).poll(&mut cx).is_pending());
        host::raise(Signal::Terminate);
        host::spawn(async { Sim::note("afterlife", 1) });
        host::spawn_blocking(Box::new(|| Sim::note("afterlife", 2)));
    }
}

/// A server that loses its power after a second, and a client that listens for anything of it.
fn forsaken() -> Builder {
    Sim::builder()
        .host("server", || async {
            let path = UnixAddress::Path(PATH.into());
            let mut options = UnixListenOptions::default();
            options.replace_stale = true;
            let _path = UnixListener::bind(&path, options)?;
            let listener = listen(80)?;
            let any = SocketAddr::from(([0, 0, 0, 0], 0));
            let udp = UdpSocket::bind(any, UdpOptions::default())?;
            let client = host::resolve("client", host::Family::V4).await?[0];
            let stream = Some(accept(&listener).await?);
            let _will = LastWill {
                stream,
                udp,
                client,
            };
            Sleep::new(Sleep::NEVER).await;
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            let _listener = listen(80)?;
            let hears = SocketAddr::from(([0, 0, 0, 0], 53));
            let udp = UdpSocket::bind(hears, UdpOptions::default())?;
            let stream = dial("server", 80).await?;
            let mut quiet = Box::pin(Sleep::new(60 * SECOND));
            poll_fn(|cx| {
                assert!(stream.poll_read(cx, &mut [0; 9]).is_pending());
                assert!(udp.poll_recv(cx, 9).is_pending());
                quiet.as_mut().poll(cx)
            })
            .await;
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_secs(1), |world| {
            world.crash("server", Crash::PowerLoss);
            // There is no more power to lose.
            world.crash("server", Crash::PowerLoss);
        })
}

// SIM40
#[test]
fn destructors_run_in_a_void() {
    for seed in 0..20 {
        let report = forsaken().seed(seed).trace(Keep::Full).run();
        let report = report.expect("nobody hears of it");
        assert_eq!(report.crashes, 1);
        assert_eq!(notes(&report, "dropped").len(), 1);
        assert_eq!(notes(&report, "afterlife").len(), 0);
        let events = || report.trace().iter().map(|line| line.event());
        let after = events().skip_while(|event| event.label() != "power loss");
        // No packet leaves, and nothing but the client's own sleep comes due.
        let packets = |kind| matches!(kind, EventKind::Segment | EventKind::Datagram);
        assert_eq!(
            after.clone().filter(|event| packets(event.kind())).count(),
            0
        );
        let rings = |kind| matches!(kind, EventKind::Timer | EventKind::Signal | EventKind::Job);
        assert_eq!(after.filter(|event| rings(event.kind())).count(), 1);
    }
    forsaken().compare().expect("equal seeds, equal runs");
}

/// A client that writes to a server, which loses its power after a second.
fn writer(restart: Option<u64>, options: TcpOptions) -> Builder {
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
        .client("client", move || async move {
            let ip = host::resolve("server", host::Family::V4).await?[0];
            let stream = TcpStream::connect((ip, 80).into(), options).await?;
            Sleep::new(2 * SECOND).await;
            Sim::note("write", 0);
            write_all(&stream, b"are you there?").await?;
            let error = read_some(&stream, 1).await.expect_err("nobody is");
            match error.kind() {
                ErrorKind::ConnectionReset => Sim::note("reset", host::now()),
                ErrorKind::TimedOut => Sim::note("timed out", host::now()),
                other => panic!("{other:?}"),
            }
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_secs(1), |world| {
            world.crash("server", Crash::PowerLoss);
        });
    match restart {
        None => world,
        Some(at) => world.at(Duration::from_secs(at), |world| world.restart("server")),
    }
}

// SIM40
#[test]
fn a_peer_learns_of_it_by_a_reset_after_the_restart() {
    for seed in 0..20 {
        for at in [5, 60] {
            let world = writer(Some(at), TcpOptions::default()).seed(seed);
            let report = world.trace(Keep::Full).run().expect("it learns of it");
            let reset = notes(&report, "reset")[0].0;
            // At the next attempt to send it, which comes after twice the time of the one before.
            let silence = (at - 2) * SECOND;
            assert!(
                (at * SECOND..at * SECOND + silence + SECOND).contains(&reset),
                "{reset}"
            );
        }
        // A restart before it writes: at once.
        let world = writer(Some(2), TcpOptions::default()).seed(seed);
        let report = world.trace(Keep::Full).run().expect("it learns of it");
        let reset = notes(&report, "reset")[0].0;
        assert!(
            (2 * SECOND..2 * SECOND + SECOND / 2).contains(&reset),
            "{reset}"
        );
    }
}

// SIM40
#[test]
fn a_peer_of_a_host_that_stays_away_times_out() {
    for seed in 0..20 {
        let world = writer(None, TcpOptions::default()).seed(seed);
        let report = world.trace(Keep::Full).run().expect("it gives up");
        let over = notes(&report, "timed out")[0].0 - 2 * SECOND;
        // 15 tries in vain: 924.6 s, as on Linux.
        let expected = 924 * SECOND + 6 * SECOND / 10;
        assert!(over.abs_diff(expected) < SECOND, "{over}");
        let mut options = TcpOptions::default();
        options.user_timeout = Some(Duration::from_secs(30));
        let report = writer(None, options).seed(seed).trace(Keep::Full).run();
        let report = report.expect("it gives up");
        let over = notes(&report, "timed out")[0].0 - 2 * SECOND;
        assert!(over.abs_diff(30 * SECOND) < SECOND, "{over}");
    }
}

// SIM40
#[test]
fn who_connects_to_a_host_without_power_waits_for_it() {
    let world = |restart: u64| {
        Sim::builder()
            .host("server", || async {
                let listener = listen(80)?;
                loop {
                    write_all(&accept(&listener).await?, b"hello").await?;
                }
                #[allow(unreachable_code, reason = "it names the type of the error")]
                Ok::<(), io::Error>(())
            })
            .client("client", || async {
                Sleep::new(2 * SECOND).await;
                let start = host::now();
                match dial("server", 80).await {
                    Ok(stream) => assert_eq!(read_to_end(&stream).await?, b"hello"),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                }
                Sim::note("took", host::now() - start);
                Ok::<(), io::Error>(())
            })
            .at(Duration::from_secs(1), |world| {
                world.crash("server", Crash::PowerLoss);
            })
            .at(Duration::from_secs(restart), |world| {
                world.restart("server")
            })
    };
    for seed in 0..20 {
        // Requests go out after 0, 1, 3, 7, .. s, and the last is given up after 127 s.
        for (restart, expected) in [(4, 3), (6, 7), (500, 127)] {
            let report = world(restart).seed(seed).trace(Keep::Full).run();
            let took = notes(&report.expect("it ends"), "took")[0].0;
            assert!(took.abs_diff(expected * SECOND) < SECOND / 10, "{took}");
        }
    }
}

// SIM40, SIM42
#[test]
fn datagrams_vanish_and_paths_stay() {
    let world = Sim::builder()
        .host("server", || async {
            Sim::note("stale", u64::from(host::file(PATH).is_ok()));
            let path = UnixAddress::Path(PATH.into());
            let mut options = UnixListenOptions::default();
            options.replace_stale = true;
            let _path = UnixListener::bind(&path, options)?;
            let hears = SocketAddr::from(([0, 0, 0, 0], 53));
            let udp = UdpSocket::bind(hears, UdpOptions::default())?;
            loop {
                poll_fn(|cx| udp.poll_recv(cx, 9)).await?;
                Sim::note("heard", 0);
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            let ip = host::resolve("server", host::Family::V4).await?[0];
            let udp = UdpSocket::connect((ip, 53).into(), UdpOptions::default())?;
            for second in 1..20 {
                Sleep::new(second * SECOND).await;
                // Nobody says that nobody is there.
                poll_fn(|cx| udp.poll_send(cx, b"hello")).await?;
                assert!(udp.take_error()?.is_none());
            }
            // The last one arrives too.
            Sleep::new(20 * SECOND).await;
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_millis(5_500), |world| {
            world.crash("server", Crash::PowerLoss);
        })
        .at(Duration::from_millis(15_500), |world| {
            world.restart("server")
        });
    for seed in 0..20 {
        let report = world.clone().seed(seed).trace(Keep::Full).run();
        let report = report.expect("it goes on");
        assert_eq!(notes(&report, "heard").len(), 9);
        let stale = notes(&report, "stale");
        assert_eq!([stale[0].0, stale[1].0], [0, 1]);
    }
}

// SIM40
#[test]
fn a_host_that_was_done_can_lose_its_power_too() {
    let world = Sim::builder()
        .host("server", || async {
            drop(listen(80)?);
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            let refused = dial("server", 80).await.expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            Sleep::new(2 * SECOND).await;
            let silent = dial("server", 80).await.expect_err("nobody is there");
            assert_eq!(silent.kind(), ErrorKind::TimedOut);
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_secs(1), |world| {
            world.crash("server", Crash::PowerLoss);
        });
    let report = world.run().expect("it goes on");
    assert_eq!(report.crashes, 0);
}
