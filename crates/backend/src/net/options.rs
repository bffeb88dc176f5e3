use std::net::SocketAddr;
use std::time::Duration;

/// Whether small writes leave at once.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Nodelay {
    /// They do (`TCP_NODELAY` set).
    On,
    /// They may wait for an acknowledgement (Nagle's algorithm).
    Off,
}

/// Probes that find a vanished peer of an idle connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes after which the connection is broken.
    pub count: u32,
}

impl Keepalive {
    /// Probes after `idle`, then every `interval`; `count` unanswered ones break the connection.
    /// Times are rounded up to whole seconds, at least one.
    pub fn new(idle: Duration, interval: Duration, count: u32) -> Keepalive {
        Keepalive {
            idle,
            interval,
            count,
        }
    }
}

/// Options of a TCP stream, by default: `nodelay` on, everything else as the system has it.
///
/// # Examples
///
/// ```
/// use bowline_backend::net::{Nodelay, TcpOptions};
///
/// let options = TcpOptions::new().nodelay(Nodelay::Off).recv_buffer(1 << 16);
/// assert_ne!(options, TcpOptions::new());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    pub(crate) local: Option<SocketAddr>,
    pub(crate) nodelay: Nodelay,
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) linger: Option<Duration>,
    pub(crate) user_timeout: Option<Duration>,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) recv_buffer: Option<usize>,
}

impl TcpOptions {
    /// The defaults.
    pub fn new() -> TcpOptions {
        TcpOptions {
            local: None,
            nodelay: Nodelay::On,
            keepalive: None,
            linger: None,
            user_timeout: None,
            send_buffer: None,
            recv_buffer: None,
        }
    }

    /// Binds to `address` before connecting. Its family must be that of the peer. Of no meaning
    /// for accepted streams.
    #[must_use = "this returns the changed options"]
    pub fn local(mut self, address: SocketAddr) -> TcpOptions {
        self.local = Some(address);
        self
    }

    /// Whether small writes leave at once; on by default.
    #[must_use = "this returns the changed options"]
    pub fn nodelay(mut self, nodelay: Nodelay) -> TcpOptions {
        self.nodelay = nodelay;
        self
    }

    /// Probes idle connections; off by default.
    #[must_use = "this returns the changed options"]
    pub fn keepalive(mut self, keepalive: Keepalive) -> TcpOptions {
        self.keepalive = Some(keepalive);
        self
    }

    /// How long the system goes on sending after a close, rounded up to whole seconds; zero resets
    /// instead.
    #[must_use = "this returns the changed options"]
    pub fn linger(mut self, linger: Duration) -> TcpOptions {
        self.linger = Some(linger);
        self
    }

    /// How long sent data may stay unacknowledged, and data unsent for a peer that has no room, rounded up
    /// to milliseconds; zero is the system's default. On Linux; ignored elsewhere.
    #[must_use = "this returns the changed options"]
    pub fn user_timeout(mut self, timeout: Duration) -> TcpOptions {
        self.user_timeout = Some(timeout);
        self
    }

    /// Bytes of the send buffer, set before connecting. The system rounds and may double it.
    #[must_use = "this returns the changed options"]
    pub fn send_buffer(mut self, bytes: usize) -> TcpOptions {
        self.send_buffer = Some(bytes);
        self
    }

    /// Bytes of the receive buffer, set before connecting. The system rounds and may double it.
    #[must_use = "this returns the changed options"]
    pub fn recv_buffer(mut self, bytes: usize) -> TcpOptions {
        self.recv_buffer = Some(bytes);
        self
    }
}

impl Default for TcpOptions {
    fn default() -> TcpOptions {
        TcpOptions::new()
    }
}

/// Options of a TCP listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpListenOptions {
    pub(crate) backlog: u32,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    pub(crate) dual_stack: bool,
    pub(crate) accept: TcpOptions,
}

impl TcpListenOptions {
    /// The defaults: a backlog of 1024, addresses reusable while old connections linger, IPv6
    /// sockets for IPv6 alone.
    pub fn new() -> TcpListenOptions {
        TcpListenOptions {
            backlog: 1024,
            reuse_address: true,
            reuse_port: false,
            dual_stack: false,
            accept: TcpOptions::new(),
        }
    }

    /// Connections that may wait to be accepted; the system clamps it.
    #[must_use = "this returns the changed options"]
    pub fn backlog(mut self, connections: u32) -> TcpListenOptions {
        self.backlog = connections;
        self
    }

    /// Refuses an address that old connections in `TIME_WAIT` still use.
    #[must_use = "this returns the changed options"]
    pub fn no_reuse_address(mut self) -> TcpListenOptions {
        self.reuse_address = false;
        self
    }

    /// Lets several listeners share the port; the system spreads connections over them.
    #[must_use = "this returns the changed options"]
    pub fn reuse_port(mut self) -> TcpListenOptions {
        self.reuse_port = true;
        self
    }

    /// Lets an IPv6 listener accept IPv4 too. Never left to the system's default.
    #[must_use = "this returns the changed options"]
    pub fn dual_stack(mut self) -> TcpListenOptions {
        self.dual_stack = true;
        self
    }

    /// Options set on every accepted stream before it is handed out.
    #[must_use = "this returns the changed options"]
    pub fn accept_options(mut self, options: TcpOptions) -> TcpListenOptions {
        self.accept = options;
        self
    }
}

impl Default for TcpListenOptions {
    fn default() -> TcpListenOptions {
        TcpListenOptions::new()
    }
}
