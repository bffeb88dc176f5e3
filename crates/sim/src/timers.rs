//! Timers: what wakes a task at a time that the clock of its host shows.
//!
//! Invariants
//! 1. A timer with a key has an event under that key. One without fired, was put off or is parked.
//! 2. A slot and a serial name one timer for ever.

use crate::by_host::OfHost;
use crate::event::{Event, EventKey};
use crate::oracle::{self, Scope};
use crate::state::{Running, State};
use std::task::Waker;

pub(crate) struct Timer {
    pub(crate) serial: u64,
    pub(crate) deadline: u64,
    pub(crate) waker: Waker,
    pub(crate) key: Option<EventKey>,
    pub(crate) running: Running,
}

impl OfHost for Timer {
    fn host(&self) -> u32 {
        self.running.host
    }
}

impl State {
    pub(crate) fn arm_timer(&mut self, deadline: u64, waker: &Waker) -> (usize, u64) {
        let serial = self.next_timer;
        self.next_timer += 1;
        let running = self.running.expect("timers belong to a host");
        self.machines[running.host as usize].timers += 1;
        let slot = self.timers.insert(Timer {
            serial,
            deadline,
            waker: waker.clone(),
            key: None,
            running,
        });
        self.schedule_timer(slot);
        (slot, serial)
    }

    /// Gives the timers of `host` anew the time at which its clock reaches them.
    pub(crate) fn reschedule_timers(&mut self, host: u32) {
        for slot in self.timers.slots_of(host) {
            if let Some(key) = self.timers[slot].key.take() {
                self.events.cancel(key);
                self.schedule_timer(slot);
            }
        }
    }

    fn schedule_timer(&mut self, slot: usize) {
        let timer = &self.timers[slot];
        let host = timer.running.host;
        let clock = self.machines[host as usize].clock;
        let deadline = clock.reaches(timer.deadline);
        let jitter = self.plague.timer_jitter.unwrap_or(self.config.timer_jitter);
        let jitter = jitter.saturating_add(1);
        let mut choose = |label, count| self.oracle.choose(label, Scope::Host(host), count);
        let late = choose(oracle::TIMER_JITTER, jitter);
        let tie = choose(oracle::TIMER_TIE, 1 << 16) as u32;
        let time = deadline.saturating_add(late).max(self.now);
        let key = self.events.push(time, tie, Event::Timer(slot), self.cause);
        self.timers[slot].key = Some(key);
    }

    pub(crate) fn timer(&mut self, slot: usize, serial: u64) -> Option<&mut Timer> {
        self.timers
            .get_mut(slot)
            .filter(|timer| timer.serial == serial)
    }

    /// Moves a timer to another deadline.
    pub(crate) fn move_timer(&mut self, slot: usize, serial: u64, deadline: u64) -> bool {
        let Some(timer) = self.timer(slot, serial) else {
            return false;
        };
        timer.deadline = deadline;
        if let Some(key) = timer.key.take() {
            self.events.cancel(key);
        }
        self.schedule_timer(slot);
        true
    }

    /// Keeps a timer and its waker without a time at which it fires.
    pub(crate) fn park_timer(&mut self, slot: usize, serial: u64) -> bool {
        let Some(timer) = self.timer(slot, serial) else {
            return false;
        };
        timer.deadline = u64::MAX;
        if let Some(key) = timer.key.take() {
            self.events.cancel(key);
        }
        true
    }

    pub(crate) fn drop_timer(&mut self, slot: usize, serial: u64) {
        if self.timer(slot, serial).is_some() {
            let timer = self.timers.remove(slot);
            self.machines[timer.running.host as usize].timers -= 1;
            if let Some(key) = timer.key {
                self.events.cancel(key);
            }
            self.dropped.push(timer.waker);
        }
    }

    /// Drops all timers of `host`.
    pub(crate) fn drop_timers(&mut self, host: u32) {
        for slot in self.timers.slots_of(host) {
            self.drop_timer(slot, self.timers[slot].serial);
        }
    }
}
