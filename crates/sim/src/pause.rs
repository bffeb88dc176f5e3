//! Hosts that are stopped for a while, as a process by `SIGSTOP`.
//!
//! Invariants
//! 1. No code of a paused host runs: its runnable tasks are set aside, its timers, jobs and signals
//!    that come due are put off. Its sockets go on without it, as those of a kernel do.
//! 2. A host is paused as long as any of those who paused it has not ended that.
//! 3. What was put off happens at the resumption, in the order in which it came due.

use crate::World;
use crate::event::{Event, Scheduled};
use crate::faults::Origin;
use crate::leaks::list;
use crate::state::State;
use crate::trace::EventKind;

impl World {
    /// Stops the host or client `name`, as `SIGSTOP` does: none of its tasks is polled, none of its
    /// timers fires and no signal reaches it until it is [resumed](World::resume). Its kernel goes
    /// on: what peers send is acknowledged until its buffers are full. A host that is paused
    /// already, or that does not run, is left as it is.
    pub fn pause(&mut self, name: &str) {
        self.on_host("a pause", name, |state, host| {
            state.pause(host, Origin::SCRIPT);
        });
    }

    /// Lets a paused host go on, unless a drawn fault paused it too. What came due meanwhile
    /// happens now, in its order.
    pub fn resume(&mut self, name: &str) {
        self.on_host("a resumption", name, |state, host| {
            state.resume(host, Origin::SCRIPT);
        });
    }
}

impl State {
    /// Pauses a host for `origin`; whether it is alive and was not paused for it before.
    pub(crate) fn pause(&mut self, host: u32, origin: Origin) -> bool {
        let machine = &mut self.machines[host as usize];
        if !machine.life.is_alive() || machine.paused.has(origin) {
            return false;
        }
        machine.paused.begin(origin, ());
        if self.tasks.pause(host) {
            self.record(EventKind::Fault, "pause", u64::from(host), 0);
        }
        true
    }

    /// Ends the pause of `origin`; the host goes on if it was the last one.
    pub(crate) fn resume(&mut self, host: u32, origin: Origin) {
        let paused = &mut self.machines[host as usize].paused;
        if paused.end(origin) && paused.is_empty() {
            self.go_on(host);
        }
    }

    /// Lets a host go on, whoever paused it.
    pub(crate) fn go_on(&mut self, host: u32) {
        self.machines[host as usize].paused.end_all();
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
        let mut paused = Vec::new();
        list(&mut paused, "hosts", self.tasks.paused(), |host| {
            format!("; host {:?} is paused", self.machines[host as usize].name)
        });
        paused.concat()
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
