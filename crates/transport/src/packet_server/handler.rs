use std::fmt::Display;
use std::future::{Future, ready};

use bowline_codec::MessageCodec;
use bowline_concurrency::{AnyError, TaskGroup};

use super::handle::PacketServerHandle;
use super::packets::Packets;
use super::peer::PacketPeer;
use crate::datagram::DatagramSocket;

/// What a server does with packets: for each peer address one task at a time.
///
/// For a closure there are [`serve_fn`](crate::BoundPackets::serve_fn) and
/// [`serve_each`](crate::BoundPackets::serve_each).
///
/// # Examples
///
/// ```
/// use bowline_codec::Text;
/// use bowline_transport::{DatagramSocket, Error, PacketHandler, PacketPeer, Packets};
///
/// struct Echo;
///
/// impl<S: DatagramSocket> PacketHandler<S, Text> for Echo {
///     type Error = Error;
///
///     async fn handle(
///         &self,
///         peer: &PacketPeer<S, Text>,
///         packets: &mut Packets<S, Text>,
///     ) -> Result<(), Error> {
///         while let Some(message) = packets.recv().await? {
///             peer.send(&message).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait PacketHandler<S: DatagramSocket, C: MessageCodec>: Send + Sync {
    /// Why it cannot go on with a peer.
    type Error: Display + Send;

    /// Called once, before anything is received. Tasks of `group` live as long as the server: its end
    /// cancels them, and the error of one ends the server.
    fn on_start(
        &self,
        server: &PacketServerHandle,
        group: &TaskGroup<AnyError>,
    ) -> impl Future<Output = ()> + Send {
        let _ = (server, group);
        ready(())
    }

    /// Converses with a peer, from a packet of one that has no handler until it returns. Packets
    /// that came meanwhile begin the next; one that took none costs the packet that began it.
    ///
    /// # Errors
    ///
    /// It is counted; the server goes on, and so do the packets of this peer.
    fn handle(
        &self,
        peer: &PacketPeer<S, C>,
        packets: &mut Packets<S, C>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
