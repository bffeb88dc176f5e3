//! Frames out.

use bowline_backend::time::Instant;
use bowline_codec::OutputBatch;
use bytes::{BufMut, BytesMut};

use super::command::Detail;
use super::extension::NAME;
use super::frame::{
    ADVERTISE, CANCEL, FAIL, FAIL_HEAD, HEADER, Header, OPEN, OPEN_HEAD, REPLY, WITHDRAW,
};
use super::incoming::Answer;
use super::machine::Phase;
use super::methods::MAX_NAME;
use super::{Advertised, CallId, Failure, Machine, MethodId, Open, Rejected, Target};
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
            self.put_answers(out, before, budget);
            if !self.incoming.has_answers() {
                self.put_controls(out);
            }
        } else {
            self.put_controls(out);
            if self.phase == Phase::Open {
                while let Some(frame) = self.adverts.pop_front() {
                    out.put_bytes(frame);
                    out.frame_done();
                }
                self.put_cancels(out);
                // Answers and calls take turns, so that neither side of a busy connection starves.
                while out.len() - before < budget {
                    let answered = self.put_answer(out);
                    self.handed = position + (out.len() - before) as u64;
                    let opened = self.put_open(now, out);
                    if !answered && !opened {
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

    fn put_answers(&mut self, out: &mut OutputBatch, before: usize, budget: usize) {
        while out.len() - before < budget && self.put_answer(out) {}
    }

    fn put_answer(&mut self, out: &mut OutputBatch) -> bool {
        match self.incoming.next_answer() {
            None => return false,
            Some(Answer::Reply(id, body)) => {
                out.put_slice(&Header::new(REPLY, body.len(), 0, id).to_bytes());
                out.put_bytes(body);
            }
            Some(Answer::Fail(id, failure)) => put_fail(out, id, *failure),
        }
        out.frame_done();
        true
    }

    /// Sends the first call that may be sent; calls that may not be sent at all fail on the way.
    fn put_open(&mut self, now: Instant, out: &mut OutputBatch) -> bool {
        while let Some(call) = self.outgoing.front(self.agreed.max_calls) {
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
            let credit = self
                .agreed
                .call_window
                .saturating_sub(Self::charge(open.body.len()));
            let extensions = self.extensions_len(open);
            let (parity, start) = (self.side.parity(), self.handed);
            let Some((wire, open)) = self.outgoing.send(call, parity, start, credit) else {
                return false;
            };
            put_open(out, wire, open, extensions, budget_us(now, deadline));
            return true;
        }
        false
    }

    fn give_up_unsent(&mut self, call: CallId, error: CallError) {
        if self.outgoing.give_up(call, None).is_some() {
            self.push(super::Event::Failed { call, error });
        }
    }

    /// Queues the first snapshot, which is one frame even if it is empty.
    pub(super) fn put_snapshot(&mut self) {
        let mut methods = std::mem::take(&mut self.snapshot);
        // What the peer has no room for it can still call by name.
        methods.truncate(self.agreed.max_methods as usize);
        self.advertised = methods.len();
        self.put_advertise(&methods);
    }

    pub(super) fn put_advertise(&mut self, methods: &[Advertised]) {
        let mut rest = methods;
        loop {
            let mut room = self.agreed.max_frame;
            let fits = rest
                .iter()
                .take(usize::from(u16::MAX))
                .take_while(|method| {
                    let fits = method.wire_len() <= room;
                    room = room.saturating_sub(method.wire_len());
                    fits
                });
            let (now, later) = rest.split_at(fits.count());
            let length: usize = now.iter().map(Advertised::wire_len).sum();
            let mut header = Header::new(ADVERTISE, length, now.len() as u16, 0);
            if !later.is_empty() {
                header = header.with_more();
            }
            let mut frame = BytesMut::with_capacity(HEADER + length);
            frame.put_slice(&header.to_bytes());
            now.iter().for_each(|method| method.put(&mut frame));
            self.adverts.push_back(frame.freeze());
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }

    pub(super) fn advertise(&mut self, methods: Vec<Advertised>) -> Result<CallId, Rejected> {
        let named = |m: &Advertised| m.method.0 != 0 && (1..=MAX_NAME).contains(&m.name.len());
        if !methods.iter().all(named) {
            return Err(Rejected::BadName);
        }
        let room = self.config.limits.max_methods as usize;
        if self.phase == Phase::Open {
            if self.advertised + methods.len() > room.min(self.agreed.max_methods as usize)
                || self.adverts.len() >= 64
            {
                return Err(Rejected::Overloaded);
            }
            if !methods.is_empty() {
                self.advertised += methods.len();
                self.put_advertise(&methods);
            }
        } else {
            if self.snapshot.len() + methods.len() > room {
                return Err(Rejected::Overloaded);
            }
            self.snapshot.extend(methods);
        }
        Ok(CallId::CONNECTION)
    }

    pub(super) fn withdraw(&mut self, methods: &[MethodId]) -> Result<CallId, Rejected> {
        if self.phase != Phase::Open {
            self.snapshot
                .retain(|method| !methods.contains(&method.method));
            return Ok(CallId::CONNECTION);
        }
        if methods.len() > self.config.limits.max_methods as usize || self.adverts.len() >= 64 {
            return Err(Rejected::Overloaded);
        }
        self.advertised = self.advertised.saturating_sub(methods.len());
        for part in methods.chunks((self.agreed.max_frame / 4).min(usize::from(u16::MAX))) {
            let mut frame = BytesMut::with_capacity(HEADER + part.len() * 4);
            frame
                .put_slice(&Header::new(WITHDRAW, part.len() * 4, part.len() as u16, 0).to_bytes());
            part.iter().for_each(|method| frame.put_u32(method.0));
            self.adverts.push_back(frame.freeze());
        }
        Ok(CallId::CONNECTION)
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

fn put_open(out: &mut OutputBatch, wire: u64, open: Open, extensions: usize, budget: u64) {
    let mut head = [0; HEADER + OPEN_HEAD];
    let length = OPEN_HEAD + extensions + open.body.len();
    head[..HEADER].copy_from_slice(&Header::new(OPEN, length, extensions as u16, wire).to_bytes());
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
