//! The side that dials: connects when it is needed, and again where that was asked for.

mod awaited;
mod board;
mod call;
mod datagram_target;
mod dialling;
mod lazy;
mod line;
mod messages;
mod permit;
mod recv;
mod setup;
mod target;

pub use board::ClientState;
pub use call::CallAll;
pub use datagram_target::DatagramTarget;
pub(crate) use lazy::{Broken, lazy};
pub use messages::ClientMessages;
pub use permit::ClientPermit;
pub use target::ClientTarget;

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_backend::stream::Address;
use bowline_channel::WatchReceiver;
use bowline_concurrency::Backoff;
use bowline_concurrency::sync::{Event, Lock, LockGuard, ResourceGuard};

use self::line::{Line, Queued, SendBy, Waiting};
use crate::attribute::{AttributeRequest, Extra};
use crate::ended::unless_closed;
use crate::error::{Error, ErrorKind, Operation};
use crate::half_wakers::Half;
use crate::span::OperationSpan;
use crate::transport::{TransportSend, TrySendError};

/// Pauses between attempts to connect again, unless others are asked for.
pub(crate) const RECONNECT: Backoff =
    Backoff::exponential(Duration::from_millis(100)).max(Duration::from_secs(30));

/// Somebody to talk to: a transport that dials by itself, for any number of tasks.
///
/// Nothing is dialled until the first use, which all who come meanwhile share: one attempt, one
/// connection, one error. Clones are the same client. Senders take turns in the order in which they
/// came; one task at a time receives, a second one is [`Busy`](ErrorKind::Busy).
///
/// A client does nothing in the background: connecting, writing what is queued and connecting again
/// are done by whoever uses it meanwhile, and an attempt that nobody waits for any more is dropped.
///
/// # Calls that are given up
///
/// So who uses a client alone, and gives up sooner than a connection can be made, never gets one: each
/// time the attempt goes with the call, as [`timeout`](bowline_concurrency::timeout) or a
/// [`BlockingClient`](crate::BlockingClient) with a limit has it. Either such a limit is longer than
/// connecting may take, its TLS handshake included, which is 10 s unless `connect_timeout` of a URL or a
/// [`TcpConnector`](crate::TcpConnector) says otherwise, and as much again where there is an
/// [`on_connect`](Client::on_connect); or somebody else waits meanwhile, in a task of
/// the program's: `group.spawn(async move { client.connect().await })`, or one that receives.
///
/// # Connections that break
///
/// By default that is the end: every later operation says so. With [`reconnect`](Client::reconnect)
/// the next use makes another connection, after a pause. What was queued and not written is **not**
/// sent again, since the peer may have it: [`recv`](Client::recv) returns
/// [`Broken`](ErrorKind::Broken), or [`Ended`](ErrorKind::Ended), once for each break, with the
/// [number of frames](Error::unsent_frames) concerned, and then goes on with the next connection;
/// sends wait for it. Breaks without a message between them are returned as one, if nobody received
/// meanwhile; one that costs a [`call`](Client::call) its reply is that call's error instead. A call that is given
/// up drops its connection, with whatever was queued there or subscribed to: `recv` returns that as a break. Where attempts are given up, everything is
/// [`NotConnected`](ErrorKind::NotConnected) from then on, with the last cause as its source.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_backend::net::TcpListener;
/// use bowline_codec::Lines;
/// use bowline_transport::{Client, MessageStream, Transport};
///
/// # Backend::Smol.block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
/// let client = Client::new(listener.local_addr().unwrap(), || Lines::lf().text());
///
/// client.send(&"hello".to_owned()).await?; // connects
///
/// let (stream, _) = listener.accept().await.unwrap();
/// let mut peer = MessageStream::new(stream, Lines::lf().text());
/// assert_eq!(peer.recv().await?.as_deref(), Some("hello"));
/// client.close().await?;
/// # Ok::<(), bowline_transport::Error>(())
/// # }).unwrap();
/// # }
/// ```
#[must_use = "a client dials when it is used, and aborts when its last clone is dropped"]
pub struct Client<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    parts: Arc<Parts<S, R>>,
    /// What was queued by this clone.
    queued: Arc<Queued>,
}

struct Parts<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    line: Line<S, R>,
    /// Whoever has it may send.
    turn: Lock<()>,
    /// Whoever is in it may receive.
    receiving: ResourceGuard,
    /// Set once the client is closed or aborted: wakes all who wait for their turn.
    closed: Event,
}

impl<S, R> Client<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Waits until there is a connection.
    ///
    /// # Errors
    ///
    /// Why there is none, also where there was one that broke and is not replaced;
    /// [`Closed`](ErrorKind::Closed) once somebody closed the client.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: the attempt goes on for others who wait, else it is dropped.
    pub async fn connect(&self) -> Result<(), Error> {
        if self.line().is_ready(Operation::Connect)? {
            return Ok(());
        }
        let _user = self.line().enter();
        let mut waiting = self.line().waiting();
        let _turn = self.turn(Operation::Connect).await?;
        poll_fn(|cx| {
            let operation = Operation::Connect;
            self.line()
                .poll_ready(Half::Sender, operation, &mut waiting, cx)
        })
        .await
    }

    /// Waits for this task's turn, a connection and room for one message.
    ///
    /// The turn ends with the permit: others wait for as long as it is kept.
    ///
    /// # Errors
    ///
    /// As [`send`](Client::send).
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn reserve(&self) -> Result<ClientPermit<'_, S, R>, Error> {
        let _user = self.line().enter();
        let mut waiting = self.line().waiting();
        let turn = self.turn(Operation::Send).await?;
        poll_fn(|cx| self.line().poll_reserve(&mut waiting, cx)).await?;
        Ok(ClientPermit {
            client: self,
            _turn: turn,
        })
    }

    /// Waits for this task's turn, a connection and room, then queues the message and tries to write
    /// it.
    ///
    /// `Ok` means queued on a connection. What could not be written at once goes out with the next
    /// `send` or `flush`, or while somebody receives.
    ///
    /// # Errors
    ///
    /// Why there is no connection; [`Broken`](ErrorKind::Broken) where it failed and is not replaced;
    /// [`Closed`](ErrorKind::Closed) once somebody closed the client; the codec's, whereupon
    /// nothing was queued.
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn send(&self, message: &S) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Send, || self.peer_addr());
        span.around(self.send_by(message, TransportSend::poll_send))
            .await
    }

    /// [`send`](Client::send) without the write, for many messages in one: they go out with the next
    /// `send` or [`flush`](Client::flush), or when a `recv` finds no message that was read already.
    /// Of many the first go out earlier, as with [`TransportSend::feed`](crate::TransportSend::feed).
    ///
    /// # Errors
    ///
    /// As [`send`](Client::send).
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn feed(&self, message: &S) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Send, || self.peer_addr());
        span.around(self.send_by(message, TransportSend::poll_feed))
            .await
    }

    /// Queues the message if it is nobody else's turn and there is a connection with room now. It makes
    /// no connection: [`connect`](Client::connect) does.
    ///
    /// # Errors
    ///
    /// [`TrySendError::Busy`] while another task sends, [`TrySendError::Full`] where there is no
    /// connection or no room, else as `send`.
    pub fn try_send(&self, message: &S) -> Result<(), TrySendError> {
        let _user = self.line().enter();
        let Ok(_turn) = self.parts.turn.try_lock() else {
            return Err(match self.parts.closed.is_set() {
                true => TrySendError::Failed(self.closed_error(Operation::Send)),
                false => TrySendError::Busy,
            });
        };
        let mut waiting = Waiting::Never;
        let mut cx = Context::from_waker(Waker::noop());
        match self
            .line()
            .poll_send(message, TransportSend::poll_send, &mut waiting, &mut cx)
        {
            Poll::Pending => Err(TrySendError::Full),
            Poll::Ready(Ok(generation)) => {
                self.queued.on(generation);
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(TrySendError::Failed(error)),
        }
    }

    /// Waits until all that was queued has been handed to the stream of its connection. Where there is
    /// no connection there is nothing to wait for.
    ///
    /// # Errors
    ///
    /// [`Broken`](ErrorKind::Broken), saying how many frames were not, also where another connection
    /// follows, or is there already: what this clone of the client queued on one that went before it
    /// was all written is told once, and may have been sent. Tasks that send by one clone are told
    /// together, so that one learns of it for all. [`Closed`](ErrorKind::Closed) once somebody closed
    /// the client.
    ///
    /// # Cancel safety
    ///
    /// *Place in queue lost*; else *nothing happened*.
    pub async fn flush(&self) -> Result<(), Error> {
        let _turn = self.turn(Operation::Flush).await?;
        poll_fn(|cx| self.line().poll_flush(&self.queued, cx)).await
    }

    /// Flushes and ends the sending side; receiving goes on to the end of this connection, which is
    /// the last one. Later sends are [`Closed`](ErrorKind::Closed).
    ///
    /// # Errors
    ///
    /// As [`flush`](Client::flush), or why there is no connection.
    ///
    /// # Cancel safety
    ///
    /// No further message is accepted once it had its turn and a connection; call it again to wait
    /// for the rest.
    pub async fn shutdown(&self) -> Result<(), Error> {
        let _user = self.line().enter();
        let mut waiting = self.line().waiting();
        let _turn = self.turn(Operation::Shutdown).await?;
        poll_fn(|cx| self.line().poll_shutdown(&self.queued, &mut waiting, cx)).await
    }

    /// Ends everything: flushes, ends the sending side and releases the connection, or gives up the
    /// attempt to make one. Whoever waits for something else is told at once; a second `close` waits
    /// for the first, and has its result.
    ///
    /// # Errors
    ///
    /// As [`Transport::close`](crate::Transport::close); [`Closed`](ErrorKind::Closed) where it was
    /// aborted before all was written.
    ///
    /// # Cancel safety
    ///
    /// A `close` dropped half-way is an [`abort`](Client::abort).
    pub async fn close(&self) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Close, || self.peer_addr());
        let closing = self.line().close();
        self.parts.closed.set();
        span.around(closing).await
    }

    /// Gives up now; a TCP peer sees a reset.
    pub fn abort(&self) {
        self.line().abort();
        self.parts.closed.set();
    }

    /// Where the client stands, for whoever wants to watch it: in the order of what happened, though
    /// states that were left at once may be passed over. After [`Closed`](ClientState::Closed) there is
    /// none.
    pub fn state(&self) -> WatchReceiver<ClientState> {
        self.line().dialling().board.subscribe()
    }

    /// Our address on the latest connection.
    pub fn local_addr(&self) -> Option<Address> {
        self.line().attributes().local_addr().cloned()
    }

    /// Who is at the other end of the latest connection.
    pub fn peer_addr(&self) -> Option<Address> {
        self.line().attributes().peer_addr().cloned()
    }

    fn line(&self) -> &Line<S, R> {
        &self.parts.line
    }

    /// Waits for this task's turn and for room, and queues by one way or the other.
    async fn send_by(&self, message: &S, by: SendBy<S, R>) -> Result<(), Error> {
        let _user = self.line().enter();
        let mut waiting = self.line().waiting();
        let _turn = self.turn(Operation::Send).await?;
        let sent = poll_fn(|cx| self.line().poll_send(message, by, &mut waiting, cx)).await;
        self.queued.on(sent?);
        Ok(())
    }

    /// This clone again, for somebody who flushes what another one queued.
    pub(crate) fn same(&self) -> Self {
        Client {
            parts: self.parts.clone(),
            queued: self.queued.clone(),
        }
    }

    /// Waits until it is this task's turn to send.
    async fn turn(&self, operation: Operation) -> Result<LockGuard<'_, ()>, Error> {
        let turn = unless_closed(&self.parts.closed, self.parts.turn.lock()).await;
        turn.ok_or_else(|| self.closed_error(operation))
    }

    fn closed_error(&self, operation: Operation) -> Error {
        Error::new(operation, ErrorKind::Closed).with_peer(self.peer_addr())
    }
}

impl<S, R> Clone for Client<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn clone(&self) -> Self {
        Client {
            parts: self.parts.clone(),
            queued: Arc::default(),
        }
    }
}

impl<S, R> Extra for Client<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.line().attributes().provide(request);
    }
}

impl<S, R> fmt::Debug for Client<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("state", &self.state().latest())
            .field("peer", &self.peer_addr())
            .finish_non_exhaustive()
    }
}
