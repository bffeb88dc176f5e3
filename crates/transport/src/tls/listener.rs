use std::io;
use std::task::{Context, Poll};

use bowline_backend::stream::{Address, ByteStream};

use super::handshake::TlsHandshake;
use super::server::TlsServerConfig;
use crate::attribute::Extra;
use crate::listener::Listener;

/// Listens below, and begins a handshake with whoever connects.
///
/// What is accepted is the [`TlsHandshake`]: it goes on in the task that awaits it, so that a
/// client that stalls delays no other.
#[derive(Debug)]
pub struct TlsListener<L> {
    listener: L,
    config: TlsServerConfig,
}

impl<L: Listener<Connection: ByteStream + Extra>> TlsListener<L> {
    /// Makes what `listener` accepts secure.
    pub fn new(listener: L, config: TlsServerConfig) -> Self {
        TlsListener { listener, config }
    }
}

impl<L: Listener<Connection: ByteStream + Extra>> Listener for TlsListener<L> {
    type Connection = TlsHandshake<L::Connection>;

    fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(Self::Connection, Address)>> {
        self.listener.poll_accept(cx).map(|accepted| {
            let (stream, peer) = accepted?;
            let handshake = self.config.handshake(stream).map_err(io::Error::other)?;
            Ok((handshake, peer))
        })
    }

    fn local_addrs(&self) -> io::Result<Vec<Address>> {
        self.listener.local_addrs()
    }
}
