//! What encoders write to and transports write from.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes on their way out: a queue of shared segments and one open tail.
///
/// Small pieces are copied into the tail, where they join into few large writes; a [`Bytes`] of at
/// least [`KEEP`](Self::KEEP) is queued as a segment of its own and never copied. A transport
/// writes from [`slices`](Self::slices) and reports with [`advance`](Self::advance) how much the
/// socket took. Encoders close each frame with [`frame_done`](Self::frame_done), so
/// [`unsent_frames`](Self::unsent_frames) is exact when a connection breaks.
///
/// The batch itself is not bounded: whoever fills it looks at [`len`](Self::len) first.
///
/// # Examples
///
/// ```
/// use bowline_codec::OutputBatch;
/// use bytes::Bytes;
///
/// let mut batch = OutputBatch::new();
/// batch.put_u32_be(8192);
/// batch.put_bytes(Bytes::from(vec![7; 8192]));
/// batch.frame_done();
///
/// // The payload was not copied: it is a slice of its own.
/// let lengths: Vec<usize> = batch.slices().map(<[u8]>::len).collect();
/// assert_eq!(lengths, [4, 8192]);
///
/// batch.advance(5); // the socket took the header and one byte
/// assert_eq!((batch.len(), batch.unsent_frames()), (8191, 1));
/// batch.advance(8191);
/// assert_eq!((batch.len(), batch.unsent_frames()), (0, 0));
/// ```
// Invariants
// B1 The unsent bytes are `sealed`, in order, then `tail`.
// B2 `sealed_len` is the sum of the lengths in `sealed`; no sealed segment is empty.
// B3 `sent` counts every byte ever advanced over, so `sent + len()` is the position of the next
//    byte to be put and never moves backwards except by `rollback`.
// B4 `boundaries` is strictly increasing and each entry is above `sent`.
#[derive(Default)]
pub struct OutputBatch {
    sealed: VecDeque<Bytes>,
    sealed_len: usize,
    tail: BytesMut,
    boundaries: VecDeque<u64>,
    sent: u64,
}

/// A place in an [`OutputBatch`] to which [`OutputBatch::rollback`] can return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a mark does nothing unless it is rolled back to"]
pub struct Mark {
    position: u64,
    /// End of the last frame finished by then.
    finished: u64,
}

/// A tail that one batch grew beyond this is not kept.
const TAIL_TOO_LARGE: usize = 256 * 1024;
/// Capacity of the tail that replaces it.
const TAIL_AFTER_SHRINK: usize = 16 * 1024;

impl OutputBatch {
    /// Length in bytes from which [`put_bytes`](Self::put_bytes) shares instead of copying: 4 KiB.
    pub const KEEP: usize = 4 * 1024;

    /// An empty batch, which owns no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
    }

    /// Appends `bytes`, without a copy when there are at least [`KEEP`](Self::KEEP) of them.
    pub fn put_bytes(&mut self, bytes: Bytes) {
        if bytes.len() < Self::KEEP {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.seal();
            self.sealed_len += bytes.len();
            self.sealed.push_back(bytes);
        }
    }

    /// As [`put_bytes`](Self::put_bytes), for who keeps `bytes`: shared only if they are not copied.
    #[inline]
    pub(crate) fn put_shared(&mut self, bytes: &Bytes) {
        if bytes.len() < Self::KEEP {
            self.tail.extend_from_slice(bytes);
        } else {
            self.put_bytes(bytes.clone());
        }
    }

    /// Appends one byte.
    #[inline]
    pub fn put_u8(&mut self, value: u8) {
        self.tail.put_u8(value);
    }

    /// Appends two bytes, most significant first.
    #[inline]
    pub fn put_u16_be(&mut self, value: u16) {
        self.tail.put_u16(value);
    }

    /// Appends two bytes, least significant first.
    #[inline]
    pub fn put_u16_le(&mut self, value: u16) {
        self.tail.put_u16_le(value);
    }

    /// Appends four bytes, most significant first.
    #[inline]
    pub fn put_u32_be(&mut self, value: u32) {
        self.tail.put_u32(value);
    }

    /// Appends four bytes, least significant first.
    #[inline]
    pub fn put_u32_le(&mut self, value: u32) {
        self.tail.put_u32_le(value);
    }

    /// Appends eight bytes, most significant first.
    #[inline]
    pub fn put_u64_be(&mut self, value: u64) {
        self.tail.put_u64(value);
    }

    /// Appends eight bytes, least significant first.
    #[inline]
    pub fn put_u64_le(&mut self, value: u64) {
        self.tail.put_u64_le(value);
    }

    /// The open tail, for writers that need a [`BytesMut`] to append to.
    ///
    /// It may hold bytes already put: append only. Taking bytes out is not unsafe, but cuts frames.
    pub fn tail(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Says that the bytes put since the last call form one whole frame.
    ///
    /// A frame of no bytes at all has nothing to be unsent and is not counted.
    #[inline]
    pub fn frame_done(&mut self) {
        let end = self.position();
        if self.finished() < end {
            self.boundaries.push_back(end);
        }
    }

    /// Number of finished frames of which at least one byte has not been advanced over.
    pub fn unsent_frames(&self) -> usize {
        self.boundaries.len()
    }

    /// Number of unsent bytes.
    #[inline]
    pub fn len(&self) -> usize {
        self.sealed_len + self.tail.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of slices that [`slices`](Self::slices) yields.
    pub fn segments(&self) -> usize {
        self.sealed.len() + usize::from(!self.tail.is_empty())
    }

    /// The unsent bytes in order, as non-empty slices.
    ///
    /// For a vectored write: map them into the platform's vector type, as many as one call takes,
    /// then [`advance`](Self::advance) by what the call accepted.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let tail = (!self.tail.is_empty()).then_some(&self.tail[..]);
        self.sealed.iter().map(|segment| &segment[..]).chain(tail)
    }

    /// Drops the first `n` unsent bytes: they are written.
    ///
    /// A batch that becomes empty keeps its tail for the next frames, unless this batch grew it
    /// beyond 256 KiB: then it is replaced by one of 16 KiB.
    ///
    /// # Panics
    ///
    /// If `n` is above [`len`](Self::len).
    pub fn advance(&mut self, n: usize) {
        assert!(
            n <= self.len(),
            "advanced {n} bytes over a batch of {}",
            self.len()
        );
        self.sent += n as u64;
        while self.boundaries.front().is_some_and(|end| *end <= self.sent) {
            self.boundaries.pop_front();
        }
        let mut left = n;
        while left > 0 {
            let Some(segment) = self.sealed.front_mut() else {
                self.tail.advance(left);
                break;
            };
            let taken = left.min(segment.len());
            self.sealed_len -= taken;
            left -= taken;
            if taken == segment.len() {
                self.sealed.pop_front();
            } else {
                segment.advance(taken);
            }
        }
        // The capacity of a `BytesMut` does not show what lies before its start; whether that much
        // could be had without allocating does.
        if self.is_empty() && self.tail.try_reclaim(TAIL_TOO_LARGE + 1) {
            self.tail = BytesMut::with_capacity(TAIL_AFTER_SHRINK);
        }
    }

    /// The present end of the batch, to return to if what follows fails.
    pub fn mark(&self) -> Mark {
        Mark {
            position: self.position(),
            finished: self.finished(),
        }
    }

    /// Takes back everything put, and every frame finished, since `mark`.
    ///
    /// # Panics
    ///
    /// If bytes after the mark have already been advanced over: they are gone.
    pub fn rollback(&mut self, mark: Mark) {
        assert!(
            mark.position >= self.sent,
            "rolled back over bytes already sent"
        );
        while self
            .boundaries
            .back()
            .is_some_and(|end| *end > mark.finished)
        {
            self.boundaries.pop_back();
        }
        let mut excess = self.position().saturating_sub(mark.position) as usize;
        let from_tail = excess.min(self.tail.len());
        self.tail.truncate(self.tail.len() - from_tail);
        excess -= from_tail;
        while excess > 0
            && let Some(segment) = self.sealed.back_mut()
        {
            let taken = excess.min(segment.len());
            self.sealed_len -= taken;
            excess -= taken;
            if taken == segment.len() {
                self.sealed.pop_back();
            } else {
                segment.truncate(segment.len() - taken);
            }
        }
    }

    /// Joins leading segments by copying, and gives the first slice, which is empty only if the
    /// batch is.
    ///
    /// For sinks without vectored writes. Whole segments are joined as long as they fit in `max`
    /// bytes together; one that is larger alone is given as it is, uncopied.
    pub fn coalesce(&mut self, max: usize) -> &[u8] {
        if !self.sealed.is_empty() {
            self.seal();
            let mut joined_len = 0;
            let count = self
                .sealed
                .iter()
                .take_while(|segment| {
                    joined_len += segment.len();
                    joined_len <= max
                })
                .count();
            if count > 1 {
                let parts = self.sealed.drain(..count);
                let mut joined = BytesMut::new();
                parts.for_each(|part| joined.extend_from_slice(&part));
                self.sealed.push_front(joined.freeze());
            }
        }
        self.slices().next().unwrap_or_default()
    }

    /// Position of the next byte to be put, counted from the first byte ever put.
    #[inline]
    fn position(&self) -> u64 {
        self.sent + self.len() as u64
    }

    /// Position of the end of the last finished frame; nothing before `sent` matters any more.
    #[inline]
    fn finished(&self) -> u64 {
        self.boundaries.back().copied().unwrap_or(self.sent)
    }

    /// Closes what is in the tail into a segment of its own.
    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.sealed_len += self.tail.len();
            self.sealed.push_back(self.tail.split().freeze());
        }
    }
}

impl fmt::Debug for OutputBatch {
    // Never the bytes: a log line is no place for payloads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputBatch")
            .field("len", &self.len())
            .field("segments", &self.segments())
            .field("unsent_frames", &self.unsent_frames())
            .finish_non_exhaustive()
    }
}
