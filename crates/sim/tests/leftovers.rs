//! What hosts leave behind when they are done is found and named.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Signal, Sleep};
use bowline_sim::net::{
    UdpOptions, UdpSocket, UnixAddress, UnixListenOptions, UnixListener, UnixStream,
};
use bowline_sim::{Builder, Crash, Failure, FailureKind, HostOutcome, Sim};
use echo::{accept, dial, listen, read_to_end, write_all};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// A world of one client, which is done within a second.
fn client<F, T>(main: impl Fn() -> F + 'static) -> Builder
where
    F: Future<Output = T> + 'static,
    T: HostOutcome,
{
    Sim::builder().client("client", main)
}

fn leak(world: &Builder) -> Failure {
    let failure = world.run().expect_err("something is left");
    assert_eq!(*failure.kind(), FailureKind::Leak, "{failure}");
    failure
}

// SIM46
#[test]
fn a_forgotten_task_is_named() {
    let line = line!() + 2;
    let failure = leak(&client(|| async {
        host::spawn(Sleep::new(Sleep::NEVER));
        host::yield_now().await;
    }));
    let place = format!("the task 2 spawned at crates/sim/tests/leftovers.rs:{line}:");
    assert!(failure.message().contains(&place), "{failure}");
    assert!(failure.message().contains("waits for a sleep without end"));
    assert!(
        failure
            .message()
            .contains("120s after it was done the host \"client\"")
    );
    assert_eq!(failure.virtual_time().as_secs(), 120);
    assert_eq!(failure.wait_graph().len(), 1);
}

// SIM46
#[test]
fn a_forgotten_listener_is_named() {
    let failure = leak(&client(|| async {
        std::mem::forget(listen(80)?);
        Ok::<(), io::Error>(())
    }));
    let message = failure.message();
    assert!(
        message.ends_with("still has a TCP listener at 0.0.0.0:80"),
        "{message}"
    );
}

// SIM46
#[test]
fn a_forgotten_timer_is_named() {
    let failure = leak(&client(|| async {
        let mut sleep = Box::pin(Sleep::new(500 * SECOND));
        let pending = poll_fn(|cx| std::task::Poll::Ready(sleep.as_mut().poll(cx).is_pending()));
        assert!(pending.await);
        std::mem::forget(sleep);
    }));
    let message = failure.message();
    let timer = "still has a timer due at 500000000000 ns, armed by the task 1";
    assert!(message.ends_with(timer), "{message}");
}

// SIM46
#[test]
fn every_other_leftover_is_named() {
    let path = || UnixAddress::Path("/run/socket".into());
    let failure = leak(&client(move || async move {
        let any = SocketAddr::from(([0, 0, 0, 0], 53));
        std::mem::forget(UdpSocket::bind(any, UdpOptions::default())?);
        std::mem::forget(UnixStream::pair()?);
        drop(UnixListener::bind(&path(), UnixListenOptions::default())?);
        let listener = listen(80)?;
        std::mem::forget(dial("localhost", 80).await?);
        std::mem::forget(accept(&listener).await?);
        Ok::<(), io::Error>(())
    }));
    let message = failure.message();
    for left in [
        "a UDP socket at 0.0.0.0:53",
        "a Unix connection at ",
        "the path /run/socket of a Unix socket",
        "a TCP connection from 127.0.0.1:",
        " to 127.0.0.1:80",
    ] {
        assert!(message.contains(left), "{left} is not in {message}");
    }
    assert_eq!(message.matches("; ").count() + 1, 6, "{message}");
}

// SIM46
#[test]
fn of_many_leftovers_some_are_named_and_the_rest_is_counted() {
    let failure = leak(&client(|| async {
        for _ in 0..100 {
            host::spawn(Sleep::new(Sleep::NEVER));
        }
    }));
    let message = failure.message();
    assert!(message.ends_with("; and 80 more tasks"), "{message}");
    assert_eq!(message.matches("spawned at").count(), 20);
    assert_eq!(failure.wait_graph().len(), 100);
}

// SIM46
#[test]
fn what_is_on_its_way_out_has_its_time() {
    let world = |settle| {
        client(|| async {
            host::spawn(async {
                Sleep::new(10 * SECOND).await;
                // Ending may take more of the same.
                host::spawn(Sleep::new(20 * SECOND));
                host::spawn_blocking(Box::new(|| Sim::note("job", 0)));
            });
        })
        .settle(Duration::from_secs(settle))
    };
    let report = world(21).run().expect("it is gone in time");
    assert_eq!(report.virtual_time.as_secs(), 20);
    let failure = leak(&world(19));
    assert_eq!(failure.virtual_time().as_secs(), 19);
    // What is left is told as well where another limit comes first.
    let failure = world(60).horizon(Duration::from_secs(15)).run();
    let failure = failure.expect_err("it takes 20 s");
    assert_eq!(*failure.kind(), FailureKind::Horizon);
    let told = "all clients are done; the host \"client\" is done but has the task 3 spawned at";
    assert!(failure.message().starts_with(told), "{failure}");
}

/// A server that ends when it is told to, and then has `left` behind.
fn stopping<F>(left: impl Fn() -> F + Copy + 'static) -> Builder
where
    F: Future<Output = io::Result<()>> + 'static,
{
    Sim::builder()
        .host("server", move || async move {
            let mut terminate = host::signals(Signal::Terminate);
            let listener = listen(80)?;
            let stream = accept(&listener).await?;
            write_all(&stream, b"hello").await?;
            drop((stream, listener));
            poll_fn(|cx| terminate.poll_recv(cx)).await;
            left().await
        })
        .host_must_not_fail("server")
        .client("client", || async {
            let stream = dial("server", 80).await?;
            assert_eq!(read_to_end(&stream).await?, b"hello");
            Ok::<(), io::Error>(())
        })
}

// SIM46
#[test]
fn hosts_are_asked_to_stop_and_leave_nothing() {
    let nothing = stopping(|| async { Ok(()) });
    let slow = stopping(|| async {
        Sleep::new(host::now() + 100 * SECOND).await;
        Ok(())
    });
    let forgetful = stopping(|| async {
        std::mem::forget(listen(81)?);
        Ok(())
    });
    let deaf = stopping(std::future::pending);
    let failing = stopping(|| async { Err(io::Error::other("no way to stop")) });
    for seed in 0..20 {
        let report = nothing.clone().seed(seed).run().expect("it stops");
        assert!(report.virtual_time.as_secs() < 5);
        let report = slow.clone().seed(seed).run().expect("it stops");
        assert_eq!(report.virtual_time.as_secs(), 100);
        let failure = leak(&forgetful.clone().seed(seed));
        assert!(
            failure.message().ends_with("a TCP listener at 0.0.0.0:81"),
            "{failure}"
        );
        let failure = leak(&deaf.clone().seed(seed));
        let told = "120s after SIGTERM the host \"server\" still has the task 1 spawned at";
        assert!(failure.message().starts_with(told), "{failure}");
        let failure = failing.clone().seed(seed).run().expect_err("it fails");
        assert_eq!(*failure.kind(), FailureKind::ClientError);
    }
    nothing.compare().expect("equal seeds, equal runs");
}

// SIM46
#[test]
fn the_kernel_cleans_up_after_those_that_are_killed() {
    let messy = || async {
        std::mem::forget(listen(80)?);
        host::spawn(Sleep::new(Sleep::NEVER));
        Sleep::new(Sleep::NEVER).await;
        Ok::<(), io::Error>(())
    };
    let world = Sim::builder()
        .host("crashed", messy)
        .host("unaware", messy)
        .host("failed", || async {
            host::spawn(Sleep::new(Sleep::NEVER));
            host::yield_now().await;
            Err::<(), _>("a bad start")
        })
        .client("client", || Sleep::new(2 * SECOND))
        .at(Duration::from_secs(1), |world| {
            world.crash("crashed", Crash::Kill);
        });
    let report = world.run().expect("nothing is left");
    assert_eq!(report.crashes, 2);
    assert_eq!(report.virtual_time.as_secs(), 2);
}

// SIM42, SIM46
#[test]
fn a_path_of_a_crashed_life_is_no_leftover_of_the_next() {
    for crash in [Crash::Kill, Crash::PowerLoss] {
        let world = client(|| Sleep::new(2 * SECOND)).host("server", || async {
            if Sim::now() < Duration::from_secs(1) {
                let path = UnixAddress::Path("/run/server".into());
                let listener = UnixListener::bind(&path, UnixListenOptions::default())?;
                std::mem::forget(listener);
            }
            let _heard = host::signals(Signal::Terminate);
            Ok::<(), io::Error>(())
        });
        let world = world.at(Duration::from_secs(1), move |world| {
            world.crash("server", crash);
            world.restart("server");
        });
        world.run().expect("the second life leaves nothing");
    }
}

// SIM46
#[test]
fn a_host_that_is_paused_at_the_end_can_stop() {
    let world = stopping(|| async { Ok(()) }).at(Duration::from_secs(1), |world| {
        world.pause("server");
    });
    let world = world.client("long", || Sleep::new(2 * SECOND));
    let report = world.run().expect("it goes on to stop");
    assert_eq!(report.virtual_time.as_secs(), 2);
}

// SIM46
#[test]
fn an_honest_world_is_the_same_when_it_is_looked_at() {
    for seed in 0..20 {
        let plain = echo::world(seed).ignore_leaks().run().expect("it runs");
        let looked_at = echo::world(seed).run().expect("nothing is left");
        assert_eq!(plain.trace_hash, looked_at.trace_hash);
    }
}

// SIM46
#[test]
fn leaks_are_a_failure_unless_they_are_ignored() {
    let forgetful = client(|| async {
        host::spawn(Sleep::new(Sleep::NEVER));
        std::mem::forget(listen(80)?);
        Ok::<(), io::Error>(())
    });
    leak(&forgetful);
    let report = forgetful.ignore_leaks().run().expect("nobody looks");
    assert_eq!(report.virtual_time.as_secs(), 0);
    // What the future of a one-host world leaves is dropped with its world, as on every runtime.
    let left = bowline_sim::block_on(1, async {
        host::spawn(Sleep::new(Sleep::NEVER));
        host::yield_now().await;
        std::mem::forget(listen(80)?);
        Ok::<_, io::Error>("a value")
    });
    assert_eq!(left.expect("it listens"), "a value");
}
