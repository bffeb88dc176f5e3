//! Messages on their way out that are more than one frame, or one of many: parts, credit, turns.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, Bytes};

use super::frame::CHARGE;
use super::incoming::IdHash;
use super::{CallId, Failure, Items};

/// Longest part of a message that goes out in parts.
pub(super) const FRAGMENT: usize = 32 * 1024;
/// Priorities: 0 to 7.
const PRIORITIES: usize = 8;

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
    fn charge(&self) -> usize {
        match self {
            Message::Items(items) => items.charge() as usize,
            _ => self.body().map_or(0, |body| body.len() + CHARGE),
        }
    }

    fn held(&self) -> usize {
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
#[derive(Debug)]
struct Outlet {
    call: CallId,
    credit: u32,
    /// What the peer grants a call at its beginning.
    window: u32,
    priority: u8,
    queue: VecDeque<Message>,
    charge: usize,
    /// The front is sent in part, and this is the rest.
    begun: bool,
    /// Its last message is the call's last.
    reply: bool,
    in_ring: bool,
    /// Items may be pushed.
    streams: bool,
    /// Somebody waits for room.
    wanted: bool,
}

/// How an outlet is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) call: CallId,
    pub(super) credit: u32,
    pub(super) window: u32,
    pub(super) priority: u8,
    /// Items may be pushed.
    pub(super) streams: bool,
}

// Invariants
// L1 `rings` name each outlet at most once, those and only those that can send.
// L3 items that go together have their credit when they are pushed, and what is before them has its own.
// L2 `held` is what all queues hold, and `held_by_calls` what those of calls of ours do.
#[derive(Debug, Default)]
pub(super) struct Outlets {
    by_wire: HashMap<u64, Box<Outlet>, IdHash>,
    rings: [VecDeque<u64>; PRIORITIES],
    /// Turns each priority has left before all get theirs anew.
    turns: [u8; PRIORITIES],
    /// How many the rings name.
    ready: usize,
    held: usize,
    held_by_calls: usize,
}

impl Outlets {
    pub(super) fn open(&mut self, wire: u64, terms: Terms) {
        let outlet = Outlet {
            call: terms.call,
            credit: terms.credit,
            window: terms.window,
            priority: terms.priority.min(7),
            queue: VecDeque::new(),
            charge: 0,
            begun: false,
            reply: false,
            in_ring: false,
            streams: terms.streams,
            wanted: false,
        };
        self.by_wire.insert(wire, Box::new(outlet));
    }

    pub(super) fn contains(&self, wire: u64) -> bool {
        self.by_wire.contains_key(&wire)
    }

    /// Whether items may be pushed.
    pub(super) fn streams(&self, wire: u64) -> bool {
        self.by_wire.get(&wire).is_some_and(|outlet| outlet.streams)
    }

    /// No more items are pushed.
    pub(super) fn end(&mut self, wire: u64) {
        if let Some(outlet) = self.by_wire.get_mut(&wire) {
            outlet.streams = false;
        }
    }

    /// Somebody waits for room.
    pub(super) fn want(&mut self, wire: u64) {
        if let Some(outlet) = self.by_wire.get_mut(&wire) {
            outlet.wanted = true;
        }
    }

    /// Whether nothing waits and nothing will come.
    pub(super) fn is_done(&self, wire: u64) -> bool {
        self.by_wire
            .get(&wire)
            .is_some_and(|outlet| !outlet.streams && outlet.queue.is_empty())
    }

    /// Whether an item of `length` bytes may be pushed; if not, whether there is room is looked at
    /// whenever there might be.
    pub(super) fn has_room(&mut self, wire: u64, length: usize) -> Option<bool> {
        let outlet = self.by_wire.get_mut(&wire)?;
        let fits = outlet.charge + length + CHARGE <= outlet.credit as usize;
        let room = fits || (outlet.queue.is_empty() && outlet.credit > outlet.window / 2);
        outlet.wanted |= !room;
        Some(room)
    }

    /// What may be pushed of charge so that it has its credit already.
    pub(super) fn room(&self, wire: u64) -> u64 {
        let outlet = self.by_wire.get(&wire);
        outlet.map_or(0, |outlet| {
            (outlet.credit as usize).saturating_sub(outlet.charge) as u64
        })
    }

    pub(super) fn push(&mut self, wire: u64, message: Message) {
        let Some(outlet) = self.by_wire.get_mut(&wire) else {
            return;
        };
        outlet.charge += message.charge();
        self.held += message.held();
        if outlet.call.is_ours() {
            self.held_by_calls += message.held();
        }
        outlet.queue.push_back(message);
        self.enlist(wire);
    }

    /// The first part of the arguments went out in the OPEN: this is the rest.
    pub(super) fn push_rest(&mut self, wire: u64, rest: Bytes) {
        self.push(wire, Message::Item(rest));
        if let Some(outlet) = self.by_wire.get_mut(&wire) {
            outlet.begun = true;
        }
        self.enlist(wire);
    }

    /// Nothing of the messages of a call of the peer that wait is sent any more, but this.
    pub(super) fn replace(&mut self, wire: u64, failure: Box<Failure>) {
        let Some(outlet) = self.by_wire.get_mut(&wire) else {
            return;
        };
        self.held -= outlet.queue.drain(..).map(|m| m.held()).sum::<usize>();
        (outlet.charge, outlet.begun, outlet.reply) = (0, false, false);
        self.push(wire, Message::Fail(failure));
    }

    /// The peer grants more: `None` if there is no such outlet, `Some(None)` if it is too much;
    /// otherwise the call, if somebody waits for that.
    pub(super) fn grant(&mut self, wire: u64, amount: u32) -> Option<Option<Option<CallId>>> {
        let outlet = self.by_wire.get_mut(&wire)?;
        let Some(credit) = outlet.credit.checked_add(amount).filter(|c| *c <= 1 << 31) else {
            return Some(None);
        };
        outlet.credit = credit;
        let wanted = std::mem::take(&mut outlet.wanted).then_some(outlet.call);
        self.enlist(wire);
        Some(Some(wanted))
    }

    pub(super) fn remove(&mut self, wire: u64) {
        if self.by_wire.is_empty() {
            return;
        }
        if let Some(outlet) = self.by_wire.remove(&wire) {
            let held = outlet.queue.iter().map(Message::held).sum::<usize>();
            self.held -= held;
            if outlet.call.is_ours() {
                self.held_by_calls -= held;
            }
            if outlet.in_ring {
                self.ready -= 1;
                self.rings[usize::from(outlet.priority)].retain(|other| *other != wire);
            }
        }
        if self.by_wire.is_empty() {
            *self = Self::default();
        }
    }

    /// Whether one of them can send.
    pub(super) fn is_ready(&self) -> bool {
        self.ready > 0
    }

    // Invariant L1.
    fn enlist(&mut self, wire: u64) {
        let Some(outlet) = self.by_wire.get_mut(&wire) else {
            return;
        };
        if !outlet.in_ring && outlet.can_send() {
            outlet.in_ring = true;
            self.ready += 1;
            self.rings[usize::from(outlet.priority)].push_back(wire);
        }
    }

    /// Whose turn it is: a priority has one turn more than the one below it, and within one every
    /// call has one part per turn.
    fn next_wire(&mut self) -> Option<u64> {
        for _ in 0..2 {
            for priority in (0..PRIORITIES).rev() {
                if self.turns[priority] > 0
                    && let Some(wire) = self.rings[priority].pop_front()
                {
                    self.turns[priority] -= 1;
                    self.ready -= 1;
                    return Some(wire);
                }
            }
            self.turns = [1, 2, 3, 4, 5, 6, 7, 8];
        }
        None
    }

    /// The next part to send, of at most `room` bytes, and the call that has room again if somebody
    /// waits for that.
    pub(super) fn next(&mut self, room: usize) -> Option<(u64, Part, Option<CallId>)> {
        let wire = self.next_wire()?;
        let outlet = self.by_wire.get_mut(&wire)?;
        outlet.in_ring = false;
        let waiting = outlet.queue.len();
        let before: usize = outlet.queue.front().map_or(0, Message::held);
        let part = outlet.take_part(room.min(FRAGMENT))?;
        let after = match outlet.queue.len() {
            left if left < waiting => 0,
            _ => outlet.queue.front().map_or(0, Message::held),
        };
        self.held -= before - after;
        if outlet.call.is_ours() {
            self.held_by_calls -= before - after;
        }
        let room = outlet.wanted && outlet.queue.is_empty() && outlet.credit > outlet.window / 2;
        let wanted = room.then_some(outlet.call);
        outlet.wanted &= !room;
        self.enlist(wire);
        Some((wire, part, wanted))
    }

    /// Whether `wire` has sent the reply or the error that ends its call.
    pub(super) fn is_over(&self, wire: u64) -> bool {
        self.by_wire
            .get(&wire)
            .is_some_and(|outlet| outlet.reply && outlet.queue.is_empty())
    }

    /// The same of calls of ours: arguments and items.
    pub(super) fn held_by_calls(&self) -> usize {
        self.held_by_calls
    }

    /// Bytes of bodies that wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    pub(super) fn memory(&self) -> usize {
        let rings: usize = self.rings.iter().map(|ring| ring.capacity() * 8).sum();
        self.by_wire.capacity() * (size_of::<(u64, Box<Outlet>)>() + 1)
            + self.by_wire.len() * size_of::<Outlet>()
            + rings
            + 2 * self.held
    }
}

impl Outlet {
    fn can_send(&self) -> bool {
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

    fn take_part(&mut self, room: usize) -> Option<Part> {
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
            return self.queue.pop_front().map(Part::Whole);
        }
        let total = body.remaining() as u32;
        let length = (room - 4).min(credit - CHARGE).min(body.len());
        self.credit -= (length + CHARGE) as u32;
        self.charge -= length;
        self.begun = true;
        let body = body.split_to(length);
        Some(Part::First { reply, total, body })
    }
}
