//! What is read at once, and into what.

use std::io;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_backend::stream::ByteStream;
use bytes::BytesMut;

/// Bounds of how much one read asks for, and of the room that is made for it.
const SIZE: RangeInclusive<usize> = 4 * 1024..=64 * 1024;

/// Bytes that have come and are not taken yet. A connection to which nothing comes has no memory for them.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    pub(super) bytes: BytesMut,
    /// How much the next read asks for: twice as much as the last one where that came back full.
    size: usize,
}

impl ReadBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            size: *SIZE.start(),
        }
    }

    /// Gives back what an empty buffer holds.
    pub(super) fn release(&mut self) {
        if self.bytes.is_empty() {
            *self = Self::new();
        }
    }

    /// Reads once; `Ok(0)` is the end of the stream.
    ///
    /// Where reads come back full there is as much room for the next one. What is read otherwise goes by memory
    /// of the thread, so that no room is made for what does not come.
    pub(super) fn poll_fill<S: ByteStream>(
        &mut self,
        stream: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let large = self.size > *SIZE.start();
        let mut room = self.bytes.capacity() - self.bytes.len();
        if large && room <= self.size / 4 {
            self.bytes.reserve(self.size);
            room = self.size;
        }
        // What is left of a small one is no room: that read goes by memory of the thread.
        let room = room.max(*SIZE.start());
        let most = NonZeroUsize::new(self.size.min(room)).unwrap_or(NonZeroUsize::MIN);
        let read = stream.poll_read_into(cx, &mut self.bytes, most);
        match read {
            Poll::Ready(Ok(count)) if count == most.get() => {
                self.size = (self.size * 2).min(*SIZE.end());
            }
            Poll::Ready(Ok(count)) if count < self.size / 4 => {
                self.size = (self.size / 2).max(*SIZE.start());
            }
            Poll::Pending if self.size == *SIZE.start() => self.release(),
            _ => {}
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use bowline_concurrency::Root;
    use bowline_transport::MemoryStream;
    use futures_util::AsyncWriteExt;

    use super::*;

    /// Reads once, takes what came, and says how much that was; 0 where nothing has come.
    fn read(buffer: &mut ReadBuffer, stream: &mut MemoryStream) -> usize {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let count = match buffer.poll_fill(Pin::new(stream), &mut cx) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => 0,
        };
        buffer.bytes.clear();
        count
    }

    #[test]
    fn reads_grow_while_they_come_back_full_and_shrink_again() {
        Root::new().block_on(async {
            let (mut near, mut far) = MemoryStream::builder().capacity(1 << 20).pair();
            let mut buffer = ReadBuffer::new();
            far.write_all(&[7; 300_000]).await.unwrap();
            let mut reads = Vec::new();
            while reads.last() != Some(&0) {
                reads.push(read(&mut buffer, &mut near));
            }
            assert!(reads.len() < 12, "{reads:?}");
            let full = [reads[0], reads[reads.len() - 3]];
            assert_eq!(full, [*SIZE.start(), *SIZE.end()], "{reads:?}");
            assert!(buffer.bytes.capacity() >= *SIZE.end(), "more may come");
            for _ in 0..5 {
                far.write_all(&[7; 10]).await.unwrap();
                assert_eq!(read(&mut buffer, &mut near), 10);
            }
            assert_eq!(read(&mut buffer, &mut near), 0);
            assert_eq!((buffer.size, buffer.bytes.capacity()), (*SIZE.start(), 0));
        });
    }

    #[test]
    fn an_empty_buffer_gives_its_memory_back_and_another_keeps_what_it_has() {
        Root::new().block_on(async {
            let (mut near, mut far) = MemoryStream::pair();
            let mut buffer = ReadBuffer::new();
            buffer.bytes.reserve(100_000);
            far.write_all(&[7; 10]).await.unwrap();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            assert!(buffer.poll_fill(Pin::new(&mut near), &mut cx).is_ready());
            buffer.release();
            assert_eq!(buffer.bytes, [7; 10][..]);
            buffer.bytes.clear();
            buffer.release();
            assert_eq!(buffer.bytes.capacity(), 0);
        });
    }
}
