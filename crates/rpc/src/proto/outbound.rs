//! Frames out.

mod adverts;

use bowline_backend::time::Instant;
use bowline_codec::OutputBatch;
use bytes::{Bytes, BytesMut};

use super::command::Detail;
use super::extension::NAME;
use super::frame::{
    CANCEL, CHARGE, CREDIT, END, FAIL, FAIL_HEAD, HEADER, Header, ITEM, OPEN, OPEN_HEAD, REPLY,
};
use super::incoming::Answer;
use super::machine::{Phase, saturate};
use super::outlet::{FRAGMENT, Message, Part, Terms};
use super::{CallId, CallKind, Event, Failure, Machine, Open, Target};
use crate::error::escape;
use crate::{CallError, Certainty, Code};

/// Longest message of a FAIL.
const MAX_MESSAGE: usize = 4096;

impl Machine {
    /// Appends frames to `out` until nothing is left to send or at least `budget` bytes were added,
    /// the last frame whole; whether anything was added.
    ///
    /// What remains until a call's deadline is written into its frame here, and a call whose
    /// deadline has passed is not sent.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut OutputBatch, budget: usize) -> bool {
        let before = out.len();
        let position = self.handed;
        if self.phase == Phase::Over {
            if self.silent_until.is_some_and(|until| now < until) {
                return false;
            }
            self.silent_until = None;
            self.put_answers(out, before, budget);
            if !self.incoming.has_answers() {
                self.put_controls(out);
            }
        } else {
            self.put_controls(out);
            if self.phase == Phase::Open {
                self.put_adverts(now, out);
                self.put_cancels(out);
                self.put_credits(out);
                // Answers and calls take turns, so that neither side of a busy connection starves, and
                // so do whole messages with parts of longer ones.
                while out.len() - before < budget {
                    let start = out.len();
                    let parts = self.outlets.is_ready();
                    let mut moved = false;
                    if !parts || self.since_part < FRAGMENT {
                        moved = self.put_answer(out);
                        self.handed = position + (out.len() - before) as u64;
                        moved |= self.put_open(now, out);
                        self.since_part += out.len() - start;
                    }
                    if parts && !moved {
                        self.handed = position + (out.len() - before) as u64;
                        moved = self.put_part(out);
                        self.since_part = 0;
                    }
                    if !moved {
                        break;
                    }
                }
            }
        }
        let added = out.len() - before;
        self.handed = position + added as u64;
        added > 0
    }

    /// Says that the transport took this many more of the bytes handed out: a call of which it took
    /// one may have run.
    pub fn on_transmitted(&mut self, bytes: usize) {
        self.transmitted = self
            .transmitted
            .saturating_add(bytes as u64)
            .min(self.handed);
    }

    fn put_controls(&mut self, out: &mut OutputBatch) {
        if !self.control.is_empty() {
            out.put_slice(&self.control);
            out.frame_done();
            self.control.clear();
            self.pongs = 0;
        }
        if self.control.capacity() > 4096 {
            self.control = BytesMut::new();
        }
    }

    fn put_cancels(&mut self, out: &mut OutputBatch) {
        while let Some((wire, reason)) = self.outgoing.next_cancel() {
            out.put_slice(&Header::new(CANCEL, 0, reason.to_wire(), wire).to_bytes());
            out.frame_done();
        }
    }

    fn put_credits(&mut self, out: &mut OutputBatch) {
        while let Some((wire, amount)) = self.inlets.next_grant() {
            out.put_slice(&Header::new(CREDIT, 4, 0, wire).to_bytes());
            out.put_slice(&amount.to_be_bytes());
            out.frame_done();
        }
    }

    /// Sends a part of a message that has more than one, or one item of many.
    fn put_part(&mut self, out: &mut OutputBatch) -> bool {
        let Some((wire, part, wanted)) = self.outlets.next(self.agreed.max_frame) else {
            return false;
        };
        match part {
            Part::Whole(Message::Item(body)) => put_body(out, ITEM, wire, false, None, body),
            Part::Whole(Message::Items(items)) => out.put_bytes(items.into_frames().freeze()),
            Part::Whole(Message::Reply(body)) => put_body(out, REPLY, wire, false, None, body),
            Part::Whole(Message::End) => out.put_slice(&Header::new(END, 0, 0, wire).to_bytes()),
            Part::Whole(Message::Fail(failure)) => put_fail(out, wire, *failure),
            Part::First { reply, total, body } => {
                let kind = if reply { REPLY } else { ITEM };
                put_body(out, kind, wire, true, Some(total), body);
            }
            Part::Further { body, more } => put_body(out, ITEM, wire, more, None, body),
        }
        out.frame_done();
        if let Some(call) = wanted {
            self.push(Event::Room { call });
        }
        if wire & 1 == self.side.parity() {
            if self.outlets.is_done(wire) {
                self.outlets.remove(wire);
            }
        } else if self.outlets.is_over(wire) {
            self.incoming.finish(wire);
            self.forget_theirs(wire);
        }
        true
    }

    fn put_answers(&mut self, out: &mut OutputBatch, before: usize, budget: usize) {
        while out.len() - before < budget && self.put_answer(out) {}
    }

    fn put_answer(&mut self, out: &mut OutputBatch) -> bool {
        match self.incoming.next_answer() {
            None => return false,
            Some(Answer::Reply(id, body)) => {
                self.forget_theirs(id);
                out.put_slice(&Header::new(REPLY, body.len(), 0, id).to_bytes());
                out.put_bytes(body);
            }
            Some(Answer::Fail(id, failure)) => {
                self.forget_theirs(id);
                put_fail(out, id, *failure);
            }
        }
        out.frame_done();
        true
    }

    /// Sends the first call that may be sent; calls that may not be sent at all fail on the way.
    fn put_open(&mut self, now: Instant, out: &mut OutputBatch) -> bool {
        let may_notify = |machine: &Self| machine.agreed.notify_window > 0;
        while let Some(call) = self.outgoing.front(self.agreed.max_calls, may_notify(self)) {
            let Some(open) = self.outgoing.queued_open(call) else {
                return false;
            };
            let deadline = open.deadline;
            if deadline <= now {
                self.give_up_unsent(
                    call,
                    CallError::new(Code::DeadlineExceeded, Certainty::NeverSent),
                );
                continue;
            }
            if let Err(rejected) = self.fits(open) {
                self.give_up_unsent(call, rejected.into());
                continue;
            }
            let kind = open.kind;
            let extensions = self.extensions_len(open);
            let first = self.first_part(open, extensions);
            let credit = self.agreed.call_window.saturating_sub(Self::charge(first));
            let (parity, start) = (self.side.parity(), self.handed);
            let Some((wire, open)) = self.outgoing.send(call, parity, start, credit) else {
                return false;
            };
            let budget = budget_us(now, deadline);
            if kind == CallKind::UNARY && first == open.body.len() {
                put_open(out, wire, open, extensions, budget, None);
            } else {
                self.put_open_of_many(out, (call, wire), open, extensions, budget, (first, credit));
            }
            return true;
        }
        false
    }

    /// How much of the arguments goes into the OPEN.
    fn first_part(&self, open: &Open, extensions: usize) -> usize {
        let length = open.body.len();
        let room = self.agreed.max_frame.saturating_sub(OPEN_HEAD + extensions);
        if open.kind.contains(CallKind::NOTIFY) {
            return length;
        }
        let window = self.agreed.call_window as usize - CHARGE;
        if length <= room.min(FRAGMENT) && length <= window {
            length
        } else {
            (room.min(FRAGMENT) - 4).min(window).min(length)
        }
    }

    /// An OPEN whose arguments have parts, that is followed by items, or that nobody answers.
    fn put_open_of_many(
        &mut self,
        out: &mut OutputBatch,
        (call, wire): (CallId, u64),
        mut open: Open,
        extensions: usize,
        budget: u64,
        (first, credit): (usize, u32),
    ) {
        let kind = open.kind;
        if kind.contains(CallKind::NOTIFY) {
            self.agreed.notify_window -= 1;
            put_open(out, wire, open, extensions, budget, None);
            self.push(Event::Notified { call });
            return;
        }
        let streams = kind.contains(CallKind::CALLER_STREAMS);
        let rest = open.body.split_off(first);
        if streams || !rest.is_empty() {
            let terms = Terms {
                call,
                credit,
                window: self.agreed.call_window,
                most: self.config.limits.call_window,
                priority: open.priority,
                streams,
            };
            self.outlets.open(wire, terms);
        }
        if kind.contains(CallKind::EXECUTOR_STREAMS) {
            let window = self.config.limits.call_window;
            self.inlets.open(wire, call, window, true);
        }
        if rest.is_empty() {
            put_open(out, wire, open, extensions, budget, None);
            if streams {
                self.push(Event::Room { call });
            }
        } else {
            let total = saturate(first + rest.len());
            put_open(out, wire, open, extensions, budget, Some(total));
            self.outlets.push_rest(wire, rest);
            if streams {
                self.outlets.want(wire);
            }
        }
    }

    fn give_up_unsent(&mut self, call: CallId, error: CallError) {
        if self.outgoing.give_up(call, None).is_some() {
            self.push(Event::Failed { call, error });
        }
    }
}

/// What remains until `deadline`, for the wire: never 0, which is no deadline.
fn budget_us(now: Instant, deadline: Instant) -> u64 {
    if deadline.is_never() {
        return 0;
    }
    let left = deadline.saturating_duration_since(now).as_micros();
    u64::try_from(left).unwrap_or(u64::MAX).max(1)
}

/// The body of an ITEM or REPLY, the first part of a longer one if there is a `total`.
fn put_body(
    out: &mut OutputBatch,
    kind: u8,
    wire: u64,
    more: bool,
    total: Option<u32>,
    body: Bytes,
) {
    let length = body.len() + if total.is_some() { 4 } else { 0 };
    let mut header = Header::new(kind, length, 0, wire);
    if more {
        header = header.with_more();
    }
    out.put_slice(&header.to_bytes());
    if let Some(total) = total {
        out.put_u32_be(total);
    }
    out.put_bytes(body);
}

fn put_open(
    out: &mut OutputBatch,
    wire: u64,
    open: Open,
    extensions: usize,
    budget: u64,
    total: Option<u32>,
) {
    let mut head = [0; HEADER + OPEN_HEAD];
    let prefix = if total.is_some() { 4 } else { 0 };
    let length = OPEN_HEAD + extensions + prefix + open.body.len();
    let mut header = Header::new(OPEN, length, extensions as u16, wire);
    if total.is_some() {
        header = header.with_more();
    }
    head[..HEADER].copy_from_slice(&header.to_bytes());
    head[20] = open.kind.0;
    if let Target::Method(method) = open.target {
        head[16..20].copy_from_slice(&method.0.to_be_bytes());
    }
    head[21..24].copy_from_slice(&[open.codec.0, open.priority, open.hops]);
    head[24..].copy_from_slice(&budget.to_be_bytes());
    out.put_slice(&head);
    if let Target::Name(name) = &open.target {
        out.put_u8(NAME);
        out.put_u16_be(name.len() as u16);
        out.put_slice(name.as_bytes());
    }
    out.put_slice(open.extensions.as_slice());
    if let Some(total) = total {
        out.put_u32_be(total);
    }
    out.put_bytes(open.body);
    out.frame_done();
}

fn put_fail(out: &mut OutputBatch, id: u64, failure: Failure) {
    let message = failure.message.as_bytes();
    let sizes;
    let (detail, body) = match &failure.detail {
        Detail::None => (0, &[][..]),
        Detail::Application(body) => (1, &body[..]),
        Detail::Sizes { limit, actual } => {
            let mut both = [0; 8];
            both[..4].copy_from_slice(&limit.to_be_bytes());
            both[4..].copy_from_slice(&actual.to_be_bytes());
            sizes = both;
            (2, &sizes[..])
        }
    };
    let length = FAIL_HEAD + message.len() + body.len();
    let retry = u32::try_from(failure.retry_after.as_millis()).unwrap_or(u32::MAX);
    out.put_slice(&Header::new(FAIL, length, failure.code.as_u16(), id).to_bytes());
    out.put_slice(&[failure.certainty.to_wire(), detail]);
    out.put_u32_be(retry);
    out.put_u16_be(message.len() as u16);
    out.put_slice(message);
    out.put_slice(body);
}

impl Failure {
    /// Makes it fit a frame with a payload of at most `max_frame`: an application error that does
    /// not is reported as too large, a message that does not is cut.
    pub(super) fn fit(&mut self, max_frame: usize) {
        let room = max_frame - FAIL_HEAD;
        let detail = match &self.detail {
            Detail::None => 0,
            Detail::Sizes { .. } => 8,
            Detail::Application(body) if body.len() <= room => body.len(),
            Detail::Application(body) => {
                let actual = super::machine::saturate(body.len());
                let limit = super::machine::saturate(room);
                *self = Failure::too_large(Certainty::Executed, limit, actual);
                8
            }
        };
        if !self.message.is_empty() {
            let escaped = escape(&self.message, MAX_MESSAGE.min(room - detail));
            self.message = escaped.unwrap_or_default().into();
        }
    }
}
