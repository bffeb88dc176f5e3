//! One round of writing: what is in front goes to the stream until that takes no more.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_backend::stream::ByteWriter;
use bowline_codec::OutputBatch;

use super::stall::Stall;
use crate::error::{Break, ErrorKind, Operation, classify};

/// Slices handed to one vectored write.
const SLICES: usize = 64;

/// Bytes joined for a stream that writes one slice at a time.
const COALESCE: usize = 64 * 1024;

/// The stream's writing half, and the frames that go first.
pub(super) struct Writing<W> {
    pub(super) half: W,
    pub(super) front: OutputBatch,
    pub(super) stall: Stall,
}

/// What one round of writing came to.
pub(super) enum Round {
    Drained,
    Blocked,
    Ended,
    Failed(ErrorKind, io::Error),
}

/// Writes the front until it is empty or the stream takes no more.
pub(super) fn write<W: ByteWriter>(writing: &mut Writing<W>, cx: &mut Context<'_>) -> Round {
    let Writing { half, front, .. } = writing;
    while !front.is_empty() {
        let written = if half.is_write_vectored() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (place, slice) in slices.iter_mut().zip(front.slices()) {
                *place = IoSlice::new(slice);
                count += 1;
            }
            Pin::new(&mut *half).poll_write_vectored(cx, &slices[..count])
        } else {
            Pin::new(&mut *half).poll_write(cx, front.coalesce(COALESCE))
        };
        match written {
            Poll::Pending => return Round::Blocked,
            Poll::Ready(Ok(0)) => {
                let error = io::Error::from(io::ErrorKind::WriteZero);
                return Round::Failed(kind_of(&error), error);
            }
            Poll::Ready(Ok(count)) => front.advance(count),
            Poll::Ready(Err(error)) => return Round::Failed(kind_of(&error), error),
        }
    }
    Round::Drained
}

/// A write that fails means that the connection is broken, unless the stream knows better.
pub(super) fn kind_of(error: &io::Error) -> ErrorKind {
    match classify(Operation::Send, error) {
        ErrorKind::Ended => ErrorKind::Ended,
        broken @ ErrorKind::Broken(_) => broken,
        _ => ErrorKind::Broken(Break::Other),
    }
}
