//! Finds blocking jobs that park the world's thread, by a clock outside the world.
//!
//! A job that waits for a task of the world waits for ever: the task runs on the same thread. Only
//! another thread can tell, and only by ending the process, for a parked thread cannot be unwound.

use crate::builder::Config;
use crate::replay::Replay;
use std::panic::Location;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a job may run where the builder says nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Exit status of a process that is ended, that of a panic.
const STATUS: i32 = 101;

#[derive(Clone, Copy)]
struct Watched {
    location: &'static Location<'static>,
    event: u64,
    /// `None`: beyond what the clock can show.
    deadline: Option<Instant>,
}

#[derive(Default)]
struct Seen {
    job: Option<Watched>,
    /// The thread waits without a time at which it looks again.
    idle: bool,
    ended: bool,
}

#[derive(Default)]
struct Desk {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the world is gone, or the job that overran.
    fn watch(&self) -> Option<Watched> {
        let mut seen = self.lock();
        while !seen.ended {
            let deadline = seen.job.and_then(|job| job.deadline);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return seen.job;
            }
            seen.idle = left.is_none();
            seen = match left {
                None => {
                    let waited = self.changed.wait(seen);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
                Some(left) => {
                    let waited = self.changed.wait_timeout(seen, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        None
    }
}

/// Watches the jobs of one world from a thread of its own, until it is dropped.
pub(crate) struct Watchdog {
    desk: Arc<Desk>,
    patience: Duration,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn start(config: &Config) -> Watchdog {
        let desk = Arc::new(Desk::default());
        let (watched, patience) = (Arc::clone(&desk), config.watchdog);
        let replay = Replay::of(config);
        let thread = thread::Builder::new()
            .name("bowline-sim-watchdog".to_owned())
            .spawn(move || {
                if let Some(job) = watched.watch() {
                    end_process(&job, patience, &replay);
                }
            });
        Watchdog {
            desk,
            patience,
            // Without a thread nobody watches, and the world turns all the same.
            thread: thread.ok(),
        }
    }

    /// A job begins on the world's thread; it is watched until the guard is dropped.
    pub(crate) fn begin(&self, location: &'static Location<'static>, event: u64) -> Watching<'_> {
        let mut seen = self.desk.lock();
        seen.job = Some(Watched {
            location,
            event,
            deadline: Instant::now().checked_add(self.patience),
        });
        if seen.idle {
            self.desk.changed.notify_one();
        }
        Watching(&self.desk)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.desk.lock().ended = true;
        self.desk.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // It neither panics nor holds anything.
            let _ = thread.join();
        }
    }
}

/// A job that runs.
#[must_use = "a job is watched until this is dropped"]
pub(crate) struct Watching<'a>(&'a Desk);

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.lock().job = None;
    }
}

fn end_process(job: &Watched, patience: Duration, replay: &Replay) -> ! {
    let replay = replay.line(job.event);
    eprintln!(
        "simulation failed: parked job: the blocking job submitted at {} runs for {patience:?}; \
         a job in a simulated world must not wait for what the world does\nreplay: {replay}",
        job.location
    );
    std::process::exit(STATUS)
}
