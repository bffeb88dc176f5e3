//! Signals of the operating system, as something to wait for.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

use crate::Backend;
use crate::runtime::{AnySignals, Off, Runtime, Variant};

/// A signal that can be waited for. Windows has [`Interrupt`](Signal::Interrupt) and
/// [`Terminate`](Signal::Terminate) alone.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// Ctrl-C at the terminal (`SIGINT`).
    Interrupt,
    /// Please end (`SIGTERM`).
    Terminate,
    /// The terminal is gone, or read your configuration again (`SIGHUP`).
    Hangup,
    /// End and leave a core (`SIGQUIT`).
    Quit,
    /// Of the program's own meaning (`SIGUSR1`).
    User1,
    /// Of the program's own meaning (`SIGUSR2`).
    User2,
    /// The terminal has another size (`SIGWINCH`).
    WindowChange,
}

/// Begins to listen for `signal`.
///
/// From now on, and for the life of the process, the signal no longer does what it does by default,
/// also after the last stream was dropped. Every stream hears every delivery.
///
/// # Errors
///
/// What the system reports; [`io::ErrorKind::Unsupported`] where there is no such signal.
///
/// # Panics
///
/// Where the current backend does not run on this thread.
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "tokio", unix))]
/// # fn main() -> std::io::Result<()> {
/// use bowline_backend::Backend;
/// use bowline_backend::signal::{Signal, listen};
///
/// Backend::Tokio.block_on(async {
///     let mut user1 = listen(Signal::User1)?;
///     # let ourselves = rustix::process::getpid();
///     # rustix::process::kill_process(ourselves, rustix::process::Signal::USR1)?;
///     // kill -USR1 <pid>
///     user1.recv().await
/// })
/// # }
/// # #[cfg(not(all(feature = "tokio", unix)))]
/// # fn main() {}
/// ```
pub fn listen(signal: Signal) -> io::Result<SignalStream> {
    let backend = Backend::required().running();
    let signals = dispatch!(backend, R => R::any_signals(<R as Runtime>::listen_signal(signal)?));
    Ok(SignalStream { signal, signals })
}

/// The deliveries of one signal, from when [`listen`] was called.
#[must_use = "a signal is heard by who waits for it"]
pub struct SignalStream {
    signal: Signal,
    signals: AnySignals,
}

impl SignalStream {
    /// Waits for the next delivery. Several that come between two calls may be one: after the last
    /// of them there is at least one.
    ///
    /// # Errors
    ///
    /// What the system reports.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened*: a delivery is taken in the poll that reports it.
    pub async fn recv(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// As [`recv`](SignalStream::recv), for one task.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.signals, signals => SignalSource::poll_recv(signals, cx))
    }

    /// What it listens for.
    pub fn signal(&self) -> Signal {
        self.signal
    }

    /// The backend that it stays with.
    pub fn backend(&self) -> Backend {
        self.signals.backend()
    }
}

impl fmt::Debug for SignalStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalStream")
            .field("backend", &self.backend())
            .field("signal", &self.signal)
            .finish()
    }
}

/// The deliveries of one signal to an adapter.
pub(crate) trait SignalSource: Send + Sync + 'static {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl SignalSource for Off {
    fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }
}
