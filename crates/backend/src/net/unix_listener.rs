use std::fmt;
use std::io;
use std::task::{Context, Poll};

use super::socket::{ListenSocket, Socket, Sockets};
use super::unix_options::UnixListenOptions;
use super::unix_stream::UnixStream;
use crate::Backend;
use crate::runtime::{AnyUnixListener, Variant};
use crate::stream::{Address, UnixAddress};

/// A Unix socket that accepts streams of other processes of the system.
///
/// Any number of tasks may accept at once; each connection goes to one of them. Dropping it ends
/// the connections that were not accepted yet. It leaves its path, unless
/// [`unlink_at_close`](UnixListenOptions::unlink_at_close) says otherwise.
pub struct UnixListener(AnyUnixListener);

impl UnixListener {
    /// Listens at `at` with default options.
    ///
    /// # Errors
    ///
    /// As [`bind_with`](UnixListener::bind_with).
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn bind(at: &UnixAddress) -> io::Result<UnixListener> {
        UnixListener::bind_with(at, UnixListenOptions::new())
    }

    /// Listens at `at`. Where anything fails after the path was made, it is removed again.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] where the path exists and may not be replaced,
    /// [`io::ErrorKind::NotFound`] where its directory does not,
    /// [`io::ErrorKind::InvalidInput`] for a mode beyond `0o777` or of a socket without a path, and
    /// what else the system reports.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn bind_with(at: &UnixAddress, options: UnixListenOptions) -> io::Result<UnixListener> {
        options.check_mode(at)?;
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let listener = <R as Sockets>::bind_unix(at.clone(), options)?;
            Ok(UnixListener(R::any_unix_listener(listener)))
        })
    }

    /// The next connection and the address of its peer, most often without a name.
    ///
    /// # Errors
    ///
    /// What the system reports; [`AcceptErrorKind`](crate::accept_error::AcceptErrorKind) says what
    /// it means. The listener stays usable unless the error is fatal.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a connection is handed out or stays queued.
    pub async fn accept(&self) -> io::Result<(UnixStream, Address)> {
        delegate_typed!(&self.0, listener, R => {
            let (stream, peer) = ListenSocket::accept(listener).await?;
            Ok((UnixStream(R::any_unix_stream(stream)), peer))
        })
    }

    /// As [`accept`](UnixListener::accept). One task is woken, that of the last poll; several use
    /// the async form.
    ///
    /// # Errors
    ///
    /// As [`accept`](UnixListener::accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Address)>> {
        delegate_typed!(&self.0, listener, R => {
            let accepted = ListenSocket::poll_accept(listener, cx);
            accepted.map_ok(|(stream, peer)| (UnixStream(R::any_unix_stream(stream)), peer))
        })
    }

    /// The address that it listens at, with the name that the system chose.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<Address> {
        delegate!(&self.0, listener => Socket::local_addr(listener))
    }
}

socket!(
    UnixListener,
    UnixListener,
    UnixListener,
    any_unix_listener,
    std::os::unix::net::UnixListener
);

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixListener")
            .field("backend", &self.backend())
            .field("local", &self.local_addr().ok())
            .finish()
    }
}
