//! What happens most often, in a straight line: a value goes in or out of the
//! buffer, a peer waits, or has to be waited for. Whatever is out of the
//! ordinary is left to the general steps.

use std::task::Waker;

use super::{BUDGET, Load, Party, State, WaitingRecv, WaitingSend};
use crate::exchange::SendProgress;
use crate::exchange::ticket::{Claimant, Match, TicketRef};
use crate::wait_list::Key;

impl<T> State<T> {
    /// Whether a send has nothing to do but to put its value into the buffer,
    /// which is the most frequent case by far.
    #[inline]
    pub(in crate::exchange) fn can_just_buffer(&self) -> bool {
        let can = self.buffer.len() < self.send_limit as usize
            && self.buffer.len() < self.buffer.capacity();
        debug_assert!(!can || (!self.closed && self.receivers.is_empty() && self.has_room()));
        can
    }

    /// Whether a send that completes at once need not let others run first.
    #[inline]
    pub(in crate::exchange) fn has_send_budget(&self) -> bool {
        self.send_streak < BUDGET
    }

    /// Does so; whether that filled the buffer.
    #[inline(always)]
    pub(in crate::exchange) fn just_buffer(&mut self, value: T) -> bool {
        self.send_streak += 1;
        self.just_try_buffer(value)
    }

    /// Whether a receive that completes at once need not let others run first.
    #[inline]
    pub(in crate::exchange) fn has_recv_budget(&self) -> bool {
        self.recv_streak < BUDGET
    }

    /// Counts a send that completed at once, of those there is budget for.
    #[inline]
    pub(in crate::exchange) fn count_send(&mut self) {
        self.send_streak += 1;
    }

    /// Counts a receive that completed at once, of those there is budget for.
    #[inline]
    pub(in crate::exchange) fn count_recv(&mut self) {
        self.recv_streak += 1;
    }

    /// Whether the buffer holds nothing, promised or not.
    #[inline]
    pub(in crate::exchange) fn is_drained(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The same for one who does not wait.
    #[inline(always)]
    pub(in crate::exchange) fn just_try_buffer(&mut self, value: T) -> bool {
        self.buffer.push_back(value);
        self.sent += 1;
        let full = self.buffer.len() >= self.peak_mark as usize && self.note_mark();
        debug_assert!(self.len() <= self.peak as usize);
        full
    }

    /// Whether a receive has nothing to do but to take a value out of the buffer.
    #[inline]
    pub(in crate::exchange) fn can_just_unbuffer(&self) -> bool {
        self.senders.is_empty() && self.len() > 0
    }

    /// Does so, unless it should let others run first. Who takes the last value
    /// gives memory back.
    #[inline]
    pub(in crate::exchange) fn just_unbuffer(&mut self) -> Option<T> {
        if self.recv_streak < BUDGET && self.can_just_unbuffer() {
            self.recv_streak += 1;
            self.buffer.pop_front()
        } else {
            None
        }
    }

    /// Does so for one who does not wait.
    #[inline]
    pub(in crate::exchange) fn just_try_unbuffer(&mut self) -> Option<T> {
        if self.can_just_unbuffer() {
            self.take_front()
        } else {
            None
        }
    }

    /// Promises the value of a send to the receiver that has waited longest;
    /// whom to wake. `None` leaves all as it is: it is not that simple.
    #[inline]
    pub(in crate::exchange) fn hand_over(
        &mut self,
        progress: &mut SendProgress<T>,
    ) -> Option<Option<Waker>> {
        // With a slot reserved the receiver may be spoken for. Without, none is
        // queued beside an unpromised value (2).
        if self.closed
            || self.reserved > 0
            || !matches!(progress, SendProgress::Unsent(Load::Value(_)))
        {
            return None;
        }
        let settled = self.receivers.settle_front(|waiting| match waiting {
            WaitingRecv::Waiting(Party::Alone(_)) => {
                match std::mem::replace(waiting, WaitingRecv::Granted) {
                    WaitingRecv::Waiting(Party::Alone(waker)) => Some(Some(waker)),
                    _ => None,
                }
            }
            WaitingRecv::Waiting(Party::Select(ticket, arm)) => {
                match Claimant::ALONE.match_with(ticket.ticket(), *arm) {
                    Match::Made(waker) => {
                        *waiting = WaitingRecv::Granted;
                        Some(waker)
                    }
                    Match::Gone | Match::Lost => None,
                }
            }
            _ => None,
        })?;
        if let SendProgress::Unsent(Load::Value(value)) =
            std::mem::replace(progress, SendProgress::Finished)
        {
            self.promised += 1;
            self.deposit(value);
        }
        if self.capacity > 0 {
            self.renew_send_limit();
        }
        Some(settled)
    }

    /// Takes a value that makes room for that of the sender that has waited
    /// longest; it and whom to wake, unless that is not so simple.
    #[inline]
    pub(in crate::exchange) fn relieve(&mut self) -> Option<(T, Waker)> {
        if self.senders.is_empty() {
            return None;
        }
        // A buffered value that goes must leave room for exactly one; where none
        // is, the value of the sender takes no room.
        if self.len() > 0 && self.len() + self.reserved as usize > self.capacity {
            return None;
        }
        let (value, waker) = self.senders.settle_front(|waiting| {
            if !matches!(
                waiting,
                WaitingSend::Waiting(Load::Value(_), Party::Alone(_))
            ) {
                return None;
            }
            match std::mem::replace(waiting, WaitingSend::Sent) {
                WaitingSend::Waiting(Load::Value(value), Party::Alone(waker)) => {
                    Some((value, waker))
                }
                _ => None,
            }
        })?;
        let oldest = match self.buffer.pop_front() {
            Some(oldest) => {
                self.deposit(value);
                oldest
            }
            None => {
                self.sent += 1;
                value
            }
        };
        Some((oldest, waker))
    }

    /// Fetches the value that a receive was promised, and its entry with it;
    /// `None` leaves all as it is.
    #[inline]
    pub(in crate::exchange) fn fetch(&mut self, key: Key) -> Option<T> {
        // Others may wait for what becomes of the promise.
        if self.closed {
            return None;
        }
        let granted = self
            .receivers
            .remove_plain(key, |waiting| matches!(waiting, WaitingRecv::Granted));
        if !granted {
            return None;
        }
        // There is one for each promise (1). Neither what is unpromised nor the
        // room changes, so nobody else is concerned.
        self.end_promise();
        self.take_front()
    }

    /// Whether a queued send was taken; its entry goes then.
    #[inline]
    pub(in crate::exchange) fn collect(&mut self, key: Key) -> bool {
        self.senders
            .remove_plain(key, |waiting| matches!(waiting, WaitingSend::Sent))
    }

    /// Queues a send that finds neither room nor receiver.
    #[inline]
    pub(in crate::exchange) fn queue_send(&mut self, load: Load<T>, waker: Waker) -> Key {
        self.send_streak = 0;
        self.senders
            .push_back(WaitingSend::Waiting(load, Party::Alone(waker)))
    }

    /// Queues a receive that finds neither value nor sender.
    #[inline]
    pub(in crate::exchange) fn queue_recv(&mut self, waker: Waker) -> Key {
        self.recv_streak = 0;
        self.bar_senders();
        self.receivers
            .push_back(WaitingRecv::Waiting(Party::Alone(waker)))
    }

    /// Queues the receive arm of a select that finds neither value nor sender.
    #[inline]
    pub(in crate::exchange) fn queue_arm(&mut self, ticket: TicketRef, arm: usize) -> Key {
        self.recv_streak = 0;
        self.bar_senders();
        self.receivers
            .push_back(WaitingRecv::Waiting(Party::Select(ticket, arm)))
    }

    /// Takes the entry of a receive arm that lost out of its queue; not one
    /// that was promised a value.
    #[inline]
    pub(in crate::exchange) fn unqueue_arm(&mut self, key: Key) -> bool {
        self.receivers.remove_plain(key, |waiting| {
            matches!(waiting, WaitingRecv::Waiting(Party::Select(..)))
        })
    }

    /// Whether the next send would have to wait, after one that was handed over.
    #[inline]
    pub(in crate::exchange) fn next_send_waits(&self) -> bool {
        self.capacity == 0 && self.receivers.is_empty()
    }

    /// Whether the next receive would have to wait, after one that relieved a
    /// sender.
    #[inline]
    pub(in crate::exchange) fn next_recv_waits(&self) -> bool {
        self.senders.is_empty() && self.len() == 0
    }
}
