//! Signals as programs hear them.

use crate::current;
use crate::table::SocketRef;
use std::fmt;
use std::task::{Context, Poll};

/// A signal that a host can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// `SIGINT`.
    Interrupt,
    /// `SIGTERM`.
    Terminate,
    /// `SIGHUP`.
    Hangup,
    /// `SIGQUIT`.
    Quit,
    /// `SIGUSR1`.
    User1,
    /// `SIGUSR2`.
    User2,
    /// `SIGWINCH`, the only one that ends nobody.
    WindowChange,
}

impl Signal {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Signal::Interrupt => "SIGINT",
            Signal::Terminate => "SIGTERM",
            Signal::Hangup => "SIGHUP",
            Signal::Quit => "SIGQUIT",
            Signal::User1 => "SIGUSR1",
            Signal::User2 => "SIGUSR2",
            Signal::WindowChange => "SIGWINCH",
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Listens for `signal` on this host. For the rest of its present life the host is not ended by it.
pub fn signals(signal: Signal) -> Signals {
    current::with("signals", |state| Signals {
        world: state.id,
        listener: state.listen_signal(signal),
    })
}

/// Sends `signal` to this host. It is delivered after the present poll; where nobody ever listened
/// for it the host ends as if killed: a host is counted as crashed, a client or the one host of
/// [`block_on`](crate::block_on) fails the run.
pub fn raise(signal: Signal) {
    current::with("raise", |state| {
        let host = state.host();
        state.send_signal(host, signal);
    });
}

/// The deliveries of one signal to this host; made by [`signals`].
///
/// Each hears every delivery; those between two looks are one. It remembers one waker.
#[derive(Debug)]
#[must_use = "a signal is heard by who waits for it"]
pub struct Signals {
    world: u64,
    listener: SocketRef,
}

impl Signals {
    /// Ready once the signal was delivered since the last time.
    ///
    /// # Panics
    /// Outside the world it was made in.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        current::with_world(self.world, "signals", |state| {
            state.poll_signal(self.listener, cx.waker())
        })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let listener = self.listener;
        current::if_world(self.world, |state| state.drop_signal(listener));
    }
}
