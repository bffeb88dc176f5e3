//! Messages over any byte stream, through any codec.

mod ahead;
mod builder;
#[cfg(all(unix, feature = "ancillary"))]
mod descriptors;
#[cfg(all(unix, feature = "ancillary"))]
mod inbox;
mod lingering;
mod outbound;
mod receiver;
mod sender;

pub use builder::MessageStreamBuilder;
pub use receiver::MessageReceiver;
pub use sender::MessageSender;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;

use bowline_backend::stream::{Address, ByteStream};
use bowline_codec::Codec;

use crate::attribute::{AttributeRequest, Extra};
use crate::close_timeout::shut_down_within;
use crate::error::{Delivery, Error, ErrorKind, Operation};
use crate::half_wakers::Half;
use crate::prefixed::Prefixed;
use crate::span::OperationSpan;
use crate::transport::{Transport, TransportSend};

/// A byte stream and a codec: messages both ways.
///
/// Sending is atomic: a `send` that is dropped queued its frame whole or not at all. The queue is
/// bounded: from 64 KiB ([`high_water`](MessageStreamBuilder::high_water)) senders wait until a
/// quarter of that is left; a single frame may exceed it. What is sent is written by whatever
/// half is polled; what is only [fed](TransportSend::feed) waits for the next send, until a receive
/// reads on, or until there is much of it, so that the answers to many messages are one write. Incoming frames are bounded by the codec's own limit.
///
/// Dropped without [`close`](Transport::close) or [`shutdown`](TransportSend::shutdown) it aborts
/// the connection, so that the peer does not take a cut conversation for a finished one.
///
/// # Examples
///
/// ```
/// use bowline_codec::{Framing, LengthDelimited, Raw};
/// use bowline_transport::{MemoryStream, MessageStream, Transport};
/// use bytes::Bytes;
///
/// # futures_util::FutureExt::now_or_never(async {
/// let codec = || LengthDelimited::u32().with(Raw::new());
/// let (here, there) = MemoryStream::pair();
/// let mut here = MessageStream::new(here, codec());
/// let mut there = MessageStream::new(there, codec());
///
/// here.send(&Bytes::from("ping")).await?;
/// assert_eq!(there.recv().await?, Some(Bytes::from("ping")));
/// here.close().await?;
/// assert_eq!(there.recv().await?, None);
/// # Ok::<(), bowline_transport::Error>(())
/// # }).expect("nothing waits").unwrap();
/// ```
#[must_use = "dropped without `close` it aborts the connection"]
pub struct MessageStream<S: ByteStream, C: Codec> {
    sender: MessageSender<S, C>,
    receiver: MessageReceiver<S, C>,
}

impl<S: ByteStream, C: Codec> MessageStream<S, C> {
    /// Speaks `codec` over `stream`, with the default limits.
    pub fn new(stream: S, codec: C) -> Self
    where
        S: Extra,
    {
        MessageStream::<S, C>::builder().over(stream, codec)
    }

    /// Other limits than the default ones. [`MessageStreamBuilder::default`] is the same, where the
    /// types of stream and codec are long to write.
    pub fn builder() -> MessageStreamBuilder {
        MessageStreamBuilder::default()
    }

    /// Our address, where the stream could say.
    pub fn local_addr(&self) -> Option<&Address> {
        self.sender.outbound().setup().attributes.local_addr()
    }

    /// Who is at the other end, where the stream could say.
    pub fn peer_addr(&self) -> Option<&Address> {
        self.sender.peer_addr()
    }
}

impl<S: ByteStream, C: Codec> Extra for MessageStream<S, C> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.sender.outbound().setup().attributes.provide(request);
    }
}

impl<S, C> Transport for MessageStream<S, C>
where
    S: ByteStream,
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    type Sent = C::Sent;
    type Received = C::Item;
    type Sender<'a> = &'a mut MessageSender<S, C>;
    type Receiver<'a> = &'a mut MessageReceiver<S, C>;
    type SendHalf = MessageSender<S, C>;
    type RecvHalf = MessageReceiver<S, C>;

    async fn connect(&mut self) -> Result<(), Error> {
        let outbound = self.sender.outbound();
        if outbound.is_closed() {
            return Err(outbound.closed(Operation::Connect));
        }
        Ok(())
    }

    fn split(&mut self) -> (Self::Sender<'_>, Self::Receiver<'_>) {
        (&mut self.sender, &mut self.receiver)
    }

    fn into_split(self) -> (MessageSender<S, C>, MessageReceiver<S, C>) {
        self.sender.outbound().set_whole(false);
        (self.sender, self.receiver)
    }

    fn reunite(
        sender: MessageSender<S, C>,
        receiver: MessageReceiver<S, C>,
    ) -> Result<Self, (MessageSender<S, C>, MessageReceiver<S, C>)> {
        if !Arc::ptr_eq(sender.outbound(), receiver.outbound()) {
            return Err((sender, receiver));
        }
        sender.outbound().set_whole(true);
        Ok(MessageStream { sender, receiver })
    }

    async fn close(&mut self) -> Result<(), Error> {
        if self.sender.outbound().is_closed() {
            return Ok(());
        }
        let span = OperationSpan::new(Operation::Close, || self.peer_addr());
        span.around(self.close_in_time()).await
    }

    fn abort(&mut self) {
        let halves = (self.receiver.close(), self.sender.outbound().close());
        if let (Some(reading), Some(writing)) = halves {
            outbound::abort::<S>(reading, writing);
        }
    }
}

impl<S, C> MessageStream<S, C>
where
    S: ByteStream,
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    async fn close_in_time(&mut self) -> Result<(), Error> {
        let most = self.sender.outbound().setup().close_timeout;
        let closing = Closing(self);
        let sender = &mut closing.0.sender;
        let result = shut_down_within(most, sender, MessageSender::poll_shutdown, |sender| {
            Error::new(Operation::Close, ErrorKind::Elapsed)
                .with_peer(sender.peer_addr().cloned())
                .with_unsent_frames(sender.outbound().unsent_frames())
                .with_delivery(Delivery::MaybeSent)
        })
        .await;
        if result.is_ok() {
            closing.0.receiver.linger().await;
            closing.0.release();
        }
        drop(closing);
        result
    }
}

impl<S: ByteStream, C: Codec> MessageStream<S, C> {
    fn release(&mut self) {
        drop((self.sender.outbound().close(), self.receiver.close()));
    }

    /// Hands the byte stream over to another protocol, once all that was queued is written: a
    /// switch agreed upon (STARTTLS, `Upgrade`). What was read and is not yet decoded comes first
    /// out of it, so no byte of the new protocol is lost.
    ///
    /// # Errors
    ///
    /// Why what was queued could not be written, or why nothing could be received any more;
    /// [`Closed`](ErrorKind::Closed) where we have ended the sending side. The connection is
    /// aborted.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it is ready it aborts the connection.
    ///
    /// # Examples
    ///
    /// ```
    /// use bowline_codec::{Framing, LengthDelimited, Lines, Raw};
    /// use bowline_transport::{MemoryStream, MessageStream, Transport};
    ///
    /// # futures_util::FutureExt::now_or_never(async {
    /// let (here, there) = MemoryStream::pair();
    /// let mut here = MessageStream::new(here, Lines::lf().text());
    /// let mut there = MessageStream::new(there, Lines::lf().text());
    ///
    /// here.send(&"frames from now on".to_owned()).await?;
    /// let binary = || LengthDelimited::u32().with(Raw::new());
    /// let mut here = here.upgrade(|stream| MessageStream::new(stream, binary())).await?;
    /// here.send(&bytes::Bytes::from("\n")).await?; // maybe read together with the line
    ///
    /// assert_eq!(there.recv().await?.as_deref(), Some("frames from now on"));
    /// let mut there = there.upgrade(|stream| MessageStream::new(stream, binary())).await?;
    /// assert_eq!(there.recv().await?.as_deref(), Some(&b"\n"[..]));
    /// # Ok::<(), bowline_transport::Error>(())
    /// # }).expect("nothing waits").unwrap();
    /// ```
    pub async fn upgrade<R>(mut self, to: impl FnOnce(Prefixed<S>) -> R) -> Result<R, Error> {
        let outbound = self.sender.outbound().clone();
        outbound.check_open(Operation::Upgrade)?;
        poll_fn(|cx| {
            outbound.drive_and_wait(Half::Sender, cx);
            outbound.check_flushed(Operation::Upgrade)
        })
        .await?;
        let (unread, reading) = self.receiver.take_unread()?;
        if let Some(writing) = outbound.close()
            && let Ok(stream) = S::reunite(reading, writing)
        {
            return Ok(to(Prefixed::new(unread, stream)));
        }
        Err(outbound.closed(Operation::Upgrade))
    }
}

/// A `close` under way: dropped before the release, it aborts.
struct Closing<'a, S, C>(&'a mut MessageStream<S, C>)
where
    S: ByteStream,
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static;

impl<S, C> Drop for Closing<'_, S, C>
where
    S: ByteStream,
    C: Codec<Sent: Send + Sync + 'static, Item: Send + 'static> + 'static,
{
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<S: ByteStream, C: Codec> fmt::Debug for MessageStream<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageStream")
            .field("local", &self.local_addr())
            .field("peer", &self.peer_addr())
            .field("unsent", &self.sender.unsent())
            .field("buffered", &self.receiver.buffered())
            .finish_non_exhaustive()
    }
}
