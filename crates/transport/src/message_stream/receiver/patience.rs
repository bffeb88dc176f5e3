//! For how long a receive waits: for anything at all, and for the rest of a frame.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bowline_backend::stream::ByteStream;
use bowline_backend::time::{self, Sleep};
use bowline_codec::Codec;

use super::MessageReceiver;
use crate::error::{Break, Delivery, Error, ErrorKind, Operation, TimeLimit};

impl<S: ByteStream, C: Codec> MessageReceiver<S, C> {
    /// For a read that waits: ready once that took longer than is allowed.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(most) = self.outbound.setup().read_idle_timeout else {
            return Poll::Pending;
        };
        ready!(poll_after(&mut self.idle, most, cx));
        self.idle = None;
        let error = Error::new(Operation::Recv, ErrorKind::Elapsed)
            .with_source(TimeLimit::new("no byte came", most));
        Poll::Ready(error.with_peer(self.peer_addr().cloned()))
    }

    /// For a read that waits: ready once there is nothing to wait for, because what we said cannot go
    /// out any more, or because a frame took longer than is allowed.
    pub(super) fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        if let Err(error) = self.outbound.check_going(Operation::Recv) {
            return Poll::Ready(error);
        }
        self.poll_late(cx).map(|most| self.too_slow(most))
    }

    /// Ready once a frame took longer than is allowed, with how long that is.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        match self.outbound.setup().frame_timeout {
            Some(most) if self.in_frame => self.late.poll(most, cx).map(|()| most),
            _ => {
                self.late.rest(cx);
                Poll::Pending
            }
        }
    }

    fn too_slow(&self, most: Duration) -> Error {
        Error::new(Operation::Recv, ErrorKind::Broken(Break::SlowFrame))
            .with_source(TimeLimit::new(
                "a message that had begun was not whole",
                most,
            ))
            .with_delivery(Delivery::MaybeSent)
            .with_peer(self.peer_addr().cloned())
            .with_unsent_frames(self.outbound.unsent_frames())
    }
}

/// Ready once `most` has passed since it was first polled.
fn poll_after(
    since: &mut Option<Pin<Box<Sleep>>>,
    most: Duration,
    cx: &mut Context<'_>,
) -> Poll<()> {
    let end = || Box::pin(time::sleep_until(time::now().saturating_add(most)));
    since.get_or_insert_with(end).as_mut().poll(cx)
}
