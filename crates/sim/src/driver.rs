//! Turning a world: one poll or one event at a time.
//!
//! Invariants
//! 1. Futures, jobs and what they own run and are dropped with the world entered, its state free,
//!    and `running` naming their host.
//! 2. An event whose time has come goes before the next poll; time jumps only when no task can run,
//!    and none waits for just that.

mod fire;

use crate::current::Shared;
use crate::ending::{Exit, end_host};
use crate::failure::{FailureKind, HostCrash};
use crate::machine::Role;
use crate::oracle::{self, Scope};
use crate::state::{Running, State};
use crate::task::{Body, TaskKey, Waits};
use crate::trace::EventKind;
use crate::watchdog::Code;
use fire::fire;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Context;
use std::time::Duration;

/// A chain of polls, each woken by the one before, may be so many times as long as polls in a row that
/// nothing interrupts: while other things happen it may be waiting, if busily, for one of them.
const CHAIN: u64 = 4;

pub(crate) type Payload = Box<dyn Any + Send>;

/// Polls the main future of `block_on`; true when it is done.
pub(crate) type MainPoll<'a> = &'a mut dyn FnMut(&mut Context<'_>) -> bool;

pub(crate) enum Turn {
    Polled,
    Fired,
    /// The next event lies beyond the time asked for.
    Reached,
    /// Nothing can run and nothing will happen.
    Idle,
    /// The world failed, now or before.
    Failed,
    MainDone,
    MainPanicked(Payload),
}

enum Next {
    Poll(TaskKey),
    Fire,
    Reached,
    /// One who waited for that was woken.
    AllBlocked,
    /// A host that was done has nothing left.
    Settled(u32),
    Idle,
    Failed,
}

impl State {
    fn next(&mut self, until: u64) -> Next {
        let (cause, streak) = (self.cause, self.streak);
        if let Some(thread) = self.tasks.collect_wakes(self.now, cause, streak) {
            let message = format!("the thread {thread:?} outside the world woke a task");
            self.fail(FailureKind::Nondeterminism, message);
        }
        if !self.settling.is_empty()
            && let Some(host) = self.settled()
        {
            return Next::Settled(host);
        }
        let settled_by = self.plague.settled_by.unwrap_or(u64::MAX);
        let horizon = self.config.horizon.unwrap_or(u64::MAX).min(settled_by);
        // A world without clients has nothing else to end it.
        let endless = !self.has_clients && !self.stopping;
        if self.now >= horizon && self.unfinished() > 0 {
            let mut message = self.unfinished_clients();
            if settled_by == horizon {
                let settle = Duration::from_nanos(self.config.settle);
                message.push_str(&format!(" {settle:?} after all faults ended"));
            }
            message.push_str(&self.unsettled_hosts());
            self.fail(FailureKind::Horizon, message);
        }
        if self.failure.is_some() {
            return Next::Failed;
        }
        if self.now >= horizon && endless {
            return Next::Idle;
        }
        let due = self.events.next_time();
        if due.is_some_and(|time| time <= self.now) {
            return Next::Fire;
        }
        if self.tasks.runnable() > 0 {
            if self.still >= self.config.livelock {
                let message = format!(
                    "{} polls in a row moved no byte and fired no timer",
                    self.still
                );
                self.fail(FailureKind::Livelock, message);
                return Next::Failed;
            }
            let oracle = &mut self.oracle;
            let choose = |count: usize| {
                oracle.choose(oracle::NEXT_TASK, Scope::World, count as u64) as usize
            };
            return match self.tasks.take_runnable(self.now, choose) {
                Some(key) if self.spins(key) => Next::Failed,
                Some(key) => Next::Poll(key),
                None => Next::Idle,
            };
        }
        if self.release_idler() {
            return Next::AllBlocked;
        }
        // Where somebody stops it at a time, what is stuck until then may be helped after it.
        if until == u64::MAX && (due.is_none() || self.only_idles()) {
            return Next::Idle;
        }
        let time = due.unwrap_or(u64::MAX);
        if time.min(until) > horizon && (endless || self.unfinished() > 0) {
            self.now = horizon;
            return self.next(until);
        }
        self.now = time.min(until);
        match time > until {
            true => Next::Reached,
            false => Next::Fire,
        }
    }

    /// Fails the run if the task goes round and round, whatever others do meanwhile.
    fn spins(&mut self, key: TaskKey) -> bool {
        let most = self.config.livelock.saturating_mul(CHAIN);
        let Some(task) = self.tasks.find(key).filter(|task| task.streak >= most) else {
            return false;
        };
        let (host, number, streak) = (task.host as usize, task.number, task.streak);
        let message = format!(
            "{streak} polls, each woken by the one before, moved no byte and waited for no timer; the next \
             is of {}/{number} spawned at {}",
            self.machines[host].name, task.location
        );
        self.fail(FailureKind::Livelock, message);
        true
    }
}

/// Does one thing: polls a task, or lets the next event happen.
pub(crate) fn turn(shared: &Shared, mut main: Option<MainPoll<'_>>, until: u64) -> Turn {
    loop {
        match shared.act(|state| state.next(until)) {
            Next::Poll(key) => {
                if let Some(turn) = poll(shared, key, main.as_mut()) {
                    return turn;
                }
            }
            Next::Fire => {
                fire(shared);
                return Turn::Fired;
            }
            Next::Reached => return Turn::Reached,
            Next::AllBlocked => {}
            Next::Settled(host) => {
                end_host(shared, host, Exit::Done);
                return Turn::Fired;
            }
            Next::Idle => return Turn::Idle,
            Next::Failed => return Turn::Failed,
        }
    }
}

/// Polls a task; `None` if it ended since it was woken.
fn poll(shared: &Shared, key: TaskKey, main: Option<&mut MainPoll<'_>>) -> Option<Turn> {
    let (mut body, waker, code, event) = shared.act(|state| {
        let now = state.now;
        let task = state.tasks.find(key)?;
        task.begin_poll();
        let first = matches!(task.waits, Waits::NotPolled);
        let streak = task.streak + u64::from(!first);
        task.waits = Waits::OwnWaker;
        task.since = now;
        let running = Running {
            host: task.host,
            task: Some(key),
            number: task.number,
        };
        let body = std::mem::replace(&mut task.body, Body::Away);
        let code = Code::Task(task.host, task.number);
        let (waker, cause) = (task.waker.clone(), task.cause);
        state.running = Some(running);
        state.cause = cause;
        state.cause = state.record(EventKind::Poll, "", 0, 0);
        state.polls += 1;
        state.still += u64::from(!first);
        state.streak = streak;
        Some((body, waker, code, state.trace.len()))
    })?;
    let mut context = Context::from_waker(&waker);
    let is_main = matches!(body, Body::Caller);
    let watching = shared.watch(code, event);
    let polled = catch_unwind(AssertUnwindSafe(|| match &mut body {
        Body::Future(future) => future.as_mut().poll(&mut context).is_ready(),
        Body::Caller => main.is_some_and(|main| main(&mut context)),
        Body::Away => false,
    }));
    drop(watching);
    shared.act(|state| {
        let scope = Scope::Host(state.host());
        let cost = 50 + state.oracle.choose(oracle::POLL_COST, scope, 451);
        let cost = cost * u64::from(state.machine().slowness());
        state.now = state.now.saturating_add(cost);
    });
    match polled {
        Ok(false) => shared.act(|state| {
            if let Some(task) = state.tasks.find(key) {
                task.body = body;
            }
            state.running = None;
        }),
        Ok(true) => {
            ended(shared, key, body);
            if is_main {
                return Some(Turn::MainDone);
            }
        }
        Err(payload) if is_main => {
            ended(shared, key, body);
            return Some(Turn::MainPanicked(payload));
        }
        Err(payload) => panicked(shared, key, body, &payload),
    }
    shared.act(|state| {
        if state.still == 0 {
            state.streak = 0;
        }
    });
    Some(Turn::Polled)
}

/// Drops what is left of a task and, if it was its host's main one, ends the host.
fn ended(shared: &Shared, key: TaskKey, body: Body) {
    let watching = shared.watch_now(Code::Destructor(shared.act(|state| state.host())));
    let dropped = drop_quietly(body);
    drop(watching);
    let host = shared.act(|state| {
        state.record(EventKind::End, "", 0, 0);
        let task = state.tasks.remove(key);
        let host = state.host();
        if let Err(payload) = &dropped {
            let text = format!("{} in a destructor", message_of(payload));
            state.host_failed(host, FailureKind::Panic, text);
        }
        state.running = None;
        task.filter(|task| task.root).map(|_| host)
    });
    // The one host of `block_on` is ended by `block_on`, after it dropped the main future.
    let caller = host
        .is_some_and(|host| shared.act(|state| state.machines[host as usize].role == Role::Main));
    if let Some(host) = host.filter(|_| !caller) {
        let outcome = shared.act(|state| state.machines[host as usize].outcome.take());
        let exit = match outcome {
            Some(Ok(())) if shared.act(|state| state.settles(host)) => return,
            Some(Ok(())) => Exit::Done,
            None => Exit::Panic,
            Some(Err(message)) => {
                shared.act(|state| state.host_failed(host, FailureKind::ClientError, message));
                Exit::Error
            }
        };
        end_host(shared, host, exit);
    }
}

fn panicked(shared: &Shared, key: TaskKey, body: Body, payload: &Payload) {
    let (host, location) = shared.act(|state| {
        let host = state.host();
        let location = state.tasks.find(key).map(|task| task.location);
        (host, location)
    });
    let text = message_of(payload);
    let place = location.map_or_else(String::new, |at| format!(" in the task spawned at {at}"));
    let contained = shared.act(|state| {
        let contained = state.machines[host as usize].role == Role::Main;
        if !contained {
            state.host_failed(host, FailureKind::Panic, format!("{text}{place}"));
        }
        contained
    });
    ended(shared, key, body);
    if !contained {
        end_host(shared, host, Exit::Panic);
    }
}

impl State {
    /// Applies the host's policy to an error or panic of it.
    fn host_failed(&mut self, host: u32, kind: FailureKind, message: String) {
        match self.machines[host as usize].role {
            Role::Client | Role::FaithfulHost => {
                let running = self.running;
                self.running.get_or_insert(Running {
                    host,
                    task: None,
                    number: 0,
                });
                self.fail(kind, message);
                self.running = running;
            }
            Role::Host => {
                self.crashes += 1;
                self.note_crash(host, kind, message);
                self.machines[host as usize].crashed = true;
            }
            Role::Main => {}
        }
    }
}

impl State {
    /// Keeps what a host ended with, for who asks why nobody answers.
    fn note_crash(&mut self, host: u32, kind: FailureKind, message: String) {
        const MOST: usize = 20;
        if self.crashed.len() < MOST {
            self.crashed.push(HostCrash {
                host: self.machines[host as usize].name.to_string(),
                at: Duration::from_nanos(self.now),
                kind,
                message,
            });
        }
    }
}

/// The text of a panic, if it has one.
pub(crate) fn message_of(payload: &Payload) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

pub(crate) fn drop_quietly<T>(value: T) -> Result<(), Payload> {
    catch_unwind(AssertUnwindSafe(|| drop(value)))
}
