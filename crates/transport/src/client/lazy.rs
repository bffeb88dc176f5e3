//! A transport that connects when it is first used: a line for one user.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bowline_backend::stream::Address;
use bowline_codec::EncodeError;

use super::RECONNECT;
use super::dialling::Dial;
use super::line::{Line, NotQueued, QueueBy, Queued, SendBy, Source, Waiting};
use crate::attribute::{AttributeRequest, Extra};
use crate::dyn_transport::DynTransport;
use crate::error::{Error, Operation};
use crate::half_wakers::Half;
use crate::transport::{Transport, TransportRecv, TransportSend, TryRecvError, TrySendError};

/// Whether a connection that breaks is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Stays,
    IsReplaced,
}

/// What comes out of a table of transports: it dials when it is used.
/// One dial takes no longer than `limit`.
pub(crate) fn lazy<S, R>(dial: Dial<S, R>, limit: Duration, broken: Broken) -> DynTransport<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    let line = Line::new(dial);
    line.dialling().set(|setup| setup.limit = Some(limit));
    if broken == Broken::IsReplaced {
        line.dialling().set(|setup| setup.backoff = Some(RECONNECT));
        line.set_reconnects();
    }
    let shared = Arc::new(Parts {
        line,
        whole: AtomicBool::new(true),
    });
    DynTransport::new(LazyTransport {
        sender: LazySender {
            parts: shared.clone(),
            waiting: Waiting::Begins,
            queued: Queued::default(),
        },
        receiver: LazyReceiver {
            parts: shared,
            waiting: Waiting::Begins,
        },
    })
}

struct Parts<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    line: Line<S, R>,
    /// Both halves are in one value: dropping the sender ends nothing by itself.
    whole: AtomicBool,
}

struct LazyTransport<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    sender: LazySender<S, R>,
    receiver: LazyReceiver<S, R>,
}

struct LazySender<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    parts: Arc<Parts<S, R>>,
    waiting: Waiting,
    queued: Queued,
}

struct LazyReceiver<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    parts: Arc<Parts<S, R>>,
    waiting: Waiting,
}

impl<S, R> Extra for LazyTransport<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.sender.parts.line.attributes().provide(request);
    }
}

impl<S, R> Transport for LazyTransport<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    type Sent = S;
    type Received = R;
    type Sender<'a> = &'a mut LazySender<S, R>;
    type Receiver<'a> = &'a mut LazyReceiver<S, R>;
    type SendHalf = LazySender<S, R>;
    type RecvHalf = LazyReceiver<S, R>;

    async fn connect(&mut self) -> Result<(), Error> {
        let line = &self.sender.parts.line;
        let _user = line.enter();
        let mut waiting = line.waiting();
        poll_fn(|cx| line.poll_ready(Half::Sender, Operation::Connect, &mut waiting, cx)).await
    }

    fn split(&mut self) -> (Self::Sender<'_>, Self::Receiver<'_>) {
        (&mut self.sender, &mut self.receiver)
    }

    fn into_split(self) -> (LazySender<S, R>, LazyReceiver<S, R>) {
        self.sender.parts.whole.store(false, Ordering::Relaxed);
        (self.sender, self.receiver)
    }

    fn reunite(
        sender: LazySender<S, R>,
        receiver: LazyReceiver<S, R>,
    ) -> Result<Self, (LazySender<S, R>, LazyReceiver<S, R>)> {
        if !Arc::ptr_eq(&sender.parts, &receiver.parts) {
            return Err((sender, receiver));
        }
        sender.parts.whole.store(true, Ordering::Relaxed);
        Ok(LazyTransport { sender, receiver })
    }

    async fn close(&mut self) -> Result<(), Error> {
        self.sender.parts.line.close().await
    }

    fn abort(&mut self) {
        self.sender.parts.line.abort();
    }
}

impl<S, R> LazySender<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Waits for a connection with room, and queues in the same poll on whichever that is.
    fn poll_send_by(
        &mut self,
        cx: &mut Context<'_>,
        message: &S,
        by: SendBy<S, R>,
    ) -> Poll<Result<(), Error>> {
        let (line, waiting) = (&self.parts.line, &mut self.waiting);
        let generation = ready!(line.poll_send(message, by, waiting, cx))?;
        self.queued.on(generation);
        Poll::Ready(Ok(()))
    }

    /// Queues on the connection that there was room on a moment ago.
    fn queue_by(&mut self, message: &S, by: QueueBy<S, R>) -> Result<(), EncodeError> {
        let line = &self.parts.line;
        match line.queue(message, by) {
            Ok(generation) => {
                self.queued.on(generation);
                Ok(())
            }
            Err(NotQueued::Refused(error)) => Err(error),
            // Whoever holds a permit learns of it by the next flush or shutdown.
            Err(NotQueued::Gone(_)) => {
                line.note_lost();
                Ok(())
            }
        }
    }
}

impl<S, R> TransportSend<S> for LazySender<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.parts.line.poll_reserve(&mut self.waiting, cx)
    }

    fn queue(&mut self, message: &S) -> Result<(), EncodeError> {
        self.queue_by(message, TransportSend::queue)
    }

    fn queue_only(&mut self, message: &S) -> Result<(), EncodeError> {
        self.queue_by(message, TransportSend::queue_only)
    }

    fn try_send(&mut self, message: &S) -> Result<(), TrySendError> {
        let (line, waiting) = (&self.parts.line, &mut Waiting::Never);
        let mut cx = Context::from_waker(Waker::noop());
        match line.poll_send(message, TransportSend::poll_send, waiting, &mut cx) {
            Poll::Pending => Err(TrySendError::Full),
            Poll::Ready(sent) => {
                self.queued.on(sent.map_err(TrySendError::Failed)?);
                Ok(())
            }
        }
    }

    fn stop_waiting(&mut self) {
        self.waiting = Waiting::Begins;
        self.parts.line.stop_waiting(Half::Sender);
    }

    fn peer(&self) -> Option<Address> {
        self.parts.line.attributes().peer_addr().cloned()
    }

    fn ends_with(&self, error: &Error) -> bool {
        self.parts.line.sending_ends_with(error)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>> {
        self.poll_send_by(cx, message, TransportSend::poll_send)
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>> {
        self.poll_send_by(cx, message, TransportSend::poll_feed)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.parts.line.poll_flush(&self.queued, cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let line = &self.parts.line;
        line.poll_shutdown(&self.queued, &mut self.waiting, cx)
    }
}

impl<S, R> Drop for LazySender<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        if !self.parts.whole.load(Ordering::Relaxed) {
            self.parts.line.drop_sender();
        }
    }
}

impl<S, R> TransportRecv<R> for LazyReceiver<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, Error>> {
        let line = &self.parts.line;
        line.poll_recv(Source::Any, &mut self.waiting, cx)
    }

    fn try_recv(&mut self) -> Result<Option<R>, TryRecvError> {
        let line = &self.parts.line;
        let mut cx = Context::from_waker(Waker::noop());
        match line.poll_recv(Source::Any, &mut Waiting::Never, &mut cx) {
            Poll::Pending => Err(TryRecvError::Empty),
            Poll::Ready(received) => received.map_err(TryRecvError::Failed),
        }
    }

    fn stop_waiting(&mut self) {
        self.waiting = Waiting::Begins;
        self.parts.line.stop_waiting(Half::Receiver);
    }

    fn ends_with(&self, error: &Error) -> bool {
        self.parts.line.ends_with(error)
    }

    fn peer(&self) -> Option<Address> {
        self.parts.line.attributes().peer_addr().cloned()
    }
}

impl<S, R> Drop for LazyReceiver<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        self.parts.line.stop_waiting(Half::Receiver);
    }
}
