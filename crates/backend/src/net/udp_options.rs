use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Options of a UDP socket, by default as the system has it, but IPv6 sockets are for IPv6 alone.
///
/// # Examples
///
/// ```
/// use bowline_backend::net::UdpOptions;
///
/// let options = UdpOptions::new().broadcast().recv_buffer(1 << 20);
/// assert_ne!(options, UdpOptions::new());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    pub(crate) local: Option<SocketAddr>,
    pub(crate) reuse_port: bool,
    pub(crate) dual_stack: bool,
    pub(crate) broadcast: bool,
    pub(crate) send_buffer: Option<usize>,
    pub(crate) recv_buffer: Option<usize>,
    pub(crate) groups: Vec<Group>,
}

/// A multicast group to hear, on one interface.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    V4(Ipv4Addr, Ipv4Addr),
    V6(Ipv6Addr, u32),
}

impl UdpOptions {
    /// The defaults.
    pub fn new() -> UdpOptions {
        UdpOptions {
            local: None,
            reuse_port: false,
            dual_stack: false,
            broadcast: false,
            send_buffer: None,
            recv_buffer: None,
            groups: Vec::new(),
        }
    }

    /// Binds to `address` before connecting. Its family must be that of the peer. Of no meaning
    /// for a bind, which names its address.
    #[must_use = "this returns the changed options"]
    pub fn local(mut self, address: SocketAddr) -> UdpOptions {
        self.local = Some(address);
        self
    }

    /// Lets several sockets share the port. The system gives each datagram of one sender to one
    /// and the same of them; those sent to a group or broadcast go to all.
    #[must_use = "this returns the changed options"]
    pub fn reuse_port(mut self) -> UdpOptions {
        self.reuse_port = true;
        self
    }

    /// Lets an IPv6 socket send to and hear IPv4 too. Never left to the system's default.
    #[must_use = "this returns the changed options"]
    pub fn dual_stack(mut self) -> UdpOptions {
        self.dual_stack = true;
        self
    }

    /// Allows sending to broadcast addresses.
    #[must_use = "this returns the changed options"]
    pub fn broadcast(mut self) -> UdpOptions {
        self.broadcast = true;
        self
    }

    /// Bytes of the send buffer. The system rounds and may double it.
    #[must_use = "this returns the changed options"]
    pub fn send_buffer(mut self, bytes: usize) -> UdpOptions {
        self.send_buffer = Some(bytes);
        self
    }

    /// Bytes of the receive buffer. The system rounds and may double it.
    #[must_use = "this returns the changed options"]
    pub fn recv_buffer(mut self, bytes: usize) -> UdpOptions {
        self.recv_buffer = Some(bytes);
        self
    }

    /// Hears what is sent to the multicast `group` on the interface with the address `interface`;
    /// `0.0.0.0` lets the system choose one. May be said for several groups.
    #[must_use = "this returns the changed options"]
    pub fn join_v4(mut self, group: Ipv4Addr, interface: Ipv4Addr) -> UdpOptions {
        self.groups.push(Group::V4(group, interface));
        self
    }

    /// Hears what is sent to the multicast `group` on the interface with the index `interface`;
    /// zero lets the system choose one. May be said for several groups.
    #[must_use = "this returns the changed options"]
    pub fn join_v6(mut self, group: Ipv6Addr, interface: u32) -> UdpOptions {
        self.groups.push(Group::V6(group, interface));
        self
    }

    /// Whether all groups are multicast addresses of the family of `address`.
    pub(super) fn check_groups(&self, address: SocketAddr) -> io::Result<()> {
        for group in &self.groups {
            let (shown, multicast, fits) = match group {
                Group::V4(ip, _) => (ip.to_string(), ip.is_multicast(), address.is_ipv4()),
                Group::V6(ip, _) => (ip.to_string(), ip.is_multicast(), address.is_ipv6()),
            };
            if !(multicast && fits) {
                let why = format!("{shown} is no multicast group of the family of {address}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        }
        Ok(())
    }
}

impl Default for UdpOptions {
    fn default() -> UdpOptions {
        UdpOptions::new()
    }
}
