use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bowline_codec::MessageCodec;
use bowline_concurrency::sleep;

use super::link::{Link, Waiting};
use super::peer::PacketPeer;
use super::state::State;
use crate::datagram::DatagramSocket;
use crate::error::{Error, Operation};
use crate::span::OperationSpan;

/// The packets of one peer, for the handler that runs for it.
pub struct Packets<S, C> {
    pub(super) peer: PacketPeer<S, C>,
    state: Arc<State>,
    /// The handler's run that it is for; afterwards there is nothing in it.
    run: u64,
}

impl<S, C> Packets<S, C> {
    pub(super) fn new(peer: PacketPeer<S, C>, state: Arc<State>, run: u64) -> Self {
        Packets { peer, state, run }
    }

    /// The same packets, for a handler that takes them by value.
    pub(super) fn again(&self) -> Self {
        Packets::new(self.peer.clone(), self.state.clone(), self.run)
    }

    /// Whether the server receives no more: what waits is still handed out.
    pub fn is_draining(&self) -> bool {
        self.state.serving.stopping().is_set()
    }

    /// How many packets wait.
    pub fn waiting(&self) -> usize {
        self.peer.link().waiting().0
    }
}

impl<S: DatagramSocket, C: MessageCodec> Packets<S, C> {
    /// Waits for the next packet of the peer, in the order in which they came, and decodes it here.
    ///
    /// Descriptors that came with it are closed; `recv_with` gives them.
    ///
    /// `None` once none came for [`peer_idle`](crate::PacketLimits::peer_idle), or none waits and
    /// the server receives no more, or another peer wants the place of the one that was heard longest ago
    /// ([`max_peers`](crate::PacketLimits::max_peers)): the handler is to return. A packet that comes after all begins
    /// it again.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) where the codec refused the packet, or it was cut; the
    /// next call goes on, and the handler may answer.
    ///
    /// # Panics
    ///
    /// Where it has to wait and no backend runs on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a packet is taken in the poll that returns.
    pub async fn recv(&mut self) -> Result<Option<C::Received>, Error> {
        let span = OperationSpan::new(Operation::Recv, || Some(self.peer.peer_addr().clone()));
        let received = async {
            match self.next().await {
                Some(packet) => self.decode(&packet).map(Some),
                None => Ok(None),
            }
        };
        span.around(received).await
    }

    /// The next packet, which is taken with that.
    pub(super) async fn next(&self) -> Option<Waiting> {
        let link = self.peer.link();
        let mut stopping = pin!(self.state.serving.stopping().wait());
        // The clock is asked only once something waits.
        let mut idle = pin!(None);
        let _waiting = Waits(link, self.run);
        let taken = poll_fn(|cx| {
            if let Poll::Ready(taken) = link.poll_pop(self.run, cx) {
                return Poll::Ready(taken);
            }
            if stopping.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            if idle.is_none() {
                idle.set(Some(sleep(self.state.limits.peer_idle)));
            }
            match idle.as_mut().as_pin_mut() {
                Some(idle) => idle.poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await;
        if taken.is_some() {
            self.state.counters.taken.one();
        }
        taken
    }

    pub(super) fn decode(&self, packet: &Waiting) -> Result<C::Received, Error> {
        let endpoint = self.peer.endpoint(Operation::Recv)?;
        let message = endpoint.decode(packet.truncated, &packet.bytes);
        message.map_err(|error| error.with_peer(Some(self.peer.peer_addr().clone())))
    }
}

/// A wait of a run; one that was dropped waits no more.
struct Waits<'a>(&'a Link, u64);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.stop_waiting(self.1);
    }
}

impl<S, C> fmt::Debug for Packets<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packets")
            .field("peer", self.peer.peer_addr())
            .field("waiting", &self.waiting())
            .finish_non_exhaustive()
    }
}
