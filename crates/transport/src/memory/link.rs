//! What two memory streams share: a pipe in each direction.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::Side;

/// Both directions behind one lock, so that a close or a reset touches them at once.
///
/// Invariants:
/// 1. A pipe holds at most `capacity` bytes.
/// 2. `ended` and `deaf` of a pipe never become false again; no byte is added to a pipe that is
///    either.
/// 3. Wakers are cloned, woken and dropped only while the lock is not held.
/// 4. A waker is stored in the same critical section that found nothing to do, so no wake is
///    lost.
pub(super) struct Link {
    capacity: usize,
    names: [Arc<str>; 2],
    pipes: Mutex<[Pipe; 2]>,
}

/// The bytes that one side sent and the other has not read.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// The sending side shut down.
    ended: bool,
    /// Nobody will read: the receiving end is closed.
    deaf: bool,
    /// The reader is to be told of a reset, once; then the pipe has ended.
    reset_due: bool,
    /// Halves of the *sending* end that were dropped; at 2 that end is closed.
    dropped: u8,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Link {
    pub(super) fn new(capacity: usize, names: [Arc<str>; 2]) -> Self {
        Link {
            capacity,
            names,
            pipes: Mutex::default(),
        }
    }

    pub(super) fn name(&self, side: Side) -> Arc<str> {
        self.names[side as usize].clone()
    }

    /// Reads at most `room` bytes, handed to `take` in at most two parts.
    pub(super) fn poll_read(
        &self,
        side: Side,
        cx: &mut Context<'_>,
        room: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Poll<io::Result<usize>> {
        let mut waker = Some(cx.waker().clone());
        let mut pipes = self.lock();
        let pipe = &mut pipes[side.peer() as usize];
        if !pipe.bytes.is_empty() {
            let count = room.min(pipe.bytes.len());
            let (front, back) = pipe.bytes.as_slices();
            let of_front = count.min(front.len());
            take(&front[..of_front]);
            if count > of_front {
                take(&back[..count - of_front]);
            }
            pipe.bytes.drain(..count);
            let writer = pipe.writer.take();
            drop(pipes);
            wake([writer]);
            return Poll::Ready(Ok(count));
        }
        if pipe.reset_due {
            pipe.reset_due = false;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.ended {
            return Poll::Ready(Ok(0));
        }
        mem::swap(&mut pipe.reader, &mut waker);
        drop(pipes);
        drop(waker);
        Poll::Pending
    }

    /// Writes as much of `slices` as there is room for.
    pub(super) fn poll_write(
        &self,
        side: Side,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut waker = Some(cx.waker().clone());
        let mut pipes = self.lock();
        let pipe = &mut pipes[side as usize];
        if pipe.ended || pipe.deaf {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut room = self.capacity - pipe.bytes.len();
        if room == 0 {
            mem::swap(&mut pipe.writer, &mut waker);
            drop(pipes);
            drop(waker);
            return Poll::Pending;
        }
        let before = pipe.bytes.len();
        for slice in slices {
            let count = room.min(slice.len());
            pipe.bytes.extend(&slice[..count]);
            room -= count;
        }
        let written = pipe.bytes.len() - before;
        let reader = pipe.reader.take();
        drop(pipes);
        wake([reader]);
        Poll::Ready(Ok(written))
    }

    /// Ends what `side` sends; the peer reads what is there and then the end.
    pub(super) fn shutdown(&self, side: Side) {
        let mut pipes = self.lock();
        let pipe = &mut pipes[side as usize];
        pipe.ended = true;
        let woken = [pipe.reader.take(), pipe.writer.take()];
        drop(pipes);
        wake(woken);
    }

    /// One half of `side` is gone; with the second its end is closed. Bytes it never read reset
    /// the peer, as the kernel does.
    pub(super) fn drop_half(&self, side: Side) {
        let mut pipes = self.lock();
        let [sent, received] = pipes_of(&mut pipes, side);
        sent.dropped += 1;
        if sent.dropped < 2 {
            return;
        }
        if !received.bytes.is_empty() {
            sent.reset_due = true;
        }
        close(pipes, side);
    }

    /// Gives up: the peer is reset. What `side` sent before can still be read.
    pub(super) fn abort(&self, side: Side) {
        let mut pipes = self.lock();
        pipes[side as usize].reset_due = true;
        close(pipes, side);
    }

    /// Gives up if one half of `side` is gone: what is about to be dropped is the other.
    pub(super) fn abort_last(&self, side: Side) {
        if self.lock()[side as usize].dropped > 0 {
            self.abort(side);
        }
    }

    fn lock(&self) -> MutexGuard<'_, [Pipe; 2]> {
        // Nothing between lock and unlock panics but an allocation failure, which aborts.
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the end of `side` in both directions and wakes all who wait on it.
fn close(mut pipes: MutexGuard<'_, [Pipe; 2]>, side: Side) {
    let [sent, received] = pipes_of(&mut pipes, side);
    sent.ended = true;
    received.deaf = true;
    let unread = mem::take(&mut received.bytes);
    let woken = [
        sent.reader.take(),
        sent.writer.take(),
        received.reader.take(),
        received.writer.take(),
    ];
    drop(pipes);
    drop(unread);
    wake(woken);
}

/// What `side` sent, and what it receives.
fn pipes_of(pipes: &mut [Pipe; 2], side: Side) -> [&mut Pipe; 2] {
    let [first, second] = pipes;
    match side {
        Side::First => [first, second],
        Side::Second => [second, first],
    }
}

fn wake<const N: usize>(wakers: [Option<Waker>; N]) {
    for waker in wakers.into_iter().flatten() {
        waker.wake();
    }
}
