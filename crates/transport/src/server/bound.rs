use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bowline_backend::stream::Address;
use bowline_codec::Codec;
use bowline_concurrency::sync::Semaphore;
use bowline_concurrency::{AnyError, PanicPolicy, Policy, TaskGroup};

use super::closures::{ForConnection, ForMessage};
use super::connection::Service;
use super::handle::ServerHandle;
use super::handler::ConnectionHandler;
use super::incoming::Incoming;
use super::messages::Messages;
use super::peer::Peer;
use super::serve_streams::{accept_all, spawn};
use super::state::{Entry, State};
use crate::error::{Error, ErrorKind, Operation};
use crate::listener::Listener;
use crate::message_stream::{MessageStream, MessageStreamBuilder};
use crate::transport::Transport;

/// The transport of a server's connections: its codec over the streams of its listener.
pub type Served<L, C> = MessageStream<<<L as Listener>::Connection as Incoming>::Stream, C>;

/// A server that listens: its addresses are known, and who connects waits in the backlog.
#[must_use = "nobody is served until `serve` is awaited"]
pub struct Bound<L, F> {
    pub(super) state: Arc<State>,
    pub(super) listener: L,
    pub(super) codec: F,
    pub(super) stream: MessageStreamBuilder,
}

impl<L, F> Bound<L, F> {
    /// Where it listens, with the ports that the system chose.
    pub fn local_addrs(&self) -> &[Address] {
        &self.state.local_addrs
    }

    /// What ends the server, and knows its connections.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(self.state.clone())
    }
}

impl<L, F, C> Bound<L, F>
where
    L: Listener<Connection: Incoming> + 'static,
    F: Fn() -> C + Send + Sync + 'static,
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    /// Serves until the server is stopped or drained and no connection is left.
    ///
    /// Each connection is a task of a group of this future, with a cancel scope of its own. Where a
    /// handler returns, its connection is flushed and closed; where it fails or panics, that
    /// connection is aborted and counted, and the server goes on.
    ///
    /// # Errors
    ///
    /// What broke the listener, after the connections were given the
    /// [grace](crate::ServerLimits::grace); or the error of a task that
    /// [`on_start`](ConnectionHandler::on_start) spawned, as the source of
    /// [`Closed`](ErrorKind::Closed).
    ///
    /// # Panics
    ///
    /// Where no backend runs on this thread. Resumes a panic of `on_start` and of what it spawned.
    ///
    /// # Cancel safety
    ///
    /// All connections are cancelled; the root waits for what is left of them.
    pub async fn serve<H>(self, handler: H) -> Result<(), Error>
    where
        H: ConnectionHandler<Served<L, C>> + 'static,
    {
        let Bound {
            state,
            listener,
            codec,
            stream,
        } = self;
        let service = Arc::new(Service {
            handshakes: Semaphore::new(state.limits.max_handshakes),
            state,
            handler,
            codec,
            stream,
        });
        let server = TaskGroup::builder().name("server");
        let served = server.run(|group: TaskGroup<AnyError>| async move {
            let handle = ServerHandle::new(service.state.clone());
            service.handler.on_start(&handle, &group).await;
            let served = serve_all(listener, service).await;
            group.cancel("the server has ended");
            Ok(served)
        });
        match served.await {
            Ok(served) => served,
            Err(failed) => Err(Error::new(Operation::Serve, ErrorKind::Closed).with_source(failed)),
        }
    }

    /// As [`serve`](Bound::serve), with a closure for each connection.
    ///
    /// # Errors
    ///
    /// As [`serve`](Bound::serve).
    ///
    /// # Panics
    ///
    /// As [`serve`](Bound::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Bound::serve).
    pub async fn serve_fn<H, Fut, E>(self, handler: H) -> Result<(), Error>
    where
        H: Fn(Peer<Served<L, C>>, Messages<Served<L, C>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: fmt::Display + Send,
    {
        self.serve(ForConnection(handler)).await
    }

    /// As [`serve`](Bound::serve), with a closure for each message, called for the next one of a
    /// connection when it is done with the last. What cannot be decoded ends the connection.
    ///
    /// A closure with `?` in it says what its errors are where it ends: `Ok::<(), Error>(())`.
    ///
    /// # Errors
    ///
    /// As [`serve`](Bound::serve).
    ///
    /// # Panics
    ///
    /// As [`serve`](Bound::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](Bound::serve).
    pub async fn serve_each<H, Fut, E>(self, handler: H) -> Result<(), Error>
    where
        H: Fn(Peer<Served<L, C>>, <Served<L, C> as Transport>::Received) -> Fut
            + Send
            + Sync
            + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: fmt::Display + Send,
    {
        self.serve(ForMessage(handler)).await
    }
}

/// Accepts and serves; returns when no connection is left.
async fn serve_all<L, H, F, C>(listener: L, service: Arc<Service<H, F>>) -> Result<(), Error>
where
    L: Listener<Connection: Incoming> + 'static,
    F: Fn() -> C + Send + Sync + 'static,
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
    H: ConnectionHandler<Served<L, C>> + 'static,
{
    let connections = TaskGroup::builder()
        .name("connections")
        .policy(Policy::Isolate)
        .panics(PanicPolicy::Collect)
        .unbounded(); // the server's own limit bounds it
    let served = connections.run(|group: TaskGroup<Infallible>| async move {
        let state = service.state.clone();
        let begin = |incoming: L::Connection, entry: Entry| {
            spawn(&group, service.clone().connection(entry, incoming))
        };
        let accepted = accept_all(listener, &state, begin).await;
        if accepted.is_err() {
            group.shutdown(state.limits.grace);
        }
        Ok(accepted)
    });
    match served.await {
        Ok(accepted) => accepted,
        Err(_) => Ok(()), // cancelled by nobody but itself, after its body was done
    }
}

impl<L, F> fmt::Debug for Bound<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bound")
            .field("local", &self.state.local_addrs)
            .finish_non_exhaustive()
    }
}
