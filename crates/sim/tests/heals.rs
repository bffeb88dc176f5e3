//! After the heal hosts have what they had: no drawn fault is left in force.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/faulty.rs"]
mod faulty;

use bowline_sim::net::{TcpOptions, TcpStream, UnixStream};
use bowline_sim::{EventKind, FaultKind, Faults, Keep, Sim, host};
use cut::{MS, Notes, SECOND, seconds, until};
use datagrams::{bind, send_to};
use faulty::{HEAL, jobs, longest, noted, under};
use std::future::poll_fn;
use std::task::Poll;

/// A while after the heal.
async fn healed() {
    until((HEAL + 10) * SECOND).await;
}

/// What a client notes after the heal of these kinds is what it would have noted without them.
fn is_as_before<F: Future<Output = ()> + 'static>(
    kinds: &[FaultKind],
    client: impl Fn(Notes) -> F + Clone + Send + Sync + 'static,
) {
    for &kind in kinds {
        let client = client.clone();
        let (after, plain) = noted(kind, move |notes| {
            let work = client(notes);
            async move {
                healed().await;
                work.await;
            }
        });
        assert!(!plain.is_empty());
        for after in after {
            assert_eq!(after, plain, "{kind:?}");
        }
    }
}

// SIM87
#[test]
fn descriptors_and_ports_are_as_many_as_before() {
    const EMFILE: u64 = 24;
    is_as_before(
        &[FaultKind::Descriptors, FaultKind::Ports, FaultKind::Memory],
        |notes| async move {
            let mut held = Vec::new();
            let error = loop {
                match bind("0.0.0.0:0") {
                    Ok(socket) => held.push(socket),
                    Err(error) => break error,
                }
            };
            notes.add(held.len() as u64);
            let code: u64 = error.raw_os_error().unwrap_or(0).cast_unsigned().into();
            assert_eq!(code, EMFILE);
        },
    );
}

/// How many bytes fit into a Unix stream, and how many datagrams of 256 bytes into a socket.
async fn fill(notes: Notes) {
    let (one, _other) = UnixStream::pair().expect("there are descriptors");
    let written = poll_fn(|cx| {
        let mut written = 0;
        while let Poll::Ready(more) = one.poll_write(cx, &[7; 1000]) {
            written += more.expect("the peer is there") as u64;
        }
        Poll::Ready(written)
    });
    notes.add(written.await);
    let socket = bind("127.0.0.1:0").expect("a port is free");
    let to = socket.local_addr().expect("it is bound");
    for _ in 0..400 {
        send_to(&socket, &[7; 256], to).await.expect("it takes one");
    }
    let mut received = 0;
    poll_fn(|cx| {
        while socket.poll_recv(cx, 256).is_ready() {
            received += 1;
        }
        Poll::Ready(())
    })
    .await;
    notes.add(received);
}

// SIM87
#[test]
fn buffers_of_datagrams_and_unix_sockets_are_as_large_as_before() {
    is_as_before(
        &[
            FaultKind::UdpBuffers,
            FaultKind::UnixBuffers,
            FaultKind::Memory,
        ],
        fill,
    );
}

// SIM87
#[test]
fn buffers_of_streams_are_as_large_as_before() {
    is_as_before(
        &[FaultKind::Buffers, FaultKind::Memory],
        |notes| async move {
            let listener = echo::listen(80).expect("the port is free");
            host::spawn(async move {
                let stream = echo::accept(&listener).await;
                until(host::now() + SECOND).await;
                drop(stream);
            });
            let own = ([127, 0, 0, 1], 80).into();
            let writer = TcpStream::connect(own, TcpOptions::default()).await;
            let writer = writer.expect("somebody listens");
            let mut written = 0;
            for _ in 0..100 {
                poll_fn(|cx| {
                    while let Poll::Ready(more) = writer.poll_write(cx, &[7; 4096]) {
                        written += more.expect("the peer is there") as u64;
                    }
                    Poll::Ready(())
                })
                .await;
                until(host::now() + MS).await;
            }
            // 128 KiB and 64 KiB.
            assert_eq!(written, 192 * 1024);
            notes.add(written);
        },
    );
}

// SIM87
#[test]
fn who_waits_for_memory_goes_on_with_the_heal() {
    for seed in 0..10 {
        let world = Sim::builder()
            .seed(seed)
            .host("server", || async {
                let listener = echo::listen(80)?;
                let mut held = Vec::new();
                loop {
                    held.push(echo::accept(&listener).await?);
                }
                #[allow(unreachable_code, reason = "says the type of the error")]
                Ok::<(), std::io::Error>(())
            })
            .client("client", || async {
                until(SECOND).await;
                let mut held = Vec::new();
                // More than each of the hosts may buffer, and less than they could.
                for _ in 0..180 {
                    let stream = echo::dial("server", 80).await?;
                    held.push(stream);
                }
                for stream in &held {
                    echo::write_all(stream, &[7; 100_000]).await?;
                }
                Ok::<(), std::io::Error>(())
            })
            .faults(Faults::of([FaultKind::Memory]));
        let never = world.run().expect_err("there is no room for it");
        assert!(never.message().contains("client"), "{never}");
        let report = world.heal_at(seconds(HEAL)).run();
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        assert!(report.virtual_time < seconds(HEAL + 1));
    }
}

// SIM87
#[test]
fn there_are_as_many_threads_as_before() {
    let (late, plain) = noted(FaultKind::Threads, |notes| async move {
        healed().await;
        let start = host::now();
        jobs_at_once(500).await;
        notes.add(host::now() - start);
    });
    let most = longest(&plain);
    // All overlap: the longest takes 10 ms.
    assert!(late.iter().all(|late| longest(late) < 2 * most), "{late:?}");
    // Those that wait for a thread have one with the heal.
    let (late, _) = noted(FaultKind::Threads, |notes| async move {
        until((HEAL - 1) * SECOND).await;
        jobs(10_000, &notes).await;
        let left = host::now().saturating_sub(HEAL * SECOND);
        notes.take();
        jobs_at_once(1).await;
        notes.add(left + host::now().saturating_sub(HEAL * SECOND));
    });
    // 512 at a time and 5 ms each: 0.1 s for all, where eight threads need six.
    assert!(late.iter().all(|late| longest(late) < SECOND), "{late:?}");
}

/// Runs jobs and waits until the last of them is done.
async fn jobs_at_once(count: usize) {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let left = Arc::new(AtomicUsize::new(count));
    for _ in 0..count {
        let left = Arc::clone(&left);
        host::spawn_blocking(Box::new(move || {
            left.fetch_sub(1, Ordering::Relaxed);
        }));
    }
    while left.load(Ordering::Relaxed) > 0 {
        until(host::now() + MS).await;
    }
}

// SIM87
#[test]
fn timers_are_in_time_again() {
    let (late, plain) = noted(FaultKind::TimerJitter, |notes| async move {
        healed().await;
        for _ in 1..200 {
            let due = host::now() + 20 * MS;
            until(due).await;
            notes.add(host::now() - due);
        }
    });
    assert!(longest(&plain) < 1_000);
    assert!(late.iter().all(|late| longest(late) < 1_000), "{late:?}");
}

// SIM87
#[test]
fn tasks_are_picked_by_the_worlds_rule_again() {
    let spins = || async {
        healed().await;
        for _ in 0..3 {
            host::spawn(async {
                for _ in 0..50 {
                    host::yield_now().await;
                }
            });
        }
        until(host::now() + SECOND).await;
    };
    for seed in 0..20 {
        let world = Sim::builder()
            .seed(seed)
            .client("a", spins)
            .client("b", spins)
            .trace(Keep::Full);
        let report = under(FaultKind::Scheduling, world).run();
        let report = report.expect("both are done");
        let events = report.trace().iter().map(|line| *line.event());
        let polls = events.filter(|event| event.kind() == EventKind::Poll && event.task() > 1);
        let hosts: Vec<_> = polls.map(|event| event.host()).collect();
        let turns = hosts.windows(2).filter(|two| two[0] != two[1]).count();
        // By chance it is every second time, more or less; one after the other it is once or always.
        assert!((80..230).contains(&turns), "{turns} of {}", hosts.len());
    }
}
