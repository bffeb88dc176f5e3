//! A byte stream that reads one byte at a time and writes as few: what is made of bytes must not
//! depend on how they are cut.

use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_backend::stream::{
    Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError,
};
use bowline_transport::Extra;
use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

/// A stream, or a half of one, in the smallest of bites.
pub(crate) struct Bitten<S> {
    inner: S,
    /// What the next vectored write may take at most: from 1 to 5, so that cuts fall into headers,
    /// between slices and inside them.
    bite: usize,
}

impl<S> Bitten<S> {
    pub(crate) fn new(inner: S) -> Self {
        Bitten { inner, bite: 1 }
    }
}

impl<S> Extra for Bitten<S> {}

impl<S: ByteSide> ByteSide for Bitten<S> {
    fn abort_side(self) {
        self.inner.abort_side();
    }
}

impl<S: ByteReader> AsyncRead for Bitten<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let most = buffer.len().min(1);
        Pin::new(&mut self.inner).poll_read(cx, &mut buffer[..most])
    }
}

impl<S: ByteReader> ByteReader for Bitten<S> {
    fn poll_read_into(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        _: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read_into(cx, buffer, NonZeroUsize::MIN)
    }
}

impl<S: ByteWriter> AsyncWrite for Bitten<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = bytes.len().min(1);
        Pin::new(&mut self.inner).poll_write(cx, &bytes[..most])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bite = self.bite;
        let mut left = bite;
        let mut cut = Vec::new();
        for slice in slices {
            let taken = slice.len().min(left);
            cut.push(IoSlice::new(&slice[..taken]));
            left -= taken;
        }
        self.bite = bite % 5 + 1;
        Pin::new(&mut self.inner).poll_write_vectored(cx, &cut)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<S: ByteWriter> ByteWriter for Bitten<S> {
    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<S: ByteStream> ByteStream for Bitten<S> {
    type ReadHalf = Bitten<S::ReadHalf>;
    type WriteHalf = Bitten<S::WriteHalf>;

    fn into_split(self) -> (Self::ReadHalf, Self::WriteHalf) {
        let (read, write) = self.inner.into_split();
        (Bitten::new(read), Bitten::new(write))
    }

    fn reunite(
        read: Self::ReadHalf,
        write: Self::WriteHalf,
    ) -> Result<Self, ReuniteError<Self::ReadHalf, Self::WriteHalf>> {
        match S::reunite(read.inner, write.inner) {
            Ok(inner) => Ok(Bitten::new(inner)),
            Err(ReuniteError(read, write)) => {
                Err(ReuniteError(Bitten::new(read), Bitten::new(write)))
            }
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        self.inner.local_addr()
    }

    fn peer_addr(&self) -> io::Result<Address> {
        self.inner.peer_addr()
    }

    fn abort(self) {
        self.inner.abort();
    }
}
