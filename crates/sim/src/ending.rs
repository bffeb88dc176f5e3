//! The end of a host: its futures dropped, its sockets closed.
//!
//! A host that ends by itself drops its futures first, and what they do then has its effect, as in a
//! process that returns or unwinds. One that is killed runs no code any more: its kernel closes what it
//! had, and only then are its futures dropped, in a void.

use crate::current::Shared;
use crate::driver::drop_quietly;
use crate::machine::{Life, Role};
use crate::state::{Running, State};
use crate::task::Body;
use crate::tcp::Kind;
use crate::trace::EventKind;
use crate::watchdog::Code;

/// Why a host ends: the label of its last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Its main future ended well.
    Done,
    /// Its main future ended with an error.
    Error,
    /// A task or job of it panicked.
    Panic,
    /// By a signal for which it never listened.
    Signal,
    Kill,
    PowerLoss,
    /// It is started anew, and still ran.
    Restart,
    /// The world ends before it does.
    Over,
}

impl Exit {
    /// Whether no code of the host knows of it.
    fn is_a_kill(self) -> bool {
        matches!(self, Exit::Kill | Exit::Signal | Exit::Restart)
    }

    fn label(self) -> &'static str {
        match self {
            Exit::Done => "ended",
            Exit::Error => "failed",
            Exit::Panic => "panicked",
            Exit::Signal => "signalled",
            Exit::Kill => "killed",
            Exit::PowerLoss => "lost power",
            Exit::Restart => "restarted",
            Exit::Over => "world over",
        }
    }
}

/// Ends a host as the kernel ends a process: its futures are dropped, its sockets closed.
pub(crate) fn end_host(shared: &Shared, host: u32, why: Exit) {
    let tasks = shared.act(|state| {
        let machine = &mut state.machines[host as usize];
        match machine.life {
            Life::Running | Life::Settling if why.is_a_kill() => state.kill(host),
            Life::Running | Life::Settling => machine.life = Life::Closing,
            Life::Void => {}
            Life::Closing | Life::Ended => return None,
        }
        Some(state.tasks.keys_of(host))
    });
    let Some(tasks) = tasks else {
        return;
    };
    let watching = shared.watch_now(Code::Destructor(host));
    for key in tasks {
        let body = shared.act(|state| {
            let task = state.tasks.find(key)?;
            let number = task.number;
            let body = std::mem::replace(&mut task.body, Body::Away);
            state.running = Some(Running {
                host,
                task: Some(key),
                number,
            });
            Some(body)
        });
        // What a destructor panics with while its host ends has nobody left to hear it.
        let _ = drop_quietly(body);
        drop(shared.act(|state| state.tasks.remove(key)));
    }
    let (jobs, slots) = shared.act(|state| {
        state.running = Some(Running {
            host,
            task: None,
            number: 0,
        });
        let jobs = state.take_jobs(host);
        let slots = std::mem::take(&mut state.machines[host as usize].slots);
        (jobs, slots)
    });
    for job in jobs {
        let _ = drop_quietly(job.closure);
    }
    for (_, value) in slots {
        let _ = drop_quietly(value);
    }
    drop(watching);
    shared.act(|state| state.sweep(host, why));
}

impl State {
    /// Closes what a host has that is killed: nothing it does from here on has an effect.
    fn kill(&mut self, host: u32) {
        self.machines[host as usize].life = Life::Void;
        self.running = Some(Running {
            host,
            task: None,
            number: 0,
        });
        self.close_all(host);
        self.running = None;
    }

    /// Closes what a host has.
    fn close_all(&mut self, host: u32) {
        for socket in self.net.of_host(host) {
            match self.net.find(socket).map(|found| &found.kind) {
                Some(Kind::Listener(_)) => self.close_listener(socket),
                Some(Kind::Stream(stream)) if !stream.orphan => self.close(socket),
                _ => {}
            }
        }
        for socket in self.udp.refs_of(host) {
            self.close_udp(socket);
        }
        for socket in self.unix.refs_of(host) {
            self.close_unix(socket);
        }
        for listener in self.signals.refs_of(host) {
            self.drop_signal(listener);
        }
        self.drop_timers(host);
    }

    /// Closes what an ending host still has and marks it ended.
    fn sweep(&mut self, host: u32, why: Exit) {
        self.close_all(host);
        let life = u64::from(self.machines[host as usize].incarnation);
        self.record(EventKind::Exit, why.label(), u64::from(host), life);
        self.tasks.resume(host);
        if let Some(key) = self.machines[host as usize].unsettled.take() {
            self.events.cancel(key);
        }
        let machine = &mut self.machines[host as usize];
        machine.reset();
        if machine.role == Role::Client {
            self.live_clients -= 1;
        }
        self.running = None;
    }
}
