//! Hosts that are stopped for a while, as a process by `SIGSTOP`.
//!
//! Invariants
//! 1. No code of a paused host runs: its runnable tasks are set aside, its timers, jobs and signals
//!    that come due are put off. Its sockets go on without it, as those of a kernel do.
//! 2. What was put off happens at the resumption, in the order in which it came due.

use crate::World;
use crate::event::{Event, Scheduled};
use crate::state::State;
use crate::trace::EventKind;

impl World {
    /// Stops the host or client `name`, as `SIGSTOP` does: none of its tasks is polled, none of its
    /// timers fires and no signal reaches it until it is [resumed](World::resume). Its kernel goes
    /// on: what peers send is acknowledged until its buffers are full. A host that is paused
    /// already, or that does not run, is left as it is.
    pub fn pause(&mut self, name: &str) {
        self.on_host("a pause", name, |state, host| {
            state.pause(host);
        });
    }

    /// Lets a paused host go on. What came due meanwhile happens now, in its order.
    pub fn resume(&mut self, name: &str) {
        self.on_host("a resumption", name, |state, host| {
            state.resume(host);
        });
    }
}

impl State {
    /// Whether it was running.
    pub(crate) fn pause(&mut self, host: u32) -> bool {
        let running = self.machines[host as usize].life.is_alive();
        let pauses = running && self.tasks.pause(host);
        if pauses {
            self.record(EventKind::Fault, "pause", u64::from(host), 0);
        }
        pauses
    }

    pub(crate) fn resume(&mut self, host: u32) {
        if !self.tasks.resume(host) {
            return;
        }
        self.record(EventKind::Fault, "resume", u64::from(host), 0);
        let put_off = std::mem::take(&mut self.machines[host as usize].put_off);
        for Scheduled { event, cause } in put_off {
            let (timer, job) = match event {
                Event::Timer(slot) => (Some(slot), None),
                Event::Job(slot) => (None, Some(slot)),
                _ => (None, None),
            };
            let key = self.events.push(self.now, 0, event, cause);
            if let Some(timer) = timer.and_then(|slot| self.timers.get_mut(slot)) {
                timer.key = Some(key);
            }
            if let Some(job) = job.and_then(|slot| self.jobs.get_mut(slot)) {
                job.key = Some(key);
            }
        }
    }

    /// Names the hosts that are paused, for a report.
    pub(crate) fn paused_hosts(&self) -> String {
        let hosts = self.tasks.paused();
        let names = hosts.map(|host| &self.machines[host as usize].name);
        names
            .map(|name| format!("; host {name:?} is paused"))
            .collect()
    }

    /// Puts off what may not happen on a paused host; gives back everything else.
    pub(crate) fn put_off(&mut self, scheduled: Scheduled) -> Option<Scheduled> {
        if !self.tasks.any_paused() {
            return Some(scheduled);
        }
        let host = match scheduled.event {
            Event::Timer(slot) => self.timers[slot].running.host,
            Event::Job(slot) => self.jobs[slot].host,
            Event::Signal { host, .. } => host,
            _ => return Some(scheduled),
        };
        if !self.tasks.is_paused(host) {
            return Some(scheduled);
        }
        match scheduled.event {
            Event::Timer(slot) => self.timers[slot].key = None,
            Event::Job(slot) => self.jobs[slot].key = None,
            _ => {}
        }
        self.machines[host as usize].put_off.push(scheduled);
        None
    }
}
