//! Descriptors that go with bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};

use bytes::BytesMut;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, RecvMsg, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, recvmsg, sendmsg,
    sendmsg_addr,
};
use socket2::SockRef;

use super::address;
use crate::net::{MOST_DESCRIPTORS, Received, ReceivedFds};
use crate::stream::Address;

/// Bytes of one receive.
const MOST_BYTES: usize = 16 * 1024;

/// Room for as many descriptors as may come at once.
const SPACE: usize = rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS));

/// Sends bytes of `slices` on a stream, or all of them as one datagram, to `to` where it is given.
pub(super) fn send(
    socket: &SockRef<'_>,
    slices: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    to: Option<&SocketAddrUnix>,
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds));
    assert!(fits, "the number of descriptors was checked");
    let flags = SendFlags::NOSIGNAL;
    Ok(match to {
        Some(to) => sendmsg_addr(&**socket, to, slices, &mut control, flags)?,
        None => sendmsg(&**socket, slices, &mut control, flags)?,
    })
}

/// Receives bytes of a stream, at most 16 KiB.
pub(super) fn receive(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    max: NonZeroUsize,
    max_fds: usize,
) -> io::Result<ReceivedFds> {
    Ok(receive_with(socket, buffer, max.get().min(MOST_BYTES), max_fds)?.1)
}

/// Receives one datagram.
pub(super) fn receive_datagram(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    max: NonZeroUsize,
    max_fds: usize,
) -> io::Result<(Received, ReceivedFds)> {
    let (message, fds) = receive_with(socket, buffer, max.get(), max_fds)?;
    let datagram = Received {
        len: message.bytes,
        from: match address::peer(message.address) {
            Address::Unix(unnamed) if unnamed.is_unnamed() => None,
            named => Some(named),
        },
        truncated: message.flags.contains(ReturnFlags::TRUNC),
    };
    Ok((datagram, fds))
}

fn receive_with(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    room: usize,
    max_fds: usize,
) -> io::Result<(RecvMsg, ReceivedFds)> {
    let before = buffer.len();
    buffer.resize(before + room, 0);
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(&mut buffer[before..])];
    let received = recvmsg(&**socket, &mut slices, &mut control, flags());
    buffer.truncate(before + received.as_ref().map_or(0, |received| received.bytes));
    let received = received?;
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    let truncated = fds.len() > max_fds || received.flags.contains(ReturnFlags::CTRUNC);
    fds.truncate(max_fds);
    close_on_exec(&fds)?;
    let fds = ReceivedFds {
        len: received.bytes,
        fds,
        truncated,
    };
    Ok((received, fds))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn flags() -> RecvFlags {
    RecvFlags::CMSG_CLOEXEC
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn close_on_exec(_: &[OwnedFd]) -> io::Result<()> {
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn flags() -> RecvFlags {
    RecvFlags::empty()
}

/// Where the system does not do it as it hands them over.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn close_on_exec(fds: &[OwnedFd]) -> io::Result<()> {
    for fd in fds {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::CLOEXEC)?;
    }
    Ok(())
}
