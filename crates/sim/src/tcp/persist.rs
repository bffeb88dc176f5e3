//! The closed window: asking a peer that has no room whether it has some by now.
//!
//! As a kernel's (RFC 9293, 3.8.6.1): the first probe 200 ms after everything was acknowledged and
//! the window closed, each further one after twice as long, at most 120 s. Who answers may stay without room
//! for ever, unless there is a user timeout, which counts from the first probe. 15 probes without an
//! answer end the connection, and so does, where nobody holds the socket any more, a wait of 120 s.
//!
//! Invariant: while an established stream has bytes unsent, none in flight and no window, it has the
//! timer; no other stream has.

use super::recovery::{LONGEST_RTO, TRIES, backed_off};
use super::{Phase, Segment, SocketRef};
use crate::event::{Event, EventKey};
use crate::state::State;
use crate::trace::EventKind;

#[derive(Debug, Default)]
pub(crate) struct Persist {
    timer: Option<EventKey>,
    /// Probes since the window closed.
    backoff: u32,
    /// Probes since the peer was heard.
    pub(super) unanswered: u32,
    /// When the first probe was due.
    since: Option<u64>,
}

impl Persist {
    /// Forgets everything; the timer is to be cancelled.
    pub(super) fn stop(&mut self) -> Option<EventKey> {
        std::mem::take(self).timer
    }

    pub(super) fn is_running(&self) -> bool {
        self.timer.is_some()
    }
}

impl State {
    /// Starts the timer of an end that waits for a window, if it does not run.
    pub(super) fn await_window(&mut self, socket: SocketRef) {
        let now = self.now;
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        let waits = stream.phase == Phase::Established && stream.in_flight == 0;
        if !waits || stream.persist.is_running() {
            return;
        }
        let mut at = now.saturating_add(backed_off(stream.persist.backoff));
        if let (Some(since), Some(limit)) = (stream.persist.since, stream.user_timeout()) {
            at = at.min(since.saturating_add(limit)).max(now);
        }
        let key = self.events.push(at, 0, Event::Persist(socket), self.cause);
        if let Some(stream) = self.net.stream(socket) {
            stream.persist.timer = Some(key);
        }
    }

    /// The window is still closed: asks again, or gives up.
    pub(crate) fn persist(&mut self, socket: SocketRef) {
        let now = self.now;
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        let limit = stream.user_timeout();
        let persist = &mut stream.persist;
        persist.timer = None;
        let since = *persist.since.get_or_insert(now);
        let late = limit.is_some_and(|limit| now - since >= limit.max(1));
        let unanswered = persist.unanswered;
        let forsaken = stream.orphan && backed_off(persist.backoff) >= LONGEST_RTO;
        persist.unanswered += 1;
        persist.backoff = persist.backoff.saturating_add(1);
        let slot = u64::from(socket.slot);
        self.cause = self.record(EventKind::Timer, "persist", slot, u64::from(unanswered));
        if late || forsaken || unanswered >= TRIES {
            self.give_up(socket);
            return;
        }
        self.transmit(socket, Segment::Probe);
        self.await_window(socket);
    }

    /// There is a window again.
    pub(super) fn window_opened(&mut self, socket: SocketRef) {
        let stream = self.net.stream(socket);
        if let Some(key) = stream.and_then(|stream| stream.persist.stop()) {
            self.events.cancel(key);
        }
    }

    /// Whether something comes of asking, though the peer is well: the end waits no longer than so
    /// long, or it was told of a window, and what said so was lost.
    pub(super) fn hopes_for_a_window(&mut self, socket: SocketRef) -> bool {
        let Some(stream) = self.net.stream(socket) else {
            return false;
        };
        if !stream.persist.is_running() {
            return false;
        }
        let (impatient, remote) = (stream.options.user_timeout.is_some(), stream.remote);
        let remote = remote.and_then(|remote| self.net.stream(remote));
        impatient || remote.is_some_and(|remote| !remote.owed.is_nothing())
    }
}
