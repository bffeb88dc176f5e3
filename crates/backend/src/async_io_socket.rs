//! Sockets and timers on async-io's reactor, which smol and async-std share.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use async_io::Async;
use futures_lite::ready;
use pin_project_lite::pin_project;
use socket2::SockRef;

use crate::net::{ListenSocket, TcpListenOptions, TcpOptions};
use crate::runtime::Timer;
use crate::socket::{self, Direction, Readiness};
use crate::time::{Instant, origin};

pub(crate) type TcpStream = Async<std::net::TcpStream>;

impl Readiness for TcpStream {
    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut act: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let socket = SockRef::from(self);
        // The reactor re-arms once per wait, so the socket is tried first: most often it is ready.
        match socket::uninterrupted(|| act(&socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
        let ready = || match direction {
            Direction::Read => self.poll_readable(cx),
            Direction::Write => self.poll_writable(cx),
        };
        socket::poll_ready(ready, || act(&socket))
    }

    fn register(stream: std::net::TcpStream) -> io::Result<Self> {
        Async::new_nonblocking(stream)
    }

    fn unregister(self) -> io::Result<std::net::TcpStream> {
        self.into_inner()
    }
}

#[derive(Debug)]
pub(crate) struct TcpListener {
    listener: Async<std::net::TcpListener>,
    accept: TcpOptions,
}

impl ListenSocket for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        loop {
            let (stream, peer) = self.listener.read_with(|l| l.accept()).await?;
            stream.set_nonblocking(true)?;
            if socket::fit_accepted(&stream, &self.accept)? {
                return Ok((TcpStream::register(stream)?, peer));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.get_ref().local_addr()
    }

    fn from_std(listener: std::net::TcpListener, options: TcpListenOptions) -> io::Result<Self> {
        socket::adopt(&listener)?;
        Ok(TcpListener {
            listener: Async::new_nonblocking(listener)?,
            accept: options.accept,
        })
    }

    fn into_std(self) -> io::Result<std::net::TcpListener> {
        let listener = self.listener.into_inner()?;
        listener.set_nonblocking(false)?;
        Ok(listener)
    }

    fn try_as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.listener.as_fd())
    }
}

pin_project! {
    /// A timer of the reactor, which keeps the waker of its last poll over `set_at`.
    pub(crate) struct ReactorTimer {
        #[pin]
        timer: async_io::Timer,
        fired: bool,
    }
}

impl Timer for ReactorTimer {
    fn new(deadline: Instant) -> ReactorTimer {
        ReactorTimer {
            timer: async_io::Timer::at(origin::to_std(deadline, StdInstant::now())),
            fired: false,
        }
    }

    fn poll_at(self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut this = self.project();
        while !*this.fired {
            ready!(this.timer.as_mut().poll(cx));
            let now = StdInstant::now();
            // What lies further ahead than the reactor is told comes in several legs.
            if origin::from_std(now) < deadline {
                this.timer.set_at(origin::to_std(deadline, now));
            } else {
                *this.fired = true;
            }
        }
        Poll::Ready(())
    }

    fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let mut this = self.project();
        *this.fired = false;
        this.timer
            .set_at(origin::to_std(deadline, StdInstant::now()));
    }
}
