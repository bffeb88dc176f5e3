//! One round of writing: what is in front goes to the stream until that takes no more.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use bowline_backend::stream::ByteWriter;
use bowline_codec::OutputBatch;

use super::stall::Stall;
use crate::error::{Break, ErrorKind, Operation, classify};
#[cfg(all(unix, feature = "ancillary"))]
use crate::message_stream::descriptors::Attached;

/// Slices handed to one vectored write.
const SLICES: usize = 64;

/// Bytes joined for a stream that writes one slice at a time.
const COALESCE: usize = 64 * 1024;

/// The stream's writing half, and the frames that go first.
pub(super) struct Writing<W> {
    pub(super) half: W,
    pub(super) front: Box<OutputBatch>,
    pub(super) stall: Stall,
    /// What the half had passed on when it last took no more.
    pub(super) passed_on: u64,
    /// Descriptors that go with the first frame of the front.
    #[cfg(all(unix, feature = "ancillary"))]
    pub(super) attached: Option<Attached<W>>,
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
    while !writing.front.is_empty() {
        let written = write_once(writing, cx);
        let front = &mut writing.front;
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

#[cfg(all(unix, feature = "ancillary"))]
fn write_once<W: ByteWriter>(
    writing: &mut Writing<W>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let Some(attached) = &writing.attached else {
        return write_plain(&mut writing.half, &mut writing.front, cx);
    };
    let written = attached.poll_write(&mut writing.half, cx, &mut writing.front);
    if written.is_ready() {
        writing.attached = None; // gone with the first byte, or never
    }
    written
}

#[cfg(not(all(unix, feature = "ancillary")))]
fn write_once<W: ByteWriter>(
    writing: &mut Writing<W>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    write_plain(&mut writing.half, &mut writing.front, cx)
}

fn write_plain<W: ByteWriter>(
    half: &mut W,
    front: &mut OutputBatch,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    if front.segments() == 1 || !half.is_write_vectored() {
        return Pin::new(half).poll_write(cx, front.coalesce(COALESCE));
    }
    let mut slices = [IoSlice::new(&[]); SLICES];
    let mut count = 0;
    for (place, slice) in slices.iter_mut().zip(front.slices()) {
        *place = IoSlice::new(slice);
        count += 1;
    }
    Pin::new(half).poll_write_vectored(cx, &slices[..count])
}

/// A write that fails means that the connection is broken, unless the stream knows better.
pub(super) fn kind_of(error: &io::Error) -> ErrorKind {
    match classify(Operation::Send, error) {
        ErrorKind::Ended => ErrorKind::Ended,
        broken @ ErrorKind::Broken(_) => broken,
        _ => ErrorKind::Broken(Break::Other),
    }
}
