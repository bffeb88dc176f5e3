//! Items, parts of messages, and the end of a caller's items.

use bytes::{Buf, BytesMut};

use crate::proto::frame::{CHARGE, HEADER, Header};
use crate::proto::inlet::What;
use crate::proto::items::together;
use crate::proto::machine::saturate;
use crate::proto::{CallId, CancelReason, ErrorOf, Event, Failure, Items, Machine, Violation};
use crate::{CallError, Certainty, Code};

impl Machine {
    pub(super) fn on_item(
        &mut self,
        header: &Header,
        input: &mut BytesMut,
    ) -> Result<(), Violation> {
        if self.check_ours(header.id).is_ok() {
            match self.outgoing.is_skipping(header.id) {
                None => self.late()?,
                Some(true) => {
                    if !header.has_more() {
                        self.outgoing.end(header.id);
                    }
                }
                // It has its outcome: what is still on the way is dropped.
                Some(false) if !self.outgoing.is_waiting(header.id) => {}
                Some(false) => {
                    let call = self.outgoing.on_wire(header.id).map(|(_, call)| call);
                    return self.take_item(call, header, input);
                }
            }
        } else {
            self.check_theirs(header.id)?;
            let call = CallId::theirs(header.id);
            if self.incoming.is_cancelled(header.id) {
                self.late()?;
            } else if self.incoming.is_open(call) {
                return self.take_item(Some(call), header, input);
            } else if !self.incoming.contains(header.id) {
                self.late()?;
            }
        }
        input.advance(header.frame_len());
        Ok(())
    }

    /// An ITEM of a call that is open: an item, or a part of a message.
    fn take_item(
        &mut self,
        call: Option<CallId>,
        header: &Header,
        input: &mut BytesMut,
    ) -> Result<(), Violation> {
        let (wire, length) = (header.id, header.frame_len());
        let body = &input[HEADER..length];
        if self.inlets.is_partial(wire) {
            let message = self
                .inlets
                .further(wire, body, header.has_more(), self.budget())?;
            input.advance(length);
            match (message, call) {
                (Some((What::Item, body)), Some(call)) => self.push(Event::Item { call, body }),
                (Some((What::Reply, body)), Some(call)) => {
                    self.outgoing.end(wire);
                    self.forget(wire);
                    self.push(Event::Replied { call, body });
                }
                (Some((What::Open(mut incoming), body)), _) => {
                    if !self.inlets.streams(wire) {
                        self.inlets.remove(wire, false, self.budget());
                    }
                    incoming.body = body;
                    self.push(Event::Opened(*incoming));
                }
                _ => {}
            }
            return Ok(());
        }
        let Some(call) = call.filter(|_| self.inlets.streams(wire)) else {
            return Err(Violation::Rule("item-on-unary"));
        };
        if header.has_more() {
            let (total, part) = first_part(body)?;
            if total > self.config.limits.max_message {
                self.refuse_item(call, wire, total);
            } else {
                let (total, budget) = (total as usize, self.budget());
                self.inlets.first(wire, What::Item, total, part, budget)?;
            }
            input.advance(length);
        } else {
            // What was granted for some of them is used before the others break the rules.
            let credit = self.inlets.credit(wire);
            let together = together(input, header, credit, self.config.limits.max_frame);
            self.inlets.whole(wire, together - CHARGE)?;
            if together == length {
                let body = self.take_body(input, HEADER, length);
                self.push(Event::Item { call, body });
            } else {
                let items = Items::of_frames(self.take_items(input, together));
                self.push(Event::Items { call, items });
            }
        }
        Ok(())
    }

    /// An item is longer than this side takes: its call ends.
    fn refuse_item(&mut self, call: CallId, wire: u64, total: u32) {
        let limit = self.config.limits.max_message;
        if call.is_ours() {
            if self
                .outgoing
                .give_up(call, Some(CancelReason::Dropped))
                .is_some()
            {
                self.forget(wire);
                let error = ErrorOf::new(Code::TooLarge, Certainty::MaybeExecuted);
                let error = error.with_sizes(limit, total);
                self.push(Event::Failed { call, error });
            }
        } else {
            let failure = Failure::too_large(Certainty::MaybeExecuted, limit, total);
            self.refuse(wire, failure);
            let reason = CancelReason::Dropped;
            self.push(Event::Cancelled { call, reason });
        }
    }

    /// The first part of a reply that has more, to a call that waits for it.
    pub(super) fn on_first_of_reply(
        &mut self,
        call: CallId,
        wire: u64,
        body: &[u8],
    ) -> Result<(), Violation> {
        let (total, part) = first_part(body)?;
        let limit = self.config.limits.max_message;
        if total > limit {
            let given_up = self.outgoing.give_up(call, Some(CancelReason::Dropped));
            self.forget(wire);
            self.outgoing.skip(wire);
            if given_up.is_some() {
                let error = CallError::new(Code::TooLarge, Certainty::Executed);
                let error = error.with_sizes(limit, total);
                self.push(Event::Failed { call, error });
            }
            return Ok(());
        }
        if self.inlets.is_partial(wire) {
            return Err(Violation::Rule("message-total"));
        }
        if !self.inlets.contains(wire) {
            let window = self.config.limits.call_window;
            self.inlets.open(wire, call, window, false);
        }
        let (total, budget) = (total as usize, self.budget());
        self.inlets.first(wire, What::Reply, total, part, budget)
    }

    pub(super) fn on_end_of_items(&mut self, header: &Header) -> Result<(), Violation> {
        self.check_theirs(header.id)?;
        let call = CallId::theirs(header.id);
        if self.incoming.is_cancelled(header.id) {
            return self.late();
        }
        if !self.incoming.is_open(call) {
            return if self.incoming.contains(header.id) {
                Ok(())
            } else {
                self.late()
            };
        }
        if !self.inlets.streams(header.id) {
            return Err(Violation::Rule("end-on-unary"));
        }
        if self.inlets.is_partial(header.id) {
            return Err(Violation::Rule("message-total"));
        }
        self.inlets.end(header.id);
        self.push(Event::Ended { call });
        Ok(())
    }

    /// The first bytes of `input`, which are frames.
    fn take_items(&self, input: &mut BytesMut, length: usize) -> BytesMut {
        let frames = input.split_to(length);
        if self.is_shared(length) {
            frames
        } else {
            BytesMut::from(&frames[..])
        }
    }

    /// Whether the credit of a whole body, the first message of its call, is enough.
    pub(super) fn check_window(&self, length: usize) -> Result<(), Violation> {
        if saturate(length).saturating_add(16) > self.config.limits.call_window {
            return Err(Violation::Rule("call-window"));
        }
        Ok(())
    }
}

/// `total u32` at the front of the first part of a message, and what follows.
pub(super) fn first_part(body: &[u8]) -> Result<(u32, &[u8]), Violation> {
    let (total, part) = body
        .split_first_chunk()
        .ok_or(Violation::Rule("message-total"))?;
    Ok((u32::from_be_bytes(*total), part))
}
