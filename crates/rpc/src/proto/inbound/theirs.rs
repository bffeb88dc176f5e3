//! Frames about calls of the peer.

use std::time::Duration;

use bowline_backend::time::Instant;
use bytes::{Buf, Bytes, BytesMut};

use super::take_body;
use crate::proto::extension::Refused;
use crate::proto::frame::{CREDIT, HEADER, Header, OPEN_HEAD};
use crate::proto::incoming::Answer;
use crate::proto::methods::MAX_NAME;
use crate::proto::{
    CallId, CancelReason, CodecId, Event, Extensions, Failure, IncomingCall, Machine, MethodId,
    Target, Violation,
};
use crate::{Certainty, Code};

/// Bits of an OPEN's kind: a notification.
const NOTIFY: u8 = 4;

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
        let body = take_body(&mut self.bodies, input, body_at, header.frame_len());
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

    /// CANCEL of a call of the peer.
    pub(super) fn on_cancel(&mut self, header: &Header) -> Result<(), Violation> {
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

    pub(super) fn on_end_of_items(&mut self, header: &Header) -> Result<(), Violation> {
        self.check_theirs(header.id)?;
        if self.incoming.is_open(CallId::theirs(header.id)) {
            return Err(Violation::Rule("end-on-unary"));
        }
        self.late()
    }
}
