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
    /// It was closed or has given up, or its connection broke and is not replaced.
    Closed,
}

/// Invariants:
/// 1. After [`ClientState::Closed`] nothing else is shown.
/// 2. What is noted under a lock is shown in the order in which that was held. One tells the watch at a
///    time: what is noted meanwhile he tells, too. So the watch goes back to nothing that was before.
/// 3. No lock of ours is held while the watch wakes.
pub(super) struct Board {
    shown: Mutex<Shown>,
    watch: WatchSender<ClientState>,
    /// A watch without readers takes no value.
    _reader: WatchReceiver<ClientState>,
}

struct Shown {
    latest: ClientState,
    told: ClientState,
    /// Somebody tells the watch.
    telling: bool,
}

impl Board {
    pub(super) fn new() -> Self {
        let (sender, reader) = watch(ClientState::Idle);
        Board {
            shown: Mutex::new(Shown {
                latest: ClientState::Idle,
                told: ClientState::Idle,
                telling: false,
            }),
            watch: sender,
            _reader: reader,
        }
    }

    /// Notes where the client stands now, for whoever [tells](Board::tell) it. It may be called under a
    /// lock: nobody is woken.
    pub(super) fn note(&self, state: ClientState) {
        let mut shown = self.lock();
        if !matches!(shown.latest, ClientState::Closed) {
            shown.latest = state;
        }
    }

    /// Shows what was noted, unless somebody is about to.
    pub(super) fn tell(&self) {
        let mut shown = self.lock();
        if shown.telling {
            return;
        }
        while shown.told != shown.latest {
            let latest = shown.latest;
            (shown.told, shown.telling) = (latest, true);
            drop(shown);
            let telling = Telling(self);
            let _ = self.watch.send(latest);
            shown = telling.done();
        }
    }

    pub(super) fn show(&self, state: ClientState) {
        self.note(state);
        self.tell();
    }

    pub(super) fn subscribe(&self) -> WatchReceiver<ClientState> {
        self.watch.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who tells the watch; another may, once it is dropped: a waker of somebody's may panic.
struct Telling<'a>(&'a Board);

impl<'a> Telling<'a> {
    fn done(self) -> MutexGuard<'a, Shown> {
        let board = self.0;
        drop(self);
        board.lock()
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.lock().telling = false;
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::task::{Context, Wake, Waker};
    use std::thread;

    use futures_util::FutureExt;

    use super::ClientState::{Closed, Connecting, Idle, Ready};
    use super::*;

    // CL2
    #[test]
    fn what_is_noted_in_an_order_is_shown_in_no_other() {
        const ALL: usize = 4000;
        let board = Board::new();
        let noted = Mutex::new(0);
        let reader = board.subscribe();
        thread::scope(|threads| {
            for _ in 0..3 {
                threads.spawn(|| {
                    loop {
                        let mut noted = noted.lock().unwrap();
                        if *noted == ALL {
                            return;
                        }
                        *noted += 1;
                        board.note(Connecting(*noted));
                        drop(noted);
                        board.tell();
                    }
                });
            }
            let mut before = 0;
            while before < ALL {
                let Connecting(now) = *reader.latest() else {
                    continue;
                };
                assert!(now >= before, "{now} after {before}");
                before = now;
            }
        });
        assert_eq!(*reader.latest(), Connecting(ALL));
    }

    /// Closes the client while it is told of something else; the second time it panics.
    struct Closes(Arc<Board>);

    impl Wake for Closes {
        fn wake(self: Arc<Self>) {
            match *self.0.watch.latest() {
                Closed => panic!("a waker of somebody's"),
                _ => self.0.show(Closed),
            }
        }
    }

    /// Does something while [`Closes`] waits for the board.
    fn woken(board: &Arc<Board>, act: impl FnOnce()) {
        let waker = Waker::from(Arc::new(Closes(board.clone())));
        let mut reader = board.subscribe();
        let mut changed = reader.changed();
        let polled = changed.poll_unpin(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        act();
    }

    // CL2
    #[test]
    fn who_is_woken_may_show_something_else_and_panic() {
        let board = Arc::new(Board::new());
        woken(&board, || {
            board.show(Ready);
            assert_eq!(*board.watch.latest(), Closed);
            board.show(Idle);
        });
        assert_eq!(*board.watch.latest(), Closed);

        let board = Arc::new(Board::new());
        woken(&board, || {
            let shown = catch_unwind(AssertUnwindSafe(|| board.show(Closed)));
            assert!(shown.is_err());
        });
        assert_eq!(*board.watch.latest(), Closed);
        assert!(!board.lock().telling);
    }
}
