//! What an arriving segment does.

use super::stream::Fin;
use super::{Phase, Segment, SocketRef};
use crate::errno::Errno;
use crate::oracle::{self, Scope};
use crate::state::State;
use crate::trace::EventKind;
use bytes::Bytes;

impl State {
    /// Handles the arrival of `segment` at `to`.
    pub(crate) fn deliver(&mut self, from: SocketRef, to: SocketRef, segment: Segment) {
        let (label, size) = segment.describe();
        self.cause = self.record(EventKind::Segment, label, u64::from(to.slot), size);
        match self.net.stream(to).map(|stream| stream.phase) {
            None => {
                self.deliver_to_nobody(from, to, &segment);
                return;
            }
            // What was under way when the connection died: a reset may overtake it.
            Some(Phase::Dead) => return,
            Some(_) => {}
        }
        match segment {
            Segment::SynAck { window } => self.connected(to, from, window),
            Segment::Established { window } => self.handshake_done(to, window),
            Segment::Data(bytes) => self.data(to, bytes),
            Segment::Fin => self.finished(to),
            Segment::Ack { bytes, fin } => self.acknowledged(to, bytes, fin),
            Segment::Window { bytes } => {
                if let Some(stream) = self.net.stream(to) {
                    stream.credit += bytes;
                    self.pump(to);
                }
            }
            Segment::Rst => self.was_reset(to),
        }
    }

    fn deliver_to_nobody(&mut self, from: SocketRef, to: SocketRef, segment: &Segment) {
        // The host that had the socket is the sender's remote host.
        let Some(host) = self.net.stream(from).map(|stream| stream.remote_host) else {
            return;
        };
        match segment {
            Segment::Data(_) | Segment::SynAck { .. } => self.answer(host, to, from, Segment::Rst),
            // Both ended: the kernel acknowledges out of TIME_WAIT.
            Segment::Fin => {
                let ack = Segment::Ack {
                    bytes: 0,
                    fin: true,
                };
                self.answer(host, to, from, ack);
            }
            _ => {}
        }
    }

    fn data(&mut self, to: SocketRef, bytes: Bytes) {
        let Some(stream) = self.net.stream(to) else {
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
        self.net.count_buffered(size);
        let ack = Segment::Ack {
            bytes: size,
            fin: false,
        };
        self.transmit(to, ack);
    }

    fn finished(&mut self, to: SocketRef) {
        if let Some(stream) = self.net.stream(to) {
            stream.peer_finished = true;
            let reader = stream.read_waker.take();
            self.wake(reader);
            let ack = Segment::Ack {
                bytes: 0,
                fin: true,
            };
            self.transmit(to, ack);
        }
    }

    fn acknowledged(&mut self, to: SocketRef, bytes: usize, fin: bool) {
        let Some(stream) = self.net.stream(to) else {
            return;
        };
        stream.in_flight -= bytes;
        if fin {
            stream.fin = Fin::Acked;
        }
        let gone = stream.orphan && stream.fin == Fin::Acked;
        let writer = stream.write_waker.take();
        self.wake(writer);
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
            self.net.buffered -= unread;
        }
    }

    /// Ends a stream with an error that is reported once.
    pub(crate) fn die(&mut self, socket: SocketRef, error: Errno) {
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        stream.phase = Phase::Dead;
        stream.error = Some(error);
        stream.remote = None;
        let unsent = stream.unsent.len();
        stream.unsent.clear();
        stream.in_flight = 0;
        let retry = stream.retry.take();
        let wakers = [stream.read_waker.take(), stream.write_waker.take()];
        self.woken.extend(wakers.into_iter().flatten());
        self.net.buffered -= unsent;
        if let Some(key) = retry {
            self.events.cancel(key);
        }
    }
}
