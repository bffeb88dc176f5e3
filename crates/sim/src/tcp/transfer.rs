//! What reads and writes move between a program and the buffers of its end.

use super::launch::Owed;
use super::stream::Fin;
use super::{Kind, Phase, Segment, SocketRef};
use crate::errno::Errno;
use crate::oracle;
use crate::state::State;
use crate::task::Waits;
use crate::trace::EventKind;
use bytes::Buf;
use std::io::{self, IoSlice};
use std::task::{Poll, Waker};

/// So much a stream may always have of its own, whatever its host has left (`tcp_wmem` of Linux).
const LEAST: usize = 4096;

impl State {
    /// How many of `available` bytes one call moves: all, or by draw fewer.
    pub(crate) fn length(&mut self, label: oracle::Label, available: usize) -> usize {
        // One call in eight is short, so that large transfers keep moving.
        if available > 1 && self.choose(label, 8) == 7 {
            available - self.choose(label, available as u64) as usize
        } else {
            available
        }
    }

    pub(crate) fn read(
        &mut self,
        socket: SocketRef,
        buffer: &mut [u8],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let host = self.net.find(socket).map_or(0, |found| found.host);
        let Some(stream) = self.net.stream(socket) else {
            return Poll::Ready(Ok(0));
        };
        let way = (host, stream.remote_host);
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if stream.unread == 0 {
            if stream.peer_finished {
                return Poll::Ready(Ok(0));
            }
            if let Some(error) = stream.error.take() {
                return Poll::Ready(Err(error.error()));
            }
            if stream.phase == Phase::Dead {
                return Poll::Ready(Ok(0));
            }
            State::keep_waker(&mut self.dropped, &mut stream.read_waker, waker);
            self.waits(Waits::Read(socket.slot as usize));
            return Poll::Pending;
        }
        let available = stream.unread.min(buffer.len());
        let taken = self.length(oracle::READ_LENGTH, available);
        let segment = self.net.wires.segment(way);
        let Some(stream) = self.net.stream(socket) else {
            return Poll::Ready(Ok(0));
        };
        let mut filled = 0;
        while filled < taken {
            let Some(front) = stream.received.front_mut() else {
                break;
            };
            let part = front.len().min(taken - filled);
            buffer[filled..filled + part].copy_from_slice(&front[..part]);
            front.advance(part);
            filled += part;
            if front.is_empty() {
                stream.received.pop_front();
            }
        }
        stream.unread -= taken;
        stream.window_owed += taken;
        // A window worth telling (RFC 1122, 4.2.3.3), or all of it when the buffer is empty.
        let worth = segment.min(stream.receive_capacity.div_ceil(2));
        let tell = stream.unread == 0 || stream.window_owed >= worth;
        let open = stream.phase == Phase::Established && !stream.peer_finished;
        if tell && open && stream.window_owed < worth && stream.ack_timer.is_some() {
            // It goes with the acknowledgement.
            stream.owed.window += std::mem::take(&mut stream.window_owed);
        }
        let bytes = if tell && open {
            std::mem::take(&mut stream.window_owed)
        } else {
            0
        };
        self.vacate(host, taken);
        self.record(EventKind::Read, "tcp", u64::from(socket.slot), taken as u64);
        if bytes > 0 {
            let owed = Owed {
                window: bytes,
                ..Owed::default()
            };
            self.transmit(socket, Segment::Ack(owed));
        }
        Poll::Ready(Ok(taken))
    }

    pub(crate) fn write(
        &mut self,
        socket: SocketRef,
        slices: &[IoSlice<'_>],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let Some(found) = self.net.find(socket) else {
            return Poll::Ready(Err(Errno::BrokenPipe.error()));
        };
        let host = found.host;
        let Kind::Stream(stream) = &mut found.kind else {
            return Poll::Ready(Err(Errno::BrokenPipe.error()));
        };
        if let Some(error) = stream.error.take() {
            return Poll::Ready(Err(error.error()));
        }
        if stream.fin != Fin::Open || stream.phase == Phase::Dead {
            return Poll::Ready(Err(Errno::BrokenPipe.error()));
        }
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let queued = stream.queued();
        let room = stream.send_capacity.saturating_sub(queued);
        let machine = &mut self.machines[host as usize];
        let spare = machine.spare().max(LEAST.saturating_sub(queued));
        if room == 0 || spare == 0 {
            State::keep_waker(&mut self.dropped, &mut stream.write_waker, waker);
            if room == 0 {
                self.waits(Waits::Write(socket.slot as usize));
            } else {
                machine.short_of_memory.insert(socket);
                self.waits(Waits::Memory(socket.slot as usize));
            }
            return Poll::Pending;
        }
        let room = room.min(spare);
        let taken = self.length(oracle::WRITE_LENGTH, wanted.min(room));
        let hash = self.config.payload_hash();
        let Some(stream) = self.net.stream(socket) else {
            return Poll::Ready(Err(Errno::BrokenPipe.error()));
        };
        let mut left = taken;
        for slice in slices {
            let part = slice.len().min(left);
            stream.unsent.extend_from_slice(&slice[..part]);
            left -= part;
        }
        let written = hash(&stream.unsent[stream.unsent.len() - taken..]);
        self.occupy(host, taken);
        self.record_write("tcp", socket.slot, taken, written);
        self.pump(socket);
        Poll::Ready(Ok(taken))
    }
}
