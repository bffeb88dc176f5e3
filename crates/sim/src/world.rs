//! A world driven by hand.

use crate::checker::Checker;
use crate::current::{self, Shared};
use crate::driver::{self, Turn, message_of};
use crate::ending::{self, Exit};
use crate::failure::{Failure, FailureKind};
use crate::leaks;
use crate::link::nanos;
use crate::observers;
use crate::report::Report;
use crate::seeds::Sometimes;
use crate::state::State;
use crate::trace::TraceLine;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

/// What one step of a world was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// A task was polled.
    Polled,
    /// An event happened: a timer, a segment, a job.
    Fired,
    /// The time asked for was reached before anything else.
    Reached,
    /// All clients are done, nothing is left to happen, or a world without clients is as old as its
    /// [horizon](crate::Builder::horizon).
    Finished,
}

/// A simulated world; made by [`Builder::build`](crate::Builder::build).
///
/// It stays on the thread that made it. However it is driven, equal worlds do the same.
pub struct World {
    shared: Rc<Shared>,
    /// A script's world is ended by its driver.
    owned: bool,
}

impl World {
    pub(crate) fn new(state: State, checkers: Vec<Box<dyn Checker>>) -> World {
        let shared = Shared::new(state);
        shared.observers.check_with(checkers);
        World {
            shared,
            owned: true,
        }
    }

    /// The world as its script sees it.
    pub(crate) fn borrowed(shared: Rc<Shared>) -> World {
        World {
            shared,
            owned: false,
        }
    }

    /// Does what runs code of hosts, with the world entered.
    pub(crate) fn inside(&mut self, act: impl FnOnce(&Shared)) {
        let entered = self.owned.then(|| current::enter(&self.shared));
        act(&self.shared);
        drop(entered);
    }

    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        self.shared.act(act)
    }

    fn turn(&mut self, until: u64) -> Result<Step, Failure> {
        if self.is_over() {
            return Ok(Step::Finished);
        }
        let entered = current::enter(&self.shared);
        let turn = driver::turn(&self.shared, None, until);
        let step = match turn {
            Turn::Polled => Step::Polled,
            Turn::Fired => Step::Fired,
            Turn::Reached => Step::Reached,
            Turn::Idle => {
                let stuck = self.shared.act(|state| {
                    if state.live_clients > 0 {
                        let paused = state.paused_hosts();
                        let clients = state.unfinished_clients();
                        let message = format!("nothing can run and {clients}{paused}");
                        state.fail(FailureKind::Deadlock, message);
                    }
                    state.live_clients > 0
                });
                if stuck { Step::Polled } else { Step::Finished }
            }
            Turn::Failed | Turn::MainDone | Turn::MainPanicked(_) => Step::Polled,
        };
        observers::look(&self.shared);
        drop(entered);
        match self.failure() {
            Some(failure) => Err(failure),
            None if self.is_over() => Ok(Step::Finished),
            None => Ok(step),
        }
    }

    /// Does one thing: polls one task, or lets the next event happen.
    ///
    /// # Errors
    /// The world's [`Failure`], also at later calls.
    ///
    /// # Panics
    /// If a world turns on this thread already.
    pub fn step(&mut self) -> Result<Step, Failure> {
        self.turn(u64::MAX)
    }

    /// Runs for `span` of virtual time: what is due by then has happened. Time goes by also where
    /// nothing happens: clients that are stuck then may be helped by what is done to the world next,
    /// and are a failure to the other ways to drive it alone.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    ///
    /// # Panics
    /// As [`step`](Self::step).
    pub fn run_for(&mut self, span: Duration) -> Result<Step, Failure> {
        let until = self.nanos().saturating_add(nanos(span));
        loop {
            let step = self.turn(until)?;
            if matches!(step, Step::Reached | Step::Finished) {
                return Ok(step);
            }
            if self.nanos() >= until {
                return Ok(Step::Reached);
            }
        }
    }

    /// Runs until `done` holds, asked before each step, or nothing is left to happen.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    ///
    /// # Panics
    /// As [`step`](Self::step).
    pub fn run_until(&mut self, mut done: impl FnMut(&World) -> bool) -> Result<Step, Failure> {
        loop {
            match catch_unwind(AssertUnwindSafe(|| done(self))) {
                Ok(true) => return Ok(Step::Reached),
                Ok(false) => {}
                Err(payload) => {
                    let text = message_of(&payload);
                    let message = format!("{text} in the condition of run_until");
                    self.act(|state| state.fail(FailureKind::Panic, message));
                }
            }
            if self.step()? == Step::Finished {
                return Ok(Step::Finished);
            }
        }
    }

    /// Runs until more than `event` events have happened, as the line that a failure prints asks
    /// for. At its end the world is ended as [`finish`](Self::finish) does, so that failures are
    /// found again that come after the last client is done. Gives the events that were kept, oldest
    /// first.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    ///
    /// # Panics
    /// As [`step`](Self::step).
    pub fn run_past(mut self, event: u64) -> Result<Vec<TraceLine>, Failure> {
        self.go_past(event)?;
        Ok(self.trace())
    }

    /// As [`run_past`](Self::run_past), with the world still there to be asked.
    pub(crate) fn go_past(&mut self, event: u64) -> Result<(), Failure> {
        self.run_until(|world| world.events() > event || world.is_abandoned())?;
        match self.events() > event {
            true => Ok(()),
            false => self.conclude().map(drop),
        }
    }

    /// Runs to the end, ends all hosts and reports.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    ///
    /// # Panics
    /// As [`step`](Self::step).
    pub fn finish(mut self) -> Result<Report, Failure> {
        self.conclude()
    }

    /// As [`finish`](Self::finish), with the world still there to be asked.
    pub(crate) fn conclude(&mut self) -> Result<Report, Failure> {
        self.run_until(World::is_abandoned)?;
        self.act(State::miss_clients);
        if let Some(failure) = self.failure() {
            return Err(failure);
        }
        if self.shared.act(|state| state.config.leak_check) {
            let entered = current::enter(&self.shared);
            leaks::stop_hosts(&self.shared);
            drop(entered);
            if let Some(failure) = self.failure() {
                return Err(failure);
            }
        }
        self.end();
        if self.failure().is_none() {
            let entered = current::enter(&self.shared);
            observers::look_at_end(&self.shared);
            drop(entered);
        }
        match self.failure() {
            Some(failure) => Err(failure),
            None => Ok(self.shared.act(|state| state.report())),
        }
    }

    pub(crate) fn take_sometimes(&mut self) -> Sometimes {
        self.act(|state| std::mem::take(&mut state.sometimes))
    }

    fn end(&mut self) {
        let entered = current::enter(&self.shared);
        let hosts = self.shared.act(|state| state.machines.len() as u32);
        for host in 0..hosts {
            ending::end_host(&self.shared, host, Exit::Over);
        }
        drop(entered);
    }

    /// Acts on the world's one value of type `T`, as [`Sim::ghost`](crate::Sim::ghost) does.
    ///
    /// # Panics
    /// If `act` asks for the value it was given.
    pub fn ghost<T: Default + 'static, R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        self.shared.observers.ghost(act)
    }

    /// Virtual time since the world began.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    fn nanos(&self) -> u64 {
        self.shared.act(|state| state.now)
    }

    /// Events of the trace so far.
    pub fn events(&self) -> u64 {
        self.shared.act(|state| state.trace.len())
    }

    /// Hash of the trace so far.
    pub fn trace_hash(&self) -> u64 {
        self.shared.act(|state| state.trace.digest())
    }

    /// The events kept, oldest first.
    pub fn trace(&self) -> Vec<TraceLine> {
        self.shared
            .act(|state| state.trace.kept().map(|event| state.line(event)).collect())
    }

    /// Whether all clients are done.
    pub fn is_finished(&self) -> bool {
        self.shared
            .act(|state| state.failure.is_none() && state.has_clients && state.unfinished() == 0)
    }

    /// Whether all that run are done, and one that crashed will not run again.
    fn is_abandoned(&self) -> bool {
        self.shared.act(|state| {
            let broken = state.live_clients == 0 && state.broken_clients > 0;
            broken && !state.events.may_revive()
        }) && !self.shared.observers.is_promised()
    }

    /// Whether all clients are done, and all that was to become true has.
    fn is_over(&self) -> bool {
        self.is_finished() && !self.shared.observers.is_promised()
    }

    fn failure(&self) -> Option<Failure> {
        self.shared.act(|state| state.failure.clone())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A world abandoned inside another one cannot turn: what it holds is dropped as it is.
        if self.owned && !current::is_running() {
            self.end();
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now())
            .field("events", &self.events())
            .finish_non_exhaustive()
    }
}
