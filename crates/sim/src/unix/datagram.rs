//! Unix datagrams: in order, and never lost between two open sockets.

use super::{Kind, Style, UnixSocket};
use crate::errno::Errno;
use crate::net::{UnixAddress, UnixOptions};
use crate::state::State;
use crate::table::SocketRef;
use crate::task::Waits;
use crate::trace::EventKind;
use crate::udp::keep;
use bytes::Bytes;
use std::collections::VecDeque;
use std::task::{Poll, Waker};

/// Datagrams a receiver holds before senders wait; one more fits, as on Linux.
const QUEUE: usize = 10;
/// What the kernel's own record of a datagram counts for.
const RECORD: usize = 512;
/// So much of a send buffer cannot hold payload.
const RESERVED: usize = 32;

struct Message {
    sender: SocketRef,
    from: UnixAddress,
    payload: Bytes,
}

pub(crate) struct UnixDatagram {
    /// Where it sends without an address. Of one that is gone it is told once.
    peer: Option<SocketRef>,
    received: VecDeque<Message>,
    /// What it sent and nobody received, with the records.
    in_flight: usize,
    send_capacity: usize,
    receivers: Vec<Waker>,
    /// Those that wait for room here.
    senders: Vec<Waker>,
    /// Those that wait for room in its own send buffer.
    own_senders: Vec<Waker>,
}

pub(crate) struct Received {
    pub(crate) payload: Bytes,
    pub(crate) from: UnixAddress,
    pub(crate) truncated: bool,
}

impl State {
    /// Opens a socket, named `options.local` if that is given.
    pub(crate) fn open_unix_datagram(&mut self, options: &UnixOptions) -> Result<SocketRef, Errno> {
        self.make_way(options)?;
        let buffer = self.machine().limits.unix_send_buffer;
        let datagram = UnixDatagram {
            peer: None,
            received: VecDeque::new(),
            in_flight: 0,
            // As on Linux twice what is asked for, because of the records.
            send_capacity: options
                .send_buffer
                .map_or(buffer, |asked| asked.saturating_mul(2))
                .max(RESERVED + 1),
            receivers: Vec::new(),
            senders: Vec::new(),
            own_senders: Vec::new(),
        };
        let socket = self.open_unix(Kind::Datagram(datagram), "unix datagram")?;
        self.name_local(socket, options)?;
        Ok(socket)
    }

    /// Two sockets without names, connected to each other.
    pub(crate) fn pair_unix_datagrams(&mut self) -> Result<(SocketRef, SocketRef), Errno> {
        let options = UnixOptions::default();
        let one = self.open_unix_datagram(&options)?;
        let other = self.open_unix_datagram(&options).inspect_err(|_| {
            self.close_unix(one);
        })?;
        for (end, peer) in [(one, other), (other, one)] {
            if let Some(datagram) = self.unix_datagram(end) {
                datagram.peer = Some(peer);
            }
        }
        Ok((one, other))
    }

    /// Points an open socket at the one bound to `to`.
    pub(crate) fn connect_unix_datagram(
        &mut self,
        socket: SocketRef,
        to: &UnixAddress,
    ) -> Result<(), Errno> {
        let host = self.host();
        let peer = self.find_unix(host, to, Style::Datagrams)?;
        self.may_send(socket, peer)?;
        if let Some(datagram) = self.unix_datagram(socket) {
            datagram.peer = Some(peer);
        }
        Ok(())
    }

    /// Whether it is connected, as far as it knows.
    pub(crate) fn unix_datagram_has_peer(&mut self, socket: SocketRef) -> bool {
        let datagram = self.unix_datagram(socket);
        datagram.is_some_and(|datagram| datagram.peer.is_some())
    }

    fn unix_datagram(&mut self, socket: SocketRef) -> Option<&mut UnixDatagram> {
        self.unix.find(socket).and_then(UnixSocket::datagram)
    }

    /// A socket that is connected hears its peer alone.
    fn may_send(&mut self, from: SocketRef, to: SocketRef) -> Result<(), Errno> {
        let Some(found) = self.unix.find(to) else {
            return Err(Errno::Refused);
        };
        match found.datagram() {
            None => Err(Errno::WrongProtocol),
            Some(UnixDatagram {
                peer: Some(other), ..
            }) if *other != from => Err(Errno::NotPermitted),
            Some(_) => Ok(()),
        }
    }

    pub(crate) fn send_unix(
        &mut self,
        socket: SocketRef,
        to: Option<&UnixAddress>,
        payload: &[u8],
        waker: &Waker,
    ) -> Poll<Result<(), Errno>> {
        let Some(found) = self.unix.find(socket) else {
            return Poll::Ready(Err(Errno::BrokenPipe));
        };
        let (host, from) = (found.host, found.local.clone());
        let Kind::Datagram(sender) = &mut found.kind else {
            return Poll::Ready(Err(Errno::BrokenPipe));
        };
        // In the order in which a kernel asks, which looks for the receiver when it has room.
        if payload.len() > sender.send_capacity - RESERVED {
            return Poll::Ready(Err(Errno::MessageTooLong));
        }
        if sender.in_flight >= sender.send_capacity {
            keep(&mut sender.own_senders, waker);
            self.waits(Waits::Unix("room in the send buffer of", socket.slot));
            return Poll::Pending;
        }
        if RECORD + payload.len() > self.machines[host as usize].spare() {
            return Poll::Ready(Err(Errno::NoBuffers));
        }
        let target = match (to, sender.peer) {
            (Some(to), _) => self.find_unix(host, to, Style::Datagrams),
            (None, peer) => peer.ok_or(Errno::NotConnected),
        };
        let target = target.and_then(|target| self.may_send(socket, target).map(|()| target));
        let target = match target {
            Err(Errno::Refused) if to.is_none() => {
                self.disconnect_unix(socket);
                return Poll::Ready(Err(Errno::Refused));
            }
            Ok(target) => target,
            Err(error) => return Poll::Ready(Err(error)),
        };
        let Some(receiver) = self.unix_datagram(target) else {
            return Poll::Ready(Err(Errno::Refused));
        };
        // The sender itself, and one that is connected back, hold as much as the sender's buffer.
        let own = target == socket || receiver.peer == Some(socket);
        if !own && receiver.received.len() > QUEUE {
            keep(&mut receiver.senders, waker);
            self.waits(Waits::Unix("room for a datagram at", target.slot));
            return Poll::Pending;
        }
        let length = payload.len();
        receiver.received.push_back(Message {
            sender: socket,
            from,
            payload: Bytes::copy_from_slice(payload),
        });
        let receivers = std::mem::take(&mut receiver.receivers);
        self.woken.extend(receivers);
        if let Some(sender) = self.unix_datagram(socket) {
            sender.in_flight += RECORD + length;
        }
        self.net.bytes += length as u64;
        self.net.datagrams += 1;
        self.occupy(host, RECORD + length);
        let hash = self.config.payload_hash()(payload);
        self.record_write("unix datagram", socket.slot, length, hash);
        Poll::Ready(Ok(()))
    }

    /// The peer is gone. As on Linux, what had come from it goes too when a send finds that out.
    fn disconnect_unix(&mut self, socket: SocketRef) {
        let Some(found) = self.unix.find(socket) else {
            return;
        };
        let host = found.host;
        let Some(datagram) = found.datagram() else {
            return;
        };
        datagram.peer = None;
        let received = std::mem::take(&mut datagram.received);
        let senders = std::mem::take(&mut datagram.senders);
        self.woken.extend(senders);
        for message in received {
            self.arrived(host, message.sender, message.payload.len());
        }
    }

    pub(crate) fn receive_unix(
        &mut self,
        socket: SocketRef,
        max: usize,
        waker: &Waker,
    ) -> Poll<Result<Received, Errno>> {
        let Some(found) = self.unix.find(socket) else {
            return Poll::Ready(Err(Errno::NotConnected));
        };
        let host = found.host;
        let Some(datagram) = found.datagram() else {
            return Poll::Ready(Err(Errno::NotConnected));
        };
        let Some(message) = datagram.received.pop_front() else {
            keep(&mut datagram.receivers, waker);
            self.waits(Waits::Unix("a datagram at", socket.slot));
            return Poll::Pending;
        };
        let senders = std::mem::take(&mut datagram.senders);
        self.woken.extend(senders);
        let Message {
            sender,
            from,
            mut payload,
        } = message;
        let length = payload.len();
        self.arrived(host, sender, length);
        let slot = u64::from(socket.slot);
        self.record(EventKind::Read, "unix datagram", slot, length as u64);
        let truncated = length > max;
        payload.truncate(max);
        Poll::Ready(Ok(Received {
            payload,
            from,
            truncated,
        }))
    }

    /// A datagram left its receiver's queue: the sender has room again.
    fn arrived(&mut self, host: u32, sender: SocketRef, length: usize) {
        self.vacate(host, RECORD + length);
        if let Some(sender) = self.unix_datagram(sender) {
            sender.in_flight -= RECORD + length;
            let waiting = std::mem::take(&mut sender.own_senders);
            self.woken.extend(waiting);
        }
    }

    pub(super) fn end_unix_datagram(&mut self, host: u32, datagram: UnixDatagram) {
        self.woken.extend(datagram.receivers);
        self.woken.extend(datagram.senders);
        self.woken.extend(datagram.own_senders);
        for message in datagram.received {
            self.arrived(host, message.sender, message.payload.len());
        }
    }
}
