use crate::node::{Node, Payload};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// Branches polled in one poll of their task, before others get their turn.
const MOST: u8 = 64;

/// Whose turn it is.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(super) key: usize,
    /// Tells a branch from earlier ones that had its key.
    pub(super) serial: usize,
}

/// The tickets of branches that were woken, and whom to wake for it.
struct Ready {
    state: Mutex<State>,
}

struct State {
    woken: VecDeque<Ticket>,
    /// Set exactly while the task waits: nobody is woken for what its own poll will see.
    host: Option<Waker>,
}

impl Ready {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A branch's own part of its node, which is its waker too.
///
/// Invariant: `queued` is set from the moment a ticket of the branch is handed out until the poll
/// for it begins, so there is one at most; and for ever once the branch has ended.
pub(crate) struct Link {
    ready: Arc<Ready>,
    key: AtomicUsize,
    serial: AtomicUsize,
    queued: AtomicBool,
}

impl Payload for Link {
    fn link(&self) -> Option<&Link> {
        Some(self)
    }
}

impl Link {
    /// Gives the branch its place, which makes a first ticket.
    pub(super) fn place(&self, ticket: Ticket) {
        self.key.store(ticket.key, Ordering::Relaxed);
        self.serial.store(ticket.serial, Ordering::Relaxed);
        self.queued.store(true, Ordering::Release);
    }

    pub(super) fn ticket(&self) -> Ticket {
        Ticket {
            key: self.key.load(Ordering::Relaxed),
            serial: self.serial.load(Ordering::Relaxed),
        }
    }

    /// A poll begins: wakes from now on count for the next one.
    pub(super) fn begin(&self) {
        // Not a plain store: it has to see what those did who found it set.
        self.queued.swap(false, Ordering::AcqRel);
    }

    pub(super) fn is_woken(&self) -> bool {
        self.queued.load(Ordering::Acquire)
    }

    /// The branch has ended; whoever still wakes it is not heard.
    pub(super) fn end(&self) {
        self.queued.store(true, Ordering::Release);
    }

    fn wake(&self) {
        if self.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let ticket = self.ticket();
        let host = {
            let mut state = self.ready.lock();
            state.woken.push_back(ticket);
            state.host.take()
        };
        if let Some(host) = host {
            host.wake();
        }
    }
}

impl Wake for Node<Link> {
    fn wake(self: Arc<Self>) {
        self.payload.wake();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.payload.wake();
    }
}

/// Wakes the task for something that is not a branch yet, from anywhere.
#[derive(Clone)]
pub(crate) struct Bell {
    ready: Arc<Ready>,
}

impl Bell {
    pub(crate) fn ring(&self) {
        let host = self.ready.lock().host.take();
        if let Some(host) = host {
            host.wake();
        }
    }

    /// The part of a branch's node before it has a place.
    pub(crate) fn link(&self) -> Link {
        Link {
            ready: self.ready.clone(),
            key: AtomicUsize::new(usize::MAX),
            serial: AtomicUsize::new(0),
            queued: AtomicBool::new(false),
        }
    }
}

/// In which order branches are polled: that in which they were woken.
///
/// Invariants:
/// 1. A branch that was woken has a ticket in `woken`, `batch` or `later`, or is being polled.
/// 2. A poll of the task that returns `Pending` has left its waker in `host` with `woken`, `batch`
///    and `later` empty, or has woken the task itself.
/// 3. A branch woken in its own poll waits for the task's next one: a loop of `yield_now` lets
///    other tasks run.
pub(super) struct Turns {
    ready: Arc<Ready>,
    batch: VecDeque<Ticket>,
    later: Vec<Ticket>,
    host: Option<Waker>,
    left: u8,
}

impl Turns {
    pub(super) fn new() -> Turns {
        Turns {
            ready: Arc::new(Ready {
                state: Mutex::new(State {
                    woken: VecDeque::new(),
                    host: None,
                }),
            }),
            batch: VecDeque::new(),
            later: Vec::new(),
            host: None,
            left: MOST,
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
        let host = {
            let mut state = self.ready.lock();
            self.batch.append(&mut state.woken);
            state.host.take()
        };
        if host.is_some() {
            self.host = host;
        }
    }

    pub(super) fn add(&mut self, ticket: Ticket) {
        self.batch.push_back(ticket);
    }

    /// Puts a ticket back until the next poll of the task.
    pub(super) fn put_off(&mut self, ticket: Ticket) {
        self.left = self.left.saturating_add(1);
        self.later.push(ticket);
    }

    /// The next one, unless the task has polled enough of them for now.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        if self.left == 0 {
            return None;
        }
        if self.batch.is_empty() {
            std::mem::swap(&mut self.batch, &mut self.ready.lock().woken);
        }
        let ticket = self.batch.pop_front()?;
        self.left -= 1;
        Some(ticket)
    }

    /// The poll ends with `Pending`.
    pub(super) fn end(&mut self, cx: &mut Context<'_>) {
        self.batch.extend(self.later.drain(..));
        if !self.batch.is_empty() {
            return cx.waker().wake_by_ref();
        }
        let host = match self.host.take() {
            Some(host) if host.will_wake(cx.waker()) => host,
            _ => cx.waker().clone(),
        };
        let surplus = {
            let mut state = self.ready.lock();
            match state.woken.is_empty() {
                true => state.host.replace(host),
                false => Some(host),
            }
        };
        if let Some(host) = surplus {
            host.wake();
        }
    }
}
