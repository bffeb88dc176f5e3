//! Frames about calls of the peer.

use std::time::Duration;

use bowline_backend::time::Instant;
use bytes::{Buf, Bytes, BytesMut};

use super::items::first_part;
use crate::proto::extension::Refused;
use crate::proto::frame::{HEADER, Header, OPEN_HEAD};
use crate::proto::incoming::Answer;
use crate::proto::inlet::What;
use crate::proto::machine::given_up;
use crate::proto::methods::MAX_NAME;
use crate::proto::outlet::Terms;
use crate::proto::{
    CallId, CallKind, CancelReason, CodecId, Event, Extensions, Failure, IncomingCall, Machine,
    MethodId, Target, Violation,
};
use crate::{Certainty, Code};

impl Machine {
    pub(super) fn on_open(
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
        self.check_window(
            body.len()
                .saturating_sub(if header.has_more() { 4 } else { 0 }),
        )?;
        let checked = Extensions::check(extensions, self.config.limits.max_metadata);
        if let Err(Refused::Malformed(rule)) = checked {
            return Err(Violation::Rule(rule));
        }
        if self.leaving {
            self.stats.refused_calls += 1;
            input.advance(header.frame_len());
            return Ok(());
        }
        let deadline = match budget {
            0 => Instant::NEVER,
            micros => now.saturating_add(Duration::from_micros(micros)),
        };
        let kind = CallKind(kind);
        let notifies = kind.contains(CallKind::NOTIFY);
        let total = match header.has_more() {
            true if notifies => return Err(Violation::Rule("notify-more")),
            true => Some(first_part(body)?.0),
            false => None,
        };
        if notifies {
            self.notifications += 1;
            if self.notifications > self.config.limits.notify_window {
                return Err(Violation::Rule("notify-window"));
            }
        } else {
            let max_calls = self.config.limits.max_calls;
            self.incoming
                .insert(header.id, hops, priority.min(7), deadline, max_calls)?;
        }
        let limit = self.config.limits.max_message;
        let refusal = match total {
            Some(total) if total > limit => {
                Some(Failure::too_large(Certainty::Refused, limit, total))
            }
            _ if checked == Err(Refused::Unsupported) || !kind.is_known() => {
                Some(Failure::new(Code::Unsupported))
            }
            _ if !self.has_codec(codec) => {
                let unknown = CodecId(codec).to_string();
                Some(Failure::new(Code::Unsupported).message(unknown))
            }
            _ if hops > 8 => Some(Failure::new(Code::HopLimit)),
            _ => None,
        };
        if let Some(failure) = refusal {
            self.turn_away(header.id, notifies, failure);
            input.advance(header.frame_len());
            return Ok(());
        }
        let extensions = Extensions::from_checked(extensions);
        let target = match extensions.name() {
            _ if method != 0 => Some(Target::Method(MethodId(method))),
            Some(name) if (1..=MAX_NAME).contains(&name.len()) => std::str::from_utf8(name)
                .ok()
                .map(|name| Target::Name(name.into())),
            _ => None,
        };
        let Some(target) = target else {
            self.turn_away(header.id, notifies, Failure::new(Code::UnknownMethod));
            input.advance(header.frame_len());
            return Ok(());
        };
        let call = IncomingCall {
            call: CallId::theirs(header.id),
            kind,
            target,
            codec: CodecId(codec),
            priority: priority.min(7),
            hops,
            deadline,
            extensions,
            body: Bytes::new(),
        };
        if total.is_none() && kind.0 & CallKind::BOTH_STREAM.0 == 0 {
            let body = self.take_body(input, body_at, header.frame_len());
            self.push(Event::Opened(IncomingCall { body, ..call }));
            return Ok(());
        }
        self.begin_call(header, call, total, body_at, input)
    }

    /// A call whose arguments have parts, or that streams.
    fn begin_call(
        &mut self,
        header: &Header,
        call: IncomingCall,
        total: Option<u32>,
        body_at: usize,
        input: &mut BytesMut,
    ) -> Result<(), Violation> {
        let (wire, window) = (header.id, self.config.limits.call_window);
        let streams = call.kind.contains(CallKind::CALLER_STREAMS);
        if streams || total.is_some() {
            self.inlets.open(wire, call.call, window, streams);
        }
        if call.kind.contains(CallKind::EXECUTOR_STREAMS) {
            let terms = Terms {
                call: call.call,
                credit: self.agreed.call_window,
                window: self.agreed.call_window,
                most: window,
                priority: call.priority,
                streams: true,
            };
            self.outlets.open(wire, terms);
        }
        match total {
            Some(total) => {
                let part = &input[body_at + 4..header.frame_len()];
                let (what, budget) = (What::Open(Box::new(call)), self.budget());
                self.inlets
                    .first(wire, what, total as usize, part, budget)?;
                input.advance(header.frame_len());
            }
            None => {
                self.inlets.whole(wire, header.frame_len() - body_at)?;
                let body = self.take_body(input, body_at, header.frame_len());
                self.push(Event::Opened(IncomingCall { body, ..call }));
            }
        }
        Ok(())
    }

    /// Answers a call that cannot begin; a notification is dropped.
    fn turn_away(&mut self, id: u64, notifies: bool, failure: Failure) {
        if notifies {
            self.drop_notification();
        } else {
            self.refuse(id, failure);
        }
    }

    pub(super) fn refuse(&mut self, id: u64, failure: Failure) {
        self.outlets.remove(id);
        let queued = self.incoming.answer(Answer::Fail(id, Box::new(failure)));
        debug_assert!(queued.is_ok(), "the call was just taken");
    }

    /// CANCEL of a call of the peer.
    pub(super) fn on_cancel(&mut self, header: &Header) -> Result<(), Violation> {
        self.check_theirs(header.id)?;
        let call = CallId::theirs(header.id);
        match self.incoming.cancel(header.id) {
            None => self.late(),
            // Its answer may wait for credit that does not come any more.
            Some(false) => {
                if self.outlets.contains(header.id) && !self.incoming.is_open(call) {
                    self.outlets.replace(header.id, Box::new(given_up()));
                }
                Ok(())
            }
            // Nobody has heard of it.
            Some(true) if self.inlets.is_partial_open(header.id) => {
                self.inlets.remove(header.id, true, self.budget());
                let failure = Failure::new(Code::Cancelled).certainty(Certainty::Refused);
                self.refuse(header.id, failure);
                Ok(())
            }
            Some(true) => {
                // Its handler may go on for long, and no item of it is still to come.
                self.inlets.cut(header.id, self.budget());
                let reason = CancelReason::from_wire(header.aux);
                self.push(Event::Cancelled { call, reason });
                Ok(())
            }
        }
    }
}
