//! Messages of a Unix stream with descriptors.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bowline_backend::net::{UnixReadHalf, UnixStream, UnixWriteHalf};
use bowline_backend::stream::ByteReader;
use bowline_codec::{Codec, OutputBatch};
use bytes::BytesMut;

use super::inbox::Inbox;
use super::{MessageReceiver, MessageSender, MessageStream};
use crate::ancillary::{
    Ancillary, AncillaryError, Arrived, borrowed, check_supported, or_plain, refused,
};
use crate::error::{Error, ErrorKind, Operation};
use crate::half_wakers::Half;
use crate::span::OperationSpan;
use crate::transport::TransportSend;

/// A write that passes descriptors too.
type WriteWith<W> = fn(&mut W, &mut Context<'_>, &[u8], &[OwnedFd]) -> Poll<io::Result<usize>>;

/// Descriptors that go with the frame that is first in its batch.
pub(super) struct Attached<W> {
    fds: Vec<OwnedFd>,
    /// Bytes of the frame: no more go in its write.
    frame: usize,
    write: WriteWith<W>,
}

impl<W> Attached<W> {
    /// Writes of the frame what the stream takes; all descriptors went with its first byte.
    pub(super) fn poll_write(
        &self,
        half: &mut W,
        cx: &mut Context<'_>,
        front: &mut OutputBatch,
    ) -> Poll<io::Result<usize>> {
        let bytes = front.coalesce(Ancillary::MAX_FRAME);
        let frame = self.frame.min(bytes.len());
        (self.write)(half, cx, &bytes[..frame], &self.fds)
    }
}

fn write_with(
    half: &mut UnixWriteHalf,
    cx: &mut Context<'_>,
    bytes: &[u8],
    fds: &[OwnedFd],
) -> Poll<io::Result<usize>> {
    half.poll_send_with_fds(cx, &[IoSlice::new(bytes)], &borrowed(fds))
}

fn read_with(
    half: &mut UnixReadHalf,
    cx: &mut Context<'_>,
    buffer: &mut BytesMut,
    max: NonZeroUsize,
) -> Poll<io::Result<(usize, Arrived)>> {
    let read = half.poll_recv_with_fds(cx, buffer, max, Ancillary::MAX_FDS);
    let read = read.map_ok(|received| (received.len, Arrived::from(received)));
    or_plain(read, || {
        let read = Pin::new(half).poll_read_into(cx, buffer, max);
        read.map_ok(|count| (count, Arrived::default()))
    })
}

impl<C: Codec<Sent: Sync>> MessageSender<UnixStream, C> {
    /// Sends `message` and the descriptors of `ancillary`, which arrive with it. They are closed
    /// here once they were passed on, or could not be.
    ///
    /// They go with the first byte of the frame, which is a write of its own: this first waits until
    /// all that was queued before is written. Then it queues the frame as
    /// [`send`](TransportSend::send) does, so `Ok` means queued.
    ///
    /// # Errors
    ///
    /// As [`send`](TransportSend::send); with [`AncillaryError`] as the source
    /// [`Config`](ErrorKind::Config) for more than [`Ancillary::MAX_FDS`] descriptors,
    /// [`TooLarge`](ErrorKind::TooLarge) for a frame of more than [`Ancillary::MAX_FRAME`] bytes,
    /// [`Encode`](ErrorKind::Encode) for one without a byte;
    /// [`Unsupported`](ErrorKind::Unsupported) in the simulator. Nothing was sent, and the
    /// transport is usable.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*, but that the descriptors are closed: the frame is queued with them in the
    /// poll that says so.
    pub async fn send_with(
        &mut self,
        message: &C::Sent,
        ancillary: Ancillary,
    ) -> Result<(), Error> {
        let mut ancillary = ancillary;
        let span = OperationSpan::new(Operation::Send, || self.peer_addr());
        let sent = poll_fn(|cx| self.poll_send_with(cx, message, &mut ancillary));
        span.around(sent).await
    }

    /// Ready once `message` is queued with what is in `ancillary`, which is taken out then.
    pub(crate) fn poll_send_with(
        &mut self,
        cx: &mut Context<'_>,
        message: &C::Sent,
        ancillary: &mut Ancillary,
    ) -> Poll<Result<(), Error>> {
        if ancillary.fds().is_empty() {
            ready!(self.poll_reserve(cx))?;
            let queued = self.queue(message);
            return Poll::Ready(
                queued.map_err(|error| Error::from_encode(error).with_peer(self.peer())),
            );
        }
        ancillary.check()?;
        check_supported()?;
        ready!(self.poll_all_written(cx))?;
        Poll::Ready(self.queue_with(message, ancillary))
    }

    /// Ready once a frame can be the first in the queue.
    fn poll_all_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.outbound().check_open(Operation::Send)?;
        self.outbound().drive_and_wait(Half::Sender, cx);
        self.outbound().check_open(Operation::Send)?;
        self.outbound().check_flushed(Operation::Send)
    }

    /// Queues a frame that is the first, and writes what goes without waiting.
    fn queue_with(&mut self, message: &C::Sent, ancillary: &mut Ancillary) -> Result<(), Error> {
        self.encode_if(message, |frame| match frame {
            0 => Err(refused(ErrorKind::Encode, AncillaryError::NoBytes)),
            actual if actual > Ancillary::MAX_FRAME => {
                let limit = Ancillary::MAX_FRAME;
                let why = AncillaryError::FrameTooLong { limit, actual };
                Err(refused(ErrorKind::TooLarge { limit }, why))
            }
            frame => Ok(Attached {
                fds: ancillary.take_fds(),
                frame,
                write: write_with,
            }),
        })?;
        self.outbound().drive(Half::Sender);
        Ok(())
    }
}

impl<C: Codec<Item: Send>> MessageReceiver<UnixStream, C> {
    /// Receives a message, and puts the descriptors that came with it into `ancillary`. Those that
    /// were there are closed.
    ///
    /// A plain [`recv`](crate::TransportRecv::recv) closes what comes with its message. Before the
    /// first `recv_with`, it also closes what comes with the messages that it reads ahead: a
    /// program that wants descriptors calls `recv_with` from the start.
    ///
    /// The codec has to take every frame up to its last byte, as all of this project do but one: the
    /// newline after a bare JSON value, as `12`, is left to the next document, and so would be the
    /// descriptors.
    ///
    /// # Errors
    ///
    /// As [`recv`](crate::TransportRecv::recv). [`Decode`](ErrorKind::Decode) with
    /// [`AncillaryError::Truncated`] as its source where more descriptors came than there was room
    /// for in `ancillary` or in this process: the message and all of them are gone, and the next
    /// call goes on.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: bytes and descriptors stay in the transport, and `ancillary` as it was.
    pub async fn recv_with(&mut self, ancillary: &mut Ancillary) -> Result<Option<C::Item>, Error> {
        let span = OperationSpan::new(Operation::Recv, || self.peer_addr());
        let received = poll_fn(|cx| self.poll_recv_with(cx, ancillary));
        span.around(received).await
    }

    /// Ready with a message, once what came with it is in `ancillary`.
    pub(crate) fn poll_recv_with(
        &mut self,
        cx: &mut Context<'_>,
        ancillary: &mut Ancillary,
    ) -> Poll<Result<Option<C::Item>, Error>> {
        self.inbox.get_or_insert_with(|| Inbox::new(read_with));
        let received = ready!(self.poll_in_turn(cx));
        let came = self.inbox.as_mut().map(Inbox::take).unwrap_or_default();
        let filled = ancillary.fill(came);
        let message = received?;
        filled.map_err(|error| error.with_peer(self.peer_addr().cloned()))?;
        Poll::Ready(Ok(message))
    }
}

impl<C: Codec<Sent: Sync, Item: Send>> MessageStream<UnixStream, C> {
    /// Sends `message` and descriptors; see [`MessageSender::send_with`].
    ///
    /// # Errors
    ///
    /// As [`MessageSender::send_with`].
    ///
    /// # Cancel safety
    ///
    /// As [`MessageSender::send_with`].
    pub async fn send_with(
        &mut self,
        message: &C::Sent,
        ancillary: Ancillary,
    ) -> Result<(), Error> {
        self.sender.send_with(message, ancillary).await
    }

    /// Receives a message and its descriptors; see [`MessageReceiver::recv_with`].
    ///
    /// # Errors
    ///
    /// As [`MessageReceiver::recv_with`].
    ///
    /// # Cancel safety
    ///
    /// As [`MessageReceiver::recv_with`].
    pub async fn recv_with(&mut self, ancillary: &mut Ancillary) -> Result<Option<C::Item>, Error> {
        self.receiver.recv_with(ancillary).await
    }
}
