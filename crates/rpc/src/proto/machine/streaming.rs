//! Items, and what both sides may send of them.

use bowline_backend::time::Instant;
use bytes::Bytes;

use super::{Machine, saturate};
use crate::proto::frame::CREDIT;
use crate::proto::inlet::Starving;
use crate::proto::outlet::{FRAGMENT, Message, Terms};
use crate::proto::{CallId, Failure, Items, Rejected};

impl Machine {
    /// Most bytes that may be granted beyond the windows of the calls of one side, and not be taken.
    pub(in crate::proto) fn budget(&self) -> usize {
        self.config.limits.reassembly
    }

    /// Whether the program has to say when it took what came on this call, even if the call is over.
    pub(crate) fn is_untaken(&self, call: CallId) -> bool {
        self.inlets.is_untaken(call)
    }

    /// Messages that wait for the program to take others, of which [`awaited`](Self::awaited) is to be told
    /// which it waits for; each time one that was let in so has been taken, again.
    pub(crate) fn starving(&mut self) -> Vec<Starving> {
        self.inlets.starving()
    }

    /// The program waits for what comes next on `call`.
    pub(crate) fn awaited(&mut self, call: CallId) {
        if let Ok(wire) = self.open_wire(call) {
            self.inlets.awaited(wire);
        }
    }

    /// The number on the wire of a call that is open on both sides.
    fn open_wire(&self, call: CallId) -> Result<u64, Rejected> {
        if call.is_ours() {
            match self.outgoing.wire_of_waiting(call) {
                Some(0) => Err(Rejected::NoRoom),
                Some(wire) => Ok(wire),
                None => Err(Rejected::NoSuchCall),
            }
        } else if self.incoming.is_open(call) {
            Ok(call.as_u64())
        } else {
            Err(Rejected::NoSuchCall)
        }
    }

    pub(super) fn item(&mut self, call: CallId, body: Bytes) -> Result<CallId, Rejected> {
        let wire = self.open_wire(call)?;
        if !self.outlets.streams(wire) {
            return Err(Rejected::NoSuchCall);
        }
        if body.len() > self.agreed.max_body {
            return Err(Rejected::TooLarge {
                limit: saturate(self.agreed.max_body),
                actual: saturate(body.len()),
            });
        }
        let limits = &self.config.limits;
        let most = if call.is_ours() {
            limits.queue_bytes
        } else {
            limits.reply_bytes
        };
        match self.outlets.has_room(wire, body.len(), most) {
            Some(true) => {
                self.outlets.push(wire, Message::Item(body));
                Ok(call)
            }
            Some(false) => Err(Rejected::NoRoom),
            None => Err(Rejected::NoSuchCall),
        }
    }

    pub(super) fn items(&mut self, call: CallId, mut items: Items) -> Result<CallId, Rejected> {
        let wire = self.open_wire(call)?;
        if !self.outlets.streams(wire) {
            return Err(Rejected::NoSuchCall);
        }
        if let Err(actual) = items.address(wire) {
            return Err(Rejected::TooLarge {
                limit: saturate(Items::LONGEST),
                actual: saturate(actual),
            });
        }
        if items.is_empty() {
            return Ok(call);
        }
        if items.charge() > self.outlets.room(wire) {
            self.outlets.want(wire);
            return Err(Rejected::NoRoom);
        }
        self.outlets.push(wire, Message::Items(items));
        Ok(call)
    }

    /// What several items may have of charge together, to be taken now.
    pub(crate) fn room_for_items(&self, call: CallId) -> u64 {
        self.open_wire(call)
            .map_or(0, |wire| self.outlets.room(wire))
    }

    pub(super) fn end_items(&mut self, call: CallId) -> Result<CallId, Rejected> {
        let wire = self.open_wire(call)?;
        if !call.is_ours() || !self.outlets.streams(wire) {
            return Err(Rejected::NoSuchCall);
        }
        self.outlets.push(wire, Message::End);
        self.outlets.end(wire);
        Ok(call)
    }

    pub(super) fn consumed(&mut self, call: CallId, amount: u64) -> Result<CallId, Rejected> {
        if call == CallId::CONNECTION {
            self.notifications_taken(amount);
            return Ok(call);
        }
        let budget = self.budget();
        if self.inlets.took_left(call, amount, budget) {
            return Ok(call);
        }
        let wire = self.open_wire(call)?;
        let window = self.config.limits.call_window;
        if self.inlets.consumed(wire, amount, window, budget) {
            Ok(call)
        } else {
            Err(Rejected::NoSuchCall)
        }
    }

    /// How much of what came on a call may be taken until the peer has to be granted more.
    pub(crate) fn ungranted(&self, call: CallId) -> u64 {
        let window = self.config.limits.call_window;
        match self.open_wire(call) {
            Ok(wire) => self.inlets.ungranted(wire, window),
            // Nothing came yet.
            Err(_) => u64::from(window / 2).max(1),
        }
    }

    /// Nobody here takes the notification of an event.
    pub(crate) fn drop_notification(&mut self) {
        self.stats.dropped_notifications += 1;
        self.notifications_taken(1);
    }

    /// So many notifications have a handler: their credit is given back in halves of the window.
    pub(in crate::proto) fn notifications_taken(&mut self, amount: u64) {
        let window = self.config.limits.notify_window;
        let taken = u64::from(self.notifications_taken) + amount;
        self.notifications_taken = saturate(taken as usize).min(self.notifications);
        if self.notifications_taken >= window.div_ceil(2) && self.control.len() < 4096 {
            let taken = std::mem::take(&mut self.notifications_taken);
            self.notifications -= taken;
            self.put_control(CREDIT, 0, &taken.to_be_bytes());
        }
    }

    /// Whether a reply goes out as one frame that needs no more credit than there is at the beginning.
    pub(super) fn is_one_frame(&self, length: usize) -> bool {
        length <= FRAGMENT.min(self.agreed.max_frame)
            && Machine::charge(length) <= self.agreed.call_window
    }

    /// Answers a call that has an outlet, or whose reply needs one.
    pub(super) fn answer_in_parts(
        &mut self,
        now: Instant,
        call: CallId,
        answer: Result<Bytes, Failure>,
    ) -> Result<CallId, Rejected> {
        let wire = call.as_u64();
        let (priority, cancelled, deadline) = self.incoming.answered(wire)?;
        if !self.outlets.contains(wire) {
            let terms = Terms {
                call,
                credit: self.agreed.call_window,
                window: self.agreed.call_window,
                most: self.config.limits.call_window,
                priority,
                streams: false,
            };
            self.outlets.open(wire, terms);
        }
        match answer {
            Err(failure) if cancelled => self.outlets.replace(wire, Box::new(failure)),
            Err(failure) => self.outlets.push(wire, Message::Fail(Box::new(failure))),
            Ok(_) if cancelled => self.outlets.replace(wire, Box::new(super::given_up())),
            Ok(body) => self.outlets.push(wire, Message::Reply(body)),
        }
        // By then the caller has given it up, whatever becomes of this connection.
        let longest = now.saturating_add(self.config.limits.max_deadline);
        self.outlets.wait_until(wire, deadline.min(longest));
        Ok(call)
    }

    /// Nothing more of this call goes out or comes in, but what ends it. What came of it may not be taken.
    pub(in crate::proto) fn forget(&mut self, wire: u64) {
        self.outlets.remove(wire);
        if !self.inlets.is_empty() {
            if self.inlets.is_partial_reply(wire) {
                self.outgoing.skip(wire);
            }
            self.inlets.remove(wire, false, self.budget());
        }
    }

    /// A call of the peer is over: what it may still have sent meanwhile is forgiven.
    pub(in crate::proto) fn forget_theirs(&mut self, wire: u64) {
        self.outlets.remove(wire);
        if !self.inlets.is_empty() {
            self.forgiven = self.forgiven.saturating_add(self.inlets.under_way(wire));
            self.inlets.remove(wire, true, self.budget());
        }
    }
}
