//! How hosts ended, as the trace tells it.

use bowline_sim::host::{self, Signal, Sleep};
use bowline_sim::{Crash, EventKind, Keep, Sim, World};
use std::io;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

async fn for_ever() {
    Sleep::new(Sleep::NEVER).await;
}

/// Name, how it ended and which of its lives that was.
type Exit = (String, &'static str, u64);

fn exits<'a>(trace: impl Iterator<Item = &'a bowline_sim::TraceLine>) -> Vec<Exit> {
    trace
        .filter(|line| line.event().kind() == EventKind::Exit)
        .map(|line| {
            (
                line.host().to_owned(),
                line.event().label(),
                line.event().values().1,
            )
        })
        .collect()
}

// SIM28, SIM40, SIM41, SIM42
#[test]
fn the_trace_says_how_each_host_ended() {
    let act =
        |name: &'static str, what: fn(&mut World, &str)| move |world: &mut World| what(world, name);
    let at = |millis| Duration::from_millis(millis);
    let world = Sim::builder()
        .host("fails", || async {
            Sleep::new(SECOND / 10).await;
            Err::<(), io::Error>(io::ErrorKind::NotFound.into())
        })
        .host("panics", || async {
            Sleep::new(SECOND / 5).await;
            panic!("it does");
            #[allow(unreachable_code, reason = "it names the type of the outcome")]
            Ok::<(), io::Error>(())
        })
        .host("works badly", || async {
            Sleep::new(SECOND * 3 / 10).await;
            host::spawn_blocking(Box::new(|| panic!("in a job")));
            for_ever().await;
        })
        .host("victim", for_ever)
        .at(at(400), act("victim", |world, name| world.restart(name)))
        .at(
            at(500),
            act("victim", |world, name| world.crash(name, Crash::Kill)),
        )
        .at(at(600), act("victim", |world, name| world.restart(name)))
        .at(
            at(700),
            act("victim", |world, name| world.crash(name, Crash::PowerLoss)),
        )
        .at(at(800), act("victim", |world, name| world.restart(name)))
        .at(
            at(900),
            act("victim", |world, name| {
                world.signal(name, Signal::Terminate)
            }),
        )
        .host("stays", for_ever)
        .client("client", || Sleep::new(SECOND))
        .trace(Keep::Full);
    let report = world.run().expect("the client is done");
    let exit = |name: &str, how, life| (name.to_owned(), how, life);
    let expected = vec![
        exit("fails", "failed", 0),
        exit("panics", "panicked", 0),
        exit("works badly", "panicked", 0),
        exit("victim", "restarted", 0),
        exit("victim", "killed", 1),
        exit("victim", "lost power", 2),
        exit("victim", "signalled", 3),
        exit("client", "ended", 0),
        exit("stays", "world over", 0),
    ];
    assert_eq!(exits(report.trace().iter()), expected);
    let report = world.ignore_leaks().run().expect("the client is done");
    assert_eq!(exits(report.trace().iter()), expected);
}
