//! Each kind of drawn fault does what its name says, and the heal ends it.

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

use bowline_sim::net::{UdpOptions, UdpSocket};
use bowline_sim::{Builder, EventKind, FaultKind, Keep, Sim, host};
use cut::{MS, Notes, SECOND, constant, until};
use datagrams::{bind, recv, send};
use faulty::{HEAL, jobs, longest, noted, under};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

const PULSES: u64 = 1200;
const GAP: u64 = 50 * MS;

/// Of datagrams that left in turn: when they did, in the order in which they arrived, and how long
/// they took.
struct Pulses(Vec<(u64, u64)>);

impl Pulses {
    /// Those that left while there were faults.
    fn meanwhile(&self) -> impl Iterator<Item = &(u64, u64)> {
        self.0.iter().filter(|(left, _)| *left < HEAL * SECOND)
    }

    fn slowest(&self) -> u64 {
        self.meanwhile().map(|pulse| pulse.1).max().unwrap_or(0)
    }

    fn arrived(&self) -> usize {
        self.meanwhile().count()
    }

    /// How many arrived after one that left later.
    fn overtaken(&self) -> usize {
        let pairs = self.0.windows(2);
        pairs.filter(|pair| pair[1].0 < pair[0].0).count()
    }
}

/// Sends datagrams over a link that takes a millisecond, under ten seeds; a while after the heal
/// each arrives, and in time.
fn pulses(kind: FaultKind) -> Vec<Pulses> {
    let run = |seed| {
        let notes = Notes::default();
        let noted = notes.clone();
        let world = Sim::builder()
            .seed(seed)
            .host("sink", move || {
                let notes = noted.clone();
                async move {
                    let socket = bind("0.0.0.0:53")?;
                    loop {
                        let datagram = recv(&socket).await?;
                        let left = <[u8; 8]>::try_from(&datagram.payload[..]);
                        let left = u64::from_le_bytes(left.expect("eight bytes"));
                        notes.add(left);
                        notes.add(host::now() - left);
                    }
                    #[allow(unreachable_code, reason = "it names the type of the error")]
                    Ok::<(), io::Error>(())
                }
            })
            .host_must_not_fail("sink")
            .client("source", || async {
                let ip = host::resolve("sink", host::Family::V4).await?[0];
                let socket = UdpSocket::connect((ip, 53).into(), UdpOptions::default())?;
                for number in 1..=PULSES {
                    until(number * GAP).await;
                    send(&socket, &host::now().to_le_bytes()).await?;
                }
                until(PULSES * GAP + SECOND).await;
                Ok::<(), io::Error>(())
            })
            .link("source", "sink", constant(MS));
        under(kind, world).run().expect("nobody fails");
        let notes = notes.take();
        let pulses = Pulses(notes.chunks(2).map(|pair| (pair[0], pair[1])).collect());
        let after = |pulse: &&(u64, u64)| pulse.0 > (HEAL + 10) * SECOND;
        let healed: Vec<_> = pulses.0.iter().filter(after).collect();
        let left: BTreeSet<_> = healed.iter().map(|pulse| pulse.0).collect();
        assert_eq!(left.len(), healed.len(), "none twice");
        assert_eq!(
            left.len() as u64,
            PULSES - (HEAL + 10) * SECOND / GAP,
            "each"
        );
        assert!(healed.iter().all(|pulse| pulse.1 < 2 * MS), "in time");
        pulses
    };
    (0..10).map(run).collect()
}

/// Those of [`pulses`] that left before the heal.
const SENT: usize = (HEAL * SECOND / GAP) as usize - 1;

fn seeds(pulses: &[Pulses], holds: impl Fn(&Pulses) -> bool) -> usize {
    pulses.iter().filter(|pulses| holds(pulses)).count()
}

// SIM87
#[test]
fn links_are_cut_and_mended() {
    for kind in [
        FaultKind::Partition,
        FaultKind::Isolation,
        FaultKind::OneWay,
        FaultKind::Flapping,
    ] {
        let pulses = pulses(kind);
        // Some are lost under most seeds, and most of them are not.
        let some_lost = |pulses: &Pulses| (1..SENT).contains(&pulses.arrived());
        assert!(seeds(&pulses, some_lost) >= 6, "{kind:?}");
        assert_eq!(seeds(&pulses, |pulses| pulses.slowest() > 2 * MS), 0);
    }
}

// SIM87
#[test]
fn links_keep_what_is_sent_and_let_it_go() {
    for kind in [FaultKind::Hold, FaultKind::Clog] {
        let pulses = pulses(kind);
        assert_eq!(seeds(&pulses, |pulses| pulses.overtaken() > 0), 0);
        let late = |pulses: &Pulses| pulses.slowest() > 10 * MS;
        assert!(seeds(&pulses, late) >= 8, "{kind:?}");
    }
}

// SIM87
#[test]
fn links_are_slow_for_a_while() {
    let pulses = pulses(FaultKind::Spike);
    let late = |pulses: &Pulses| (3 * MS..20 * SECOND).contains(&pulses.slowest());
    assert!(seeds(&pulses, late) >= 8);
    assert_eq!(seeds(&pulses, |pulses| pulses.arrived() < SENT), 0);
}

// SIM87
#[test]
fn links_lose_for_the_run() {
    let pulses = pulses(FaultKind::Loss);
    assert!(seeds(&pulses, |pulses| pulses.arrived() < SENT) >= 5);
    assert_eq!(seeds(&pulses, |pulses| pulses.slowest() > 2 * MS), 0);
}

// SIM87
#[test]
fn links_shiver_for_the_run() {
    let pulses = pulses(FaultKind::Jitter);
    let late = |pulses: &Pulses| (2 * MS..103 * MS).contains(&pulses.slowest());
    assert!(seeds(&pulses, late) >= 8);
    assert_eq!(seeds(&pulses, |pulses| pulses.arrived() < SENT), 0);
}

// SIM87
#[test]
fn links_double_datagrams_and_let_them_overtake() {
    let pulses = pulses(FaultKind::Datagrams);
    assert!(seeds(&pulses, |pulses| pulses.arrived() > SENT) >= 5);
    let late = |pulses: &Pulses| (2 * MS..53 * MS).contains(&pulses.slowest());
    assert!(seeds(&pulses, late) >= 5);
}

// SIM87
#[test]
fn hosts_are_slow_for_a_while() {
    // How long it takes to be polled again.
    let (slow, plain) = noted(FaultKind::Slow, |notes| async move {
        for step in 1..2000 {
            until(step * 20 * MS).await;
            let before = host::now();
            let mut again = false;
            poll_fn(|cx| match std::mem::replace(&mut again, true) {
                true => Poll::Ready(()),
                false => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            })
            .await;
            notes.add(host::now() - before);
        }
    });
    assert!(longest(&plain) < 1_000);
    let slow = slow.iter().filter(|took| longest(took) > 2_000);
    assert!(slow.count() >= 8);
}

// SIM87
#[test]
fn timers_are_late_for_the_run() {
    let (late, plain) = noted(FaultKind::TimerJitter, |notes| async move {
        for step in 1..200 {
            until(step * 20 * MS).await;
            notes.add(host::now() - step * 20 * MS);
        }
    });
    assert!(longest(&plain) < 1_000);
    let late = late.iter().map(|late| longest(late));
    assert!(
        late.filter(|late| (2_000..MS + 1_000).contains(late))
            .count()
            >= 8
    );
}

// SIM87
#[test]
fn wall_clocks_are_set_back_and_forward() {
    // When the host began, as its wall clock has it.
    let (stepped, plain) = noted(FaultKind::ClockStep, |notes| async move {
        for step in 1..HEAL {
            until(step * SECOND).await;
            notes.add((host::wall_clock() - Duration::from_nanos(host::now())).as_secs());
        }
    });
    assert!(plain.windows(2).all(|pair| pair[0].abs_diff(pair[1]) <= 1));
    let steps = |holds: fn(&[u64]) -> bool| {
        let of = |notes: &&Vec<u64>| notes.windows(2).any(holds);
        stepped.iter().filter(of).count()
    };
    assert!(steps(|pair| pair[1] + 1 < pair[0]) >= 3, "back");
    assert!(steps(|pair| pair[1] > pair[0] + 1) >= 3, "forward");
}

// SIM87
#[test]
fn blocking_jobs_stall() {
    let (late, plain) = noted(FaultKind::StallBlocking, |notes| async move {
        for step in 1..400 {
            until(step * 100 * MS).await;
            jobs(4, &notes).await;
        }
        until((HEAL + 1) * SECOND).await;
    });
    let most = longest(&plain);
    assert!(most < 13 * MS, "{most}");
    // Again and again, and yet every job ends.
    let latest = late.iter().map(|late| longest(late)).max();
    assert!(latest < Some(10 * SECOND + 13 * MS), "{latest:?}");
    let late = late.iter().filter(|late| longest(late) > 20 * MS);
    assert!(late.count() >= 5);
}

// SIM87
#[test]
fn tasks_are_picked_by_another_rule() {
    let spins = || async {
        for _ in 0..3 {
            host::spawn(async {
                for _ in 0..50 {
                    let mut again = false;
                    poll_fn(|cx| match std::mem::replace(&mut again, true) {
                        true => Poll::Ready(()),
                        false => {
                            cx.waker().wake_by_ref();
                            Poll::Pending
                        }
                    })
                    .await;
                }
            });
        }
        until(SECOND).await;
    };
    /// Whom each poll was of while both had tasks to run.
    fn polls(world: Builder) -> Vec<Option<usize>> {
        let report = world.trace(Keep::Full).run().expect("both are done");
        let events = report.trace().iter().map(|line| *line.event());
        let polls = events.filter(|event| event.kind() == EventKind::Poll && event.task() > 1);
        polls.map(|event| event.host()).collect()
    }
    let world = |seed| {
        Sim::builder()
            .seed(seed)
            .client("a", spins)
            .client("b", spins)
    };
    let turns = |polls: &[Option<usize>]| polls.windows(2).filter(|two| two[0] != two[1]).count();
    let (mut in_turn, mut one_first) = (0, 0);
    for seed in 0..20 {
        let plain = polls(world(seed));
        let plain = turns(&plain);
        // By chance it is every second time, more or less.
        assert!((80..230).contains(&plain), "{plain}");
        let picked = polls(under(FaultKind::Scheduling, world(seed)));
        let picked = turns(&picked);
        in_turn += usize::from(picked > 270);
        one_first += usize::from(picked < 40);
    }
    assert!(in_turn > 0 && one_first > 0, "{in_turn} {one_first}");
}
