//! Threads that run functions, started when needed and ended when idle.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a thread waits for the next function before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// What a thread runs.
pub(crate) trait Function: Send {
    fn run(&mut self);

    /// Somebody hears of its end, when the thread is free for the next.
    fn tell(self: Box<Self>);
}

/// Threads that run functions; a cheap clone.
///
/// As many functions wait as the executor has places, at most.
///
/// Invariants:
/// - T1 `idle` threads wait for a function and none has been told of one: whoever adds a function
///   takes one of them out and tells it, or starts a thread.
/// - T2 `told` threads were taken out of `idle` and have not looked yet.
/// - T3 nothing is run or dropped under the lock.
/// - T4 a function waits only while a thread runs another one, or was told or started for it: whoever
///   cannot start a thread takes its own function out again, unless a thread has it by then.
#[derive(Clone)]
pub(crate) struct Threads(Arc<Shared>);

struct Shared {
    name: Arc<str>,
    stack_size: Option<usize>,
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    /// With their numbers.
    functions: VecDeque<(u64, Box<dyn Function>)>,
    next: u64,
    idle: usize,
    told: usize,
    /// Threads there ever were.
    started: usize,
}

impl Threads {
    pub(super) fn new(name: Arc<str>, stack_size: Option<usize>) -> Self {
        Self(Arc::new(Shared {
            name,
            stack_size,
            state: Mutex::default(),
            more: Condvar::new(),
        }))
    }

    /// Runs `function` on one of the threads; false if none is free and none can be started, with the
    /// function gone.
    pub(crate) fn run(&self, function: Box<dyn Function>) -> bool {
        let shared = &self.0;
        let mut state = shared.state();
        let number = state.next;
        state.next += 1;
        state.functions.push_back((number, function));
        if state.idle > 0 {
            state.idle -= 1;
            state.told += 1;
            drop(state);
            shared.more.notify_one();
            return true;
        }
        let name = state.started;
        state.started += 1;
        drop(state);
        if shared.start(name) {
            return true;
        }
        // Invariant T4.
        let mut state = shared.state();
        let place = state.functions.iter().position(|(it, _)| *it == number);
        let dropped = place.and_then(|place| state.functions.remove(place));
        drop(state);
        dropped.is_none()
    }
}

impl Shared {
    #[expect(
        clippy::disallowed_methods,
        reason = "an executor of threads has threads of its own, none of them in a simulated world"
    )]
    fn start(self: &Arc<Self>, number: usize) -> bool {
        let mut builder = thread::Builder::new().name(format!("{}-{number}", self.name));
        if let Some(bytes) = self.stack_size {
            builder = builder.stack_size(bytes);
        }
        let shared = self.clone();
        builder.spawn(move || shared.serve()).is_ok()
    }

    fn serve(&self) {
        let mut state = self.state();
        loop {
            while let Some((_, mut function)) = state.functions.pop_front() {
                drop(state);
                function.run();
                // Before anybody hears of the end: who calls again then gets this thread, not a new one.
                self.state().idle += 1;
                function.tell();
                state = self.state();
                match state.told {
                    0 => state.idle -= 1,
                    // Invariant T2: it looks, in the place of the one who was told.
                    _ => state.told -= 1,
                }
            }
            state.idle += 1;
            loop {
                let waited = self.more.wait_timeout(state, IDLE);
                let (again, waited) = waited.unwrap_or_else(PoisonError::into_inner);
                state = again;
                // Invariant T2: who was told looks, whoever that is.
                if state.told > 0 {
                    state.told -= 1;
                    break;
                }
                if waited.timed_out() {
                    state.idle -= 1;
                    return;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under the lock, so a poisoned state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Counts(Arc<AtomicUsize>);

    impl Function for Counts {
        fn run(&mut self) {}

        fn tell(self: Box<Self>) {}
    }

    impl Drop for Counts {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn no_function_is_left_behind_where_no_thread_can_be_started() {
        const MANY: usize = 8;
        // More than there are addresses.
        let threads = Threads::new("none".into(), Some(1 << 47));
        let (dropped, barrier) = (Arc::default(), Barrier::new(MANY));
        for round in 1..=200 {
            thread::scope(|scope| {
                for _ in 0..MANY {
                    scope.spawn(|| {
                        barrier.wait();
                        assert!(!threads.run(Box::new(Counts(Arc::clone(&dropped)))));
                    });
                }
            });
            assert_eq!(dropped.load(Ordering::SeqCst), MANY * round);
        }
    }
}
