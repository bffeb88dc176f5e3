//! Hosts that are ended from outside, and started again.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Sleep};
use bowline_sim::net::{
    TcpStream, UnixAddress, UnixListenOptions, UnixListener, UnixOptions, UnixStream,
};
use bowline_sim::{Builder, Crash, EventKind, FailureKind, Keep, Sim};
use echo::{accept, dial, listen, read_some, write_all};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

// SIM41
#[test]
fn the_peers_of_a_killed_host_read_the_end_or_a_reset() {
    let world = Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            let (read, unread) = (accept(&listener).await?, accept(&listener).await?);
            read_some(&read, 100).await?;
            host::spawn(async move {
                let _held = unread;
                Sleep::new(Sleep::NEVER).await;
            });
            Sleep::new(Sleep::NEVER).await;
            Ok::<(), io::Error>(())
        })
        .client("client", || async {
            let (read, unread) = (dial("server", 80).await?, dial("server", 80).await?);
            write_all(&read, b"x").await?;
            write_all(&unread, b"x").await?;
            Sleep::new(SECOND).await;
            assert!(read_some(&read, 1).await?.is_empty());
            let error = read_some(&unread, 1).await.expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            let refused = dial("server", 80).await.expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_millis(900), |world| {
            world.crash("server", Crash::Kill);
            // Once is enough.
            world.crash("server", Crash::Kill);
        });
    for seed in 0..20 {
        let report = world.clone().seed(seed).run().expect("peers are told");
        assert_eq!(report.crashes, 1);
    }
}

/// Aborts what it holds, as servers do with connections that nobody handles any more.
struct Aborts(Option<TcpStream>, Arc<AtomicUsize>);

impl Drop for Aborts {
    fn drop(&mut self) {
        if let Some(stream) = self.0.take() {
            stream.abort();
        }
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

// SIM42
#[test]
fn destructors_of_a_killed_host_may_use_what_it_had() {
    let aborted = Arc::new(AtomicUsize::new(0));
    let counter = aborted.clone();
    let world = Sim::builder()
        .host("server", move || {
            let counter = counter.clone();
            async move {
                let listener = listen(80)?;
                let _held = Aborts(Some(accept(&listener).await?), counter);
                Sleep::new(Sleep::NEVER).await;
                Ok::<(), io::Error>(())
            }
        })
        .client("client", || async {
            let stream = dial("server", 80).await?;
            assert!(read_some(&stream, 1).await?.is_empty());
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_millis(900), |world| {
            world.crash("server", Crash::Kill);
        });
    for seed in 0..20 {
        world.clone().seed(seed).run().expect("its peer is told");
    }
    assert_eq!(aborted.load(Ordering::Relaxed), 20, "none panicked");
}

// SIM42
#[test]
fn a_restarted_host_begins_anew_but_for_its_paths() {
    let path = || UnixAddress::Path("/run/server".into());
    let name = || UnixAddress::Abstract("server".into());
    let world = Sim::builder()
        .host("server", move || async move {
            let _name = UnixListener::bind(&name(), UnixListenOptions::default())?;
            let mut options = UnixListenOptions::default();
            if host::file("/run/server").is_ok() {
                let stale = UnixStream::connect(path(), UnixOptions::default()).await;
                let stale = stale.expect_err("its listener is gone").kind();
                assert_eq!(stale, ErrorKind::ConnectionRefused);
                let taken = UnixListener::bind(&path(), options).expect_err("the path stays");
                assert_eq!(taken.kind(), ErrorKind::AddrInUse);
                options.replace_stale = true;
            }
            let _path = UnixListener::bind(&path(), options)?;
            let ours = UnixStream::pair()?.0.peer_credentials()?;
            Sim::note("life", u64::from(ours.pid));
            let listener = listen(80)?;
            loop {
                let stream = accept(&listener).await?;
                write_all(&stream, &ours.pid.to_le_bytes()).await?;
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .host_must_not_fail("server")
        .client("client", || async {
            for life in 0..3_u32 {
                Sleep::new(SECOND * u64::from(life) + SECOND / 2).await;
                let stream = dial("server", 80).await?;
                let pid = echo::read_to_end(&stream).await?;
                assert_eq!(pid, (1000 + life).to_le_bytes());
            }
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_secs(1), |world| world.restart("server"))
        .at(Duration::from_millis(1_900), |world| {
            world.crash("server", Crash::Kill);
        })
        .at(Duration::from_secs(2), |world| world.restart("server"));
    for seed in 0..20 {
        let report = world.clone().seed(seed).trace(Keep::Full).run();
        let report = report.expect("three lives");
        let lines = report.trace().iter().map(|line| line.event());
        let lives = lines.filter(|event| event.kind() == EventKind::Note);
        let lives: Vec<u64> = lives.map(|event| event.values().0).collect();
        assert_eq!(lives, [1000, 1001, 1002]);
    }
    world.compare().expect("equal seeds, equal runs");
}

// SIM42
#[test]
fn a_client_that_is_restarted_must_be_done_again() {
    let mut world = Sim::builder()
        .client("short", || Sleep::new(SECOND))
        .client("long", || Sleep::new(5 * SECOND))
        .client_may_crash("long")
        .build();
    world.run_for(Duration::from_secs(2)).expect("one is done");
    world.restart("short");
    world.crash("long", Crash::Kill);
    assert!(!world.is_finished());
    let report = world.finish().expect("the restarted one ends");
    assert_eq!(report.crashes, 1);
}

/// A client that notes its starts and its end, beside a host that never rests.
fn noting() -> Builder {
    Sim::builder()
        .host("restless", || async {
            loop {
                Sleep::new(host::now() + SECOND / 10).await;
            }
            #[allow(unreachable_code, reason = "it names the type of the outcome")]
            ()
        })
        .client("c", || async {
            Sim::ghost(|starts: &mut u32| *starts += 1);
            Sleep::new(host::now() + 10 * SECOND).await;
            Sim::ghost(|ends: &mut u64| *ends += 1);
        })
}

// SIM42
#[test]
fn a_client_that_crashed_is_waited_for_as_long_as_it_may_be_started_again() {
    let scripts: [fn(Builder) -> Builder; 2] = [
        |world| world.at(Duration::from_secs(3), |world| world.restart("c")),
        |world| world.heal_at(Duration::from_secs(3)),
    ];
    for script in scripts {
        for crash in [Crash::Kill, Crash::PowerLoss] {
            let world = noting().at(Duration::from_secs(1), move |world| world.crash("c", crash));
            let world = script(world)
                .at(Duration::from_secs(2), |world| {
                    assert!(!world.is_finished());
                })
                .at(Duration::from_secs(12), |world| {
                    world.ghost(|starts: &mut u32| assert_eq!(*starts, 2));
                    world.ghost(|ends: &mut u64| assert_eq!(*ends, 0));
                });
            let report = world.run().expect("its second life ends");
            assert_eq!((report.virtual_time.as_secs(), report.crashes), (13, 1));
        }
    }
}

// SIM42
#[test]
fn a_run_fails_whose_client_crashed_for_good() {
    let world = noting().at(Duration::from_secs(1), |world| {
        world.crash("c", Crash::Kill);
    });
    let failure = world.run().expect_err("nobody did what the client was for");
    assert_eq!(*failure.kind(), FailureKind::ClientError);
    let message = "the client \"c\" crashed and was not started again";
    assert_eq!(failure.message(), message);
    assert_eq!(failure.virtual_time().as_secs(), 1);
    let again = world.build().run_past(failure.event_index());
    assert_eq!(again.expect_err("again").message(), message);
    // Others go on meanwhile.
    let with_another = world.clone().client("long", || Sleep::new(5 * SECOND));
    let failure = with_another.run().expect_err("one is enough");
    assert_eq!(
        (failure.message(), failure.virtual_time().as_secs()),
        (message, 5)
    );
    // One that was done was not kept from it.
    let late = noting().at(Duration::from_secs(11), |world| {
        world.crash("c", Crash::Kill);
    });
    let late = late.client("long", || Sleep::new(12 * SECOND)).run();
    assert_eq!(late.expect("both are done").crashes, 0);
    world.client_may_crash("c").run().expect("it is no matter");
}

// SIM42
#[test]
fn who_drives_by_hand_may_start_a_crashed_client_later() {
    let mut world = noting().build();
    world.run_for(Duration::from_secs(1)).expect("it runs");
    world.crash("c", Crash::Kill);
    world.run_for(Duration::from_secs(4)).expect("time goes by");
    assert_eq!(world.now().as_secs(), 5);
    assert!(!world.is_finished());
    world.restart("c");
    let report = world.finish().expect("its second life ends");
    assert_eq!(report.virtual_time.as_secs(), 15);
}

/// Spawns, and asks for a job and a socket, when it is dropped.
struct Stubborn;

impl Drop for Stubborn {
    fn drop(&mut self) {
        Sim::note("dropped", 1);
        host::spawn(async {
            let _again = Stubborn;
            Sim::note("polled", 1);
        });
        host::spawn_blocking(Box::new(|| Sim::note("polled", 2)));
    }
}

// SIM48
#[test]
fn what_a_destructor_spawns_in_a_crash_is_dropped() {
    let world = Sim::builder()
        .host("server", || async {
            for _ in 0..3 {
                host::spawn(async {
                    let _stubborn = Stubborn;
                    Sleep::new(Sleep::NEVER).await;
                });
            }
            Sleep::new(Sleep::NEVER).await;
        })
        .client("client", || Sleep::new(3 * SECOND))
        .at(Duration::from_secs(1), |world| {
            world.crash("server", Crash::Kill);
        })
        .at(Duration::from_secs(2), |world| world.restart("server"));
    for seed in 0..20 {
        let report = world.clone().seed(seed).trace(Keep::Full).run();
        let report = report.expect("it ends");
        let count = |label| {
            let lines = report.trace().iter().map(|line| line.event());
            lines.filter(|event| event.label() == label).count()
        };
        // Three at the crash and three at the end of the second life.
        assert_eq!((count("dropped"), count("polled")), (6, 0));
    }
}
