//! Bytes between the stream and the machine.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bowline_backend::stream::ByteStream;
use bowline_backend::time::Instant;
use bowline_codec::OutputBatch;

use super::{Driver, Host, LAGGING, SLICES, WRITTEN};
use crate::proto::{BrokenKind, StreamEnd};

impl<S: ByteStream, H: Host> Driver<S, H> {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        if self.machine.is_holding() {
            // Invariant D4. There are events to take, so this is not the last turn.
            let _ = self.machine.handle_bytes(now, &mut self.read.bytes);
            return true;
        }
        if let Some(kind) = self.broken.take() {
            self.reading = false;
            self.machine.handle_end(now, StreamEnd::Broken(kind));
            return true;
        }
        if !self.reading || self.cause.is_some() {
            return false;
        }
        match self.read.poll_fill(Pin::new(&mut self.stream), cx) {
            Poll::Pending => false,
            Poll::Ready(Ok(0)) => {
                // What is not written by now was reported as never sent, so it stays unwritten.
                self.reading = false;
                self.writing = false;
                self.machine.handle_end(now, StreamEnd::Ended);
                true
            }
            Poll::Ready(Ok(_)) => {
                // The machine turns a violation into a CLOSE and its last event.
                let _ = self.machine.handle_bytes(now, &mut self.read.bytes);
                let credits = self.machine.credits();
                if std::mem::replace(&mut self.credits, credits) != credits {
                    self.host.heard();
                }
                true
            }
            Poll::Ready(Err(error)) => {
                self.broken(BrokenKind::Io(error.kind()));
                self.error.get_or_insert(error);
                true
            }
        }
    }

    /// Writes what the stream takes, up to [`WRITTEN`]; whether it would take more of what there is.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut written = 0;
        while self.writing {
            if written >= WRITTEN {
                return true;
            }
            // What is made goes out in that order: more of it than the stream takes would only keep small
            // calls from their turn.
            if self.out.is_empty() {
                let most = if self.lags { LAGGING } else { usize::MAX };
                let most = self.write_buffer.min(most);
                self.lags &= self.machine.poll_transmit(now, &mut self.out, most);
            }
            self.mailbox.waits(self.machine.queued_bytes());
            if self.out.is_empty() {
                break;
            }
            match self.poll_write_once(cx) {
                Poll::Pending => {
                    self.lags = true;
                    let passed_on = self.stream.passed_on();
                    if std::mem::replace(&mut self.passed_on, passed_on) != passed_on {
                        self.stalls_at = None;
                    }
                    self.stalls_at.get_or_insert(now + self.write_stall);
                    break;
                }
                Poll::Ready(Ok(n)) => {
                    written += n;
                    self.stalls_at = None;
                    self.out.advance(n);
                    self.machine.on_transmitted(n);
                }
                Poll::Ready(Err(error)) => self.broken(BrokenKind::Io(error.kind())),
            }
        }
        false
    }

    fn poll_write_once(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.stream);
        let written = if stream.is_write_vectored() && self.out.segments() > 1 {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0;
            for (place, slice) in slices.iter_mut().zip(self.out.slices()) {
                *place = IoSlice::new(slice);
                count += 1;
            }
            ready!(stream.poll_write_vectored(cx, &slices[..count]))?
        } else {
            ready!(stream.poll_write(cx, self.out.coalesce(16 * 1024)))?
        };
        if written == 0 {
            Poll::Ready(Err(io::ErrorKind::WriteZero.into()))
        } else {
            Poll::Ready(Ok(written))
        }
    }

    /// Nothing more goes out; the machine is told in the next turn that it holds nothing back.
    pub(super) fn broken(&mut self, kind: BrokenKind) {
        self.writing = false;
        self.stalls_at = None;
        self.broken.get_or_insert(kind);
    }

    /// Gives the memory back that has nothing in it: the connection may be idle for long.
    pub(super) fn release(&mut self) {
        self.read.release();
        if self.out.is_empty() {
            self.out = OutputBatch::new();
        }
    }
}
