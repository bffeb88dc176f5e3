//! Servers of packets.

mod bound;
mod builder;
mod carried;
mod closures;
mod counters;
#[cfg(all(unix, feature = "ancillary"))]
mod descriptors;
mod handle;
mod handler;
mod limits;
mod link;
mod log;
mod order;
mod packets;
mod peer;
mod serve_packets;
mod state;
mod url_place;

pub use bound::BoundPackets;
#[cfg(unix)]
pub use builder::UnixDatagramPlace;
pub use builder::{BindPackets, PacketServer, Socket, UdpPlace};
pub use counters::PacketCounters;
pub use handle::PacketServerHandle;
pub use handler::PacketHandler;
pub use limits::{Overflow, PacketLimits};
pub use packets::Packets;
pub use peer::PacketPeer;
pub use serve_packets::{ServePackets, serve_packets};
pub use url_place::{PacketUrlPlace, UrlDatagram};
