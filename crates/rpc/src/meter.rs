//! What is counted of the calls of one method.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bowline_backend::time::{self, Instant};
use bowline_channel::{WatchReceiver, WatchSender, watch};

use crate::executor::JobEnd;
use crate::sys::{Failures, Latencies, MethodStats};
use crate::{Code, MethodName};

/// One place for each code.
const CODES: usize = 22;
/// Powers of two of a microsecond: the last holds all of half an hour and more.
const BUCKETS: usize = 32;

/// Tells of calls that end, once somebody waits for that.
#[derive(Debug)]
pub(crate) struct Gate {
    closed: AtomicBool,
    ends: (WatchSender<()>, WatchReceiver<()>),
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            closed: AtomicBool::new(false),
            ends: watch(()),
        })
    }

    /// Calls that come from now on see it; every end is told from now on.
    pub(crate) fn close(&self) -> WatchReceiver<()> {
        self.closed.store(true, Ordering::SeqCst);
        self.ends.0.subscribe()
    }

    /// Whether it is closed. Asked after a call was counted: then either it sees that, or whoever closed
    /// it sees the call.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

/// The counters of one method at one broker: a call costs three additions and two looks at the clock.
///
/// Invariants:
/// - C1 a call adds to `arrived` when it comes, to `begun` when its handler may begin, and to one of
///   `latencies` at its end; before that to `unbegun` if it had not begun, and to one of `failures` if it
///   has no reply. So those that wait are `arrived - begun - unbegun`, and those that run `begun` and
///   `unbegun` less all `latencies`.
/// - C2 they are read in the order in which a call adds to them, the last first: no difference is
///   ever less than nothing.
pub(crate) struct Meter {
    name: MethodName,
    gate: Arc<Gate>,
    arrived: AtomicU64,
    begun: AtomicU64,
    unbegun: AtomicU64,
    failures: [AtomicU64; CODES],
    latencies: [AtomicU64; BUCKETS],
}

impl Meter {
    pub(crate) fn new(name: MethodName, gate: Arc<Gate>) -> Self {
        Self {
            name,
            gate,
            arrived: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            unbegun: AtomicU64::new(0),
            failures: [const { AtomicU64::new(0) }; CODES],
            latencies: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    pub(crate) fn name(&self) -> &MethodName {
        &self.name
    }

    pub(crate) fn arrived(&self) {
        add(&self.arrived);
    }

    pub(crate) fn begun(&self) {
        add(&self.begun);
    }

    /// A call that arrived then came to this end, begun or not.
    pub(crate) fn ended(&self, arrived: Instant, begun: bool, end: &JobEnd) {
        if !begun {
            add(&self.unbegun);
        }
        match end {
            JobEnd::Reply(_) => {}
            JobEnd::Application(_) => self.failed(Code::Application),
            JobEnd::Failed { code, .. } => self.failed(*code),
        }
        let took = time::now().saturating_duration_since(arrived);
        add(&self.latencies[bucket(took.as_micros())]);
        if self.gate.is_closed() {
            // There is a receiver: the gate's own.
            let _ = self.gate.ends.0.send(());
        }
    }

    fn failed(&self, code: Code) {
        add(&self.failures[usize::from(code.as_u16())]);
    }

    /// How many of its calls have ended.
    pub(crate) fn over(&self) -> u64 {
        self.latencies.iter().map(get).sum()
    }

    /// How its calls ended, of which so many [had](Self::over) before, and how many did not.
    pub(crate) fn ends(&self, ended: u64) -> Ends {
        // Invariant C2.
        let unbegun = get(&self.unbegun);
        let begun = get(&self.begun);
        let arrived = get(&self.arrived);
        Ends {
            open: arrived.saturating_sub(ended),
            queued: arrived.saturating_sub(begun + unbegun),
            finished: ended.saturating_sub(unbegun),
        }
    }

    /// How many handlers have ended, and about how long all calls together took, from their arrival on.
    pub(crate) fn done(&self) -> (u64, Duration) {
        let micros = self.latencies.iter().zip(0_u32..).map(|(calls, place)| {
            // The middle of what the place is for.
            let each = (3_u64 << place) / 4;
            get(calls).saturating_mul(each)
        });
        let micros = micros.fold(0, u64::saturating_add);
        (
            self.ends(self.over()).finished,
            Duration::from_micros(micros),
        )
    }

    /// A call that was refused before it was a job.
    pub(crate) fn refused(&self, code: Code) {
        self.arrived();
        add(&self.unbegun);
        self.failed(code);
        add(&self.latencies[0]);
    }

    pub(crate) fn read(&self) -> MethodStats {
        // Invariant C2.
        let latencies = self.latencies.each_ref().map(get);
        let failures = self.failures.each_ref().map(get);
        let unbegun = get(&self.unbegun);
        let begun = get(&self.begun);
        let arrived = get(&self.arrived);
        let ended: u64 = latencies.iter().sum();
        let failures = (0..).zip(failures).filter(|(_, calls)| *calls > 0);
        MethodStats {
            method: self.name.to_string(),
            calls: arrived,
            failures: failures
                .filter_map(|(code, calls)| {
                    let code = format!("{:?}", Code::from_number(code)?);
                    Some(Failures { code, calls })
                })
                .collect(),
            running: (begun + unbegun).saturating_sub(ended),
            queued: arrived.saturating_sub(begun + unbegun),
            latencies: Latencies::new(&latencies),
        }
    }
}

/// How calls ended, and how many did not yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) open: u64,
    /// Of those, the ones that have not begun.
    pub(crate) queued: u64,
    /// Those that had begun, and ended.
    pub(crate) finished: u64,
}

impl Ends {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            open: self.open + other.open,
            queued: self.queued + other.queued,
            finished: self.finished + other.finished,
        }
    }
}

/// The first is of what took less than a microsecond, each after it of twice as long.
fn bucket(micros: u128) -> usize {
    let bits = u128::BITS - micros.leading_zeros();
    (bits as usize).min(BUCKETS - 1)
}

fn add(counter: &AtomicU64) {
    // One order for all, for the gate: an addition costs the same.
    counter.fetch_add(1, Ordering::SeqCst);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_took_less_than_its_power_of_two() {
        for (micros, place) in [
            (0, 0),
            (1, 1),
            (2, 2),
            (3, 2),
            (4, 3),
            (1023, 10),
            (1024, 11),
        ] {
            assert_eq!(bucket(micros), place, "{micros} us");
        }
        assert_eq!(bucket(u128::MAX), BUCKETS - 1);
    }
}
