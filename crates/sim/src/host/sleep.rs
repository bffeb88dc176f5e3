//! Waiting for the clock, and giving way.

use crate::current;
use crate::state::State;
use crate::task::Waits;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Completes when the host's clock reached a deadline; never before.
///
/// A deadline that passed completes at the first poll. [`Sleep::NEVER`] arms nothing, so a world
/// in which only such sleeps are left is a deadlock.
#[derive(Debug)]
#[must_use = "a sleep waits only while it is polled"]
pub struct Sleep {
    deadline: u64,
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    world: u64,
    slot: usize,
    serial: u64,
}

impl Sleep {
    /// The deadline that never comes.
    pub const NEVER: u64 = u64::MAX;

    /// A sleep until the host's clock shows `deadline` nanoseconds. Arms at its first poll.
    pub fn new(deadline: u64) -> Sleep {
        Sleep {
            deadline,
            armed: None,
        }
    }

    /// The deadline in nanoseconds of the host's clock.
    pub fn deadline(&self) -> u64 {
        self.deadline
    }

    /// Moves the deadline, also after completion. Wakes nobody; a stored waker stays.
    pub fn reset(mut self: Pin<&mut Self>, deadline: u64) {
        self.deadline = deadline;
        let Some(armed) = &self.armed else {
            return;
        };
        let (world, slot, serial) = (armed.world, armed.slot, armed.serial);
        let moved = current::with_world(world, "a sleep", |state| {
            if deadline == Sleep::NEVER {
                state.park_timer(slot, serial)
            } else {
                state.move_timer(slot, serial, deadline)
            }
        });
        if !moved {
            self.armed = None;
        }
    }

    fn disarm(&mut self) {
        if let Some(armed) = self.armed.take() {
            current::if_world(armed.world, |state| {
                state.drop_timer(armed.slot, armed.serial);
            });
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        let poll = |state: &mut State, armed: &mut Option<Armed>| {
            if state.clock() >= deadline && deadline != Sleep::NEVER {
                return Poll::Ready(());
            }
            if let Some(Armed { slot, serial, .. }) = *armed
                && let Some(timer) = state.timer(slot, serial)
            {
                if !timer.waker.will_wake(cx.waker()) {
                    let old = std::mem::replace(&mut timer.waker, cx.waker().clone());
                    state.dropped.push(old);
                }
            } else if deadline != Sleep::NEVER {
                let (slot, serial) = state.arm_timer(deadline, cx.waker());
                *armed = Some(Armed {
                    world: state.id,
                    slot,
                    serial,
                });
            }
            state.waits(match deadline {
                Sleep::NEVER => Waits::Never,
                at => Waits::Timer(at),
            });
            Poll::Pending
        };
        let mut armed = self.armed.take();
        let result = match &armed {
            Some(Armed { world, .. }) => {
                let world = *world;
                current::with_world(world, "a sleep", |state| poll(state, &mut armed))
            }
            None => current::with("sleep", |state| poll(state, &mut armed)),
        };
        self.armed = armed;
        if result.is_ready() {
            self.disarm();
        }
        result
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// Lets others run once; made by [`yield_now`].
#[derive(Debug)]
#[must_use = "giving way happens only when the future is polled"]
pub struct YieldNow {
    yielded: bool,
}

/// Pending once, and runnable again at once.
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
