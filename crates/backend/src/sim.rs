//! The adapter of the simulator: everything acts on the current host of the world that turns on
//! this thread.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bowline_sim::{host, net};
use bytes::BytesMut;
use pin_project_lite::pin_project;

use crate::blocking::Job;
use crate::capabilities::Capabilities;
use crate::net::{
    Keepalive, ListenSocket, Nodelay, OwnedSocket, ResolveError, ResolveErrorKind, Socket,
    SocketKind, SocketTypes, Sockets, StreamSocket, TcpListenOptions, TcpOptions, TcpSocket,
    UdpOptions, UnixListenOptions, UnixOptions,
};
use crate::runtime::{Off, Runtime, Timer, Types};
use crate::signal::Signal;
use crate::stream::{Address, UnixAddress};
use crate::task::RunOptions;
use crate::time::Instant;

/// What a read reserves where the buffer has no room.
const READ_RESERVE: usize = 16 * 1024;

/// Chooses the world that `block_on` makes outside one.
const SEED: &str = "BOWLINE_SIM_SEED";

#[derive(Debug)]
pub(crate) struct Sim;

/// Nothing to restore: the world is the thread's.
#[derive(Copy, Clone, Debug)]
pub(crate) struct World;

impl Types for Sim {
    type Context = World;
    type Timer = WorldTimer;
    type Signals = Off;
}

impl SocketTypes for Sim {
    type TcpStream = net::TcpStream;
    type TcpListener = TcpListener;
    type UdpSocket = Off;
    type UnixStream = Off;
    type UnixListener = Off;
    type UnixDatagram = Off;
}

impl Runtime for Sim {
    const CAPABILITIES: Capabilities = Capabilities {
        multi_thread: false,
        virtual_time: true,
        timer_granularity: Duration::ZERO,
        drops_tasks_on_exit: true,
        std_sockets: false,
        fd_passing: false,
        reuse_port: true,
    };

    fn is_running() -> bool {
        bowline_sim::Sim::is_running()
    }

    fn context() -> World {
        World
    }

    fn within<R>(World: &World, act: impl FnOnce() -> R) -> R {
        act()
    }

    fn block_on<F: Future>(_: RunOptions, future: F) -> F::Output {
        bowline_sim::block_on(seed(), future)
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        // Unwrapped: what a panic means is the world's policy, and its mark is the world.
        host::spawn(future);
    }

    fn spawn_blocking(job: Job) {
        host::spawn_blocking(job);
    }

    fn now() -> Instant {
        Instant::from_nanos(host::now())
    }

    fn unix_time() -> Duration {
        host::wall_clock()
    }

    fn fill(buffer: &mut [u8]) {
        host::fill(buffer);
    }

    fn random_u64() -> u64 {
        host::random_u64()
    }

    fn listen_signal(_: Signal) -> io::Result<Off> {
        unsupported("the simulator has no signals")
    }
}

impl Sockets for Sim {
    async fn connect_tcp(to: SocketAddr, options: TcpOptions) -> io::Result<net::TcpStream> {
        let stream = net::TcpStream::connect(to, stream_options(&options)).await?;
        Ok(stream)
    }

    fn bind_tcp(at: SocketAddr, options: TcpListenOptions) -> io::Result<TcpListener> {
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
    fn bind_udp(_: SocketAddr, _: UdpOptions) -> io::Result<Off> {
        unsupported(NO_DATAGRAMS)
    }

    fn connect_udp(_: SocketAddr, _: UdpOptions) -> io::Result<Off> {
        unsupported(NO_DATAGRAMS)
    }

    async fn connect_unix(_: UnixAddress, _: UnixOptions) -> io::Result<Off> {
        unsupported(NO_UNIX)
    }

    fn bind_unix(_: UnixAddress, _: UnixListenOptions) -> io::Result<Off> {
        unsupported(NO_UNIX)
    }

    fn unix_pair() -> io::Result<(Off, Off)> {
        unsupported(NO_UNIX)
    }

    fn unix_datagram(_: Option<UnixAddress>, _: UnixOptions) -> io::Result<Off> {
        unsupported(NO_UNIX)
    }

    fn unix_datagram_pair() -> io::Result<(Off, Off)> {
        unsupported(NO_UNIX)
    }
}

/// The addresses of a host of the world.
pub(crate) async fn lookup(name: String) -> Result<Vec<SocketAddr>, ResolveError> {
    let found = host::resolve(&name, host::Family::Any).await;
    let found = found.map_err(|error| {
        let kind = match error.kind() {
            ErrorKind::NotFound => ResolveErrorKind::NotFound,
            ErrorKind::InvalidInput => ResolveErrorKind::InvalidName,
            ErrorKind::WouldBlock => ResolveErrorKind::TryAgain,
            _ => ResolveErrorKind::Failed,
        };
        ResolveError::new(kind, format!("{name}: {error}"))
    })?;
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect())
}

fn seed() -> u64 {
    let Ok(text) = std::env::var(SEED) else {
        return 0;
    };
    match text.parse() {
        Ok(seed) => seed,
        Err(_) => panic!("{SEED} is {text:?}; a number from 0 to 2^64 - 1 is allowed"),
    }
}

fn stream_options(options: &TcpOptions) -> net::TcpOptions {
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

fn probes(keepalive: Keepalive) -> net::Keepalive {
    net::Keepalive {
        idle: keepalive.idle,
        interval: keepalive.interval,
        count: keepalive.count,
    }
}

const NO_STD: &str = "the simulator has no sockets of the standard library";
const NO_DATAGRAMS: &str = "the simulator has no UDP";
const NO_UNIX: &str = "the simulator has no Unix sockets";

fn unsupported<T>(why: &str) -> io::Result<T> {
    Err(io::Error::new(ErrorKind::Unsupported, why))
}

impl Socket for net::TcpStream {
    fn local_addr(&self) -> io::Result<Address> {
        net::TcpStream::local_addr(self).map(Address::Inet)
    }

    fn peer_addr(&self) -> io::Result<Address> {
        net::TcpStream::peer_addr(self).map(Address::Inet)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        net::TcpStream::take_error(self)
    }

    fn adopt(_: OwnedSocket, _: SocketKind) -> io::Result<net::TcpStream> {
        unsupported(NO_STD)
    }

    fn into_owned(self) -> io::Result<OwnedSocket> {
        unsupported(NO_STD)
    }

    #[cfg(unix)]
    fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        unsupported(NO_STD)
    }
}

impl StreamSocket for net::TcpStream {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        net::TcpStream::poll_read(self, cx, buffer)
    }

    fn poll_read_into(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        let room = match buffer.capacity() - buffer.len() {
            0 => READ_RESERVE,
            room => room.min(READ_RESERVE),
        };
        let mut bytes = [0; READ_RESERVE];
        let bytes = &mut bytes[..room.min(max.get())];
        let received = ready!(net::TcpStream::poll_read(self, cx, bytes))?;
        buffer.extend_from_slice(&bytes[..received]);
        Poll::Ready(Ok(received))
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        net::TcpStream::poll_write(self, cx, bytes)
    }

    fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        net::TcpStream::poll_write_vectored(self, cx, slices)
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        net::TcpStream::poll_shutdown(self, cx)
    }

    fn end_sending(&self) {
        net::TcpStream::end_sending(self);
    }

    fn abort(self) {
        net::TcpStream::abort(self);
    }
}

impl TcpSocket for net::TcpStream {
    fn set_nodelay(&self, nodelay: Nodelay) -> io::Result<()> {
        net::TcpStream::set_nodelay(self, nodelay == Nodelay::On)
    }

    fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        net::TcpStream::set_keepalive(self, keepalive.map(probes))
    }

    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        net::TcpStream::set_linger(self, linger)
    }
}

/// Apart from its handle, so that the choice over all backends stays small.
#[derive(Debug)]
pub(crate) struct TcpListener(Box<Listening>);

#[derive(Debug)]
struct Listening {
    listener: net::TcpListener,
    accept: TcpOptions,
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

impl Socket for TcpListener {
    fn local_addr(&self) -> io::Result<Address> {
        self.0.listener.local_addr().map(Address::Inet)
    }

    fn peer_addr(&self) -> io::Result<Address> {
        Err(ErrorKind::NotConnected.into())
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }

    fn adopt(_: OwnedSocket, _: SocketKind) -> io::Result<TcpListener> {
        unsupported(NO_STD)
    }

    fn into_owned(self) -> io::Result<OwnedSocket> {
        unsupported(NO_STD)
    }

    #[cfg(unix)]
    fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        unsupported(NO_STD)
    }
}

pin_project! {
    /// A timer on the world's clock.
    pub(crate) struct WorldTimer {
        #[pin]
        sleep: host::Sleep,
    }
}

impl Timer for WorldTimer {
    fn new(deadline: Instant) -> WorldTimer {
        WorldTimer {
            sleep: host::Sleep::new(deadline.as_nanos()),
        }
    }

    fn poll_at(self: Pin<&mut Self>, cx: &mut Context<'_>, _: Instant) -> Poll<()> {
        self.project().sleep.poll(cx)
    }

    fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.project().sleep.reset(deadline.as_nanos());
    }
}
