//! Making the sockets of simulated hosts, and what all of them have in common.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Weak;

use bowline_sim::net;

use super::Sim;
use super::listener::TcpListener;
use crate::net::{
    Keepalive, Nodelay, OwnedSocket, Socket, SocketKind, SocketTypes, Sockets, Stale,
    TcpListenOptions, TcpOptions, UdpOptions, UnixListenOptions, UnixOptions,
};
use crate::stream::{Address, UnixAddress};

impl SocketTypes for Sim {
    type TcpStream = net::TcpStream;
    type TcpListener = TcpListener;
    type UdpSocket = net::UdpSocket;
    type UnixStream = net::UnixStream;
    type UnixListener = net::UnixListener;
    type UnixDatagram = net::UnixDatagram;
}

impl Sockets for Sim {
    async fn connect_tcp(to: SocketAddr, options: TcpOptions) -> io::Result<net::TcpStream> {
        let stream = net::TcpStream::connect(to, tcp_options(&options)).await?;
        Ok(stream)
    }

    fn bind_tcp(at: SocketAddr, options: TcpListenOptions) -> io::Result<TcpListener> {
        TcpListener::bind(at, options)
    }

    fn bind_udp(at: SocketAddr, options: UdpOptions) -> io::Result<net::UdpSocket> {
        net::UdpSocket::bind(at, udp_options(&options)?)
    }

    fn connect_udp(to: SocketAddr, options: UdpOptions) -> io::Result<net::UdpSocket> {
        net::UdpSocket::connect(to, udp_options(&options)?)
    }

    async fn connect_unix(to: UnixAddress, options: UnixOptions) -> io::Result<net::UnixStream> {
        let stream = net::UnixStream::connect(simulated(&to), unix_options(&options)).await?;
        Ok(stream)
    }

    fn bind_unix(at: UnixAddress, options: UnixListenOptions) -> io::Result<net::UnixListener> {
        let mut listen = net::UnixListenOptions::default();
        listen.backlog = options.backlog;
        listen.mode = options.mode;
        listen.replace_stale = options.stale == Stale::ReplaceIfRefused;
        listen.unlink_at_close = options.unlink_at_close;
        net::UnixListener::bind(&simulated(&at), listen)
    }

    fn unix_pair() -> io::Result<(net::UnixStream, net::UnixStream)> {
        net::UnixStream::pair()
    }

    fn unix_datagram(
        peer: Option<UnixAddress>,
        options: UnixOptions,
    ) -> io::Result<net::UnixDatagram> {
        let socket = unix_options(&options);
        match (peer, &options.local) {
            (Some(peer), _) => net::UnixDatagram::connect(simulated(&peer), socket),
            (None, Some(local)) => net::UnixDatagram::bind(simulated(local), socket),
            (None, None) => net::UnixDatagram::unbound(socket),
        }
    }

    fn unix_datagram_pair() -> io::Result<(net::UnixDatagram, net::UnixDatagram)> {
        net::UnixDatagram::pair()
    }
}

pub(super) fn tcp_options(options: &TcpOptions) -> net::TcpOptions {
    let mut out = net::TcpOptions::default();
    out.local = options.local;
    out.nodelay = options.nodelay == Nodelay::On;
    out.linger = options.linger;
    out.keepalive = options.keepalive.map(probes);
    out.user_timeout = options.user_timeout;
    out.send_buffer = options.send_buffer;
    out.recv_buffer = options.recv_buffer;
    out
}

pub(super) fn probes(keepalive: Keepalive) -> net::Keepalive {
    net::Keepalive {
        idle: keepalive.idle,
        interval: keepalive.interval,
        count: keepalive.count,
    }
}

fn udp_options(options: &UdpOptions) -> io::Result<net::UdpOptions> {
    if !options.groups.is_empty() {
        return unsupported("the simulator has no multicast");
    }
    let mut out = net::UdpOptions::default();
    out.local = options.local;
    out.reuse_port = options.reuse_port;
    out.v6only = !options.dual_stack;
    out.broadcast = options.broadcast;
    out.send_buffer = options.send_buffer;
    out.recv_buffer = options.recv_buffer;
    Ok(out)
}

/// As in a kernel, what a Unix socket receives is bounded by the buffers of those that send.
fn unix_options(options: &UnixOptions) -> net::UnixOptions {
    let mut out = net::UnixOptions::default();
    out.local = options.local.as_ref().map(simulated);
    out.send_buffer = options.send_buffer;
    out.mode = options.mode;
    out.replace_stale = options.stale == Stale::ReplaceIfRefused;
    out.unlink_at_close = options.unlink_at_close;
    out
}

/// An address as the simulator has it.
pub(super) fn simulated(address: &UnixAddress) -> net::UnixAddress {
    match (address.as_path(), address.as_abstract()) {
        (Some(path), _) => net::UnixAddress::Path(path.to_owned()),
        (None, Some(name)) => net::UnixAddress::Abstract(name.to_owned()),
        (None, None) => net::UnixAddress::Unnamed,
    }
}

/// An address of the simulator as programs have it.
pub(super) fn address(address: net::UnixAddress) -> UnixAddress {
    match address {
        net::UnixAddress::Path(path) => UnixAddress::of_system_path(&path),
        net::UnixAddress::Abstract(name) => UnixAddress::of_system_name(&name),
        net::UnixAddress::Unnamed => UnixAddress::UNNAMED,
    }
}

pub(super) fn unsupported<T>(why: &str) -> io::Result<T> {
    Err(io::Error::new(ErrorKind::Unsupported, why))
}

pub(super) fn no_std<T>() -> io::Result<T> {
    unsupported("the simulator has no sockets of the standard library")
}

/// Not connected, as a kernel says it.
pub(super) fn no_peer<T, A>(_: &T) -> io::Result<A> {
    Err(ErrorKind::NotConnected.into())
}

pub(super) fn no_error<T>(_: &T) -> io::Result<Option<io::Error>> {
    Ok(None)
}

/// What every simulated socket can do; none of them has a descriptor.
macro_rules! simulated {
    ($($socket:ty: $local:expr, $peer:expr, $error:expr, $address:expr;)*) => {$(
        impl Socket for $socket {
            fn local_addr(&self) -> io::Result<Address> {
                $local(self).map($address)
            }

            fn peer_addr(&self) -> io::Result<Address> {
                $peer(self).map($address)
            }

            fn take_error(&self) -> io::Result<Option<io::Error>> {
                $error(self)
            }

            fn adopt(_: OwnedSocket, _: SocketKind) -> io::Result<$socket> {
                no_std()
            }

            fn into_owned(self) -> io::Result<OwnedSocket> {
                no_std()
            }

            #[cfg(unix)]
            fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
                no_std()
            }

            fn downgrade(&self) -> io::Result<Weak<OwnedSocket>> {
                unsupported("a simulated socket is none of the system's")
            }
        }
    )*};
}

fn unix(named: net::UnixAddress) -> Address {
    Address::Unix(address(named))
}

simulated! {
    net::TcpStream: net::TcpStream::local_addr, net::TcpStream::peer_addr,
        net::TcpStream::take_error, Address::Inet;
    TcpListener: TcpListener::local_addr, no_peer, no_error, Address::Inet;
    net::UdpSocket: net::UdpSocket::local_addr, net::UdpSocket::peer_addr,
        net::UdpSocket::take_error, Address::Inet;
    net::UnixStream: net::UnixStream::local_addr, net::UnixStream::peer_addr,
        net::UnixStream::take_error, unix;
    net::UnixListener: net::UnixListener::local_addr, no_peer, no_error, unix;
    net::UnixDatagram: net::UnixDatagram::local_addr, net::UnixDatagram::peer_addr, no_error, unix;
}
