//! A byte stream that reads one byte at a time and writes as few, or as a seed says: what is made of
//! bytes must not depend on how they are cut.

use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bowline_backend::entropy::random_u64;
use bowline_backend::stream::{
    Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError,
};
use bowline_transport::Extra;
use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

/// A stream, or a half of one, in the smallest of bites.
pub(crate) struct Bitten<S> {
    inner: S,
    bites: Bites,
}

#[derive(Clone, Copy)]
enum Bites {
    /// A byte; of vectored writes from 1 to 5, those that the next one takes, so that cuts fall into
    /// headers, between slices and inside them.
    Smallest(usize),
    /// As many as the backend's entropy says, and now and then none yet.
    Random,
}

impl<S> Bitten<S> {
    pub(crate) fn new(inner: S) -> Self {
        let bites = Bites::Smallest(1);
        Bitten { inner, bites }
    }

    pub(crate) fn random(inner: S) -> Self {
        let bites = Bites::Random;
        Bitten { inner, bites }
    }

    /// What a read or plain write may take.
    fn bite(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        match self.bites {
            Bites::Smallest(_) => Poll::Ready(1),
            Bites::Random => random_bite(cx),
        }
    }

    /// What a vectored write may take.
    fn vectored_bite(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        match &mut self.bites {
            Bites::Smallest(bite) => {
                let now = *bite;
                *bite = now % 5 + 1;
                Poll::Ready(now)
            }
            Bites::Random => random_bite(cx),
        }
    }
}

fn random_bite(cx: &mut Context<'_>) -> Poll<usize> {
    let random = random_u64();
    if random.is_multiple_of(4) {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    // Of each order of magnitude as many.
    let most = 1 << ((random >> 8) % 16);
    Poll::Ready(1 + usize::try_from((random >> 16) % most).unwrap())
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
        let most = buffer.len().min(ready!(self.bite(cx)));
        Pin::new(&mut self.inner).poll_read(cx, &mut buffer[..most])
    }
}

impl<S: ByteReader> ByteReader for Bitten<S> {
    fn poll_read_into(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        most: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        let bite = NonZeroUsize::new(ready!(self.bite(cx))).unwrap();
        Pin::new(&mut self.inner).poll_read_into(cx, buffer, bite.min(most))
    }
}

impl<S: ByteWriter> AsyncWrite for Bitten<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = bytes.len().min(ready!(self.bite(cx)));
        Pin::new(&mut self.inner).poll_write(cx, &bytes[..most])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut left = ready!(self.vectored_bite(cx));
        let mut cut = Vec::new();
        for slice in slices {
            let taken = slice.len().min(left);
            cut.push(IoSlice::new(&slice[..taken]));
            left -= taken;
        }
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
        let bites = self.bites;
        let read = Bitten { inner: read, bites };
        let write = Bitten {
            inner: write,
            bites,
        };
        (read, write)
    }

    fn reunite(
        read: Self::ReadHalf,
        write: Self::WriteHalf,
    ) -> Result<Self, ReuniteError<Self::ReadHalf, Self::WriteHalf>> {
        let bites = write.bites;
        match S::reunite(read.inner, write.inner) {
            Ok(inner) => Ok(Bitten { inner, bites }),
            Err(ReuniteError(read, write)) => Err(ReuniteError(
                Bitten { inner: read, bites },
                Bitten {
                    inner: write,
                    bites,
                },
            )),
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
