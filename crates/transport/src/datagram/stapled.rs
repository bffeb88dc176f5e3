use std::io;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

use bowline_backend::net::Received;
#[cfg(all(unix, feature = "ancillary"))]
use bowline_backend::net::ReceivedFds;
use bowline_backend::stream::Address;
use bytes::BytesMut;

use super::{DatagramRecv, DatagramSend};
use crate::attribute::{AttributeRequest, Extra};

/// Two sockets of datagrams as one: packets come in by the first and go out by the second.
///
/// Attributes are those of the first, and what only the second knows. Both are closed when this is
/// dropped.
///
/// # Examples
///
/// ```
/// use bowline_codec::Text;
/// use bowline_transport::{DatagramTransport, MemoryDatagram, StapledDatagram, Transport};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let (questions, asked) = MemoryDatagram::pair();
/// let (answers, answered) = MemoryDatagram::pair();
/// let mut client = DatagramTransport::new(StapledDatagram::new(answers, questions), Text::new());
/// let mut server = DatagramTransport::new(StapledDatagram::new(asked, answered), Text::new());
///
/// client.send(&"why".to_owned()).await?;
/// assert_eq!(server.recv().await?.as_deref(), Some("why"));
/// server.send(&"so".to_owned()).await?;
/// assert_eq!(client.recv().await?.as_deref(), Some("so"));
/// # Ok::<(), bowline_transport::Error>(())
/// # }).expect("nothing waits").unwrap();
/// ```
#[derive(Debug)]
pub struct StapledDatagram<R, W> {
    receiving: R,
    sending: W,
}

impl<R: DatagramRecv, W: DatagramSend> StapledDatagram<R, W> {
    /// Receives by `receiving` and sends by `sending`.
    pub fn new(receiving: R, sending: W) -> Self {
        StapledDatagram { receiving, sending }
    }

    /// The two sockets again.
    pub fn into_inner(self) -> (R, W) {
        (self.receiving, self.sending)
    }
}

impl<R: DatagramRecv, W: Send + Sync + 'static> DatagramRecv for StapledDatagram<R, W> {
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        self.receiving.poll_recv_from(cx, buffer, max)
    }

    fn recv_from(
        &self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> impl Future<Output = io::Result<Received>> + Send {
        self.receiving.recv_from(buffer, max)
    }

    #[cfg(all(unix, feature = "ancillary"))]
    fn recv_with_fds(
        &self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> impl Future<Output = io::Result<(Received, ReceivedFds)>> + Send {
        self.receiving.recv_with_fds(buffer, max, max_fds)
    }

    fn hears(&self) -> Option<Address> {
        self.receiving.hears()
    }
}

impl<R: Send + Sync + 'static, W: DatagramSend> DatagramSend for StapledDatagram<R, W> {
    fn poll_send(&self, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<()>> {
        self.sending.poll_send(cx, packet)
    }

    fn send_to(&self, packet: &[u8], to: &Address) -> impl Future<Output = io::Result<()>> + Send {
        self.sending.send_to(packet, to)
    }

    fn max_packet(&self) -> usize {
        self.sending.max_packet()
    }
}

impl<R: Extra, W: Extra> Extra for StapledDatagram<R, W> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.receiving.provide(request);
        self.sending.provide(request);
    }
}
