//! Runs the arms of a select against each other.

#![expect(
    unsafe_code,
    reason = "the ticket lies in the pinned future, so that a select that waits allocates nothing"
)]

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::marker::PhantomPinned;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::arm::{Attempt, Kind};
use super::arms::Arms;
use super::order::Order;
use crate::exchange::{Claimant, Ticket, TicketRef};
use crate::first_panic::FirstPanic;
use crate::park;

/// Waits until one arm took effect; its output is the number of that arm.
///
/// The arms are tried in random order. Those of channels enter the queues of
/// their channels if they have to wait, with one ticket for all, and whoever
/// claims that decides: a peer, or an arm that is ready when its turn comes.
/// Futures among the arms are polled before anything enters a queue.
///
/// A receive that a peer decided for can be revoked, a send cannot. So before
/// futures among the arms are polled again, the sends leave their queues: no
/// two arms take effect. They enter again behind the others.
///
/// Invariants:
/// 1. While an entry in a queue points to `ticket`, `published` is set and this
///    is pinned; every entry is removed before this is dropped.
/// 2. No two arms take effect: an arm that is tried while others are queued
///    must win the ticket first.
#[must_use = "a select does nothing unless it is awaited"]
pub struct Race<L: Arms> {
    arms: L,
    order: Order,
    stage: Stage,
    biased: bool,
    published: bool,
    /// Whether there are futures among the arms that take part.
    polls: bool,
    ticket: Ticket,
    _pinned: PhantomPinned,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    /// Others run first.
    Yielded,
    Waiting,
    Finished,
}

impl<L: Arms> Race<L> {
    /// Of the arms that are ready a random one wins.
    pub fn fair(arms: L) -> Self {
        Self::new(arms, false)
    }

    /// Of the arms that are ready the first one wins.
    pub fn biased(arms: L) -> Self {
        Self::new(arms, true)
    }

    fn new(mut arms: L, biased: bool) -> Self {
        let count = arms.count();
        let ticket = if (0..count).all(|index| arms.arm(index).is_local()) {
            Ticket::local()
        } else {
            Ticket::between_threads()
        };
        Self {
            order: Order::ascending(count),
            polls: (0..count).any(|index| arms.arm(index).kind() == Kind::Future),
            arms,
            stage: Stage::New,
            biased,
            published: false,
            ticket,
            _pinned: PhantomPinned,
        }
    }

    /// The arms, which are not pinned.
    pub(super) fn arms_mut(self: Pin<&mut Self>) -> &mut L {
        // SAFETY: the arms are `Unpin`, and nothing else is touched.
        unsafe { &mut self.get_unchecked_mut().arms }
    }

    /// The arm that is ready now, if one is.
    pub(crate) fn attempt_once(&mut self, context: &mut Context<'_>) -> Option<usize> {
        self.shuffle();
        self.try_alone(self.order.len(), context)
    }

    /// Shuffles the order; true if others are to run first, which happens to
    /// one select in 128, so that a loop around selects starves nobody.
    fn shuffle(&mut self) -> bool {
        let Some(first) = (0..self.arms.count()).find_map(|index| self.arms.arm(index).draw())
        else {
            return false;
        };
        if !self.biased {
            // One draw of the channel is stretched (an LCG of Numerical Recipes).
            let mut state = first;
            self.order.shuffle(|| {
                let drawn = state;
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                drawn
            });
        }
        first << 25 == 0
    }

    /// Tries the first arms of the order, without a word to others.
    fn try_alone(&mut self, most: usize, context: &mut Context<'_>) -> Option<usize> {
        for place in 0..most.min(self.order.len()) {
            let index = self.order.at(place);
            let arm = self.arms.arm(index);
            let ready = match arm.kind() {
                Kind::Disabled => false,
                Kind::Future => arm.poll(context),
                Kind::Recv | Kind::Send => arm.attempt(Claimant::ALONE, None) == Attempt::Done,
            };
            if ready {
                return Some(index);
            }
        }
        None
    }

    /// Whether the first arm of the order will probably have to wait.
    fn first_will_wait(&mut self) -> bool {
        self.order.len() > 0 && self.arms.arm(self.order.at(0)).will_wait()
    }

    /// Enters the queues with the arms that `which` names; the arm that took
    /// effect meanwhile, if one did.
    fn enlist(&mut self, which: impl Fn(Kind) -> bool) -> Option<usize> {
        self.published = true;
        for place in 0..self.order.len() {
            let index = self.order.at(place);
            let arm = self.arms.arm(index);
            let kind = arm.kind();
            if !matches!(kind, Kind::Recv | Kind::Send) || !which(kind) {
                continue;
            }
            // SAFETY: by invariant 1 entries go before the ticket does, and
            // `poll` is pinned, so it stays in place.
            let pointer = unsafe { TicketRef::new(&self.ticket) };
            let me = Claimant::arm_of(&self.ticket, index);
            match arm.attempt(me, Some((pointer, index))) {
                Attempt::Done => return Some(index),
                Attempt::Waits => {}
                Attempt::Lost => return self.decided(),
            }
        }
        None
    }

    /// The arm that a peer decided for, which fetches its outcome.
    fn decided(&mut self) -> Option<usize> {
        let winner = self.ticket.winner()?;
        self.arms.arm(winner).conclude();
        Some(winner)
    }

    /// Polls the futures among the arms, which wait with others.
    fn poll_futures(&mut self, context: &mut Context<'_>) -> Option<usize> {
        if !self.polls {
            return None;
        }
        let count = self.arms.count();
        let sends = (0..count).any(|index| self.arms.arm(index).kind() == Kind::Send);
        if sends {
            for index in 0..count {
                if self.arms.arm(index).kind() == Kind::Send {
                    self.arms.arm(index).withdraw();
                }
            }
            if let Some(winner) = self.decided() {
                return Some(winner);
            }
        }
        for place in 0..self.order.len() {
            let index = self.order.at(place);
            let arm = self.arms.arm(index);
            if arm.kind() == Kind::Future && arm.poll(context) {
                // A receive that was decided for meanwhile is revoked.
                self.ticket.win(index);
                return Some(index);
            }
        }
        if sends {
            return self.enlist(|kind| kind == Kind::Send);
        }
        None
    }

    /// Leaves every queue.
    fn withdraw_all(&mut self) {
        if !self.published {
            return;
        }
        // Whom this gives a value to may have a waker that panics. The other arms
        // have to leave all the same: their entries point here.
        let mut panic = FirstPanic::default();
        for index in 0..self.arms.count() {
            let arm = self.arms.arm(index);
            panic.catch(|| arm.withdraw());
        }
        self.published = false;
        panic.resume();
    }

    fn finish(&mut self, winner: usize) -> Poll<usize> {
        self.stage = Stage::Finished;
        self.withdraw_all();
        Poll::Ready(winner)
    }
}

impl<L: Arms> Future for Race<L> {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
        // SAFETY: nothing is moved out of this; the arms are `Unpin`.
        let this = unsafe { self.get_unchecked_mut() };
        match this.stage {
            Stage::New | Stage::Yielded => {
                if this.stage == Stage::New && this.shuffle() {
                    this.stage = Stage::Yielded;
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                // Entering the queues tries every arm of a channel anyway. The
                // first alone is tried before that, since it may spare the rest.
                let alone = if this.polls {
                    this.order.len()
                } else {
                    usize::from(!this.first_will_wait())
                };
                if let Some(winner) = this.try_alone(alone, context) {
                    return this.finish(winner);
                }
                this.ticket.set_first_waker(context.waker().clone());
                this.stage = Stage::Waiting;
                match this.enlist(|_| true) {
                    Some(winner) => this.finish(winner),
                    None => Poll::Pending,
                }
            }
            Stage::Waiting => {
                if let Some(winner) = this.decided() {
                    return this.finish(winner);
                }
                if !this.ticket.will_wake(context.waker()) {
                    drop(this.ticket.set_waker(context.waker().clone()));
                }
                if let Some(winner) = this.poll_futures(context) {
                    return this.finish(winner);
                }
                // A peer that decided before the waker was in place woke another.
                match this.decided() {
                    Some(winner) => this.finish(winner),
                    None => Poll::Pending,
                }
            }
            Stage::Finished => panic!("a select was polled after it had finished"),
        }
    }
}

impl<L: Arms> Drop for Race<L> {
    fn drop(&mut self) {
        if self.published {
            // So that nobody decides for one arm while another leaves.
            self.ticket.retire();
            self.withdraw_all();
        }
    }
}

impl<L: Arms> fmt::Debug for Race<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race")
            .field("arms", &self.arms.count())
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

/// Tries the arms once; its output is the number of the arm that took effect,
/// or that of arms if none is ready.
#[derive(Debug)]
#[must_use = "a select does nothing unless it is awaited"]
pub struct Once<L: Arms>(pub Race<L>);

/// It never waits, so nothing points into it.
impl<L: Arms> Unpin for Once<L> {}

impl<L: Arms> Once<L> {
    /// The same in a thread.
    pub fn now(mut self) -> usize {
        let count = self.0.arms.count();
        let mut context = Context::from_waker(Waker::noop());
        self.0.attempt_once(&mut context).unwrap_or(count)
    }
}

impl<L: Arms> Future for Once<L> {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
        let this = self.get_mut();
        let count = this.0.arms.count();
        Poll::Ready(this.0.attempt_once(context).unwrap_or(count))
    }
}

/// The outcome of the arm that won, or of one that follows.
#[derive(Debug)]
pub enum Pick<H, L> {
    /// Of this arm.
    Here(H),
    /// Of one that follows.
    Later(L),
}

/// What follows the last arm.
pub fn nobody() -> Infallible {
    unreachable!("one of the arms won")
}

/// Waits in a thread.
pub fn block_on<L: Arms>(race: Race<L>) -> usize {
    park::wait_for(race)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::select::arm::RecvArm;
    use crate::select::arms::Nil;

    #[test]
    fn only_a_select_among_local_channels_spares_the_locked_instructions() {
        let (_sender, receiver) = crate::rendezvous::<u8>();
        let (_local_sender, local) = crate::local::rendezvous::<u8>();
        let shared = || RecvArm::new(receiver.exchange());
        let private = || RecvArm::new(local.exchange());
        assert!(
            Race::fair(Nil.and(pin!(private())).and(pin!(private())))
                .ticket
                .is_local()
        );
        assert!(
            !Race::fair(Nil.and(pin!(private())).and(pin!(shared())))
                .ticket
                .is_local()
        );
        assert!(
            !Race::fair(Nil.and(pin!(shared())).and(pin!(private())))
                .ticket
                .is_local()
        );
    }
}
