//! Simulated listeners.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bowline_sim::net;

use super::sockets::{address, probes};
use crate::net::{ListenSocket, Nodelay, TcpListenOptions, TcpOptions};
use crate::stream::Address;

/// Apart from its handle, so that the choice over all backends stays small.
#[derive(Debug)]
pub(crate) struct TcpListener(Box<Listening>);

#[derive(Debug)]
struct Listening {
    listener: net::TcpListener,
    /// What accepted streams get.
    accept: TcpOptions,
}

impl TcpListener {
    pub(super) fn bind(at: SocketAddr, options: TcpListenOptions) -> io::Result<TcpListener> {
        let mut listen = net::TcpListenOptions::default();
        listen.backlog = options.backlog;
        listen.reuse_address = options.reuse_address;
        listen.reuse_port = options.reuse_port;
        listen.v6only = !options.dual_stack;
        listen.send_buffer = options.accept.send_buffer;
        listen.recv_buffer = options.accept.recv_buffer;
        Ok(TcpListener(Box::new(Listening {
            listener: net::TcpListener::bind(at, listen)?,
            accept: options.accept,
        })))
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.listener.local_addr()
    }
}

impl ListenSocket for TcpListener {
    type Stream = net::TcpStream;

    async fn accept(&self) -> io::Result<(net::TcpStream, Address)> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(net::TcpStream, Address)>> {
        let (stream, peer) = ready!(self.0.listener.poll_accept(cx))?;
        let accept = &self.0.accept;
        stream.set_nodelay(accept.nodelay == Nodelay::On)?;
        stream.set_linger(accept.linger)?;
        stream.set_keepalive(accept.keepalive.map(probes))?;
        stream.set_user_timeout(accept.user_timeout)?;
        Poll::Ready(Ok((stream, Address::Inet(peer))))
    }
}

impl ListenSocket for net::UnixListener {
    type Stream = net::UnixStream;

    async fn accept(&self) -> io::Result<(net::UnixStream, Address)> {
        poll_fn(|cx| ListenSocket::poll_accept(self, cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(net::UnixStream, Address)>> {
        let (stream, peer) = ready!(net::UnixListener::poll_accept(self, cx))?;
        Poll::Ready(Ok((stream, Address::Unix(address(peer)))))
    }
}
