//! Running a world twice to find what leaks into it.

use crate::builder::Builder;
use crate::trace::TraceLine;
use std::fmt;

/// Events shown before the one that differs.
const CONTEXT: usize = 5;

/// The first event in which two runs of one world differ.
#[derive(Clone, Debug)]
pub struct Difference {
    index: usize,
    first: Vec<TraceLine>,
    second: Vec<TraceLine>,
}

impl Difference {
    /// Index of the first differing event.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The first run's events up to and with the differing one, a few before it.
    pub fn first(&self) -> &[TraceLine] {
        &self.first
    }

    /// The second run's events, likewise.
    pub fn second(&self) -> &[TraceLine] {
        &self.second
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "two runs of one seed differ at event {}", self.index)?;
        for (name, lines) in [("first", &self.first), ("second", &self.second)] {
            writeln!(f, "{name} run:")?;
            for line in lines {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Difference {}

/// The trace of one run, to its end or its failure.
fn trace_of(builder: &Builder) -> Vec<TraceLine> {
    let mut world = builder.build();
    // A failure ends the trace; where it differs, the events before it do or it is their end.
    let _ = world.go_past(u64::MAX);
    world.trace()
}

pub(crate) fn compare(builder: &Builder) -> Result<(), Difference> {
    let first = trace_of(builder);
    let second = trace_of(builder);
    let longest = first.len().max(second.len());
    let Some(index) = (0..longest).find(|&at| first.get(at) != second.get(at)) else {
        return Ok(());
    };
    let context = |lines: &[TraceLine]| {
        let from = index.saturating_sub(CONTEXT).min(lines.len());
        lines[from..lines.len().min(index + 1)].to_vec()
    };
    Err(Difference {
        index,
        first: context(&first),
        second: context(&second),
    })
}
