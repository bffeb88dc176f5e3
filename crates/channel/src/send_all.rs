//! Sending many values at once.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::error::{SendAllError, SendError};
use crate::exchange::{Exchange, SendProgress};
use crate::flavor::{Flavor, Threads};

/// How many values are taken from the iterator before they are moved into the
/// channel; more would not make the share of the lock in the cost smaller.
const BATCH: usize = 128;

/// The future of [`Sender::send_all`](crate::Sender::send_all).
///
/// # Panics
///
/// If it is polled again after it has finished.
#[must_use = "a send does nothing unless it is awaited"]
pub struct SendAllFuture<'a, T, I, F: Flavor = Threads> {
    exchange: &'a Exchange<T, F>,
    values: I,
    /// Empty but for the moment of moving a batch.
    batch: Vec<T>,
    /// The send of the value that found no room.
    waiting: SendProgress<T>,
    sent: usize,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Moving,
    Waiting,
    Finished,
}

/// Values and iterator are owned, never pinned.
impl<T, I, F: Flavor> Unpin for SendAllFuture<'_, T, I, F> {}

/// What became of a batch.
enum Moved {
    /// The iterator has ended.
    All,
    /// As many as a batch holds.
    Batch,
    /// What there was room for, and now there is none; or the channel is closed.
    Nothing,
}

/// Gives the slots of a batch up if the iterator panics.
struct Slots<'a, T, F: Flavor> {
    exchange: &'a Exchange<T, F>,
    count: usize,
}

impl<T, F: Flavor> Drop for Slots<'_, T, F> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.exchange.release_slots(self.count);
        }
    }
}

impl<'a, T, I: Iterator<Item = T>, F: Flavor> SendAllFuture<'a, T, I, F> {
    pub(crate) fn new(exchange: &'a Exchange<T, F>, values: I) -> Self {
        Self {
            exchange,
            values,
            batch: Vec::new(),
            waiting: SendProgress::Finished,
            sent: 0,
            stage: Stage::Moving,
        }
    }

    /// How many values were sent so far.
    ///
    /// ```
    /// # futures_lite::future::block_on(async {
    /// use futures_lite::future::poll_once;
    ///
    /// let (sender, receiver) = bowline_channel::bounded(2);
    /// let mut sending = sender.send_all(1..=5);
    /// assert_eq!(poll_once(&mut sending).await, None);
    /// assert_eq!(sending.sent(), 2);
    /// drop(sending);
    /// assert_eq!((receiver.recv().await, receiver.recv().await), (Ok(1), Ok(2)));
    /// # });
    /// ```
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Moves as many values as there is room for, up to a batch.
    fn move_batch(&mut self) -> Moved {
        let mut slots = Slots {
            exchange: self.exchange,
            count: self.exchange.reserve_many(BATCH),
        };
        if slots.count == 0 {
            return Moved::Nothing;
        }
        self.batch.extend(self.values.by_ref().take(slots.count));
        let taken = self.batch.len();
        let reserved = std::mem::take(&mut slots.count);
        self.sent += taken;
        self.exchange.fill_slots(&mut self.batch, reserved);
        match taken {
            taken if taken < reserved => Moved::All,
            BATCH => Moved::Batch,
            _ => Moved::Nothing,
        }
    }
}

impl<T, I: Iterator<Item = T>, F: Flavor> Future for SendAllFuture<'_, T, I, F> {
    type Output = Result<usize, SendAllError<T>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            match this.stage {
                Stage::Moving => match this.move_batch() {
                    Moved::All => {
                        this.stage = Stage::Finished;
                        return Poll::Ready(Ok(this.sent));
                    }
                    Moved::Batch => {
                        // Others are to run, and to make room, in between.
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    Moved::Nothing => match this.values.next() {
                        Some(value) => {
                            this.waiting = SendProgress::send(value);
                            this.stage = Stage::Waiting;
                        }
                        None => {
                            this.stage = Stage::Finished;
                            return Poll::Ready(Ok(this.sent));
                        }
                    },
                },
                Stage::Waiting => {
                    let Poll::Ready(outcome) = this.exchange.poll_send(&mut this.waiting, context)
                    else {
                        return Poll::Pending;
                    };
                    if let Err(SendError(value)) = outcome {
                        this.stage = Stage::Finished;
                        let sent = this.sent;
                        return Poll::Ready(Err(SendAllError { value, sent }));
                    }
                    this.sent += 1;
                    this.stage = Stage::Moving;
                }
                Stage::Finished => panic!("a send was polled after it had finished"),
            }
        }
    }
}

impl<T, I, F: Flavor> Drop for SendAllFuture<'_, T, I, F> {
    fn drop(&mut self) {
        if let SendProgress::Parked(key) = self.waiting {
            self.exchange.forget_send(key);
        }
    }
}

impl<T, I, F: Flavor> fmt::Debug for SendAllFuture<'_, T, I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendAllFuture")
            .field("sent", &self.sent)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
