//! One peer of a server, and its packets that wait.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bowline_backend::stream::Address;
use bowline_concurrency::CancelHandle;
use bytes::Bytes;

use super::carried::Carried;
use super::limits::{Overflow, PacketLimits};

/// A packet as it came.
pub(super) struct Waiting {
    pub(super) bytes: Bytes,
    pub(super) truncated: bool,
    pub(super) carried: Carried,
}

/// What is known of one peer while a handler runs for it.
///
/// Invariants:
/// 1. At most `max_packets` wait, of at most `max_bytes` together.
/// 2. They are taken in the order in which they came.
/// 3. A waker is stored in the critical section that found no packet, so none is missed; it is
///    cloned, woken and dropped outside.
/// 4. Only the run that goes on takes packets; one that is over is told that there is none.
/// 5. What a packet carries is dropped outside of the lock, as wakers are.
pub(super) struct Link {
    pub(super) address: Address,
    /// What ends its task.
    pub(super) scope: CancelHandle,
    /// The run that goes on ends because a packet could not be decoded.
    undecoded: AtomicBool,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Waiting>,
    bytes: usize,
    /// How many were dropped for want of room.
    overflowed: u64,
    /// The number of the run that goes on.
    run: u64,
    /// Whether that run took a packet.
    took: bool,
    receiver: Option<Waker>,
}

/// What became of a packet that came.
pub(super) struct Pushed {
    /// How many were dropped for it, itself among them.
    pub(super) overflowed: usize,
    /// What they carried, to be closed outside of all locks.
    pub(super) carried: Vec<Carried>,
    pub(super) woken: Option<Waker>,
}

impl Link {
    pub(super) fn new(address: Address, scope: CancelHandle) -> Self {
        Link {
            address,
            scope,
            undecoded: AtomicBool::new(false),
            queue: Mutex::default(),
        }
    }

    /// Lets a packet wait, if there is room or room can be made.
    pub(super) fn push(&self, packet: Waiting, limits: &PacketLimits) -> Pushed {
        let mut queue = self.lock();
        let mut overflowed = 0;
        let mut carried = Vec::new();
        let mut leave_out = |packet: Waiting| {
            overflowed += 1;
            if !packet.carried.is_empty() {
                carried.push(packet.carried);
            }
        };
        let len = packet.bytes.len();
        let is_full = |queue: &Queue| {
            queue.packets.len() >= limits.max_packets || queue.bytes + len > limits.max_bytes
        };
        if limits.overflow == Overflow::DropOldest && len <= limits.max_bytes {
            while is_full(&queue)
                && let Some(oldest) = queue.packets.pop_front()
            {
                queue.bytes -= oldest.bytes.len();
                leave_out(oldest);
            }
        }
        let woken = match is_full(&queue) {
            true => {
                leave_out(packet);
                None
            }
            false => {
                queue.bytes += len;
                queue.packets.push_back(packet);
                queue.receiver.take()
            }
        };
        queue.overflowed += overflowed as u64;
        Pushed {
            overflowed,
            carried,
            woken,
        }
    }

    /// Notes that the run ends with an error that is what the peer sent.
    pub(super) fn note_undecoded(&self) {
        self.undecoded.store(true, Ordering::Release);
    }

    /// Whether the last run did.
    pub(super) fn take_undecoded(&self) -> bool {
        self.undecoded.swap(false, Ordering::AcqRel)
    }

    /// The number of a new run.
    pub(super) fn begin_run(&self) -> u64 {
        let mut queue = self.lock();
        queue.run += 1;
        queue.took = false;
        queue.run
    }

    /// Ends the run that goes on; how many packets it cost: it has to take one, or the packet that
    /// began it would begin the next one, and so on for ever.
    pub(super) fn end_run(&self) -> usize {
        let mut queue = self.lock();
        queue.run += 1;
        let receiver = queue.receiver.take();
        let untaken = match queue.took {
            true => None,
            false => queue.packets.pop_front(),
        };
        if let Some(packet) = &untaken {
            queue.bytes -= packet.bytes.len();
        }
        drop(queue);
        if let Some(receiver) = receiver {
            receiver.wake(); // another task waits for packets of this run
        }
        usize::from(untaken.is_some())
    }

    /// The next packet for the run of this number; `None` where that is over.
    pub(super) fn poll_pop(&self, run: u64, cx: &mut Context<'_>) -> Poll<Option<Waiting>> {
        let mut waker = Some(cx.waker().clone());
        let mut queue = self.lock();
        if queue.run != run {
            return Poll::Ready(None);
        }
        if let Some(packet) = queue.packets.pop_front() {
            queue.bytes -= packet.bytes.len();
            queue.took = true;
            return Poll::Ready(Some(packet));
        }
        mem::swap(&mut queue.receiver, &mut waker);
        drop(queue);
        drop(waker);
        Poll::Pending
    }

    /// How many packets wait, and of how many bytes together.
    pub(super) fn waiting(&self) -> (usize, usize) {
        let queue = self.lock();
        (queue.packets.len(), queue.bytes)
    }

    pub(super) fn overflowed(&self) -> u64 {
        self.lock().overflowed
    }

    /// Drops all that wait; how many that were.
    pub(super) fn clear(&self) -> usize {
        let mut queue = self.lock();
        queue.bytes = 0;
        let packets = mem::take(&mut queue.packets);
        drop(queue);
        packets.len()
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing of the user's runs under the lock, so nothing can leave it half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
