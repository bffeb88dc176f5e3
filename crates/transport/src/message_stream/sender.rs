use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bowline_backend::stream::{Address, ByteStream};
use bowline_codec::{Codec, Encode, EncodeError, EncodeErrorKind, Mark, OutputBatch};

use super::ahead::{Ahead, Queued};
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
    ahead: Ahead,
}

impl<S: ByteStream, C: Codec> MessageSender<S, C> {
    pub(super) fn new(encoder: C::Encoder, outbound: Arc<Outbound<S>>) -> Self {
        MessageSender {
            encoder,
            outbound,
            crowded: false,
            ahead: Ahead::default(),
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
    fn encode(&mut self, message: &C::Sent) -> Result<Queued, EncodeError> {
        let mut queue = Queue::new(&self.outbound);
        let before = queue.batch().len();
        self.encoder.encode(message, queue.batch())?;
        queue.check_length(before)?;
        queue.kept = true;
        let batch = queue.batch();
        Ok(Queued {
            alone: before == 0,
            frames: batch.unsent_frames(),
            bytes: batch.len(),
        })
    }

    /// Encodes into the queue, which is empty, what `attach` allows by its length, and with it what
    /// that gives.
    #[cfg(all(unix, feature = "ancillary"))]
    pub(super) fn encode_if(
        &mut self,
        message: &C::Sent,
        attach: impl FnOnce(usize) -> Result<Attached<S::WriteHalf>, Error>,
    ) -> Result<(), Error> {
        let mut queue = Queue::new(&self.outbound);
        let before = queue.batch().len();
        let encoded = self.encoder.encode(message, queue.batch());
        let fits = encoded.and_then(|()| queue.check_length(before));
        fits.map_err(|error| Error::from_encode(error).with_peer(queue.peer()))?;
        let length = queue.batch().len();
        queue.attached = Some(attach(length)?);
        queue.kept = true;
        Ok(())
    }
}

/// The batch on loan from the outbound side; goes back when dropped.
struct Queue<'a, S: ByteStream> {
    /// Absent once it went back.
    batch: Option<Box<OutputBatch>>,
    mark: Mark,
    outbound: &'a Outbound<S>,
    kept: bool,
    #[cfg(all(unix, feature = "ancillary"))]
    attached: Option<Attached<S::WriteHalf>>,
}

impl<'a, S: ByteStream> Queue<'a, S> {
    fn new(outbound: &'a Outbound<S>) -> Self {
        let batch = outbound.take_back();
        Queue {
            mark: batch.mark(),
            batch: Some(batch),
            outbound,
            kept: false,
            #[cfg(all(unix, feature = "ancillary"))]
            attached: None,
        }
    }

    #[cfg(all(unix, feature = "ancillary"))]
    fn peer(&self) -> Option<Address> {
        self.outbound.setup().attributes.peer_addr().cloned()
    }

    fn batch(&mut self) -> &mut OutputBatch {
        self.batch.as_mut().expect("it is here until the drop")
    }

    /// Refuses a frame above the limit of the stream, which began after so many bytes.
    fn check_length(&mut self, before: usize) -> Result<(), EncodeError> {
        let limit = self.outbound.setup().max_frame;
        let actual = self.batch().len() - before;
        if actual > limit {
            let too_long = EncodeErrorKind::TooLong { limit, actual };
            return Err(EncodeError::new(too_long));
        }
        Ok(())
    }
}

impl<S: ByteStream> Drop for Queue<'_, S> {
    fn drop(&mut self) {
        let Some(mut batch) = self.batch.take() else {
            return;
        };
        if !self.kept {
            batch.rollback(self.mark);
        }
        #[cfg(all(unix, feature = "ancillary"))]
        if let Some(attached) = self.attached.take() {
            return self.outbound.put_back_with(batch, attached);
        }
        self.outbound.put_back(batch);
    }
}

impl<S: ByteStream, C: Codec<Sent: Sync>> TransportSend<C::Sent> for MessageSender<S, C> {
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let high = self.outbound.setup().high_water;
        let limit = |crowded: bool| if crowded { high / 4 } else { high }.max(1);
        if !self
            .outbound
            .has_room(Operation::Send, limit(self.crowded))?
        {
            self.crowded = true;
            self.outbound.drive_and_wait(Half::Sender, cx);
            if !self.outbound.has_room(Operation::Send, limit(true))? {
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
        let queued = self.encode(message)?;
        if self.ahead.is_due(queued) {
            self.outbound.drive(Half::Sender);
        }
        Ok(())
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
