//! What an adapter gives: one trait of equal shape per backend, and the enums over them.

use std::future::Future;
use std::io;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use crate::Backend;
use crate::blocking::Job;
use crate::capabilities::Capabilities;
use crate::net::{SocketTypes, Sockets};
use crate::signal::{Signal, SignalSource};
use crate::task::RunOptions;
use crate::time::Instant;

/// The types of an adapter, apart from its functions so that [`Off`] can have them.
pub(crate) trait Types: 'static {
    /// What a job or an attached future restores: a handle, an executor.
    type Context: Clone + Send + Sync + Unpin + 'static;
    type Timer: Timer;
    type Signals: SignalSource;
}

/// The clocks and the entropy of an adapter. Real ones share theirs.
pub(crate) trait Surroundings {
    fn now() -> Instant;
    fn unix_time() -> Duration;
    fn fill(buffer: &mut [u8]);
    fn random_u64() -> u64;
}

/// The functions of an adapter, apart from those of its sockets.
pub(crate) trait Runtime: Surroundings + Types + Sockets {
    const CAPABILITIES: Capabilities;

    /// Whether the functions below may be called on this thread.
    fn is_running() -> bool;
    fn context() -> Self::Context;
    /// Runs `act` as if on a thread of the runtime that `context` came from.
    fn within<R>(context: &Self::Context, act: impl FnOnce() -> R) -> R;
    /// Drives `future` here; its panic is resumed here. Tasks are dropped before it returns.
    fn block_on<F: Future>(options: RunOptions, future: F) -> F::Output;
    #[track_caller]
    fn spawn(future: impl Future<Output = ()> + Send + 'static);
    /// As `spawn`, of a task that comes from `location`, where the runtime takes note of that.
    fn spawn_at(
        future: impl Future<Output = ()> + Send + 'static,
        _location: &'static Location<'static>,
    ) {
        Self::spawn(future);
    }
    #[track_caller]
    fn spawn_blocking(job: Job);
    fn listen_signal(signal: Signal) -> io::Result<Self::Signals>;
}

/// A timer that can be armed again. `Instant::NEVER` is never given to it.
pub(crate) trait Timer: Send + Sync + Sized + 'static {
    fn new(deadline: Instant) -> Self;
    /// Ready at `deadline`, which is that of `new` or of the last `reset`: kept once, above.
    fn poll_at(self: Pin<&mut Self>, cx: &mut Context<'_>, deadline: Instant) -> Poll<()>;
    /// Keeps the waker of the last poll.
    fn reset(self: Pin<&mut Self>, deadline: Instant);
}

/// In the place of an adapter whose feature is off. It has no values.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "every backend may be on")]
pub(crate) enum Off {}

impl Types for Off {
    type Context = Off;
    type Timer = Off;
    type Signals = Off;
}

impl Timer for Off {
    fn new(_: Instant) -> Off {
        unreachable!("the backend of this timer is off")
    }

    fn poll_at(self: Pin<&mut Self>, _: &mut Context<'_>, _: Instant) -> Poll<()> {
        match *self {}
    }

    fn reset(self: Pin<&mut Self>, _: Instant) {
        match *self {}
    }
}

#[cfg(feature = "tokio")]
type TokioTypes = crate::tokio::Tokio;
#[cfg(not(feature = "tokio"))]
type TokioTypes = Off;
#[cfg(feature = "smol")]
type SmolTypes = crate::smol::Smol;
#[cfg(not(feature = "smol"))]
type SmolTypes = Off;
#[cfg(feature = "async-std")]
type AsyncStdTypes = crate::async_std::AsyncStd;
#[cfg(not(feature = "async-std"))]
type AsyncStdTypes = Off;
#[cfg(feature = "sim")]
type SimTypes = crate::sim::Sim;
#[cfg(not(feature = "sim"))]
type SimTypes = Off;

pin_project! {
    /// One of several, a variant per backend. With one backend on it is that variant's size.
    #[project = ChoiceProjection]
    #[derive(Clone, Debug)]
    #[allow(dead_code, reason = "a variant whose backend is off is never made")]
    pub(crate) enum Choice<T, S, A, W> {
        Tokio { #[pin] value: T },
        Smol { #[pin] value: S },
        AsyncStd { #[pin] value: A },
        Sim { #[pin] value: W },
    }
}

impl<T, S, A, W> Choice<T, S, A, W> {
    /// The backend that it is of.
    pub(crate) fn backend(&self) -> Backend {
        match self {
            #[cfg(feature = "tokio")]
            Choice::Tokio { .. } => Backend::Tokio,
            #[cfg(feature = "smol")]
            Choice::Smol { .. } => Backend::Smol,
            #[cfg(feature = "async-std")]
            Choice::AsyncStd { .. } => Backend::AsyncStd,
            #[cfg(feature = "sim")]
            Choice::Sim { .. } => Backend::Sim,
            #[allow(unreachable_patterns, reason = "variants of backends that are off")]
            _ => unreachable!("a backend that is off made nothing"),
        }
    }
}

macro_rules! choices {
    ($($alias:ident = $types:ident::$associated:ident, $wrap:ident;)*) => {
        $(pub(crate) type $alias = Choice<
            <TokioTypes as $types>::$associated,
            <SmolTypes as $types>::$associated,
            <AsyncStdTypes as $types>::$associated,
            <SimTypes as $types>::$associated,
        >;)*

        /// Puts what an adapter made into the variant of its backend.
        pub(crate) trait Variant: Types + SocketTypes {
            $(fn $wrap(value: <Self as $types>::$associated) -> $alias;)*
        }

        #[allow(unused_macros, reason = "no backend may be on")]
        macro_rules! variant {
            ($adapter:ty, $name:ident) => {
                impl Variant for $adapter {
                    $(fn $wrap(value: <Self as $types>::$associated) -> $alias {
                        Choice::$name { value }
                    })*
                }
            };
        }
    };
}

choices! {
    AnyContext = Types::Context, any_context;
    AnyTimer = Types::Timer, any_timer;
    AnySignals = Types::Signals, any_signals;
    AnyTcpStream = SocketTypes::TcpStream, any_tcp_stream;
    AnyTcpListener = SocketTypes::TcpListener, any_tcp_listener;
    AnyUdpSocket = SocketTypes::UdpSocket, any_udp_socket;
    AnyUnixStream = SocketTypes::UnixStream, any_unix_stream;
    AnyUnixListener = SocketTypes::UnixListener, any_unix_listener;
    AnyUnixDatagram = SocketTypes::UnixDatagram, any_unix_datagram;
}

#[cfg(feature = "tokio")]
variant!(crate::tokio::Tokio, Tokio);
#[cfg(feature = "smol")]
variant!(crate::smol::Smol, Smol);
#[cfg(feature = "async-std")]
variant!(crate::async_std::AsyncStd, AsyncStd);
#[cfg(feature = "sim")]
variant!(crate::sim::Sim, Sim);
