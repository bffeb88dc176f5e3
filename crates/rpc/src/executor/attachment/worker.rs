//! The tasks that run the jobs of a broker, one after the other.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bowline_concurrency::yield_now;

use super::{Attachment, State};
use crate::context::Cancel;
use crate::executor::Job;
use crate::executor::caught::contained;
use crate::executor::places::Place;
use crate::executor::running::Running;

/// Jobs a worker ends in a row before other tasks get their turn.
const BATCH: usize = 32;
/// Workers kept for later jobs while there is nothing to do, and slots for their work.
pub(super) const IDLE: usize = 64;

/// What a worker does: a job that has not begun, or waits for something.
///
/// The place is given up after the job.
pub(in crate::executor) struct Work {
    running: Running,
    /// Taken by the end alone.
    place: Option<Place>,
    sleeps: bool,
}

impl Work {
    pub(in crate::executor) fn new(running: Running, place: Place) -> Self {
        Self {
            running,
            place: Some(place),
            sleeps: false,
        }
    }

    pub(in crate::executor) fn job(&self) -> &Job {
        self.running.job()
    }

    /// The job without its place, for a poll where nobody is to find it asleep.
    pub(in crate::executor) fn running(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl Future for Work {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let ended = Pin::new(&mut this.running).poll(cx);
        if let (true, Some(place)) = (ended.is_pending(), &mut this.place) {
            if !std::mem::replace(&mut this.sleeps, true) {
                let job = this.running.job();
                place.sleeps(job.sight(), job.attachment(), cx.waker().clone());
            }
            if place.is_given_up() {
                this.running.give_up();
                place.answered();
            } else if this.running.job().is_answered() {
                place.goes_on();
            }
        }
        ended
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // The handler ends before its place is free. A function on a thread goes on, and has it.
        self.running.drop_handler();
        if let (Some(place), Cancel::Flag(flag)) = (self.place.take(), self.running.job().cancel())
        {
            flag.leave_to_thread(place);
        }
    }
}

/// Where work lies from when it is given until it has ended, so that it is not moved on the way; used
/// again for other work.
pub(super) type Slot = Box<Option<Work>>;

/// A worker, roused for its first job.
pub(super) async fn run_jobs(attachment: Arc<Attachment>, number: u64) {
    let mut roused = true;
    let mut empty: Option<Slot> = None;
    loop {
        for _ in 0..BATCH {
            let next = NextWork {
                attachment: &attachment,
                number,
                sleeps: false,
                roused: std::mem::take(&mut roused),
                empty: empty.take(),
            };
            let Some(mut slot) = next.await else {
                return;
            };
            if let Some(work) = &mut *slot {
                let mut running = pin!(contained(work));
                let mut waits = false;
                poll_fn(|cx| {
                    let ended = running.as_mut().poll(cx);
                    if ended.is_pending() && !std::mem::replace(&mut waits, true) {
                        // It does not come to the next job itself. If there are still more, those
                        // it roused go on.
                        attachment.rouse();
                    }
                    ended
                })
                .await;
            }
            *slot = None;
            empty = Some(slot);
        }
        yield_now().await;
    }
}

/// The next work for a worker; `None` if it is to end.
struct NextWork<'a> {
    attachment: &'a Arc<Attachment>,
    number: u64,
    /// It is in `idle`, or was roused since.
    sleeps: bool,
    /// It counts in `looking`.
    roused: bool,
    /// Of the work before.
    empty: Option<Slot>,
}

impl NextWork<'_> {
    /// Takes its waker back, or itself out of those that look.
    fn wake_up(&mut self, state: &mut State) -> Option<Waker> {
        if std::mem::take(&mut self.sleeps) {
            let place = state.idle.iter().position(|(it, _)| *it == self.number);
            if let Some(place) = place {
                return Some(state.idle.swap_remove(place).1);
            }
            self.roused = true;
        }
        if std::mem::take(&mut self.roused) {
            state.looking -= 1;
        }
        None
    }
}

impl Future for NextWork<'_> {
    type Output = Option<Slot>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let waker = cx.waker().clone();
        let attachment = self.attachment;
        let mut state = attachment.state();
        let former = self.wake_up(&mut state);
        let empty = self.empty.take().and_then(|slot| state.keep(slot));
        let next = match state.ready.pop_front() {
            Some(slot) => Poll::Ready(Some(slot)),
            None if attachment.is_over() || state.idle.len() >= IDLE => Poll::Ready(None),
            None => {
                state.idle.push((self.number, waker));
                self.sleeps = true;
                Poll::Pending
            }
        };
        drop(state);
        drop((former, empty));
        next
    }
}

impl Drop for NextWork<'_> {
    fn drop(&mut self) {
        if self.sleeps || self.roused {
            let attachment = self.attachment;
            let former = self.wake_up(&mut attachment.state());
            drop(former);
        }
    }
}
