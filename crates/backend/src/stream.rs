//! Ordered bytes both ways: the traits that sockets, TLS and memory streams implement.
//!
//! They stand on [`futures_io`], so foreign code can use our streams and the other way round.
//! What they add is a read that allocates only when there is something to read, the promise
//! that one vectored write is one system call, halves, addresses and the end of a stream.

mod address;
mod futures;
#[cfg(feature = "real")]
mod spare;

pub use address::{Address, UnixAddress};
pub use futures::{ByteStreamExt, ReadInto, Shutdown, WriteAll, WriteAllVectored};

#[cfg(feature = "real")]
pub(crate) use spare::{recv_datagram_into_spare, recv_into_spare};

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

/// A side of a byte stream: what reader and writer have in common.
///
/// Whoever implements [`ByteReader`] or [`ByteWriter`] says so with an empty `impl` of this. It
/// is what [`ByteStreamExt`] is given to, so that its methods appear on byte streams and their
/// halves and on nothing else.
pub trait ByteSide: Send + Unpin + 'static {
    /// Gives up: as a drop, but where this is the last half of a connection whose peer can be told,
    /// the peer sees a reset and no clean end. By default it is dropped.
    fn abort_side(self)
    where
        Self: Sized,
    {
    }
}

/// The reading side of a byte stream.
pub trait ByteReader: AsyncRead + ByteSide {
    /// Appends 1 to `max` bytes to `buffer`; `Ok(0)` means that the peer ended.
    ///
    /// Writes into the spare capacity of `buffer`. Where there is little, under 4 KiB, it reserves
    /// at most `min(max, 16 KiB)`, and only once there is something to read: a connection that waits
    /// holds no buffer. One call is at most one successful receive. `Ok(0)` is sticky: every
    /// later read says it again.
    ///
    /// # Errors
    ///
    /// What the system reports, with its code; [`io::ErrorKind::ConnectionReset`] at most once.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: bytes are taken only in the poll that reports them.
    fn poll_read_into(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>>;
}

/// The writing side of a byte stream.
///
/// `poll_write` and `poll_write_vectored` report what was taken; short writes are normal.
/// Nothing is buffered above the system, so `poll_flush` is immediate; a writer that has to hold
/// bytes back, as TLS does, tells of them by [`passed_on`](Self::passed_on). `poll_close` of
/// [`AsyncWrite`] is *our* shutdown: it ends the sending side after everything written, leaves
/// reading as it is, may be repeated, and a write after it fails with
/// [`io::ErrorKind::BrokenPipe`].
pub trait ByteWriter: AsyncWrite + ByteSide {
    /// Whether one `poll_write_vectored` is one system call over many slices.
    fn is_write_vectored(&self) -> bool;

    /// How many bytes went out so far, of a writer that takes more than goes out at once.
    ///
    /// Such a writer takes nothing more for as long as what it took goes out: whoever times how long a
    /// peer takes nothing sees by a change of this count that it does take bytes. They are counted as
    /// they are below, as records where this is TLS; only changes mean something. It is 0 for good,
    /// which is the default, where a write takes no more than goes out.
    fn passed_on(&self) -> u64 {
        0
    }
}

/// An ordered stream of bytes in both directions, with a peer at the other end.
///
/// Dropping it closes both directions. Exclusive access is by type, so no operation here
/// answers *busy*.
pub trait ByteStream: ByteReader + ByteWriter + Sync {
    /// What [`into_split`](ByteStream::into_split) gives for reading. Its drop is not visible to
    /// the peer.
    type ReadHalf: ByteReader;
    /// What [`into_split`](ByteStream::into_split) gives for writing. Its drop ends the sending
    /// side.
    type WriteHalf: ByteWriter;

    /// The two directions as values of their own, for two tasks.
    fn into_split(self) -> (Self::ReadHalf, Self::WriteHalf)
    where
        Self: Sized;

    /// The stream again, from its two halves.
    ///
    /// # Errors
    ///
    /// [`ReuniteError`] gives both halves back where they are not of one stream.
    fn reunite(
        read: Self::ReadHalf,
        write: Self::WriteHalf,
    ) -> Result<Self, ReuniteError<Self::ReadHalf, Self::WriteHalf>>
    where
        Self: Sized;

    /// Our address.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn local_addr(&self) -> io::Result<Address>;

    /// The address of the peer, also after it ended its side.
    ///
    /// # Errors
    ///
    /// What the system reports: of TCP [`io::ErrorKind::NotConnected`] once both sides have ended
    /// or the connection was reset, for the kernel forgets the peer then. Who needs the address that
    /// late asks for it before, or keeps that of the accept.
    fn peer_addr(&self) -> io::Result<Address>;

    /// Gives up: whatever is unsent may be lost, and a TCP peer sees a reset.
    fn abort(self)
    where
        Self: Sized;
}

/// Two halves that do not belong together, given back.
#[derive(thiserror::Error)]
#[error("the halves belong to two different streams")]
pub struct ReuniteError<R, W>(pub R, pub W);

impl<R, W> fmt::Debug for ReuniteError<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReuniteError(..)")
    }
}
