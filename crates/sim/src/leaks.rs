//! What a host leaves behind when it is done, where worlds look for that.
//!
//! Invariants
//! 1. A host that is done by itself goes on until nothing of it is left; if that takes longer than
//!    the world settles, the run fails and every leftover is named.
//! 2. A host that is ended otherwise, by a crash or by a signal it never listened for, leaves
//!    nothing: the kernel cleans up.

use crate::current::Shared;
use crate::driver::{self, Turn};
use crate::ending::{Exit, end_host};
use crate::event::Event;
use crate::failure::FailureKind;
use crate::host::Signal;
use crate::machine::Life;
use crate::observers;
use crate::state::State;
use crate::tcp::{Kind, Phase};
use crate::unix;
use std::fmt::Write;
use std::time::Duration;

/// Leftovers of one kind that a failure names; the rest is counted.
const NAMED: usize = 20;

/// Asks all hosts to stop, and turns the world until they are done. Drawn faults end before that;
/// acts of the script go on, but start no host any more.
pub(crate) fn stop_hosts(shared: &Shared) {
    let running = shared.act(|state| {
        state.stopping = true;
        state.call_off_faults();
        let by = state.now.saturating_add(state.config.settle);
        state.events.push(by, 0, Event::Unstopped, 0);
        (0..state.machines.len() as u32).collect::<Vec<_>>()
    });
    for host in running {
        let stops = shared.act(|state| {
            state.go_on(host);
            let machine = &state.machines[host as usize];
            let (listens, life) = (machine.handles(Signal::Terminate), machine.life);
            if listens && life == Life::Running {
                state.send_signal(host, Signal::Terminate);
            }
            listens || life == Life::Settling
        });
        if !stops {
            // Nobody listens: the signal ends it, which is no crash at the end of a world.
            end_host(shared, host, Exit::Over);
        }
    }
    let mut alive = 0;
    loop {
        // Almost always it is the one that was found last.
        let found = shared.act(|state| {
            let hosts = &state.machines;
            let is_alive = |host: &usize| hosts.get(*host).is_some_and(|host| host.life.is_alive());
            let found = Some(alive).filter(is_alive);
            found.or_else(|| (0..hosts.len()).find(is_alive))
        });
        match found {
            Some(host) => alive = host,
            None => return,
        }
        let turn = driver::turn(shared, None, u64::MAX);
        observers::look(shared);
        match turn {
            Turn::Failed | Turn::Idle | Turn::MainDone | Turn::MainPanicked(_) => return,
            Turn::Polled | Turn::Fired | Turn::Reached => {}
        }
    }
}

impl State {
    /// The main task of `host` is done: whether the host goes on until nothing of it is left.
    pub(crate) fn settles(&mut self, host: u32) -> bool {
        if !self.config.leak_check || !self.has_leftovers(host) {
            return false;
        }
        let by = self.now.saturating_add(self.config.settle);
        let key = self.events.push(by, 0, Event::Unsettled(host), self.cause);
        let machine = &mut self.machines[host as usize];
        machine.life = Life::Settling;
        machine.unsettled = Some(key);
        self.settling.push(host);
        true
    }

    /// A host that was done and has nothing left.
    pub(crate) fn settled(&mut self) -> Option<u32> {
        let machines = &self.machines;
        self.settling
            .retain(|&host| machines[host as usize].life == Life::Settling);
        let mut settling = self.settling.iter().copied();
        settling.find(|&host| !self.has_leftovers(host))
    }

    fn has_leftovers(&self, host: u32) -> bool {
        let machine = &self.machines[host as usize];
        self.tasks.count_of(host) > 0
            || machine.descriptors() > 0
            || machine.socket_paths().next().is_some()
            || machine.running_jobs + machine.waiting_jobs.len() > 0
            || machine.timers > 0
    }

    /// What the hosts still have that are done, for a report.
    pub(crate) fn unsettled_hosts(&self) -> String {
        let mut left = Vec::new();
        list(&mut left, "hosts", &self.settling, |&host| {
            let name = &self.machines[host as usize].name;
            format!(
                "; the host {name:?} is done but has {}",
                self.leftovers(host)
            )
        });
        left.concat()
    }

    /// A host that was done has had its time.
    pub(crate) fn unsettled(&mut self, host: u32) {
        let machine = &self.machines[host as usize];
        let left = self.leftovers(host);
        let message = format!(
            "{:?} after it was done the host {:?} still has {left}",
            Duration::from_nanos(self.config.settle),
            machine.name,
        );
        self.fail(FailureKind::Leak, message);
    }

    /// The hosts that were asked to stop have had their time.
    pub(crate) fn unstopped(&mut self) {
        let alive = (0..self.machines.len() as u32)
            .filter(|&host| self.machines[host as usize].life.is_alive());
        let mut hosts = Vec::new();
        list(&mut hosts, "hosts", alive, |host| {
            let name = &self.machines[host as usize].name;
            format!("the host {name:?} still has {}", self.leftovers(host))
        });
        let settle = Duration::from_nanos(self.config.settle);
        let message = format!("{settle:?} after SIGTERM {}", hosts.join(", and "));
        self.fail(FailureKind::Leak, message);
    }

    /// What is left of `host`, each with its name and the place it comes from.
    fn leftovers(&self, host: u32) -> String {
        let mut left = Vec::new();
        let mut tasks: Vec<_> = self.tasks.of_host(host).collect();
        tasks.sort_by_key(|task| task.number);
        list(&mut left, "tasks", tasks, |task| {
            format!(
                "the task {} spawned at {}, which waits for {}",
                task.number, task.location, task.waits
            )
        });
        list(
            &mut left,
            "TCP sockets",
            self.net.held_by(host),
            |socket| match &socket.kind {
                Kind::Listener(_) => format!("a TCP listener at {}", socket.local),
                Kind::Stream(stream) if stream.phase == Phase::Connecting => {
                    format!("a TCP connection being made to {}", stream.peer)
                }
                Kind::Stream(stream) => {
                    format!("a TCP connection from {} to {}", socket.local, stream.peer)
                }
            },
        );
        list(&mut left, "UDP sockets", self.udp.of_host(host), |socket| {
            format!("a UDP socket at {}", socket.local)
        });
        let held = self.unix.of_host(host).filter(|socket| socket.held);
        list(&mut left, "Unix sockets", held, |socket| {
            let kind = match socket.kind {
                unix::Kind::Stream(_) => "connection",
                unix::Kind::Listener(_) => "listener",
                unix::Kind::Datagram(_) => "datagram socket",
            };
            format!("a Unix {kind} at {:?}", socket.local)
        });
        let paths = self.machines[host as usize].socket_paths();
        list(&mut left, "paths", paths, |path| {
            format!("the path {} of a Unix socket", path.display())
        });
        list(&mut left, "timers", self.timers.of_host(host), |timer| {
            let task = timer.running.number;
            format!(
                "a timer due at {} ns, armed by the task {task}",
                timer.deadline
            )
        });
        list(&mut left, "blocking jobs", self.jobs.of_host(host), |job| {
            format!("the blocking job submitted at {}", job.location)
        });
        left.join("; ")
    }
}

/// Appends a text for each of `items`, up to some number.
pub(crate) fn list<T>(
    left: &mut Vec<String>,
    kind: &str,
    items: impl IntoIterator<Item = T>,
    mut describe: impl FnMut(T) -> String,
) {
    let mut more = 0;
    let start = left.len();
    for item in items {
        match left.len() - start {
            NAMED.. => more += 1,
            _ => left.push(describe(item)),
        }
    }
    if let Some(last) = left.last_mut().filter(|_| more > 0) {
        let written = write!(last, "; and {more} more {kind}");
        debug_assert!(written.is_ok(), "strings take text");
    }
}
