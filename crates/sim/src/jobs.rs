//! Blocking jobs: closures that run on the world's thread, at a drawn time.
//!
//! Invariants
//! 1. At most `blocking_threads` jobs of a host have a time at which they end; the others wait in
//!    order.

use crate::by_host::OfHost;
use crate::event::{Event, EventKey};
use crate::oracle::{self, Scope};
use crate::state::State;
use std::panic::Location;

/// A blocking job takes 0 to this many nanoseconds.
const JOB_TIME: u64 = 10_000_000;

pub(crate) type JobClosure = Box<dyn FnOnce() + Send>;

pub(crate) struct Job {
    pub(crate) closure: JobClosure,
    pub(crate) host: u32,
    pub(crate) location: &'static Location<'static>,
    pub(crate) key: Option<EventKey>,
    /// By how much it was made to end later.
    stalled: u64,
}

impl OfHost for Job {
    fn host(&self) -> u32 {
        self.host
    }
}

impl State {
    /// Queues a job; gives it back, to be dropped, where the host is ending.
    pub(crate) fn submit_job(
        &mut self,
        closure: JobClosure,
        location: &'static Location<'static>,
    ) -> Option<JobClosure> {
        let host = self.host();
        if !self.machine().life.is_alive() {
            return Some(closure);
        }
        let slot = self.jobs.insert(Job {
            closure,
            host,
            location,
            key: None,
            stalled: 0,
        });
        if self.machine().running_jobs < self.machine().limits.blocking_threads.max(1) {
            self.start_job(slot);
        } else {
            self.machine().waiting_jobs.push_back(slot);
        }
        None
    }

    fn start_job(&mut self, slot: usize) {
        let host = self.jobs[slot].host;
        let time = self
            .oracle
            .choose(oracle::JOB_TIME, Scope::Host(host), JOB_TIME + 1);
        let key = self
            .events
            .push(self.now + time, 0, Event::Job(slot), self.cause);
        self.jobs[slot].key = Some(key);
        self.machines[host as usize].running_jobs += 1;
    }

    /// Starts waiting jobs of `host`, as many as it has threads for.
    pub(crate) fn start_waiting_jobs(&mut self, host: u32) {
        let machine = &mut self.machines[host as usize];
        let threads = machine.limits.blocking_threads.max(1);
        let free = threads.saturating_sub(machine.running_jobs);
        let started = free.min(machine.waiting_jobs.len());
        for slot in machine.waiting_jobs.drain(..started).collect::<Vec<_>>() {
            self.start_job(slot);
        }
    }

    /// Takes a finished job out; the next waiting one takes its thread.
    pub(crate) fn finish_job(&mut self, slot: usize) -> Job {
        let job = self.jobs.remove(slot);
        let machine = &mut self.machines[job.host as usize];
        machine.running_jobs -= 1;
        if let Some(next) = machine.waiting_jobs.pop_front() {
            self.start_job(next);
        }
        job
    }

    /// Lets the running jobs of `host` end `by` later, those but not that were stalled by `most` before.
    pub(crate) fn stall_jobs(&mut self, host: u32, by: u64, most: u64) {
        let slots = self.jobs.slots_of(host).into_iter();
        let mut running: Vec<_> = slots
            .filter_map(|slot| Some((self.jobs[slot].key?, slot)))
            .collect();
        running.sort_unstable();
        for (key, slot) in running {
            let by = by.min(most.saturating_sub(self.jobs[slot].stalled));
            self.events.cancel(key);
            let end = key.time.saturating_add(by);
            let key = self.events.push(end, 0, Event::Job(slot), self.cause);
            self.jobs[slot].key = Some(key);
            self.jobs[slot].stalled = self.jobs[slot].stalled.saturating_add(by);
        }
    }

    /// Lets the jobs of `host` that were stalled end when they would have ended without, or now.
    pub(crate) fn unstall_jobs(&mut self, host: u32) {
        let slots = self.jobs.slots_of(host).into_iter();
        let mut stalled: Vec<_> = slots
            .filter(|&slot| self.jobs[slot].stalled > 0)
            .filter_map(|slot| Some((self.jobs[slot].key?, slot)))
            .collect();
        stalled.sort_unstable();
        for (key, slot) in stalled {
            self.events.cancel(key);
            let by = std::mem::take(&mut self.jobs[slot].stalled);
            let end = key.time.saturating_sub(by).max(self.now);
            let key = self.events.push(end, 0, Event::Job(slot), self.cause);
            self.jobs[slot].key = Some(key);
        }
    }

    /// Takes out all jobs of an ending host, unrun.
    pub(crate) fn take_jobs(&mut self, host: u32) -> Vec<Job> {
        let slots = self.jobs.slots_of(host);
        let mut jobs = Vec::with_capacity(slots.len());
        for slot in slots {
            let job = self.jobs.remove(slot);
            if let Some(key) = job.key {
                self.events.cancel(key);
            }
            jobs.push(job);
        }
        jobs
    }
}
