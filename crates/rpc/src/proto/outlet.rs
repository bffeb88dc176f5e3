//! What one call sends that is more than one frame, or one of many: messages, their parts, credit.

use std::collections::VecDeque;

use bowline_backend::time::Instant;
use bytes::{Buf, Bytes};

use super::frame::CHARGE;
use super::{CallId, Failure, Items};

/// Longest part of a message that goes out in parts.
pub(super) const FRAGMENT: usize = 32 * 1024;
/// Something a call has to say, in its order.
#[derive(Debug)]
pub(super) enum Message {
    /// An item, or what is left of the arguments.
    Item(Bytes),
    /// Items that are one frame each.
    Items(Items),
    /// The reply: nothing comes after it.
    Reply(Bytes),
    /// The error: nothing comes after it.
    Fail(Box<Failure>),
    /// The end of the caller's items.
    End,
}

impl Message {
    fn body(&self) -> Option<&Bytes> {
        match self {
            Message::Item(body) | Message::Reply(body) => Some(body),
            Message::Items(_) | Message::Fail(_) | Message::End => None,
        }
    }

    /// What it takes of the credit.
    pub(super) fn charge(&self) -> usize {
        match self {
            Message::Items(items) => items.charge() as usize,
            _ => self.body().map_or(0, |body| body.len() + CHARGE),
        }
    }

    pub(super) fn held(&self) -> usize {
        let more = match self {
            Message::Fail(failure) => size_of::<Failure>() + failure.held(),
            Message::Items(items) => items.charge() as usize,
            _ => 0,
        };
        size_of::<Message>() + self.body().map_or(0, Bytes::len) + more
    }
}

/// What goes into one frame.
#[derive(Debug)]
pub(super) enum Part {
    /// A whole item or reply, or several items.
    Whole(Message),
    /// The first part of an item, or of a reply; what it is a part of has so many bytes.
    First {
        reply: bool,
        total: u32,
        body: Bytes,
    },
    /// A further part; `more` if it is not the last.
    Further { body: Bytes, more: bool },
}

/// One direction of one call.
// Invariants
// L3 items that go together have their credit when they are pushed, and what is before them has its own.
// L4 while the front is `begun`, `whole` is the length it had: the parts that are left keep all of it in
//    memory. Otherwise it is 0.
// L5 `long` is the sum of the lengths of the messages in `queue` that are long, whole ones.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) call: CallId,
    pub(super) credit: u32,
    /// What the peer grants a call at its beginning.
    pub(super) window: u32,
    /// Charge of what may wait here, but for one message that is longer.
    pub(super) most: u32,
    pub(super) priority: u8,
    pub(super) queue: VecDeque<Message>,
    pub(super) charge: usize,
    /// The front is sent in part, and this is the rest.
    pub(super) begun: bool,
    whole: usize,
    pub(super) long: usize,
    /// Its last message is the call's last.
    pub(super) reply: bool,
    pub(super) in_ring: bool,
    /// Items may be pushed.
    pub(super) streams: bool,
    /// Somebody waits for room.
    pub(super) wanted: bool,
    /// It waits until others have sent their long messages.
    pub(super) short: bool,
    /// When nobody waits for its answer any more.
    pub(super) due: Option<Instant>,
}

/// How an outlet is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) call: CallId,
    pub(super) credit: u32,
    pub(super) window: u32,
    /// Charge of what may wait there, but for one message that is longer.
    pub(super) most: u32,
    pub(super) priority: u8,
    /// Items may be pushed.
    pub(super) streams: bool,
}

impl Outlet {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            call: terms.call,
            credit: terms.credit,
            window: terms.window,
            most: terms.most,
            priority: terms.priority.min(7),
            queue: VecDeque::new(),
            charge: 0,
            begun: false,
            whole: 0,
            long: 0,
            reply: false,
            in_ring: false,
            streams: terms.streams,
            wanted: false,
            short: false,
            due: None,
        }
    }

    /// Whether a message of `length` bytes is longer than what may wait here of others.
    pub(super) fn is_long(&self, length: usize) -> bool {
        length + CHARGE > self.most as usize
    }

    /// What may be pushed of charge so that it has its credit already.
    pub(super) fn room(&self) -> usize {
        (self.credit.min(self.most) as usize).saturating_sub(self.charge)
    }

    /// Whether a message may be pushed that has not its credit yet.
    pub(super) fn takes_one(&self) -> bool {
        self.queue.is_empty() && self.credit > self.window / 2
    }

    pub(super) fn push(&mut self, message: Message) {
        self.charge += message.charge();
        // Invariant L5.
        self.long += self.long_of(&message);
        self.queue.push_back(message);
    }

    /// The front is the rest of a message whose first part went out already.
    pub(super) fn begin_front(&mut self) {
        self.begun = true;
        self.whole = self.front_length();
    }

    /// Drops all that waits, and gives the last of it.
    pub(super) fn empty(&mut self) -> Option<Message> {
        (self.charge, self.begun, self.reply) = (0, false, false);
        (self.whole, self.long) = (0, 0);
        let last = self.queue.pop_back();
        self.queue.clear();
        last
    }

    /// Bytes that all that waits keeps in memory.
    pub(super) fn held(&self) -> usize {
        let messages: usize = self.queue.iter().map(Message::held).sum();
        // Invariant L4.
        messages + self.whole.saturating_sub(self.front_length())
    }

    /// The same of its front.
    pub(super) fn held_by_front(&self) -> usize {
        let front = self.queue.front().map_or(0, Message::held);
        front + self.whole.saturating_sub(self.front_length())
    }

    fn front_length(&self) -> usize {
        let body = self.queue.front().and_then(Message::body);
        body.map_or(0, Bytes::len)
    }

    fn long_of(&self, message: &Message) -> usize {
        let length = message.body().map_or(0, Bytes::len);
        if self.is_long(length) { length } else { 0 }
    }

    pub(super) fn can_send(&self) -> bool {
        match self.queue.front() {
            None => false,
            Some(message) => match message.body() {
                None => true,
                Some(_) if self.begun => self.credit > 0,
                // Half a window is what the peer may keep back for good, so no message waits for
                // more than that: the peer grants what is missing once it knows how long it is.
                Some(body) => {
                    body.len() + CHARGE <= self.credit as usize || self.credit > self.window / 2
                }
            },
        }
    }

    pub(super) fn take_part(&mut self, room: usize) -> Option<Part> {
        let credit = self.credit as usize;
        let message = self.queue.front_mut()?;
        if let Message::Items(items) = message {
            // Invariant L3.
            let part = items.split_front(FRAGMENT as u64);
            let length = part.charge() as usize;
            self.credit -= length as u32;
            self.charge -= length;
            if items.is_empty() {
                self.queue.pop_front();
            }
            return Some(Part::Whole(Message::Items(part)));
        }
        let reply = matches!(message, Message::Reply(_));
        let (Message::Item(body) | Message::Reply(body)) = message else {
            self.reply |= matches!(message, Message::Fail(_));
            return self.queue.pop_front().map(Part::Whole);
        };
        if self.begun {
            let length = body.len().min(room).min(credit);
            let part = body.split_to(length);
            let more = !body.is_empty();
            self.credit -= length as u32;
            self.charge -= length;
            if !more {
                // Invariants L4 and L5.
                let whole = std::mem::take(&mut self.whole);
                if self.is_long(whole) {
                    self.long -= whole;
                }
                self.begun = false;
                self.charge -= CHARGE;
                self.reply |= reply;
                self.queue.pop_front();
            }
            return Some(Part::Further { body: part, more });
        }
        if body.len() <= room && body.len() + CHARGE <= credit {
            self.credit -= (body.len() + CHARGE) as u32;
            self.charge -= body.len() + CHARGE;
            self.reply |= reply;
            let length = body.len();
            if self.is_long(length) {
                self.long -= length;
            }
            return self.queue.pop_front().map(Part::Whole);
        }
        let total = body.remaining() as u32;
        let length = (room - 4).min(credit - CHARGE).min(body.len());
        self.credit -= (length + CHARGE) as u32;
        self.charge -= length;
        self.begun = true;
        self.whole = total as usize;
        let body = body.split_to(length);
        Some(Part::First { reply, total, body })
    }
}
