//! What a client shows of itself, in [`Client::state`](super::Client::state).

use std::sync::{Mutex, MutexGuard, PoisonError};

use bowline_backend::time::Instant;
use bowline_channel::{WatchReceiver, WatchSender, watch};

/// Where a [`Client`](super::Client) stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientState {
    /// There is no connection, and nobody makes one.
    Idle,
    /// A connection is being made, by this attempt since the last good one.
    Connecting(usize),
    /// There is a connection.
    Ready,
    /// A connection is to be made once this time has come.
    Waiting(Instant),
    /// It was closed, or has given up.
    Closed,
}

/// Invariants:
/// 1. After [`ClientState::Closed`] nothing else is shown.
/// 2. Whoever changes `shown` tells the watch, and does so again where another has changed it
///    meanwhile: what the watch was told last is what is shown. No lock is held while it wakes.
pub(super) struct Board {
    shown: Mutex<ClientState>,
    watch: WatchSender<ClientState>,
    /// A watch without readers takes no value.
    _reader: WatchReceiver<ClientState>,
}

impl Board {
    pub(super) fn new() -> Self {
        let (sender, reader) = watch(ClientState::Idle);
        Board {
            shown: Mutex::new(ClientState::Idle),
            watch: sender,
            _reader: reader,
        }
    }

    pub(super) fn show(&self, state: ClientState) {
        let mut shown = self.lock();
        if matches!(*shown, ClientState::Closed) || *shown == state {
            return;
        }
        *shown = state;
        drop(shown);
        loop {
            let told = *self.lock();
            let _ = self.watch.send(told);
            if *self.lock() == told {
                return;
            }
        }
    }

    pub(super) fn subscribe(&self) -> WatchReceiver<ClientState> {
        self.watch.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, ClientState> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
