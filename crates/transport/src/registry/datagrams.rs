//! The factories of transports over sockets of datagrams.

use std::num::NonZeroUsize;
use std::sync::Arc;

#[cfg(unix)]
use bowline_backend::net::UnixDatagram;
use bowline_backend::net::{Query, UdpSocket, resolve};
use bowline_codec::MessageCodec;

use super::TransportFactory;
use crate::client::{Broken, lazy};
#[cfg(unix)]
use crate::datagram::answerable_unix;
use crate::datagram::{DatagramSocket, DatagramTransport, DatagramTransportBuilder};
use crate::dyn_transport::{BoxFuture, DynTransport};
use crate::error::{Error, ErrorKind, Operation};
use crate::params::{KeySpec, Params};
#[cfg(unix)]
use crate::scheme::{ABSTRACT, PATH};
use crate::scheme::{
    CONNECT_TIMEOUT, DialOptions, HOST, MAX_FRAME, PORT, connect_timeout, connected_within,
    host_and_port, max_frame,
};

const UDP: &[KeySpec] = &[HOST, PORT, CONNECT_TIMEOUT, MAX_FRAME];

#[cfg(unix)]
const UNIXGRAM: &[KeySpec] = &[PATH, ABSTRACT, MAX_FRAME];

/// `udp`: connected when it is first used, to the first address of the host.
pub(super) struct Udp<F>(pub(super) Arc<F>);

/// `unixgram`: the same to a Unix socket.
#[cfg(unix)]
pub(super) struct Unixgram<F>(pub(super) Arc<F>);

impl<F, C> TransportFactory<C::Sent, C::Received> for Udp<F>
where
    F: Fn() -> C + Send + Sync + 'static,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
{
    fn create(&self, params: &Params) -> Result<DynTransport<C::Sent, C::Received>, Error> {
        let (host, port) = host_and_port(params)?;
        let (host, most) = (host.to_owned(), max_frame(params)?);
        let within = connect_timeout(params);
        let codec = self.0.clone();
        let dial = Arc::new(move |options: &DialOptions| {
            let (host, codec) = (host.clone(), codec.clone());
            let most = options.max_frame.or(most);
            let dialled = connected_within(within, async move {
                let found = resolve(Query::host(host, port)).await.map_err(|error| {
                    Error::new(Operation::Connect, ErrorKind::Connect).with_source(error)
                })?;
                let to = found.into_iter().next();
                let to = to.ok_or_else(|| Error::new(Operation::Connect, ErrorKind::Address))?;
                let socket = UdpSocket::connect(to);
                let socket = socket.map_err(|error| Error::from_io(Operation::Connect, error))?;
                Ok(DynTransport::new(over(socket, most, codec())))
            });
            Box::pin(dialled) as BoxFuture<'static, _>
        });
        Ok(lazy(dial, Broken::Stays))
    }

    fn keys(&self) -> &'static [KeySpec] {
        UDP
    }
}

#[cfg(unix)]
impl<F, C> TransportFactory<C::Sent, C::Received> for Unixgram<F>
where
    F: Fn() -> C + Send + Sync + 'static,
    C: MessageCodec<Sent: Send + Sync + 'static, Received: Send + 'static> + 'static,
{
    fn create(&self, params: &Params) -> Result<DynTransport<C::Sent, C::Received>, Error> {
        let to = crate::scheme::unix_address(params)?;
        let most = max_frame(params)?;
        let codec = self.0.clone();
        let dial = Arc::new(move |options: &DialOptions| {
            let (to, codec) = (to.clone(), codec.clone());
            let most = options.max_frame.or(most);
            let dialled = async move {
                let socket = UnixDatagram::connect_with(&to, answerable_unix());
                let socket = socket.map_err(|error| Error::from_io(Operation::Connect, error))?;
                Ok(DynTransport::new(over(socket, most, codec())))
            };
            Box::pin(dialled) as BoxFuture<'static, _>
        });
        Ok(lazy(dial, Broken::Stays))
    }

    fn keys(&self) -> &'static [KeySpec] {
        UNIXGRAM
    }
}

fn over<S, C>(socket: S, most: Option<usize>, codec: C) -> DatagramTransport<S, C>
where
    S: DatagramSocket,
    C: MessageCodec,
{
    let builder = DatagramTransportBuilder::default();
    let builder = match most.and_then(NonZeroUsize::new) {
        Some(most) => builder.max_packet(most),
        None => builder,
    };
    builder.over(socket, codec)
}
