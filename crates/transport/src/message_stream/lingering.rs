//! Reading on after the last byte was sent.

use std::future::{Future, poll_fn};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::ByteReader;
use bowline_backend::time::{self, Sleep};
use bowline_concurrency::yield_now;
use bytes::BytesMut;

/// Bytes of one read that nobody wants.
const READ: NonZeroUsize = NonZeroUsize::new(16 * 1024).unwrap();

/// How long, and for how many bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linger {
    pub(super) most: Option<Duration>,
    pub(super) bytes: usize,
}

/// What is known of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// It has sent nothing that was not received.
    Quiet,
    /// It sent more than was received, and may not have stopped.
    Sends,
    /// It has ended, or has sent more than is read.
    Over,
}

impl Linger {
    /// Reads and forgets what the peer still sends, until it ends, or one of the bounds is reached.
    ///
    /// A socket that is closed with bytes unread, or is sent some later, resets the connection, and
    /// the reset takes with it whatever of our last words the peer has not received yet. A quiet
    /// `peer` of which nothing is unread is not waited for.
    pub(super) async fn read_on<R: ByteReader>(self, reading: &mut R, peer: Peer) {
        let Some(most) = self.most else {
            return;
        };
        if !Backend::current().is_ok_and(Backend::is_running) {
            return; // no socket, and no clock
        }
        let mut discarding = Discarding {
            left: self.bytes,
            buffer: BytesMut::new(),
            peer,
            most,
            sleep: None,
        };
        poll_fn(|cx| discarding.poll(reading, cx)).await;
        if discarding.peer == Peer::Quiet {
            yield_now().await; // the runtime may not have heard yet of what has come
            poll_fn(|cx| discarding.poll(reading, cx)).await;
        }
    }
}

struct Discarding {
    left: usize,
    buffer: BytesMut,
    peer: Peer,
    most: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Discarding {
    /// Ready once there is nothing to wait for, or no more time.
    fn poll<R: ByteReader>(&mut self, reading: &mut R, cx: &mut Context<'_>) -> Poll<()> {
        while self.left > 0 {
            self.buffer.clear();
            let room = self.left.min(READ.get());
            let room = NonZeroUsize::new(room).unwrap_or(NonZeroUsize::MIN);
            match Pin::new(&mut *reading).poll_read_into(cx, &mut self.buffer, room) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => break,
                Poll::Ready(Ok(count)) => {
                    self.peer = Peer::Sends;
                    self.left = self.left.saturating_sub(count);
                }
                Poll::Pending if self.peer == Peer::Quiet => return Poll::Ready(()),
                Poll::Pending => {
                    let end = time::now().saturating_add(self.most);
                    let sleep = &mut self.sleep;
                    let sleep = sleep.get_or_insert_with(|| Box::pin(time::sleep_until(end)));
                    return sleep.as_mut().poll(cx);
                }
            }
        }
        self.peer = Peer::Over;
        Poll::Ready(())
    }
}
