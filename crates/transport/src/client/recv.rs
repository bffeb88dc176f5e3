//! The receiving side of a client.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bowline_concurrency::sync::Entered;

use super::line::{Source, Waiting};
use super::{Client, ClientMessages};
use crate::error::{Error, ErrorKind, Operation};
use crate::span::OperationSpan;
use crate::transport::TryRecvError;

impl<S, R> Client<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Waits for the next message; `None` once the peer ended between two of them and there will be
    /// no other connection.
    ///
    /// # Errors
    ///
    /// As [`TransportRecv::recv`](crate::TransportRecv::recv), and why there is no connection;
    /// [`Busy`](ErrorKind::Busy) while another task receives; [`Closed`](ErrorKind::Closed) once
    /// somebody closed the client. Where connections are replaced, each break is returned once; so is that a
    /// connection was dropped with a [`call`](Client::call) that was given up.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened.*
    pub async fn recv(&self) -> Result<Option<R>, Error> {
        let span = OperationSpan::new(Operation::Recv, || self.peer_addr());
        span.around(self.recv_alone()).await
    }

    /// The next message if it is there now.
    ///
    /// # Errors
    ///
    /// [`TryRecvError::Empty`] where `recv` would wait, also for a connection; else as `recv`.
    pub fn try_recv(&self) -> Result<Option<R>, TryRecvError> {
        let entered = self.enter_receiving();
        let _entered = entered.map_err(TryRecvError::Failed)?;
        let _user = self.line().enter();
        let mut waiting = Waiting::Never;
        let mut cx = Context::from_waker(Waker::noop());
        match self.line().poll_recv(Source::Any, &mut waiting, &mut cx) {
            Poll::Pending => Err(TryRecvError::Empty),
            Poll::Ready(received) => received.map_err(TryRecvError::Failed),
        }
    }

    /// What comes in, as a stream. An error is an item, also the one after which there is nothing
    /// more: then the stream ends.
    pub fn messages(&self) -> ClientMessages<'_, S, R> {
        ClientMessages::new(self)
    }

    async fn recv_alone(&self) -> Result<Option<R>, Error> {
        let _entered = self.enter_receiving()?;
        let _user = self.line().enter();
        let mut waiting = self.line().waiting();
        poll_fn(|cx| self.line().poll_recv(Source::Any, &mut waiting, cx)).await
    }

    pub(super) fn enter_receiving(&self) -> Result<Entered<'_>, Error> {
        let entered = self.parts.receiving.enter();
        entered.map_err(|busy| {
            Error::new(Operation::Recv, ErrorKind::Busy)
                .with_peer(self.peer_addr())
                .with_source(busy)
        })
    }
}
