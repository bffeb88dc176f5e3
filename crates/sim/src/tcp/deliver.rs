//! What an arriving segment does.

use super::launch::Owed;
use super::stream::Fin;
use super::{Kind, Phase, Segment, SocketRef, Stream, canonical};
use crate::errno::Errno;
use crate::oracle::{self, Scope};
use crate::state::State;
use crate::trace::EventKind;
use bytes::Bytes;

impl State {
    /// Handles the arrival of `segment` at `to`.
    pub(crate) fn deliver(&mut self, from: SocketRef, to: SocketRef, segment: Segment) {
        if self.is_to_the_void(from, to) {
            self.lose(from, to, segment);
            return;
        }
        let (label, size) = segment.describe();
        self.cause = self.record(EventKind::Segment, label, u64::from(to.slot), size);
        let now = self.now;
        match self.net.stream(to) {
            // One that gave up is as good as none. Of one that was reset the peer is gone, and what
            // was under way with it.
            None
            | Some(Stream {
                phase: Phase::Dead, ..
            }) => {
                self.deliver_to_nobody(from, to, segment);
                return;
            }
            Some(stream) => {
                stream.vigil.heard = now;
                stream.vigil.unanswered = 0;
                stream.persist.unanswered = 0;
                let (half_open, window) = (stream.phase, stream.credit);
                let confirms = !matches!(segment, Segment::Established { .. } | Segment::Rst);
                if confirms && matches!(half_open, Phase::HalfOpen(_)) {
                    // Whoever sends has had our answer; its own was lost.
                    self.handshake_done(to, window);
                }
            }
        }
        match segment {
            Segment::SynAck { window } => self.connected(to, from, window),
            Segment::Established { window } => self.handshake_done(to, window),
            Segment::Data(bytes) => self.data(to, bytes),
            Segment::Fin => self.finished(to),
            Segment::Ack(said) => self.acknowledged(to, said),
            Segment::Probe => self.probed(to),
            Segment::Rst => self.was_reset(to),
        }
    }

    /// Answers what belongs to no socket as a kernel does: out of TIME_WAIT by an acknowledgement,
    /// else by a reset.
    fn deliver_to_nobody(&mut self, from: SocketRef, to: SocketRef, segment: Segment) {
        // The host that had the socket is the sender's remote host.
        let Some(host) = self.net.stream(from).map(|stream| stream.remote_host) else {
            return;
        };
        let waits = self.is_in_time_wait(host, from);
        let answer = match segment {
            Segment::Rst => return,
            // It says nothing that needs an answer.
            Segment::Ack(_) if waits => return,
            Segment::Fin if waits => Segment::Ack(Owed {
                fin: true,
                ..Owed::default()
            }),
            Segment::Probe if waits => Segment::Ack(Owed::default()),
            _ => Segment::Rst,
        };
        if !self.answer(host, to, from, answer) {
            // For its sender it is as if it had been lost itself.
            self.lose(from, to, segment);
        }
    }

    /// Whether `host` remembers the connection of the socket `peer`, though its end of it is gone.
    fn is_in_time_wait(&mut self, host: u32, peer: SocketRef) -> bool {
        let Some(found) = self.net.find(peer) else {
            return false;
        };
        let at = canonical(found.local);
        let Kind::Stream(stream) = &found.kind else {
            return false;
        };
        let port = stream.peer.port();
        let waits = &mut self.machines[host as usize].time_waits;
        waits.forget(self.now);
        waits.has_with(port, at)
    }

    fn data(&mut self, to: SocketRef, bytes: Bytes) {
        let Some(found) = self.net.find(to) else {
            return;
        };
        let host = found.host;
        let Kind::Stream(stream) = &mut found.kind else {
            return;
        };
        if stream.orphan {
            // Nobody will read it: a closed socket answers data with a reset.
            self.reset(to);
            return;
        }
        let size = bytes.len();
        stream.unread += size;
        stream.received.push_back(bytes);
        let reader = stream.read_waker.take();
        self.wake(reader);
        self.net.bytes += size as u64;
        self.occupy(host, size);
        self.acknowledge(to, size);
    }

    fn finished(&mut self, to: SocketRef) {
        let now = self.now;
        if let Some(stream) = self.net.stream(to) {
            stream.peer_finished = true;
            stream.note_end(now);
            let reader = stream.read_waker.take();
            self.wake(reader);
            let owed = Owed {
                fin: true,
                ..Owed::default()
            };
            self.transmit(to, Segment::Ack(owed));
        }
    }

    fn acknowledged(&mut self, to: SocketRef, said: Owed) {
        self.progressed(to);
        let now = self.now;
        let Some(found) = self.net.find(to) else {
            return;
        };
        let host = found.host;
        let Kind::Stream(stream) = &mut found.kind else {
            return;
        };
        stream.in_flight -= said.bytes;
        stream.small_in_flight = stream.small_in_flight.saturating_sub(said.bytes);
        stream.credit += said.window;
        if said.fin {
            stream.fin = Fin::Acked;
            stream.note_end(now);
        }
        let ended = stream.ended_at.is_some();
        let gone = stream.orphan && stream.fin == Fin::Acked;
        // A window alone makes no room in the buffer.
        if said.bytes > 0 || said.fin {
            let writer = stream.write_waker.take();
            self.wake(writer);
            self.vacate(host, said.bytes);
        }
        if ended {
            self.let_port_go(to);
        }
        if gone {
            self.remove_socket(to);
        } else {
            self.pump(to);
        }
    }

    fn was_reset(&mut self, to: SocketRef) {
        let host = self.net.find(to).map_or(0, |socket| socket.host);
        let Some(stream) = self.net.stream(to) else {
            return;
        };
        if stream.orphan {
            stream.phase = Phase::Dead;
            self.remove_socket(to);
            return;
        }
        if let Phase::HalfOpen(listener) = stream.phase {
            self.forget_half_open(listener, to);
            self.remove_socket(to);
            return;
        }
        let error = match stream.phase {
            Phase::Connecting => Errno::Refused,
            _ if stream.peer_finished => Errno::BrokenPipe,
            _ => Errno::Reset,
        };
        let unread = stream.unread;
        // Kernels differ: some deliver first what had arrived, some throw it away.
        let lost = unread > 0
            && !stream.peer_finished
            && self.oracle.choose(oracle::RESET_DATA, Scope::Host(host), 2) == 1;
        self.die(to, error);
        if lost && let Some(stream) = self.net.stream(to) {
            stream.received.clear();
            stream.unread = 0;
            self.vacate(host, unread);
        }
    }

    /// Forgets the port of a stream whose two directions have ended, if it was not the first to close
    /// and did not ask for it, though its program may hold it still.
    fn let_port_go(&mut self, socket: SocketRef) {
        let Some(found) = self.net.find(socket) else {
            return;
        };
        let host = found.host as usize;
        let Kind::Stream(stream) = &mut found.kind else {
            return;
        };
        if stream.ended_at.is_none() || !stream.closed_second || stream.asked_port {
            return;
        }
        found.release_port(&mut self.machines[host]);
        if let Kind::Stream(stream) = &mut found.kind {
            stream.has_port = false;
        }
    }

    /// Ends a stream with an error that is reported once.
    pub(crate) fn die(&mut self, socket: SocketRef, error: Errno) {
        self.leave_unanswered(socket);
        let Some(found) = self.net.find(socket) else {
            return;
        };
        let host = found.host;
        found.release_port(&mut self.machines[host as usize]);
        let Kind::Stream(stream) = &mut found.kind else {
            return;
        };
        stream.has_port = false;
        stream.phase = Phase::Dead;
        stream.error = Some(error);
        stream.remote = None;
        let queued = stream.queued();
        stream.unsent.clear();
        stream.in_flight = 0;
        let timers = stream.timers();
        let wakers = [stream.read_waker.take(), stream.write_waker.take()];
        self.woken.extend(wakers.into_iter().flatten());
        self.vacate(host, queued);
        for key in timers.into_iter().flatten() {
            self.events.cancel(key);
        }
    }
}
