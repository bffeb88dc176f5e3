//! Code of the user that looks at a world from outside its hosts: promises, checkers, ghost state.
//!
//! Invariants
//! 1. It runs between turns of the world, with the state free, never within a poll or an event.
//! 2. A world without promises and checkers pays one test of a flag per turn.

use crate::checker::{Checker, Violation};
use crate::current::{self, Shared};
use crate::driver::message_of;
use crate::event::{Event, EventKey};
use crate::failure::FailureKind;
use crate::link::nanos;
use crate::state::Running;
use crate::trace::EventKind;
use crate::watchdog::Code;
use std::any::{Any, TypeId, type_name};
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

/// Something that must become true.
struct Promise {
    id: &'static str,
    /// The host in whose name it was given.
    host: u32,
    given: u64,
    due: u64,
    /// Lets time come to `due`, also where nothing else happens then.
    key: EventKey,
    holds: Box<dyn FnMut() -> bool>,
}

type Ghost = Rc<RefCell<dyn Any>>;

#[derive(Default)]
pub(crate) struct Observers {
    /// Whether there is anything to do after a turn.
    looks: Cell<bool>,
    promises: RefCell<Vec<Promise>>,
    checkers: RefCell<Vec<Box<dyn Checker>>>,
    /// Found by type; never iterated by its id.
    ghosts: RefCell<Vec<(TypeId, Ghost)>>,
}

impl Observers {
    pub(crate) fn check_with(&self, checkers: Vec<Box<dyn Checker>>) {
        self.looks.set(self.looks.get() || !checkers.is_empty());
        self.checkers.replace(checkers);
    }

    /// Whether something must still become true.
    pub(crate) fn is_promised(&self) -> bool {
        self.looks.get() && !self.promises.borrow().is_empty()
    }

    /// Acts on the ghost value of type `T`, making it first.
    pub(crate) fn ghost<T: Default + 'static, R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        let id = TypeId::of::<T>();
        let known = self
            .ghosts
            .borrow()
            .iter()
            .find(|ghost| ghost.0 == id)
            .map(|ghost| Rc::clone(&ghost.1));
        let ghost = known.unwrap_or_else(|| {
            // Made with nothing borrowed, for it is code of the user.
            let ghost: Ghost = Rc::new(RefCell::new(T::default()));
            self.ghosts.borrow_mut().push((id, Rc::clone(&ghost)));
            ghost
        });
        let Ok(mut value) = ghost.try_borrow_mut() else {
            panic!(
                "the ghost value {} is used within its own use",
                type_name::<T>()
            );
        };
        match value.downcast_mut() {
            Some(value) => act(value),
            None => unreachable!("it was found by its type"),
        }
    }
}

/// Gives a promise in the world that turns on this thread.
pub(crate) fn promise(id: &'static str, within: Duration, holds: Box<dyn FnMut() -> bool>) {
    let Some(shared) = current::shared() else {
        panic!("eventually!: no simulated world turns on this thread");
    };
    let promise = shared.act(|state| {
        let given = state.now;
        let due = given.saturating_add(nanos(within));
        let cause = state.record(EventKind::Check, id, 0, due);
        Promise {
            id,
            host: state.host(),
            given,
            due,
            key: state.events.push(due, 0, Event::Look, cause),
            holds,
        }
    });
    shared.observers.promises.borrow_mut().push(promise);
    shared.observers.looks.set(true);
}

/// Looks at the world after a turn.
pub(crate) fn look(shared: &Shared) {
    if shared.observers.looks.get() {
        look_at_promises(shared);
        look_at_events(shared);
    }
}

/// Looks at the world after its end.
pub(crate) fn look_at_end(shared: &Shared) {
    look_at_events(shared);
    ask_checkers(shared, |checker| checker.at_end());
}

fn look_at_promises(shared: &Shared) {
    let promises = shared.observers.promises.take();
    if promises.is_empty() {
        return;
    }
    let mut open = Vec::new();
    for mut promise in promises {
        let running = Running {
            host: promise.host,
            task: None,
            number: 0,
        };
        let before = shared.act(|state| state.running.replace(running));
        let watching = shared.watch_now(Code::Condition);
        let held = catch_unwind(AssertUnwindSafe(&mut promise.holds));
        drop(watching);
        let stays = shared.act(|state| {
            let late = state.now >= promise.due;
            match held {
                Ok(true) => {
                    state.events.cancel(promise.key);
                    state.record(EventKind::Check, promise.id, 1, promise.due);
                }
                Ok(false) if late => {
                    let within = Duration::from_nanos(promise.due - promise.given);
                    let message = format!("it did not become true within {within:?}");
                    state.fail(FailureKind::Assertion(promise.id), message);
                }
                Ok(false) => {}
                Err(ref payload) => {
                    let text = message_of(payload);
                    let message = format!("{text} in the condition of eventually {:?}", promise.id);
                    state.fail(FailureKind::Panic, message);
                }
            }
            let stays = matches!(held, Ok(false)) && !late;
            state.running = before;
            stays
        });
        if stays {
            open.push(promise);
        }
    }
    // Those first that a condition gave: it may, if it does so once.
    shared.observers.promises.borrow_mut().extend(open);
}

fn look_at_events(shared: &Shared) {
    let events = shared.act(|state| state.trace.take_fresh());
    for event in events {
        ask_checkers(shared, |checker| checker.on_event(&event));
    }
}

/// Asks each checker; the first that objects fails the run.
fn ask_checkers(shared: &Shared, mut ask: impl FnMut(&mut dyn Checker) -> Result<(), Violation>) {
    let mut checkers = shared.observers.checkers.take();
    for checker in &mut checkers {
        let watching = shared.watch_now(Code::Checker);
        let answer = catch_unwind(AssertUnwindSafe(|| ask(&mut **checker)));
        drop(watching);
        shared.act(|state| match answer {
            Ok(Ok(())) => {}
            Ok(Err(Violation { id, message })) => state.fail(FailureKind::Assertion(id), message),
            Err(payload) => {
                let message = format!("{} in a checker", message_of(&payload));
                state.fail(FailureKind::Panic, message);
            }
        });
    }
    shared.observers.checkers.replace(checkers);
}
