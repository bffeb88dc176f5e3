use std::fmt;
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use super::socket::{ShortRead, Socket, Sockets, StreamSocket, UnixSocket};
use super::unix_options::{Credentials, UnixOptions};
use crate::Backend;
use crate::runtime::{AnyUnixStream, Variant};
use crate::stream::{
    Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError, UnixAddress,
};

/// A stream between two processes of one system, or within one.
///
/// It stays with the backend that was current when it was made, may be used and dropped on any
/// thread. Dropping it closes both directions and its descriptor.
pub struct UnixStream(pub(super) AnyUnixStream);

impl UnixStream {
    /// Connects to the listener at `to` with default options.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](UnixStream::connect_with).
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened* that is visible here: the descriptor is closed.
    pub async fn connect(to: &UnixAddress) -> io::Result<UnixStream> {
        UnixStream::connect_with(to, UnixOptions::new()).await
    }

    /// Connects to the listener at `to`. While its backlog is full this waits; the system tells
    /// nobody when there is room, so it is asked again after pauses of at most 64 ms. The path of a
    /// local address stays when the stream is gone, and goes where none comes about.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] where the path of a local address exists,
    /// [`io::ErrorKind::NotFound`] where there is no such path,
    /// [`io::ErrorKind::ConnectionRefused`] where nobody listens there,
    /// [`io::ErrorKind::InvalidInput`] for an address without a name, and what else the system
    /// reports.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened* that is visible here: the descriptor is closed, and the path of a local
    /// address removed.
    pub async fn connect_with(to: &UnixAddress, options: UnixOptions) -> io::Result<UnixStream> {
        to.check_named()?;
        options.check_mode()?;
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let connecting = <R as Sockets>::connect_unix(to.clone(), options);
            Ok(UnixStream(R::any_unix_stream(connecting.await?)))
        })
    }

    /// Two streams without names, connected to each other.
    ///
    /// # Errors
    ///
    /// What the system reports.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let (one, other) = <R as Sockets>::unix_pair()?;
            let any = |stream| UnixStream(R::any_unix_stream(stream));
            Ok((any(one), any(other)))
        })
    }

    /// Who connected, or who listened: of the process at the other end when the connection was
    /// made, and of this one for a [pair](UnixStream::pair).
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] on systems other than Linux; else what the system reports.
    pub fn peer_credentials(&self) -> io::Result<Credentials> {
        delegate!(&self.0, stream => UnixSocket::peer_credentials(stream))
    }
}

socket!(
    UnixStream,
    UnixStream,
    UnixStream,
    any_unix_stream,
    std::os::unix::net::UnixStream
);
byte_stream!(
    UnixStream,
    UnixReadHalf,
    UnixWriteHalf,
    ShortRead::MayHaveLeft
);
