use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::task::{Context, Poll};

use bowline_backend::net::Received;
use bowline_backend::stream::{Address, UnixAddress};
use bowline_codec::{DecodeError, DecodeErrorKind, MessageCodec};
use bytes::{Bytes, BytesMut};

use super::outbound::Outbound;
use super::{DatagramSocket, ends, is_refusal};
use crate::error::{Error, Operation};
use crate::half_wakers::Half;
use crate::transport::TransportRecv;

/// After as many packets of others a receiver lets other tasks run.
const FOREIGN_IN_A_ROW: usize = 32;

/// The receiving half of a [`DatagramTransport`](crate::DatagramTransport).
///
/// Owned, after [`into_split`](crate::Transport::into_split), it may go to another task. Where both
/// halves are dropped the socket is closed.
#[must_use = "the socket is closed once both halves are dropped"]
pub struct DatagramReceiver<S, C> {
    /// `None` once the transport is closed.
    socket: Option<Arc<S>>,
    codec: Arc<C>,
    outbound: Arc<Outbound>,
    /// Whom alone it hears, where the peer has an address; without one the system sees to it.
    hears: Option<Address>,
    connected: bool,
    max: NonZeroUsize,
    /// Empty between packets; it has room only while they come.
    buffer: BytesMut,
}

impl<S, C> DatagramReceiver<S, C> {
    pub(super) fn new(
        socket: Arc<S>,
        codec: Arc<C>,
        outbound: Arc<Outbound>,
        hears: Option<Address>,
        max: NonZeroUsize,
    ) -> Self {
        DatagramReceiver {
            socket: Some(socket),
            codec,
            outbound,
            connected: hears.is_some(),
            hears: hears.filter(|peer| *peer != Address::Unix(UnixAddress::UNNAMED)),
            max,
            buffer: BytesMut::new(),
        }
    }

    pub(super) fn outbound(&self) -> &Arc<Outbound> {
        &self.outbound
    }

    pub(super) fn release(&mut self) {
        self.socket = None;
        self.buffer = BytesMut::new();
    }

    /// Who is at the other end, where the socket could say.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.outbound.setup.attributes.peer_addr()
    }

    /// Whether a packet is not from the peer: one may have come between bind and connect.
    fn is_foreign(&self, received: &Received) -> bool {
        self.hears
            .as_ref()
            .is_some_and(|peer| !received.from.as_ref().is_some_and(|from| same(from, peer)))
    }
}

/// Whether two addresses are one: flow labels of IPv6 do not count.
fn same(one: &Address, other: &Address) -> bool {
    match (one.as_inet(), other.as_inet()) {
        (Some(one), Some(other)) => (one.ip(), one.port()) == (other.ip(), other.port()),
        _ => one == other,
    }
}

/// What came, in memory of its own unless that would be a copy of much: a packet that is kept, by the
/// program or in a queue that counts bytes, keeps at most twice its length.
pub(super) fn taken(buffer: &mut BytesMut) -> Bytes {
    if buffer.len().saturating_mul(2) <= buffer.capacity() {
        let packet = Bytes::copy_from_slice(buffer);
        buffer.clear();
        return packet;
    }
    buffer.split().freeze()
}

/// The refusal of a packet: whatever the codec says of it, the next one begins anew.
pub(super) fn refused(error: DecodeError) -> Error {
    Error::from_decode(error.recoverable())
}

/// The error of a packet of which more came than was asked for.
pub(super) fn truncated(limit: usize) -> DecodeError {
    DecodeError::new(DecodeErrorKind::TooLong {
        limit,
        declared: None,
    })
}

impl<S: DatagramSocket, C: MessageCodec> DatagramReceiver<S, C> {
    /// Receives a message whose packet `read` takes from the socket.
    pub(super) fn poll_recv_by(
        &mut self,
        cx: &mut Context<'_>,
        mut read: impl FnMut(
            &S,
            &mut Context<'_>,
            &mut BytesMut,
            NonZeroUsize,
        ) -> Poll<io::Result<Received>>,
    ) -> Poll<Result<Option<C::Received>, Error>> {
        let operation = Operation::Recv;
        let socket = match &self.socket {
            Some(socket) if !self.outbound.is_closed() => socket.clone(),
            _ => return Poll::Ready(Err(self.outbound.closed(operation))),
        };
        self.outbound.drive_and_wait(Half::Receiver, &*socket, cx);
        self.outbound.check_refused(operation)?;
        for _ in 0..FOREIGN_IN_A_ROW {
            self.buffer.clear();
            let received = match read(&socket, cx, &mut self.buffer, self.max) {
                Poll::Pending => {
                    self.buffer = BytesMut::new();
                    return Poll::Pending;
                }
                Poll::Ready(Err(error)) if is_refusal(&error) && !self.connected => {
                    self.outbound.counts.refused.one();
                    continue;
                }
                Poll::Ready(Err(error)) => {
                    let error = Error::from_io(operation, error).with_peer(self.outbound.peer());
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Ok(received)) => received,
            };
            if self.is_foreign(&received) {
                self.outbound.counts.foreign.one();
                continue;
            }
            let decoded = match received.truncated {
                true => {
                    self.outbound.counts.truncated.one();
                    Err(truncated(self.max.get()))
                }
                false => self.codec.decode(&taken(&mut self.buffer)),
            };
            return Poll::Ready(match decoded {
                Ok(message) => Ok(Some(message)),
                Err(error) => Err(refused(error).with_peer(self.outbound.peer())),
            });
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S: DatagramSocket, C: MessageCodec<Received: Send>> TransportRecv<C::Received>
    for DatagramReceiver<S, C>
{
    fn ends_with(&self, error: &Error) -> bool {
        ends(error)
    }

    fn peer(&self) -> Option<Address> {
        self.peer_addr().cloned()
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<C::Received>, Error>> {
        self.poll_recv_by(cx, |socket, cx, buffer, max| {
            socket.poll_recv_from(cx, buffer, max)
        })
    }
}

impl<S, C> Drop for DatagramReceiver<S, C> {
    fn drop(&mut self) {
        self.outbound.wakers.forget(Half::Receiver);
    }
}

impl<S, C> fmt::Debug for DatagramReceiver<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramReceiver")
            .field("peer", &self.peer_addr())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SV7
    #[test]
    fn a_packet_keeps_at_most_twice_its_length() {
        const ROOM: usize = 64 * 1024;
        for length in [1, 8192, 8193, ROOM / 2, ROOM / 2 + 1, ROOM] {
            let mut buffer = BytesMut::with_capacity(ROOM);
            buffer.extend_from_slice(&vec![7; length]);
            let packet = taken(&mut buffer);
            drop(buffer);
            assert_eq!(packet, vec![7; length]);
            let kept = packet
                .try_into_mut()
                .expect("nobody else has it")
                .capacity();
            assert!(kept <= 2 * length, "{length} keep {kept}");
        }
    }
}
