//! Descriptors that came with bytes, until the frame that they belong to is decoded.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

use bytes::BytesMut;

use crate::ancillary::Arrived;

/// A read that takes descriptors too.
pub(super) type ReadWith<R> =
    fn(&mut R, &mut Context<'_>, &mut BytesMut, NonZeroUsize) -> Poll<io::Result<(usize, Arrived)>>;

/// Descriptors on their way to a message.
///
/// A read ends with the bytes that brought descriptors, so these belong to the frame that holds the
/// last byte of the read. The receiver reads only when the decoder has given out all whole frames,
/// so what waits here when it reads again belongs to the one frame that is under way.
///
/// Invariants:
/// 1. `waiting` is in the order of the stream; `left` of each is how many bytes of the buffer go up
///    to the end of the read that brought it.
/// 2. At most the two last of `waiting` are of different frames, and each has at most 64
///    descriptors: a peer that sends more with a frame has those closed.
/// 3. The decoder says that it refuses a frame once it has taken all of it, so what it took until
///    then is of that frame, and closed.
pub(super) struct Inbox<R> {
    read: ReadWith<R>,
    waiting: VecDeque<(usize, Arrived)>,
    current: Arrived,
}

/// What the decoder said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Message,
    NotYet,
    Refused,
}

impl<R> Inbox<R> {
    pub(super) fn new(read: ReadWith<R>) -> Self {
        Inbox {
            read,
            waiting: VecDeque::new(),
            current: Arrived::default(),
        }
    }

    /// Reads once.
    pub(super) fn poll_read(
        &mut self,
        reading: &mut R,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        let read = (self.read)(reading, cx, buffer, max);
        read.map_ok(|(count, arrived)| {
            if arrived.truncated || !arrived.fds.is_empty() {
                self.one_frame();
                self.waiting.push_back((buffer.len(), arrived));
            }
            count
        })
    }

    /// What waits is of the frame under way: makes one of it.
    fn one_frame(&mut self) {
        while self.waiting.len() > 1 {
            if let Some((left, arrived)) = self.waiting.pop_back()
                && let Some((end, whole)) = self.waiting.back_mut()
            {
                *end = left;
                whole.join(arrived);
            }
        }
    }

    /// The decoder took `count` bytes.
    pub(super) fn decoded(&mut self, count: usize, answer: Answer) {
        for (left, _) in &mut self.waiting {
            *left = left.saturating_sub(count);
        }
        if answer == Answer::NotYet {
            return;
        }
        let mut taken = Arrived::default();
        while let Some((_, arrived)) = self.next_taken() {
            taken.join(arrived);
        }
        if answer == Answer::Message {
            self.current = taken;
        }
    }

    fn next_taken(&mut self) -> Option<(usize, Arrived)> {
        match self.waiting.front() {
            Some((0, _)) => self.waiting.pop_front(),
            _ => None,
        }
    }

    /// What came with the last message.
    pub(super) fn take(&mut self) -> Arrived {
        mem::take(&mut self.current)
    }
}
