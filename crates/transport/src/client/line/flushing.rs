//! What became of what was queued: flushed, or gone with its connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use super::connection::Connection;
use super::{Line, Waiting};
use crate::dyn_transport::DynSender;
use crate::error::{Break, Delivery, Error, ErrorKind, Operation};
use crate::half_wakers::Half;
use crate::transport::{TransportRecv, TransportSend};

/// The first connection on which somebody queued messages that no flush of his has told him of.
///
/// Read and changed only by who has the turn to send.
#[derive(Debug, Default)]
pub(in crate::client) struct Queued(AtomicU64);

impl Queued {
    /// A message was queued on the connection of this generation, which is not 0.
    pub(in crate::client) fn on(&self, generation: u64) {
        if self.0.load(Ordering::Relaxed) == 0 {
            self.0.store(generation, Ordering::Relaxed);
        }
    }

    fn first(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|generation| *generation > 0)
    }

    fn told(&self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

/// The latest connection that was replaced with messages on it which were not wholly written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Gone {
    generation: u64,
    frames: usize,
}

impl Gone {
    pub(super) fn note(&mut self, generation: u64, frames: usize) {
        *self = Gone { generation, frames };
    }

    /// For a connection of which it is not known yet: until that is [settled](Line::settle), all is
    /// lost. What was noted before.
    pub(super) fn suspect(&mut self, generation: u64) -> Gone {
        std::mem::replace(
            self,
            Gone {
                generation,
                frames: 1,
            },
        )
    }
}

impl<S, R> Line<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// Waits until all that was queued on the connection that there is has been written. Whoever
    /// `queued` on one that is gone since is told, once.
    pub(in crate::client) fn poll_flush(
        &self,
        queued: &Queued,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.wakers.store(Half::Sender, cx.waker());
        self.check_lost(Operation::Flush)?;
        self.check_gone(queued, Operation::Flush)?;
        self.check_over(Operation::Flush)?;
        if let Some(mut sender) = self.sender(Operation::Flush)? {
            let flushed = ready!(sender.poll_flush(cx));
            if let Err(error) = flushed {
                // Whoever flushes is told, and does not wait for another connection.
                let _ = self.sender_failed(sender, error.clone());
                queued.told();
                return Poll::Ready(Err(error));
            }
        }
        self.check_gone(queued, Operation::Flush)?;
        queued.told();
        Poll::Ready(Ok(()))
    }

    /// Ends the sending side for good. Whoever `queued` on a connection that is gone since is told.
    pub(in crate::client) fn poll_shutdown(
        &self,
        queued: &Queued,
        waiting: &mut Waiting,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        if !self.lock().shut_down {
            ready!(self.poll_ready(Half::Sender, Operation::Shutdown, waiting, cx))?;
            self.lock().shut_down = true;
        }
        self.wakers.store(Half::Sender, cx.waker());
        self.check_lost(Operation::Shutdown)?;
        self.check_over(Operation::Shutdown)?;
        // Where there is none it broke, and its receiver was told.
        if let Some(mut sender) = self.sender(Operation::Shutdown)? {
            ready!(sender.poll_shutdown(cx))?;
        }
        self.check_gone(queued, Operation::Shutdown)?;
        queued.told();
        Poll::Ready(Ok(()))
    }

    /// Notes a message that had room on a connection which was gone before it could be queued, by
    /// somebody who can be told only of what the codec refuses.
    pub(in crate::client) fn note_lost(&self) {
        self.lock().lost += 1;
    }

    /// Finds out whether all that was queued on a connection that was taken out had been written;
    /// `before` is what was noted until then. How many frames had not, at least.
    pub(super) fn settle(&self, mut connection: Connection<S, R>, before: Gone) -> usize {
        let frames = connection.unwritten();
        let mut state = self.lock();
        if state.gone.generation == connection.generation {
            match frames {
                0 => state.gone = before,
                frames => state.gone.frames = frames,
            }
        }
        drop(state);
        drop(connection);
        frames
    }

    /// Says, once, how many messages had room on a connection that was gone before they came.
    fn check_lost(&self, operation: Operation) -> Result<(), Error> {
        let mut state = self.lock();
        let lost = std::mem::take(&mut state.lost);
        drop(state);
        match lost {
            0 => Ok(()),
            frames => Err(self
                .went(operation, frames)
                .with_delivery(Delivery::NotSent)),
        }
    }

    /// Says, once to each, that messages went with the connection that they were queued on.
    fn check_gone(&self, queued: &Queued, operation: Operation) -> Result<(), Error> {
        let gone = self.lock().gone;
        if queued.first().is_none_or(|first| first > gone.generation) {
            return Ok(());
        }
        queued.told();
        let error = self.went(operation, gone.frames);
        Err(error.with_delivery(Delivery::MaybeSent))
    }

    fn went(&self, operation: Operation, frames: usize) -> Error {
        Error::new(operation, ErrorKind::Broken(Break::Other))
            .with_unsent_frames(frames)
            .with_peer(self.attributes().peer_addr().cloned())
    }
}

impl<S, R> Connection<S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    /// How many of the frames that were queued here were not wholly written, at least.
    fn unwritten(&mut self) -> usize {
        let (Some(sender), Some(receiver)) = (&mut self.sender, &self.receiver) else {
            return 1; // somebody still has a half, and may queue on it
        };
        match receiver.unsent_frames() {
            0 => usize::from(holds_back(sender)),
            frames => frames,
        }
    }
}

/// Whether the stream may hold back some of what it was given.
pub(super) fn holds_back<S, R>(sender: &mut DynSender<S, R>) -> bool
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    let flushed = sender.poll_flush(&mut Context::from_waker(Waker::noop()));
    !matches!(flushed, Poll::Ready(Ok(())))
}
