//! What many runs came to.

use crate::builder::Config;
use crate::failure::{Failure, FailureKind};
use crate::report::Report;
use crate::seeds::Until;
use crate::setup::SetupError;
use crate::xxhash::xxh64;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

/// Which [`sometimes!`](crate::sometimes) were reached, and whether one was ever true.
pub(crate) type Sometimes = BTreeMap<&'static str, bool>;

/// The result of many runs of which none failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeedsReport {
    /// How many seeds ran: all, unless [`Seeds::within`](crate::Seeds::within) cut them short.
    pub seeds: u64,
    /// Over all seeds and their trace hashes: equal if and only if every single one is.
    pub trace_hash: u64,
    /// Events of all traces.
    pub events: u64,
    /// Virtual time of all runs together.
    pub virtual_time: Duration,
    /// The ids of [`sometimes!`](crate::sometimes) that were reached; all were true under some seed.
    pub sometimes: BTreeMap<&'static str, bool>,
}

/// A row of seeds that failed.
///
/// Its `Display` is the whole report and ends in the line that runs the lowest failing seed again.
#[derive(Clone)]
pub struct SeedsFailure(Box<Details>);

#[derive(Clone)]
struct Details {
    ran: Range<u64>,
    lowest: Option<Failure>,
    kinds: BTreeMap<FailureKind, u64>,
    never_true: Vec<&'static str>,
}

impl SeedsFailure {
    /// The failure of a row without a seed.
    pub(crate) fn of_none(asked: &Range<u64>) -> SeedsFailure {
        let (first, end) = (asked.start, asked.end);
        let why = SetupError::NoSeeds { first, end }.to_string();
        SeedsFailure(Box::new(Details {
            ran: first..first,
            lowest: Some(Failure::of_setup(&Config::new(first), why)),
            kinds: BTreeMap::from([(FailureKind::Setup, 1)]),
            never_true: Vec::new(),
        }))
    }

    /// The failure of the lowest failing seed; `None` if every run went well, and what failed is a
    /// [`sometimes!`](crate::sometimes).
    pub fn lowest(&self) -> Option<&Failure> {
        self.0.lowest.as_ref()
    }

    /// How many seeds failed, by what went wrong. One, where it was told to
    /// [fail fast](crate::Seeds::fail_fast).
    pub fn kinds(&self) -> &BTreeMap<FailureKind, u64> {
        &self.0.kinds
    }

    /// The [`sometimes!`](crate::sometimes) that were true under none of the seeds. Not asked for
    /// where a run failed: it may have ended before.
    pub fn never_true(&self) -> &[&'static str] {
        &self.0.never_true
    }

    /// The seeds that ran; a range that has no room for the last seed of all.
    pub fn seeds(&self) -> Range<u64> {
        self.0.ran.clone()
    }
}

impl fmt::Display for SeedsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Details { ran, .. } = &*self.0;
        if let (true, Some(failure)) = (ran.is_empty(), &self.0.lowest) {
            // No seed failed, as there is none.
            return write!(f, "simulation failed: {}", failure.message());
        }
        for (kind, count) in &self.0.kinds {
            writeln!(f, "{count} of the seeds {}..{}: {kind}", ran.start, ran.end)?;
        }
        let mut separator = "";
        for id in &self.0.never_true {
            write!(
                f,
                "{separator}simulation failed: sometimes {id:?} was true under none of the seeds {}..{}",
                ran.start, ran.end
            )?;
            separator = "\n";
        }
        if let Some(failure) = &self.0.lowest {
            write!(f, "the lowest is seed {}\n{failure}", failure.seed())?;
        }
        Ok(())
    }
}

impl fmt::Debug for SeedsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for SeedsFailure {}

/// What some of the runs came to.
#[derive(Default)]
pub(crate) struct Tally {
    /// A sum, so that it does not matter in which order the seeds ran.
    hashes: u64,
    events: u64,
    virtual_time: Duration,
    sometimes: Sometimes,
    kinds: BTreeMap<FailureKind, u64>,
    lowest: Option<Failure>,
}

impl Tally {
    pub(crate) fn count(
        &mut self,
        seed: u64,
        result: Result<Report, Failure>,
        sometimes: Sometimes,
    ) {
        self.unite(sometimes);
        match result {
            Ok(report) => {
                self.hashes = self
                    .hashes
                    .wrapping_add(xxh64(&report.trace_hash.to_le_bytes(), seed));
                self.events += report.events;
                self.virtual_time = self.virtual_time.saturating_add(report.virtual_time);
            }
            Err(failure) => {
                *self.kinds.entry(failure.kind().clone()).or_insert(0) += 1;
                self.lower(failure);
            }
        }
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.unite(other.sometimes);
        self.hashes = self.hashes.wrapping_add(other.hashes);
        self.events += other.events;
        self.virtual_time = self.virtual_time.saturating_add(other.virtual_time);
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_insert(0) += count;
        }
        if let Some(failure) = other.lowest {
            self.lower(failure);
        }
    }

    fn unite(&mut self, sometimes: Sometimes) {
        for (id, was_true) in sometimes {
            *self.sometimes.entry(id).or_insert(false) |= was_true;
        }
    }

    fn lower(&mut self, failure: Failure) {
        let known = self.lowest.as_ref().map(Failure::seed);
        if known.is_none_or(|seed| failure.seed() < seed) {
            self.lowest = Some(failure);
        }
    }

    /// The sum of it, once `seeds` seeds have run, of which the first is `first`. With `expected`, and those ids among them,
    /// every `sometimes!` must have been true.
    pub(crate) fn verdict(
        mut self,
        first: u64,
        mut seeds: u64,
        until: Until,
        expected: Option<&[&'static str]>,
    ) -> Result<SeedsReport, SeedsFailure> {
        if let (Until::Failure, Some(lowest)) = (until, &self.lowest) {
            // Which others ran besides depends on the threads.
            seeds = lowest.seed() - first + 1;
            self.kinds = BTreeMap::from([(lowest.kind().clone(), 1)]);
        }
        for &id in expected.unwrap_or_default() {
            self.sometimes.entry(id).or_insert(false);
        }
        let reached = self.sometimes.iter();
        let mut never_true: Vec<_> = reached
            .filter(|(_, was_true)| !**was_true)
            .map(|(id, _)| *id)
            .collect();
        if expected.is_none() || self.lowest.is_some() {
            never_true.clear();
        }
        if self.lowest.is_none() && never_true.is_empty() {
            return Ok(SeedsReport {
                seeds,
                trace_hash: self.hashes,
                events: self.events,
                virtual_time: self.virtual_time,
                sometimes: self.sometimes,
            });
        }
        Err(SeedsFailure(Box::new(Details {
            ran: first..first.saturating_add(seeds),
            lowest: self.lowest,
            kinds: self.kinds,
            never_true,
        })))
    }
}
