//! One end of a connection: its buffers, and what closes do to it.

use super::keepalive::Vigil;
use super::launch::Owed;
use super::persist::Persist;
use super::recovery::Recovery;
use super::{Kind, Segment, SocketRef};
use crate::errno::Errno;
use crate::event::EventKey;
use crate::ports::Hold;
use crate::state::State;
use crate::trace::EventKind;
use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The request is on its way.
    Connecting,
    /// The listener answered and waits for the last part of the handshake.
    HalfOpen(SocketRef),
    Established,
    /// Reset, refused or timed out.
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fin {
    Open,
    Queued,
    Sent,
    Acked,
}

/// Options of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamOptions {
    pub(crate) nodelay: bool,
    pub(crate) linger: Option<Duration>,
    pub(crate) keepalive: Option<crate::net::Keepalive>,
    pub(crate) user_timeout: Option<Duration>,
}

pub(crate) struct Stream {
    pub(crate) peer: SocketAddr,
    /// Whether connections to other peers may have its port too.
    pub(crate) shares_port: bool,
    /// Whether its port was asked for: it has it as long as it is held.
    pub(crate) asked_port: bool,
    /// Whether it counts among those that have its port. Of one that died, or ended second, a kernel
    /// forgets it.
    pub(crate) has_port: bool,
    /// Whether nobody may listen at its port before it is gone, and forgotten.
    pub(crate) keeps_port: bool,
    pub(crate) remote: Option<SocketRef>,
    pub(crate) remote_host: u32,
    pub(crate) phase: Phase,
    pub(crate) options: StreamOptions,
    pub(crate) error: Option<Errno>,
    /// Its owner dropped it; it lives on to deliver what is queued.
    pub(crate) orphan: bool,
    pub(crate) last_arrival: u64,
    /// When something of ours last got through, as far as translators on the way remember.
    pub(crate) last_use: u64,
    /// Translators have forgotten it: nothing gets through any more.
    pub(crate) forgotten: bool,
    /// Something is missing of what the peer sent, which is gone with its host.
    pub(super) gap: bool,
    /// The peer sent its FIN before we sent ours.
    pub(crate) closed_second: bool,
    /// When both FINs had arrived.
    pub(crate) ended_at: Option<u64>,
    pub(super) recovery: Recovery,
    pub(super) persist: Persist,
    pub(super) vigil: Vigil,
    /// What acknowledgements said that were lost, or that wait for something to go back with.
    pub(super) owed: Owed,
    /// Runs while an acknowledgement waits.
    pub(super) ack_timer: Option<EventKey>,
    pub(crate) retry: Option<EventKey>,
    pub(crate) attempts: u32,
    // sending
    pub(crate) unsent: BytesMut,
    pub(crate) in_flight: usize,
    pub(crate) credit: usize,
    pub(crate) send_capacity: usize,
    /// Of what is in flight, what comes up to the last small segment.
    pub(crate) small_in_flight: usize,
    pub(crate) fin: Fin,
    // receiving
    pub(crate) received: VecDeque<Bytes>,
    pub(crate) unread: usize,
    pub(crate) receive_capacity: usize,
    pub(crate) window_owed: usize,
    pub(crate) peer_finished: bool,
    pub(crate) read_waker: Option<Waker>,
    pub(crate) write_waker: Option<Waker>,
}

impl Stream {
    pub(crate) fn new(
        peer: SocketAddr,
        remote_host: u32,
        phase: Phase,
        options: StreamOptions,
        send_capacity: usize,
        receive_capacity: usize,
    ) -> Stream {
        Stream {
            peer,
            shares_port: false,
            asked_port: false,
            has_port: true,
            keeps_port: false,
            remote: None,
            remote_host,
            phase,
            options,
            error: None,
            orphan: false,
            last_arrival: 0,
            last_use: 0,
            forgotten: false,
            gap: false,
            closed_second: false,
            ended_at: None,
            recovery: Recovery::default(),
            persist: Persist::default(),
            vigil: Vigil::default(),
            owed: Owed::default(),
            ack_timer: None,
            retry: None,
            attempts: 0,
            unsent: BytesMut::new(),
            in_flight: 0,
            credit: 0,
            send_capacity,
            small_in_flight: 0,
            fin: Fin::Open,
            received: VecDeque::new(),
            unread: 0,
            receive_capacity,
            window_owed: 0,
            peer_finished: false,
            read_waker: None,
            write_waker: None,
        }
    }

    /// Its timers, which are to be cancelled.
    pub(super) fn timers(&mut self) -> [Option<EventKey>; 5] {
        [
            self.retry.take(),
            self.recovery.stop(),
            self.persist.stop(),
            self.vigil.stop(),
            self.ack_timer.take(),
        ]
    }

    /// Notes when both directions have ended.
    pub(super) fn note_end(&mut self, now: u64) {
        if self.fin == Fin::Acked && self.peer_finished {
            self.ended_at.get_or_insert(now);
        }
    }

    /// Who may listen at its port.
    pub(super) fn hold(&self) -> Hold {
        match self.keeps_port {
            true => Hold::Kept,
            false => Hold::Shared,
        }
    }

    /// Whether nothing can come or go any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.phase == Phase::Dead || self.ended_at.is_some()
    }

    /// What was written and not acknowledged.
    pub(super) fn queued(&self) -> usize {
        self.unsent.len() + self.in_flight
    }
}

impl State {
    /// Queues the end of our bytes. Always succeeds, also after a reset and a second time.
    pub(crate) fn shutdown(&mut self, socket: SocketRef) {
        if let Some(stream) = self.net.stream(socket)
            && stream.fin == Fin::Open
        {
            stream.fin = Fin::Queued;
            self.record(EventKind::Close, "shutdown", u64::from(socket.slot), 0);
            let stream = self.net.stream(socket);
            let waker = stream.and_then(|stream| stream.write_waker.take());
            self.wake(waker);
            self.pump(socket);
        }
    }

    /// Sends what the peer's window allows.
    pub(crate) fn pump(&mut self, socket: SocketRef) {
        let Some(found) = self.net.find(socket) else {
            return;
        };
        let host = found.host;
        let Kind::Stream(stream) = &mut found.kind else {
            return;
        };
        if stream.phase != Phase::Established {
            return;
        }
        let way = (host, stream.remote_host);
        let segment = self.net.wires.segment(way);
        loop {
            let Some(stream) = self.net.stream(socket) else {
                return;
            };
            let size = stream.unsent.len().min(stream.credit).min(segment);
            let small = size < segment && size == stream.unsent.len();
            let wait = small && stream.is_held_by_nagle();
            if size == 0 || wait {
                if !wait && !stream.unsent.is_empty() {
                    self.await_window(socket);
                }
                break;
            }
            let bytes = stream.unsent.split_to(size).freeze();
            stream.credit -= size;
            stream.in_flight += size;
            let waited = stream.persist.is_running();
            if small {
                stream.small_in_flight = stream.in_flight;
            }
            if waited {
                self.window_opened(socket);
            }
            self.transmit(socket, Segment::Data(bytes));
        }
        if let Some(stream) = self.net.stream(socket)
            && stream.unsent.is_empty()
            && stream.fin == Fin::Queued
        {
            stream.fin = Fin::Sent;
            stream.closed_second = stream.peer_finished;
            self.transmit(socket, Segment::Fin);
        }
    }

    /// The owner is gone: ends both directions as a kernel does for a closed descriptor.
    pub(crate) fn close(&mut self, socket: SocketRef) {
        self.let_go(socket);
        let Some(stream) = self.net.stream(socket) else {
            return;
        };
        let reset = stream.unread > 0 || stream.options.linger == Some(Duration::ZERO);
        let phase = stream.phase;
        let readers = [stream.read_waker.take(), stream.write_waker.take()];
        self.dropped.extend(readers.into_iter().flatten());
        let how = if reset { "reset" } else { "close" };
        self.record(EventKind::Close, how, u64::from(socket.slot), 0);
        match phase {
            Phase::Connecting | Phase::Dead => self.remove_socket(socket),
            Phase::HalfOpen(_) => self.reset(socket),
            Phase::Established if reset => self.reset(socket),
            Phase::Established => {
                if let Some(stream) = self.net.stream(socket) {
                    stream.orphan = true;
                    if stream.fin == Fin::Open {
                        stream.fin = Fin::Queued;
                    }
                    if stream.fin == Fin::Acked {
                        self.remove_socket(socket);
                    } else {
                        self.pump(socket);
                    }
                }
            }
        }
    }

    /// Gives up: the peer hears of it by RST.
    pub(crate) fn reset(&mut self, socket: SocketRef) {
        self.transmit(socket, Segment::Rst);
        if let Some(stream) = self.net.stream(socket) {
            stream.phase = Phase::Dead;
        }
        self.remove_socket(socket);
    }
}
