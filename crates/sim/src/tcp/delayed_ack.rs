//! Acknowledgements that wait for something to go back with.
//!
//! As a kernel's (RFC 1122, 4.2.3.2; RFC 896): what arrives is acknowledged at once or, by draw, up
//! to 40 ms later, unless before that something is sent back or more than a full segment waits to be
//! acknowledged; and of small segments only one is under way at a time (as Minshall has it, so the
//! rest of a long write waits for nothing). Each is harmless alone. Together they make who writes
//! twice and then reads wait for the 40 ms.
//!
//! Who sends with `nodelay` waits for no acknowledgement but when its buffer is full, so what comes
//! from there is acknowledged at once: the delay would show nothing else, and cost an event.
//!
//! Invariant: while a stream has the timer, `owed` is what it says when the timer is due, and every
//! segment that says it before stops the timer.

use super::launch::Owed;
use super::stream::Fin;
use super::{Phase, Segment, SocketRef, Stream};
use crate::event::{Event, EventKey};
use crate::oracle::{self, Scope};
use crate::state::State;
use crate::trace::EventKind;

const MILLISECOND: u64 = 1_000_000;
/// As long as a kernel waits for something to go back (`TCP_DELACK_MIN` of Linux).
const LONGEST: u64 = 40;

impl State {
    /// Acknowledges `bytes` that arrived at `socket`, now or later.
    pub(super) fn acknowledge(&mut self, socket: SocketRef, bytes: usize) {
        let may_wait = self.may_ack_wait(socket, bytes);
        if let Some(stream) = self.net.stream(socket) {
            stream.owed.bytes += bytes;
        }
        if !may_wait || !self.put_off_ack(socket) {
            self.transmit(socket, Segment::Ack(Owed::default()));
        }
    }

    /// Whether an acknowledgement of `bytes` may wait.
    fn may_ack_wait(&mut self, socket: SocketRef, bytes: usize) -> bool {
        let Some(host) = self.net.find(socket).map(|found| found.host) else {
            return false;
        };
        let Some(stream) = self.net.stream(socket) else {
            return false;
        };
        // What was lost is said again as soon as it can be.
        let owes_lost = stream.ack_timer.is_none() && !stream.owed.is_nothing();
        let waiting = stream.owed.bytes + bytes;
        let (sender, way) = (stream.remote, (stream.remote_host, host));
        if owes_lost || waiting > self.net.wires.segment(way) {
            return false;
        }
        let sender = sender.and_then(|sender| self.net.stream(sender));
        sender.is_some_and(|sender| {
            !sender.options.nodelay && sender.fin == Fin::Open && sender.phase == Phase::Established
        })
    }

    /// Draws how long the acknowledgement that is owed waits, unless one does already; false where
    /// it is to go at once.
    fn put_off_ack(&mut self, socket: SocketRef) -> bool {
        let Some(found) = self.net.find(socket) else {
            return false;
        };
        let host = found.host;
        let Some(stream) = self.net.stream(socket) else {
            return false;
        };
        if stream.ack_timer.is_some() {
            return true;
        }
        // A kernel is in a hurry at times, as when a connection is new.
        let scope = Scope::Host(host);
        let drawn = self
            .oracle
            .choose(oracle::ACK_DELAY, scope, 2 * LONGEST + 1);
        let after = drawn.saturating_sub(LONGEST) * MILLISECOND;
        if after == 0 {
            return false;
        }
        let at = self.now.saturating_add(after);
        let event = Event::DelayedAck(socket);
        let key = self.events.push(at, 0, event, self.cause);
        if let Some(stream) = self.net.stream(socket) {
            stream.ack_timer = Some(key);
        }
        true
    }

    /// Nothing went back in time.
    pub(crate) fn delayed_ack(&mut self, socket: SocketRef) {
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        stream.ack_timer = None;
        let slot = u64::from(socket.slot);
        self.cause = self.record(EventKind::Timer, "delayed ack", slot, 0);
        self.transmit(socket, Segment::Ack(Owed::default()));
    }
}

impl Stream {
    /// Takes what is to be acknowledged, for a segment that says so; the timer is to be cancelled.
    pub(super) fn take_owed(&mut self) -> (Owed, Option<EventKey>) {
        (std::mem::take(&mut self.owed), self.ack_timer.take())
    }

    /// Whether a small segment has to wait (Nagle, with Minshall's modification).
    pub(super) fn is_held_by_nagle(&self) -> bool {
        !self.options.nodelay && self.small_in_flight > 0 && self.fin == Fin::Open
    }
}
