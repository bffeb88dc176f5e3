//! The end of a world, while hosts stop: nothing strikes them, and nothing starts any more.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Signal, Sleep};
use bowline_sim::{Builder, Crash, EventKind, FaultKind, Faults, Keep, Sim};
use echo::{accept, dial, listen, read_to_end, write_all};
use std::future::poll_fn;
use std::io;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;
const END: u64 = 10;

async fn terminated() {
    let mut terminate = host::signals(Signal::Terminate);
    poll_fn(|cx| terminate.poll_recv(cx)).await;
}

/// Takes half a minute to stop.
async fn stop_slowly() {
    terminated().await;
    Sleep::new(host::now() + 30 * SECOND).await;
    Sim::note("stopped", 0);
}

/// Two servers which stop slowly, and a client that is done after ten seconds.
fn slow_to_stop() -> Builder {
    Sim::builder()
        .host("one", stop_slowly)
        .host("other", stop_slowly)
        .client("client", || Sleep::new(END * SECOND))
        .trace(Keep::Full)
}

// SIM46, SIM87
#[test]
fn drawn_faults_are_over_when_hosts_stop() {
    let crashes = [FaultKind::Kill, FaultKind::PowerLoss];
    let others = FaultKind::ALL
        .into_iter()
        .filter(|kind| !crashes.contains(kind));
    let mixes = [Faults::of(crashes), Faults::of(others), Faults::swarm()];
    for faults in mixes {
        for seed in 0..20 {
            let world = slow_to_stop().seed(seed).faults(faults.clone());
            let report = world.run().unwrap_or_else(|failure| panic!("{failure}"));
            let events = report.trace().iter().map(|line| *line.event());
            let events: Vec<_> = events.collect();
            let done = events.iter().find(|event| event.kind() == EventKind::Exit);
            let done = done.expect("the client is done first or a host is killed");
            let over = events
                .iter()
                .filter(|event| event.kind() == EventKind::Signal);
            let over = over.map(|event| event.time()).min();
            // Without one that is left there is nothing to stop.
            let over = over.unwrap_or(done.time().max(END * SECOND));
            // At once what lasts ends; after it nothing begins.
            let late = events.iter().find(|event| {
                event.kind() == EventKind::Fault && event.time() > over + SECOND / 100
                    || event.kind() == EventKind::Exit && event.label() == "restarted"
            });
            let clogs = ["unclog", "clog"];
            assert!(
                late.is_none_or(|event| clogs.contains(&event.label())),
                "{late:?} after {over}"
            );
        }
    }
}

// SIM46, SIM87
#[test]
fn what_is_cut_by_a_drawn_fault_is_mended_when_hosts_stop() {
    let world = Sim::builder()
        .host("listener", || async {
            terminated().await;
            let stream = accept(&listen(80)?).await?;
            assert_eq!(read_to_end(&stream).await?, b"farewell");
            Sim::note("heard", host::now());
            Ok::<(), io::Error>(())
        })
        .host("speaker", || async {
            terminated().await;
            Sleep::new(host::now() + SECOND / 100).await;
            let stream = dial("listener", 80).await?;
            write_all(&stream, b"farewell").await
        })
        .host_must_not_fail("listener")
        .host_must_not_fail("speaker")
        .client("client", || Sleep::new(END * SECOND))
        .faults(Faults::of([
            FaultKind::Partition,
            FaultKind::Isolation,
            FaultKind::OneWay,
            FaultKind::Flapping,
        ]));
    for seed in 0..50 {
        let report = world.clone().seed(seed).run();
        let report = report.unwrap_or_else(|failure| panic!("{failure}"));
        let took = report.virtual_time - Duration::from_secs(END);
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
}

// SIM46
#[test]
fn a_script_starts_nobody_while_hosts_stop() {
    for seed in 0..10 {
        let world = slow_to_stop()
            .seed(seed)
            .host("crashed", || async {
                Sim::note("life", 0);
                Sleep::new(Sleep::NEVER).await;
            })
            .at(Duration::from_secs(5), |world| {
                world.crash("crashed", Crash::Kill);
            })
            .at(Duration::from_secs(END + 5), |world| {
                world.restart("crashed");
                // As ever, it ends whoever runs.
                world.restart("other");
            })
            .heal_at(Duration::from_secs(END + 10));
        let report = world.run().unwrap_or_else(|failure| panic!("{failure}"));
        let events = report.trace().iter().map(|line| *line.event());
        let notes = events.filter(|event| event.kind() == EventKind::Note);
        let notes: Vec<_> = notes.map(|event| event.label()).collect();
        assert_eq!(notes, ["life", "stopped"]);
    }
}
