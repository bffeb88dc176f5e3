use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use bytes::BytesMut;

use super::datagram::Received;
use super::socket::{UnixDatagramSocket, UnixSocket};
use super::unix_datagram::UnixDatagram;
use super::unix_stream::{UnixReadHalf, UnixStream, UnixWriteHalf};
use crate::stream::Address;

/// Descriptors that may go with one send or come with one receive.
pub(crate) const MOST_DESCRIPTORS: usize = 64;

/// What receiving bytes together with descriptors gave.
#[non_exhaustive]
pub struct ReceivedFds {
    /// Bytes appended to the buffer; zero means that the peer of a stream ended.
    pub len: usize,
    /// The descriptors that came with them, closed on exec.
    pub fds: Vec<OwnedFd>,
    /// Whether more descriptors came than were asked for. Those are closed.
    pub truncated: bool,
}

impl ReceivedFds {
    /// Of `len` bytes with which no descriptor came; for a socket of one's own.
    pub fn none(len: usize) -> ReceivedFds {
        ReceivedFds {
            len,
            fds: Vec::new(),
            truncated: false,
        }
    }
}

impl fmt::Debug for ReceivedFds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedFds")
            .field("len", &self.len)
            .field("fds", &self.fds.len())
            .field("truncated", &self.truncated)
            .finish()
    }
}

impl UnixStream {
    /// Writes bytes of `slices`, as far as the system takes them, and `fds` with the first of
    /// them. The peer gets descriptors of its own for the same files.
    ///
    /// A short write carried all of `fds`: what is left is written without them.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] without a byte to send or with more than 64 descriptors;
    /// [`io::ErrorKind::Unsupported`] in the simulator; what else the system reports.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: bytes and descriptors are sent in the poll that says so.
    pub async fn send_with_fds(
        &mut self,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        poll_fn(|cx| self.poll_send(cx, slices, fds)).await
    }

    /// Appends 1 to `max` bytes to `buffer`, at most 16 KiB at once, with at most `max_fds` of the
    /// descriptors that came with them. More of them are closed, and
    /// [`truncated`](ReceivedFds::truncated) says so. A plain read closes all.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for more than 64 descriptors;
    /// [`io::ErrorKind::Unsupported`] in the simulator; what else the system reports.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: bytes and descriptors are taken in the poll that reports them.
    pub async fn recv_with_fds(
        &mut self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> io::Result<ReceivedFds> {
        poll_fn(|cx| self.poll_recv(cx, buffer, max, max_fds)).await
    }

    fn poll_send(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            let why = "descriptors go with bytes, and there are none";
            return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidInput, why)));
        }
        check_count(fds.len())?;
        delegate!(&self.0, stream => UnixSocket::poll_send_with_fds(stream, cx, slices, fds))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> Poll<io::Result<ReceivedFds>> {
        check_count(max_fds)?;
        delegate!(&self.0, stream => {
            UnixSocket::poll_recv_with_fds(stream, cx, buffer, max, max_fds)
        })
    }
}

impl UnixWriteHalf {
    /// As [`UnixStream::send_with_fds`]; one task is woken, that of the last poll for writing.
    ///
    /// # Errors
    ///
    /// As [`UnixStream::send_with_fds`].
    pub fn poll_send_with_fds(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        self.shared().poll_send(cx, slices, fds)
    }
}

impl UnixReadHalf {
    /// As [`UnixStream::recv_with_fds`]; one task is woken, that of the last poll for reading.
    ///
    /// # Errors
    ///
    /// As [`UnixStream::recv_with_fds`].
    pub fn poll_recv_with_fds(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> Poll<io::Result<ReceivedFds>> {
        self.shared().poll_recv(cx, buffer, max, max_fds)
    }
}

impl UnixDatagram {
    /// Sends all bytes of `slices` as one datagram to the peer that it is connected to, and `fds`
    /// with it. The receiver gets descriptors of its own for the same files.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] with more than 64 descriptors;
    /// [`io::ErrorKind::Unsupported`] in the simulator; `EMSGSIZE` with more than 1024 slices; else
    /// as [`send`](UnixDatagram::send).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the datagram is sent in the poll that says so.
    pub async fn send_with_fds(
        &self,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.send_fds(slices, fds, None).await
    }

    /// As [`send_with_fds`](UnixDatagram::send_with_fds), to `to`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where `to` is no address of a Unix socket; else as
    /// [`send_with_fds`](UnixDatagram::send_with_fds).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the datagram is sent in the poll that says so.
    pub async fn send_to_with_fds(
        &self,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        to: &Address,
    ) -> io::Result<()> {
        self.send_fds(slices, fds, Some(to)).await
    }

    async fn send_fds(
        &self,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        to: Option<&Address>,
    ) -> io::Result<()> {
        check_count(fds.len())?;
        delegate!(&self.0, socket => {
            UnixDatagramSocket::send_with_fds(socket, slices, fds, to).await
        })
    }

    /// As [`send_with_fds`](UnixDatagram::send_with_fds); one task is woken, that of the last poll
    /// for sending.
    ///
    /// # Errors
    ///
    /// As [`send_with_fds`](UnixDatagram::send_with_fds).
    pub fn poll_send_with_fds(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<()>> {
        check_count(fds.len())?;
        delegate!(&self.0, socket => {
            UnixDatagramSocket::poll_send_with_fds(socket, cx, payload, fds)
        })
    }

    /// Receives one datagram as [`recv_from`](UnixDatagram::recv_from) does, with at most `max_fds`
    /// of the descriptors that came with it. More of them are closed, and
    /// [`ReceivedFds::truncated`] says so. A plain receive closes all.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for more than 64 descriptors;
    /// [`io::ErrorKind::Unsupported`] in the simulator; else as
    /// [`recv_from`](UnixDatagram::recv_from).
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: datagram and descriptors are taken in the poll that reports them.
    pub async fn recv_with_fds(
        &self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> io::Result<(Received, ReceivedFds)> {
        check_count(max_fds)?;
        delegate!(&self.0, socket => {
            UnixDatagramSocket::recv_with_fds(socket, buffer, max, max_fds).await
        })
    }

    /// As [`recv_with_fds`](UnixDatagram::recv_with_fds); one task is woken, that of the last poll
    /// for receiving.
    ///
    /// # Errors
    ///
    /// As [`recv_with_fds`](UnixDatagram::recv_with_fds).
    pub fn poll_recv_with_fds(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> Poll<io::Result<(Received, ReceivedFds)>> {
        check_count(max_fds)?;
        delegate!(&self.0, socket => {
            UnixDatagramSocket::poll_recv_with_fds(socket, cx, buffer, max, max_fds)
        })
    }
}

fn check_count(fds: usize) -> io::Result<()> {
    if fds > MOST_DESCRIPTORS {
        let why = format!("{fds} descriptors at once; {MOST_DESCRIPTORS} are allowed");
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    Ok(())
}
