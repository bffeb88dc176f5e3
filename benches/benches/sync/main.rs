//! The sync primitives against those of tokio and async-lock, free and contended, in alternating
//! rounds of one run on one thread.

mod rivals;

use rivals::{AsyncLock, Bowline, Rival, Tokio};
use std::time::Instant;

const ROUNDS: usize = 200;
/// Operations of one task in one round: a few milliseconds, which a busy machine now and then
/// leaves alone.
const OPERATIONS: usize = 5_000;
/// Tasks that want the same thing.
const TASKS: usize = 4;

/// What is measured, and how.
const CASES: [(&str, Case); 7] = [
    ("lock, free", Case::LockFree),
    ("lock, 4 tasks", Case::LockContended),
    ("barging lock, free", Case::BargingFree),
    ("barging lock, 4 tasks", Case::BargingContended),
    ("semaphore, free", Case::SemaphoreFree),
    ("semaphore of 2, 4 tasks", Case::SemaphoreContended),
    ("event, one wakes the other", Case::Event),
];

#[derive(Copy, Clone)]
pub(crate) enum Case {
    LockFree,
    LockContended,
    BargingFree,
    BargingContended,
    SemaphoreFree,
    SemaphoreContended,
    Event,
}

fn main() {
    // One case of ours alone, for a profiler.
    if let [_, flag, only] = &std::env::args().collect::<Vec<_>>()[..]
        && flag == "--only"
    {
        for (_, case) in CASES.iter().filter(|(name, _)| name == only) {
            let rounds = (0..100).map(|_| measure::<Bowline>(*case));
            println!("{only}: {:.1} ns", rounds.fold(f64::MAX, f64::min));
        }
        return;
    }
    println!("<!-- bench:sync -->");
    println!(
        "| ns per operation | tokio | async-lock | bowline | bowline / tokio | bowline / async-lock |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, case) in CASES {
        // The shortest round of each: a busy machine makes rounds longer, never shorter.
        let mut best = [f64::MAX; 3];
        for _ in 0..ROUNDS {
            best[0] = best[0].min(measure::<Tokio>(case));
            best[1] = best[1].min(measure::<AsyncLock>(case));
            best[2] = best[2].min(measure::<Bowline>(case));
        }
        let [tokio, async_lock, bowline] = best;
        println!(
            "| {name} | {tokio:.0} | {async_lock:.0} | {bowline:.0} | {:.2} | {:.2} |",
            bowline / tokio,
            bowline / async_lock,
        );
    }
    println!("<!-- /bench:sync -->");
}

/// Nanoseconds per operation.
fn measure<R: Rival>(case: Case) -> f64 {
    let tasks = match case {
        Case::LockFree | Case::BargingFree | Case::SemaphoreFree => 1,
        Case::LockContended | Case::BargingContended | Case::SemaphoreContended => TASKS,
        Case::Event => 2,
    };
    let start = Instant::now();
    R::run(case, tasks, OPERATIONS);
    start.elapsed().as_nanos() as f64 / (tasks * OPERATIONS) as f64
}
