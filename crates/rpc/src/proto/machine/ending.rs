//! How a connection ends, and with it every call.

use bowline_backend::time::Instant;
use bytes::BytesMut;

use super::{Machine, Phase};
use crate::proto::frame::{CLOSE, PREFACE};
use crate::proto::inlet::Inlets;
use crate::proto::methods::Directory;
use crate::proto::outgoing::Ended;
use crate::proto::outlets::Outlets;
use crate::proto::{CloseCause, ErrorOf, Event, Guess, Side, StreamEnd, Violation};
use crate::{CallError, Certainty, Code};

/// Which calls count as never sent when they are settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proto) enum Sent {
    /// Those not handed out: what was handed out may still be written.
    HandedOut,
    /// Those of which the transport took no byte: nothing more is written.
    Transmitted,
}

impl Machine {
    /// Takes the input that the stream has ended or broken. Calls without outcome fail at once, as
    /// never sent if the transport took no byte of them.
    pub fn handle_end(&mut self, _now: Instant, end: StreamEnd) {
        let (have, need) = self.tail;
        let cause = match end {
            StreamEnd::Broken(kind) => CloseCause::Broken(kind),
            StreamEnd::Ended if self.phase == Phase::Preface && self.wrong_preface() => {
                let guess = Guess::from_first_bytes(&self.preface[..self.preface_len]);
                CloseCause::Violation(Violation::NotOurProtocol { guess })
            }
            StreamEnd::Ended if have > 0 => CloseCause::Truncated { have, need },
            StreamEnd::Ended => CloseCause::Ended,
        };
        self.close(cause, Sent::Transmitted, None);
        self.control = BytesMut::new();
        self.silent_until = None;
        self.incoming.clear();
    }

    pub(in crate::proto) fn wrong_preface(&self) -> bool {
        self.preface[..self.preface_len] != PREFACE[..self.preface_len]
    }

    /// Reports the outcome of a call that was given up or lost.
    pub(in crate::proto) fn settle(&mut self, ended: Ended, code: Code, sent: Sent) {
        let certainty = self.certainty(&ended, sent);
        self.forget(ended.wire);
        self.push(Event::Failed {
            call: ended.call,
            error: CallError::new(code, certainty),
        });
    }

    pub(in crate::proto) fn certainty(&self, ended: &Ended, sent: Sent) -> Certainty {
        let untouched = match sent {
            Sent::HandedOut => ended.queued,
            Sent::Transmitted => ended.queued || ended.start >= self.transmitted,
        };
        if untouched {
            Certainty::NeverSent
        } else {
            Certainty::MaybeExecuted
        }
    }

    /// Ends the connection; the second end changes nothing.
    pub(in crate::proto) fn close(&mut self, cause: CloseCause, sent: Sent, message: Option<&str>) {
        if self.phase == Phase::Over {
            return;
        }
        let code = match &cause {
            CloseCause::Closed(_) => Code::Cancelled,
            _ => Code::ConnectionLost,
        };
        for call in self.outgoing.waiting_above(0) {
            if let Some(ended) = self.outgoing.give_up(call, None) {
                let certainty = self.certainty(&ended, sent);
                let error = ErrorOf::new(code, certainty).with_cause(cause.clone());
                self.push(Event::Failed { call, error });
            }
        }
        self.outgoing.clear();
        self.outlets = Outlets::default();
        self.inlets = Inlets::default();
        self.adverts.clear();
        self.snapshot = Vec::new();
        self.directory = Directory::default();
        match &cause {
            CloseCause::Closed(code) => {
                self.incoming.keep_answers();
                if self.side == Side::Dialer || !matches!(self.phase, Phase::Preface | Phase::Hello)
                {
                    self.put_close(*code, message.unwrap_or_default());
                }
            }
            CloseCause::Violation(violation) => {
                self.incoming.clear();
                if self.may_say_why(violation) {
                    self.put_close(violation.code(), violation.rule());
                }
            }
            _ => self.incoming.clear(),
        }
        self.phase = Phase::Over;
        self.push(Event::Closed(cause));
    }

    /// A listener says nothing to a stranger before its HELLO was in order: then, if the two do not go
    /// together, what the HELLO asked for.
    fn may_say_why(&self, violation: &Violation) -> bool {
        match violation {
            Violation::NotOurProtocol { .. } => false,
            Violation::NothingCommon(_) | Violation::WrongProject | Violation::Unauthenticated => {
                true
            }
            _ => self.side == Side::Dialer || !matches!(self.phase, Phase::Preface | Phase::Hello),
        }
    }

    /// The CLOSE goes out after everything else: `poll_transmit` writes `control` last once the
    /// phase is over.
    fn put_close(&mut self, code: Code, message: &str) {
        if self.side == Side::Listener && matches!(self.phase, Phase::Preface | Phase::Hello) {
            // The peer cannot read a frame before the preface.
            self.control.extend_from_slice(&PREFACE);
        }
        let mut end = message.len().min(512);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        let message = &message[..end];
        self.put_control(CLOSE, code.as_u16(), message.as_bytes());
    }
}
