use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bowline_backend::stream::Address;
use bowline_codec::MessageCodec;
use bowline_concurrency::{AnyError, PanicPolicy, Policy, TaskGroup};

use super::closures::{ForMessage, ForPeer};
use super::handle::PacketServerHandle;
use super::handler::PacketHandler;
use super::packets::Packets;
use super::peer::PacketPeer;
use super::serve_packets::Service;
use super::state::State;
use crate::datagram::{DatagramEndpoint, DatagramSocket};
use crate::error::{Error, ErrorKind, Operation};

/// A server that has its socket: its address is known, and packets wait there.
#[must_use = "nobody is served until `serve` is awaited"]
pub struct BoundPackets<S, C> {
    pub(super) state: Arc<State>,
    pub(super) endpoint: DatagramEndpoint<S, C>,
}

impl<S, C> BoundPackets<S, C> {
    /// Where it receives, with the port that the system chose.
    pub fn local_addrs(&self) -> &[Address] {
        &self.state.local_addrs
    }

    /// What ends the server, and knows its peers.
    pub fn handle(&self) -> PacketServerHandle {
        PacketServerHandle::new(self.state.clone())
    }
}

impl<S, C> BoundPackets<S, C>
where
    S: DatagramSocket,
    C: MessageCodec<Sent: Sync, Received: Send> + 'static,
{
    /// Serves until the server is stopped or drained and no handler is left.
    ///
    /// For each peer address a task of a group of this future, with a cancel scope of its own, runs
    /// the handler. Where that fails or panics it is counted, and the server goes on.
    ///
    /// # Errors
    ///
    /// What broke the socket, after the handlers were given the
    /// [grace](crate::PacketLimits::grace); or the error of a task that
    /// [`on_start`](PacketHandler::on_start) spawned, as the source of
    /// [`Closed`](ErrorKind::Closed).
    ///
    /// # Panics
    ///
    /// Where no backend runs on this thread. Resumes a panic of `on_start` and of what it spawned.
    ///
    /// # Cancel safety
    ///
    /// All handlers are cancelled; the root waits for what is left of them.
    pub async fn serve<H: PacketHandler<S, C> + 'static>(self, handler: H) -> Result<(), Error> {
        let service = Arc::new(Service {
            state: self.state,
            endpoint: Arc::new(self.endpoint),
            handler,
        });
        let server = TaskGroup::builder().name("server");
        let served = server.run(|group: TaskGroup<AnyError>| async move {
            let handle = PacketServerHandle::new(service.state.clone());
            service.handler.on_start(&handle, &group).await;
            let served = serve_all(service).await;
            group.cancel("the server has ended");
            Ok(served)
        });
        match served.await {
            Ok(served) => served,
            Err(failed) => Err(Error::new(Operation::Recv, ErrorKind::Closed).with_source(failed)),
        }
    }

    /// As [`serve`](BoundPackets::serve), with a closure for each peer that has no handler.
    ///
    /// # Errors
    ///
    /// As [`serve`](BoundPackets::serve).
    ///
    /// # Panics
    ///
    /// As [`serve`](BoundPackets::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](BoundPackets::serve).
    pub async fn serve_fn<H, Fut, E>(self, handler: H) -> Result<(), Error>
    where
        H: Fn(PacketPeer<S, C>, Packets<S, C>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: fmt::Display + Send,
    {
        self.serve(ForPeer(handler)).await
    }

    /// As [`serve`](BoundPackets::serve), with a closure for each message, called for the next one of
    /// a peer when it is done with the last. A peer of whom no packet waits then takes no place
    /// among [`max_peers`](crate::PacketLimits::max_peers). A packet that cannot be decoded is counted as a
    /// handler that failed.
    ///
    /// A closure with `?` in it says what its errors are where it ends: `Ok::<(), Error>(())`.
    ///
    /// # Errors
    ///
    /// As [`serve`](BoundPackets::serve).
    ///
    /// # Panics
    ///
    /// As [`serve`](BoundPackets::serve).
    ///
    /// # Cancel safety
    ///
    /// As [`serve`](BoundPackets::serve).
    pub async fn serve_each<H, Fut, E>(self, handler: H) -> Result<(), Error>
    where
        H: Fn(PacketPeer<S, C>, C::Received) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send,
        E: fmt::Display + Send,
    {
        self.serve(ForMessage(handler)).await
    }
}

/// Receives and serves; returns when no handler is left.
async fn serve_all<S, C, H>(service: Arc<Service<S, C, H>>) -> Result<(), Error>
where
    S: DatagramSocket,
    C: MessageCodec<Sent: Sync, Received: Send> + 'static,
    H: PacketHandler<S, C> + 'static,
{
    let peers = TaskGroup::builder()
        .name("peers")
        .policy(Policy::Isolate)
        .panics(PanicPolicy::Collect)
        .unbounded(); // the server's own limit bounds it
    let served = peers.run(|group: TaskGroup<Infallible>| async move {
        let received = service.receive_all(&group).await;
        if received.is_err() {
            group.shutdown(service.state.limits.grace);
        }
        Ok(received)
    });
    match served.await {
        Ok(received) => received,
        Err(_) => Ok(()), // cancelled by nobody but itself, after its body was done
    }
}

impl<S, C> fmt::Debug for BoundPackets<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundPackets")
            .field("local", &self.state.local_addrs)
            .finish_non_exhaustive()
    }
}
