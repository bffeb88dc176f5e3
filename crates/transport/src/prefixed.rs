//! A byte stream that was read too far, made whole again.

use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_backend::stream::{
    Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError,
};
use bytes::{Buf, Bytes, BytesMut};
use futures_io::AsyncRead;

use crate::attribute::{AttributeRequest, Extra};
use crate::delegate::delegate_writes;

/// A byte stream, or the reading half of one, with bytes in front of what it has to read.
///
/// For a change of protocol: what one protocol has read and not used belongs to the next
/// ([`MessageStream::upgrade`](crate::MessageStream::upgrade)). Writing, the addresses and the end
/// are the stream's own; once the bytes in front are read it only passes calls on.
///
/// # Examples
///
/// ```
/// use bowline_backend::stream::ByteStreamExt;
/// use bowline_transport::{MemoryStream, Prefixed};
/// use std::num::NonZeroUsize;
///
/// # futures_util::FutureExt::now_or_never(async {
/// let (mut here, there) = MemoryStream::pair();
/// here.write_all(b"world").await?;
///
/// let mut there = Prefixed::new("hello ", there);
/// let mut read = bytes::BytesMut::new();
/// let most = NonZeroUsize::new(1024).unwrap();
/// while read.len() < 11 {
///     there.read_into(&mut read, most).await?;
/// }
/// assert_eq!(read, "hello world");
/// # std::io::Result::Ok(())
/// # }).expect("nothing waits").unwrap();
/// ```
#[must_use = "dropping it closes the stream"]
pub struct Prefixed<S> {
    prefix: Bytes,
    stream: S,
}

impl<S: ByteSide> Prefixed<S> {
    /// `prefix` is read first, then what `stream` has.
    pub fn new(prefix: impl Into<Bytes>, stream: S) -> Self {
        Prefixed {
            prefix: prefix.into(),
            stream,
        }
    }

    /// The bytes in front that are not read yet.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The bytes in front that are not read yet, and the stream.
    pub fn into_parts(self) -> (Bytes, S) {
        (self.prefix, self.stream)
    }
}

impl<S: ByteSide> ByteSide for Prefixed<S> {
    fn abort_side(self) {
        self.stream.abort_side();
    }
}

impl<S: ByteReader> AsyncRead for Prefixed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let count = self.prefix.len().min(buffer.len());
        self.prefix.copy_to_slice(&mut buffer[..count]);
        Poll::Ready(Ok(count))
    }
}

impl<S: ByteReader> ByteReader for Prefixed<S> {
    fn poll_read_into(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.stream).poll_read_into(cx, buffer, max);
        }
        let count = self.prefix.len().min(max.get());
        buffer.extend_from_slice(&self.prefix.split_to(count));
        Poll::Ready(Ok(count))
    }
}

delegate_writes!((S: ByteWriter) Prefixed<S>, stream);

impl<S: ByteStream> ByteStream for Prefixed<S> {
    type ReadHalf = Prefixed<S::ReadHalf>;
    type WriteHalf = S::WriteHalf;

    fn into_split(self) -> (Self::ReadHalf, Self::WriteHalf) {
        let (read, write) = self.stream.into_split();
        (Prefixed::new(self.prefix, read), write)
    }

    fn reunite(
        read: Self::ReadHalf,
        write: Self::WriteHalf,
    ) -> Result<Self, ReuniteError<Self::ReadHalf, Self::WriteHalf>> {
        match S::reunite(read.stream, write) {
            Ok(stream) => Ok(Prefixed::new(read.prefix, stream)),
            Err(ReuniteError(half, write)) => {
                Err(ReuniteError(Prefixed::new(read.prefix, half), write))
            }
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.stream.local_addr()
    }

    fn peer_addr(&self) -> io::Result<Address> {
        self.stream.peer_addr()
    }

    fn abort(self) {
        self.stream.abort();
    }
}

impl<S: Extra> Extra for Prefixed<S> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.stream.provide(request);
    }
}

impl<S: fmt::Debug> fmt::Debug for Prefixed<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefixed")
            .field("prefix", &self.prefix.len())
            .field("stream", &self.stream)
            .finish()
    }
}
