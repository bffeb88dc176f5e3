//! One connection of a line.

use bowline_backend::time::Instant;

use crate::dyn_transport::{DynReceiver, DynSender, DynTransport};
use crate::error::Error;
use crate::transport::Transport;

/// The halves of a transport. Dropped with both of them in it, it aborts.
pub(super) struct Connection<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) generation: u64,
    /// Absent while lent; of an old connection for good.
    pub(super) sender: Option<DynSender<S, R>>,
    /// Absent while lent.
    pub(super) receiver: Option<DynReceiver<R>>,
    /// Each message is a packet: what waits before a call is sent is no reply to it.
    pub(super) of_packets: bool,
    /// When it was made, where somebody wants to know.
    pub(super) since: Option<Instant>,
    /// Something was received on it: whoever is there answers.
    pub(super) heard: bool,
    /// What the sending side broke with.
    pub(super) broken: Option<Error>,
    /// More can follow, its receiver said, though its last error is one that ends others.
    pub(super) goes_on: bool,
    /// What ended it, where it is not replaced.
    pub(super) over: Option<Error>,
}

impl<S, R> Connection<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) fn new(
        (sender, receiver): (DynSender<S, R>, DynReceiver<R>),
        since: Option<Instant>,
    ) -> Self {
        Connection {
            generation: 0,
            sender: Some(sender),
            receiver: Some(receiver),
            of_packets: false,
            since,
            heard: false,
            broken: None,
            goes_on: false,
            over: None,
        }
    }

    /// The transport, if no half of it is lent.
    pub(super) fn take_whole(&mut self) -> Option<DynTransport<S, R>> {
        if self.sender.is_none() || self.receiver.is_none() {
            return None;
        }
        let (sender, receiver) = self.sender.take().zip(self.receiver.take())?;
        // They are of one; of two, they would be dropped, which aborts.
        DynTransport::reunite(sender, receiver).ok()
    }
}

impl<S, R> Drop for Connection<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        if let Some(mut whole) = self.take_whole() {
            whole.abort();
        }
    }
}
