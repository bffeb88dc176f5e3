//! The byte stream of whatever a URL names.

use std::fmt;
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_backend::net::TcpStream;
#[cfg(unix)]
use bowline_backend::net::UnixStream;
use bowline_backend::stream::{
    Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError,
};
use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use crate::attribute::{AttributeRequest, Extra};
use crate::memory::{MemoryReadHalf, MemoryStream, MemoryWriteHalf};
#[cfg(feature = "tls")]
use crate::tls::{TlsReadHalf, TlsStream, TlsWriteHalf};

/// One of each kind of stream, or of one of its halves.
macro_rules! one_of_each {
    (
        $(#[$about:meta])*
        $public:ident($private:ident: $tcp:ty, $unix:ty, $memory:ty, $tls:ty)
    ) => {
        $(#[$about])*
        #[must_use = "dropping it closes the connection"]
        pub struct $public($private);

        enum $private {
            Tcp($tcp),
            #[cfg(unix)]
            Unix($unix),
            Memory($memory),
            #[cfg(feature = "tls")]
            Tls($tls),
        }

        impl fmt::Debug for $public {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match &self.0 {
                    $private::Tcp(one) => one.fmt(f),
                    #[cfg(unix)]
                    $private::Unix(one) => one.fmt(f),
                    $private::Memory(one) => one.fmt(f),
                    #[cfg(feature = "tls")]
                    $private::Tls(one) => one.fmt(f),
                }
            }
        }

        impl ByteSide for $public {
            fn abort_side(self) {
                match self.0 {
                    $private::Tcp(one) => one.abort_side(),
                    #[cfg(unix)]
                    $private::Unix(one) => one.abort_side(),
                    $private::Memory(one) => one.abort_side(),
                    #[cfg(feature = "tls")]
                    $private::Tls(one) => one.abort_side(),
                }
            }
        }
    };
}

/// Does the same with whichever there is.
macro_rules! whichever {
    ($private:ident, $value:expr, $one:ident => $act:expr) => {
        match $value {
            $private::Tcp($one) => $act,
            #[cfg(unix)]
            $private::Unix($one) => $act,
            $private::Memory($one) => $act,
            #[cfg(feature = "tls")]
            $private::Tls($one) => $act,
        }
    };
}

one_of_each! {
    /// What a [`UrlListener`](crate::UrlListener) accepts: a stream over TCP, secure or not, of a Unix
    /// socket, or in memory.
    UrlStream(Whole: TcpStream, UnixStream, MemoryStream, TlsStream<TcpStream>)
}

one_of_each! {
    /// The reading half of a [`UrlStream`].
    UrlReadHalf(
        Reading: <TcpStream as ByteStream>::ReadHalf,
        <UnixStream as ByteStream>::ReadHalf,
        MemoryReadHalf,
        TlsReadHalf<TcpStream>
    )
}

one_of_each! {
    /// The writing half of a [`UrlStream`].
    UrlWriteHalf(
        Writing: <TcpStream as ByteStream>::WriteHalf,
        <UnixStream as ByteStream>::WriteHalf,
        MemoryWriteHalf,
        TlsWriteHalf<TcpStream>
    )
}

macro_rules! reads {
    ($public:ident, $private:ident) => {
        impl AsyncRead for $public {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                whichever!($private, &mut self.0, one => Pin::new(one).poll_read(cx, buffer))
            }
        }

        impl ByteReader for $public {
            fn poll_read_into(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut BytesMut,
                max: NonZeroUsize,
            ) -> Poll<io::Result<usize>> {
                whichever!($private, &mut self.0, one => {
                    Pin::new(one).poll_read_into(cx, buffer, max)
                })
            }
        }
    };
}

macro_rules! writes {
    ($public:ident, $private:ident) => {
        impl AsyncWrite for $public {
            fn poll_write(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                whichever!($private, &mut self.0, one => Pin::new(one).poll_write(cx, bytes))
            }

            fn poll_write_vectored(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                slices: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                whichever!($private, &mut self.0, one => {
                    Pin::new(one).poll_write_vectored(cx, slices)
                })
            }

            fn poll_flush(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                whichever!($private, &mut self.0, one => Pin::new(one).poll_flush(cx))
            }

            fn poll_close(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                whichever!($private, &mut self.0, one => Pin::new(one).poll_close(cx))
            }
        }

        impl ByteWriter for $public {
            fn is_write_vectored(&self) -> bool {
                whichever!($private, &self.0, one => one.is_write_vectored())
            }

            fn passed_on(&self) -> u64 {
                whichever!($private, &self.0, one => one.passed_on())
            }
        }
    };
}

reads!(UrlStream, Whole);
writes!(UrlStream, Whole);
reads!(UrlReadHalf, Reading);
writes!(UrlWriteHalf, Writing);

/// Splits one kind.
macro_rules! split {
    ($stream:ident, $kind:ident) => {{
        let (read, write) = $stream.into_split();
        (
            UrlReadHalf(Reading::$kind(read)),
            UrlWriteHalf(Writing::$kind(write)),
        )
    }};
}

/// Puts the halves of one kind together.
macro_rules! join {
    ($read:ident, $write:ident, $of:ty, $kind:ident) => {
        match <$of>::reunite($read, $write) {
            Ok(stream) => Ok(UrlStream(Whole::$kind(stream))),
            Err(ReuniteError(read, write)) => Err(ReuniteError(
                UrlReadHalf(Reading::$kind(read)),
                UrlWriteHalf(Writing::$kind(write)),
            )),
        }
    };
}

impl ByteStream for UrlStream {
    type ReadHalf = UrlReadHalf;
    type WriteHalf = UrlWriteHalf;

    fn into_split(self) -> (UrlReadHalf, UrlWriteHalf) {
        match self.0 {
            Whole::Tcp(stream) => split!(stream, Tcp),
            #[cfg(unix)]
            Whole::Unix(stream) => split!(stream, Unix),
            Whole::Memory(stream) => split!(stream, Memory),
            #[cfg(feature = "tls")]
            Whole::Tls(stream) => split!(stream, Tls),
        }
    }

    fn reunite(
        read: UrlReadHalf,
        write: UrlWriteHalf,
    ) -> Result<Self, ReuniteError<UrlReadHalf, UrlWriteHalf>> {
        match (read.0, write.0) {
            (Reading::Tcp(read), Writing::Tcp(write)) => join!(read, write, TcpStream, Tcp),
            #[cfg(unix)]
            (Reading::Unix(read), Writing::Unix(write)) => join!(read, write, UnixStream, Unix),
            (Reading::Memory(read), Writing::Memory(write)) => {
                join!(read, write, MemoryStream, Memory)
            }
            #[cfg(feature = "tls")]
            (Reading::Tls(read), Writing::Tls(write)) => {
                join!(read, write, TlsStream<TcpStream>, Tls)
            }
            (read, write) => Err(ReuniteError(UrlReadHalf(read), UrlWriteHalf(write))),
        }
    }

    fn local_addr(&self) -> io::Result<Address> {
        whichever!(Whole, &self.0, one => ByteStream::local_addr(one))
    }

    fn peer_addr(&self) -> io::Result<Address> {
        whichever!(Whole, &self.0, one => ByteStream::peer_addr(one))
    }

    fn abort(self) {
        whichever!(Whole, self.0, one => ByteStream::abort(one));
    }
}

impl Extra for UrlStream {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        whichever!(Whole, &self.0, one => one.provide(request));
    }
}

impl From<TcpStream> for UrlStream {
    fn from(stream: TcpStream) -> UrlStream {
        UrlStream(Whole::Tcp(stream))
    }
}

#[cfg(unix)]
impl From<UnixStream> for UrlStream {
    fn from(stream: UnixStream) -> UrlStream {
        UrlStream(Whole::Unix(stream))
    }
}

impl From<MemoryStream> for UrlStream {
    fn from(stream: MemoryStream) -> UrlStream {
        UrlStream(Whole::Memory(stream))
    }
}

#[cfg(feature = "tls")]
impl From<TlsStream<TcpStream>> for UrlStream {
    fn from(stream: TlsStream<TcpStream>) -> UrlStream {
        UrlStream(Whole::Tls(stream))
    }
}
