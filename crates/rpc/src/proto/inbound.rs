//! Frames in.

mod handshake;
mod items;
mod ours;
mod theirs;

use std::time::Duration;

use bowline_backend::time::Instant;
use bytes::{Buf, Bytes, BytesMut};

use super::frame::{
    ADVERTISE, CANCEL, CLOSE, CREDIT, END, FAIL, GOAWAY, HEADER, HELLO, Header, ITEM, OPEN, PING,
    PONG, PREFACE, PROOF, READY, REPLY, WITHDRAW,
};
use super::machine::{MAX_EVENTS, Phase, Sent};
use super::{CloseCause, Event, Guess, Machine, Violation};
use crate::limits::PINNED;
use crate::{CallError, Certainty, Code};

/// Bodies from this length on are shared with the buffer they came in, if they are not a small part of it;
/// others are copied out, so that a small body does not keep a large buffer.
const SHARE: usize = 4096;
/// Frames of unknown types per second and at once, each counted again for each of its whole KiB.
pub(super) const UNKNOWN: (u64, u64) = (1000, 4096);
/// What the PING says that follows the request to open nothing new.
pub(super) const LAST_PING: &[u8; 8] = b"the last";
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
        // What it held back lies in the same buffer, the front of which is out of sight.
        if !self.holding {
            self.buffer = input.capacity();
        }
        match self.take_frames(now, input) {
            Ok(()) => Ok(()),
            Err(violation) => {
                self.close(CloseCause::Violation(violation), Sent::HandedOut, None);
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
        self.holding = false;
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
            if input.len() < length {
                return Ok(());
            }
            if self.events.len() >= MAX_EVENTS {
                self.holding = true;
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

    fn on_close(&mut self, header: &Header, payload: &[u8]) {
        let said = &payload[..payload.len().min(512)];
        let message = crate::error::escape(&String::from_utf8_lossy(said), 512).unwrap_or_default();
        let cause = CloseCause::ClosedByPeer {
            code: Code::from_wire(header.aux),
            message,
        };
        self.close(cause, Sent::HandedOut, None);
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
            ITEM => return self.on_item(header, input),
            FAIL => self.on_fail(header, payload)?,
            CANCEL => self.on_cancel(header)?,
            END => self.on_end_of_items(header)?,
            CREDIT => self.on_credit(header, payload)?,
            PING => self.on_ping(now, payload)?,
            PONG => {
                let Some(echo) = payload.first_chunk().filter(|_| payload.len() == 8) else {
                    return Err(Violation::Rule("pong-length"));
                };
                if echo == LAST_PING {
                    if std::mem::take(&mut self.asked_to_drain) {
                        self.push(Event::Quiet);
                    }
                } else if !self.adverts.is_answer(now, echo) {
                    // A heartbeat says when it was sent; whoever makes one up says so of itself.
                    let sent = Instant::from_nanos(u64::from_be_bytes(*echo));
                    if sent <= now {
                        self.round_trip = Some(now.saturating_duration_since(sent));
                    }
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
            CLOSE => self.on_close(header, payload),
            HELLO | PROOF | READY => return Err(Violation::Rule("handshake-again")),
            _ if header.is_critical() => return Err(Violation::Rule("critical-frame")),
            _ => {
                self.stats.unknown_frames += 1;
                if !self.unknown.take(now, 1 + u64::from(header.len) / 1024) {
                    return Err(Violation::Flood("unknown-frames"));
                }
            }
        }
        input.advance(length);
        Ok(())
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
                self.forget(wire);
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
        if self.stats.late_frames > self.forgiven.saturating_add(10 * calls) {
            return Err(Violation::Rule("late-frames"));
        }
        Ok(())
    }
}

impl Machine {
    /// Takes the frame that ends at `to` from the front of `input` and gives what starts at `from`.
    fn take_body(&mut self, input: &mut BytesMut, from: usize, to: usize) -> Bytes {
        if self.is_shared(to - from) {
            input.advance(from);
            input.split_to(to - from).freeze()
        } else {
            let body = self.bodies.copy(&input[from..to]);
            input.advance(to);
            body
        }
    }

    /// Whether so many bytes stay in the buffer they came in, which they keep then.
    fn is_shared(&self, length: usize) -> bool {
        length >= SHARE && PINNED * length >= self.buffer
    }
}
