//! How much is read at once, and into what.

use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_backend::stream::{ByteReader, ByteStream};
use bowline_codec::{Codec, Decode};
use bytes::BytesMut;

use super::MessageReceiver;

/// Bounds of how much one read asks for.
pub(super) const READ_MIN: usize = 4 * 1024;
const READ_MAX: usize = 64 * 1024;

/// Most room that is made for a frame before it has come, where the last one was as large: that
/// of the largest payload by default, and its header.
const FORESEEN_MAX: usize = 1024 * 1024 + READ_MIN;

impl<S: ByteStream, C: Codec> MessageReceiver<S, C> {
    /// Reads once. A waiting stream holds no buffer: an emptied one is given back.
    ///
    /// Where large frames are expected no read goes beyond the one under way, which stays where its
    /// beginning was read to: each has a buffer of its own, and none is moved.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Ok(0));
        };
        let spare = self.buffer.capacity() - self.buffer.len();
        let large = self.foreseen > 0;
        let mut max = if large { self.foreseen } else { self.read_size };
        if self.buffer.is_empty() {
            // Where reads come back full there is as much room for the next one; else the first read
            // of it goes by memory of the thread.
            let busy = if self.read_size > READ_MIN {
                self.read_size
            } else {
                0
            };
            if spare < self.foreseen.max(busy / 2).max(READ_MIN) {
                self.buffer = BytesMut::with_capacity(self.foreseen.max(busy));
            }
        } else {
            let need = self.decoder.need();
            if spare < READ_MIN / 4 && !(large && need <= spare) {
                // A frame is on its way: grow with what has come of it, or of the last one, not with
                // what it declares.
                let come = self.buffer.len().clamp(READ_MIN, READ_MAX);
                let most = come.max(self.foreseen);
                self.buffer.reserve(need.clamp(READ_MIN, most));
            }
            if large {
                // Few bytes are what is missing, or all that the decoder can tell of it.
                let room = self.buffer.capacity() - self.buffer.len();
                let rest = if need < READ_MIN / 4 { room } else { need };
                max = max.min(rest).min(room);
            }
        }
        let max = NonZeroUsize::new(max).unwrap_or(NonZeroUsize::MIN);
        #[cfg(all(unix, feature = "ancillary"))]
        let read = match &mut self.inbox {
            Some(inbox) => inbox.poll_read(reading, cx, &mut self.buffer, max),
            None => Pin::new(reading).poll_read_into(cx, &mut self.buffer, max),
        };
        #[cfg(not(all(unix, feature = "ancillary")))]
        let read = Pin::new(reading).poll_read_into(cx, &mut self.buffer, max);
        match read {
            Poll::Ready(Ok(count)) => {
                if count >= self.read_size {
                    self.read_size = (self.read_size * 2).min(READ_MAX);
                } else if count < self.read_size / 4 {
                    self.read_size = (self.read_size / 2).max(READ_MIN);
                }
                self.burst_bytes += count;
                Poll::Ready(Ok(count))
            }
            Poll::Pending => {
                if self.buffer.is_empty() {
                    self.buffer = BytesMut::new();
                }
                Poll::Pending
            }
            error => error,
        }
    }

    /// Remembers how large a frame was.
    pub(super) fn foresee(&mut self, frame: usize) {
        self.foreseen = match frame {
            small if small < READ_MIN => 0,
            large => large.min(FORESEEN_MAX),
        };
    }
}
