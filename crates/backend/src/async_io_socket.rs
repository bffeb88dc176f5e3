//! Sockets, signals and timers on async-io's reactor, which smol and async-std share.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant as StdInstant;

use async_io::Async;
use async_signal::Signals;
use futures_core::Stream;
use futures_lite::ready;
use pin_project_lite::pin_project;
use socket2::SockRef;

use crate::runtime::Timer;
use crate::signal::{Signal, SignalSource};
use crate::socket::{self, Direction, Readiness};
use crate::time::{Instant, origin};

impl Readiness for Async<Arc<OwnedFd>> {
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

    async fn io<T: Send>(
        &self,
        direction: Direction,
        mut act: impl FnMut(&SockRef<'_>) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        let act = |socket: &Arc<OwnedFd>| {
            let socket = SockRef::from(socket);
            socket::uninterrupted(|| act(&socket))
        };
        match direction {
            Direction::Read => self.read_with(act).await,
            Direction::Write => self.write_with(act).await,
        }
    }

    // The reactor is the process's.
    type Home = ();

    fn home() {}

    fn register_at((): &(), socket: OwnedFd) -> io::Result<Self> {
        Self::register(socket)
    }

    fn register(socket: OwnedFd) -> io::Result<Self> {
        Async::new_nonblocking(Arc::new(socket))
    }

    fn unregister(self) -> io::Result<OwnedFd> {
        socket::sole(self.into_inner()?)
    }

    fn registered(&self) -> &Arc<OwnedFd> {
        self.get_ref()
    }
}

/// Listens for `signal` by a pipe of its own, which every delivery is written to.
pub(crate) fn listen_signal(signal: Signal) -> io::Result<Signals> {
    Signals::new([match signal {
        Signal::Interrupt => async_signal::Signal::Int,
        Signal::Terminate => async_signal::Signal::Term,
        Signal::Hangup => async_signal::Signal::Hup,
        Signal::Quit => async_signal::Signal::Quit,
        Signal::User1 => async_signal::Signal::Usr1,
        Signal::User2 => async_signal::Signal::Usr2,
        Signal::WindowChange => async_signal::Signal::Winch,
    }])
}

impl SignalSource for Signals {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self)
            .poll_next(cx)
            .map(|delivered| match delivered {
                Some(delivered) => delivered.map(drop),
                None => Err(io::ErrorKind::BrokenPipe.into()),
            })
    }
}

pin_project! {
    /// A timer of the reactor, which keeps the waker of its last poll over `set_at`.
    pub(crate) struct ReactorTimer {
        #[pin]
        timer: async_io::Timer,
    }
}

impl Timer for ReactorTimer {
    fn new(deadline: Instant) -> ReactorTimer {
        ReactorTimer {
            timer: async_io::Timer::at(origin::to_std(deadline, StdInstant::now)),
        }
    }

    fn poll_at(self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut this = self.project();
        // It will fire no more once it did.
        while this.timer.will_fire() {
            ready!(this.timer.as_mut().poll(cx));
            let now = StdInstant::now();
            // What lies further ahead than the reactor is told comes in several legs.
            if origin::from_std(now) < deadline {
                this.timer.set_at(origin::to_std(deadline, || now));
            }
        }
        Poll::Ready(())
    }

    fn reset(self: Pin<&mut Self>, deadline: Instant) {
        let mut timer = self.project().timer;
        timer.set_at(origin::to_std(deadline, StdInstant::now));
    }
}
