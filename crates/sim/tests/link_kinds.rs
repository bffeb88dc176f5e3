//! Kinds of drawn faults that make links worse for the run, until the heal.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/cut.rs"]
mod cut;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::TcpStream;
use bowline_sim::{EventKind, FaultKind, Faults, Keep, Report, Sim, host};
use cut::{MS, Notes, SECOND, constant, seconds, until};
use echo::{accept, dial, listen, read_some, shutdown, write_all};
use std::io;
use std::time::Duration;

const HEAL: u64 = 1_000;
/// Longer than any link remembers that forgets.
const IDLE: u64 = 400 * SECOND;
const SIZE: usize = 500_000;

async fn swallow() -> io::Result<()> {
    let listener = listen(80)?;
    loop {
        let stream = accept(&listener).await?;
        host::spawn(async move {
            while read_some(&stream, 4096)
                .await
                .is_ok_and(|read| !read.is_empty())
            {}
            shutdown(&stream).await.ok();
        });
    }
}

/// A transfer, whose nanoseconds are noted.
async fn transfer(notes: &Notes) -> io::Result<()> {
    let stream = dial("server", 80).await?;
    let start = host::now();
    write_all(&stream, &vec![7; SIZE]).await?;
    shutdown(&stream).await?;
    // The end comes back when all arrived.
    read_some(&stream, 1).await?;
    notes.add(host::now() - start);
    Ok(())
}

/// Whether a stream that was idle for long still carries, noted as 1 or 0.
async fn idle(notes: &Notes, stream: TcpStream) {
    stream.set_user_timeout(Some(Duration::from_secs(10))).ok();
    write_all(&stream, b"before").await.expect("it is new");
    until(host::now() + IDLE).await;
    write_all(&stream, b"after").await.expect("it is buffered");
    shutdown(&stream).await.expect("it is open");
    let carried = read_some(&stream, 1).await.is_ok();
    notes.add(carried.into());
}

/// A transfer and an idle stream before the heal, and the same after it, under ten seeds; what was
/// noted of each, and what the traces say.
fn runs(kind: FaultKind) -> Vec<(Vec<u64>, Report)> {
    let run = |seed| {
        let notes = Notes::default();
        let noted = notes.clone();
        let report = Sim::builder()
            .seed(seed)
            .host("server", swallow)
            .client("caller", move || {
                let notes = noted.clone();
                async move {
                    for start in [SECOND, (HEAL + 1) * SECOND] {
                        until(start).await;
                        transfer(&notes).await?;
                        idle(&notes, dial("server", 80).await?).await;
                    }
                    Ok::<(), io::Error>(())
                }
            })
            .link("caller", "server", constant(MS))
            .faults(Faults::of([kind]))
            .heal_at(seconds(HEAL))
            .settle(seconds(HEAL))
            .trace(Keep::Full)
            .run()
            .expect("nobody fails");
        let notes = notes.take();
        assert!(notes[2] < SECOND / 4, "mended: {notes:?}");
        assert_eq!(notes[3], 1, "mended: {notes:?}");
        (notes, report)
    };
    (0..10).map(run).collect()
}

/// The lengths of segments that arrived, before the heal or after it.
fn lengths(report: &Report, healed: bool) -> impl Iterator<Item = u64> {
    let events = report.trace().iter().map(|line| line.event());
    let data = events.filter(move |event| {
        let is_after = event.time() > HEAL * SECOND;
        event.kind() == EventKind::Segment && event.label() == "data" && is_after == healed
    });
    data.map(|event| event.values().1)
}

// SIM87
#[test]
fn links_carry_little_a_second() {
    for (notes, _) in runs(FaultKind::Bandwidth) {
        // A megabyte a second at best.
        assert!(notes[0] > SECOND * 4 / 10, "{notes:?}");
    }
}

// SIM87
#[test]
fn links_carry_short_packets() {
    for (_, report) in runs(FaultKind::Mtu) {
        assert!(lengths(&report, false).all(|length| length <= 1_240));
        assert_eq!(lengths(&report, true).max(), Some(1_460));
    }
}

// SIM87
#[test]
fn links_lose_in_bursts() {
    let runs = runs(FaultKind::Bursts);
    let longest = |report: &Report| {
        let events = report.trace().iter().map(|line| line.event());
        let fates = events.filter(|event| match event.kind() {
            EventKind::Lost => true,
            EventKind::Segment => event.label() == "data",
            _ => false,
        });
        let (mut longest, mut length) = (0, 0);
        for event in fates {
            length = if event.kind() == EventKind::Lost {
                length + 1
            } else {
                0
            };
            longest = longest.max(length);
        }
        longest
    };
    let lost = runs
        .iter()
        .filter(|(_, report)| longest(report) > 0)
        .count();
    assert!(lost > 5, "{lost} of 10");
}

// SIM87
#[test]
fn links_forget_what_is_idle() {
    for (notes, _) in runs(FaultKind::Forgetting) {
        assert_eq!(notes[1], 0, "{notes:?}");
    }
}
