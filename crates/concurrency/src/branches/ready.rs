use super::link::Link;
use crate::memory::{AtomicBool, Mutex, MutexGuard};
use crate::node::NodeRef;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Waker};

/// Branches polled in one poll of their task, before others get their turn; after a cancel all get
/// their last poll before the task is dropped.
const MOST: u8 = 64;

/// Whose turn it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(super) key: usize,
    /// Tells a branch from earlier ones that had its key.
    pub(super) serial: usize,
}

/// The tickets of branches that were woken, and whom to wake for it.
pub(super) struct Ready {
    /// The node of what runs the branches.
    region: NodeRef,
    /// `State::task` is set; changes under the lock.
    parked: AtomicBool,
    state: Mutex<State>,
}

struct State {
    woken: VecDeque<Ticket>,
    /// Set exactly while the task waits: nobody is woken for what its own poll will see.
    task: Option<Waker>,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn region(&self) -> &NodeRef {
        &self.region
    }

    fn take_task(&self, state: &mut State) -> Option<Waker> {
        let task = state.task.take()?;
        self.parked.store(false, Ordering::Relaxed);
        Some(task)
    }

    pub(super) fn push(&self, ticket: Ticket) {
        let task = {
            let mut state = self.lock();
            state.woken.push_back(ticket);
            self.take_task(&mut state)
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// Makes links, and wakes the task for something that is not a branch yet, from anywhere.
#[derive(Clone)]
pub(crate) struct Bell {
    ready: Arc<Ready>,
}

impl Bell {
    /// What happened before has to be seen by who has parked: both under one lock of the caller's.
    pub(crate) fn ring(&self) {
        if !self.ready.parked.load(Ordering::Relaxed) {
            return;
        }
        let task = self.ready.take_task(&mut self.ready.lock());
        if let Some(task) = task {
            task.wake();
        }
    }

    pub(crate) fn region(&self) -> &NodeRef {
        &self.ready.region
    }

    pub(crate) fn link(
        &self,
        name: Cow<'static, str>,
        location: &'static Location<'static>,
    ) -> Link {
        Link::new(self.ready.clone(), name, location)
    }
}

/// In which order branches are polled: that in which they were woken.
///
/// Invariants:
/// 1. A branch that was woken has a ticket in `woken`, `batch` or `later`, or is being polled.
/// 2. A poll of the task that returns `Pending` has left its waker with `woken`, `batch` and
///    `later` empty, or has woken the task itself.
/// 3. A branch woken in its own poll waits for the task's next one: a loop of `yield_now` lets
///    other tasks run.
pub(super) struct Turns {
    ready: Arc<Ready>,
    batch: VecDeque<Ticket>,
    later: Vec<Ticket>,
    task: Option<Waker>,
    left: u8,
    /// More than [`MOST`] were polled.
    overtime: bool,
}

impl Turns {
    pub(super) fn new(region: NodeRef) -> Turns {
        Turns {
            ready: Arc::new(Ready {
                region,
                parked: AtomicBool::new(false),
                state: Mutex::new(State {
                    woken: VecDeque::new(),
                    task: None,
                }),
            }),
            batch: VecDeque::new(),
            later: Vec::new(),
            task: None,
            left: MOST,
            overtime: false,
        }
    }

    pub(super) fn bell(&self) -> Bell {
        Bell {
            ready: self.ready.clone(),
        }
    }

    /// A poll of the task begins.
    pub(super) fn begin(&mut self) {
        self.left = MOST;
        self.overtime = false;
        let task = {
            let mut state = self.ready.lock();
            self.batch.append(&mut state.woken);
            self.ready.take_task(&mut state)
        };
        if task.is_some() {
            self.task = task;
        }
    }

    pub(super) fn add(&mut self, ticket: Ticket) {
        self.batch.push_back(ticket);
    }

    /// Adds the branch, if it has no ticket.
    pub(super) fn call(&mut self, link: &Link) {
        self.batch.extend(link.call());
    }

    /// Puts a ticket back until the next poll of the task.
    pub(super) fn put_off(&mut self, ticket: Ticket) {
        self.left = self.left.saturating_add(1);
        self.later.push(ticket);
    }

    /// Whether more were polled than is usual, since they have no later poll.
    pub(super) fn is_overtime(&self) -> bool {
        self.overtime
    }

    /// The next one, unless the task has polled enough of them for now.
    pub(super) fn next(&mut self, cancelled: bool) -> Option<Ticket> {
        if self.left == 0 {
            if !cancelled {
                return None;
            }
            self.overtime = true;
        }
        if self.batch.is_empty() {
            std::mem::swap(&mut self.batch, &mut self.ready.lock().woken);
        }
        let ticket = self.batch.pop_front()?;
        self.left = self.left.saturating_sub(1);
        Some(ticket)
    }

    /// The poll ends with `Pending`.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) {
        self.batch.extend(self.later.drain(..));
        if !self.batch.is_empty() {
            return cx.waker().wake_by_ref();
        }
        let task = match self.task.take() {
            Some(task) if task.will_wake(cx.waker()) => task,
            _ => cx.waker().clone(),
        };
        let surplus = {
            let mut state = self.ready.lock();
            match state.woken.is_empty() {
                true => {
                    self.ready.parked.store(true, Ordering::Relaxed);
                    state.task.replace(task)
                }
                false => Some(task),
            }
        };
        if let Some(task) = surplus {
            task.wake();
        }
    }
}
