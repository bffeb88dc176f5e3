//! How operations enter the queues, look after themselves and leave.

use std::task::Waker;

use super::{Interest, Load, Party, RecvStep, SendStep, State, Step, WaitingRecv, WaitingSend};
use crate::error::RecvError;
use crate::exchange::SendProgress;
use crate::exchange::ticket::{Claimant, TicketRef};
use crate::wait_list::Key;
use crate::wakes::Wakes;

impl<T> State<T> {
    /// Advances a send; `Err` gives back what it brought to a closed channel.
    #[inline]
    pub(in crate::exchange) fn advance_send(
        &mut self,
        progress: &mut SendProgress<T>,
        waker: &mut Option<Waker>,
        current: &Waker,
        wakes: &mut Wakes,
    ) -> Step<Result<(), Load<T>>> {
        let load = match std::mem::replace(progress, SendProgress::Finished) {
            SendProgress::Unsent(load) => load,
            SendProgress::Parked(key) => return self.resume_send(key, progress, waker, current),
            SendProgress::Finished => return Step::Misused,
        };
        // A second look, with a waker, is not another operation.
        if waker.is_none() && self.send_should_yield() {
            *progress = SendProgress::Unsent(load);
            return Step::Yield;
        }
        match self.send_now(load, Claimant::ALONE, wakes) {
            SendStep::Sent => Step::Finished(Ok(())),
            SendStep::Closed(load) => Step::Finished(Err(load)),
            SendStep::Full(load) | SendStep::Lost(load) => match waker.take() {
                Some(waker) => {
                    let key = self.park_send(load, Party::Alone(waker));
                    *progress = SendProgress::Parked(key);
                    Step::Parked
                }
                None => {
                    *progress = SendProgress::Unsent(load);
                    Step::NeedsWaker
                }
            },
        }
    }

    fn resume_send(
        &mut self,
        key: Key,
        progress: &mut SendProgress<T>,
        waker: &mut Option<Waker>,
        current: &Waker,
    ) -> Step<Result<(), Load<T>>> {
        if let Some(WaitingSend::Waiting(_, Party::Alone(known))) = self.senders.find(key) {
            *progress = SendProgress::Parked(key);
            return renew(known, waker, current);
        }
        Step::Finished(match self.senders.remove(key) {
            Some(WaitingSend::Returned(load)) => Err(load),
            // Only its future removes an entry.
            _ => Ok(()),
        })
    }

    /// Advances a receive; `parked` names its place in the queue, if any.
    #[inline]
    pub(in crate::exchange) fn advance_recv(
        &mut self,
        parked: &mut Option<Key>,
        interest: Interest,
        waker: &mut Option<Waker>,
        current: &Waker,
        wakes: &mut Wakes,
    ) -> Step<Result<T, RecvError>> {
        if let Some(key) = *parked {
            match self.receivers.find(key) {
                Some(WaitingRecv::Waiting(Party::Alone(known)) | WaitingRecv::Watching(known)) => {
                    return renew(known, waker, current);
                }
                Some(WaitingRecv::Granted) => self.end_promise(),
                _ => {}
            }
            self.receivers.remove(key);
            *parked = None;
            // With its promise revoked there is a value for a granted one, by
            // invariants 1 and 2. Who was only told starts again.
        } else if waker.is_none() && self.recv_should_yield() {
            return Step::Yield;
        }
        match self.recv_now(Claimant::ALONE, wakes) {
            RecvStep::Received(value) => {
                // It may have been the last promise.
                self.end_receivers(wakes);
                Step::Finished(Ok(value))
            }
            RecvStep::Closed => Step::Finished(Err(RecvError)),
            RecvStep::Empty | RecvStep::Lost => match waker.take() {
                Some(waker) => {
                    let waiting = match interest {
                        Interest::Promise => WaitingRecv::Waiting(Party::Alone(waker)),
                        Interest::Notice => WaitingRecv::Watching(waker),
                    };
                    *parked = Some(self.park_recv(waiting, wakes));
                    Step::Parked
                }
                None => Step::NeedsWaker,
            },
        }
    }

    fn park_send(&mut self, load: Load<T>, party: Party) -> Key {
        self.send_streak = 0;
        self.senders.push_back(WaitingSend::Waiting(load, party))
    }

    fn park_recv(&mut self, waiting: WaitingRecv, wakes: &mut Wakes) -> Key {
        self.recv_streak = 0;
        self.bar_senders();
        let key = self.receivers.push_back(waiting);
        if !self.senders.is_empty() {
            // Somebody wants a slot for whoever receives.
            self.match_up(wakes);
        }
        key
    }

    /// Queues the send arm of a select, after [`send_now`](Self::send_now)
    /// said that it has to wait.
    pub(in crate::exchange) fn enlist_send(
        &mut self,
        load: Load<T>,
        ticket: TicketRef,
        arm: usize,
    ) -> Key {
        self.park_send(load, Party::Select(ticket, arm))
    }

    /// Queues the receive arm of a select, after [`recv_now`](Self::recv_now)
    /// said that it has to wait.
    pub(in crate::exchange) fn enlist_recv(
        &mut self,
        ticket: TicketRef,
        arm: usize,
        wakes: &mut Wakes,
    ) -> Key {
        self.park_recv(WaitingRecv::Waiting(Party::Select(ticket, arm)), wakes)
    }

    /// Removes a send that is given up, or one that won.
    pub(in crate::exchange) fn forget_send(
        &mut self,
        key: Key,
        wakes: &mut Wakes,
    ) -> Option<WaitingSend<T>> {
        let waiting = self.senders.remove(key);
        if matches!(waiting, Some(WaitingSend::Reserved)) {
            self.release_slots(1, wakes);
        } else if !self.senders.is_empty() {
            // It may have stood before one that can be matched.
            self.match_up(wakes);
        }
        waiting
    }

    /// Removes a receive that is given up; a value promised to it is promised
    /// to the next one.
    pub(in crate::exchange) fn forget_recv(
        &mut self,
        key: Key,
        wakes: &mut Wakes,
    ) -> Option<WaitingRecv> {
        let waiting = self.receivers.remove(key);
        if matches!(waiting, Some(WaitingRecv::Granted)) {
            self.end_promise();
            self.match_up(wakes);
            self.note_peak();
        }
        waiting
    }

    /// Fetches what the receive arm that won a select was woken for.
    pub(in crate::exchange) fn conclude_recv(
        &mut self,
        key: Key,
        wakes: &mut Wakes,
    ) -> Result<T, RecvError> {
        if let Some(WaitingRecv::Granted) = self.receivers.remove(key) {
            self.end_promise();
        }
        // Who was told the end looks, too: a value that could not be delivered may be back.
        let RecvStep::Received(value) = self.recv_now(Claimant::ALONE, wakes) else {
            return Err(RecvError);
        };
        self.end_receivers(wakes);
        Ok(value)
    }

    /// Gives reserved slots up.
    pub(in crate::exchange) fn release_slots(&mut self, slots: usize, wakes: &mut Wakes) {
        self.reserved -= slots as u32;
        self.match_up(wakes);
    }

    /// Closes: senders find their loads returned, receivers the end, unless a
    /// value may still come.
    pub(in crate::exchange) fn close(&mut self, wakes: &mut Wakes) {
        self.closed = true;
        self.bar_senders();
        self.return_senders(wakes);
        self.end_receivers(wakes);
    }
}

/// Makes sure that a queued entry wakes the task that polled last. The waker
/// that is replaced leaves through `fresh`, to be dropped without the lock.
fn renew<R>(known: &mut Waker, fresh: &mut Option<Waker>, current: &Waker) -> Step<R> {
    if known.will_wake(current) {
        return Step::Parked;
    }
    match fresh {
        Some(fresh) => {
            std::mem::swap(known, fresh);
            Step::Parked
        }
        None => Step::NeedsWaker,
    }
}
