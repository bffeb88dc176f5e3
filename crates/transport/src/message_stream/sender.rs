use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bowline_backend::stream::{Address, ByteStream};
use bowline_codec::{Codec, Encode, EncodeError, EncodeErrorKind, Mark, OutputBatch};

#[cfg(all(unix, feature = "ancillary"))]
use super::descriptors::Attached;
use super::outbound::Outbound;
use crate::error::{Error, Operation};
use crate::half_wakers::Half;
use crate::transport::TransportSend;

/// The sending half of a [`MessageStream`](super::MessageStream).
///
/// Owned, after [`into_split`](crate::Transport::into_split), it may go to another task.
/// Dropped there, what it queued is still written while the receiver is polled, and then the
/// sending side ends.
#[must_use = "dropping the sender ends the sending side"]
pub struct MessageSender<S: ByteStream, C: Codec> {
    encoder: C::Encoder,
    outbound: Arc<Outbound<S>>,
    /// A `reserve` found the queue full and waits until it is well below.
    crowded: bool,
}

impl<S: ByteStream, C: Codec> MessageSender<S, C> {
    pub(super) fn new(encoder: C::Encoder, outbound: Arc<Outbound<S>>) -> Self {
        MessageSender {
            encoder,
            outbound,
            crowded: false,
        }
    }

    pub(super) fn outbound(&self) -> &Arc<Outbound<S>> {
        &self.outbound
    }

    /// Who is at the other end, where the stream could say.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.outbound.setup().attributes.peer_addr()
    }

    /// Bytes that are queued and not yet handed to the stream.
    pub fn unsent(&self) -> usize {
        self.outbound.unsent()
    }
}

impl<S: ByteStream, C: Codec<Sent: Sync>> MessageSender<S, C> {
    /// Encodes into the queue, whole or not at all, also if the encoder panics.
    fn encode(&mut self, message: &C::Sent) -> Result<(), EncodeError> {
        let batch = self.outbound.take_back();
        let mut queue = Queue {
            mark: batch.mark(),
            batch,
            outbound: &self.outbound,
            kept: false,
            #[cfg(all(unix, feature = "ancillary"))]
            attached: None,
        };
        let before = queue.batch.len();
        self.encoder.encode(message, &mut queue.batch)?;
        queue.check_length(before)?;
        queue.kept = true;
        Ok(())
    }

    /// Encodes into the queue, which is empty, what `attach` allows by its length, and with it what
    /// that gives.
    #[cfg(all(unix, feature = "ancillary"))]
    pub(super) fn encode_if(
        &mut self,
        message: &C::Sent,
        attach: impl FnOnce(usize) -> Result<Attached<S::WriteHalf>, Error>,
    ) -> Result<(), Error> {
        let batch = self.outbound.take_back();
        let mut queue = Queue {
            mark: batch.mark(),
            batch,
            outbound: &self.outbound,
            kept: false,
            attached: None,
        };
        let before = queue.batch.len();
        let encoded = self.encoder.encode(message, &mut queue.batch);
        let fits = encoded.and_then(|()| queue.check_length(before));
        fits.map_err(Error::from_encode)?;
        queue.attached = Some(attach(queue.batch.len())?);
        queue.kept = true;
        Ok(())
    }
}

/// The batch on loan from the outbound side; goes back when dropped.
struct Queue<'a, S: ByteStream> {
    batch: OutputBatch,
    mark: Mark,
    outbound: &'a Outbound<S>,
    kept: bool,
    #[cfg(all(unix, feature = "ancillary"))]
    attached: Option<Attached<S::WriteHalf>>,
}

impl<S: ByteStream> Queue<'_, S> {
    /// Refuses a frame above the limit of the stream, which began after so many bytes.
    fn check_length(&self, before: usize) -> Result<(), EncodeError> {
        let limit = self.outbound.setup().max_frame;
        let actual = self.batch.len() - before;
        if actual > limit {
            let too_long = EncodeErrorKind::TooLong { limit, actual };
            return Err(EncodeError::new(too_long));
        }
        Ok(())
    }
}

impl<S: ByteStream> Drop for Queue<'_, S> {
    fn drop(&mut self) {
        if !self.kept {
            self.batch.rollback(self.mark);
        }
        #[cfg(all(unix, feature = "ancillary"))]
        if let Some(attached) = self.attached.take() {
            return self
                .outbound
                .put_back_with(std::mem::take(&mut self.batch), attached);
        }
        self.outbound.put_back(std::mem::take(&mut self.batch));
    }
}

impl<S: ByteStream, C: Codec<Sent: Sync>> TransportSend<C::Sent> for MessageSender<S, C> {
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.outbound.check_open(Operation::Send)?;
        let high = self.outbound.setup().high_water;
        let limit = |crowded| if crowded { high / 4 } else { high };
        if self.outbound.unsent() >= limit(self.crowded).max(1) {
            self.crowded = true;
            self.outbound.drive_and_wait(Half::Sender, cx);
            self.outbound.check_open(Operation::Send)?;
            if self.outbound.unsent() >= limit(true).max(1) {
                return Poll::Pending;
            }
        }
        self.crowded = false;
        Poll::Ready(Ok(()))
    }

    fn queue(&mut self, message: &C::Sent) -> Result<(), EncodeError> {
        self.encode(message)?;
        self.outbound.drive(Half::Sender);
        Ok(())
    }

    fn queue_only(&mut self, message: &C::Sent) -> Result<(), EncodeError> {
        self.encode(message)
    }

    fn peer(&self) -> Option<Address> {
        self.peer_addr().cloned()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.outbound.drive_and_wait(Half::Sender, cx);
        self.outbound.check_flushed(Operation::Flush)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.outbound.end();
        self.outbound.drive_and_wait(Half::Sender, cx);
        self.outbound.check_ended(Operation::Shutdown)
    }
}

impl<S: ByteStream, C: Codec> Drop for MessageSender<S, C> {
    fn drop(&mut self) {
        self.outbound.sender_dropped();
    }
}

impl<S: ByteStream, C: Codec> fmt::Debug for MessageSender<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSender")
            .field("peer", &self.peer_addr())
            .field("unsent", &self.unsent())
            .finish_non_exhaustive()
    }
}
