use std::future::Future;
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_io::AsyncWrite;

use super::{ByteReader, ByteSide, ByteWriter};

/// Slices handed to one vectored write.
const SLICES: usize = 64;

/// The operations of byte streams as futures.
///
/// Every [`ByteSide`] has them: whole streams have all four, a half those of its direction.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # fn main() -> std::io::Result<()> {
/// use bowline_backend::Backend;
/// use bowline_backend::net::{TcpListener, TcpStream};
/// use bowline_backend::stream::ByteStreamExt;
/// use bytes::BytesMut;
/// use std::num::NonZeroUsize;
///
/// Backend::Tokio.block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let mut client = TcpStream::connect(listener.local_addr()?).await?;
///     let (mut server, _) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     client.shutdown().await?;
///     let mut received = BytesMut::new();
///     let most = NonZeroUsize::new(4096).unwrap();
///     while server.read_into(&mut received, most).await? > 0 {}
///     assert_eq!(received, "hello");
///     Ok(())
/// })
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
pub trait ByteStreamExt: ByteSide {
    /// Appends 1 to `max` bytes to `buffer`; 0 means that the peer ended.
    ///
    /// # Errors
    ///
    /// Those of [`ByteReader::poll_read_into`].
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    fn read_into<'a>(
        &'a mut self,
        buffer: &'a mut BytesMut,
        max: NonZeroUsize,
    ) -> ReadInto<'a, Self>
    where
        Self: ByteReader,
    {
        ReadInto {
            stream: self,
            buffer,
            max,
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// What the system reports; [`io::ErrorKind::WriteZero`] where it takes nothing more.
    ///
    /// # Cancel safety
    ///
    /// *Partial write*: some of the bytes may have been sent.
    fn write_all<'a>(&'a mut self, bytes: &'a [u8]) -> WriteAll<'a, Self>
    where
        Self: ByteWriter,
    {
        WriteAll {
            stream: self,
            bytes,
        }
    }

    /// Writes all that `source` holds, up to 64 slices in one system call, and advances it by
    /// what was written.
    ///
    /// # Errors
    ///
    /// As [`write_all`](ByteStreamExt::write_all).
    ///
    /// # Cancel safety
    ///
    /// *Partial write*: `source` has been advanced by exactly what was sent.
    fn write_all_vectored<'a, B: Buf + ?Sized>(
        &'a mut self,
        source: &'a mut B,
    ) -> WriteAllVectored<'a, Self, B>
    where
        Self: ByteWriter,
    {
        WriteAllVectored {
            stream: self,
            source,
        }
    }

    /// Ends the sending side after everything written; reading goes on. May be repeated.
    ///
    /// # Errors
    ///
    /// What the system reports.
    ///
    /// # Cancel safety
    ///
    /// Either ended or not; call it again.
    fn shutdown(&mut self) -> Shutdown<'_, Self>
    where
        Self: ByteWriter,
    {
        Shutdown { stream: self }
    }
}

impl<S: ByteSide + ?Sized> ByteStreamExt for S {}

/// Future of [`ByteStreamExt::read_into`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ReadInto<'a, S: ?Sized> {
    stream: &'a mut S,
    buffer: &'a mut BytesMut,
    max: NonZeroUsize,
}

impl<S: ByteReader + ?Sized> Future for ReadInto<'_, S> {
    type Output = io::Result<usize>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        Pin::new(&mut *this.stream).poll_read_into(cx, this.buffer, this.max)
    }
}

/// Future of [`ByteStreamExt::write_all`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteAll<'a, S: ?Sized> {
    stream: &'a mut S,
    bytes: &'a [u8],
}

impl<S: ByteWriter + ?Sized> Future for WriteAll<'_, S> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        while !this.bytes.is_empty() {
            let written = ready!(Pin::new(&mut *this.stream).poll_write(cx, this.bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.bytes = &this.bytes[written..];
        }
        Poll::Ready(Ok(()))
    }
}

/// Future of [`ByteStreamExt::write_all_vectored`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct WriteAllVectored<'a, S: ?Sized, B: ?Sized> {
    stream: &'a mut S,
    source: &'a mut B,
}

impl<S: ByteWriter + ?Sized, B: Buf + ?Sized> Future for WriteAllVectored<'_, S, B> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        while this.source.has_remaining() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = this.source.chunks_vectored(&mut slices);
            let stream = Pin::new(&mut *this.stream);
            let written = ready!(stream.poll_write_vectored(cx, &slices[..filled]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.source.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

/// Future of [`ByteStreamExt::shutdown`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Shutdown<'a, S: ?Sized> {
    stream: &'a mut S,
}

impl<S: AsyncWrite + Unpin + ?Sized> Future for Shutdown<'_, S> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.get_mut().stream).poll_close(cx)
    }
}
