//! Many worlds, one for each seed, over threads.
//!
//! Invariants
//! 1. Seeds are handed out in order, and one that was handed out is run to its end: what has run is
//!    always the first so many of the range.
//! 2. What is reported depends on the seeds that ran alone, never on which thread ran them or when.

mod outcome;

pub(crate) use outcome::Sometimes;
pub use outcome::{SeedsFailure, SeedsReport};

use crate::builder::{Builder, Config, seed_of_environment};
use crate::current;
use crate::driver::message_of;
use crate::failure::Failure;
use crate::replay::SeedOf;
use crate::sim::Sim;
use crate::world::World;
use outcome::Tally;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// When to begin no more seeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// All have run.
    All,
    /// One has failed.
    Failure,
}

/// A row of seeds to run a world under; made by [`Sim::seeds`].
///
/// Each world runs on one thread from beginning to end; several run at once.
///
/// ```
/// use bowline_sim::{Sim, host, sometimes};
///
/// let report = Sim::seeds(0..50).run(|_| {
///     Sim::builder().client("dice", || async {
///         sometimes!("six", Sim::choose("dice", 1..7) == 6);
///         host::yield_now().await;
///     })
/// })?;
/// assert_eq!(report.seeds, 50);
/// # Ok::<(), bowline_sim::SeedsFailure>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "seeds do nothing until they are run"]
pub struct Seeds {
    asked: Range<u64>,
    first: u64,
    /// How many, as the last seed of all ends no range.
    count: u64,
    seed_of: SeedOf,
    jobs: usize,
    until: Until,
    time: Option<Duration>,
    expected: Vec<&'static str>,
    /// Whether the range is what was asked for, or one seed in its place.
    whole: bool,
}

impl Sim {
    /// A row of seeds, to run a world under each of them.
    pub fn seeds(range: Range<u64>) -> Seeds {
        Seeds {
            first: range.start,
            count: range.end.saturating_sub(range.start),
            asked: range,
            seed_of: SeedOf::Row,
            jobs: thread::available_parallelism().map_or(1, usize::from),
            until: Until::All,
            time: None,
            expected: Vec::new(),
            whole: true,
        }
    }
}

impl Seeds {
    /// Sets how many worlds run at once (default: as many as the machine runs threads). 0 counts
    /// as 1. It changes how long it takes and nothing else.
    pub fn jobs(mut self, jobs: usize) -> Seeds {
        self.jobs = jobs.max(1);
        self
    }

    /// Begins no seed after a failure. The lowest failing seed is still the one that is reported,
    /// but others are not counted.
    pub fn fail_fast(mut self) -> Seeds {
        self.until = Until::Failure;
        self
    }

    /// Begins no seed after `time` outside the worlds. The report says how many there were.
    pub fn within(mut self, time: Duration) -> Seeds {
        self.time = Some(time);
        self
    }

    /// Makes it a failure if the [`sometimes!`](crate::sometimes) `id` was true under no seed,
    /// also if it was never reached: one that is not reached is not known otherwise.
    pub fn expect_sometimes(mut self, id: &'static str) -> Seeds {
        self.expected.push(id);
        self
    }

    /// Runs the seed in the environment variable `BOWLINE_SIM_SEED` in place of all, if it is set:
    /// what the line that a failure prints asks for.
    ///
    /// What is only true over many seeds is not asked of one: no [`sometimes!`](crate::sometimes)
    /// fails it.
    ///
    /// # Panics
    /// If it is set to something else than a number.
    pub fn seed_from_env(mut self) -> Seeds {
        if let Some(seed) = seed_of_environment() {
            (self.first, self.count) = (seed, 1);
            self.whole = false;
        }
        self.seed_of = SeedOf::Environment;
        self
    }

    /// Runs the world that `world` describes under each seed, which is set on the builder it
    /// returns.
    ///
    /// # Errors
    /// [`SeedsFailure`]: under some seed the run failed, of which the lowest is told in full, or a
    /// [`sometimes!`](crate::sometimes) was true under none. A seed whose world makes no sense, or
    /// under which `world` panics, failed with [`FailureKind::Setup`](crate::FailureKind::Setup), and so
    /// did a range without a seed.
    ///
    /// # Panics
    /// Inside a world.
    pub fn run(&self, world: impl Fn(u64) -> Builder + Sync) -> Result<SeedsReport, SeedsFailure> {
        assert!(
            !current::is_running(),
            "seeds are run inside a simulated world; worlds do not nest: use a plain `#[test]` function"
        );
        if self.count == 0 {
            return Err(SeedsFailure::of_none(&self.asked));
        }
        let queue = Queue {
            first: self.first,
            begun: AtomicU64::new(0),
            count: self.count,
            seed_of: self.seed_of,
            stop: AtomicBool::new(false),
            until: self.until,
            deadline: self.time.and_then(|time| Instant::now().checked_add(time)),
        };
        let tally = self.spread(&|| queue.work(&world));
        let ran = queue.begun.into_inner();
        let expected = self.whole.then_some(self.expected.as_slice());
        tally.verdict(self.first, ran, self.until, expected)
    }

    /// Does `work` on so many threads as there are jobs, and adds up what they tell.
    fn spread(&self, work: &(dyn Fn() -> Tally + Sync)) -> Tally {
        let jobs = self
            .jobs
            .min(usize::try_from(self.count).unwrap_or(usize::MAX));
        let results = thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs)
                .map_while(|job| {
                    thread::Builder::new()
                        .name(format!("bowline-sim-{job}"))
                        .spawn_scoped(scope, work)
                        .ok()
                })
                .collect();
            // With fewer threads it takes longer; with none it is done here.
            let here = threads.is_empty().then(work);
            let joined: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
            here.map(Ok).into_iter().chain(joined).collect::<Vec<_>>()
        });
        let mut sum = Tally::default();
        for result in results {
            match result {
                Ok(tally) => sum.add(tally),
                Err(payload) => resume_unwind(payload),
            }
        }
        sum
    }
}

/// The seeds that nobody has begun.
struct Queue {
    first: u64,
    begun: AtomicU64,
    count: u64,
    seed_of: SeedOf,
    stop: AtomicBool,
    until: Until,
    deadline: Option<Instant>,
}

impl Queue {
    fn take(&self) -> Option<u64> {
        let late = || self.deadline.is_some_and(|at| Instant::now() >= at);
        if self.stop.load(Ordering::Relaxed) || late() {
            return None;
        }
        let next = |begun| (begun < self.count).then(|| begun + 1);
        let (order, load) = (Ordering::Relaxed, Ordering::Relaxed);
        let begun = self.begun.fetch_update(order, load, next).ok()?;
        Some(self.first + begun)
    }

    fn work(&self, world: &(impl Fn(u64) -> Builder + Sync)) -> Tally {
        let mut tally = Tally::default();
        while let Some(seed) = self.take() {
            let (result, sometimes) = match self.described(seed, world) {
                Ok(mut world) => (world.conclude(), world.take_sometimes()),
                Err(failure) => (Err(failure), Sometimes::new()),
            };
            let failed = result.is_err();
            tally.count(seed, result, sometimes);
            if failed && self.until == Until::Failure {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
        tally
    }

    /// The world of `seed`. What panics while it is described has to be told with its seed: nobody
    /// else knows it.
    fn described(&self, seed: u64, world: &impl Fn(u64) -> Builder) -> Result<World, Failure> {
        let of = self.seed_of;
        let built = catch_unwind(AssertUnwindSafe(|| {
            world(seed).seed_of(seed, of).try_build()
        }));
        built.unwrap_or_else(|payload| {
            let message = format!("{} while it was described", message_of(&payload));
            let mut config = Config::new(seed);
            config.seed_of = of;
            Err(Failure::of_setup(&config, message))
        })
    }
}
