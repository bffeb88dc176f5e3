//! Rules over the notes of a program.

use crate::checker::{Checker, Violation};
use crate::trace::{EventKind, TraceEvent};
use std::collections::{BTreeMap, BTreeSet};

/// The label and the value of a note.
fn note(event: &TraceEvent) -> Option<(&'static str, u64)> {
    (event.kind() == EventKind::Note).then(|| (event.label(), event.values().0))
}

/// Nothing happens twice: no value is noted twice under a label.
///
/// The program notes what it does by a number that is the thing's own, such as a request's id:
/// `Sim::note("executed", id)`.
#[derive(Clone, Debug)]
pub struct AtMostOnce {
    label: &'static str,
    seen: BTreeMap<u64, u64>,
}

impl AtMostOnce {
    /// The rule over the notes of this label.
    pub fn of(label: &'static str) -> AtMostOnce {
        AtMostOnce {
            label,
            seen: BTreeMap::new(),
        }
    }
}

impl Checker for AtMostOnce {
    fn on_event(&mut self, event: &TraceEvent) -> Result<(), Violation> {
        let Some((label, value)) = note(event) else {
            return Ok(());
        };
        if label != self.label {
            return Ok(());
        }
        match self.seen.insert(value, event.index()) {
            None => Ok(()),
            Some(first) => Err(Violation::new(
                "at most once",
                format!(
                    "{label:?} {value} happened at event {first} and again at event {}",
                    event.index()
                ),
            )),
        }
    }
}

/// Whatever begins ends exactly once: every value noted under one label is noted once under the
/// other, after it, before the run ends.
///
/// The program notes where a call begins, `Sim::note("call", id)`, and where it has an outcome of
/// whatever kind, `Sim::note("outcome", id)`. What a run cuts off has no outcome: clients end when
/// their calls have.
#[derive(Clone, Debug)]
pub struct OneOutcome {
    begin: &'static str,
    outcome: &'static str,
    open: BTreeMap<u64, u64>,
    settled: BTreeSet<u64>,
}

impl OneOutcome {
    const RULE: &'static str = "one outcome";

    /// The rule that what is noted as `begin` is noted as `outcome` once.
    pub fn of(begin: &'static str, outcome: &'static str) -> OneOutcome {
        OneOutcome {
            begin,
            outcome,
            open: BTreeMap::new(),
            settled: BTreeSet::new(),
        }
    }
}

impl Checker for OneOutcome {
    fn on_event(&mut self, event: &TraceEvent) -> Result<(), Violation> {
        let Some((label, value)) = note(event) else {
            return Ok(());
        };
        let at = event.index();
        let broken = if label == self.begin {
            let known = self.settled.contains(&value) || self.open.insert(value, at).is_some();
            known.then(|| format!("{label:?} {value} began again at event {at}"))
        } else if label == self.outcome {
            match self.open.remove(&value) {
                Some(_) => {
                    self.settled.insert(value);
                    None
                }
                None if self.settled.contains(&value) => Some(format!(
                    "{label:?} {value} has a second outcome at event {at}"
                )),
                None => Some(format!("{label:?} {value} at event {at} never began")),
            }
        } else {
            None
        };
        broken.map_or(Ok(()), |message| Err(Violation::new(Self::RULE, message)))
    }

    fn at_end(&mut self) -> Result<(), Violation> {
        let mut open = self.open.iter();
        match open.next() {
            None => Ok(()),
            Some((value, at)) => Err(Violation::new(
                Self::RULE,
                format!(
                    "{:?} {value}, begun at event {at}, has none, as {} others",
                    self.begin,
                    open.len()
                ),
            )),
        }
    }
}

/// Nothing is lost and nothing made of nothing: what is noted under one label adds up to what is
/// noted under the other. Never more comes out than went in, and at the end it is equal.
///
/// The program notes amounts: `Sim::note("sent", bytes)`, `Sim::note("received", bytes)`.
#[derive(Clone, Debug)]
pub struct Conservation {
    into: &'static str,
    out: &'static str,
    /// Beyond 64 bits, so that no sum of notes overflows it.
    went_in: u128,
    came_out: u128,
}

impl Conservation {
    const RULE: &'static str = "conservation";

    /// The rule that what is noted as `into` is noted as `out`.
    pub fn of(into: &'static str, out: &'static str) -> Conservation {
        Conservation {
            into,
            out,
            went_in: 0,
            came_out: 0,
        }
    }

    fn broken(&self, when: &str) -> Result<(), Violation> {
        let Conservation {
            into,
            out,
            went_in,
            came_out,
        } = self;
        let message = format!("{when}: {went_in} {into:?}, {came_out} {out:?}");
        Err(Violation::new(Self::RULE, message))
    }
}

impl Checker for Conservation {
    fn on_event(&mut self, event: &TraceEvent) -> Result<(), Violation> {
        let Some((label, value)) = note(event) else {
            return Ok(());
        };
        if label == self.into {
            self.went_in += u128::from(value);
        } else if label == self.out {
            self.came_out += u128::from(value);
        }
        if self.came_out > self.went_in {
            return self.broken(&format!("at event {}", event.index()));
        }
        Ok(())
    }

    fn at_end(&mut self) -> Result<(), Violation> {
        if self.came_out == self.went_in {
            return Ok(());
        }
        self.broken("at the end")
    }
}
