//! Faults that a world draws, and the world after them.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Sleep};
use bowline_sim::{
    Builder, Choices, Crash, EventKind, FailureKind, FaultKind, Faults, Keep, Sim, TraceEvent,
};
use echo::{accept, dial, listen, read_some, write_all};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

async fn serve() -> io::Result<()> {
    let listener = listen(80)?;
    loop {
        let stream = accept(&listener).await?;
        host::spawn(async move {
            while let Ok(bytes) = read_some(&stream, 512).await {
                if bytes.is_empty() || write_all(&stream, &bytes).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// What a future comes to within some time of this host.
async fn within<T>(span: u64, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut future = pin!(future);
    let mut over = Box::pin(Sleep::new(host::now() + span));
    poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        over.as_mut()
            .poll(cx)
            .map(|()| Err(ErrorKind::TimedOut.into()))
    })
    .await
}

async fn call(number: u64) -> io::Result<()> {
    let stream = dial("server", 80).await?;
    let payload = number.to_le_bytes();
    write_all(&stream, &payload).await?;
    let mut echoed = Vec::new();
    while echoed.len() < payload.len() {
        let part = read_some(&stream, 512).await?;
        if part.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        echoed.extend(part);
    }
    assert_eq!(echoed, payload, "nothing but the bytes that were sent");
    Ok(())
}

/// Calls again and again, each call until it is answered.
async fn persist() {
    for number in 0..30 {
        while within(5 * SECOND, call(number)).await.is_err() {
            Sleep::new(host::now() + SECOND / 10).await;
        }
        let job = Box::new(move || Sim::note("job", number));
        host::spawn_blocking(job);
        Sleep::new(host::now() + SECOND / 2).await;
    }
}

/// A server and two clients that do not give up.
fn stubborn() -> Builder {
    Sim::builder()
        .host("server", serve)
        .client("a", persist)
        .client("b", persist)
        .horizon(Duration::from_secs(600))
}

fn faults_of(world: &Builder) -> Vec<TraceEvent> {
    let report = world.clone().trace(Keep::Full).run().expect("it settles");
    let lines = report.trace().iter().map(|line| *line.event());
    lines
        .filter(|event| matches!(event.kind(), EventKind::Fault | EventKind::Clock))
        .collect()
}

// SIM87
#[test]
fn what_is_pending_settles_after_the_heal() {
    let world = stubborn()
        .faults(Faults::swarm())
        .heal_at(Duration::from_secs(20));
    let mut struck = BTreeSet::new();
    let mut crashes = 0;
    for seed in 0..60 {
        let report = world.clone().seed(seed).trace(Keep::Tail(100)).run();
        let report = report.expect("it settles");
        struck.extend(report.faults_by_kind.into_keys());
        crashes += report.crashes;
    }
    for kind in FaultKind::ALL {
        assert!(
            struck.contains(kind.name()),
            "{kind:?} is not among {struck:?}"
        );
    }
    assert!(crashes > 20, "only {crashes}");
    world.seed(1).compare().expect("equal seeds, equal runs");
}

// SIM87
#[test]
fn stalled_jobs_end_with_the_heal() {
    // A job takes up to 10 ms; this one is stalled 1 us after it began.
    let world = Sim::builder()
        .client("a", || async {
            Sleep::new(SECOND).await;
            host::spawn_blocking(Box::new(|| Sim::note("job", 0)));
        })
        .at(Duration::from_micros(1_000_001), |world| {
            world.stall_blocking("a", Duration::from_secs(100));
        })
        .trace(Keep::Full);
    let ends = |world: Builder| {
        let report = world.run().expect("it settles");
        let mut jobs = report.trace().iter().map(|line| *line.event());
        let job = jobs.find(|event| event.kind() == EventKind::Job);
        job.expect("it ran").time()
    };
    for seed in 0..10 {
        let stalled = ends(world.clone().seed(seed));
        assert_eq!(stalled / SECOND, 101);
        let healed = world.clone().seed(seed).heal_at(Duration::from_secs(5));
        assert_eq!(ends(healed), 5 * SECOND);
    }
}

// SIM87
#[test]
fn what_never_settles_is_a_horizon() {
    // A client that was heard waits for an answer of a server that knows of nothing any more.
    let world = Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            let stream = accept(&listener).await?;
            read_some(&stream, 100).await?;
            Sleep::new(Sleep::NEVER).await;
            Ok::<(), io::Error>(())
        })
        .client("trusting", || async {
            let stream = dial("server", 80).await?;
            write_all(&stream, b"question").await?;
            assert!(!read_some(&stream, 100).await?.is_empty());
            Ok::<(), io::Error>(())
        })
        .at(Duration::from_secs(1), |world| {
            world.crash("server", Crash::PowerLoss);
        })
        .heal_at(Duration::from_secs(10));
    for (settle, over) in [(None, 130), (Some(7), 17)] {
        let world = match settle {
            None => world.clone(),
            Some(settle) => world.clone().settle(Duration::from_secs(settle)),
        };
        // Something goes on all the time, or nothing could happen any more.
        let world = world.host("busy", || async {
            loop {
                Sleep::new(host::now() + SECOND / 3).await;
            }
            #[allow(unreachable_code, reason = "it names the type")]
            ()
        });
        let failure = world.run().expect_err("it waits for ever");
        assert_eq!(*failure.kind(), FailureKind::Horizon);
        assert_eq!(failure.virtual_time().as_secs(), over);
        let message = failure.message();
        assert!(message.contains("after all faults ended"), "{message}");
        let mut waits = failure.wait_graph().iter();
        assert!(waits.any(|line| line.host() == "trusting"));
    }
}

// SIM87
#[test]
fn the_heal_ends_what_the_script_did() {
    let idle = || async {
        for _ in 0..300 {
            Sim::note("alive", host::now());
            Sleep::new(host::now() + SECOND / 10).await;
        }
    };
    let world = Sim::builder()
        .host("server", serve)
        .client("paused", idle)
        .client("slow", idle)
        .client("drifting", idle)
        .client("cut off", || async {
            while within(SECOND, call(1)).await.is_err() {}
            assert!(host::now() < 2 * SECOND);
            Sleep::new(5 * SECOND).await;
            // The server is down, then up again behind links that are cut.
            while within(SECOND, call(2)).await.is_err() {}
            assert!((10 * SECOND..13 * SECOND).contains(&host::now()));
        })
        .clock_drift("drifting", 10)
        .at(Duration::from_secs(2), |world| {
            world.pause("paused");
            world.slow("slow", 1_000_000);
            world.set_clock_drift("drifting", 500_000);
            world.crash("server", Crash::Kill);
            world.isolate("server");
        })
        .heal_at(Duration::from_secs(10));
    for seed in 0..10 {
        let report = world.clone().seed(seed).trace(Keep::Full).run();
        let report = report.expect("all go on");
        let alive = |name| {
            let lines = report
                .trace()
                .iter()
                .filter(move |line| line.host() == name);
            let notes = lines.filter(|line| line.event().kind() == EventKind::Note);
            notes
                .map(|line| (line.event().time(), line.event().values().0))
                .collect::<Vec<_>>()
        };
        let paused = alive("paused");
        assert!(
            paused
                .iter()
                .all(|note| !(2 * SECOND..10 * SECOND).contains(&note.0))
        );
        let drifting = alive("drifting");
        let (first, last) = (drifting[200], drifting[299]);
        let (own, worlds) = (last.1 - first.1, last.0 - first.0);
        // Ten parts per million again, and the time that polls take.
        assert!(own.abs_diff(worlds) < worlds / 50_000, "{own} in {worlds}");
        assert!(report.virtual_time < Duration::from_secs(60));
        assert_eq!(report.crashes, 1);
    }
}

// SIM87
#[test]
fn hosts_that_failed_are_started_again_at_the_heal() {
    let world = Sim::builder()
        .host("moody", || async {
            Sim::note("start", 0);
            match Sim::now().as_secs() {
                0..5 => Err("not today"),
                _ => {
                    Sleep::new(Sleep::NEVER).await;
                    Ok(())
                }
            }
        })
        .host("done", || async { Sim::note("done", 0) })
        .client("client", || Sleep::new(10 * SECOND))
        .client("killed", || async {
            Sim::note("killed", 0);
            Sleep::new(Sleep::NEVER).await;
        })
        .client_may_crash("killed")
        .at(Duration::from_secs(1), |world| {
            world.crash("killed", Crash::Kill);
        })
        .heal_at(Duration::from_secs(5));
    let report = world
        .trace(Keep::Full)
        .run()
        .expect("the second start is a good one");
    let count = |label| {
        let lines = report.trace().iter().map(|line| line.event());
        let notes = lines.filter(|event| event.kind() == EventKind::Note);
        notes.filter(|event| event.label() == label).count()
    };
    // Whoever was done by itself stays so, and a client that may crash is done by it.
    assert_eq!((count("start"), count("done"), count("killed")), (2, 1, 1));
}

// SIM6, SIM87
#[test]
fn a_run_of_zeros_has_no_faults() {
    let world = stubborn()
        .faults(Faults::swarm())
        .replay(Choices::default())
        .trace(Keep::Full);
    let report = world.run().expect("it is tame");
    assert_eq!(report.faults_by_kind.len(), 0);
    let kinds = report.trace().iter().map(|line| line.event().kind());
    assert_eq!(kinds.filter(|kind| *kind == EventKind::Fault).count(), 0);
}

// SIM4, SIM87
#[test]
fn one_more_kind_changes_no_other() {
    let drifts = |faults: Faults| {
        let world = stubborn().faults(faults).seed(3);
        let mut found = faults_of(&world);
        found.retain(|event| event.label() == "drift");
        found.truncate(5);
        let of = |event: &TraceEvent| (event.time(), event.values());
        found.iter().map(of).collect::<Vec<_>>()
    };
    let alone = drifts(Faults::of([FaultKind::Drift]));
    assert_eq!(alone.len(), 5);
    let more = [FaultKind::Drift, FaultKind::ClockStep, FaultKind::Clog];
    assert_eq!(drifts(Faults::of(more)), alone);
    assert_eq!(drifts(Faults::of(more).without(FaultKind::Drift)), []);
}

// SIM5, SIM87
#[test]
fn faults_are_choices_that_can_be_replayed() {
    let world = stubborn()
        .faults(Faults::swarm())
        .heal_at(Duration::from_secs(20));
    let recorded = world.clone().seed(5).record_choices(10_000_000).run();
    let recorded = recorded.expect("it settles");
    assert!(recorded.choices().is_complete());
    assert!(!recorded.faults_by_kind.is_empty());
    let replayed = world.seed(6).replay(recorded.choices().clone()).run();
    let replayed = replayed.expect("it settles again");
    assert_eq!(replayed.trace_hash, recorded.trace_hash);
    assert_eq!(replayed.faults_by_kind, recorded.faults_by_kind);
}

// SIM87
#[test]
fn a_world_without_faults_is_the_same_as_ever() {
    for seed in 0..10 {
        let plain = echo::world(seed).run().expect("it runs");
        let none = echo::world(seed)
            .faults(Faults::none())
            .run()
            .expect("it runs");
        assert_eq!(plain.trace_hash, none.trace_hash);
    }
}
