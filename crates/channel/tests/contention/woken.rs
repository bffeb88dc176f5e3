//! Runs tasks on threads, each only when it was woken, so that a wake-up that is lost shows.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is known of all tasks together.
#[derive(Default)]
pub(crate) struct Progress {
    /// Tasks that were woken and not polled to the end since. At 0 nothing
    /// moves until somebody else wakes one.
    awake: AtomicUsize,
    unfinished: AtomicUsize,
}

impl Progress {
    /// Whether every task has finished.
    pub(crate) fn is_over(&self) -> bool {
        self.unfinished.load(Ordering::SeqCst) == 0
    }

    /// Whether every task that is left waits to be woken.
    pub(crate) fn is_still(&self) -> bool {
        self.awake.load(Ordering::SeqCst) == 0
    }
}

/// The tasks of one thread that were woken.
struct Queue {
    woken: Mutex<VecDeque<usize>>,
    thread: Thread,
}

impl Queue {
    /// Tries until it has the lock. What the standard library does to wait for one is not seen by
    /// ThreadSanitizer, which then takes what the lock protects for a race.
    fn woken(&self) -> MutexGuard<'_, VecDeque<usize>> {
        loop {
            match self.woken.try_lock() {
                Ok(woken) => return woken,
                Err(TryLockError::WouldBlock) => thread::yield_now(),
                Err(TryLockError::Poisoned(_)) => panic!("another thread panicked"),
            }
        }
    }
}

struct TaskWaker {
    index: usize,
    queued: AtomicBool,
    queue: Arc<Queue>,
    progress: Arc<Progress>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.progress.awake.fetch_add(1, Ordering::SeqCst);
            self.queue.woken().push_back(self.index);
            self.queue.thread.unpark();
        }
    }
}

/// Starts a thread for each group of tasks. The threads end with their tasks; if one waits in
/// vain, the one who asks `Progress` has to say so.
pub(crate) fn start(groups: Vec<Vec<Job>>) -> Arc<Progress> {
    let progress = Arc::new(Progress::default());
    let tasks = groups.iter().map(Vec::len).sum();
    progress.unfinished.store(tasks, Ordering::SeqCst);
    progress.awake.store(tasks, Ordering::SeqCst);
    for group in groups {
        let progress = Arc::clone(&progress);
        thread::spawn(move || run(group, &progress));
    }
    progress
}

fn run(jobs: Vec<Job>, progress: &Arc<Progress>) {
    let queue = Arc::new(Queue {
        woken: Mutex::new((0..jobs.len()).collect()),
        thread: thread::current(),
    });
    let waker = |index| {
        Arc::new(TaskWaker {
            index,
            queued: AtomicBool::new(true),
            queue: Arc::clone(&queue),
            progress: Arc::clone(progress),
        })
    };
    let mut tasks: Vec<_> = jobs
        .into_iter()
        .enumerate()
        .map(|(index, job)| (waker(index), Some(job)))
        .collect();
    let mut left = tasks.len();
    while left > 0 {
        let woken = queue.woken().pop_front();
        let Some(index) = woken else {
            thread::park();
            continue;
        };
        let (waker, job) = &mut tasks[index];
        waker.queued.store(false, Ordering::SeqCst);
        let polled = Waker::from(Arc::clone(waker));
        if let Some(running) = job
            && running
                .as_mut()
                .poll(&mut Context::from_waker(&polled))
                .is_ready()
        {
            *job = None;
            left -= 1;
            progress.unfinished.fetch_sub(1, Ordering::SeqCst);
        }
        progress.awake.fetch_sub(1, Ordering::SeqCst);
    }
}
