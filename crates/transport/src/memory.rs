//! Byte streams inside one process, with the rules of TCP.

mod link;
mod network;
mod side;

pub use network::{MemoryListener, MemoryNetwork};
pub(crate) use side::Side;

use std::fmt;
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bowline_backend::stream::{
    Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError,
};
use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use self::link::Link;
use crate::attribute::{self, AttributeRequest, Extra};
use crate::delegate::{delegate_reads, delegate_writes};

/// Bytes that may wait in each direction unless the builder says otherwise.
const DEFAULT_CAPACITY: usize = 64 * 1024;

/// The most spare room a read makes in a buffer that has none.
const READ_RESERVE: usize = 16 * 1024;

/// One end of a pair of connected byte streams in memory.
///
/// It behaves as a TCP socket does: each direction holds at most its capacity (64 KiB by default)
/// and a writer waits beyond it, the ends are independent (half-close), a stream that is dropped
/// with bytes unread or [aborted](ByteStream::abort) resets its peer, bytes sent before a reset
/// are read first, and a write to a peer that is gone fails with
/// [`BrokenPipe`](io::ErrorKind::BrokenPipe). It needs no backend and works on any of them, and
/// between two of them.
///
/// # Examples
///
/// ```
/// use bowline_backend::stream::ByteStreamExt;
/// use bowline_transport::MemoryStream;
/// use std::num::NonZeroUsize;
///
/// # futures_util::FutureExt::now_or_never(async {
/// let (mut here, mut there) = MemoryStream::pair();
/// here.write_all(b"ping").await?;
/// here.shutdown().await?;
///
/// let mut read = bytes::BytesMut::new();
/// let most = NonZeroUsize::new(1024).unwrap();
/// assert_eq!(there.read_into(&mut read, most).await?, 4);
/// assert_eq!(read, "ping");
/// assert_eq!(there.read_into(&mut read, most).await?, 0); // the peer ended
/// there.write_all(b"pong").await?; // and still listens
/// # std::io::Result::Ok(())
/// # }).expect("nothing waits").unwrap();
/// ```
#[must_use = "dropping an end closes it"]
pub struct MemoryStream {
    read: MemoryReadHalf,
    write: MemoryWriteHalf,
}

impl MemoryStream {
    /// Two connected ends, 64 KiB each way, named `memory:a` and `memory:b`.
    pub fn pair() -> (MemoryStream, MemoryStream) {
        MemoryStream::builder().pair()
    }

    /// A pair with another capacity or other names.
    pub fn builder() -> MemoryStreamBuilder {
        MemoryStreamBuilder {
            capacity: DEFAULT_CAPACITY,
            names: [Arc::from("memory:a"), Arc::from("memory:b")],
        }
    }
}

/// How a pair of [`MemoryStream`]s is made.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `pair` is called"]
pub struct MemoryStreamBuilder {
    capacity: usize,
    names: [Arc<str>; 2],
}

impl MemoryStreamBuilder {
    /// How many bytes may wait in each direction; default 64 KiB.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero: nothing could ever be written.
    #[track_caller]
    pub fn capacity(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "the capacity of a memory stream is at least 1");
        self.capacity = bytes;
        self
    }

    /// What the ends are called by `local_addr` and `peer_addr`.
    pub fn names(mut self, first: impl Into<Arc<str>>, second: impl Into<Arc<str>>) -> Self {
        self.names = [first.into(), second.into()];
        self
    }

    /// The two ends.
    pub fn pair(self) -> (MemoryStream, MemoryStream) {
        let link = Arc::new(Link::new(self.capacity, self.names));
        (
            MemoryStream::of(link.clone(), Side::First),
            MemoryStream::of(link, Side::Second),
        )
    }
}

impl MemoryStream {
    fn of(link: Arc<Link>, side: Side) -> Self {
        MemoryStream {
            read: MemoryReadHalf {
                link: link.clone(),
                side,
            },
            write: MemoryWriteHalf { link, side },
        }
    }
}

impl fmt::Debug for MemoryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (link, side) = (&self.read.link, self.read.side);
        f.debug_struct("MemoryStream")
            .field("local", &link.name(side))
            .field("peer", &link.name(side.peer()))
            .finish()
    }
}

impl ByteStream for MemoryStream {
    type ReadHalf = MemoryReadHalf;
    type WriteHalf = MemoryWriteHalf;

    fn into_split(self) -> (MemoryReadHalf, MemoryWriteHalf) {
        (self.read, self.write)
    }

    fn reunite(
        read: MemoryReadHalf,
        write: MemoryWriteHalf,
    ) -> Result<Self, ReuniteError<MemoryReadHalf, MemoryWriteHalf>> {
        if Arc::ptr_eq(&read.link, &write.link) && read.side == write.side {
            Ok(MemoryStream { read, write })
        } else {
            Err(ReuniteError(read, write))
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        Ok(Address::Named(self.read.link.name(self.read.side)))
    }

    fn peer_addr(&self) -> io::Result<Address> {
        Ok(Address::Named(self.read.link.name(self.read.side.peer())))
    }

    fn abort(self) {
        self.read.link.abort(self.read.side);
    }
}

impl Extra for MemoryStream {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        attribute::addresses(self, request);
    }
}

impl ByteSide for MemoryStream {
    fn abort_side(self) {
        self.abort();
    }
}

delegate_reads!(() MemoryStream, read);
delegate_writes!(() MemoryStream, write);

/// The reading half of a [`MemoryStream`]. Its drop alone is not visible to the peer.
#[must_use = "the stream closes once both halves are dropped"]
pub struct MemoryReadHalf {
    link: Arc<Link>,
    side: Side,
}

/// The writing half of a [`MemoryStream`]. Its drop ends the sending side.
#[must_use = "dropping it ends the sending side"]
pub struct MemoryWriteHalf {
    link: Arc<Link>,
    side: Side,
}

impl fmt::Debug for MemoryReadHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.link.name(self.side);
        f.debug_tuple("MemoryReadHalf").field(&name).finish()
    }
}

impl fmt::Debug for MemoryWriteHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.link.name(self.side);
        f.debug_tuple("MemoryWriteHalf").field(&name).finish()
    }
}

impl Drop for MemoryReadHalf {
    fn drop(&mut self) {
        self.link.drop_half(self.side);
    }
}

impl Drop for MemoryWriteHalf {
    fn drop(&mut self) {
        self.link.shutdown(self.side);
        self.link.drop_half(self.side);
    }
}

impl AsyncRead for MemoryReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut filled = 0;
        let room = buffer.len();
        self.link.poll_read(self.side, cx, room, |part| {
            buffer[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        })
    }
}

impl ByteSide for MemoryReadHalf {
    fn abort_side(self) {
        self.link.abort_last(self.side);
    }
}

impl ByteReader for MemoryReadHalf {
    fn poll_read_into(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        let spare = buffer.capacity() - buffer.len();
        let room = if spare == 0 { READ_RESERVE } else { spare };
        let room = room.min(max.get());
        self.link
            .poll_read(self.side, cx, room, |part| buffer.extend_from_slice(part))
    }
}

impl AsyncWrite for MemoryWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.link.poll_write(self.side, cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.link.poll_write(self.side, cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.link.shutdown(self.side);
        Poll::Ready(Ok(()))
    }
}

impl ByteSide for MemoryWriteHalf {
    fn abort_side(self) {
        self.link.abort_last(self.side);
    }
}

impl ByteWriter for MemoryWriteHalf {
    fn is_write_vectored(&self) -> bool {
        true
    }
}
