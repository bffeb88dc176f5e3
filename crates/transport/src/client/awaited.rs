//! Replies that somebody waits for.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use super::line::{Line, Source, Waiting};
use crate::error::{Delivery, Error, ErrorKind, Operation};

/// Replies to come, each on the connection its message was queued on. Dropped, it drops those
/// connections.
pub(super) struct Awaited<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    line: &'a Line<S, R>,
    pub(super) generations: VecDeque<u64>,
    /// What a connection ended with, or was given up for, for the others that wait for it.
    ended: Option<(u64, Error)>,
}

impl<'a, S, R> Awaited<'a, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    pub(super) fn new(line: &'a Line<S, R>) -> Self {
        Awaited {
            line,
            generations: VecDeque::new(),
            ended: None,
        }
    }

    /// The reply to the first of them.
    pub(super) fn poll_reply(
        &mut self,
        waiting: &mut Waiting,
        cx: &mut Context<'_>,
    ) -> Poll<Result<R, Error>> {
        let Some(&generation) = self.generations.front() else {
            return Poll::Pending;
        };
        if let Some((ended, error)) = &self.ended
            && *ended == generation
        {
            return Poll::Ready(Err(error.clone()));
        }
        let source = Source::Generation(generation);
        let received = match self.line.poll_recv(source, waiting, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(received) => received,
        };
        let error = match received {
            Ok(Some(reply)) => return Poll::Ready(Ok(reply)),
            Ok(None) => Error::new(Operation::Recv, ErrorKind::Ended)
                .with_peer(self.line.attributes().peer_addr().cloned()),
            Err(error) => error,
        };
        let error = error.with_delivery(Delivery::MaybeSent);
        if error.is_of_one_that_came() {
            return Poll::Ready(Err(error)); // this was the reply
        }
        if !error.is_final() || self.line.goes_on_after(generation) {
            // The connection goes on, and the reply may still come: it is not to be taken for another.
            self.line.drop_connection(generation);
        }
        self.ended = Some((generation, error.clone()));
        Poll::Ready(Err(error))
    }
}

impl<S, R> Drop for Awaited<'_, S, R>
where
    S: Send + Sync + 'static,
    R: Send + 'static,
{
    fn drop(&mut self) {
        for generation in self.generations.drain(..) {
            self.line.drop_connection(generation);
        }
    }
}
