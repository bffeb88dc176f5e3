//! Frames about calls of ours.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use crate::proto::extension::Refused;
use crate::proto::frame::{FAIL_HEAD, HEADER, Header};
use crate::proto::{CodecId, ErrorOf, Event, Extensions, Machine, Violation};
use crate::{CallError, Certainty, Code, ErrorBody};

impl Machine {
    pub(super) fn on_reply(
        &mut self,
        header: &Header,
        input: &mut BytesMut,
    ) -> Result<(), Violation> {
        self.check_ours(header.id)?;
        let frame = &input[..header.frame_len()];
        let body_at = HEADER + usize::from(header.aux);
        let Some(extensions) = frame.get(HEADER..body_at) else {
            return Err(Violation::Rule("reply-length"));
        };
        let body = &frame[body_at..];
        if !header.has_more() && !self.inlets.contains(header.id) {
            self.check_window(body.len())?;
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
        if self.inlets.is_partial(header.id) {
            return Err(Violation::Rule("message-total"));
        }
        if header.has_more() {
            match self.outgoing.on_wire(header.id) {
                Some((_, call)) if self.outgoing.is_waiting(header.id) => {
                    self.on_first_of_reply(call, header.id, body)?;
                }
                // It has its outcome; the other parts are dropped too.
                _ => self.outgoing.skip(header.id),
            }
            input.advance(header.frame_len());
            return Ok(());
        }
        if !self.inlets.is_empty() && self.outgoing.is_waiting(header.id) {
            self.inlets.whole(header.id, body.len())?;
        }
        self.forget(header.id);
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
                let body = self.take_body(input, body_at, header.frame_len());
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

    pub(super) fn on_fail(&mut self, header: &Header, payload: &[u8]) -> Result<(), Violation> {
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
        let ended = self.outgoing.end(header.id);
        self.forget(header.id);
        let ended = match ended {
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

    pub(super) fn on_credit(&mut self, header: &Header, payload: &[u8]) -> Result<(), Violation> {
        let amount = payload.try_into().map(u32::from_be_bytes);
        let amount = amount.map_err(|_| Violation::Rule("credit-length"))?;
        if amount == 0 {
            return Err(Violation::Rule("credit-zero"));
        }
        self.credits += 1;
        if header.id == 0 {
            // For notifications.
            return match self.agreed.notify_window.checked_add(amount) {
                Some(window) if window <= 1 << 31 => {
                    self.agreed.notify_window = window;
                    Ok(())
                }
                _ => Err(Violation::Rule("credit-overflow")),
            };
        }
        let ours = self.check_ours(header.id).is_ok();
        if !ours {
            self.check_theirs(header.id)?;
        }
        if let Some(granted) = self.outlets.grant(header.id, amount) {
            let wanted = granted.ok_or(Violation::Rule("credit-overflow"))?;
            if let Some(call) = wanted {
                self.push(Event::Room { call });
            }
            return Ok(());
        }
        if !ours {
            // For a reply that needs none.
            let known = self.incoming.contains(header.id);
            return if known { Ok(()) } else { self.late() };
        }
        match self.outgoing.grant(header.id, amount) {
            None => self.late(),
            Some(true) => Ok(()),
            Some(false) => Err(Violation::Rule("credit-overflow")),
        }
    }
}
