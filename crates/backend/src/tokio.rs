//! The adapter of tokio: one runtime per `block_on`, spawns on the current handle.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::runtime::{Builder, Handle};

use crate::Backend;
use crate::blocking::Job;
use crate::capabilities::Capabilities;
use crate::current;
use crate::entropy::system;
use crate::net::{ListenSocket, TcpListenOptions, TcpOptions};
use crate::runtime::{Runtime, Timer, Types};
use crate::socket::{self, Direction, Readiness};
use crate::task::{Detached, RunOptions, Threads};
use crate::time::{Instant, origin};

#[derive(Debug)]
pub(crate) struct Tokio;

impl Types for Tokio {
    type Context = Handle;
    type Timer = WheelTimer;
    type TcpStream = tokio::net::TcpStream;
    type TcpListener = TcpListener;
}

impl Runtime for Tokio {
    const CAPABILITIES: Capabilities = Capabilities {
        timer_granularity: Duration::from_millis(1),
        ..Capabilities::REAL
    };

    fn is_running() -> bool {
        Handle::try_current().is_ok()
    }

    fn context() -> Handle {
        Handle::current()
    }

    fn within<R>(context: &Handle, act: impl FnOnce() -> R) -> R {
        let _entered = context.enter();
        act()
    }

    fn block_on<F: Future>(options: RunOptions, future: F) -> F::Output {
        let mut builder = match options.threads {
            Threads::One => Builder::new_current_thread(),
            several => {
                let mut builder = Builder::new_multi_thread();
                builder.worker_threads(several.count());
                builder
            }
        };
        let runtime = builder
            .enable_all()
            .thread_name(options.name)
            .on_thread_start(|| current::mark_thread(Backend::Tokio))
            .build()
            .expect("tokio could not start its driver or threads");
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(future)));
        // A plain drop of the runtime would wait for blocking jobs for ever.
        runtime.shutdown_timeout(options.blocking_grace);
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(Detached::new(Backend::Tokio, future)));
    }

    fn spawn_blocking(job: Job) {
        drop(tokio::task::spawn_blocking(job));
    }

    fn now() -> Instant {
        // Not the system's clock: tokio's can be paused by its users.
        origin::from_std(tokio::time::Instant::now().into_std())
    }

    fn unix_time() -> Duration {
        origin::unix_time()
    }

    fn fill(buffer: &mut [u8]) {
        system::fill(buffer);
    }

    fn random_u64() -> u64 {
        system::random_u64()
    }

    async fn connect_tcp(to: SocketAddr, options: TcpOptions) -> io::Result<Self::TcpStream> {
        socket::connect_tcp(to, options).await
    }

    fn bind_tcp(at: SocketAddr, options: TcpListenOptions) -> io::Result<TcpListener> {
        TcpListener::from_std(socket::listen_tcp(at, &options)?, options)
    }
}

impl Readiness for tokio::net::TcpStream {
    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut act: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let socket = SockRef::from(self);
        let interest = match direction {
            Direction::Read => Interest::READABLE,
            Direction::Write => Interest::WRITABLE,
        };
        let ready = || match direction {
            Direction::Read => self.poll_read_ready(cx),
            Direction::Write => self.poll_write_ready(cx),
        };
        socket::poll_ready(ready, || self.try_io(interest, || act(&socket)))
    }

    fn register(stream: std::net::TcpStream) -> io::Result<Self> {
        tokio::net::TcpStream::from_std(stream)
    }

    fn unregister(self) -> io::Result<std::net::TcpStream> {
        self.into_std()
    }
}

#[derive(Debug)]
pub(crate) struct TcpListener {
    listener: tokio::net::TcpListener,
    accept: TcpOptions,
}

impl ListenSocket for TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(Self::Stream, SocketAddr)> {
        loop {
            let (stream, peer) = self.listener.accept().await?;
            if socket::fit_accepted(&stream, &self.accept)? {
                return Ok((stream, peer));
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    fn from_std(listener: std::net::TcpListener, options: TcpListenOptions) -> io::Result<Self> {
        socket::adopt(&listener)?;
        Ok(TcpListener {
            listener: tokio::net::TcpListener::from_std(listener)?,
            accept: options.accept,
        })
    }

    fn into_std(self) -> io::Result<std::net::TcpListener> {
        let listener = self.listener.into_std()?;
        listener.set_nonblocking(false)?;
        Ok(listener)
    }

    fn try_as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.listener.as_fd())
    }
}

pin_project! {
    /// A timer of tokio's wheel. The wheel rounds up to milliseconds and spans about two years, so
    /// what lies further ahead comes in several legs.
    pub(crate) struct WheelTimer {
        #[pin]
        sleep: tokio::time::Sleep,
    }
}

impl Timer for WheelTimer {
    fn new(deadline: Instant) -> WheelTimer {
        WheelTimer {
            sleep: tokio::time::sleep_until(leg(deadline)),
        }
    }

    fn poll_at(self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let mut sleep = self.project().sleep;
        loop {
            // Asked first: the wheel would round a deadline of this millisecond up to the next.
            if Tokio::now() >= deadline {
                return Poll::Ready(());
            }
            ready!(sleep.as_mut().poll(cx));
            if Tokio::now() < deadline {
                sleep.as_mut().reset(leg(deadline));
            }
        }
    }

    fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.project().sleep.reset(leg(deadline));
    }
}

fn leg(deadline: Instant) -> tokio::time::Instant {
    let now = tokio::time::Instant::now().into_std();
    tokio::time::Instant::from_std(origin::to_std(deadline, now))
}
