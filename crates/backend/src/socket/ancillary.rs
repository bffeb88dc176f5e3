//! Descriptors that go with bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};

use bytes::BytesMut;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use socket2::SockRef;

use super::stream::IOV_MAX;
use crate::net::{MOST_DESCRIPTORS, ReceivedFds};

/// Bytes of one receive.
const MOST_BYTES: usize = 16 * 1024;

/// Room for as many descriptors as may come at once.
const SPACE: usize = rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS));

pub(super) fn send(
    socket: &SockRef<'_>,
    slices: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fits = fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds));
    assert!(fits, "the number of descriptors was checked");
    let slices = &slices[..slices.len().min(IOV_MAX)];
    Ok(sendmsg(
        &**socket,
        slices,
        &mut control,
        SendFlags::NOSIGNAL,
    )?)
}

pub(super) fn receive(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    max: NonZeroUsize,
    max_fds: usize,
) -> io::Result<ReceivedFds> {
    let before = buffer.len();
    buffer.resize(before + max.get().min(MOST_BYTES), 0);
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
    Ok(ReceivedFds {
        len: received.bytes,
        fds,
        truncated,
    })
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
