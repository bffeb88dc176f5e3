use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bowline_backend::stream::Address;
use bowline_codec::{EncodeError, EncodeErrorKind, MessageCodec};
use bytes::{Bytes, BytesMut};

use super::outbound::Outbound;
use super::{DatagramSend, ends, is_too_long};
use crate::error::{Delivery, Error, Operation};
use crate::half_wakers::Half;
use crate::transport::TransportSend;

/// A buffer for packets that grew beyond this is given back.
const KEPT: usize = 16 * 1024;

/// The sending half of a [`DatagramTransport`](crate::DatagramTransport).
///
/// Owned, after [`into_split`](crate::Transport::into_split), it may go to another task.
#[must_use = "what is not sent through it is not sent"]
pub struct DatagramSender<S, C> {
    /// `None` once the transport is closed.
    socket: Option<Arc<S>>,
    codec: Arc<C>,
    outbound: Arc<Outbound>,
    scratch: BytesMut,
}

impl<S, C> DatagramSender<S, C> {
    pub(super) fn new(socket: Arc<S>, codec: Arc<C>, outbound: Arc<Outbound>) -> Self {
        DatagramSender {
            socket: Some(socket),
            codec,
            outbound,
            scratch: BytesMut::new(),
        }
    }

    pub(super) fn outbound(&self) -> &Arc<Outbound> {
        &self.outbound
    }

    pub(super) fn release(&mut self) {
        self.socket = None;
    }

    /// Who is at the other end, where the socket could say.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.outbound.setup.attributes.peer_addr()
    }
}

impl<S: DatagramSend, C: MessageCodec<Sent: Sync>> DatagramSender<S, C> {
    fn socket(&self, operation: Operation) -> Result<&S, Error> {
        match &self.socket {
            Some(socket) if !self.outbound.is_closed() => Ok(socket),
            _ => Err(self.outbound.closed(operation)),
        }
    }

    /// The packet of a message.
    pub(super) fn encode(&mut self, message: &C::Sent) -> Result<Bytes, EncodeError> {
        if self.scratch.capacity() > KEPT {
            self.scratch = BytesMut::new();
        }
        let limit = self.outbound.setup.limit;
        encode(&*self.codec, message, &mut self.scratch, limit)
    }

    /// The same, or whom it cannot be sent to.
    pub(super) fn packet(&mut self, message: &C::Sent) -> Result<Bytes, Error> {
        let packet = self.encode(message);
        packet.map_err(|error| Error::from_encode(error).with_peer(self.outbound.peer()))
    }

    /// Sends a packet of `len` bytes by `send`.
    pub(super) fn poll_send_by(
        &self,
        cx: &mut Context<'_>,
        len: usize,
        mut send: impl FnMut(&S, &mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<Result<(), Error>> {
        let socket = self.socket(Operation::Send)?;
        let sent = ready!(self.outbound.poll_send(cx, |cx| send(socket, cx)));
        Poll::Ready(sent.map_err(|error| {
            let error = match is_too_long(&error) {
                true => Error::from_encode(too_long_for_system(len, error)),
                false => Error::from_io(Operation::Send, error)
                    .with_delivery(Delivery::NotSent)
                    .with_unsent_frames(1),
            };
            error.with_peer(self.outbound.peer())
        }))
    }

    fn poll_flushed(
        &mut self,
        operation: Operation,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let socket = self.socket(operation)?;
        self.outbound.drive_and_wait(Half::Sender, socket, cx);
        match self.outbound.has_room() {
            true => Poll::Ready(self.outbound.check_failed(operation)),
            false => Poll::Pending,
        }
    }
}

impl<S: DatagramSend, C: MessageCodec<Sent: Sync>> TransportSend<C::Sent> for DatagramSender<S, C> {
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let operation = Operation::Send;
        let socket = self.socket(operation)?;
        self.outbound.check_open(operation)?;
        if self.outbound.has_room() {
            return Poll::Ready(Ok(()));
        }
        self.outbound.drive_and_wait(Half::Sender, socket, cx);
        self.outbound.check_open(operation)?;
        match self.outbound.has_room() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    }

    fn queue(&mut self, message: &C::Sent) -> Result<(), EncodeError> {
        let packet = self.encode(message)?;
        let Some(socket) = &self.socket else {
            return Ok(()); // closed: `poll_reserve` says so
        };
        let actual = packet.len();
        let queued = self.outbound.queue(&**socket, packet);
        queued.map_err(|error| too_long_for_system(actual, error))
    }

    /// Waits until the system takes this packet; `Ok` means that it has. Pending, nothing is queued.
    ///
    /// The packet is made anew by each poll that finds no room for it. Kept for the next poll, it could be
    /// that of another message: whoever polls may come with another one, and need not say that he does.
    /// So much is asked for only of a socket that is full, and of 64 KiB at most unless a builder says so.
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &C::Sent) -> Poll<Result<(), Error>> {
        ready!(self.poll_reserve(cx))?;
        let packet = self.packet(message)?;
        self.poll_send_by(cx, packet.len(), |socket, cx| socket.poll_send(cx, &packet))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flushed(Operation::Flush, cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.outbound.end();
        self.poll_flushed(Operation::Shutdown, cx)
    }

    fn peer(&self) -> Option<Address> {
        self.peer_addr().cloned()
    }

    fn ends_with(&self, error: &Error) -> bool {
        ends(error)
    }
}

/// The packet of a message, of at most `limit` bytes. It may share memory with `scratch`, which is
/// empty again.
pub(super) fn encode<C: MessageCodec>(
    codec: &C,
    message: &C::Sent,
    scratch: &mut BytesMut,
    limit: usize,
) -> Result<Bytes, EncodeError> {
    let packet = match codec.encoded(message) {
        Some(whole) => whole,
        None => {
            scratch.clear(); // of what a codec that panicked left
            codec.encode(message, scratch)?;
            scratch.split().freeze()
        }
    };
    match packet.len() {
        actual if actual > limit => {
            Err(EncodeError::new(EncodeErrorKind::TooLong { limit, actual }))
        }
        _ => Ok(packet),
    }
}

/// The error of a packet that the system finds too long. What it would take it does not say: less
/// than this.
pub(super) fn too_long_for_system(actual: usize, error: io::Error) -> EncodeError {
    let limit = actual.saturating_sub(1);
    EncodeError::new(EncodeErrorKind::TooLong { limit, actual }).with_source(error)
}

impl<S, C> Drop for DatagramSender<S, C> {
    fn drop(&mut self) {
        self.outbound.wakers.forget(Half::Sender);
        // What is held, the receiver still offers.
    }
}

impl<S, C> fmt::Debug for DatagramSender<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramSender")
            .field("peer", &self.peer_addr())
            .field("unsent", &self.outbound.unsent_frames())
            .finish_non_exhaustive()
    }
}
