//! The adapter of the simulator: everything acts on the current host of the world that turns on
//! this thread.

mod datagram;
mod listener;
mod sockets;
mod stream;

use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_sim::host;
use pin_project_lite::pin_project;

use crate::blocking::Job;
use crate::capabilities::Capabilities;
use crate::net::{ResolveError, ResolveErrorKind};
use crate::runtime::{Runtime, Surroundings, Timer, Types};
use crate::signal::{Signal, SignalSource};
use crate::task::RunOptions;
use crate::time::Instant;

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
    type Signals = host::Signals;
}

impl Surroundings for Sim {
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

    fn spawn_at(
        future: impl Future<Output = ()> + Send + 'static,
        location: &'static Location<'static>,
    ) {
        host::spawn_at(future, location);
    }

    fn spawn_blocking(job: Job) {
        host::spawn_blocking(job);
    }

    fn listen_signal(signal: Signal) -> io::Result<host::Signals> {
        Ok(host::signals(match signal {
            Signal::Interrupt => host::Signal::Interrupt,
            Signal::Terminate => host::Signal::Terminate,
            Signal::Hangup => host::Signal::Hangup,
            Signal::Quit => host::Signal::Quit,
            Signal::User1 => host::Signal::User1,
            Signal::User2 => host::Signal::User2,
            Signal::WindowChange => host::Signal::WindowChange,
        }))
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

/// The name of a host of the world, and the number of the port.
pub(crate) async fn reverse(address: SocketAddr) -> (String, String) {
    let host = host::reverse(address.ip()).await;
    (host, address.port().to_string())
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

impl SignalSource for host::Signals {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        host::Signals::poll_recv(self, cx).map(Ok)
    }
}
