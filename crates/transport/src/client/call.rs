//! Questions and answers, for protocols that give one reply to each message.

use std::collections::VecDeque;
use std::fmt;
use std::future::{IntoFuture, poll_fn};
use std::task::{Poll, ready};
use std::time::Duration;

use bowline_backend::time::Instant;
use bowline_concurrency::{now, timeout_at};

use super::Client;
use super::awaited::Awaited;
use crate::dyn_transport::BoxFuture;
use crate::error::{Delivery, Error, ErrorKind, Operation};
use crate::span::{Given, OperationSpan};
use crate::transport::TransportSend;

impl<S, R> Client<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Sends a message and waits for the reply, for a protocol that gives one reply to each message,
    /// in their order. It is traced as a `send` and a `recv`.
    ///
    /// Calls take turns, and sends with them, so that no reply is taken for another. Where connections
    /// are [replaced](Client::reconnect) it looks, before it sends, whether its connection is still
    /// good: one that ended unnoticed is not its error, but that of the next [`recv`](Client::recv), and
    /// what the peer said unasked until then is no reply, but a message of that. Of such messages the
    /// latest 16 are kept; before them `recv` says how many it [lacks](ErrorKind::Lagged). Of
    /// [packets](Client::datagrams), which may come late or twice, it looks too; one that comes twice with
    /// time in between, so that the second is there only after the look, is taken for the reply all the same:
    /// a protocol that has to be sure numbers its messages. Streams that are not replaced it does not look
    /// at, and the first message to come is the reply.
    ///
    /// # Errors
    ///
    /// As [`send`](Client::send) and [`recv`](Client::recv); [`Ended`](ErrorKind::Ended) where the
    /// peer ended instead of replying; [`Busy`](ErrorKind::Busy), and nothing was sent, while another task
    /// receives. [`delivery`](Error::delivery) says whether the peer may have the message.
    ///
    /// A frame whose message cannot be decoded is the answer to this call. After any other error with
    /// which a connection goes on the reply may still come, and is nobody's, for the connection is
    /// dropped: what the framing refuses ([`is_in_frame`](bowline_codec::DecodeError::is_in_frame)), as
    /// noise before a reply; what the transport does not wait for any longer
    /// ([`Elapsed`](ErrorKind::Elapsed)); a packet that is refused or cannot be decoded.
    ///
    /// # Cancel safety
    ///
    /// Before the message is queued *nothing happened*. After it the connection is dropped, so that
    /// the late reply is not taken for the next one; the next use makes another connection, where the
    /// client [reconnects](Client::reconnect) at once if something was received on this one; else as after a
    /// break, though at once the first time. There a [`recv`](Client::recv) is told, as of a break, once: what
    /// others had queued, or subscribed to, went with it. It is of one whose call failed, too.
    #[doc(alias = "request")]
    pub async fn call(&self, message: &S) -> Result<R, Error> {
        self.call_telling(message, || ()).await
    }

    /// As [`call`](Client::call), saying when the message has been queued.
    pub(crate) async fn call_telling(
        &self,
        message: &S,
        queued: impl FnOnce() + Send,
    ) -> Result<R, Error> {
        let line = self.line();
        let _user = line.enter();
        let mut waiting = line.waiting();
        let sending = async {
            let turn = self.turn(Operation::Send).await?;
            let entered = self.enter_receiving()?;
            let mut looked = false;
            let generation = poll_fn(|cx| {
                if !looked {
                    ready!(line.poll_look(cx));
                    looked = true;
                }
                line.poll_send(message, TransportSend::poll_send, &mut waiting, cx)
            })
            .await?;
            Ok(Given((turn, entered, generation)))
        };
        let sent = self.span(Operation::Send).around(sending).await?;
        let Given((_turn, _entered, generation)) = sent;
        queued();
        let mut awaited = Awaited::new(line);
        awaited.generations.push_back(generation);
        let receiving = poll_fn(|cx| awaited.poll_reply(&mut waiting, cx).map_ok(Given));
        let reply = self.span(Operation::Recv).around(receiving).await;
        awaited.generations.clear();
        reply.map(|Given(reply)| reply)
    }

    fn span(&self, operation: Operation) -> OperationSpan {
        OperationSpan::new(operation, || self.peer_addr())
    }

    /// Sends all of these messages, `max_in_flight` of them before their replies have come, and waits
    /// for the replies.
    ///
    /// The results are in the order of the messages, each its own: what fails one leaves the others
    /// as they are, except that those sent on a connection that ends all fail with that, and those that
    /// are not sent yet where none can be made with the error of that one attempt. Of
    /// [packets](Client::datagrams) one is in flight at most, for they may come in another order, or not at
    /// all, and each is sent as by a [`call`](Client::call): so one that is lost holds up those behind it
    /// until the limit.
    ///
    /// Awaited as it is, it takes as long as it takes; [`timeout`](CallAll::timeout) and
    /// [`deadline`](CallAll::deadline) bound it and keep what has come. Meanwhile nobody else sends.
    ///
    /// # Panics
    ///
    /// If `max_in_flight` is zero.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "sim")] {
    /// # use bowline_backend::Backend;
    /// # use bowline_codec::Lines;
    /// # use bowline_transport::{Client, DynTransport, MemoryStream, MessageStream, Transport};
    /// # use std::time::Duration;
    /// # Backend::Sim.block_on(async {
    /// # let client = Client::with_dial(|| async {
    /// #     let (here, there) = MemoryStream::pair();
    /// #     let mut peer = MessageStream::new(there, Lines::lf().text());
    /// #     for reply in ["1", "2"] {
    /// #         peer.send(&reply.to_owned()).await?;
    /// #     }
    /// #     std::mem::forget(peer);
    /// #     Ok(DynTransport::new(MessageStream::new(here, Lines::lf().text())))
    /// # });
    /// let questions = ["one", "two", "three"].map(str::to_owned);
    /// let answers = client.call_all(questions, 2).timeout(Duration::from_secs(1)).await;
    /// assert_eq!(answers[0].as_deref().unwrap(), "1");
    /// assert_eq!(answers[1].as_deref().unwrap(), "2");
    /// assert!(answers[2].as_ref().unwrap_err().is_timeout()); // it was never answered
    /// # });
    /// # }
    /// ```
    #[doc(alias = "batch_request")]
    #[track_caller]
    pub fn call_all(
        &self,
        messages: impl IntoIterator<Item = S>,
        max_in_flight: usize,
    ) -> CallAll<'_, S, R> {
        assert!(max_in_flight > 0, "with none in flight there is no call");
        CallAll {
            client: self,
            messages: messages.into_iter().collect(),
            max_in_flight,
            limit: Limit::None,
        }
    }
}

/// Many calls; made by [`Client::call_all`] and awaited for their results.
///
/// # Cancel safety
///
/// As [`Client::call`]: dropped with replies to come, it drops the connection.
#[must_use = "nothing is sent until this is awaited"]
pub struct CallAll<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    client: &'a Client<S, R>,
    messages: Vec<S>,
    max_in_flight: usize,
    limit: Limit,
}

#[derive(Clone, Copy, Debug)]
enum Limit {
    None,
    After(Duration),
    At(Instant),
}

impl<'a, S, R> CallAll<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// After so long, counted from the first poll, whatever has no result is
    /// [`Elapsed`](ErrorKind::Elapsed).
    pub fn timeout(mut self, most: Duration) -> Self {
        self.limit = Limit::After(most);
        self
    }

    /// At this time whatever has no result is [`Elapsed`](ErrorKind::Elapsed).
    pub fn deadline(mut self, at: Instant) -> Self {
        self.limit = Limit::At(at);
        self
    }

    async fn run(self) -> Vec<Result<R, Error>> {
        let deadline = match self.limit {
            Limit::None | Limit::After(Duration::MAX) => None,
            Limit::After(most) => Some(now().saturating_add(most)),
            Limit::At(at) => Some(at),
        };
        let mut results: Vec<Option<Result<R, Error>>> = Vec::new();
        results.resize_with(self.messages.len(), || None);
        let mut sent = 0;
        let calls = self.fill(&mut results, &mut sent);
        let done = match deadline {
            Some(deadline) => timeout_at(deadline, calls).await.unwrap_or(Ok(())),
            None => calls.await,
        };
        // Without a turn there was not even a beginning.
        let missing = |index: usize| match &done {
            Err(error) => error.clone(),
            Ok(()) => {
                let delivery = match index < sent {
                    true => Delivery::MaybeSent,
                    false => Delivery::NotSent,
                };
                let elapsed = Error::new(Operation::Recv, ErrorKind::Elapsed);
                elapsed
                    .with_peer(self.client.peer_addr())
                    .with_delivery(delivery)
            }
        };
        let results = results.into_iter().enumerate();
        results
            .map(|(index, result)| result.unwrap_or_else(|| Err(missing(index))))
            .collect()
    }

    /// Calls until all have a result, or there is no turn for it.
    async fn fill(
        &self,
        results: &mut [Option<Result<R, Error>>],
        sent: &mut usize,
    ) -> Result<(), Error> {
        let line = self.client.line();
        let _user = line.enter();
        let mut waiting = [line.waiting(), line.waiting()];
        let begun = waiting[0];
        let _turn = self.client.turn(Operation::Send).await?;
        let _entered = self.client.enter_receiving()?;
        let mut awaited = Awaited::new(line);
        let mut slots = VecDeque::new();
        let mut looked = false;
        let (mut sending, mut receiving) = (None, None);
        poll_fn(|cx| {
            loop {
                let mut moved = false;
                let is_alone = slots.is_empty();
                // Nothing in a packet says which question it answers, and none of them need come.
                let has_room =
                    is_alone || !line.is_of_packets() && slots.len() < self.max_in_flight;
                if !looked && is_alone && *sent < self.messages.len() {
                    ready!(line.poll_look(cx));
                    looked = true;
                }
                if has_room
                    && let Some(message) = self.messages.get(*sent)
                    && let Poll::Ready(queued) = sending
                        .get_or_insert_with(|| self.client.span(Operation::Send))
                        .polled(|| {
                            let by = TransportSend::poll_send;
                            let queued = line.poll_send(message, by, &mut waiting[0], cx);
                            queued.map_ok(Given)
                        })
                {
                    moved = true;
                    sending = None;
                    looked = !line.is_of_packets();
                    match queued {
                        Ok(Given(generation)) => {
                            slots.push_back(*sent);
                            awaited.generations.push_back(generation);
                        }
                        // There is no connection, and none for those behind it.
                        Err(error) if !error.is_message() && line.has_failed_since(begun) => {
                            results[*sent..].fill_with(|| Some(Err(error.clone())));
                            *sent = results.len() - 1;
                        }
                        Err(error) => results[*sent] = Some(Err(error)),
                    }
                    *sent += 1;
                }
                if let Some(&slot) = slots.front()
                    && let Poll::Ready(reply) = receiving
                        .get_or_insert_with(|| self.client.span(Operation::Recv))
                        .polled(|| awaited.poll_reply(&mut waiting[1], cx).map_ok(Given))
                {
                    moved = true;
                    receiving = None;
                    results[slot] = Some(reply.map(|Given(reply)| reply));
                    slots.pop_front();
                    awaited.generations.pop_front();
                }
                if *sent == self.messages.len() && slots.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                if !moved {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

impl<'a, S, R> IntoFuture for CallAll<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    type Output = Vec<Result<R, Error>>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

impl<S, R> fmt::Debug for CallAll<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallAll")
            .field("messages", &self.messages.len())
            .field("max_in_flight", &self.max_in_flight)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
