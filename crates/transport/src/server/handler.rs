use std::fmt::Display;
use std::future::{Future, ready};

use bowline_concurrency::{AnyError, TaskGroup};

use super::handle::ServerHandle;
use super::messages::Messages;
use super::peer::Peer;
use crate::error::ErrorKind;
use crate::transport::Transport;

/// What a server does with its connections, each in a task of its own.
///
/// Written for one transport, or for all with the same messages:
/// `impl<T: Transport<Sent = String, Received = String>> ConnectionHandler<T> for Chat`. For a
/// closure there are [`serve_fn`](crate::Bound::serve_fn) and
/// [`serve_each`](crate::Bound::serve_each).
///
/// # Examples
///
/// ```
/// use bowline_transport::{ConnectionHandler, Error, Messages, Peer, Transport};
///
/// struct Echo;
///
/// impl<T> ConnectionHandler<T> for Echo
/// where
///     T: Transport<Sent = String, Received = String> + 'static,
/// {
///     type Error = Error;
///
///     async fn handle(&self, peer: &Peer<T>, messages: &mut Messages<T>) -> Result<(), Error> {
///         while let Some(message) = messages.recv().await? {
///             peer.send(&message).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait ConnectionHandler<T: Transport>: Send + Sync {
    /// Why a connection cannot go on.
    type Error: Display + Send;

    /// Called once, before anything is accepted. Tasks of `group` live as long as the server: its end
    /// cancels them, and the error of one ends the server.
    fn on_start(
        &self,
        server: &ServerHandle,
        group: &TaskGroup<AnyError>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (server, group);
        ready(())
    }

    /// Called for each connection, after its handshake. It may already converse: log in, greet.
    ///
    /// # Errors
    ///
    /// The connection is aborted, and nothing else called for it.
    fn on_connection(
        &self,
        peer: &Peer<T>,
        messages: &mut Messages<T>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send {
        let _ = (peer, messages);
        ready(Ok(()))
    }

    /// Converses, to the end of the connection. Once it returns the connection is flushed and
    /// closed.
    ///
    /// # Errors
    ///
    /// The connection is aborted; the server goes on.
    fn handle(
        &self,
        peer: &Peer<T>,
        messages: &mut Messages<T>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Called at the end of each connection whose [`on_connection`](Self::on_connection) succeeded,
    /// however it came to its end. Nothing can be sent any more. It may take 5 s.
    fn on_end(&self, peer: &Peer<T>, end: End) -> impl Future<Output = ()> + Send {
        let _ = (peer, end);
        ready(())
    }
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// We ended it: the handler returned, or failed, or somebody closed its peer.
    Closed,
    /// The peer ended it.
    Ended,
    /// It broke; or the peer was silent for too long, or sent what cannot be decoded nor skipped.
    Broken(ErrorKind),
    /// The handler returned because the server drains.
    Drained,
    /// It was cancelled.
    Cancelled,
    /// The handler panicked.
    Panicked,
}
