mod error;
mod future;
mod job;
mod state;

pub use error::{Closed, QueueSendError, QueueTryRecvError, QueueTrySendError, TooManyDone};
pub use future::{QueueJoin, QueueRecv, QueueRecvJob, QueueSend};
pub use job::Job;

use super::guarded::Guarded;
use super::leaf::Leaf;
use super::park;
use crate::invalid_value::InvalidValue;
use future::{Joining, Receiving, Sending};
use state::State;
use std::fmt;

/// A queue of work that knows how much of it is unfinished.
///
/// Every value sent is unfinished until [`task_done`](Queue::task_done) was called for it, or
/// the [`Job`] dropped in which it was received; [`join`](Queue::join) waits until none is.
/// Senders and receivers wait in the order of arrival. A value promised to a receiver that is
/// dropped stays at the head of the queue, for the next one.
///
/// After [`close`](Queue::close) nothing can be sent; receivers take what is left and then get
/// [`Closed`].
///
/// Where nobody has to know when the work is done, the channels of `bowline-channel` do the
/// same with ends that can be moved apart.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")] {
/// use bowline_backend::Backend;
/// use bowline_concurrency::sync::Queue;
/// use bowline_concurrency::{GroupError, Root, checkpoint, task_group};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static SUM: AtomicU32 = AtomicU32::new(0);
///
/// let done: Result<(), GroupError<()>> =
///     Root::new().backend(Backend::Smol).block_on(task_group(|group| async move {
///         let queue = Arc::new(Queue::bounded(4).expect("four is not zero"));
///         for _ in 0..3 {
///             let queue = queue.clone();
///             group.spawn_ok(async move {
///                 while let Ok(job) = queue.recv_job().await {
///                     checkpoint().await;
///                     SUM.fetch_add(*job, Ordering::Relaxed);
///                 }
///             });
///         }
///         for n in 1..=10 {
///             queue.send(n).await.expect("it is open");
///         }
///         queue.join().await;
///         assert_eq!(SUM.load(Ordering::Relaxed), 55);
///         queue.close();
///         Ok(())
///     }));
/// assert!(done.is_ok());
/// # }
/// ```
pub struct Queue<T> {
    guarded: Guarded<State<T>>,
}

/// A snapshot of a [`Queue`].
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStatistics {
    /// Values in the queue, those promised to receivers included.
    pub len: usize,
    /// How many it takes; none if it is not bounded.
    pub capacity: Option<usize>,
    /// Values sent and not done.
    pub unfinished: usize,
    /// Whether it was closed.
    pub closed: bool,
    /// How many wait for room.
    pub senders: usize,
    /// How many wait for a value.
    pub receivers: usize,
    /// How many wait until all is done.
    pub joiners: usize,
}

impl<T> Queue<T> {
    /// A queue of at most `capacity` values.
    ///
    /// # Errors
    ///
    /// [`InvalidValue`] for zero: a rendezvous is a channel's.
    pub const fn bounded(capacity: usize) -> Result<Queue<T>, InvalidValue> {
        if capacity == 0 {
            let what = "the capacity of a queue";
            return Err(InvalidValue::new(what, capacity, 1, usize::MAX));
        }
        Ok(Queue::with_capacity(capacity))
    }

    /// A queue that takes every value; nothing holds its senders back.
    pub const fn unbounded() -> Queue<T> {
        Queue::with_capacity(usize::MAX)
    }

    const fn with_capacity(capacity: usize) -> Queue<T> {
        Queue {
            guarded: Guarded::new(State::new(capacity)),
        }
    }

    /// Waits for room and sends.
    ///
    /// # Errors
    ///
    /// [`QueueSendError`] with the value, if the queue is closed or is closed meanwhile.
    ///
    /// # Cancel safety
    ///
    /// The value is dropped and nothing was sent, unless there was room for it already: then it
    /// was sent.
    pub fn send(&self, value: T) -> QueueSend<'_, T> {
        QueueSend(Leaf::new(self, Sending::new(value)))
    }

    /// Sends if there is room.
    ///
    /// # Errors
    ///
    /// [`QueueTrySendError`] with the value, if the queue is full or closed.
    pub fn try_send(&self, value: T) -> Result<(), QueueTrySendError<T>> {
        self.guarded.step(|state, after| {
            if state.closed {
                return Err(QueueTrySendError::Closed(value));
            }
            if !state.may_send() {
                return Err(QueueTrySendError::Full(value));
            }
            state.accept(value, after);
            Ok(())
        })
    }

    /// Parks the thread until there is room, and sends.
    ///
    /// # Errors
    ///
    /// As [`send`](Queue::send).
    ///
    /// # Panics
    ///
    /// Inside a task.
    #[track_caller]
    pub fn send_blocking(&self, value: T) -> Result<(), QueueSendError<T>> {
        park::wait_for("send_blocking", self.send(value))
    }

    /// Waits for the oldest value. [`task_done`](Queue::task_done) is to be called for it.
    ///
    /// # Errors
    ///
    /// [`Closed`], once the queue is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// The place in the queue of receivers is lost; no value is.
    pub fn recv(&self) -> QueueRecv<'_, T> {
        QueueRecv(Leaf::new(self, Receiving::new()))
    }

    /// Waits for the oldest value, which is done when the job is dropped.
    ///
    /// # Errors
    ///
    /// [`Closed`], once the queue is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// As [`recv`](Queue::recv).
    pub fn recv_job(&self) -> QueueRecvJob<'_, T> {
        QueueRecvJob::new(self)
    }

    /// Takes the oldest value that was not promised to a receiver.
    ///
    /// # Errors
    ///
    /// [`QueueTryRecvError`] says whether one may come.
    pub fn try_recv(&self) -> Result<T, QueueTryRecvError> {
        self.guarded.step(|state, after| {
            if let Some(value) = state.take(after) {
                return Ok(value);
            }
            Err(if state.has_ended() {
                QueueTryRecvError::Closed
            } else {
                QueueTryRecvError::Empty
            })
        })
    }

    /// Parks the thread until there is a value.
    ///
    /// # Errors
    ///
    /// As [`recv`](Queue::recv).
    ///
    /// # Panics
    ///
    /// Inside a task.
    #[track_caller]
    pub fn recv_blocking(&self) -> Result<T, Closed> {
        park::wait_for("recv_blocking", self.recv())
    }

    /// Says that one value is done; the last one lets those pass who [`join`](Queue::join).
    ///
    /// # Errors
    ///
    /// [`TooManyDone`], if as many are done as were sent.
    pub fn task_done(&self) -> Result<(), TooManyDone> {
        self.guarded.step(|state, after| state.task_done(after))
    }

    /// Waits until every value sent is done; does not wait where none was sent.
    ///
    /// # Cancel safety
    ///
    /// Nothing happened.
    pub fn join(&self) -> QueueJoin<'_, T> {
        QueueJoin(Leaf::new(self, Joining::new()))
    }

    /// Takes nothing more: senders that wait get their values back, receivers take what is left.
    pub fn close(&self) {
        self.guarded.step(|state, after| state.close(after));
    }

    /// How many values are in the queue, those promised to receivers included.
    pub fn len(&self) -> usize {
        self.guarded.look(|state| state.len())
    }

    /// Whether no value is in the queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many values it takes; `None` if it is not bounded.
    pub fn capacity(&self) -> Option<usize> {
        self.guarded.look(|state| state.capacity())
    }

    /// How many values were sent and are not done.
    pub fn unfinished(&self) -> usize {
        self.guarded.look(|state| state.unfinished)
    }

    /// What is in it, and who waits.
    pub fn statistics(&self) -> QueueStatistics {
        self.guarded.look(State::statistics)
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}
