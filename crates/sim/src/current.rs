//! The world that turns on this thread.
//!
//! Invariants
//! 1. A world is entered by its driver alone, on the thread that made it, and only while it turns.
//! 2. The state is borrowed only inside [`Shared::act`], and nothing of the user runs there: wakers
//!    to wake or drop are handed out and handled after the borrow ended.

use crate::failure::FailureKind;
use crate::observers::Observers;
use crate::state::State;
use crate::watchdog::{Code, Watchdog, Watching};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

pub(crate) struct Shared {
    pub(crate) id: u64,
    state: RefCell<State>,
    pub(crate) observers: Observers,
    /// Started with the first code that runs.
    watchdog: OnceCell<Watchdog>,
}

impl Shared {
    pub(crate) fn new(state: State) -> Rc<Shared> {
        Rc::new(Shared {
            id: state.id,
            state: RefCell::new(state),
            observers: Observers::default(),
            watchdog: OnceCell::new(),
        })
    }

    /// Watches the code that begins now, so many events after the beginning of the world.
    pub(crate) fn watch(&self, code: Code, event: u64) -> Watching<'_> {
        let start = || {
            self.act(|state| {
                let hosts = state.machines.iter();
                let hosts = hosts.map(|machine| Arc::clone(&machine.name)).collect();
                Watchdog::start(self.id, &state.config, hosts)
            })
        };
        self.watchdog.get_or_init(start).begin(code, event)
    }

    /// As [`watch`](Self::watch), after all events there are.
    pub(crate) fn watch_now(&self, code: Code) -> Watching<'_> {
        let event = self.act(|state| state.trace.len());
        self.watch(code, event)
    }

    /// Acts on the state, then wakes and drops what the act handed out.
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let (result, mut woken, mut dropped) = {
            let mut state = self.state.borrow_mut();
            let result = act(&mut state);
            if state.woken.is_empty() && state.dropped.is_empty() {
                return result;
            }
            (
                result,
                std::mem::take(&mut state.woken),
                std::mem::take(&mut state.dropped),
            )
        };
        woken.drain(..).for_each(Waker::wake);
        dropped.clear();
        // Their room is used again: a wake costs no allocation.
        let mut state = self.state.borrow_mut();
        if state.woken.is_empty() && state.dropped.is_empty() {
            state.woken = woken;
            state.dropped = dropped;
        }
        drop(state);
        result
    }
}

thread_local! {
    static WORLD: RefCell<Option<Rc<Shared>>> = const { RefCell::new(None) };
    static WORLD_ID: Cell<u64> = const { Cell::new(0) };
}

/// Marks the world as turning on this thread until dropped.
pub(crate) struct Entered(());

pub(crate) fn enter(shared: &Rc<Shared>) -> Entered {
    assert!(
        !is_running(),
        "a simulated world turns on this thread already; worlds do not nest"
    );
    WORLD.set(Some(Rc::clone(shared)));
    WORLD_ID.set(shared.id);
    Entered(())
}

impl Drop for Entered {
    fn drop(&mut self) {
        WORLD_ID.set(0);
        let world = WORLD.take();
        drop(world);
    }
}

pub(crate) fn is_running() -> bool {
    WORLD_ID.try_with(Cell::get).is_ok_and(|id| id != 0)
}

pub(crate) fn is_world(id: u64) -> bool {
    WORLD_ID
        .try_with(Cell::get)
        .is_ok_and(|current| current == id)
}

/// The world that turns on this thread.
pub(crate) fn shared() -> Option<Rc<Shared>> {
    WORLD
        .try_with(|world| world.borrow().clone())
        .ok()
        .flatten()
}

/// Acts on the world of this thread.
pub(crate) fn with<R>(what: &str, act: impl FnOnce(&mut State) -> R) -> R {
    match shared() {
        Some(shared) => shared.act(act),
        None => panic!("{what}: no simulated world turns on this thread"),
    }
}

/// Acts on the world `id`, in which some object was made. Use elsewhere is a failure of the world
/// that turns here, for no run could repeat it.
pub(crate) fn with_world<R>(id: u64, what: &str, act: impl FnOnce(&mut State) -> R) -> R {
    match shared() {
        Some(shared) if shared.id == id => shared.act(act),
        Some(shared) => {
            let message = format!("{what} of another world was used");
            shared.act(|state| state.fail(FailureKind::Nondeterminism, message.clone()));
            panic!("{message}");
        }
        None => panic!("nondeterminism: {what} was used outside its simulated world"),
    }
}

/// Acts on the world `id` if it turns here; for destructors, which are inert elsewhere.
pub(crate) fn if_world(id: u64, act: impl FnOnce(&mut State)) {
    if let Some(shared) = shared().filter(|shared| shared.id == id) {
        shared.act(act);
    }
}
