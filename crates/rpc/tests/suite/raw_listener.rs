//! Where peers are accepted that are driven by hand, over every kind of stream.

use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_backend::net::{TcpListener, UnixListener};
use bowline_backend::stream::{ByteReader, ByteSide, ByteWriter, UnixAddress};
use bowline_rpc::{Endpoint, Limits};
use bowline_transport::{Listener, MemoryListener, TlsServerConfig};
use bytes::BytesMut;

use crate::raw_peer::RawPeer;
use crate::wire::Wire;

pub(crate) enum RawListener {
    Tcp(TcpListener),
    Tls(TcpListener, TlsServerConfig),
    Unix(UnixListener),
    Memory(MemoryListener),
}

impl RawListener {
    /// A listener, and where it is.
    pub(crate) async fn of(wire: &Wire) -> (RawListener, Endpoint) {
        let tcp = || TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let fresh = wire.fresh();
        let (listener, address) = match wire {
            Wire::Tcp => {
                let listener = tcp();
                let address = listener.local_addr().unwrap().to_string();
                (RawListener::Tcp(listener), address)
            }
            Wire::Tls(server, _) => {
                let listener = tcp();
                let address = format!("tls://{}", listener.local_addr().unwrap());
                (RawListener::Tls(listener, server.clone()), address)
            }
            Wire::Unix => {
                let name = fresh.strip_prefix("unix:").unwrap();
                let address = UnixAddress::from_abstract(&name[1..]).unwrap();
                (
                    RawListener::Unix(UnixListener::bind(&address).unwrap()),
                    fresh,
                )
            }
            Wire::Memory(network) => {
                let name = fresh.strip_prefix("mem://").unwrap();
                (RawListener::Memory(network.listen(name).unwrap()), fresh)
            }
        };
        (listener, address.into())
    }

    /// Takes one connection of a broker and offers it `methods`.
    pub(crate) async fn accept(&mut self, methods: &[&str]) -> RawPeer<Box<dyn Duplex>> {
        let stream: Box<dyn Duplex> = match self {
            RawListener::Tcp(listener) => Box::new(TcpListener::accept(listener).await.unwrap().0),
            RawListener::Tls(listener, config) => loop {
                let (stream, _) = TcpListener::accept(listener).await.unwrap();
                // A broker that ends in the middle is none to talk to.
                if let Ok(stream) = config.handshake(stream).unwrap().await {
                    break Box::new(stream);
                }
            },
            RawListener::Unix(listener) => {
                Box::new(UnixListener::accept(listener).await.unwrap().0)
            }
            RawListener::Memory(listener) => Box::new(Listener::accept(listener).await.unwrap().0),
        };
        RawPeer::offer(stream, &Limits::default(), methods).await
    }
}

/// A stream of any kind.
pub(crate) trait Duplex: ByteReader + ByteWriter + Sync {}

impl<S: ByteReader + ByteWriter + Sync> Duplex for S {}

impl ByteSide for Box<dyn Duplex> {}

impl ByteReader for Box<dyn Duplex> {
    fn poll_read_into(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut **self).poll_read_into(cx, buffer, max)
    }
}

impl ByteWriter for Box<dyn Duplex> {
    fn is_write_vectored(&self) -> bool {
        (**self).is_write_vectored()
    }
}
