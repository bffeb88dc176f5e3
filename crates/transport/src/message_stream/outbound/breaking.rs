//! A sending side that failed: it holds nothing any more, and both halves learn of it.

use std::io;
use std::mem;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard};

use bowline_backend::stream::ByteStream;

use super::{Outbound, Phase, State};
use crate::error::{Break, Error, ErrorKind, Operation};

/// What a stream that panicked in a write is from then on.
pub(super) const PANICKED: ErrorKind = ErrorKind::Broken(Break::Panicked);

impl<S: ByteStream> Outbound<S> {
    /// The side failed. Frames that are queued stay counted; both halves are woken, for a receiver that
    /// waits may wait for the answer to one of them.
    pub(super) fn break_off(
        &self,
        mut state: MutexGuard<'_, State<S>>,
        how: ErrorKind,
        error: io::Error,
    ) {
        state.phase = Phase::Broken(how, Arc::new(error));
        self.failed.store(true, Relaxed);
        let left = state.let_go();
        drop(state);
        drop(left);
        self.write_waker.wake_by_ref();
    }

    /// For a batch that came back: one that is broken since has no use for it.
    pub(super) fn keep_nothing_if_broken(&self, mut state: MutexGuard<'_, State<S>>) {
        if matches!(state.phase, Phase::Broken(..)) {
            let left = state.let_go();
            drop(state);
            drop(left);
        }
    }

    /// The error of a stream that panicked in a write: nobody knows what it would do in a read.
    pub(in crate::message_stream) fn check_panicked(
        &self,
        operation: Operation,
    ) -> Result<(), Error> {
        self.check_broken(operation, |how| how == PANICKED)
    }

    /// The error of a connection that broke in a write, for a read that waits.
    ///
    /// A peer that takes no more may still talk, and its stream says itself once that is over. Where it
    /// does not take what waits for it, or the stream fails of itself, nothing may ever come again.
    pub(in crate::message_stream) fn check_going(&self, operation: Operation) -> Result<(), Error> {
        self.check_broken(operation, |how| {
            !matches!(how, ErrorKind::Ended | ErrorKind::Broken(Break::Reset))
        })
    }

    fn check_broken(
        &self,
        operation: Operation,
        is_it: impl FnOnce(ErrorKind) -> bool,
    ) -> Result<(), Error> {
        if !self.failed.load(Relaxed) {
            return Ok(());
        }
        let state = self.lock();
        match &state.phase {
            Phase::Broken(how, source) if is_it(*how) => {
                Err(self.broken(operation, *how, source, state.unsent_frames()))
            }
            _ => Ok(()),
        }
    }
}

impl<S: ByteStream> State<S> {
    /// Takes out all that is queued, to be dropped outside of the lock; it stays counted.
    fn let_go(&mut self) -> impl Sized + use<S> {
        let front = self.writing.as_mut().map(|writing| {
            #[cfg(all(unix, feature = "ancillary"))]
            let attached = writing.attached.take();
            #[cfg(not(all(unix, feature = "ancillary")))]
            let attached = ();
            (mem::take(&mut writing.front), attached)
        });
        #[cfg(all(unix, feature = "ancillary"))]
        let attached = self.attached.take();
        #[cfg(not(all(unix, feature = "ancillary")))]
        let attached = ();
        self.front_frames = self.unsent_frames();
        self.front_len = self.unsent();
        (front, self.back.take(), attached)
    }
}
