use std::fmt;
use std::task::{Context, Poll};

use bowline_backend::stream::Address;
use bowline_codec::EncodeError;

use super::erased::{ErasedRecv, ErasedSend, OwnedRecv, OwnedSend, Reunite};
use crate::error::Error;
use crate::transport::{TransportRecv, TransportSend, TryRecvError, TrySendError};

/// The sending half of a [`DynTransport`](super::DynTransport), as a value of its own.
#[must_use = "dropping the sender ends the sending side"]
pub struct DynSender<S, R> {
    pub(super) half: Box<dyn OwnedSend<S>>,
    pub(super) reunite: Reunite<S, R>,
}

/// The receiving half of a [`DynTransport`](super::DynTransport), as a value of its own.
#[must_use = "the connection ends once both halves are dropped"]
pub struct DynReceiver<R> {
    pub(super) half: Box<dyn OwnedRecv<R>>,
}

/// The sending half of a [`DynTransport`](super::DynTransport), lent.
#[must_use = "it sends what it is told to"]
pub struct LentSender<'a, S>(pub(super) Box<dyn ErasedSend<S> + 'a>);

/// The receiving half of a [`DynTransport`](super::DynTransport), lent.
#[must_use = "it receives what it is asked for"]
pub struct LentReceiver<'a, R>(pub(super) Box<dyn ErasedRecv<R> + 'a>);

impl<S: Send + Sync + 'static, R: Send + 'static> TransportSend<S> for DynSender<S, R> {
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.half.poll_reserve(cx)
    }

    fn queue(&mut self, message: &S) -> Result<(), EncodeError> {
        self.half.queue(message)
    }

    fn queue_only(&mut self, message: &S) -> Result<(), EncodeError> {
        self.half.queue_only(message)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>> {
        self.half.poll_send(cx, message)
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>> {
        self.half.poll_feed(cx, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.half.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.half.poll_shutdown(cx)
    }

    fn try_send(&mut self, message: &S) -> Result<(), TrySendError> {
        self.half.try_send(message)
    }

    fn stop_waiting(&mut self) {
        self.half.stop_waiting();
    }

    fn peer(&self) -> Option<Address> {
        self.half.peer()
    }

    fn ends_with(&self, error: &Error) -> bool {
        self.half.ends_with(error)
    }
}

impl<S: Send + Sync> TransportSend<S> for LentSender<'_, S> {
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_reserve(cx)
    }

    fn queue(&mut self, message: &S) -> Result<(), EncodeError> {
        self.0.queue(message)
    }

    fn queue_only(&mut self, message: &S) -> Result<(), EncodeError> {
        self.0.queue_only(message)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>> {
        self.0.poll_send(cx, message)
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>> {
        self.0.poll_feed(cx, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_shutdown(cx)
    }

    fn try_send(&mut self, message: &S) -> Result<(), TrySendError> {
        self.0.try_send(message)
    }

    fn stop_waiting(&mut self) {
        self.0.stop_waiting();
    }

    fn peer(&self) -> Option<Address> {
        self.0.peer()
    }

    fn ends_with(&self, error: &Error) -> bool {
        self.0.ends_with(error)
    }
}

impl<R: Send + 'static> TransportRecv<R> for DynReceiver<R> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, Error>> {
        self.half.poll_recv(cx)
    }

    fn try_recv(&mut self) -> Result<Option<R>, TryRecvError> {
        self.half.try_recv()
    }

    fn stop_waiting(&mut self) {
        self.half.stop_waiting();
    }

    fn ends_with(&self, error: &Error) -> bool {
        self.half.ends_with(error)
    }

    fn unsent_frames(&self) -> usize {
        self.half.unsent_frames()
    }

    fn peer(&self) -> Option<Address> {
        self.half.peer()
    }
}

impl<R: Send> TransportRecv<R> for LentReceiver<'_, R> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, Error>> {
        self.0.poll_recv(cx)
    }

    fn try_recv(&mut self) -> Result<Option<R>, TryRecvError> {
        self.0.try_recv()
    }

    fn stop_waiting(&mut self) {
        self.0.stop_waiting();
    }

    fn ends_with(&self, error: &Error) -> bool {
        self.0.ends_with(error)
    }

    fn unsent_frames(&self) -> usize {
        self.0.unsent_frames()
    }

    fn peer(&self) -> Option<Address> {
        self.0.peer()
    }
}

impl<S, R> fmt::Debug for DynSender<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DynSender")
    }
}

impl<R> fmt::Debug for DynReceiver<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DynReceiver")
    }
}

impl<S> fmt::Debug for LentSender<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LentSender")
    }
}

impl<R> fmt::Debug for LentReceiver<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LentReceiver")
    }
}
