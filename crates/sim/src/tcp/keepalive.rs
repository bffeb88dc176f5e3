//! Keepalive: asking a silent peer whether it is still there.
//!
//! The timers of connections that are well send nothing: the answer is known, and only keeps
//! translators on the way from forgetting the flow. So they neither change a run nor keep a world
//! going in which nothing else will happen.
//!
//! Invariant: an established stream with the option has one timer, and no other stream has.

use super::{Phase, Segment, SocketRef};
use crate::event::{Event, EventKey};
use crate::link::nanos;
use crate::net::Keepalive;
use crate::state::State;
use crate::trace::EventKind;

#[derive(Debug, Default)]
pub(crate) struct Vigil {
    timer: Option<EventKey>,
    /// When the last segment came.
    pub(crate) heard: u64,
    /// Probes since.
    pub(crate) unanswered: u32,
}

impl Vigil {
    pub(super) fn stop(&mut self) -> Option<EventKey> {
        self.timer.take()
    }
}

impl State {
    /// Sets the option and starts or stops the timer.
    pub(crate) fn set_keepalive(&mut self, socket: SocketRef, keepalive: Option<Keepalive>) {
        if let Some(stream) = self.net.stream(socket) {
            stream.options.keepalive = keepalive;
            self.watch(socket);
        }
    }

    /// Starts the timer anew: for the first probe after a silence.
    pub(super) fn watch(&mut self, socket: SocketRef) {
        let now = self.now;
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        if let Some(key) = stream.vigil.timer.take() {
            self.events.cancel(key);
        }
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        let Some(keepalive) = stream.options.keepalive else {
            return;
        };
        if stream.phase != Phase::Established {
            return;
        }
        let idle = nanos(keepalive.idle).max(1);
        let at = stream.vigil.heard.saturating_add(idle).max(now);
        self.set_vigil(socket, at);
    }

    fn set_vigil(&mut self, socket: SocketRef, at: u64) {
        let key = self
            .events
            .push(at, 0, Event::Keepalive(socket), self.cause);
        if let Some(stream) = self.net.stream(socket) {
            stream.vigil.timer = Some(key);
        }
    }

    /// The timer is due.
    pub(crate) fn keep_alive(&mut self, socket: SocketRef) {
        let now = self.now;
        let well = self.is_well(socket, now);
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        stream.vigil.timer = None;
        let Some(keepalive) = stream.options.keepalive else {
            return;
        };
        if stream.phase != Phase::Established {
            return;
        }
        let silence = now - stream.vigil.heard;
        let (idle, interval) = (
            nanos(keepalive.idle).max(1),
            nanos(keepalive.interval).max(1),
        );
        if stream.vigil.unanswered == 0 && silence < idle {
            let at = stream.vigil.heard.saturating_add(idle);
            self.set_vigil(socket, at);
            return;
        }
        if stream.in_flight > 0 || stream.persist.is_running() {
            // What is unacknowledged or unsent has a timer of its own.
            self.set_vigil(socket, now.saturating_add(interval));
            return;
        }
        if well {
            stream.vigil.heard = now;
            stream.last_use = now;
            self.set_vigil(socket, now.saturating_add(idle));
            return;
        }
        let asked = stream.vigil.unanswered;
        let over = match stream.options.user_timeout.map(nanos) {
            Some(limit) => asked > 0 && silence >= limit,
            None => asked >= keepalive.count.max(1),
        };
        stream.vigil.unanswered = asked.saturating_add(1);
        let slot = u64::from(socket.slot);
        self.cause = self.record(EventKind::Timer, "keepalive", slot, u64::from(asked));
        if over {
            self.give_up(socket);
            return;
        }
        self.transmit(socket, Segment::Probe);
        self.set_vigil(socket, now.saturating_add(interval));
    }

    /// Whether a probe that is sent at `time` would certainly be answered.
    fn is_well(&mut self, socket: SocketRef, time: u64) -> bool {
        self.ends_of(socket, time).is_some_and(|(out, back)| {
            let wires = &self.net.wires;
            wires.is_plain(out, time) && wires.is_plain(back, time)
        })
    }

    /// The ways between a socket and its peer, both of which are there and were not forgotten.
    fn ends_of(
        &mut self,
        socket: SocketRef,
        time: u64,
    ) -> Option<(crate::wire::Way, crate::wire::Way)> {
        let host = self.net.find(socket)?.host;
        let stream = self.net.stream(socket)?;
        let (remote, way) = (stream.remote?, (host, stream.remote_host));
        let (used, forgotten) = (stream.last_use, stream.forgotten);
        let peer = self.net.stream(remote)?;
        let used = used.max(peer.last_use);
        if forgotten || peer.phase == Phase::Dead || peer.remote != Some(socket) {
            return None;
        }
        let back = (way.1, way.0);
        let mut forgets = [way, back].into_iter();
        let forgets = forgets.any(|way| {
            let after = self.net.wires.forgets(way);
            after.is_some_and(|after| time.saturating_sub(used) > after)
        });
        (!forgets).then_some((way, back))
    }

    /// Whether nothing is left to happen but timers of connections that are well enough, and of those
    /// whose window is closed: they would go on for ever, and change nothing.
    pub(crate) fn only_idles(&mut self) -> bool {
        let Some(waiting) = self.events.only_probes() else {
            return false;
        };
        waiting.into_iter().all(|(time, socket)| {
            if self.hopes_for_a_window(socket) {
                return false;
            }
            self.ends_of(socket, time).is_some_and(|(out, back)| {
                let wires = &self.net.wires;
                wires.is_open(out, time) && wires.is_open(back, time)
            })
        })
    }
}
