//! What the driver asks for.

use std::time::Duration;

use bowline_backend::time::Instant;
use bytes::Bytes;

use super::{MAX_EVENTS, Machine, Phase, Sent, saturate};
use crate::limits::KNOWN;
use crate::proto::frame::{CHARGE, GOAWAY, OPEN_HEAD, PING};
use crate::proto::handshake::millis;
use crate::proto::inbound::LAST_PING;
use crate::proto::incoming::Answer;
use crate::proto::methods::MAX_NAME;
use crate::proto::outgoing::LEVELS;
use crate::proto::{
    CallId, CallKind, CancelReason, CloseCause, Command, Failure, Open, Rejected, Target,
};
use crate::{Certainty, Code};

impl Machine {
    /// Does what the driver wants. For [`Command::Open`] gives the id of the call, otherwise that
    /// of the call concerned or [`CallId::CONNECTION`].
    ///
    /// # Errors
    /// Where the command cannot be done; then nothing has changed.
    pub fn command(&mut self, now: Instant, command: Command) -> Result<CallId, Rejected> {
        if self.phase == Phase::Over {
            return Err(Rejected::Closed);
        }
        match command {
            Command::Open(open) => self.open(open),
            Command::Reply { call, body } => self.reply(now, call, body),
            Command::Fail { call, failure } => self.fail(now, call, failure),
            Command::Item { call, body } => self.item(call, body),
            Command::Items { call, items } => self.items(call, items),
            Command::End { call } => self.end_items(call),
            Command::Consumed { call, amount } => self.consumed(call, amount),
            Command::Cancel { call, reason } => self.cancel(call, reason),
            Command::Advertise(methods) => self.advertise(methods),
            Command::Withdraw(methods) => self.withdraw(methods),
            Command::Drain { within } => {
                let call = self.goaway(now, u64::MAX, within)?;
                self.asked_to_drain = true;
                self.put_control(PING, 0, LAST_PING);
                Ok(call)
            }
            Command::Leave { within } => {
                let call = self.goaway(now, self.incoming.highest(), within)?;
                self.leaving = true;
                Ok(call)
            }
            Command::Close { code, message } => {
                self.close(CloseCause::Closed(code), Sent::HandedOut, Some(&message));
                Ok(CallId::CONNECTION)
            }
        }
    }

    fn open(&mut self, open: Open) -> Result<CallId, Rejected> {
        let limits = &self.config.limits;
        if self.draining {
            return Err(Rejected::Draining);
        }
        if usize::from(open.hops) >= LEVELS {
            return Err(Rejected::HopLimit);
        }
        if let Target::Name(name) = &open.target
            && !(1..=MAX_NAME).contains(&name.len())
        {
            return Err(Rejected::BadName);
        }
        if !open.kind.is_known() {
            return Err(Rejected::Kind);
        }
        self.fits(&open)?;
        let level = open.level();
        if !self
            .outgoing
            .has_room(level, self.agreed.max_calls, limits.queue_calls)
            || self.queued_bytes() + open.body.len() > limits.queue_bytes
            || self.events.len() >= MAX_EVENTS
        {
            return Err(Rejected::Overloaded);
        }
        Ok(self.outgoing.push(open))
    }

    /// Whether a call may be sent as it is; before the handshake, whether it may as far as we know.
    pub(in crate::proto) fn fits(&self, open: &Open) -> Result<(), Rejected> {
        let limits = &self.config.limits;
        let ready = self.phase == Phase::Open;
        let (frame, body) = if ready {
            (self.agreed.max_frame, self.agreed.max_body)
        } else {
            (limits.max_frame as usize, limits.max_message as usize)
        };
        let metadata = if ready {
            self.agreed.max_metadata
        } else {
            limits.max_metadata
        };
        let said = open.extensions.metadata_bytes();
        if said > usize::from(metadata) {
            return Err(Rejected::TooLarge {
                limit: metadata.into(),
                actual: saturate(said),
            });
        }
        let extensions = self.extensions_len(open);
        if extensions > usize::from(u16::MAX) {
            return Err(Rejected::TooLarge {
                limit: u16::MAX.into(),
                actual: saturate(extensions),
            });
        }
        let around = OPEN_HEAD + extensions;
        let limit = usize::from(limits.max_metadata) + KNOWN;
        if open.extensions.len() > limit {
            return Err(Rejected::TooLarge {
                limit: saturate(limit),
                actual: saturate(open.extensions.len()),
            });
        }
        let room = frame.saturating_sub(around);
        let limit = if open.kind.contains(CallKind::NOTIFY) {
            // It has no parts.
            let window = if ready {
                self.agreed.call_window
            } else {
                limits.call_window
            };
            room.min(window as usize - CHARGE)
        } else if room > CHARGE {
            body
        } else {
            0
        };
        if open.body.len() > limit {
            return Err(Rejected::TooLarge {
                limit: saturate(limit),
                actual: saturate(open.body.len()),
            });
        }
        if ready && !self.agreed.codecs.contains(&open.codec) {
            return Err(Rejected::Codec(open.codec));
        }
        Ok(())
    }

    pub(in crate::proto) fn extensions_len(&self, open: &Open) -> usize {
        let name = match &open.target {
            Target::Name(name) => 3 + name.len(),
            Target::Method(_) => 0,
        };
        name + open.extensions.len()
    }

    fn reply(&mut self, now: Instant, call: CallId, body: Bytes) -> Result<CallId, Rejected> {
        if !self.incoming.is_open(call) {
            return Err(Rejected::NoSuchCall);
        }
        let limit = self.agreed.max_body;
        let wire = call.as_u64();
        self.inlets.took_left(call, u64::MAX, self.budget());
        if body.len() <= limit && (self.outlets.contains(wire) || !self.is_one_frame(body.len())) {
            if let Some(failure) = self.too_long(body.len()) {
                return self.fail(now, call, failure);
            }
            return self.answer_in_parts(now, call, Ok(body));
        }
        if body.len() > limit {
            let (limit, actual) = (saturate(limit), saturate(body.len()));
            let failure = Failure::too_large(Certainty::Executed, limit, actual);
            return self.fail(now, call, failure);
        }
        self.incoming.answer(Answer::Reply(wire, body))?;
        Ok(call)
    }

    /// Why a reply of `length` bytes cannot wait for credit, if it would have to.
    fn too_long(&self, length: usize) -> Option<Failure> {
        let limits = &self.config.limits;
        let all = self.outlets.long_to_peer() + length;
        let long = length + CHARGE > limits.call_window as usize && all > limits.reply_bytes;
        long.then(|| {
            let (limit, actual) = (saturate(limits.reply_bytes), saturate(all));
            Failure::too_large(Certainty::Executed, limit, actual)
                .message("with the replies that wait for credit")
        })
    }

    fn fail(
        &mut self,
        now: Instant,
        call: CallId,
        mut failure: Failure,
    ) -> Result<CallId, Rejected> {
        if !self.incoming.is_open(call) {
            return Err(Rejected::NoSuchCall);
        }
        self.inlets.took_left(call, u64::MAX, self.budget());
        failure.fit(self.agreed.max_frame);
        if self.outlets.contains(call.as_u64()) {
            return self.answer_in_parts(now, call, Err(failure));
        }
        self.incoming
            .answer(Answer::Fail(call.as_u64(), Box::new(failure)))?;
        Ok(call)
    }

    fn cancel(&mut self, call: CallId, reason: CancelReason) -> Result<CallId, Rejected> {
        let code = match reason {
            CancelReason::Deadline => Code::DeadlineExceeded,
            _ => Code::Cancelled,
        };
        let ended = self
            .outgoing
            .give_up(call, Some(reason))
            .ok_or(Rejected::NoSuchCall)?;
        self.settle(ended, code, Sent::HandedOut);
        Ok(call)
    }

    fn goaway(&mut self, now: Instant, last: u64, within: Duration) -> Result<CallId, Rejected> {
        if self.phase != Phase::Open {
            return Err(Rejected::NotReady);
        }
        // What was said of methods before goes out before, if the peer lets it through.
        self.adverts.leave(now, &mut self.control);
        let mut payload = [0; 12];
        payload[..8].copy_from_slice(&last.to_be_bytes());
        payload[8..].copy_from_slice(&millis(within).to_be_bytes());
        self.put_control(GOAWAY, Code::Draining.as_u16(), &payload);
        Ok(CallId::CONNECTION)
    }
}
