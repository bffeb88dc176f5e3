//! One script on the kernel and in worlds, and whether the two agree.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bowline::sim;
use bowline_backend::Backend;
use bowline_backend::task::{RunOptions, Threads};

use super::generate::generate;
use super::liberties::Row;
use super::names::Grounds;
use super::outcome::Outcome;
use super::quiet::Pinned;
use super::run::run;
use super::script::Script;
use super::shrink::shrink;
use crate::temp_dir::TempDir;

/// What each operation of a script did, in one run.
type Outcomes = Vec<Outcome>;

/// Worlds that run a script at first, without races and with.
const WORLDS: u64 = 6;
const RACING_WORLDS: u64 = 40;
/// Worlds at most, to find what the kernel showed.
const MOST_WORLDS: u64 = 600;
/// Runs on the kernel of a script with races.
const RACING_RUNS: u32 = 6;
/// Runs on the kernel before what a world alone shows is one that the kernel does not.
const MOST_RUNS: u32 = 40;
/// Runs on the kernel until one has its ports to itself: far more than it takes where nine of ten are
/// taken.
const MOST_SHARED: u32 = 300;
/// Until an operation that ends in every world is said to wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// A script on which kernel and worlds do not agree.
#[derive(Debug)]
pub struct Divergence {
    /// The seed of the script, unless it was written by hand.
    pub seed: Option<u64>,
    /// The script, as short as it could be made.
    pub script: Script,
    found: Found,
}

#[derive(Debug)]
struct Found {
    /// Which of them showed what the other one does not.
    by: &'static str,
    alone: Outcomes,
    others: Vec<Outcomes>,
}

/// What rows of seeds showed.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Scripts that were run.
    pub scripts: u64,
    /// Operations in them that were done.
    pub operations: u64,
    /// Runs of worlds.
    pub worlds: u64,
    /// Outcomes of worlds that the kernel does not show, and a row of the reality table allows.
    pub allowed: u64,
    /// Outcomes of the kernel that did not come again: somebody else had the port.
    pub unrepeated: u64,
}

/// Why a row of seeds proves nothing.
#[derive(Debug)]
pub enum SeedsError {
    /// There is no seed in it.
    Empty(Range<u64>),
    /// Kernel and worlds do not agree.
    Diverged(Box<Divergence>),
}

impl fmt::Display for SeedsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeedsError::Empty(seeds) => {
                write!(f, "the range of seeds {seeds:?} is empty, so nothing runs")
            }
            SeedsError::Diverged(divergence) => divergence.fmt(f),
        }
    }
}

impl std::error::Error for SeedsError {}

/// Runs the scripts of `seeds`, and gives the first on which kernel and worlds do not agree.
///
/// # Errors
///
/// That one, made as short as it still does; or there is none.
///
/// # Panics
///
/// Where this system has no loopback, or this thread cannot be kept on a processor.
pub fn check_seeds(seeds: Range<u64>) -> Result<Tally, SeedsError> {
    if seeds.is_empty() {
        return Err(SeedsError::Empty(seeds));
    }
    let mut tally = Tally::default();
    for seed in seeds {
        let script = generate(seed);
        if let Err(found) = compare(&script, seed, PATIENCE, &mut tally) {
            let (script, found) = shrink(script, found, |script| {
                let patience = Duration::from_millis(500);
                compare(script, seed, patience, &mut Tally::default()).err()
            });
            return Err(SeedsError::Diverged(Box::new(Divergence {
                seed: Some(seed),
                script,
                found,
            })));
        }
    }
    Ok(tally)
}

/// Runs one script.
///
/// # Errors
///
/// Kernel and worlds do not agree.
///
/// # Panics
///
/// As [`check_seeds`].
pub fn check(script: &Script) -> Result<Tally, Box<Divergence>> {
    let mut tally = Tally::default();
    compare(script, 0, PATIENCE, &mut tally).map_err(|found| Divergence {
        seed: None,
        script: script.clone(),
        found,
    })?;
    Ok(tally)
}

fn compare(script: &Script, seed: u64, patience: Duration, tally: &mut Tally) -> Result<(), Found> {
    let races = script.has_races();
    let mut worlds = Worlds::default();
    worlds.run(script, if races { RACING_WORLDS } else { WORLDS });
    let seen = worlds.by_operation();

    // Two adapters over the kernel, in turn: one tries first, the other one waits to be told.
    let mut turn = seed;
    let mut on_kernel = || {
        let backend = match turn % 2 {
            0 => Backend::Tokio,
            _ => Backend::Smol,
        };
        turn = turn.wrapping_add(u64::from(races));
        kernel(script, backend, patience, &seen)
    };
    let mut shown = BTreeSet::new();
    for _ in 0..if races { RACING_RUNS } else { 1 } {
        shown.insert(on_kernel());
    }
    let unreached = |worlds: &mut Worlds, shown: &BTreeSet<Outcomes>| {
        let missing: Vec<_> = shown
            .iter()
            .filter(|one| !worlds.reach(script, one))
            .collect();
        missing.first().map(|one| (*one).clone())
    };
    if let Some(alone) = unreached(&mut worlds, &shown) {
        // A port that somebody else took in between would be a reason, and no other run has it.
        let mut again = 0..if races { MOST_RUNS } else { 3 };
        if again.any(|_| on_kernel() == alone) {
            let others = worlds.shown.into_iter().collect();
            return Err(Found {
                by: "the kernel",
                alone,
                others,
            });
        }
        tally.unrepeated += 1;
        shown.remove(&alone);
        shown.insert(on_kernel());
    }

    let operations: Vec<_> = script.operations().collect();
    let mut runs = 1;
    for one in &worlds.shown {
        while !shown.contains(one) {
            if Row::allows(&operations, one, &shown) {
                tally.allowed += 1;
                break;
            }
            if runs >= MOST_RUNS {
                return Err(Found {
                    by: "a world",
                    alone: one.clone(),
                    others: shown.into_iter().collect(),
                });
            }
            runs += 1;
            let more = on_kernel();
            if worlds.shown.contains(&more) {
                shown.insert(more);
            }
        }
    }
    tally.scripts += 1;
    tally.operations += operations.len() as u64;
    tally.worlds += worlds.next;
    Ok(())
}

/// What worlds showed of a script, from the first seed on.
#[derive(Debug, Default)]
struct Worlds {
    shown: BTreeSet<Outcomes>,
    next: u64,
}

impl Worlds {
    fn run(&mut self, script: &Script, worlds: u64) {
        for seed in self.next..self.next + worlds {
            let grounds = Grounds {
                own: Ipv4Addr::new(127, 64, 0, 1),
                dir: PathBuf::from("/script"),
                prefix: "script".to_owned(),
                most: Duration::ZERO,
                shared: Arc::default(),
            };
            let outcomes = sim::block_on(seed, run(script, &grounds, &[]));
            self.shown.insert(outcomes);
        }
        self.next += worlds;
    }

    /// Whether some world shows `outcomes`.
    fn reach(&mut self, script: &Script, outcomes: &Outcomes) -> bool {
        while !self.shown.contains(outcomes) {
            if self.next >= MOST_WORLDS {
                return false;
            }
            self.run(script, 20);
        }
        true
    }

    /// What each operation did.
    fn by_operation(&self) -> Vec<Vec<Outcome>> {
        let mut seen: Vec<BTreeSet<Outcome>> = Vec::new();
        for outcomes in &self.shown {
            seen.resize(outcomes.len(), BTreeSet::new());
            for (seen, outcome) in seen.iter_mut().zip(outcomes) {
                seen.insert(outcome.clone());
            }
        }
        seen.into_iter()
            .map(|seen| seen.into_iter().collect())
            .collect()
    }
}

/// Runs `script` on the loopback of this system, at an address that no other run has, and again
/// where a port was not its own.
fn kernel(
    script: &Script,
    backend: Backend,
    patience: Duration,
    seen: &[Vec<Outcome>],
) -> Outcomes {
    for _ in 0..MOST_SHARED {
        let dir = TempDir::new();
        let grounds = grounds(&dir, patience);
        let _pinned = Pinned::here().expect("a thread may stay where it is");
        let options = RunOptions::default().threads(Threads::One);
        let outcomes = backend.block_on_with(options, run(script, &grounds, seen));
        if !grounds.shared.load(Ordering::Relaxed) {
            return outcomes;
        }
    }
    panic!("in {MOST_SHARED} runs somebody else had a port of the script");
}

fn grounds(dir: &TempDir, most: Duration) -> Grounds {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let [_, high, middle, low] = std::process::id()
        .wrapping_mul(7_919)
        .wrapping_add(number)
        .to_be_bytes();
    Grounds {
        // None of 127.0.0.1, which programs use, and of the network's first and last.
        own: Ipv4Addr::new(127, 64 | (high & 63), middle, low),
        dir: dir.path().to_owned(),
        prefix: format!("bowline-script-{}-{number}", std::process::id()),
        most,
        shared: Arc::default(),
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} scripts of {} operations agree with {} worlds; {} outcomes of worlds are allowed by \
             the reality table alone, {} of the kernel came once and never again",
            self.scripts, self.operations, self.worlds, self.allowed, self.unrepeated
        )
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Found { by, alone, others } = &self.found;
        match self.seed {
            Some(seed) => writeln!(f, "the script of seed {seed}, made short:")?,
            None => writeln!(f, "the script:")?,
        }
        writeln!(f, "{:?}", self.script)?;
        writeln!(f, "{by} alone shows the left, and never one of the right:")?;
        for (number, op) in self.script.operations().enumerate() {
            let others: BTreeSet<_> = others
                .iter()
                .filter_map(|other| other.get(number))
                .map(ToString::to_string)
                .collect();
            let others: Vec<_> = others.into_iter().collect();
            let alone = alone.get(number).map(ToString::to_string);
            let alone = alone.unwrap_or_default();
            let mark = if others.contains(&alone) { ' ' } else { '!' };
            writeln!(
                f,
                "{mark} {:<32} {alone:<32} {}",
                format!("{op:?}"),
                others.join(" | ")
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for Divergence {}
