//! The sending side of a datagram transport, which both of its halves drive.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::counters::Counts;
use super::{DatagramSend, is_refusal};
use crate::attribute::Attributes;
use crate::error::{Delivery, Error, ErrorKind, Operation};
use crate::half_wakers::{Half, HalfWakers};

/// The packet that the socket had no room for, and what the socket said of packets.
///
/// A packet goes to the socket by one call. A `send` waits with it until there is room; only one
/// that was queued by a permit and found none waits here, and both halves offer it again, so that
/// a program that only waits for the reply still gets its request out.
///
/// Invariants:
/// 1. Packets are sent in the order in which they were queued: none goes to the socket while
///    another is held. With whoever keeps to `poll_reserve`, at most one is.
/// 2. While `offering`, one half is inside the socket with the front of `held`. The other that
///    comes by sets `again`, and the first then goes round once more.
/// 3. The socket is polled for sending with `write_waker` alone, which wakes the wakers of both
///    halves, so neither steals the other's.
/// 4. A half stores its waker before it drives and looks, and after a packet was held both are
///    woken, so no room is missed.
/// 5. The socket is called, and wakers are woken, only while the lock is not held.
pub(super) struct Outbound {
    state: Mutex<State>,
    pub(super) wakers: Arc<HalfWakers>,
    write_waker: Waker,
    pub(super) setup: Setup,
    pub(super) counts: Counts,
}

/// What was fixed when the transport was made; its halves share it.
pub(super) struct Setup {
    pub(super) close_timeout: Duration,
    /// The longest packet that goes out.
    pub(super) limit: usize,
    pub(super) attributes: Attributes,
}

#[derive(Default)]
struct State {
    held: VecDeque<Bytes>,
    offering: bool,
    again: bool,
    phase: Phase,
    /// The first failure that no operation has reported yet, and how many packets it cost.
    failed: Option<(io::Error, usize)>,
    /// An earlier packet found nobody.
    refused: Option<io::Error>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Open,
    /// We said that no more will come.
    Ended,
    Closed,
}

impl Outbound {
    pub(super) fn new(setup: Setup) -> Self {
        let wakers = Arc::new(HalfWakers::default());
        Outbound {
            state: Mutex::default(),
            write_waker: Waker::from(wakers.clone()),
            wakers,
            setup,
            counts: Counts::default(),
        }
    }

    /// Sends a packet by `send`, or wakes the sender's task when there is room; for a sender that found
    /// nothing held.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        send: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        self.wakers.store(Half::Sender, cx.waker());
        self.offer(send)
    }

    /// Sends `packet`, or holds it where there is no room.
    ///
    /// # Errors
    ///
    /// The error of a packet that the system finds too long; any other is kept for the next
    /// operation.
    pub(super) fn queue<S: DatagramSend>(&self, socket: &S, packet: Bytes) -> io::Result<()> {
        if self.has_room() {
            match self.offer(|cx| socket.poll_send(cx, &packet)) {
                Poll::Ready(Err(error)) if super::is_too_long(&error) => return Err(error),
                Poll::Ready(result) => {
                    self.note(result);
                    return Ok(());
                }
                Poll::Pending => {}
            }
        }
        self.lock().held.push_back(packet);
        // The socket may have said that it has room while nobody had anything to send.
        self.write_waker.wake_by_ref();
        Ok(())
    }

    /// Offers what is held, and wakes the task of `half` when there is room.
    pub(super) fn drive_and_wait<S: DatagramSend>(
        &self,
        half: Half,
        socket: &S,
        cx: &mut Context<'_>,
    ) {
        self.wakers.store(half, cx.waker());
        loop {
            let mut state = self.lock();
            let Some(packet) = state.held.front().cloned() else {
                return;
            };
            if mem::replace(&mut state.offering, true) {
                state.again = true;
                return;
            }
            drop(state);
            let offering = Offering(self);
            let result = self.offer(|cx| socket.poll_send(cx, &packet));
            mem::forget(offering);

            let mut state = self.lock();
            state.offering = false;
            let again = mem::take(&mut state.again);
            let Poll::Ready(result) = result else {
                if again {
                    continue;
                }
                return;
            };
            let sent = state.held.pop_front();
            drop(state);
            drop(sent);
            self.note(result);
            if half == Half::Receiver {
                self.wakers.wake_sender();
            }
        }
    }

    /// One call of the socket; another, where the first only told of an earlier packet.
    fn offer(
        &self,
        mut send: impl FnMut(&mut Context<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let mut cx = Context::from_waker(&self.write_waker);
        match send(&mut cx) {
            Poll::Ready(Err(error)) if is_refusal(&error) => {
                match send(&mut cx) {
                    // It tells so of every packet: this one was not sent either.
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    sent => {
                        self.lock().refused.get_or_insert(error);
                        sent
                    }
                }
            }
            result => result,
        }
    }

    /// Keeps a failure for the next operation.
    fn note(&self, result: io::Result<()>) {
        let Err(error) = result else { return };
        let mut state = self.lock();
        match &mut state.failed {
            Some((_, lost)) => *lost += 1,
            None => state.failed = Some((error, 1)),
        }
    }

    /// Whether a packet may be queued; tells of what became of earlier ones.
    pub(super) fn check_open(&self, operation: Operation) -> Result<(), Error> {
        if self.lock().phase != Phase::Open {
            return Err(self.closed(operation));
        }
        self.check_failed(operation)?;
        self.check_refused(operation)
    }

    /// The error of a packet that the socket did not take, if none was told of it before.
    pub(super) fn check_failed(&self, operation: Operation) -> Result<(), Error> {
        let failed = self.lock().failed.take();
        match failed {
            None => Ok(()),
            Some((error, lost)) => Err(Error::from_io(operation, error)
                .with_peer(self.peer())
                .with_delivery(Delivery::NotSent)
                .with_unsent_frames(lost)),
        }
    }

    /// The refusal of an earlier packet, if nobody was told of it before.
    pub(super) fn check_refused(&self, operation: Operation) -> Result<(), Error> {
        let refused = self.lock().refused.take();
        match refused {
            None => Ok(()),
            Some(error) => Err(Error::from_io(operation, error)
                .with_peer(self.peer())
                .with_delivery(Delivery::NotSent)),
        }
    }

    /// Whether there is room for a packet.
    pub(super) fn has_room(&self) -> bool {
        self.lock().held.is_empty()
    }

    pub(super) fn unsent_frames(&self) -> usize {
        self.lock().held.len()
    }

    /// Refuses further packets.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Ended;
        }
    }

    /// Lets go of what is held; everything is `Closed` from now on.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        let held = mem::take(&mut state.held);
        drop(state);
        drop(held);
        self.wakers.wake_sender();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().phase == Phase::Closed
    }

    pub(super) fn closed(&self, operation: Operation) -> Error {
        Error::new(operation, ErrorKind::Closed).with_peer(self.peer())
    }

    pub(super) fn peer(&self) -> Option<bowline_backend::stream::Address> {
        self.setup.attributes.peer_addr().cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of the user's runs under the lock, so nothing can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A half inside the socket; dropped where that panicked: the packet is given up.
struct Offering<'a>(&'a Outbound);

impl Drop for Offering<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.offering = false;
        state.again = false;
        let lost = state.held.pop_front();
        drop(state);
        drop(lost);
        self.0
            .note(Err(io::Error::other("the socket panicked in a send")));
        self.0.write_waker.wake_by_ref();
    }
}
