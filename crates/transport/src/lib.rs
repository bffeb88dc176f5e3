//! Byte and message transports on any runtime.
//!
//! A [`MessageStream`] makes messages of any byte stream with any codec; [`MemoryStream`] is a
//! byte stream inside one process. What every transport offers is [`Transport`] with its halves
//! [`TransportSend`] and [`TransportRecv`]: sending is atomic, queues are bounded, the end of the
//! peer is told from a failure, and every [`Error`] says whether the peer may have received the
//! message. [`Shared`] lends one transport to any number of tasks. Sockets are those of
//! `bowline-backend`.
//!
//! A [`Client`] dials when it is used, and again when its connection broke, for any number of tasks.
//! [`TransportRegistry`] makes transports by name and URL.
//! [`TcpConnector`] dials by Happy Eyeballs, [`Listeners`] accept at many addresses, and with the
//! feature `tls` any byte stream becomes a secure one. [`DatagramTransport`] and
//! [`DatagramEndpoint`] carry a message in each datagram.
//!
//! Nothing runs in the background: what is queued is written by the calls of its user. Use the
//! byte streams themselves where there are no messages, and `bowline-rpc` where messages are
//! calls.
//!
//! # Features
//!
//! `tls`: `TlsStream` and what makes it, by rustls with ring; `webpki-roots` and `native-roots`: the
//! authorities that Mozilla or the system trusts, for its clients. `ancillary`: `send_with` and
//! `recv_with` pass descriptors with the messages of Unix sockets. `tracing`: servers log, and every
//! `connect`, `handshake` and `close` (level `DEBUG`), `send` and `recv` (`TRACE`) is a span of that
//! name below the one that is current (`feed` and permits send; a `call` sends and receives), with `peer` where it is known, `outcome` (`ok`, `end`,
//! `dropped`, or the [kind](ErrorKind) of the error), `error` and `otel.status_code`. `tokio`, `smol`,
//! `async-std`, `sim`: the backends, as in `bowline-backend`.
//!
//! # Examples
//!
//! ```
//! use bowline_codec::{Framing, LengthDelimited, Raw};
//! use bowline_transport::{MemoryStream, MessageStream, Transport, TransportRecv, TransportSend};
//! use bytes::Bytes;
//!
//! # futures_util::FutureExt::now_or_never(async {
//! let (client, server) = MemoryStream::pair();
//! let mut client = MessageStream::new(client, LengthDelimited::u32().with(Raw::new()));
//! let server = MessageStream::new(server, LengthDelimited::u32().with(Raw::new()));
//!
//! client.send(&Bytes::from("hello")).await?;
//!
//! let (mut replies, mut requests) = server.into_split(); // for two tasks, if need be
//! while let Ok(Some(request)) = requests.recv().await {
//!     replies.send(&request).await?;
//! #   break;
//! }
//!
//! assert_eq!(client.recv().await?, Some(Bytes::from("hello")));
//! # Ok::<(), bowline_transport::Error>(())
//! # }).expect("nothing waits").unwrap();
//! ```

mod transport;

#[cfg(all(unix, feature = "ancillary"))]
mod ancillary;
mod attribute;
mod close_timeout;
mod counters;
mod delegate;
mod drain;
mod dyn_transport;
mod each;
mod ended;
mod error;
mod half_wakers;
mod scoped;
mod seldom;
mod serving;
mod shared_transport;
mod span;

mod blocking_client;
mod client;

mod connector;
mod listener;
mod listeners;

mod memory;
mod message_stream;
mod prefixed;
mod stapled;

mod server;

mod packet_server;

mod datagram;

mod params;
mod registry;
mod scheme;
mod url;
mod url_stream;

#[cfg(feature = "tls")]
mod tls;

#[cfg(all(unix, feature = "ancillary"))]
pub use ancillary::{Ancillary, AncillaryError};
#[cfg(unix)]
pub use attribute::PeerCredentials;
pub use attribute::{
    AddressFamily, Attribute, AttributeRequest, Attributes, Extra, LocalAddr, LocalName, PeerAddr,
    PeerName, SocketFamily,
};
pub use blocking_client::{BlockingClient, BlockingMessages};
pub use client::{
    CallAll, Client, ClientMessages, ClientPermit, ClientState, ClientTarget, DatagramTarget,
};
pub use connector::{TcpConnector, TcpTarget};
pub use datagram::{
    DatagramCounters, DatagramEndpoint, DatagramEndpointBuilder, DatagramReceiver, DatagramRecv,
    DatagramSend, DatagramSender, DatagramSocket, DatagramTransport, DatagramTransportBuilder,
    MemoryDatagram, MemoryDatagramBuilder, StapledDatagram, UnnamedSender, UnnamedSenders,
};
pub use drain::DrainReport;
pub use dyn_transport::{DynReceiver, DynSender, DynTransport, LentReceiver, LentSender};
pub use error::{Attempt, Break, Delivery, Error, ErrorKind, Operation, TlsFailure};
pub use listener::Listener;
pub use listeners::{Listeners, ListenersBuilder};
pub use memory::{
    MemoryListener, MemoryNetwork, MemoryReadHalf, MemoryStream, MemoryStreamBuilder,
    MemoryWriteHalf,
};
pub use message_stream::{MessageReceiver, MessageSender, MessageStream, MessageStreamBuilder};
#[cfg(unix)]
pub use packet_server::UnixDatagramPlace;
pub use packet_server::{
    BindPackets, BoundPackets, Overflow, PacketCounters, PacketHandler, PacketLimits, PacketPeer,
    PacketServer, PacketServerHandle, PacketUrlPlace, Packets, ServePackets, Socket, UdpPlace,
    UrlDatagram, serve_packets,
};
pub use params::{KeySpec, ParamError, ParamErrorKind, ParamType, Params};
pub use prefixed::Prefixed;
pub use registry::{TransportFactory, TransportRegistry};
pub use scoped::scoped;
#[cfg(feature = "tls")]
pub use server::Secure;
#[cfg(unix)]
pub use server::UnixPlace;
pub use server::{
    AtLimit, Bind, Bound, ConnectionHandler, ConnectionId, End, Incoming, Listening, MemoryPlace,
    Messages, NoCodec, Peer, ServeStreams, Served, Server, ServerCounters, ServerHandle,
    ServerLimits, ServerThread, StreamServer, UrlIncoming, UrlListener, UrlPlace, serve_streams,
};
pub use shared_transport::{Shared, SharedPermit};
pub use stapled::{StapledReadHalf, StapledStream, StapledWriteHalf};
#[cfg(feature = "tls")]
pub use tls::{
    CertStore, ClientCertificates, CloseMode, KeyExportError, KeyExporter, TlsClientBuilder,
    TlsClientConfig, TlsDetails, TlsExporter, TlsHandshake, TlsInfo, TlsListener, TlsReadHalf,
    TlsServerBuilder, TlsServerConfig, TlsStream, TlsWriteHalf,
};
pub use transport::{
    MessageItems, Permit, Transport, TransportRecv, TransportSend, TryRecvError, TrySendError,
};
pub use url::{Place, Url, UrlError, UrlErrorKind};
pub use url_stream::{UrlReadHalf, UrlStream, UrlWriteHalf};
