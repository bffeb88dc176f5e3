//! Signals: sent by a script or a program, heard by whoever listens.

use bowline_sim::host::{self, Signal, Sleep};
use bowline_sim::{Builder, EventKind, FailureKind, Keep, Sim, block_on};
use std::future::poll_fn;
use std::panic::catch_unwind;
use std::task::Poll;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A daemon that notes what it hears until it is told to end.
fn daemon() -> Builder {
    Sim::builder().client("daemon", || async {
        let mut hangup = host::signals(Signal::Hangup);
        let mut user = host::signals(Signal::User1);
        let mut end = host::signals(Signal::Terminate);
        poll_fn(|cx| {
            while user.poll_recv(cx).is_ready() {
                Sim::note("user", 1);
            }
            while hangup.poll_recv(cx).is_ready() {
                Sim::note("hangup", 1);
            }
            end.poll_recv(cx)
        })
        .await;
        Sim::note("end", 1);
    })
}

// SIM47
#[test]
fn signals_come_in_script_order() {
    for seed in 0..50 {
        let world = daemon()
            .seed(seed)
            .at(3 * SECOND, |world| {
                world.signal("daemon", Signal::Terminate)
            })
            .at(SECOND, |world| world.signal("daemon", Signal::Hangup))
            .at(SECOND, |world| {
                world.signal("daemon", Signal::User1);
                world.signal("daemon", Signal::Hangup);
            })
            .at(2 * SECOND, |world| world.signal("daemon", Signal::User1));
        let report = world.trace(Keep::Full).run().expect("it ends when told");
        let events = report.trace().iter().map(|line| line.event());
        let sent: Vec<_> = events
            .clone()
            .filter(|event| event.kind() == EventKind::Signal)
            .map(|event| (event.time() / 1_000_000_000, event.label()))
            .collect();
        assert_eq!(
            sent,
            [
                (1, "SIGHUP"),
                (1, "SIGUSR1"),
                (1, "SIGHUP"),
                (2, "SIGUSR1"),
                (3, "SIGTERM")
            ]
        );
        let heard: Vec<_> = events
            .filter(|event| event.kind() == EventKind::Note)
            .map(|event| (event.time() / 1_000_000_000, event.label()))
            .collect();
        // Two hangups before it looked may be one; after the last there is one.
        let hangups = heard.iter().filter(|heard| heard.1 == "hangup").count();
        assert!((1..=2).contains(&hangups), "{heard:?}");
        let rest: Vec<_> = heard.iter().filter(|heard| heard.1 != "hangup").collect();
        assert_eq!(rest, [&(1, "user"), &(2, "user"), &(3, "end")]);
    }
}

// SIM47
#[test]
fn every_listener_hears_and_dropping_one_keeps_the_others() {
    block_on(1, async {
        let mut one = host::signals(Signal::User2);
        let mut other = host::signals(Signal::User2);
        for _ in 0..3 {
            host::raise(Signal::User2);
        }
        poll_fn(|cx| one.poll_recv(cx)).await;
        poll_fn(|cx| other.poll_recv(cx)).await;
        let silence = poll_fn(|cx| Poll::Ready(one.poll_recv(cx).is_pending()));
        assert!(silence.await, "a burst is one delivery");
        drop(one);
        host::raise(Signal::User2);
        poll_fn(|cx| other.poll_recv(cx)).await;
        // Handled once, it ends nobody, also when nobody listens any more.
        drop(other);
        host::raise(Signal::User2);
        // One that comes from now on is heard, one that came before is not.
        host::yield_now().await;
        let mut late = host::signals(Signal::User2);
        let silence = poll_fn(|cx| Poll::Ready(late.poll_recv(cx).is_pending()));
        assert!(silence.await);
        host::raise(Signal::WindowChange);
        Sleep::new(host::now() + 1).await;
    });
}

// SIM47
#[test]
fn a_signal_nobody_listens_for_ends_the_host() {
    let serve = || async {
        host::spawn(async { Sleep::new(Sleep::NEVER).await });
        Sleep::new(Sleep::NEVER).await;
    };
    let world = Sim::builder()
        .host("daemon", serve)
        .client("witness", || Sleep::new(5_000_000_000))
        .at(SECOND, |world| world.signal("daemon", Signal::WindowChange))
        .at(2 * SECOND, |world| {
            world.signal("daemon", Signal::Terminate)
        })
        .at(3 * SECOND, |world| {
            world.signal("daemon", Signal::Terminate)
        });
    let report = world.trace(Keep::Full).run().expect("a host may be killed");
    assert_eq!(report.crashes, 1);
    let end = report.trace().iter().map(|line| line.event());
    let mut end = end.filter(|event| event.kind() == EventKind::Exit);
    assert_eq!(end.next().expect("it ended").time() / 1_000_000_000, 2);
    let client = Sim::builder()
        .client("daemon", serve)
        .at(SECOND, |world| world.signal("daemon", Signal::Interrupt));
    let failure = client.run().expect_err("a client may not be killed");
    assert_eq!(*failure.kind(), FailureKind::ClientError);
    assert_eq!(failure.host(), Some("daemon"));
    assert!(failure.message().contains("SIGINT"), "{failure}");
    let lone = catch_unwind(|| {
        block_on(1, async {
            host::raise(Signal::Quit);
            Sleep::new(Sleep::NEVER).await;
        });
    });
    let text = *lone
        .expect_err("killed")
        .downcast::<String>()
        .expect("text");
    assert!(text.contains("SIGQUIT"), "{text}");
}

// SIM47
#[test]
fn a_world_driven_by_hand_sends_signals_too() {
    let clock = || Sleep::new(3_000_000_000);
    let mut world = daemon().client("clock", clock).build();
    world.run_for(SECOND).expect("it waits");
    world.signal("daemon", Signal::Terminate);
    world.run_for(SECOND).expect("it ends");
    let last = world.trace();
    let last = last.last().expect("something happened").event();
    let seconds = last.time() / 1_000_000_000;
    assert_eq!((last.kind(), seconds), (EventKind::Exit, 1));
    let waiting = daemon().run().expect_err("nobody tells it to end");
    assert_eq!(*waiting.kind(), FailureKind::Deadlock);
    let waits = waiting.wait_graph()[0].waits_for();
    assert_eq!(waits, "the signal SIGTERM");
}
