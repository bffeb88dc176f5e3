//! What a run that went well tells.

use crate::choices::Choices;
use crate::failure::HostCrash;
use crate::trace::TraceLine;
use std::collections::BTreeMap;
use std::time::Duration;

/// The result of a finished run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// XXH64 over all events: equal for equal runs.
    pub trace_hash: u64,
    /// Events of the trace.
    pub events: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Virtual time the run took.
    pub virtual_time: Duration,
    /// Payload bytes that arrived at sockets.
    pub bytes: u64,
    /// Datagrams that arrived at sockets.
    pub datagrams: u64,
    /// Packets that links lost.
    pub lost: u64,
    /// Hosts that ended by an error or a panic.
    pub crashes: u64,
    /// The first of them that did so by themselves, at most 20, and with what.
    pub crashed_hosts: Vec<HostCrash>,
    /// How often faults of each [kind](crate::FaultKind) struck that were asked for by
    /// [`Builder::faults`](crate::Builder::faults).
    pub faults_by_kind: BTreeMap<&'static str, u64>,
    /// The ids of [`sometimes!`](crate::sometimes) that were reached, and whether they were ever
    /// true.
    pub sometimes: BTreeMap<&'static str, bool>,
    /// How often each [`Sim::site`](crate::Sim::site) that was reached said yes.
    pub sites: BTreeMap<&'static str, u64>,
    /// Most tasks alive at once.
    pub peak_tasks: usize,
    /// Most bytes that the sockets of all hosts buffered at once, as
    /// [`HostLimits::buffered_bytes`](crate::HostLimits) counts them.
    pub peak_buffered: usize,
    /// Choices made.
    pub choices_used: u64,
    pub(crate) choices: Choices,
    pub(crate) checkpoints: Vec<u64>,
    pub(crate) trace: Vec<TraceLine>,
}

impl Report {
    /// The choices made, as far as [`Builder::record_choices`](crate::Builder::record_choices)
    /// asked.
    pub fn choices(&self) -> &Choices {
        &self.choices
    }

    /// The hash of the trace after every so many events, as
    /// [`Builder::checkpoint_every`](crate::Builder::checkpoint_every) asked.
    pub fn checkpoints(&self) -> &[u64] {
        &self.checkpoints
    }

    /// The events kept, oldest first.
    pub fn trace(&self) -> &[TraceLine] {
        &self.trace
    }
}
