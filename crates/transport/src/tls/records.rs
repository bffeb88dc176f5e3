//! A buffer for records, which a thread keeps for the next stream that has something to read or write: a
//! stream that waits holds none, and need not ask for one each time that it goes on.

use std::cell::Cell;
use std::io::{self, IoSlice, Write};

use bytes::BytesMut;

/// Most bytes of a buffer that is kept.
const LARGEST: usize = 128 * 1024;

thread_local! {
    static SPARE: Cell<Option<BytesMut>> = const { Cell::new(None) };
}

/// An empty buffer with room for `room` bytes.
pub(super) fn take(room: usize) -> BytesMut {
    let mut buffer = SPARE
        .try_with(Cell::take)
        .ok()
        .flatten()
        .unwrap_or_default();
    buffer.reserve(room);
    buffer
}

/// Takes a buffer back, whatever is in it.
pub(super) fn give_back(mut buffer: BytesMut) {
    buffer.clear();
    // Room is also what was consumed at the front.
    if !buffer.try_reclaim(1) || buffer.try_reclaim(LARGEST + 1) {
        return;
    }
    // A thread that ends keeps nothing.
    let _ = SPARE.try_with(|spare| spare.set(Some(buffer)));
}

/// Joins the records of one write behind what a buffer holds.
pub(super) struct Joined<'a>(pub(super) &'a mut BytesMut);

impl Write for Joined<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let count = slices.iter().map(|slice| slice.len()).sum();
        self.0.reserve(count);
        for slice in slices {
            self.0.extend_from_slice(slice);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Buf;

    use super::*;

    #[test]
    fn a_thread_keeps_the_last_buffer_that_is_not_too_large() {
        let ours = [1000, 2000].map(|room| {
            let buffer = take(room);
            assert!(buffer.is_empty() && buffer.capacity() >= room);
            buffer
        });
        let places = ours.each_ref().map(|buffer| buffer.as_ptr());
        ours.into_iter().for_each(give_back);
        give_back(BytesMut::new());
        give_back(BytesMut::with_capacity(LARGEST + 1));
        assert_eq!(take(0).as_ptr(), places[1]);
        assert_eq!(take(0).capacity(), 0);
    }

    #[test]
    fn a_buffer_comes_back_whole_whatever_was_consumed_of_it() {
        let mut buffer = take(1000);
        let place = buffer.as_ptr();
        buffer.extend_from_slice(&[7; 1000]);
        buffer.advance(600);
        give_back(buffer);
        let mut buffer = take(1000);
        assert_eq!((buffer.as_ptr(), buffer.len()), (place, 0));
        buffer.extend_from_slice(&[7; 1000]);
        buffer.advance(1000);
        give_back(buffer);
        assert_eq!(take(1000).as_ptr(), place);
    }

    #[test]
    fn the_slices_of_a_write_follow_each_other() {
        let mut buffer = BytesMut::from("a");
        let slices = ["bc", "", "d"].map(|slice| IoSlice::new(slice.as_bytes()));
        assert_eq!(Joined(&mut buffer).write_vectored(&slices).unwrap(), 3);
        Joined(&mut buffer).write_all(b"e").unwrap();
        assert_eq!(buffer, "abcde");
    }
}
