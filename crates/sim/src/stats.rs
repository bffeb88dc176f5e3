//! What a host has at the moment.

use crate::World;
use crate::machine::Life;
use crate::setup::SetupError;

/// What a host or client has at the moment; see [`World::stats`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostStats {
    /// Whether its code runs: it was started and has neither ended nor crashed since.
    pub running: bool,
    /// Whether it is [paused](World::pause).
    pub paused: bool,
    /// How often it ended, by itself or by a crash.
    pub ended: u32,
    /// Tasks alive.
    pub tasks: usize,
    /// Sockets that its program holds.
    pub sockets: usize,
    /// Bytes that its sockets buffer, as [`HostLimits::buffered_bytes`](crate::HostLimits) counts them.
    pub buffered: usize,
    /// Timers that its tasks hold.
    pub timers: usize,
    /// Blocking jobs that run or wait for a thread.
    pub jobs: usize,
}

impl World {
    /// What the host or client `name` has at the moment.
    ///
    /// # Errors
    /// [`SetupError::UnknownHost`] if there is no such host. The run goes on.
    pub fn stats(&self, name: &str) -> Result<HostStats, SetupError> {
        self.act(|state| {
            let host = state.host_named("a look at the statistics", name)?;
            let machine = &state.machines[host as usize];
            Ok(HostStats {
                running: matches!(machine.life, Life::Running | Life::Settling),
                paused: state.tasks.is_paused(host),
                ended: machine.incarnation,
                tasks: state.tasks.count_of(host),
                sockets: machine.descriptors(),
                buffered: machine.buffered_in_all(),
                timers: machine.timers,
                jobs: machine.running_jobs + machine.waiting_jobs.len(),
            })
        })
    }
}
