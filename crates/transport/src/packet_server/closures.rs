//! Handlers made of closures. Their arguments go by value: the future of a closure that borrows
//! them could not be said to be `Send`.

use std::fmt;
use std::future::Future;

use bowline_codec::MessageCodec;
use bowline_concurrency::yield_now;

use super::handler::PacketHandler;
use super::packets::Packets;
use super::peer::PacketPeer;
use crate::datagram::DatagramSocket;
use crate::each::EachError;

/// After so many messages of one peer in a row, other peers have their turn.
const BURST: usize = 32;

/// A closure for each peer.
pub(super) struct ForPeer<F>(pub(super) F);

impl<S, C, F, Fut, E> PacketHandler<S, C> for ForPeer<F>
where
    S: DatagramSocket,
    C: MessageCodec<Sent: Sync, Received: Send>,
    F: Fn(PacketPeer<S, C>, Packets<S, C>) -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), E>> + Send,
    E: fmt::Display + Send,
{
    type Error = E;

    fn handle(
        &self,
        peer: &PacketPeer<S, C>,
        packets: &mut Packets<S, C>,
    ) -> impl Future<Output = Result<(), E>> + Send {
        (self.0)(peer.clone(), packets.again())
    }
}

/// A closure for each message.
pub(super) struct ForMessage<F>(pub(super) F);

impl<S, C, F, Fut, E> PacketHandler<S, C> for ForMessage<F>
where
    S: DatagramSocket,
    C: MessageCodec<Sent: Sync, Received: Send>,
    F: Fn(PacketPeer<S, C>, C::Received) -> Fut + Send + Sync,
    Fut: Future<Output = Result<(), E>> + Send,
    E: fmt::Display + Send,
{
    type Error = EachError<E>;

    async fn handle(
        &self,
        peer: &PacketPeer<S, C>,
        packets: &mut Packets<S, C>,
    ) -> Result<(), EachError<E>> {
        // The first packet is there, for it began this. Once none is, the peer gives its place up:
        // nothing is kept for it, and its next packet begins this again.
        let mut in_a_row = 0;
        loop {
            let message = match packets.recv().await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                Err(error) => {
                    peer.link().note_undecoded();
                    return Err(EachError::Recv(error));
                }
            };
            let handled = (self.0)(peer.clone(), message).await;
            handled.map_err(EachError::Handler)?;
            if packets.waiting() == 0 {
                return Ok(());
            }
            in_a_row += 1;
            if in_a_row % BURST == 0 {
                yield_now().await;
            }
        }
    }
}
