//! Brings waiting senders and receivers together.

use super::{Load, Party, RecvStep, SendStep, State, WaitingRecv, WaitingSend};
use crate::exchange::ticket::{Claimant, Match};
use crate::wait_list::Key;
use crate::wakes::Wakes;

/// Whether a receiver was found.
enum Found {
    Made,
    Nobody,
    /// Who searched was decided elsewhere.
    Lost,
}

impl<T> State<T> {
    /// Restores the invariants after a value, a slot or a waiting operation
    /// came or went: promises, admits and pairs, oldest first.
    pub(super) fn match_up(&mut self, wakes: &mut Wakes) {
        loop {
            if self.len() > 0 && !self.receivers.is_empty() {
                self.promise(wakes);
                continue;
            }
            let Some(key) = self.senders.front() else {
                break;
            };
            if self.has_room() {
                self.admit(key, wakes);
            } else if !self.has_receiver() || !self.pair(wakes) {
                break;
            }
        }
        self.end_receivers(wakes);
    }

    /// Promises values to queued receivers, oldest first, while there are both.
    pub(super) fn promise(&mut self, wakes: &mut Wakes) {
        while self.len() > 0
            && let Some(key) = self.receivers.front()
        {
            self.offer(key, wakes);
        }
    }

    /// Promises a value to a queued receiver, or tells it of one, and takes it
    /// out of the queue. A stale entry gets nothing.
    fn offer(&mut self, key: Key, wakes: &mut Wakes) {
        let Some(waiting) = self.receivers.settle(key) else {
            return;
        };
        match waiting {
            WaitingRecv::Waiting(Party::Select(ticket, arm)) => {
                if let Match::Made(waker) = Claimant::ALONE.match_with(ticket.ticket(), *arm) {
                    *waiting = WaitingRecv::Granted;
                    self.promised += 1;
                    wakes.extend(waker);
                }
            }
            WaitingRecv::Waiting(Party::Alone(_)) => {
                self.promised += 1;
                notify(waiting, WaitingRecv::Granted, wakes);
            }
            _ => notify(waiting, WaitingRecv::Told, wakes),
        }
    }

    /// Tells every queued receiver that nothing will come, if that is so.
    pub(super) fn end_receivers(&mut self, wakes: &mut Wakes) {
        if !self.is_at_its_end() {
            return;
        }
        while let Some(key) = self.receivers.front() {
            let Some(waiting) = self.receivers.settle(key) else {
                return;
            };
            match waiting {
                WaitingRecv::Waiting(Party::Select(ticket, arm)) => {
                    if let Match::Made(waker) = Claimant::ALONE.match_with(ticket.ticket(), *arm) {
                        *waiting = WaitingRecv::Told;
                        wakes.extend(waker);
                    }
                }
                _ => notify(waiting, WaitingRecv::Told, wakes),
            }
        }
    }

    /// Gives every queued sender its load back. Those of stale entries are
    /// fetched by their owners.
    pub(super) fn return_senders(&mut self, wakes: &mut Wakes) {
        while let Some(key) = self.senders.front() {
            let load = self.take_load(key, wakes);
            if let Some(load) = load
                && let Some(waiting) = self.senders.find(key)
            {
                *waiting = WaitingSend::Returned(load);
            }
        }
    }

    /// Takes what a queued sender brings into the room there is.
    fn admit(&mut self, key: Key, wakes: &mut Wakes) {
        if let Some(load) = self.take_load(key, wakes) {
            self.accept(load, wakes);
        }
    }

    /// Takes a queued sender out of the queue, and its load unless it is stale.
    fn take_load(&mut self, key: Key, wakes: &mut Wakes) -> Option<Load<T>> {
        let waiting = self.senders.settle(key)?;
        if let WaitingSend::Waiting(_, Party::Select(ticket, arm)) = waiting {
            let Match::Made(waker) = Claimant::ALONE.match_with(ticket.ticket(), *arm) else {
                return None;
            };
            wakes.extend(waker);
        }
        unload(waiting, wakes)
    }

    /// Matches a queued sender with a queued receiver that is somebody else's;
    /// false if no two can be matched.
    fn pair(&mut self, wakes: &mut Wakes) -> bool {
        let mut next = self.senders.front();
        while let Some(key) = next {
            next = self.senders.after(key);
            let found = match self.senders.find(key) {
                Some(WaitingSend::Waiting(Load::Slot, _)) => {
                    self.admit(key, wakes);
                    return true;
                }
                Some(WaitingSend::Waiting(Load::Value(_), Party::Select(ticket, arm))) => {
                    let (ticket, arm) = (*ticket, *arm);
                    let sender = Claimant::arm_of(ticket.ticket(), arm);
                    let found = self.find_receiver(sender, wakes);
                    if matches!(found, Found::Made) {
                        wakes.extend(ticket.ticket().take_waker());
                    }
                    found
                }
                _ => self.find_receiver(Claimant::ALONE, wakes),
            };
            match found {
                Found::Nobody => {}
                Found::Lost => {
                    self.senders.settle(key);
                    return true;
                }
                Found::Made => {
                    if let Some(waiting) = self.senders.settle(key)
                        && let Some(Load::Value(value)) = unload(waiting, wakes)
                    {
                        self.deposit(value);
                    }
                    return true;
                }
            }
        }
        false
    }

    /// A send that finds no room but a receiver.
    #[inline(never)]
    pub(super) fn send_to_receiver(
        &mut self,
        load: Load<T>,
        me: Claimant<'_>,
        wakes: &mut Wakes,
    ) -> SendStep<T> {
        let Load::Value(value) = load else {
            // A slot beyond the capacity, for the receiver that waits.
            self.reserve(1);
            return SendStep::Sent;
        };
        match self.find_receiver(me, wakes) {
            Found::Made => {
                self.deposit(value);
                // Where one was only told of it, the next may be promised it.
                self.promise(wakes);
                SendStep::Sent
            }
            Found::Nobody => SendStep::Full(Load::Value(value)),
            Found::Lost => SendStep::Lost(Load::Value(value)),
        }
    }

    /// Whether at least so many receivers wait. Stale entries that it comes upon
    /// leave the queue.
    #[inline(never)]
    pub(super) fn has_receivers(&mut self, wanted: usize) -> bool {
        let mut next = self.receivers.front();
        let mut found = 0;
        while found < wanted
            && let Some(key) = next
        {
            next = self.receivers.after(key);
            match self.receivers.find(key) {
                Some(WaitingRecv::Waiting(Party::Select(ticket, _)))
                    if ticket.ticket().is_decided() =>
                {
                    self.receivers.settle(key);
                }
                _ => found += 1,
            }
        }
        found == wanted
    }

    /// Commits `me` and the oldest receiver that is queued and somebody else's.
    /// The value that is meant for it must be deposited next.
    fn find_receiver(&mut self, me: Claimant<'_>, wakes: &mut Wakes) -> Found {
        let mut next = self.receivers.front();
        while let Some(key) = next {
            next = self.receivers.after(key);
            let Some(waiting) = self.receivers.find(key) else {
                continue;
            };
            match waiting {
                WaitingRecv::Waiting(Party::Select(ticket, arm)) => {
                    if me.is(ticket.ticket()) {
                        continue;
                    }
                    match me.match_with(ticket.ticket(), *arm) {
                        Match::Made(waker) => wakes.extend(waker),
                        Match::Lost => return Found::Lost,
                        Match::Gone => {
                            self.receivers.settle(key);
                            continue;
                        }
                    }
                    *waiting = WaitingRecv::Granted;
                    self.promised += 1;
                }
                WaitingRecv::Waiting(Party::Alone(_)) => {
                    if !me.win() {
                        return Found::Lost;
                    }
                    notify(waiting, WaitingRecv::Granted, wakes);
                    self.promised += 1;
                }
                _ => {
                    if !me.win() {
                        return Found::Lost;
                    }
                    notify(waiting, WaitingRecv::Told, wakes);
                }
            }
            self.receivers.settle(key);
            return Found::Made;
        }
        Found::Nobody
    }

    /// A receive that finds no value but a sender.
    #[inline(never)]
    pub(super) fn recv_from_sender(&mut self, me: Claimant<'_>, wakes: &mut Wakes) -> RecvStep<T> {
        let mut next = self.senders.front();
        while let Some(key) = next {
            next = self.senders.after(key);
            match self.senders.find(key) {
                Some(WaitingSend::Waiting(Load::Value(_), Party::Alone(_))) => {
                    if !me.win() {
                        return RecvStep::Lost;
                    }
                }
                Some(WaitingSend::Waiting(Load::Value(_), Party::Select(ticket, arm))) => {
                    if me.is(ticket.ticket()) {
                        continue;
                    }
                    match me.match_with(ticket.ticket(), *arm) {
                        Match::Made(waker) => wakes.extend(waker),
                        Match::Lost => return RecvStep::Lost,
                        Match::Gone => {
                            self.senders.settle(key);
                            continue;
                        }
                    }
                }
                // Who wants a slot gets one as soon as this receive waits.
                _ => return RecvStep::Empty,
            }
            if let Some(waiting) = self.senders.settle(key)
                && let Some(Load::Value(value)) = unload(waiting, wakes)
            {
                if self.buffer.is_empty() {
                    self.sent += 1;
                    return RecvStep::Received(value);
                }
                // Those that others were promised are older: take the oldest,
                // and let them have what follows.
                self.deposit(value);
                if let Some(oldest) = self.take_front() {
                    return RecvStep::Received(oldest);
                }
            }
        }
        RecvStep::Empty
    }
}

/// Changes a waiting receive that has a waker of its own.
fn notify(waiting: &mut WaitingRecv, to: WaitingRecv, wakes: &mut Wakes) {
    match std::mem::replace(waiting, to) {
        WaitingRecv::Waiting(Party::Alone(waker)) | WaitingRecv::Watching(waker) => {
            wakes.push(waker);
        }
        _ => {}
    }
}

/// Takes the load of a sender that is committed, and wakes it.
fn unload<T>(waiting: &mut WaitingSend<T>, wakes: &mut Wakes) -> Option<Load<T>> {
    match std::mem::replace(waiting, WaitingSend::Sent) {
        WaitingSend::Waiting(load, party) => {
            if let Party::Alone(waker) = party {
                wakes.push(waker);
            }
            if matches!(load, Load::Slot) {
                *waiting = WaitingSend::Reserved;
            }
            Some(load)
        }
        settled => {
            *waiting = settled;
            None
        }
    }
}
