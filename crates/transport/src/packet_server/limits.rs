use std::time::Duration;

/// Peers at once.
const MAX_PEERS: usize = 4096;

/// Packets that wait for one handler.
const MAX_PACKETS: usize = 64;

/// Bytes of them.
const MAX_BYTES: usize = 256 * 1024;

/// Descriptors that came with packets that wait: a quarter of what a process mostly may have open.
const MAX_DESCRIPTORS: usize = 256;

/// How long a handler waits for the next packet of its peer.
const PEER_IDLE: Duration = Duration::from_secs(30);

/// How long handlers may go on after a drain is over.
const GRACE: Duration = Duration::from_secs(1);

/// What a server of packets keeps at most.
///
/// # Examples
///
/// ```
/// use bowline_transport::{Overflow, PacketLimits};
/// use std::time::Duration;
///
/// let limits = PacketLimits::new()
///     .max_peers(100)
///     .overflow(Overflow::DropNewest)
///     .peer_idle(Duration::from_secs(5));
/// # drop(limits);
/// ```
#[derive(Clone, Debug)]
#[must_use = "limits do nothing until a server is given them"]
pub struct PacketLimits {
    pub(super) max_peers: usize,
    pub(super) max_packets: usize,
    pub(super) max_bytes: usize,
    pub(super) max_descriptors: usize,
    pub(super) overflow: Overflow,
    pub(super) peer_idle: Duration,
    pub(super) grace: Duration,
}

/// Which packets of a peer are dropped, and counted, where more wait than may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Those that wait longest, until there is room.
    #[default]
    DropOldest,
    /// The one that came.
    DropNewest,
}

impl PacketLimits {
    /// The defaults, which each method names.
    pub fn new() -> Self {
        PacketLimits {
            max_peers: MAX_PEERS,
            max_packets: MAX_PACKETS,
            max_bytes: MAX_BYTES,
            max_descriptors: MAX_DESCRIPTORS,
            overflow: Overflow::default(),
            peer_idle: PEER_IDLE,
            grace: GRACE,
        }
    }

    /// Peers that a handler runs for at once; default 4096.
    ///
    /// For the packet of one more, the handler of the peer that was heard longest ago is told that there is no
    /// next packet, as after [`peer_idle`](PacketLimits::peer_idle), if it waits for one, and the newcomer waits
    /// for its place: 16 at most. Where all handlers are at work its packet is dropped and counted.
    ///
    /// Whoever forges addresses can so end the handlers of others between two of their packets, and nothing
    /// else: the next packet of each begins a handler again. One that
    /// [answers packet by packet](crate::BoundPackets::serve_each) does not notice.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn max_peers(mut self, most: usize) -> Self {
        assert!(most > 0, "a server of packets takes at least 1 peer");
        self.max_peers = most;
        self
    }

    /// Packets of one peer that wait for its handler; default 64.
    ///
    /// # Panics
    ///
    /// If it is zero.
    #[track_caller]
    pub fn max_packets(mut self, most: usize) -> Self {
        assert!(most > 0, "a peer may have at least 1 packet wait");
        self.max_packets = most;
        self
    }

    /// Bytes of the packets of one peer that wait; default 256 KiB. A packet longer than that is
    /// dropped.
    pub fn max_bytes(mut self, most: usize) -> Self {
        self.max_bytes = most;
        self
    }

    /// Descriptors that wait with packets of a Unix socket, of all peers together; default 256. Those
    /// of a packet that brings more are closed, and it is counted: [`Packets::recv_with`] says so by
    /// an error, and [`recv`](crate::Packets::recv) wants none. Zero closes all.
    ///
    /// [`Packets::recv_with`]: crate::Packets::recv_with
    #[cfg(all(unix, feature = "ancillary"))]
    pub fn max_descriptors(mut self, most: usize) -> Self {
        self.max_descriptors = most;
        self
    }

    /// What becomes of packets beyond `max_packets` and `max_bytes`; by default the [oldest](Overflow::DropOldest) are
    /// dropped.
    pub fn overflow(mut self, policy: Overflow) -> Self {
        self.overflow = policy;
        self
    }

    /// How long a handler waits for the next packet before it is told that there is none; default
    /// 30 s. It is told earlier where its place is [wanted](PacketLimits::max_peers).
    pub fn peer_idle(mut self, most: Duration) -> Self {
        self.peer_idle = most;
        self
    }

    /// How long handlers may go on after they were cancelled by the end of a
    /// [drain](crate::PacketServerHandle::drain); default 1 s.
    pub fn grace(mut self, span: Duration) -> Self {
        self.grace = span;
        self
    }
}

impl Default for PacketLimits {
    fn default() -> Self {
        PacketLimits::new()
    }
}
