//! Servers of connections.

mod bind;
mod bound;
mod builder;
mod caught;
mod closures;
mod connection;
mod counters;
#[cfg(all(unix, feature = "ancillary"))]
mod descriptors;
mod handle;
mod handler;
mod incoming;
mod limits;
mod link;
mod log;
mod messages;
mod peer;
mod serve_streams;
mod state;
mod thread;
#[cfg(unix)]
mod unix_place;
mod url_place;

#[cfg(feature = "tls")]
pub use bind::Secure;
pub use bind::{Bind, Listening, MemoryPlace};
pub use bound::{Bound, Served};
pub use builder::{NoCodec, StreamServer};
pub(crate) use caught::{Caught, Panicked};
pub use counters::ServerCounters;
pub use handle::ServerHandle;
pub use handler::{ConnectionHandler, End};
pub use incoming::Incoming;
pub use limits::{AtLimit, ServerLimits};
pub use link::ConnectionId;
pub use messages::Messages;
pub use peer::Peer;
pub use serve_streams::{ServeStreams, serve_streams};
pub use thread::ServerThread;
#[cfg(unix)]
pub use unix_place::UnixPlace;
#[cfg(unix)]
pub(crate) use unix_place::{PathOptions, UnixAt, from_unix};
pub use url_place::{UrlIncoming, UrlListener, UrlPlace};

use std::sync::Arc;

use crate::datagram::DatagramSocket;
use crate::listener::Listener;
use crate::listeners::ListenersBuilder;
use crate::memory::MemoryNetwork;
#[cfg(unix)]
use crate::packet_server::UnixDatagramPlace;
use crate::packet_server::{PacketServer, PacketUrlPlace, Socket, UdpPlace};

/// Where servers begin: each function makes one for a kind of place.
///
/// A server listens once it is bound, and serves as long as the future of `serve` is polled: nothing
/// runs beside it. Every connection is a task below that future.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_codec::Lines;
/// use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, task_group};
/// use bowline_transport::{MessageStream, Server, TcpConnector, Transport};
/// use std::time::Duration;
///
/// let both = task_group(|group: TaskGroup<AnyError>| async move {
///     let server = Server::tcp(("127.0.0.1", 0)).codec(|| Lines::lf().text()).bind().await?;
///     let (address, handle) = (server.local_addrs()[0].clone(), server.handle());
///     let greet = |line: String| format!("hello, {line}");
///     group.spawn(async move {
///         let serving = server.serve_each(move |peer, line| async move {
///             peer.send(&greet(line)).await
///         });
///         Ok(serving.await?)
///     });
///
///     let stream = TcpConnector::new(address.as_inet().unwrap()).connect().await?;
///     let mut messages = MessageStream::new(stream, Lines::lf().text());
///     messages.send(&"Ada".to_owned()).await?;
///     assert_eq!(messages.recv().await?.as_deref(), Some("hello, Ada"));
///
///     let report = handle.drain(Duration::from_secs(5)).await;
///     assert_eq!(report.finished, 1); // it waited for a message
///     assert_eq!(messages.recv().await?, None);
///     Ok(())
/// });
/// let both: Result<(), GroupError<AnyError>> = Root::new().backend(Backend::Smol).block_on(both);
/// both.unwrap();
/// # }
/// ```
#[derive(Debug)]
pub enum Server {}

impl Server {
    /// At a TCP address, or at a host by name and a port: all addresses that it has. They may be text,
    /// `127.0.0.1:80` or `host:80`, of which `:80` is every address of ours. With port 0 the system
    /// chooses one. A [`ListenersBuilder`] has more options, and several places.
    pub fn tcp(at: impl Into<ListenersBuilder>) -> StreamServer<ListenersBuilder> {
        StreamServer::at(at.into())
    }

    /// At a path in the file system, where nothing may be, or at another address of Unix. The path
    /// goes with the server; a [`UnixPlace`] has options.
    #[cfg(unix)]
    pub fn unix(at: impl Into<UnixPlace>) -> StreamServer<UnixPlace> {
        StreamServer::at(at.into())
    }

    /// At a name of a network within the process.
    pub fn memory(network: &MemoryNetwork, name: impl Into<Arc<str>>) -> StreamServer<MemoryPlace> {
        StreamServer::at(MemoryPlace {
            network: network.clone(),
            name: name.into(),
        })
    }

    /// At the place that a URL says, of TCP, TLS, a Unix socket or in memory. Those of datagrams are for
    /// [`url_datagrams`](Server::url_datagrams).
    pub fn url(at: impl Into<UrlPlace>) -> StreamServer<UrlPlace> {
        StreamServer::at(at.into())
    }

    /// At a listener that was made already.
    pub fn over<L: Listener<Connection: Incoming> + 'static>(
        listener: L,
    ) -> StreamServer<Listening<L>> {
        StreamServer::at(Listening(listener))
    }

    /// At a UDP address, or at a host by name and a port: the first of its addresses that can be had.
    /// They may be text, `127.0.0.1:80` or `host:80`, of which `:80` is every address of ours. With port 0
    /// the system chooses one.
    pub fn udp(at: impl Into<UdpPlace>) -> PacketServer<UdpPlace> {
        PacketServer::at(at.into())
    }

    /// At a path in the file system, for datagrams, where nothing may be, or at another address of Unix.
    /// The path goes with the server; a [`UnixDatagramPlace`] has options.
    #[cfg(unix)]
    pub fn unix_datagram(at: impl Into<UnixDatagramPlace>) -> PacketServer<UnixDatagramPlace> {
        PacketServer::at(at.into())
    }

    /// At the place of a socket of datagrams that a URL says: of UDP, or a Unix socket.
    pub fn url_datagrams(at: impl Into<PacketUrlPlace>) -> PacketServer<PacketUrlPlace> {
        PacketServer::at(at.into())
    }

    /// At a socket of datagrams that was made already.
    pub fn over_datagrams<S: DatagramSocket>(socket: S) -> PacketServer<Socket<S>> {
        PacketServer::at(Socket(socket))
    }
}
