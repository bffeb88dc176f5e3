//! The sending side of a message stream, which both of its halves drive.

mod answers;
mod breaking;
mod stall;
mod writing;

use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bowline_backend::stream::{ByteStream, ByteWriter};
use bowline_codec::OutputBatch;
use futures_io::AsyncWrite;

use self::breaking::PANICKED;
use self::stall::{Progress, Stall};
use self::writing::{Round, Writing, kind_of, write};
#[cfg(all(unix, feature = "ancillary"))]
use super::descriptors::Attached;
use super::lingering::Linger;
use crate::attribute::Attributes;
use crate::error::{Break, ErrorKind};
use crate::half_wakers::{Half, HalfWakers};

/// Frames on their way out, and the byte stream's writing half.
///
/// The sender queues frames, and both halves write: a program that only waits for replies still
/// gets its requests out. Nothing of the user's (codec, stream, waker) is called under the lock;
/// instead what is needed is taken out and put back.
///
/// Invariants:
/// 1. `writing` is absent only while one half is inside [`drive`](Self::drive), or for good once
///    released. Who finds it absent sets `again`, and who has it then goes round once more.
/// 2. Frames are written in the order they were queued: `front` before `back`; they are swapped
///    only where `front` is empty.
/// 3. Only the sender takes `back` out, and puts it back; meanwhile there is none, and nobody makes one.
/// 4. The stream is polled with `write_waker` alone, which wakes the wakers of both halves, so
///    neither steals the other's.
/// 5. A half stores its waker before it drives and looks, so no change is missed.
/// 6. Descriptors are queued with the frame that is first in `back`, and move to the front with it.
/// 7. A stream that panics in a write is put back like one that fails, and both halves are woken.
/// 8. A side that is broken holds no frame: `front_len` and `front_frames` are of all that it held.
pub(super) struct Outbound<S: ByteStream> {
    state: Mutex<State<S>>,
    /// The stream took bytes and has not said that it holds none of them back. Set under the lock;
    /// who looks without it may see the state before.
    unflushed: AtomicBool,
    /// The phase is `Broken`. Set as that is; who finds it unset has stored his waker and is woken.
    failed: AtomicBool,
    wakers: Arc<HalfWakers>,
    write_waker: Waker,
    setup: Setup,
}

/// What was fixed when the message stream was made; its halves share it.
pub(super) struct Setup {
    pub(super) high_water: usize,
    pub(super) close_timeout: Duration,
    pub(super) write_stall_timeout: Option<Duration>,
    pub(super) read_idle_timeout: Option<Duration>,
    pub(super) frame_timeout: Option<Duration>,
    pub(super) max_frame: usize,
    pub(super) linger: Linger,
    pub(super) attributes: Attributes,
}

struct State<S: ByteStream> {
    writing: Option<Writing<S::WriteHalf>>,
    /// The reading half of a receiver that was dropped, kept for an abort.
    reading: Option<S::ReadHalf>,
    back: Option<Box<OutputBatch>>,
    /// Descriptors that go with the first frame in `back`.
    #[cfg(all(unix, feature = "ancillary"))]
    attached: Option<Attached<S::WriteHalf>>,
    /// Bytes and frames in `front`, for it may be out.
    front_len: usize,
    front_frames: usize,
    again: bool,
    phase: Phase,
    /// Both halves are in one `MessageStream`: dropping the sender ends nothing by itself.
    whole: bool,
}

/// How far the sending side has come; only ever downwards.
#[derive(Clone)]
enum Phase {
    Open,
    /// No more frames; the side is ended once all is written.
    Ending,
    Ended,
    Broken(ErrorKind, Arc<io::Error>),
    Closed,
}

impl<S: ByteStream> Outbound<S> {
    pub(super) fn new(half: S::WriteHalf, setup: Setup) -> Self {
        let wakers = Arc::new(HalfWakers::default());
        let writing = Writing {
            half,
            front: Box::default(),
            stall: Stall::new(setup.write_stall_timeout),
            passed_on: 0,
            #[cfg(all(unix, feature = "ancillary"))]
            attached: None,
        };
        Outbound {
            state: Mutex::new(State {
                writing: Some(writing),
                reading: None,
                back: Some(Box::default()),
                #[cfg(all(unix, feature = "ancillary"))]
                attached: None,
                front_len: 0,
                front_frames: 0,
                again: false,
                phase: Phase::Open,
                whole: true,
            }),
            unflushed: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            write_waker: Waker::from(wakers.clone()),
            wakers,
            setup,
        }
    }

    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Writes what can be written without waiting, for a half that will wait with `cx`.
    ///
    /// # Panics
    ///
    /// If the stream does; from then on it is broken.
    pub(super) fn drive_and_wait(&self, half: Half, cx: &mut Context<'_>) {
        self.wakers.store(half, cx.waker());
        self.drive(half);
    }

    /// Writes what can be written without waiting.
    ///
    /// # Panics
    ///
    /// If the stream does; from then on it is broken.
    pub(super) fn drive(&self, half: Half) {
        loop {
            let mut state = self.lock();
            let ending = match state.phase {
                Phase::Open if !self.has_work(&state) => return,
                Phase::Open => false,
                Phase::Ending => true,
                Phase::Ended | Phase::Broken(..) | Phase::Closed => return,
            };
            let Some(mut writing) = state.writing.take() else {
                state.again = true;
                return;
            };
            let inner = &mut *state;
            if writing.front.is_empty()
                && let Some(back) = &mut inner.back
            {
                mem::swap(&mut writing.front, back);
                #[cfg(all(unix, feature = "ancillary"))]
                mem::swap(&mut writing.attached, &mut inner.attached);
                inner.front_len = writing.front.len();
                inner.front_frames = writing.front.unsent_frames();
            }
            let before = state.front_len;
            let was_unflushed = self.unflushed.swap(true, Relaxed);
            drop(state);

            let round = catch_unwind(AssertUnwindSafe(|| self.round(&mut writing, ending)));
            let mut state = self.lock();
            state.front_len = writing.front.len();
            state.front_frames = writing.front.unsent_frames();
            state.writing = Some(writing);
            let again = mem::take(&mut state.again);
            let mut changed = state.front_len < before;
            let round = match round {
                Ok(round) => {
                    let unflushed = matches!(round, Round::Blocked);
                    self.unflushed.store(unflushed, Relaxed);
                    changed |= was_unflushed && !unflushed;
                    round
                }
                Err(panic) => {
                    let error = io::Error::other("the byte stream panicked in a write");
                    self.break_off(state, PANICKED, error);
                    resume_unwind(panic);
                }
            };
            let more = match round {
                Round::Drained => state.back_len() > 0 || matches!(state.phase, Phase::Ending),
                Round::Blocked => again,
                Round::Ended => {
                    state.phase = Phase::Ended;
                    changed = true;
                    false
                }
                Round::Failed(how, error) => return self.break_off(state, how, error),
            };
            drop(state);
            if changed && half == Half::Receiver {
                self.wakers.wake_sender();
            }
            if !more {
                return;
            }
        }
    }

    /// Writes what is in front, and ends the side if it is `ending` and that was all.
    fn round(&self, writing: &mut Writing<S::WriteHalf>, ending: bool) -> Round {
        let mut cx = Context::from_waker(&self.write_waker);
        let before = writing.front.len();
        let round = match write(writing, &mut cx) {
            Round::Drained => match Pin::new(&mut writing.half).poll_flush(&mut cx) {
                Poll::Pending => Round::Blocked,
                Poll::Ready(Ok(())) => Round::Drained,
                Poll::Ready(Err(error)) => Round::Failed(kind_of(&error), error),
            },
            round => round,
        };
        let round = match round {
            Round::Drained if ending && self.lock().back_len() == 0 => {
                match Pin::new(&mut writing.half).poll_close(&mut cx) {
                    Poll::Pending => Round::Blocked,
                    Poll::Ready(Ok(())) => Round::Ended,
                    Poll::Ready(Err(error)) => Round::Failed(kind_of(&error), error),
                }
            }
            round => round,
        };
        if !matches!(round, Round::Blocked) {
            writing.stall.over();
            return round;
        }
        // The reading half of the stream may have passed some on, too, between two rounds.
        let passed_on = writing.half.passed_on();
        let passed_before = mem::replace(&mut writing.passed_on, passed_on);
        let progress = match writing.front.len() < before || passed_on != passed_before {
            true => Progress::Made,
            false => Progress::None,
        };
        match writing.stall.poll(progress, &mut cx) {
            Poll::Pending => Round::Blocked,
            Poll::Ready(()) => {
                let stalled = ErrorKind::Broken(Break::Stalled);
                Round::Failed(stalled, io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// Refuses further frames; the side ends once all is written.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Ending;
        }
    }

    /// Takes the batch that frames are encoded into; [`put_back`](Self::put_back) must follow.
    pub(super) fn take_back(&self) -> Box<OutputBatch> {
        self.lock().back.take().unwrap_or_default()
    }

    pub(super) fn put_back(&self, back: Box<OutputBatch>) {
        let mut state = self.lock();
        state.back = Some(back);
        self.keep_nothing_if_broken(state);
    }

    /// Puts back the batch with one frame in it, which `attached` goes with.
    #[cfg(all(unix, feature = "ancillary"))]
    pub(super) fn put_back_with(&self, back: Box<OutputBatch>, attached: Attached<S::WriteHalf>) {
        let mut state = self.lock();
        state.back = Some(back);
        state.attached = Some(attached);
        self.keep_nothing_if_broken(state);
    }

    /// The halves go separate ways, or are together again.
    pub(super) fn set_whole(&self, whole: bool) {
        self.lock().whole = whole;
    }

    /// The sender is gone: what it queued is still written, by the receiver, and then the end.
    pub(super) fn sender_dropped(&self) {
        self.wakers.forget(Half::Sender);
        if self.lock().whole {
            return;
        }
        self.end();
        self.drive(Half::Sender);
    }

    /// The receiver is gone; its half of the stream waits for the end of the other.
    pub(super) fn receiver_dropped(&self, half: S::ReadHalf) {
        self.wakers.forget(Half::Receiver);
        let mut state = self.lock();
        let closed = matches!(state.phase, Phase::Closed);
        if !closed {
            state.reading = Some(half);
            return;
        }
        drop(state);
        drop(half);
    }

    /// Lets go of the writing half; everything is `Closed` from now on.
    pub(super) fn close(&self) -> Option<S::WriteHalf> {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        let back = state.back.take();
        #[cfg(all(unix, feature = "ancillary"))]
        let back = (back, state.attached.take());
        let writing = state.writing.take();
        state.front_len = 0;
        state.front_frames = 0;
        drop(state);
        drop(back);
        self.wakers.wake_sender();
        writing.map(|writing| writing.half)
    }

    /// Whether anything is to be written, or the stream may hold back what was.
    fn has_work(&self, state: &State<S>) -> bool {
        state.unsent() > 0 || self.unflushed.load(Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State<S>> {
        // Nothing of the user's runs under the lock, so nothing can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both halves are gone. A sending side that was ended in good order is let go; anything else is
/// an abort, so that the peer does not take a cut conversation for a finished one.
impl<S: ByteStream> Drop for Outbound<S> {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if matches!(state.phase, Phase::Ended | Phase::Closed) {
            return;
        }
        if let (Some(reading), Some(writing)) = (state.reading.take(), state.writing.take()) {
            abort::<S>(reading, writing.half);
        }
    }
}

/// Resets the stream of these two halves.
pub(super) fn abort<S: ByteStream>(reading: S::ReadHalf, writing: S::WriteHalf) {
    // Halves of two streams cannot be here; dropped, they would close instead.
    if let Ok(stream) = S::reunite(reading, writing) {
        stream.abort();
    }
}

impl<S: ByteStream> State<S> {
    fn back_len(&self) -> usize {
        self.back.as_ref().map_or(0, |back| back.len())
    }

    fn unsent(&self) -> usize {
        self.front_len + self.back_len()
    }

    fn unsent_frames(&self) -> usize {
        let back = self.back.as_ref();
        self.front_frames + back.map_or(0, |back| back.unsent_frames())
    }
}
