//! One end of a Unix connection.

use super::{Kind, UnixSocket};
use crate::errno::Errno;
use crate::net::UnixAddress;
use crate::oracle;
use crate::state::State;
use crate::table::SocketRef;
use crate::task::Waits;
use crate::trace::EventKind;
use bytes::{Buf, BytesMut};
use std::io::IoSlice;
use std::task::{Poll, Waker};

pub(crate) struct UnixStream {
    /// The other end, while it is open.
    peer: Option<SocketRef>,
    pub(crate) peer_address: UnixAddress,
    pub(crate) connected: bool,
    /// What the peer wrote and nobody read.
    received: BytesMut,
    send_capacity: usize,
    pub(crate) error: Option<Errno>,
    /// We end our direction, or the peer its.
    ended: bool,
    peer_ended: bool,
    read_waker: Option<Waker>,
    write_waker: Option<Waker>,
}

/// The two ends of a connection that is made.
pub(super) struct Ends(pub(super) SocketRef, pub(super) SocketRef);

impl UnixStream {
    pub(super) fn new(send_capacity: usize) -> UnixStream {
        UnixStream {
            peer: None,
            peer_address: UnixAddress::Unnamed,
            connected: false,
            received: BytesMut::new(),
            send_capacity,
            error: None,
            ended: false,
            peer_ended: false,
            read_waker: None,
            write_waker: None,
        }
    }
}

impl State {
    /// Two connected ends without a name.
    pub(crate) fn pair_unix(&mut self) -> Result<(SocketRef, SocketRef), Errno> {
        let buffer = self.machine().limits.unix_send_buffer.max(1);
        let one = self.open_unix(Kind::Stream(UnixStream::new(buffer)), "unix pair")?;
        match self.open_unix(Kind::Stream(UnixStream::new(buffer)), "unix pair") {
            Ok(other) => {
                self.join(Ends(one, other));
                Ok((one, other))
            }
            Err(error) => {
                self.close_unix(one);
                Err(error)
            }
        }
    }

    pub(super) fn join(&mut self, ends: Ends) {
        let Ends(one, other) = ends;
        for (end, peer) in [(one, other), (other, one)] {
            let address = self.unix.peek(peer).map(|peer| peer.local.clone());
            if let Some(stream) = self.unix.find(end).and_then(UnixSocket::stream) {
                stream.peer = Some(peer);
                stream.connected = true;
                stream.peer_address = address.unwrap_or(UnixAddress::Unnamed);
            }
        }
    }

    fn unix_stream(&mut self, socket: SocketRef) -> Option<&mut UnixStream> {
        self.unix.find(socket).and_then(UnixSocket::stream)
    }

    pub(crate) fn read_unix(
        &mut self,
        socket: SocketRef,
        buffer: &mut [u8],
        waker: &Waker,
    ) -> Poll<Result<usize, Errno>> {
        let State { unix, dropped, .. } = self;
        let Some(found) = unix.find(socket) else {
            return Poll::Ready(Ok(0));
        };
        let host = found.host;
        let Some(stream) = found.stream() else {
            return Poll::Ready(Ok(0));
        };
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if stream.received.is_empty() {
            if let Some(error) = stream.error.take() {
                return Poll::Ready(Err(error));
            }
            if stream.peer_ended {
                return Poll::Ready(Ok(0));
            }
            State::keep_waker(dropped, &mut stream.read_waker, waker);
            self.waits(Waits::Unix("bytes from", socket.slot));
            return Poll::Pending;
        }
        let available = stream.received.len().min(buffer.len());
        let taken = self.length(oracle::READ_LENGTH, available);
        let Some(stream) = self.unix_stream(socket) else {
            return Poll::Ready(Ok(0));
        };
        buffer[..taken].copy_from_slice(&stream.received[..taken]);
        stream.received.advance(taken);
        let peer = stream.peer;
        self.vacate(host, taken);
        let writer = peer.and_then(|peer| self.unix_stream(peer)?.write_waker.take());
        self.wake(writer);
        let slot = u64::from(socket.slot);
        self.record(EventKind::Read, "unix", slot, taken as u64);
        Poll::Ready(Ok(taken))
    }

    pub(crate) fn write_unix(
        &mut self,
        socket: SocketRef,
        slices: &[IoSlice<'_>],
        waker: &Waker,
    ) -> Poll<Result<usize, Errno>> {
        let Some(found) = self.unix.find(socket) else {
            return Poll::Ready(Err(Errno::BrokenPipe));
        };
        let host = found.host;
        let Some(stream) = found.stream() else {
            return Poll::Ready(Err(Errno::BrokenPipe));
        };
        let capacity = stream.send_capacity;
        let (Some(peer), false) = (stream.peer, stream.ended) else {
            return Poll::Ready(Err(Errno::BrokenPipe));
        };
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let queued = self.unix_stream(peer).map_or(0, |peer| peer.received.len());
        let room = capacity.saturating_sub(queued);
        if room == 0 {
            let State { unix, dropped, .. } = self;
            if let Some(stream) = unix.find(socket).and_then(UnixSocket::stream) {
                State::keep_waker(dropped, &mut stream.write_waker, waker);
            }
            self.waits(Waits::Unix("room at the peer of", socket.slot));
            return Poll::Pending;
        }
        let spare = self.machines[host as usize].spare();
        if spare == 0 {
            return Poll::Ready(Err(Errno::NoBuffers));
        }
        let taken = self.length(oracle::WRITE_LENGTH, wanted.min(room).min(spare));
        let hash = self.config.payload_hash();
        let Some(peer) = self.unix_stream(peer) else {
            return Poll::Ready(Err(Errno::BrokenPipe));
        };
        let mut left = taken;
        for slice in slices {
            let part = slice.len().min(left);
            peer.received.extend_from_slice(&slice[..part]);
            left -= part;
        }
        let reader = peer.read_waker.take();
        let written = hash(&peer.received[peer.received.len() - taken..]);
        self.wake(reader);
        self.net.bytes += taken as u64;
        self.occupy(host, taken);
        self.record_write("unix", socket.slot, taken, written);
        Poll::Ready(Ok(taken))
    }

    /// Ends our direction. Always succeeds, also a second time.
    pub(crate) fn shutdown_unix(&mut self, socket: SocketRef) {
        let Some(stream) = self.unix_stream(socket) else {
            return;
        };
        if std::mem::replace(&mut stream.ended, true) {
            return;
        }
        let peer = stream.peer;
        let writer = stream.write_waker.take();
        self.wake(writer);
        let slot = u64::from(socket.slot);
        self.record(EventKind::Close, "unix shutdown", slot, 0);
        if let Some(peer) = peer.and_then(|peer| self.unix_stream(peer)) {
            peer.peer_ended = true;
            let reader = peer.read_waker.take();
            self.wake(reader);
        }
    }

    pub(super) fn end_unix_stream(&mut self, host: u32, stream: UnixStream) {
        let unread = stream.received.len();
        self.vacate(host, unread);
        self.drop_wakers([stream.read_waker, stream.write_waker]);
        self.leave(stream.peer, unread > 0);
    }

    /// Ends a connection nobody accepted: its peer is reset.
    pub(super) fn refuse_unix(&mut self, end: SocketRef) {
        let Some(mut gone) = self.unix.remove(end) else {
            return;
        };
        if let Some(stream) = gone.stream() {
            let (peer, unread) = (stream.peer, stream.received.len());
            self.vacate(gone.host, unread);
            self.leave(peer, true);
        }
    }

    /// Tells the other end that this one is gone.
    fn leave(&mut self, peer: Option<SocketRef>, reset: bool) {
        if let Some(peer) = peer.and_then(|peer| self.unix_stream(peer)) {
            peer.peer = None;
            peer.peer_ended = true;
            if reset {
                peer.error = Some(Errno::Reset);
            }
            let wakers = [peer.read_waker.take(), peer.write_waker.take()];
            self.woken.extend(wakers.into_iter().flatten());
        }
    }
}
