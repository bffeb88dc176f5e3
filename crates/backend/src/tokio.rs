//! The adapter of tokio: one runtime per `block_on`, spawns on the current handle.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Builder, Handle};
use tokio::task::coop::has_budget_remaining;

use crate::Backend;
use crate::blocking::Job;
use crate::capabilities::Capabilities;
use crate::runtime::{Runtime, Timer, Types};
use crate::signal::{Signal, SignalSource};
use crate::socket::{self, Direction, Kernel, Moved, Readiness};
use crate::system::System;
use crate::task::{Detached, RunOptions, Threads};
use crate::time::{Instant, origin};
use crate::tokio::realm::Run;

mod realm;

#[derive(Debug)]
pub(crate) struct Tokio;

impl Types for Tokio {
    type Context = Handle;
    type Timer = WheelTimer;
    type Signals = tokio::signal::unix::Signal;
}

impl System for Tokio {
    fn now() -> Instant {
        // Not the system's clock: tokio's can be paused by its users.
        origin::from_std(tokio::time::Instant::now().into_std())
    }
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
        builder.enable_all().thread_name(options.name);
        let run = Run::new(builder, options.threads)
            .expect("tokio could not start its driver or threads");
        let outcome = catch_unwind(AssertUnwindSafe(|| run.drive(future)));
        run.end(options.blocking_grace);
        outcome.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn spawn(future: impl Future<Output = ()> + Send + 'static) {
        realm::spawn(&Handle::current(), Detached::new(Backend::Tokio, future));
    }

    fn spawn_blocking(job: Job) {
        realm::spawn_blocking(&Handle::current(), job);
    }

    fn listen_signal(signal: Signal) -> io::Result<Self::Signals> {
        use tokio::signal::unix::SignalKind;
        let kind = match signal {
            Signal::Interrupt => SignalKind::interrupt(),
            Signal::Terminate => SignalKind::terminate(),
            Signal::Hangup => SignalKind::hangup(),
            Signal::Quit => SignalKind::quit(),
            Signal::User1 => SignalKind::user_defined1(),
            Signal::User2 => SignalKind::user_defined2(),
            Signal::WindowChange => SignalKind::window_change(),
        };
        needing("IO", "enable_io", || tokio::signal::unix::signal(kind))
    }
}

impl SignalSource for tokio::signal::unix::Signal {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::signal::unix::Signal::poll_recv(self, cx).map(|delivered| match delivered {
            Some(()) => Ok(()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }
}

impl Kernel for Tokio {
    type Socket = AsyncFd<Arc<OwnedFd>>;
}

impl Readiness for AsyncFd<Arc<OwnedFd>> {
    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut act: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        let socket = SockRef::from(self);
        let ready = || match direction {
            Direction::Read => self.poll_read_ready(cx).map_ok(drop),
            Direction::Write => self.poll_write_ready(cx).map_ok(drop),
        };
        socket::poll_ready(ready, || self.try_io(interest(direction), |_| act(&socket)))
    }

    /// As tokio's own streams do it: what is level is remembered, and forgotten by a short
    /// transfer as by one that moved nothing. But a write is tried also where tokio does not know
    /// whether there is room, as of every socket that is new: who writes, and then waits for
    /// something else, does not come by again once tokio knows.
    fn poll_transfer(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        mut act: impl FnMut(&SockRef<'_>) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        let socket = SockRef::from(self);
        loop {
            let ready = match direction {
                Direction::Read => self.poll_read_ready(cx),
                Direction::Write => self.poll_write_ready(cx),
            };
            let mut ready = match ready {
                Poll::Ready(ready) => ready?,
                // Without budget it is the task that has to wait, whatever the socket has.
                Poll::Pending if direction == Direction::Write && has_budget_remaining() => {
                    return match socket::uninterrupted(|| act(&socket)) {
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                        moved => Poll::Ready(moved.map(|moved| moved.bytes)),
                    };
                }
                Poll::Pending => return Poll::Pending,
            };
            match socket::uninterrupted(|| act(&socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
                Ok(Moved { bytes, of }) => {
                    if 0 < bytes && bytes < of && TOLD_OF_CHANGES {
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(bytes));
                }
            }
        }
    }

    async fn io<T: Send>(
        &self,
        direction: Direction,
        mut act: impl FnMut(&SockRef<'_>) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        self.async_io(awaited(direction), |socket| {
            let socket = SockRef::from(socket);
            socket::uninterrupted(|| act(&socket))
        })
        .await
    }

    type Home = Handle;

    fn home() -> Handle {
        Handle::current()
    }

    #[expect(
        deprecated,
        reason = "its successor is unsafe for the sake of types that may close what they hold or \
                  change it; an OwnedFd does neither"
    )]
    fn register(socket: OwnedFd) -> io::Result<Self> {
        needing("IO", "enable_io", || AsyncFd::new(Arc::new(socket)))
    }

    fn register_at(home: &Handle, socket: OwnedFd) -> io::Result<Self> {
        let _entered = home.enter();
        <Self as Readiness>::register(socket)
    }

    fn unregister(self) -> io::Result<OwnedFd> {
        socket::sole(self.into_inner())
    }

    fn registered(&self) -> &Arc<OwnedFd> {
        self.get_ref()
    }
}

/// Runs what tokio refuses with a panic on a runtime that was built without a driver, by others
/// than us. Nothing asks a runtime for its drivers.
fn needing<T>(driver: &str, enabled_by: &str, act: impl FnOnce() -> T) -> T {
    let panic = match catch_unwind(AssertUnwindSafe(act)) {
        Ok(value) => return value,
        Err(panic) => panic,
    };
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    if text.is_some_and(|text| text.contains("disabled") || text.contains("no signal driver")) {
        panic!(
            "the tokio runtime on this thread has no {driver} driver: build it with {enabled_by} \
             or enable_all, or enter Backend::block_on"
        );
    }
    resume_unwind(panic)
}

/// Whether tokio waits by epoll or kqueue, which tell of each change.
const TOLD_OF_CHANGES: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "illumos",
    target_os = "freebsd",
    target_os = "dragonfly",
    target_os = "netbsd",
    target_os = "openbsd",
    target_vendor = "apple",
));

fn interest(direction: Direction) -> Interest {
    match direction {
        Direction::Read => Interest::READABLE,
        Direction::Write => Interest::WRITABLE,
    }
}

/// What the futures wait for. An error that comes by itself, as the refusal of an earlier datagram,
/// is no readiness to read for tokio, whose `try_io` and polls know one interest alone.
fn awaited(direction: Direction) -> Interest {
    match direction {
        Direction::Read => Interest::READABLE | Interest::ERROR,
        Direction::Write => Interest::WRITABLE,
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
            sleep: needing("time", "enable_time", || {
                tokio::time::sleep_until(leg(deadline))
            }),
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
    let now = || tokio::time::Instant::now().into_std();
    tokio::time::Instant::from_std(origin::to_std(deadline, now))
}
