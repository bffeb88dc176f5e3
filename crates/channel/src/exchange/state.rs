//! What the lock of an exchange protects: pure bookkeeping, no foreign code.

use std::collections::VecDeque;

use super::ticket::Claimant;
use crate::statistics::Statistics;
use crate::wait_list::WaitList;
use crate::wakes::Wakes;

mod direct;
mod entries;
mod limits;
mod matching;
mod waiting;

pub(crate) use entries::{Interest, Load};
pub(super) use entries::{Party, RecvStep, SendStep, Step, WaitingRecv, WaitingSend};

/// The most bytes of buffer that an empty channel without a bound keeps.
const KEPT_BYTES: usize = 512;

/// How many operations in a row may complete without waiting before one yields
/// to the other tasks of its thread.
const BUDGET: u8 = 128;

/// The protected part.
///
/// A waiting receive goes from `Waiting` to `Granted` when a value is promised
/// to it. A promise is a count, not a value: values stay in the buffer, in
/// order, until a granted receiver fetches the oldest. So revoking a promise
/// moves nothing and cannot reorder anything. A waiting send owns its value
/// until a peer moves it into the buffer or takes it. An entry of a select is
/// one of several with one [`Ticket`](super::ticket::Ticket); once that is
/// decided elsewhere the entry is *stale*, leaves the queue when somebody comes
/// upon it, and is no longer "queued" below.
///
/// Invariants, true whenever the lock is free:
/// 1. `promised` is the number of `Granted` receivers, at most `buffer.len()`.
/// 2. No receive is queued while the buffer holds an unpromised value.
/// 3. No send is queued while there is room: `promised` values take none, and
///    `reserved` slots do.
/// 4. No receive and send of different owners are queued together, unless a
///    reserved slot is meant for the receive.
/// 5. Once closed, no send is queued, and a receive only until the channel is
///    at its end: out of a reserved slot, or from a receiver that gives its
///    promise up, a value may still come.
/// 6. A send may just buffer its value while `buffer.len()` is below `send_limit`:
///    the channel is open then, nobody waits to receive, there is room, and
///    memory for it. What makes that less true lowers the limit at once; what
///    makes it more true may leave the limit too low until the next send.
/// 7. `buffer.len()` is at most the capacity and `promised` together, but for
///    values whose receiver was dropped or whose peer's waker panicked.
/// 8. `peak_mark` is at most `peak`, `promised` and one together: while `buffer.len()` is below it
///    there is neither a new peak to note nor, as far as is foreseen, the buffer full. It may be
///    too low until a send reaches it.
#[derive(Debug)]
pub(super) struct State<T> {
    buffer: VecDeque<T>,
    /// `usize::MAX` without a bound.
    capacity: usize,
    promised: u32,
    reserved: u32,
    send_limit: u32,
    senders: WaitList<WaitingSend<T>>,
    receivers: WaitList<WaitingRecv>,
    sent: u64,
    /// Accepted, but taken out by a close instead of a receiver.
    discarded: u64,
    peak: u32,
    peak_mark: u32,
    pub(super) sender_count: u32,
    pub(super) receiver_count: u32,
    pub(super) closed: bool,
    /// Operations that completed at once since the last one that waited.
    send_streak: u8,
    recv_streak: u8,
}

impl<T> State<T> {
    /// Empty and open, with one handle on each end.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            buffer: VecDeque::new(),
            capacity,
            promised: 0,
            reserved: 0,
            send_limit: 0,
            senders: WaitList::new(),
            receivers: WaitList::new(),
            sent: 0,
            discarded: 0,
            peak: 0,
            peak_mark: 0,
            sender_count: 1,
            receiver_count: 1,
            closed: false,
            send_streak: 0,
            recv_streak: 0,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many values a receive could have at once.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.buffer.len() - self.promised as usize
    }

    pub(super) fn is_full(&self) -> bool {
        !self.has_room()
    }

    /// Whether a value fits into the buffer.
    #[inline]
    fn has_room(&self) -> bool {
        self.len() + (self.reserved as usize) < self.capacity
    }

    /// How many slots can be had at once.
    fn room(&self) -> usize {
        self.capacity
            .saturating_sub(self.len() + self.reserved as usize)
    }

    /// Whether a waiting receiver is not spoken for by a slot reserved beyond
    /// the capacity. Those it counts are nobody's who was decided elsewhere.
    #[inline]
    fn has_receiver(&mut self) -> bool {
        let taken = self.len() + self.reserved as usize;
        let spoken_for = taken.saturating_sub(self.capacity);
        self.receivers.queued() > spoken_for && self.has_receivers(spoken_for + 1)
    }

    pub(super) fn statistics(&self) -> Statistics {
        Statistics {
            buffered: self.len(),
            peak: self.peak as usize,
            waiting_senders: self.senders.queued(),
            waiting_receivers: self.receivers.queued(),
            sent: self.sent,
            received: self.sent - self.discarded - self.buffer.len() as u64,
        }
    }

    /// Whether a send that would complete at once should let others run first.
    #[inline]
    pub(super) fn send_should_yield(&mut self) -> bool {
        let spent = self.send_streak >= BUDGET;
        self.send_streak = if spent { 0 } else { self.send_streak + 1 };
        spent
    }

    /// Whether a receive that would complete at once should let others run.
    #[inline]
    pub(super) fn recv_should_yield(&mut self) -> bool {
        let spent = self.recv_streak >= BUDGET;
        self.recv_streak = if spent { 0 } else { self.recv_streak + 1 };
        spent
    }

    /// Whether no value will come but those that are buffered and promised to
    /// nobody.
    #[inline]
    fn is_at_its_end(&self) -> bool {
        self.closed && self.reserved == 0 && self.promised == 0
    }

    /// Whether a send would have to wait.
    pub(super) fn sends_wait(&self) -> bool {
        !self.closed && !self.has_room() && self.receivers.is_empty()
    }

    /// Whether a receive would have to wait.
    pub(super) fn receives_wait(&self) -> bool {
        !self.closed && self.len() == 0 && self.senders.is_empty()
    }

    /// Attempts a send without waiting.
    #[inline]
    pub(super) fn send_now(
        &mut self,
        load: Load<T>,
        me: Claimant<'_>,
        wakes: &mut Wakes,
    ) -> SendStep<T> {
        if self.closed {
            return if me.win() {
                SendStep::Closed(load)
            } else {
                SendStep::Lost(load)
            };
        }
        if self.has_room() {
            if !me.win() {
                return SendStep::Lost(load);
            }
            self.accept(load, wakes);
            self.renew_send_limit();
            return SendStep::Sent;
        }
        if self.has_receiver() {
            return self.send_to_receiver(load, me, wakes);
        }
        SendStep::Full(load)
    }

    /// Attempts a receive without waiting.
    #[inline]
    pub(super) fn recv_now(&mut self, me: Claimant<'_>, wakes: &mut Wakes) -> RecvStep<T> {
        if self.len() > 0 {
            if !me.win() {
                return RecvStep::Lost;
            }
            if let Some(value) = self.take_front() {
                if !self.senders.is_empty() {
                    self.match_up(wakes);
                }
                return RecvStep::Received(value);
            }
        }
        if !self.senders.is_empty() {
            return self.recv_from_sender(me, wakes);
        }
        if self.is_at_its_end() {
            return if me.win() {
                RecvStep::Closed
            } else {
                RecvStep::Lost
            };
        }
        RecvStep::Empty
    }

    /// Takes up to `most` values, in order, those of waiting senders included.
    pub(super) fn recv_more(&mut self, into: &mut Vec<T>, most: usize, wakes: &mut Wakes) {
        let mut left = most;
        while left > 0 {
            let count = self.len().min(left);
            if count > 0 {
                into.extend(self.buffer.drain(..count));
                self.give_memory_back();
                left -= count;
                self.match_up(wakes);
            } else if !self.senders.is_empty()
                && let RecvStep::Received(value) = self.recv_from_sender(Claimant::ALONE, wakes)
            {
                into.push(value);
                left -= 1;
            } else {
                return;
            }
        }
    }

    /// Reserves up to `most` slots that can be had at once.
    pub(super) fn reserve_many(&mut self, most: usize) -> usize {
        if self.closed {
            return 0;
        }
        // Bounded by what is staged at a time, so that the count fits.
        let count = self.room().min(most);
        self.reserve(count as u32);
        count
    }

    /// Puts values into slots reserved before; gives back what nobody is left
    /// to receive.
    pub(super) fn fill_slots(&mut self, values: &mut Vec<T>, slots: usize, wakes: &mut Wakes) {
        self.reserved -= slots as u32;
        if self.receiver_count > 0 {
            self.sent += values.len() as u64;
            self.buffer.extend(values.drain(..));
            self.note_peak();
        }
        self.match_up(wakes);
    }

    /// Puts a value into a slot reserved before; gives it back if nobody is
    /// left to receive it.
    pub(super) fn fill_slot(&mut self, value: T, wakes: &mut Wakes) -> Option<T> {
        self.reserved -= 1;
        let refused = if self.receiver_count == 0 {
            Some(value)
        } else {
            self.accept(Load::Value(value), wakes);
            None
        };
        self.match_up(wakes);
        refused
    }

    /// Returns a value that was taken but could not be delivered to the head of
    /// the buffer.
    pub(super) fn put_back(&mut self, value: T, wakes: &mut Wakes) {
        self.buffer.push_front(value);
        self.match_up(wakes);
        self.note_peak();
    }

    /// Takes all values out, for nobody is left to receive them. Only a receive
    /// that was leaked can still hold a promise then.
    pub(super) fn abandon(&mut self) -> VecDeque<T> {
        self.promised = 0;
        self.send_limit = 0;
        self.peak_mark = 0;
        self.discarded += self.buffer.len() as u64;
        std::mem::take(&mut self.buffer)
    }

    /// Takes out all values that are promised to nobody.
    pub(super) fn discard(&mut self) -> Vec<T> {
        self.discarded += self.len() as u64;
        self.buffer.drain(self.promised as usize..).collect()
    }

    /// Takes the oldest value.
    #[inline]
    fn take_front(&mut self) -> Option<T> {
        let value = self.buffer.pop_front()?;
        if self.buffer.is_empty() {
            self.give_memory_back();
        }
        Some(value)
    }

    /// Takes a load for which there is room.
    #[inline]
    fn accept(&mut self, load: Load<T>, wakes: &mut Wakes) {
        match load {
            Load::Value(value) => {
                self.deposit(value);
                if self.receivers.is_empty() {
                    self.note_peak();
                } else {
                    self.promise(wakes);
                }
            }
            Load::Slot => self.reserve(1),
        }
    }

    /// Appends to the buffer, which grows on demand but not past the capacity.
    #[inline]
    fn deposit(&mut self, value: T) {
        if self.buffer.len() == self.buffer.capacity() {
            self.grow();
        }
        self.sent += 1;
        self.buffer.push_back(value);
    }

    #[cold]
    fn grow(&mut self) {
        let len = self.buffer.len();
        let wanted = (len * 2).max(4).min(self.capacity).max(len + 1);
        self.buffer.reserve_exact(wanted - len);
    }

    /// What a burst left behind is kept where there is a bound, for then it is
    /// bounded, too.
    #[inline]
    pub(super) fn give_memory_back(&mut self) {
        let bytes = self.buffer.capacity() * size_of::<T>();
        if bytes > KEPT_BYTES && self.capacity == usize::MAX && self.buffer.is_empty() {
            self.buffer.shrink_to(KEPT_BYTES / size_of::<T>());
        }
    }
}
