//! Tasks of a world and the wakers that make them runnable.
//!
//! Invariants
//! 1. A task is in the runnable queue or the inbox at most once: `queued` says so and is cleared
//!    just before its poll.
//! 2. A wake touches the inbox only, never the world's state, so it may come at any moment.
//! 3. A key names one task for ever: serials are not used twice.

use crate::by_host::{ByHost, OfHost};
use crate::host;
use crate::strategy::{Entry, Ready, Strategy};
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskKey {
    pub(crate) slot: usize,
    serial: u64,
}

pub(crate) type BoxedFuture = Pin<Box<dyn Future<Output = ()>>>;

pub(crate) enum Body {
    Future(BoxedFuture),
    /// The main future of `block_on`, which stays on its caller's stack.
    Caller,
    /// Being polled or dropped right now.
    Away,
}

/// What a task said it waits for at its last poll.
#[derive(Clone, Debug)]
pub(crate) enum Waits {
    NotPolled,
    OwnWaker,
    Timer(u64),
    Never,
    AllBlocked,
    Connect(SocketAddr),
    Read(usize),
    Write(usize),
    Memory(usize),
    Accept(SocketAddr),
    Name(String),
    Receive(SocketAddr),
    Send(SocketAddr),
    Unix(&'static str, u32),
    Signal(host::Signal),
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Waits::NotPolled => f.write_str("its first poll"),
            Waits::OwnWaker => f.write_str("a waker of its own"),
            Waits::Timer(at) => write!(f, "a timer due at {at} ns"),
            Waits::Never => f.write_str("a sleep without end"),
            Waits::AllBlocked => f.write_str("every other task to be parked"),
            Waits::Connect(to) => write!(f, "a connection to {to}"),
            Waits::Read(socket) => write!(f, "bytes from tcp#{socket}"),
            Waits::Write(socket) => write!(f, "room in the send buffer of tcp#{socket}"),
            Waits::Memory(socket) => write!(f, "room in the buffers of its host for tcp#{socket}"),
            Waits::Accept(at) => write!(f, "a connection at {at}"),
            Waits::Receive(at) => write!(f, "a datagram at {at}"),
            Waits::Send(to) => write!(f, "room to send a datagram to {to}"),
            Waits::Unix(what, socket) => write!(f, "{what} unix#{socket}"),
            Waits::Signal(signal) => write!(f, "the signal {signal}"),
            Waits::Name(name) => write!(f, "the name {name:?}"),
        }
    }
}

pub(crate) struct Task {
    serial: u64,
    pub(crate) host: u32,
    /// Its number on its host, as shown in traces.
    pub(crate) number: u32,
    /// Whether its end is its host's end.
    pub(crate) root: bool,
    pub(crate) body: Body,
    wakeup: Arc<Wakeup>,
    pub(crate) waker: Waker,
    pub(crate) location: &'static Location<'static>,
    pub(crate) starved: bool,
    pub(crate) waits: Waits,
    pub(crate) since: u64,
    /// So many polls, each woken by the one before, moved nothing until this task was woken.
    pub(crate) streak: u64,
    /// Trace index of the event that woke it.
    pub(crate) cause: u64,
}

impl OfHost for Task {
    fn host(&self) -> u32 {
        self.host
    }
}

impl Task {
    /// From here on a wake makes the task runnable again.
    pub(crate) fn begin_poll(&mut self) {
        let woken = self.wakeup.queued.swap(false, Ordering::AcqRel);
        debug_assert!(woken, "a task is polled that nobody woke");
    }
}

struct Wakeup {
    key: TaskKey,
    queued: AtomicBool,
    inbox: Arc<Inbox>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.inbox.push(self.key);
        }
    }
}

/// Where wakes land until the scheduler's next turn.
struct Inbox {
    world: u64,
    thread: ThreadId,
    woken: Mutex<Woken>,
}

#[derive(Default)]
struct Woken {
    keys: Vec<TaskKey>,
    foreign: Option<String>,
}

impl Inbox {
    fn push(&self, key: TaskKey) {
        // Cheap test first: almost every wake happens while its world turns.
        let foreign = if crate::current::is_world(self.world) {
            None
        } else {
            let thread = thread::current();
            (thread.id() != self.thread).then(|| {
                thread
                    .name()
                    .unwrap_or("a thread without a name")
                    .to_owned()
            })
        };
        let mut woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        woken.keys.push(key);
        if woken.foreign.is_none() {
            woken.foreign = foreign;
        }
    }
}

/// Where, when and why a task was spawned.
pub(crate) struct Birth {
    pub(crate) location: &'static Location<'static>,
    /// Whether the world's strategy starves it.
    pub(crate) starved: bool,
    pub(crate) now: u64,
    pub(crate) cause: u64,
}

pub(crate) struct Tasks {
    slots: ByHost<Task>,
    ready: Ready,
    /// The runnable tasks of each paused host.
    set_aside: BTreeMap<u32, Vec<Entry>>,
    next_serial: u64,
    /// How many each host has.
    counts: Vec<usize>,
    inbox: Arc<Inbox>,
    peak: usize,
}

impl Tasks {
    pub(crate) fn new(world: u64, strategy: Strategy) -> Tasks {
        Tasks {
            slots: ByHost::new(),
            ready: Ready::new(strategy),
            set_aside: BTreeMap::new(),
            next_serial: 0,
            counts: Vec::new(),
            inbox: Arc::new(Inbox {
                world,
                thread: thread::current().id(),
                woken: Mutex::new(Woken::default()),
            }),
            peak: 0,
        }
    }

    pub(crate) fn insert(
        &mut self,
        host: u32,
        number: u32,
        root: bool,
        body: Body,
        birth: Birth,
    ) -> TaskKey {
        let key = TaskKey {
            slot: self.slots.vacant_slot(),
            serial: self.next_serial,
        };
        self.next_serial += 1;
        let wakeup = Arc::new(Wakeup {
            key,
            queued: AtomicBool::new(true),
            inbox: Arc::clone(&self.inbox),
        });
        self.slots.insert(Task {
            serial: key.serial,
            host,
            number,
            root,
            body,
            waker: Waker::from(Arc::clone(&wakeup)),
            wakeup,
            location: birth.location,
            starved: birth.starved,
            waits: Waits::NotPolled,
            since: birth.now,
            streak: 0,
            cause: birth.cause,
        });
        self.make_ready(key, birth.now);
        let host = host as usize;
        if self.counts.len() <= host {
            self.counts.resize(host + 1, 0);
        }
        self.counts[host] += 1;
        self.peak = self.peak.max(self.slots.len());
        key
    }

    pub(crate) fn find(&mut self, key: TaskKey) -> Option<&mut Task> {
        self.slots
            .get_mut(key.slot)
            .filter(|task| task.serial == key.serial)
    }

    pub(crate) fn remove(&mut self, key: TaskKey) -> Option<Task> {
        self.find(key)?;
        let task = self.slots.remove(key.slot);
        self.counts[task.host as usize] -= 1;
        Some(task)
    }

    pub(crate) fn count_of(&self, host: u32) -> usize {
        self.counts.get(host as usize).copied().unwrap_or(0)
    }

    /// Moves woken tasks to the runnable queue; returns the name of a foreign thread that woke one.
    /// The poll in which they were woken was the last of a `streak` that moved nothing.
    pub(crate) fn collect_wakes(&mut self, now: u64, cause: u64, streak: u64) -> Option<String> {
        let inbox = Arc::clone(&self.inbox);
        let mut woken = inbox.woken.lock().unwrap_or_else(PoisonError::into_inner);
        for key in woken.keys.drain(..) {
            if let Some(task) = self.find(key) {
                task.cause = cause;
                task.streak = streak;
                self.make_ready(key, now);
            }
        }
        woken.foreign.take()
    }

    fn make_ready(&mut self, key: TaskKey, now: u64) {
        let Some(task) = self.slots.get(key.slot) else {
            return;
        };
        let entry = Entry {
            key,
            host: task.host,
            starved: task.starved,
            since: now,
        };
        match self.set_aside.get_mut(&task.host) {
            Some(aside) => aside.push(entry),
            None => self.ready.push(entry),
        }
    }

    /// Keeps the tasks of `host` from running; false if they were already.
    pub(crate) fn pause(&mut self, host: u32) -> bool {
        if self.is_paused(host) {
            return false;
        }
        let aside = self.ready.take_host(host);
        self.set_aside.insert(host, aside);
        true
    }

    /// Lets the tasks of `host` run again; false if they might already.
    pub(crate) fn resume(&mut self, host: u32) -> bool {
        let Some(aside) = self.set_aside.remove(&host) else {
            return false;
        };
        for entry in aside {
            self.ready.push(entry);
        }
        true
    }

    pub(crate) fn is_paused(&self, host: u32) -> bool {
        self.set_aside.contains_key(&host)
    }

    pub(crate) fn paused(&self) -> impl Iterator<Item = u32> + '_ {
        self.set_aside.keys().copied()
    }

    pub(crate) fn any_paused(&self) -> bool {
        !self.set_aside.is_empty()
    }

    /// Picks by another strategy from now on, which starves those tasks.
    pub(crate) fn pick_by(&mut self, ready: Ready, now: u64, starves: impl Fn(&Task) -> bool) {
        for task in self.slots.iter_mut() {
            task.starved = starves(task);
        }
        let mut former = std::mem::replace(&mut self.ready, ready);
        while let Some(key) = former.take(now, |_| 0) {
            self.make_ready(key, now);
        }
    }

    pub(crate) fn runnable(&self) -> usize {
        self.ready.len()
    }

    /// Takes the runnable task whose turn it is; `choose` draws one of so many, 0 being the oldest.
    pub(crate) fn take_runnable(
        &mut self,
        now: u64,
        choose: impl FnMut(usize) -> usize,
    ) -> Option<TaskKey> {
        self.ready.take(now, choose)
    }

    pub(crate) fn keys_of(&self, host: u32) -> Vec<TaskKey> {
        let key = |slot: usize| TaskKey {
            slot,
            serial: self.slots[slot].serial,
        };
        self.slots.slots_of(host).into_iter().map(key).collect()
    }

    pub(crate) fn of_host(&self, host: u32) -> impl Iterator<Item = &Task> {
        self.slots.of_host(host)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Task> {
        self.slots.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "nobody woke")]
    fn a_poll_without_a_wake_is_noticed() {
        let mut tasks = Tasks::new(1, Strategy::Fifo);
        let birth = Birth {
            starved: false,
            location: Location::caller(),
            now: 0,
            cause: 0,
        };
        let key = tasks.insert(0, 1, false, Body::Away, birth);
        let task = tasks.find(key).expect("it was just added");
        task.begin_poll();
        task.waker.wake_by_ref();
        task.begin_poll();
        task.begin_poll();
    }
}
