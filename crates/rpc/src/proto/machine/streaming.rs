//! Items, and what both sides may send of them.

use bowline_backend::time::Instant;
use bytes::Bytes;

use super::{Machine, saturate};
use crate::proto::frame::CREDIT;
use crate::proto::outlet::{FRAGMENT, Message, Terms};
use crate::proto::{CallId, Failure, Items, Rejected};

impl Machine {
    /// Most bytes of messages whose credit may be granted beyond their windows now.
    pub(in crate::proto) fn budget(&self) -> usize {
        self.config.limits.reassembly.saturating_sub(self.held)
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
        let wire = self.open_wire(call)?;
        let window = self.config.limits.call_window;
        if self.inlets.consumed(wire, amount, window) {
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

    /// Nothing more of this call goes out or comes in, but what ends it.
    pub(in crate::proto) fn forget(&mut self, wire: u64) {
        self.outlets.remove(wire);
        if !self.inlets.is_empty() {
            if self.inlets.is_partial_reply(wire) {
                self.outgoing.skip(wire);
            }
            self.inlets.remove(wire, self.budget());
        }
    }

    /// A call of the peer is over: what it may still have sent meanwhile is forgiven.
    pub(in crate::proto) fn forget_theirs(&mut self, wire: u64) {
        self.outlets.remove(wire);
        if !self.inlets.is_empty() {
            self.forgiven = self.forgiven.saturating_add(self.inlets.under_way(wire));
            self.inlets.remove(wire, self.budget());
        }
    }
}
