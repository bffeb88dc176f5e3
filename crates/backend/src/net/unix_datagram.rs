use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

use bytes::BytesMut;

use super::datagram::Received;
use super::socket::{DatagramSocket, Socket, Sockets};
use super::unix_options::UnixOptions;
use crate::Backend;
use crate::runtime::{AnyUnixDatagram, Variant};
use crate::stream::{Address, UnixAddress};

/// A datagram socket between processes of one system.
///
/// Unlike UDP it loses and reorders nothing: a sender waits while the receiver is full. Any number
/// of tasks may send and receive at once; a datagram goes to exactly one receiver. Dropping it does
/// not remove its path. There is no poll form of [`send_to`](UnixDatagram::send_to): the system
/// does not tell a socket that is not connected when its receiver has room.
pub struct UnixDatagram(pub(super) AnyUnixDatagram);

impl UnixDatagram {
    /// A socket at `at`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] where the path exists, and what else the system reports.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn bind(at: &UnixAddress) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_with(at, UnixOptions::new())
    }

    /// A socket at `at`, which takes the place of a local address in `options`.
    ///
    /// # Errors
    ///
    /// As [`bind`](UnixDatagram::bind).
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn bind_with(at: &UnixAddress, options: UnixOptions) -> io::Result<UnixDatagram> {
        UnixDatagram::make(None, options.local(at.clone()))
    }

    /// A socket without a name that sends to `to` and hears only `to`.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](UnixDatagram::connect_with).
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn connect(to: &UnixAddress) -> io::Result<UnixDatagram> {
        UnixDatagram::connect_with(to, UnixOptions::new())
    }

    /// A socket that sends to `to` and hears only `to`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] where there is no such path,
    /// [`io::ErrorKind::ConnectionRefused`] where nobody is behind it,
    /// [`io::ErrorKind::InvalidInput`] for an address without a name, and what else the system
    /// reports. The path of a local address is removed then.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn connect_with(to: &UnixAddress, options: UnixOptions) -> io::Result<UnixDatagram> {
        to.check_named()?;
        UnixDatagram::make(Some(to.clone()), options)
    }

    /// A socket that has neither name nor peer: it can send.
    ///
    /// # Errors
    ///
    /// What the system reports.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::make(None, UnixOptions::new())
    }

    /// Two sockets without names, connected to each other.
    ///
    /// # Errors
    ///
    /// What the system reports.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let (one, other) = <R as Sockets>::unix_datagram_pair()?;
            let any = |socket| UnixDatagram(R::any_unix_datagram(socket));
            Ok((any(one), any(other)))
        })
    }

    fn make(peer: Option<UnixAddress>, options: UnixOptions) -> io::Result<UnixDatagram> {
        options.check_mode()?;
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let socket = <R as Sockets>::unix_datagram(peer, options)?;
            Ok(UnixDatagram(R::any_unix_datagram(socket)))
        })
    }

    /// Our address, unnamed where it was not bound.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<Address> {
        delegate!(&self.0, socket => Socket::local_addr(socket))
    }

    /// The address that it is connected to.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotConnected`] where there is none.
    pub fn peer_addr(&self) -> io::Result<Address> {
        delegate!(&self.0, socket => Socket::peer_addr(socket))
    }
}

datagrams!(UnixDatagram);
socket!(
    UnixDatagram,
    UnixDatagram,
    UnixDatagram,
    any_unix_datagram,
    std::os::unix::net::UnixDatagram
);
