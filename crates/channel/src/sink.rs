//! A sender as a sink.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;

use crate::error::SendError;
use crate::exchange::SendProgress;
use crate::flavor::{Flavor, Threads};
use crate::sender::Sender;

/// A [`Sink`] that sends into a channel, from
/// [`Sender::into_sink`](crate::Sender::into_sink).
///
/// Being ready means to have a slot in the channel, so a value that was
/// accepted by `start_send` is sent: flushing never waits. Closing the sink
/// gives up this sender, and with the last one the channel is closed. What was
/// reserved but not used goes back with it.
#[must_use = "dropping the sink gives up its sender"]
pub struct SendSink<T, F: Flavor = Threads> {
    sender: Option<Sender<T, F>>,
    slot: Slot<T>,
}

#[derive(Debug)]
enum Slot<T> {
    None,
    Wanted(SendProgress<T>),
    Held,
}

/// It never pins a value.
impl<T, F: Flavor> Unpin for SendSink<T, F> {}

impl<T, F: Flavor> SendSink<T, F> {
    pub(crate) fn new(sender: Sender<T, F>) -> Self {
        Self {
            sender: Some(sender),
            slot: Slot::None,
        }
    }

    /// Gives up the slot that is held or waited for.
    fn release(&mut self) {
        let Some(sender) = &self.sender else { return };
        match std::mem::replace(&mut self.slot, Slot::None) {
            Slot::Held => sender.exchange().release_slots(1),
            Slot::Wanted(SendProgress::Parked(key)) => sender.exchange().forget_send(key),
            Slot::Wanted(_) | Slot::None => {}
        }
    }
}

impl<T, F: Flavor> Sink<T> for SendSink<T, F> {
    type Error = SendError<()>;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<()>>> {
        let this = self.get_mut();
        let Some(sender) = &this.sender else {
            return Poll::Ready(Err(SendError(())));
        };
        if let Slot::None = this.slot {
            this.slot = Slot::Wanted(SendProgress::reserve());
        }
        if let Slot::Wanted(progress) = &mut this.slot {
            let outcome = ready!(sender.exchange().poll_reserve(progress, context));
            this.slot = if outcome.is_ok() {
                Slot::Held
            } else {
                Slot::None
            };
            outcome?;
        }
        Poll::Ready(Ok(()))
    }

    /// # Panics
    ///
    /// If the sink was not ready.
    fn start_send(self: Pin<&mut Self>, value: T) -> Result<(), SendError<()>> {
        let this = self.get_mut();
        let Some(sender) = &this.sender else {
            return Err(SendError(()));
        };
        assert!(
            matches!(this.slot, Slot::Held),
            "a value was given to a sink that was not ready"
        );
        this.slot = Slot::None;
        sender.exchange().fill_slot(value);
        Ok(())
    }

    fn poll_flush(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<()>>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Result<(), SendError<()>>> {
        let this = self.get_mut();
        this.release();
        drop(this.sender.take());
        Poll::Ready(Ok(()))
    }
}

impl<T, F: Flavor> Drop for SendSink<T, F> {
    fn drop(&mut self) {
        self.release();
    }
}

impl<T, F: Flavor> fmt::Debug for SendSink<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendSink")
            .field("sender", &self.sender)
            .field("ready", &matches!(self.slot, Slot::Held))
            .finish_non_exhaustive()
    }
}
