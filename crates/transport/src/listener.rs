//! What accepts connections.

use std::future::{Future, poll_fn};
use std::io;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

use bowline_backend::net::{TcpListener, TcpStream};
#[cfg(unix)]
use bowline_backend::net::{UnixListener, UnixStream};
use bowline_backend::stream::Address;

/// What accepts connections of one kind: a socket, several, or such under TLS.
///
/// One task accepts, so exclusive access is by type. Errors are the system's own, for what they
/// mean to the listener is asked of
/// [`AcceptErrorKind`](bowline_backend::accept_error::AcceptErrorKind); unless they are fatal it
/// stays usable. A listener that is dropped resets what was not accepted.
pub trait Listener: Send {
    /// What is accepted: a stream, or what becomes one after a handshake.
    type Connection: Send;

    /// Waits for the next connection, and who made it.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Connection, Address)>>;

    /// Where it listens, with the ports that the system chose.
    ///
    /// # Errors
    ///
    /// What the system reports.
    fn local_addrs(&self) -> io::Result<Vec<Address>>;

    /// Waits for the next connection, and who made it.
    ///
    /// # Errors
    ///
    /// What the system reports.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a connection is handed out or stays queued.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Connection, Address)>> + Send {
        poll_fn(|cx| self.poll_accept(cx))
    }

    /// Waits for the next connection, and takes what else is there by then: at most `most` in all.
    ///
    /// # Errors
    ///
    /// What the system reports of the first; what it reports after one was taken ends the batch,
    /// and is said again by the next call if it is more than the failure of one connection.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: connections are handed out or stay queued.
    fn accept_batch(
        &mut self,
        most: NonZeroUsize,
    ) -> impl Future<Output = io::Result<Vec<(Self::Connection, Address)>>> + Send {
        poll_fn(move |cx| {
            let mut batch = Vec::new();
            while batch.len() < most.get() {
                match self.poll_accept(cx) {
                    Poll::Ready(Ok(accepted)) => batch.push(accepted),
                    Poll::Ready(Err(error)) if batch.is_empty() => return Poll::Ready(Err(error)),
                    Poll::Pending if batch.is_empty() => return Poll::Pending,
                    Poll::Ready(Err(_)) | Poll::Pending => break,
                }
            }
            Poll::Ready(Ok(batch))
        })
    }
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, Address)>> {
        TcpListener::poll_accept(self, cx)
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        Ok(vec![self.local_addr()?.into()])
    }
}

#[cfg(unix)]
impl Listener for UnixListener {
    type Connection = UnixStream;

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, Address)>> {
        UnixListener::poll_accept(self, cx)
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        Ok(vec![self.local_addr()?])
    }
}
