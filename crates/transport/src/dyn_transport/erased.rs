//! What a box needs of a transport and of its halves.

use std::any::Any;
use std::task::{Context, Poll};

use bowline_backend::stream::Address;
use bowline_codec::EncodeError;

use super::BoxFuture;
use super::halves::{DynReceiver, DynSender};
use crate::attribute::Extra;
use crate::error::Error;
use crate::transport::{Transport, TransportRecv, TransportSend, TryRecvError, TrySendError};

/// The two halves, as values of their own.
type Halves<S, R> = (DynSender<S, R>, DynReceiver<R>);

/// The two halves, while they are lent.
pub(super) type Lent<'a, S, R> = (Box<dyn ErasedSend<S> + 'a>, Box<dyn ErasedRecv<R> + 'a>);

pub(super) trait Erased<S, R>: Extra + Send {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>>;
    fn close(&mut self) -> BoxFuture<'_, Result<(), Error>>;
    fn abort(&mut self);
    fn lend(&mut self) -> Lent<'_, S, R>;
    fn into_halves(self: Box<Self>) -> Halves<S, R>;
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, Error>>;
    fn stop_sending(&mut self);
    fn stop_receiving(&mut self);
}

impl<T> Erased<T::Sent, T::Received> for T
where
    T: Transport<Sent: 'static, Received: 'static> + 'static,
{
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(Transport::connect(self))
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(Transport::close(self))
    }

    fn abort(&mut self) {
        Transport::abort(self);
    }

    fn lend(&mut self) -> Lent<'_, T::Sent, T::Received> {
        let (sender, receiver) = self.split();
        (Box::new(sender), Box::new(receiver))
    }

    fn into_halves(self: Box<Self>) -> Halves<T::Sent, T::Received> {
        let (sender, receiver) = Transport::into_split(*self);
        halves_of::<T>(sender, receiver)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, message: &T::Sent) -> Poll<Result<(), Error>> {
        TransportSend::poll_send(&mut self.split().0, cx, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        TransportSend::poll_flush(&mut self.split().0, cx)
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<T::Received>, Error>> {
        TransportRecv::poll_recv(&mut self.split().1, cx)
    }

    fn stop_sending(&mut self) {
        TransportSend::stop_waiting(&mut self.split().0);
    }

    fn stop_receiving(&mut self) {
        TransportRecv::stop_waiting(&mut self.split().1);
    }
}

fn halves_of<T: Transport<Sent: 'static, Received: 'static> + 'static>(
    sender: T::SendHalf,
    receiver: T::RecvHalf,
) -> Halves<T::Sent, T::Received> {
    let sender = DynSender {
        half: Box::new(sender),
        reunite: reunite::<T>,
    };
    let receiver = DynReceiver {
        half: Box::new(receiver),
    };
    (sender, receiver)
}

/// Puts boxed halves together, or gives them back.
pub(super) type Reunite<S, R> = fn(DynSender<S, R>, DynReceiver<R>) -> Reunited<S, R>;

type Reunited<S, R> = Result<Box<dyn Erased<S, R>>, Halves<S, R>>;

fn reunite<T: Transport<Sent: 'static, Received: 'static> + 'static>(
    sender: DynSender<T::Sent, T::Received>,
    receiver: DynReceiver<T::Received>,
) -> Reunited<T::Sent, T::Received> {
    if !receiver.half.as_any().is::<T::RecvHalf>() {
        return Err((sender, receiver));
    }
    let halves = (
        sender.half.into_any().downcast::<T::SendHalf>(),
        receiver.half.into_any().downcast::<T::RecvHalf>(),
    );
    let (Ok(sender), Ok(receiver)) = halves else {
        unreachable!("a boxed sender has the function of its own type");
    };
    match T::reunite(*sender, *receiver) {
        Ok(whole) => Ok(Box::new(whole)),
        Err((sender, receiver)) => Err(halves_of::<T>(sender, receiver)),
    }
}

pub(super) trait ErasedSend<S>: Send {
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    fn queue(&mut self, message: &S) -> Result<(), EncodeError>;
    fn queue_only(&mut self, message: &S) -> Result<(), EncodeError>;
    fn poll_send(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>>;
    fn poll_feed(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>>;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>>;
    fn try_send(&mut self, message: &S) -> Result<(), TrySendError>;
    fn stop_waiting(&mut self);
    fn peer(&self) -> Option<Address>;
    fn ends_with(&self, error: &Error) -> bool;
}

impl<S: Sync, X: TransportSend<S>> ErasedSend<S> for X {
    fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        TransportSend::poll_reserve(self, cx)
    }

    fn queue(&mut self, message: &S) -> Result<(), EncodeError> {
        TransportSend::queue(self, message)
    }

    fn queue_only(&mut self, message: &S) -> Result<(), EncodeError> {
        TransportSend::queue_only(self, message)
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>> {
        TransportSend::poll_send(self, cx, message)
    }

    fn poll_feed(&mut self, cx: &mut Context<'_>, message: &S) -> Poll<Result<(), Error>> {
        TransportSend::poll_feed(self, cx, message)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        TransportSend::poll_flush(self, cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        TransportSend::poll_shutdown(self, cx)
    }

    fn try_send(&mut self, message: &S) -> Result<(), TrySendError> {
        TransportSend::try_send(self, message)
    }

    fn stop_waiting(&mut self) {
        TransportSend::stop_waiting(self);
    }

    fn peer(&self) -> Option<Address> {
        TransportSend::peer(self)
    }

    fn ends_with(&self, error: &Error) -> bool {
        TransportSend::ends_with(self, error)
    }
}

pub(super) trait ErasedRecv<R>: Send {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, Error>>;
    fn try_recv(&mut self) -> Result<Option<R>, TryRecvError>;
    fn stop_waiting(&mut self);
    fn ends_with(&self, error: &Error) -> bool;
    fn unsent_frames(&self) -> usize;
    fn peer(&self) -> Option<Address>;
}

impl<R, X: TransportRecv<R>> ErasedRecv<R> for X {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<R>, Error>> {
        TransportRecv::poll_recv(self, cx)
    }

    fn try_recv(&mut self) -> Result<Option<R>, TryRecvError> {
        TransportRecv::try_recv(self)
    }

    fn stop_waiting(&mut self) {
        TransportRecv::stop_waiting(self);
    }

    fn ends_with(&self, error: &Error) -> bool {
        TransportRecv::ends_with(self, error)
    }

    fn unsent_frames(&self) -> usize {
        TransportRecv::unsent_frames(self)
    }

    fn peer(&self) -> Option<Address> {
        TransportRecv::peer(self)
    }
}

/// A half that is a value of its own, and whose type can be asked for.
pub(super) trait OwnedSend<S>: ErasedSend<S> {
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<S, X: ErasedSend<S> + 'static> OwnedSend<S> for X {
    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

pub(super) trait OwnedRecv<R>: ErasedRecv<R> {
    fn as_any(&self) -> &dyn Any;
    fn into_any(self: Box<Self>) -> Box<dyn Any>;
}

impl<R, X: ErasedRecv<R> + 'static> OwnedRecv<R> for X {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
