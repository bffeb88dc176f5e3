use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bowline_concurrency::yield_now;

use super::link::{Link, Seen};
use crate::error::Error;
use crate::shared_transport::Shared;
use crate::transport::{Transport, TryRecvError};

/// What a peer of a server sends: the receiving side of a connection.
pub struct Messages<T: Transport> {
    pub(super) shared: Shared<T>,
    link: Arc<Link>,
}

impl<T: Transport> Messages<T> {
    pub(super) fn new(shared: Shared<T>, link: Arc<Link>) -> Self {
        Messages { shared, link }
    }

    /// The same, for a handler that takes it by value.
    pub(super) fn again(&self) -> Self {
        Messages::new(self.shared.clone(), self.link.clone())
    }

    /// Waits for the next message; `None` once the peer ended between two of them, and, where there
    /// is none to be had now, once the server drains.
    ///
    /// # Errors
    ///
    /// As [`TransportRecv::recv`](crate::TransportRecv::recv): after a
    /// [`Decode`](crate::ErrorKind::Decode) the next call goes on.
    /// [`Elapsed`](crate::ErrorKind::Elapsed) where the peer was silent for longer than the
    /// [`idle_timeout`](crate::ServerLimits::idle_timeout); the next call waits as long once more.
    /// [`Closed`](crate::ErrorKind::Closed) once the [`Peer`](crate::Peer) was closed.
    ///
    /// An error after which nothing can come is told once, then `None`: a handler that answers every
    /// error comes to its end. One that asks yet again has heard neither, and is cancelled.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: `timeout(d, messages.recv())` loses no message.
    pub async fn recv(&mut self) -> Result<Option<T::Received>, Error> {
        self.unless_drained(self.shared.recv()).await
    }

    /// The next message if it is there now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] where `recv` would wait, else as `recv`.
    pub fn try_recv(&mut self) -> Result<Option<T::Received>, TryRecvError> {
        if self.link.is_over() {
            return Ok(None);
        }
        let received = match self.shared.try_recv() {
            Err(TryRecvError::Empty) => return Err(TryRecvError::Empty),
            Err(TryRecvError::Failed(error)) => Err(error),
            Ok(received) => Ok(received),
        };
        self.noted(received).map_err(TryRecvError::Failed)
    }

    /// Waits until the server drains: for a handler that has more to do than to receive. It borrows
    /// nothing, so that it can be awaited beside a `recv`.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<T> {
        let link = self.link.clone();
        async move { link.draining.wait().await }
    }

    /// Whether the server drains.
    pub fn is_draining(&self) -> bool {
        self.link.draining.is_set()
    }

    /// For a handler that ends with an error of `recv`: it is the peer's doing.
    pub(super) fn note_undecoded(&self) {
        self.link.note_undecoded();
    }

    /// What `recv` comes to, or `None` where that has to wait and the server drains.
    pub(super) async fn unless_drained(
        &self,
        recv: impl Future<Output = Result<Option<T::Received>, Error>>,
    ) -> Result<Option<T::Received>, Error> {
        if self.link.is_over() {
            if !self.link.tell_over() {
                return Ok(None);
            }
            let cause = "its handler receives on from a connection that is over";
            self.link.scope.cancel(cause);
            // Under a shield it goes on, and is told so again.
            yield_now().await;
            return Ok(None);
        }
        let mut recv = pin!(recv);
        let mut draining = pin!(self.link.draining.wait());
        let mut told = false;
        let received = poll_fn(|cx| {
            if !self.link.draining.is_set() {
                if let Poll::Ready(received) = recv.as_mut().poll(cx) {
                    return Poll::Ready(Some(received));
                }
                if draining.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            let heard = Arc::new(Heard::new(cx.waker()));
            let waker = Waker::from(heard.clone());
            if let Poll::Ready(received) = recv.as_mut().poll(&mut Context::from_waker(&waker)) {
                return Poll::Ready(Some(received));
            }
            // It also waits to let others run, with more of a frame at hand.
            if heard.was_woken() {
                return Poll::Pending;
            }
            // What has come may not have been told of yet: only a second time there is nothing.
            if told {
                return Poll::Ready(None);
            }
            told = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        match received {
            Some(received) => self.noted(received),
            None => {
                self.link.note(Seen::Drained);
                Ok(None)
            }
        }
    }

    fn noted(
        &self,
        received: Result<Option<T::Received>, Error>,
    ) -> Result<Option<T::Received>, Error> {
        match &received {
            Ok(Some(_)) => self.link.note_message(),
            Ok(None) => self.link.note(Seen::Ended),
            Err(error) => {
                self.link.note_error(error);
                if self.shared.ends_with(error) {
                    self.link.note_over();
                }
            }
        }
        received
    }
}

impl<T: Transport> fmt::Debug for Messages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages")
            .field("peer", &self.link.address)
            .field("draining", &self.is_draining())
            .finish_non_exhaustive()
    }
}

/// The waker of a poll, which remembers whether it was woken.
struct Heard {
    waker: Waker,
    woken: AtomicBool,
}

impl Heard {
    fn new(waker: &Waker) -> Heard {
        Heard {
            waker: waker.clone(),
            woken: AtomicBool::new(false),
        }
    }

    fn was_woken(&self) -> bool {
        self.woken.load(Ordering::Acquire)
    }
}

impl Wake for Heard {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.waker.wake_by_ref();
    }
}
