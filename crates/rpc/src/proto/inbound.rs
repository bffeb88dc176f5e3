//! Frames in.

use std::time::Duration;

use bowline_backend::time::Instant;
use bytes::{Buf, Bytes, BytesMut};

use super::extension::Refused;
use super::frame::{
    ADVERTISE, CANCEL, CLOSE, CREDIT, END, FAIL, FAIL_HEAD, GOAWAY, HEADER, HELLO, Header, ITEM,
    OPEN, OPEN_HEAD, PING, PONG, PREFACE, PROOF, READY, REPLY, WITHDRAW,
};
use super::handshake::{Hello, decode_ready, encode_ready};
use super::incoming::Answer;
use super::machine::{MAX_EVENTS, Phase, Sent, saturate};
use super::methods::MAX_NAME;
use super::{
    CallId, CancelReason, CloseCause, CodecId, ErrorOf, Event, Extensions, Failure, Guess,
    IncomingCall, Machine, MethodId, PeerHello, Side, Target, Violation,
};
use crate::{CallError, Certainty, Code, ErrorBody};

/// Bodies from this length on are shared with the buffer they came in; shorter ones are copied
/// out, so that a small body does not keep a large buffer.
const SHARE: usize = 4096;
/// PONGs that may wait to be sent; more PINGs are not answered.
const MAX_PONGS: u32 = 32;

impl Machine {
    /// Takes whole frames from the front of `input` and leaves a part of one. Where `input` was cut
    /// changes nothing.
    ///
    /// # Errors
    /// What the peer did that ended the connection; every later call gives the same. The machine
    /// has closed then: the CLOSE that says why, if there is one, is still to be transmitted.
    pub fn handle_bytes(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Violation> {
        if let Some(violation) = self.violation {
            input.clear();
            return Err(violation);
        }
        if input.len()
            > if self.phase == Phase::Preface {
                0
            } else {
                self.tail.0
            }
        {
            self.received_at = now;
            self.pinged_at = None;
        }
        match self.take_frames(now, input) {
            Ok(()) => Ok(()),
            Err(violation) => {
                self.close(now, CloseCause::Violation(violation), Sent::HandedOut, None);
                self.violation = Some(violation);
                input.clear();
                Err(violation)
            }
        }
    }

    fn take_frames(&mut self, now: Instant, input: &mut BytesMut) -> Result<(), Violation> {
        if self.phase == Phase::Preface && !self.take_preface(input)? {
            return Ok(());
        }
        while self.phase != Phase::Over {
            let Some(header) = Header::parse(input) else {
                self.tail = (input.len(), HEADER);
                return Ok(());
            };
            // From the header alone: nothing is reserved for a frame that may not come.
            let limit = self.config.limits.max_frame;
            if header.len > limit {
                return Err(Violation::FrameTooLong {
                    declared: header.len,
                    limit,
                });
            }
            let length = header.frame_len();
            if self.phase != Phase::Open {
                let limit = self.config.limits.handshake_bytes;
                if self.handshake_bytes + length > limit {
                    return Err(Violation::HandshakeTooLong { limit });
                }
            }
            self.tail = (input.len(), length);
            if input.len() < length || self.events.len() >= MAX_EVENTS {
                return Ok(());
            }
            if self.phase == Phase::Open {
                self.on_frame(now, &header, input)?;
            } else {
                self.handshake_bytes += length;
                self.on_handshake(now, &header, &input[HEADER..length])?;
                input.advance(length);
            }
        }
        input.clear();
        self.tail = (0, HEADER);
        Ok(())
    }

    /// Whether the whole preface has come.
    fn take_preface(&mut self, input: &mut BytesMut) -> Result<bool, Violation> {
        let taken = input.len().min(PREFACE.len() - self.preface_len);
        self.preface[self.preface_len..self.preface_len + taken].copy_from_slice(&input[..taken]);
        input.advance(taken);
        self.preface_len += taken;
        self.handshake_bytes = self.preface_len;
        self.tail = (self.preface_len, PREFACE.len());
        if self.preface_len < PREFACE.len() {
            return Ok(false);
        }
        if self.wrong_preface() {
            return Err(Violation::NotOurProtocol {
                guess: Guess::from_first_bytes(&self.preface),
            });
        }
        self.phase = Phase::Hello;
        Ok(true)
    }

    fn on_handshake(
        &mut self,
        now: Instant,
        header: &Header,
        payload: &[u8],
    ) -> Result<(), Violation> {
        match (self.phase, header.kind) {
            (_, CLOSE) => {
                self.on_close(now, header, payload);
                Ok(())
            }
            (Phase::Hello, HELLO) => self.on_hello(payload),
            (Phase::Ready, READY) => self.on_ready(payload),
            _ => Err(Violation::Rule("handshake-order")),
        }
    }

    fn on_hello(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let hello = Hello::decode(payload)?;
        let codecs = match self.side {
            Side::Listener => {
                let answer = Hello::answer(&self.config, self.seed, &hello)?;
                self.put_hello(&answer);
                self.put_ready();
                answer.codecs
            }
            Side::Dialer => {
                hello.check_answer(&self.config)?;
                hello.codecs.clone()
            }
        };
        self.agreed = hello.agree(&self.config.limits, codecs);
        self.peer = Some(Box::new(hello));
        self.phase = Phase::Ready;
        Ok(())
    }

    fn put_ready(&mut self) {
        let payload = encode_ready(&self.config.principal);
        self.put_control(READY, 0, &payload);
    }

    fn on_ready(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let principal = decode_ready(payload)?;
        if self.side == Side::Dialer {
            self.put_ready();
        }
        self.phase = Phase::Open;
        let instance = self.peer.take().map_or([0; 16], |hello| hello.instance);
        let room = self.agreed.max_frame - OPEN_HEAD;
        self.push(Event::Ready(Box::new(PeerHello {
            instance,
            codecs: self.agreed.codecs.clone(),
            principal,
            max_body: saturate(self.agreed.max_body.min(room)),
            max_calls: self.agreed.max_calls,
        })));
        self.put_snapshot();
        Ok(())
    }

    fn on_close(&mut self, now: Instant, header: &Header, payload: &[u8]) {
        let said = &payload[..payload.len().min(512)];
        let message = crate::error::escape(&String::from_utf8_lossy(said), 512).unwrap_or_default();
        let cause = CloseCause::ClosedByPeer {
            code: Code::from_wire(header.aux),
            message,
        };
        self.close(now, cause, Sent::HandedOut, None);
        self.control = BytesMut::new();
    }

    /// Takes the frame at the front of `input`, all of which is there.
    fn on_frame(
        &mut self,
        now: Instant,
        header: &Header,
        input: &mut BytesMut,
    ) -> Result<(), Violation> {
        let length = header.frame_len();
        let payload = &input[HEADER..length];
        match header.kind {
            OPEN => return self.on_open(now, header, input),
            REPLY => return self.on_reply(header, input),
            FAIL => self.on_fail(header, payload)?,
            CANCEL => self.on_cancel(header)?,
            ITEM => self.on_item(header)?,
            END => self.on_end_of_items(header)?,
            CREDIT => self.on_credit(header, payload)?,
            PING => self.on_ping(now, payload)?,
            PONG => {
                if payload.len() != 8 {
                    return Err(Violation::Rule("pong-length"));
                }
            }
            ADVERTISE => self.on_advertise(now, header, payload)?,
            WITHDRAW => {
                if !self.changes.take(now, u64::from(header.aux)) {
                    return Err(Violation::Flood("advertisements"));
                }
                let gone = self.directory.withdraw(payload, header.aux)?;
                if !gone.is_empty() {
                    self.push(Event::Withdrawn(gone));
                }
            }
            GOAWAY => self.on_goaway(payload)?,
            CLOSE => self.on_close(now, header, payload),
            HELLO | PROOF | READY => return Err(Violation::Rule("handshake-again")),
            _ if header.is_critical() => return Err(Violation::Rule("critical-frame")),
            _ => self.stats.unknown_frames += 1,
        }
        input.advance(length);
        Ok(())
    }

    fn on_open(
        &mut self,
        now: Instant,
        header: &Header,
        input: &mut BytesMut,
    ) -> Result<(), Violation> {
        let frame = &input[..header.frame_len()];
        let Some(head) = frame.get(HEADER..HEADER + OPEN_HEAD) else {
            return Err(Violation::Rule("open-length"));
        };
        let method = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let [kind, codec, priority, hops] = [head[4], head[5], head[6], head[7]];
        let budget = head[8..]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let body_at = HEADER + OPEN_HEAD + usize::from(header.aux);
        let Some(extensions) = frame.get(HEADER + OPEN_HEAD..body_at) else {
            return Err(Violation::Rule("open-length"));
        };
        let body = &frame[body_at..];
        self.incoming.number(header.id, 1 - self.side.parity())?;
        if Self::charge(body.len()) > self.config.limits.call_window {
            return Err(Violation::Rule("call-window"));
        }
        let checked = Extensions::check(extensions, self.config.limits.max_metadata);
        if let Err(Refused::Malformed(rule)) = checked {
            return Err(Violation::Rule(rule));
        }
        if self.leaving {
            self.stats.refused_calls += 1;
            input.advance(header.frame_len());
            return Ok(());
        }
        if kind == NOTIFY {
            self.on_notification()?;
            input.advance(header.frame_len());
            return Ok(());
        }
        self.incoming
            .insert(header.id, hops, self.config.limits.max_calls)?;
        let refusal = if header.has_more() {
            let total = body.first_chunk().map(|total| u32::from_be_bytes(*total));
            let total = total.ok_or(Violation::Rule("message-total"))?;
            Some(Failure::too_large(
                Certainty::Refused,
                self.config.limits.max_body(),
                total,
            ))
        } else if checked == Err(Refused::Unsupported) || kind != 0 || !self.has_codec(codec) {
            Some(Failure::new(Code::Unsupported))
        } else if hops > 8 {
            Some(Failure::new(Code::HopLimit))
        } else {
            None
        };
        if let Some(failure) = refusal {
            self.refuse(header.id, failure);
            input.advance(header.frame_len());
            return Ok(());
        }
        let extensions = Extensions::from_checked(Bytes::copy_from_slice(extensions));
        let body = take_body(input, body_at, header.frame_len());
        let target = match extensions.name() {
            _ if method != 0 => Some(Target::Method(MethodId(method))),
            Some(name) if (1..=MAX_NAME).contains(&name.len()) => std::str::from_utf8(name)
                .ok()
                .map(|name| Target::Name(name.into())),
            _ => None,
        };
        let Some(target) = target else {
            self.refuse(header.id, Failure::new(Code::UnknownMethod));
            return Ok(());
        };
        let deadline = match budget {
            0 => Instant::NEVER,
            micros => now.saturating_add(Duration::from_micros(micros)),
        };
        self.push(Event::Opened(IncomingCall {
            call: CallId::theirs(header.id),
            target,
            codec: CodecId(codec),
            priority: priority.min(7),
            hops,
            deadline,
            extensions,
            body,
        }));
        Ok(())
    }

    fn refuse(&mut self, id: u64, failure: Failure) {
        let queued = self.incoming.answer(Answer::Fail(id, Box::new(failure)));
        debug_assert!(queued.is_ok(), "the call was just taken");
    }

    /// No method of this version takes notifications: they are dropped, and their credit given
    /// back in halves of the window, so that a peer that sends them all the same does not stall.
    fn on_notification(&mut self) -> Result<(), Violation> {
        let window = self.config.limits.notify_window;
        self.stats.dropped_notifications += 1;
        self.notifications += 1;
        if self.notifications > window {
            return Err(Violation::Rule("notify-window"));
        }
        if self.notifications >= window.div_ceil(2) && self.control.len() < 4096 {
            self.put_control(CREDIT, 0, &self.notifications.to_be_bytes());
            self.notifications = 0;
        }
        Ok(())
    }

    fn on_reply(&mut self, header: &Header, input: &mut BytesMut) -> Result<(), Violation> {
        self.check_ours(header.id)?;
        let frame = &input[..header.frame_len()];
        let body_at = HEADER + usize::from(header.aux);
        let Some(extensions) = frame.get(HEADER..body_at) else {
            return Err(Violation::Rule("reply-length"));
        };
        let body = &frame[body_at..];
        if Self::charge(body.len()) > self.config.limits.call_window {
            return Err(Violation::Rule("call-window"));
        }
        let checked = Extensions::check(extensions, self.config.limits.max_metadata);
        if let Err(Refused::Malformed(rule)) = checked {
            return Err(Violation::Rule(rule));
        }
        match self.outgoing.is_skipping(header.id) {
            None => {
                input.advance(header.frame_len());
                return self.late();
            }
            Some(true) => return Err(Violation::Rule("reply-twice")),
            Some(false) => {}
        }
        if header.has_more() {
            let total = body.first_chunk().map(|total| u32::from_be_bytes(*total));
            let total = total.ok_or(Violation::Rule("message-total"))?;
            if let Some((_, call)) = self.outgoing.on_wire(header.id) {
                if self
                    .outgoing
                    .give_up(call, Some(CancelReason::Dropped))
                    .is_some()
                {
                    let error = CallError::new(Code::TooLarge, Certainty::Executed);
                    let error = error.with_sizes(self.config.limits.max_body(), total);
                    self.push(Event::Failed { call, error });
                }
                self.outgoing.skip(header.id);
            }
            input.advance(header.frame_len());
            return Ok(());
        }
        match self.outgoing.end(header.id).flatten() {
            Some(ended) if checked.is_err() => {
                input.advance(header.frame_len());
                let error = CallError::new(Code::Unsupported, Certainty::Executed);
                self.push(Event::Failed {
                    call: ended.call,
                    error,
                });
            }
            Some(ended) => {
                let body = take_body(input, body_at, header.frame_len());
                self.push(Event::Replied {
                    call: ended.call,
                    body,
                });
            }
            // It has its outcome already; now its slot is free.
            None => input.advance(header.frame_len()),
        }
        Ok(())
    }

    fn on_fail(&mut self, header: &Header, payload: &[u8]) -> Result<(), Violation> {
        self.check_ours(header.id)?;
        let malformed = Violation::Rule("fail-length");
        let (head, rest) = payload.split_first_chunk::<FAIL_HEAD>().ok_or(malformed)?;
        let message = usize::from(u16::from_be_bytes([head[6], head[7]]));
        let (message, detail) = rest.split_at_checked(message).ok_or(malformed)?;
        let retry_after = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
        let codec = self
            .outgoing
            .on_wire(header.id)
            .map(|(codec, _)| CodecId(codec));
        let code = Code::from_wire(header.aux);
        let ended = match self.outgoing.end(header.id) {
            None => return self.late(),
            Some(None) => return Ok(()),
            Some(Some(ended)) => ended,
        };
        let certainty = Certainty::from_wire(head[0]);
        let mut error = match (code, head[1], codec) {
            (Code::Application, 1, Some(codec)) => {
                ErrorOf::from_application(ErrorBody::new(codec, Bytes::copy_from_slice(detail)))
            }
            (_, 2, _) if detail.len() >= 8 => {
                let at = |at: usize| {
                    u32::from_be_bytes([detail[at], detail[at + 1], detail[at + 2], detail[at + 3]])
                };
                ErrorOf::new(code, certainty).with_sizes(at(0), at(4))
            }
            _ => CallError::new(code, certainty),
        };
        if !message.is_empty() {
            error =
                error.with_message(String::from_utf8_lossy(&message[..message.len().min(4096)]));
        }
        if retry_after > 0 {
            error = error.with_retry_after(Duration::from_millis(u64::from(retry_after)));
        }
        self.push(Event::Failed {
            call: ended.call,
            error,
        });
        Ok(())
    }

    /// CANCEL of a call of the peer.
    fn on_cancel(&mut self, header: &Header) -> Result<(), Violation> {
        self.check_theirs(header.id)?;
        match self.incoming.cancel(header.id) {
            None => self.late(),
            Some(false) => Ok(()),
            Some(true) => {
                let reason = CancelReason::from_wire(header.aux);
                self.push(Event::Cancelled {
                    call: CallId::theirs(header.id),
                    reason,
                });
                Ok(())
            }
        }
    }

    /// No call here has items, so an ITEM belongs to a reply being skipped, to a call that is
    /// over, or to none.
    fn on_item(&mut self, header: &Header) -> Result<(), Violation> {
        if self.check_ours(header.id).is_err() {
            self.check_theirs(header.id)?;
            return if self.incoming.is_open(CallId::theirs(header.id)) {
                Err(Violation::Rule("item-on-unary"))
            } else {
                // Also a further part of arguments that were refused as too large.
                self.late()
            };
        }
        match self.outgoing.is_skipping(header.id) {
            None => self.late(),
            Some(false) => Err(Violation::Rule("item-on-unary")),
            Some(true) => {
                if !header.has_more() {
                    self.outgoing.end(header.id);
                }
                Ok(())
            }
        }
    }

    fn on_end_of_items(&mut self, header: &Header) -> Result<(), Violation> {
        self.check_theirs(header.id)?;
        if self.incoming.is_open(CallId::theirs(header.id)) {
            return Err(Violation::Rule("end-on-unary"));
        }
        self.late()
    }

    fn on_credit(&mut self, header: &Header, payload: &[u8]) -> Result<(), Violation> {
        let amount = payload.try_into().map(u32::from_be_bytes);
        let amount = amount.map_err(|_| Violation::Rule("credit-length"))?;
        if amount == 0 {
            return Err(Violation::Rule("credit-zero"));
        }
        if header.id == 0 {
            // For notifications, of which we send none.
            return match self.agreed.notify_window.checked_add(amount) {
                Some(window) if window <= 1 << 31 => {
                    self.agreed.notify_window = window;
                    Ok(())
                }
                _ => Err(Violation::Rule("credit-overflow")),
            };
        }
        if self.check_ours(header.id).is_err() {
            // Grants for our reply: it needs none.
            self.check_theirs(header.id)?;
            let known = self.incoming.contains(header.id);
            return if known { Ok(()) } else { self.late() };
        }
        match self.outgoing.grant(header.id, amount) {
            None => self.late(),
            Some(true) => Ok(()),
            Some(false) => Err(Violation::Rule("credit-overflow")),
        }
    }

    fn on_ping(&mut self, now: Instant, payload: &[u8]) -> Result<(), Violation> {
        if payload.len() != 8 {
            return Err(Violation::Rule("ping-length"));
        }
        if !self.pings.take(now, 1) {
            return Err(Violation::Flood("pings"));
        }
        if self.pongs < MAX_PONGS {
            self.pongs += 1;
            self.put_control(PONG, 0, payload);
        }
        Ok(())
    }

    fn on_advertise(
        &mut self,
        now: Instant,
        header: &Header,
        payload: &[u8],
    ) -> Result<(), Violation> {
        if !self.changes.take(now, u64::from(header.aux)) {
            return Err(Violation::Flood("advertisements"));
        }
        let methods =
            self.directory
                .advertise(payload, header.aux, self.config.limits.max_methods)?;
        if !methods.is_empty() {
            self.push(Event::Advertised(methods));
        }
        if !self.discovered && !header.has_more() {
            self.discovered = true;
            self.push(Event::Discovered);
        }
        Ok(())
    }

    fn on_goaway(&mut self, payload: &[u8]) -> Result<(), Violation> {
        let Some(head) = payload.first_chunk::<12>() else {
            return Err(Violation::Rule("goaway-length"));
        };
        let last = head[..8]
            .iter()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let within = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        self.draining = true;
        for call in self.outgoing.waiting_above(last) {
            let wire = self.outgoing.wire(call);
            let Some(ended) = self.outgoing.give_up(call, None) else {
                continue;
            };
            let certainty = if ended.queued {
                Certainty::NeverSent
            } else {
                Certainty::Refused
            };
            if let Some(wire) = wire {
                self.outgoing.end(wire);
            }
            self.push(Event::Failed {
                call,
                error: CallError::new(Code::Draining, certainty),
            });
        }
        self.push(Event::Draining {
            last_taken: last != u64::MAX,
            within: Duration::from_millis(u64::from(within)),
        });
        Ok(())
    }

    /// A number of ours that was given to a call.
    fn check_ours(&self, id: u64) -> Result<(), Violation> {
        if id == 0 || id & 1 != self.side.parity() || id > self.outgoing.last_wire() {
            return Err(Violation::Rule("id-unknown"));
        }
        Ok(())
    }

    /// A number the peer gave to a call.
    fn check_theirs(&self, id: u64) -> Result<(), Violation> {
        if id == 0 || id & 1 == self.side.parity() || id > self.incoming.highest() {
            return Err(Violation::Rule("id-unknown"));
        }
        Ok(())
    }

    /// A frame for a call that is over: it crossed something of ours, or the peer is broken.
    fn late(&mut self) -> Result<(), Violation> {
        self.stats.late_frames += 1;
        let calls = self.outgoing.opened() + self.incoming.opened();
        if self.stats.late_frames > 10_000 + 10 * calls {
            return Err(Violation::Rule("late-frames"));
        }
        Ok(())
    }
}

/// Bits of an OPEN's kind: a notification.
const NOTIFY: u8 = 4;

/// Takes the frame that ends at `to` from the front of `input` and gives what starts at `from`.
fn take_body(input: &mut BytesMut, from: usize, to: usize) -> Bytes {
    if to - from < SHARE {
        let body = Bytes::copy_from_slice(&input[from..to]);
        input.advance(to);
        body
    } else {
        input.advance(from);
        input.split_to(to - from).freeze()
    }
}
