//! Options of sockets, and what they receive.

use super::UnixAddress;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

/// When to probe an idle connection.
///
/// A connection whose peer is there and whose links are faultless is known to be well, so its probes
/// cost nothing and show nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// How long a connection is idle before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Probes without an answer until the connection is given up.
    pub count: u32,
}

/// Options of a connection, set before it is made.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TcpOptions {
    /// Address to connect from; its family must be the target's. Port 0 draws one.
    pub local: Option<SocketAddr>,
    /// Whether small writes go out at once (no Nagle). Without it one waits while another is not
    /// acknowledged, up to 40 ms where nothing goes back.
    pub nodelay: bool,
    /// What closing does to unsent bytes; zero resets the connection.
    pub linger: Option<Duration>,
    /// Probes of an idle connection.
    pub keepalive: Option<Keepalive>,
    /// How long sent bytes may stay unacknowledged, and a peer that reads nothing may let others wait.
    pub user_timeout: Option<Duration>,
    /// Size of the send buffer in bytes; 128 KiB if `None`, at least 1.
    pub send_buffer: Option<usize>,
    /// Size of the receive window in bytes; 64 KiB if `None`, at least 1.
    pub recv_buffer: Option<usize>,
}

/// Options of a listener.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct TcpListenOptions {
    /// Connections that may wait to be accepted beyond the first (default 1024), as on Linux; further
    /// requests are dropped and come again.
    pub backlog: u32,
    /// Whether a port with old connections on it may be bound (default true).
    pub reuse_address: bool,
    /// Whether several listeners may share the address (default false).
    pub reuse_port: bool,
    /// Whether an IPv6 listener leaves IPv4 alone (default true).
    pub v6only: bool,
    /// Send buffer of accepted streams in bytes; 128 KiB if `None`.
    pub send_buffer: Option<usize>,
    /// Receive window of accepted streams in bytes; 64 KiB if `None`.
    pub recv_buffer: Option<usize>,
}

impl Default for TcpListenOptions {
    fn default() -> TcpListenOptions {
        TcpListenOptions {
            backlog: 1024,
            reuse_address: true,
            reuse_port: false,
            v6only: true,
            send_buffer: None,
            recv_buffer: None,
        }
    }
}

/// Options of a UDP socket.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UdpOptions {
    /// Address to connect from; its family must be the peer's. Port 0 draws one. Unused by `bind`.
    pub local: Option<SocketAddr>,
    /// Whether several sockets may share the address (default false).
    pub reuse_port: bool,
    /// Whether an IPv6 socket leaves IPv4 alone (default true).
    pub v6only: bool,
    /// Whether datagrams may go to every host (default false).
    pub broadcast: bool,
    /// Bytes that may be on their way before senders wait; 208 KiB if `None`.
    pub send_buffer: Option<usize>,
    /// Bytes that may wait to be received before more are lost; 208 KiB if `None`. As Linux does,
    /// twice as many are taken as are asked for, and each datagram's record counts.
    pub recv_buffer: Option<usize>,
}

impl Default for UdpOptions {
    fn default() -> UdpOptions {
        UdpOptions {
            local: None,
            reuse_port: false,
            v6only: true,
            broadcast: false,
            send_buffer: None,
            recv_buffer: None,
        }
    }
}

/// Options of a Unix stream or datagram socket.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct UnixOptions {
    /// Name to have, if any.
    pub local: Option<UnixAddress>,
    /// Bytes the peer holds of ours before we wait; 208 KiB if `None`. Of datagrams twice as many,
    /// with their records, as on Linux.
    pub send_buffer: Option<usize>,
    /// Permission bits of the path of that name, or of a datagram socket; `0o755` if `None`.
    pub mode: Option<u32>,
    /// Whether a socket at the path of that name, or of a datagram socket, that nobody has any more is
    /// replaced (default false).
    pub replace_stale: bool,
    /// Whether a datagram socket that is dropped unlinks its path, if that still leads to it
    /// (default false). It says nothing of streams: the path of one that connected stays.
    pub unlink_at_close: bool,
}

/// Options of a Unix listener.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UnixListenOptions {
    /// Connections that may wait to be accepted beyond the first (default 1024); who connects then
    /// waits.
    pub backlog: u32,
    /// Permission bits of the path; `0o755` if `None`.
    pub mode: Option<u32>,
    /// Whether a socket at the path that nobody has any more is replaced (default false).
    pub replace_stale: bool,
    /// Whether a listener that is dropped unlinks its path, if that still leads to it (default
    /// false).
    pub unlink_at_close: bool,
    /// Send buffer of accepted streams in bytes; 208 KiB if `None`.
    pub send_buffer: Option<usize>,
}

impl Default for UnixListenOptions {
    fn default() -> UnixListenOptions {
        UnixListenOptions {
            backlog: 1024,
            mode: None,
            replace_stale: false,
            unlink_at_close: false,
            send_buffer: None,
        }
    }
}

/// A datagram as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram<A> {
    /// What of it was asked for.
    pub payload: Bytes,
    /// Who sent it.
    pub from: A,
    /// Whether it was longer than asked for; the rest is gone.
    pub truncated: bool,
}
