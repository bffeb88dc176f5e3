//! A transport whose type is not known: what comes out of a table of transports.

mod erased;
mod halves;

pub use halves::{DynReceiver, DynSender, LentReceiver, LentSender};

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;

use self::erased::Erased;
use crate::attribute::{AttributeRequest, Extra, PeerAddr};
use crate::error::{Error, Operation};
use crate::span::OperationSpan;
use crate::transport::{Transport, waits};

/// The future of an operation of a transport whose type is not known.
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any [`Transport`] that sends `S` and receives `R`, in a box.
///
/// The same operations, each by one call through a table; `connect` and `close` allocate their
/// future. [`split`](Transport::split) allocates what it lends,
/// [`into_split`](Transport::into_split) once.
///
/// # Examples
///
/// ```
/// use bowline_codec::Lines;
/// use bowline_transport::{DynTransport, MemoryStream, MessageStream, Transport};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let (here, there) = MemoryStream::pair();
/// let lines = || Lines::lf().text();
/// let mut ends: Vec<DynTransport<String, String>> = vec![
///     DynTransport::new(MessageStream::new(here, lines())),
///     DynTransport::new(MessageStream::new(there, lines())),
/// ];
/// ends[0].send(&"hello".to_owned()).await?;
/// assert_eq!(ends[1].recv().await?.as_deref(), Some("hello"));
/// # Ok::<(), bowline_transport::Error>(())
/// # }).expect("nothing waits").unwrap();
/// ```
#[must_use = "dropped without `close` it aborts the connection"]
pub struct DynTransport<S, R> {
    inner: Box<dyn Erased<S, R>>,
}

impl<S, R> DynTransport<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Boxes `transport`.
    pub fn new<T>(transport: T) -> Self
    where
        T: Transport<Sent = S, Received = R> + 'static,
    {
        DynTransport {
            inner: Box::new(transport),
        }
    }
}

impl<S, R> Extra for DynTransport<S, R> {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.inner.provide(request);
    }
}

impl<S, R> Transport for DynTransport<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    type Sent = S;
    type Received = R;
    type Sender<'a> = LentSender<'a, S>;
    type Receiver<'a> = LentReceiver<'a, R>;
    type SendHalf = DynSender<S, R>;
    type RecvHalf = DynReceiver<R>;

    fn connect(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        self.inner.connect()
    }

    fn split(&mut self) -> (LentSender<'_, S>, LentReceiver<'_, R>) {
        let (sender, receiver) = self.inner.lend();
        (LentSender(sender), LentReceiver(receiver))
    }

    fn into_split(self) -> (DynSender<S, R>, DynReceiver<R>) {
        self.inner.into_halves()
    }

    fn reunite(
        sender: DynSender<S, R>,
        receiver: DynReceiver<R>,
    ) -> Result<Self, (DynSender<S, R>, DynReceiver<R>)> {
        let reunite = sender.reunite;
        reunite(sender, receiver).map(|inner| DynTransport { inner })
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        self.inner.close()
    }

    fn abort(&mut self) {
        self.inner.abort();
    }

    // Lent halves keep nothing of their own, so each poll may have new ones: no allocation.

    async fn send(&mut self, message: &S) -> Result<(), Error> {
        let span = OperationSpan::new(Operation::Send, || self.extra::<PeerAddr>());
        let sending = waits(&mut *self.inner, Erased::stop_sending, |inner, cx| {
            inner.poll_send(cx, message)
        });
        span.around(sending).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.inner.poll_flush(cx)).await
    }

    async fn recv(&mut self) -> Result<Option<R>, Error> {
        let span = OperationSpan::new(Operation::Recv, || self.extra::<PeerAddr>());
        let receiving = waits(&mut *self.inner, Erased::stop_receiving, |inner, cx| {
            inner.poll_recv(cx)
        });
        span.around(receiving).await
    }
}

impl<S, R> fmt::Debug for DynTransport<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = crate::attribute::Attributes::of(self);
        f.debug_struct("DynTransport")
            .field("local", &known.local_addr())
            .field("peer", &known.peer_addr())
            .finish_non_exhaustive()
    }
}
