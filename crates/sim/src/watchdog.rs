//! Finds code that parks the world's thread, by a clock outside the world.
//!
//! Code that waits for what the world does waits for ever: the world turns on the same thread. Only
//! another thread can tell, and only by ending the process, for a parked thread cannot be unwound.
//! One thread watches all worlds of the process.
//!
//! Invariants
//! 1. A world's desk is written by the world's thread alone: `place` says whose code runs, 0 for
//!    nobody's, and `beat` changes with each change of it.
//! 2. A world is on the list from the first code that it runs until it is dropped.
//! 3. Code is parked when the beat was seen to stand still for the patience of its world. Time in
//!    which nobody looked does not count, so that a stopped process is not ended when it goes on.

use crate::builder::Config;
use crate::replay::Replay;
use std::collections::BTreeMap;
use std::panic::Location;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a job may run where the builder says nothing.
const JOB: Duration = Duration::from_secs(10);
/// How long other code may, which also makes and drops whole worlds on machines that have much to do.
const OTHER: Duration = Duration::from_secs(60);
/// How often the thread looks, at least and at most.
const STEPS: [Duration; 2] = [Duration::from_millis(5), Duration::from_secs(1)];
/// Exit status of a process that is ended, that of a panic.
const STATUS: i32 = 101;

/// Whose code runs.
#[derive(Clone, Copy)]
pub(crate) enum Code {
    /// A task, by its host and its number there.
    Task(u32, u32),
    /// A blocking job, by where it was submitted.
    Job(&'static Location<'static>),
    /// What a host had is dropped.
    Destructor(u32),
    /// An act of the script.
    Act,
    /// The condition of an `eventually!`.
    Condition,
    Checker,
}

impl Code {
    /// As a number that is not 0: the kind, the host in 24 bits, the task in 32.
    fn place(self) -> u64 {
        let (kind, host, number) = match self {
            Code::Task(host, number) => (1, host, number),
            Code::Job(_) => (2, 0, 0),
            Code::Destructor(host) => (3, host, 0),
            Code::Act => (4, 0, 0),
            Code::Condition => (5, 0, 0),
            Code::Checker => (6, 0, 0),
        };
        kind | u64::from(host & 0xff_ffff) << 8 | u64::from(number) << 32
    }
}

/// What the thread of one world says about itself.
struct Desk {
    beat: AtomicU64,
    place: AtomicU64,
    /// Events so far.
    event: AtomicU64,
    /// Where the job was submitted that runs.
    job: Mutex<Option<&'static Location<'static>>>,
    hosts: Vec<Arc<str>>,
    /// For jobs, and for other code.
    patience: [Duration; 2],
    replay: Replay,
}

impl Desk {
    fn patience(&self) -> Duration {
        let [job, other] = self.patience;
        match self.place.load(Ordering::Relaxed) & 0xff {
            2 => job,
            _ => other,
        }
    }

    fn set(&self, place: u64) {
        self.place.store(place, Ordering::Relaxed);
        let beat = self.beat.load(Ordering::Relaxed);
        self.beat.store(beat + 1, Ordering::Release);
    }

    /// The code that runs, in words: what it is, and which.
    fn code(&self) -> (&'static str, String) {
        let place = self.place.load(Ordering::Relaxed);
        let host = self.hosts.get((place >> 8 & 0xff_ffff) as usize);
        let host = host.map_or("unknown", |name| name);
        match place & 0xff {
            1 => ("task", format!("a poll of the task {host}/{}", place >> 32)),
            2 => {
                let job = *self.job.lock().unwrap_or_else(PoisonError::into_inner);
                let place = job.map_or_else(String::new, |job| format!(" submitted at {job}"));
                ("job", format!("the blocking job{place}"))
            }
            3 => ("destructor", format!("a destructor of {host}")),
            4 => ("act", "an act of the script".to_owned()),
            5 => ("condition", "the condition of an eventually!".to_owned()),
            _ => ("checker", "a checker".to_owned()),
        }
    }

    fn end_process(&self) -> ! {
        let (noun, code) = self.code();
        let (seed, patience) = (self.replay.seed(), self.patience());
        let replay = self.replay.line(self.event.load(Ordering::Relaxed));
        eprintln!(
            "simulation failed under seed {seed}: parked {noun}: {code} runs for {patience:?}; \
             code in a simulated world must not park its thread\nreplay: {replay}"
        );
        std::process::exit(STATUS)
    }
}

/// A desk as the watching thread saw it last.
struct Seen {
    desk: Arc<Desk>,
    beat: u64,
    still: Duration,
}

#[derive(Default)]
struct List {
    /// By the number of the world.
    worlds: BTreeMap<u64, Seen>,
    /// Whether there is a thread.
    watched: bool,
    /// How long it sleeps; `None` until a world comes.
    step: Option<Duration>,
}

impl List {
    fn step(&self) -> Option<Duration> {
        let patience = self
            .worlds
            .values()
            .map(|seen| seen.desk.patience[0])
            .min()?;
        let [least, most] = STEPS;
        Some((patience / 4).clamp(least, most))
    }

    /// Looks at all worlds once more, so long after the last look; one that is parked.
    fn look(&mut self, passed: Duration) -> Option<Arc<Desk>> {
        let mut parked = None;
        for seen in self.worlds.values_mut() {
            let beat = seen.desk.beat.load(Ordering::Acquire);
            let runs = seen.desk.place.load(Ordering::Relaxed) != 0;
            if !runs || beat != seen.beat {
                (seen.beat, seen.still) = (beat, Duration::ZERO);
                continue;
            }
            seen.still = seen.still.saturating_add(passed);
            if seen.still >= seen.desk.patience() {
                parked = Some(Arc::clone(&seen.desk));
            }
        }
        parked
    }
}

struct Watch {
    list: Mutex<List>,
    changed: Condvar,
}

static WATCH: Watch = Watch {
    list: Mutex::new(List {
        worlds: BTreeMap::new(),
        watched: false,
        step: None,
    }),
    changed: Condvar::new(),
};

impl Watch {
    fn lock(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut list = self.lock();
        loop {
            list.step = list.step();
            let slept = Instant::now();
            let Some(step) = list.step else {
                let waited = self.changed.wait(list);
                list = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.changed.wait_timeout(list, step);
            list = waited.unwrap_or_else(PoisonError::into_inner).0;
            // Longer is time in which this thread stood still as well.
            let passed = slept.elapsed().min(step * 2);
            if let Some(parked) = list.look(passed) {
                drop(list);
                parked.end_process();
            }
        }
    }
}

/// Watches the code of one world, until it is dropped.
pub(crate) struct Watchdog {
    world: u64,
    desk: Arc<Desk>,
}

impl Watchdog {
    pub(crate) fn start(world: u64, config: &Config, hosts: Vec<Arc<str>>) -> Watchdog {
        let desk = Arc::new(Desk {
            beat: AtomicU64::new(0),
            place: AtomicU64::new(0),
            event: AtomicU64::new(0),
            job: Mutex::new(None),
            hosts,
            patience: config
                .watchdog
                .map_or([JOB, OTHER], |patience| [patience; 2]),
            replay: Replay::of(config),
        });
        let seen = Seen {
            desk: Arc::clone(&desk),
            beat: 0,
            still: Duration::ZERO,
        };
        let mut list = WATCH.lock();
        list.worlds.insert(world, seen);
        if !list.watched {
            let thread = thread::Builder::new().name("bowline-sim-watchdog".to_owned());
            // Without a thread nobody watches, and the world turns all the same.
            list.watched = thread.spawn(|| WATCH.run()).is_ok();
        }
        if list.step.is_none_or(|step| Some(step) > list.step()) {
            WATCH.changed.notify_one();
        }
        Watchdog { world, desk }
    }

    /// Code begins on the world's thread; it is watched until the guard is dropped.
    pub(crate) fn begin(&self, code: Code, event: u64) -> Watching<'_> {
        if let Code::Job(location) = code {
            let mut job = self.desk.job.lock().unwrap_or_else(PoisonError::into_inner);
            *job = Some(location);
        }
        let before = self.desk.place.load(Ordering::Relaxed);
        self.desk.event.store(event, Ordering::Relaxed);
        self.desk.set(code.place());
        Watching {
            desk: &self.desk,
            before,
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        let left = WATCH.lock().worlds.remove(&self.world);
        drop(left);
    }
}

/// Code that runs.
#[must_use = "code is watched until this is dropped"]
pub(crate) struct Watching<'a> {
    desk: &'a Desk,
    /// Whose code called this.
    before: u64,
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.desk.set(self.before);
    }
}
