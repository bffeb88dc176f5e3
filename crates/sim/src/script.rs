//! What is done to a world at given times.

use crate::World;
use crate::current;
use crate::ending::{self, Exit};
use crate::event::Event;
use crate::failure::FailureKind;
use crate::faults::Origin;
use crate::host::Signal;
use crate::link::nanos;
use crate::machine::{Life, WallClock};
use crate::setup::SetupError;
use crate::state::State;
use crate::trace::EventKind;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// One act of a script.
#[derive(Clone)]
pub(crate) struct Act {
    pub(crate) at: u64,
    act: Rc<dyn Fn(&mut World)>,
}

impl Act {
    pub(crate) fn new(at: u64, act: impl Fn(&mut World) + 'static) -> Act {
        let act = Rc::new(act);
        Act { at, act }
    }

    /// Does it to the world that turns on this thread, whose state is free.
    pub(crate) fn run(&self) {
        act(|world| (self.act)(world));
    }
}

/// Does something to the world that turns on this thread, whose state is free.
pub(crate) fn act(act: impl FnOnce(&mut World)) {
    if let Some(mut world) = current::shared().map(World::borrowed) {
        act(&mut world);
    }
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Act").field("at", &self.at).finish()
    }
}

/// How a host ends that does not end by itself; see [`World::crash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Crash {
    /// Its process is killed, as by `SIGKILL`, and the kernel cleans up: peers read the end, or a reset
    /// where something was unread. Tasks are dropped where they are, but what their destructors do has
    /// no effect: a killed process runs none. Paths of Unix sockets stay.
    Kill,
    /// Its power is cut, with all it has: what its destructors do has no effect any more. Peers hear
    /// nothing until, by themselves, they give up; after a [restart](World::restart) they are reset
    /// when they send.
    PowerLoss,
}

/// Acts on hosts and clients, each by its name.
///
/// A name that no host has, and a value that makes no sense, fail the run with
/// [`FailureKind::Setup`](crate::FailureKind::Setup); nothing else happens then.
impl World {
    /// Does something to the world when it is `time` old, as
    /// [`Builder::at`](crate::Builder::at) does. A time that is over fails the run with
    /// [`FailureKind::Setup`](crate::FailureKind::Setup).
    pub fn at(&mut self, time: Duration, act: impl Fn(&mut World) + 'static) {
        self.act(|state| {
            let (at, now) = (nanos(time), state.now);
            if at < now {
                let error = SetupError::InThePast { at, now };
                state.fail(FailureKind::Setup, error.to_string());
                return;
            }
            let event = Event::Act(Act::new(at, act));
            state.events.push(at, 0, event, state.cause);
        });
    }

    /// Acts on the host `name`; where there is none, the run fails and names `by`, which asked.
    pub(crate) fn on_host<R>(
        &mut self,
        by: &str,
        name: &str,
        act: impl FnOnce(&mut State, u32) -> R,
    ) -> Option<R> {
        self.act(|state| match state.host_named(by, name) {
            Ok(host) => Some(act(state, host)),
            Err(error) => {
                state.fail(FailureKind::Setup, error.to_string());
                None
            }
        })
    }

    /// Sends `signal` to the host or client `name`. It is delivered at the present time; a host
    /// that never listened for it ends as if killed, and a client fails the run.
    pub fn signal(&mut self, name: &str, signal: Signal) {
        self.on_host("a signal", name, |state, host| {
            state.send_signal(host, signal);
        });
    }

    /// Ends the host or client `name` from outside, wherever it is; it counts as a crash.
    ///
    /// A client that is ended so is not done: the run goes on as long as an act of the script or
    /// the [heal](crate::Builder::heal_at) may start it again, and fails with
    /// [`ClientError`](crate::FailureKind::ClientError) if it is not and all others are done; but
    /// see [`Builder::client_may_crash`](crate::Builder::client_may_crash).
    pub fn crash(&mut self, name: &str, crash: Crash) {
        if let Some(host) = self.on_host("a crash", name, |_, host| host) {
            self.crash_host(host, crash);
            // Also if a drawn fault was faster and would have started it again.
            self.act(|state| state.machines[host as usize].kept_down = true);
        }
    }

    /// Whether the host was running.
    pub(crate) fn crash_host(&mut self, host: u32, crash: Crash) -> bool {
        let running = self.act(|state| {
            state.break_off(host);
            let machine = &mut state.machines[host as usize];
            let running = machine.life.is_alive();
            machine.crashed |= running;
            state.crashes += u64::from(running);
            if crash == Crash::PowerLoss {
                state.cut_power(host);
            }
            running
        });
        if running {
            let why = match crash {
                Crash::Kill => Exit::Kill,
                Crash::PowerLoss => Exit::PowerLoss,
            };
            self.inside(|shared| ending::end_host(shared, host, why));
        }
        running
    }

    /// Starts the host or client `name` again, after ending it if it still runs: its closure is
    /// called once more. Paths of Unix sockets are still there, everything else is new. Once all clients
    /// are done and hosts stop, it starts nobody.
    pub fn restart(&mut self, name: &str) {
        if let Some(host) = self.on_host("a restart", name, |_, host| host) {
            self.restart_host(host);
        }
    }

    pub(crate) fn restart_host(&mut self, host: u32) {
        self.inside(|shared| ending::end_host(shared, host, Exit::Restart));
        self.act(|state| {
            if state.stopping {
                // As one that is told to stop before it can listen.
                return;
            }
            let machine = &mut state.machines[host as usize];
            machine.life = Life::Running;
            machine.off = false;
            machine.crashed = false;
            machine.kept_down = false;
            machine.outcome = None;
            let location = machine.location;
            state.take_up(host);
            if let Some(location) = location {
                state.start_main(host, location);
            }
        });
    }

    /// Sets the wall clock of the host or client `name` to so long after 1970, forward or back.
    /// Only what asks for the time of day sees it: sleeps go by the monotonic clock.
    pub fn set_wall_clock(&mut self, name: &str, to: Duration) {
        self.on_host("a wall clock", name, |state, host| {
            let at = state.machines[host as usize].clock.shows(state.now);
            state.machines[host as usize].wall_clock = WallClock { set_to: to, at };
            state.record(EventKind::Clock, "", u64::from(host), to.as_secs());
        });
    }

    /// Makes the clocks of the host or client `name` go too fast by so many parts per million from
    /// now on, or too slow. What they show does not leap; sleeps that wait end accordingly.
    /// A clock that would not go forward fails the run.
    pub fn set_clock_drift(&mut self, name: &str, parts_per_million: i32) {
        self.on_host("a clock drift", name, |state, host| {
            match check_drift(name, parts_per_million) {
                Ok(()) => state.set_drift(host, parts_per_million),
                Err(error) => state.fail(FailureKind::Setup, error.to_string()),
            }
        });
    }

    /// Makes every poll of the host or client `name` take `factor` times as long, as on a machine that
    /// is slow or busy. Another factor takes the place of this one; 1, or 0, ends it.
    ///
    /// Where drawn faults make the host slow too, the greatest of all factors counts, and each ends by
    /// itself.
    pub fn slow(&mut self, name: &str, factor: u32) {
        self.on_host("slowness", name, |state, host| {
            state.slow(host, factor, Origin::SCRIPT);
        });
    }

    /// Makes the blocking jobs that run on the host or client `name` end so much later. Those that
    /// still wait for a thread are not longer for it.
    pub fn stall_blocking(&mut self, name: &str, by: Duration) {
        self.on_host("a stall", name, |state, host| {
            state.record(EventKind::Fault, "stall", u64::from(host), nanos(by));
            state.stall_jobs(host, nanos(by), u64::MAX);
        });
    }
}

/// Whether the clock of the host `name` goes forward.
pub(crate) fn check_drift(name: &str, parts_per_million: i32) -> Result<(), SetupError> {
    let forward = parts_per_million > -1_000_000;
    let of = || format!("clock drift of the host {name:?}, {parts_per_million} parts per million,");
    forward
        .then_some(())
        .ok_or_else(|| SetupError::no_value(&of()))
}

impl State {
    pub(crate) fn set_drift(&mut self, host: u32, drift: i32) {
        let now = self.now;
        let clock = &mut self.machines[host as usize].clock;
        *clock = clock.at_rate(now, drift);
        let shown = i64::from(drift) as u64;
        self.record(EventKind::Fault, "drift", u64::from(host), shown);
        self.reschedule_timers(host);
    }

    /// Makes a host slow for `origin`; the slowest counts.
    pub(crate) fn slow(&mut self, host: u32, factor: u32, origin: Origin) {
        let slowed = &mut self.machines[host as usize].slowed;
        slowed.end(origin);
        if factor > 1 {
            slowed.begin(origin, factor);
        }
        self.record(EventKind::Fault, "slow", u64::from(host), u64::from(factor));
    }

    /// The names of all hosts, in the order they were added.
    pub(crate) fn host_names(&self) -> impl Iterator<Item = &str> {
        self.machines.iter().map(|machine| &*machine.name)
    }

    pub(crate) fn host_named(&self, by: &str, name: &str) -> Result<u32, SetupError> {
        let mut machines = self.machines.iter();
        let place = machines.position(|machine| *machine.name == *name);
        place
            .map(|host| host as u32)
            .ok_or_else(|| SetupError::unknown(by, name, self.host_names()))
    }
}
