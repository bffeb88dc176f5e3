//! Retransmission: what an end does that hears nothing.
//!
//! The world knows what is lost, so a timer runs only where something was: a connection without
//! losses has none. What the timers do is what a kernel's do (RFC 6298 with a minimum of 200 ms and
//! no estimate of the round trip): the first try comes 200 ms after the loss, each further one after
//! twice as long, at most 120 s; 15 tries in vain, or the user timeout, end the connection.
//!
//! Invariants
//! 1. `stalled` is what was lost and what may not overtake it, in the order in which it is to be
//!    sent; while it is not empty, a timer runs or the stream is dead.
//! 2. An acknowledgement is progress: tries count from 0 again.

use super::{Phase, Segment, SocketRef, Stream};
use crate::errno::Errno;
use crate::event::{Event, EventKey};
use crate::state::State;
use crate::tcp::launch::Owed;
use crate::tcp::stream::Fin;
use crate::trace::EventKind;
use std::collections::VecDeque;

const FIRST_RTO: u64 = 200_000_000;
pub(super) const LONGEST_RTO: u64 = 120_000_000_000;
pub(super) const TRIES: u32 = 15;
/// The listener's answer is sent again after 1, 2, 4, .. s; after the fifth time it is forgotten.
const HANDSHAKE_RETRY: u64 = 1_000_000_000;
const HANDSHAKE_TRIES: u32 = 5;

/// The timeout after so many tries.
pub(super) fn backed_off(tries: u32) -> u64 {
    // 2^10 times the first is longer than the longest.
    (FIRST_RTO << tries.min(10)).min(LONGEST_RTO)
}

#[derive(Default)]
pub(crate) struct Recovery {
    pub(crate) stalled: VecDeque<Segment>,
    timer: Option<EventKey>,
    tries: u32,
    /// Since when nothing was heard that was waited for.
    since: Option<u64>,
}

impl Recovery {
    /// The next timeout, counted from now.
    fn rto(&self) -> u64 {
        backed_off(self.tries)
    }

    /// Forgets everything; the timer is to be cancelled.
    pub(super) fn stop(&mut self) -> Option<EventKey> {
        self.stalled.clear();
        self.progress()
    }

    fn progress(&mut self) -> Option<EventKey> {
        self.tries = 0;
        self.since = None;
        self.timer.take()
    }
}

impl State {
    /// Starts the timer of an end that waits for an answer, if it does not run.
    pub(super) fn expect_answer(&mut self, socket: SocketRef) {
        let now = self.now;
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        if stream.recovery.timer.is_some() || stream.phase != Phase::Established {
            return;
        }
        let since = *stream.recovery.since.get_or_insert(now);
        let mut at = now.saturating_add(stream.recovery.rto());
        if let Some(limit) = stream.user_timeout() {
            at = at.min(since.saturating_add(limit)).max(now);
        }
        let key = self
            .events
            .push(at, 0, Event::Retransmit(socket), self.cause);
        if let Some(stream) = self.net.stream(socket) {
            stream.recovery.timer = Some(key);
        }
    }

    /// Nothing was heard for a timeout: tries again, or gives up.
    pub(crate) fn retransmit(&mut self, socket: SocketRef) {
        let now = self.now;
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        stream.recovery.timer = None;
        let since = stream.recovery.since.unwrap_or(now);
        let tries = stream.recovery.tries;
        let late = stream
            .user_timeout()
            .is_some_and(|limit| now - since >= limit);
        stream.recovery.tries += 1;
        let slot = u64::from(socket.slot);
        self.cause = self.record(EventKind::Timer, "retransmit", slot, u64::from(tries));
        if tries >= TRIES || late {
            self.give_up(socket);
            return;
        }
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        if stream.recovery.stalled.is_empty() {
            // All arrived, it seems; what says so did not.
            let again = match stream.fin == Fin::Sent && stream.in_flight == 0 {
                true => Segment::Fin,
                false => Segment::Probe,
            };
            self.transmit(socket, again);
            self.expect_answer(socket);
        } else {
            self.resend(socket);
        }
    }

    /// Sends what is stalled, up to the first segment that is lost again.
    fn resend(&mut self, socket: SocketRef) {
        loop {
            let Some(found) = self.net.find(socket) else {
                return;
            };
            let host = found.host;
            let Some(stream) = self.net.stream(socket) else {
                return;
            };
            let way = (host, stream.remote_host);
            let (Some(to), Some(segment)) = (stream.remote, stream.recovery.stalled.pop_front())
            else {
                return;
            };
            let behind = std::mem::take(&mut stream.recovery.stalled);
            self.launch(way, socket, to, segment, 0);
            let mut lost = true;
            if let Some(stream) = self.net.stream(socket) {
                // Before them is what was lost again, if it was.
                lost = !stream.recovery.stalled.is_empty();
                stream.recovery.stalled.extend(behind);
            }
            if lost {
                return;
            }
        }
    }

    /// An acknowledgement arrived at an end that may have waited for one.
    pub(super) fn progressed(&mut self, socket: SocketRef) {
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        let stalled = !stream.recovery.stalled.is_empty();
        if let Some(key) = stream.recovery.progress() {
            self.events.cancel(key);
        }
        if stalled {
            self.expect_answer(socket);
        }
    }

    /// The peer was silent for too long.
    pub(super) fn give_up(&mut self, socket: SocketRef) {
        match self.net.stream(socket) {
            Some(stream) if stream.orphan => {
                stream.phase = Phase::Dead;
                self.remove_socket(socket);
            }
            Some(_) => self.die(socket, Errno::TimedOut),
            None => {}
        }
    }

    /// The end `gone` is no more, and with it an acknowledgement that waited to be sent: who waits
    /// for it has a timer from now on.
    pub(crate) fn leave_unanswered(&mut self, gone: SocketRef) {
        let stream = self.net.stream(gone);
        let owing = stream.filter(|stream| stream.ack_timer.is_some());
        let Some(remote) = owing.and_then(|stream| stream.remote) else {
            return;
        };
        if self.net.stream(remote).is_some_and(|end| end.is_owed()) {
            self.expect_answer(remote);
        }
    }

    /// Answers one who asks whether we are there, with all that we owe.
    pub(super) fn probed(&mut self, socket: SocketRef) {
        self.transmit(socket, Segment::Ack(Owed::default()));
    }

    /// Starts the timer of an end whose handshake lacks its last part.
    pub(super) fn expect_handshake(&mut self, socket: SocketRef) {
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        if stream.retry.is_some() || !matches!(stream.phase, Phase::HalfOpen(_)) {
            return;
        }
        let again = self
            .now
            .saturating_add(HANDSHAKE_RETRY << stream.attempts.min(HANDSHAKE_TRIES));
        stream.attempts += 1;
        let event = Event::HandshakeRetry(socket);
        let key = self.events.push(again, 0, event, self.cause);
        if let Some(stream) = self.net.stream(socket) {
            stream.retry = Some(key);
        }
    }

    /// The last part of the handshake is still missing.
    pub(crate) fn retry_handshake(&mut self, socket: SocketRef) {
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        stream.retry = None;
        let Phase::HalfOpen(listener) = stream.phase else {
            return;
        };
        let over = stream.attempts > HANDSHAKE_TRIES;
        let slot = u64::from(socket.slot);
        self.cause = self.record(EventKind::Timer, "handshake", slot, 0);
        if over {
            self.forget_half_open(listener, socket);
            self.remove_socket(socket);
            return;
        }
        self.answer_request(socket);
        self.expect_handshake(socket);
    }

    /// Sends the listener's answer of a connection that is not established.
    pub(super) fn answer_request(&mut self, socket: SocketRef) {
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        let window = stream.receive_capacity;
        self.transmit(socket, Segment::SynAck { window });
    }
}

impl Stream {
    pub(super) fn user_timeout(&self) -> Option<u64> {
        self.options.user_timeout.map(crate::link::nanos)
    }
}
