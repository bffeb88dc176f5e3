//! The state of a world and the acts that are not the network's.

use crate::builder::Config;
use crate::by_host::ByHost;
use crate::event::EventQueue;
use crate::failure::{Failure, FailureKind, HostCrash, WaitLine};
use crate::faults::Plague;
use crate::host::Idlers;
use crate::jobs::Job;
use crate::leaks::list;
use crate::machine::{Life, Machine, Role};
use crate::names::NameTable;
use crate::oracle::{Label, Oracle, Scope};
use crate::report::Report;
use crate::signals::SignalListener;
use crate::table::Table;
use crate::task::{Birth, Body, BoxedFuture, Task, TaskKey, Tasks, Waits};
use crate::tcp::Net;
use crate::timers::Timer;
use crate::trace::{EventKind, Trace, TraceEvent, TraceLine};
use crate::udp::UdpSocket;
use crate::unix::UnixSocket;
use crate::wire::Way;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

/// Lines of trace shown in a failure.
const FAILURE_TAIL: usize = 40;

/// In whose name code runs: set around polls, jobs and destructors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    pub(crate) host: u32,
    pub(crate) task: Option<TaskKey>,
    /// The task's number on its host; 0 outside tasks.
    pub(crate) number: u32,
}

pub(crate) struct State {
    pub(crate) id: u64,
    pub(crate) config: Config,
    /// Virtual nanoseconds since the world began.
    pub(crate) now: u64,
    pub(crate) oracle: Oracle,
    pub(crate) trace: Trace,
    pub(crate) events: EventQueue,
    pub(crate) tasks: Tasks,
    pub(crate) machines: Vec<Machine>,
    pub(crate) net: Net,
    pub(crate) udp: Table<UdpSocket>,
    pub(crate) names: NameTable,
    pub(crate) unix: Table<UnixSocket>,
    pub(crate) signals: Table<SignalListener>,
    pub(crate) timers: ByHost<Timer>,
    pub(crate) jobs: ByHost<Job>,
    pub(crate) idlers: Idlers,
    pub(crate) running: Option<Running>,
    /// Trace index of the event being handled.
    pub(crate) cause: u64,
    /// The way of the packet that is arriving.
    pub(crate) arriving: Option<Way>,
    pub(crate) failure: Option<Failure>,
    pub(crate) woken: Vec<Waker>,
    pub(crate) dropped: Vec<Waker>,
    pub(crate) polls: u64,
    /// Polls since something happened that polls do not do alone.
    pub(crate) still: u64,
    /// How many polls up to the last, each woken by the one before, moved nothing; 0 after an event.
    pub(crate) streak: u64,
    pub(crate) crashes: u64,
    /// The first hosts that ended by themselves.
    pub(crate) crashed: Vec<HostCrash>,
    pub(crate) sometimes: BTreeMap<&'static str, bool>,
    pub(crate) has_clients: bool,
    /// Whether the hosts were asked to stop, as they are at the end.
    pub(crate) stopping: bool,
    /// A hash of the bytes that are being written.
    pub(crate) written: u32,
    pub(crate) live_clients: usize,
    /// Clients that crashed before they were done, and were not started since.
    pub(crate) broken_clients: usize,
    /// Hosts whose main task is done and of which something is left.
    pub(crate) settling: Vec<u32>,
    pub(crate) plague: Plague,
    /// Whose tasks the faults of this run starve.
    pub(crate) starved_host: Option<u32>,
    pub(crate) next_timer: u64,
}

impl State {
    pub(crate) fn new(config: Config) -> State {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        State {
            id,
            now: 0,
            oracle: Oracle::new(config.seed, config.record_choices, config.replay.as_deref()),
            trace: Trace::new(config.keep, config.checkpoint_every),
            events: EventQueue::default(),
            tasks: Tasks::new(id, config.strategy),
            machines: Vec::new(),
            net: Net::new(&config),
            udp: Table::new(),
            names: NameTable::default(),
            unix: Table::new(),
            signals: Table::new(),
            timers: ByHost::new(),
            jobs: ByHost::new(),
            idlers: Idlers::default(),
            running: None,
            cause: 0,
            arriving: None,
            failure: None,
            woken: Vec::new(),
            dropped: Vec::new(),
            polls: 0,
            still: 0,
            streak: 0,
            crashes: 0,
            crashed: Vec::new(),
            sometimes: BTreeMap::new(),
            has_clients: false,
            stopping: false,
            written: 0,
            live_clients: 0,
            broken_clients: 0,
            settling: Vec::new(),
            plague: Plague::default(),
            starved_host: None,
            next_timer: 0,
            config,
        }
    }

    // Who acts

    pub(crate) fn host(&self) -> u32 {
        self.running
            .expect("code runs in a host's name while a world turns")
            .host
    }

    pub(crate) fn machine(&mut self) -> &mut Machine {
        let host = self.host() as usize;
        &mut self.machines[host]
    }

    /// What the clock of the host shows in whose name code runs.
    pub(crate) fn clock(&self) -> u64 {
        self.machines[self.host() as usize].clock.shows(self.now)
    }

    pub(crate) fn choose(&mut self, label: Label, count: u64) -> u64 {
        let scope = Scope::Host(self.host());
        self.oracle.choose(label, scope, count)
    }

    /// Says what the running task waits for, for the deadlock report.
    pub(crate) fn waits(&mut self, waits: Waits) {
        if let Some(key) = self.running.and_then(|running| running.task)
            && let Some(task) = self.tasks.find(key)
        {
            task.waits = waits;
        }
    }

    pub(crate) fn wake(&mut self, waker: Option<Waker>) {
        self.woken.extend(waker);
    }

    /// Keeps `waker` in `place`, waking nobody; an equal one stays.
    pub(crate) fn keep_waker(dropped: &mut Vec<Waker>, place: &mut Option<Waker>, waker: &Waker) {
        match place {
            Some(kept) if kept.will_wake(waker) => {}
            _ => dropped.extend(place.replace(waker.clone())),
        }
    }

    // Clients

    /// Clients that are not done, running or crashed.
    pub(crate) fn unfinished(&self) -> usize {
        self.live_clients + self.broken_clients
    }

    /// Says which clients are not done.
    pub(crate) fn unfinished_clients(&self) -> String {
        let unfinished = |machine: &&Machine| {
            machine.role == Role::Client && (machine.life == Life::Running || machine.broken_off)
        };
        let mut names = Vec::new();
        let clients = self.machines.iter().filter(unfinished);
        list(&mut names, "clients", clients, |machine| {
            format!("{:?}", machine.name)
        });
        match &names[..] {
            // What is left of them is named by itself.
            [] => "all clients are done".to_owned(),
            [name] => format!("the client {name} is not done"),
            [first @ .., last] => {
                format!("the clients {} and {last} are not done", first.join(", "))
            }
        }
    }

    /// Whether the task is polled, or dropped, right now.
    fn runs(&self, task: &Task) -> bool {
        self.running
            .is_some_and(|running| (running.host, running.number) == (task.host, task.number))
    }

    /// The client or host ends by a crash.
    pub(crate) fn break_off(&mut self, host: u32) {
        let machine = &mut self.machines[host as usize];
        let breaks = machine.role == Role::Client && machine.life == Life::Running;
        if breaks && !machine.may_crash {
            machine.broken_off = true;
            self.broken_clients += 1;
        }
    }

    /// It is started again.
    pub(crate) fn take_up(&mut self, host: u32) {
        let machine = &mut self.machines[host as usize];
        self.live_clients += usize::from(machine.role == Role::Client);
        self.broken_clients -= usize::from(std::mem::take(&mut machine.broken_off));
    }

    /// Fails the run if a client crashed that was not started again: it did nothing of what it was
    /// there to do.
    pub(crate) fn miss_clients(&mut self) {
        let broken = self.machines.iter().filter(|machine| machine.broken_off);
        let mut names = Vec::new();
        list(&mut names, "clients", broken, |machine| {
            format!("{:?}", machine.name)
        });
        if !names.is_empty() {
            let message = format!(
                "the client {} crashed and was not started again",
                names.join(", and the client ")
            );
            self.fail(FailureKind::ClientError, message);
        }
    }

    // The trace

    pub(crate) fn record(&mut self, kind: EventKind, label: &'static str, a: u64, b: u64) -> u64 {
        if kind.moves() {
            self.still = 0;
        }
        let (host, task) = self
            .running
            .map_or((u32::MAX, 0), |running| (running.host, running.number));
        self.trace.push(TraceEvent {
            index: 0,
            time: self.now,
            host,
            task,
            kind,
            label,
            a,
            b,
            cause: self.cause,
            payload: self.written,
            way: self.arriving.filter(|_| kind.arrives()),
        })
    }

    pub(crate) fn line(&self, event: &TraceEvent) -> TraceLine {
        let host = self.machines.get(event.host as usize);
        let name = |host: u32| Arc::clone(&self.machines[host as usize].name);
        TraceLine {
            event: *event,
            host: host.map_or("world", |machine| &machine.name).to_owned(),
            way: event.way.map(|(from, to)| [name(from), name(to)]),
        }
    }

    // Tasks

    /// Starts a task on `host`; gives the future back, to be dropped, where the host is ending.
    pub(crate) fn spawn(
        &mut self,
        host: u32,
        root: bool,
        body: Body,
        location: &'static Location<'static>,
    ) -> Result<TaskKey, Body> {
        let machine = &mut self.machines[host as usize];
        if !machine.life.is_alive() {
            return Err(body);
        }
        machine.next_task += 1;
        let number = machine.next_task;
        let strategy = self.config.strategy;
        let starved =
            self.starved_host == Some(host) || strategy.starves(&machine.name, number, location);
        self.record(EventKind::Spawn, "", u64::from(number), u64::from(host));
        let birth = Birth {
            location,
            starved,
            now: self.now,
            cause: self.cause,
        };
        Ok(self.tasks.insert(host, number, root, body, birth))
    }

    pub(crate) fn spawn_here(
        &mut self,
        future: BoxedFuture,
        location: &'static Location<'static>,
    ) -> Option<Body> {
        let host = self.host();
        self.spawn(host, false, Body::Future(future), location)
            .err()
    }

    // What a run tells

    pub(crate) fn report(&mut self) -> Report {
        Report {
            trace_hash: self.trace.digest(),
            events: self.trace.len(),
            polls: self.polls,
            virtual_time: Duration::from_nanos(self.now),
            bytes: self.net.bytes,
            datagrams: self.net.datagrams,
            lost: self.net.lost,
            crashes: self.crashes,
            crashed_hosts: self.crashed.clone(),
            faults_by_kind: self.plague.counts.clone(),
            sometimes: self.sometimes.clone(),
            sites: self.plague.sites(),
            peak_tasks: self.tasks.peak(),
            peak_buffered: self.net.peak_buffered,
            choices_used: self.oracle.used(),
            choices: self.oracle.choices(),
            checkpoints: self.trace.checkpoints().to_vec(),
            trace: self.trace.kept().map(|event| self.line(event)).collect(),
        }
    }

    /// Records the first failure; later ones are consequences of it.
    pub(crate) fn fail(&mut self, kind: FailureKind, message: String) {
        if self.failure.is_some() {
            return;
        }
        let tail: Vec<_> = self.trace.kept().rev().take(FAILURE_TAIL).collect();
        let tail = tail.into_iter().rev().map(|e| self.line(e)).collect();
        // Those first for which the run is held.
        let mut tasks: Vec<_> = self.tasks.iter().collect();
        tasks.sort_by_key(|task| self.machines[task.host as usize].role != Role::Client);
        let wait_graph = tasks
            .into_iter()
            .map(|task| WaitLine {
                host: self.machines[task.host as usize].name.to_string(),
                task: task.number,
                location: task.location,
                waits: task.waits.to_string(),
                since: task.since,
                running: self.runs(task),
            })
            .collect();
        let host = self
            .running
            .map(|running| self.machines[running.host as usize].name.to_string());
        self.failure = Some(Failure::new(
            kind,
            &self.config,
            self.trace.len(),
            self.now,
            host,
            message,
            self.crashed.clone(),
            wait_graph,
            tail,
            self.oracle.choices(),
        ));
    }
}
