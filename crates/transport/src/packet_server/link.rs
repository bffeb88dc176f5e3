//! One peer of a server, and its packets that wait.

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
/// 5. A run is displaced while it waits and no packet does; a packet that comes undoes that, if the run was not
///    told yet, and else begins the next run.
/// 6. What a packet carries is dropped outside of the lock, as wakers are.
pub(super) struct Link {
    pub(super) address: Address,
    /// What ends its task.
    pub(super) scope: CancelHandle,
    /// The run that goes on ends because a packet could not be decoded.
    undecoded: AtomicBool,
    /// Its place in the order of those who were heard, in whose critical sections it is used.
    heard: AtomicU64,
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
    /// Another peer wants the place of that run, which is told that there is no next packet.
    displaced: bool,
    /// Of the run, while it waits.
    receiver: Option<Waker>,
}

/// What became of a packet that came.
pub(super) struct Pushed {
    /// How many were dropped for it, itself among them.
    pub(super) overflowed: usize,
    /// What they carried, to be closed outside of all locks.
    pub(super) carried: Vec<Carried>,
    pub(super) woken: Option<Waker>,
    /// It keeps a peer that was to make place.
    pub(super) returned: bool,
}

impl Link {
    pub(super) fn new(address: Address, scope: CancelHandle) -> Self {
        Link {
            address,
            scope,
            undecoded: AtomicBool::new(false),
            heard: AtomicU64::new(0),
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
        let (woken, returned) = match is_full(&queue) {
            true => {
                leave_out(packet);
                (None, false)
            }
            false => {
                queue.bytes += len;
                queue.packets.push_back(packet);
                let returned = mem::take(&mut queue.displaced);
                (queue.receiver.take(), returned)
            }
        };
        queue.overflowed += overflowed as u64;
        Pushed {
            overflowed,
            carried,
            woken,
            returned,
        }
    }

    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    pub(super) fn set_heard(&self, number: u64) {
        self.heard.store(number, Ordering::Relaxed);
    }

    /// Tells the run that there is no next packet, if it waits for one; then its waker.
    pub(super) fn displace(&self) -> Option<Waker> {
        let mut queue = self.lock();
        if !queue.packets.is_empty() {
            return None;
        }
        let receiver = queue.receiver.take();
        queue.displaced |= receiver.is_some();
        receiver
    }

    /// The run of this number waits no more.
    pub(super) fn stop_waiting(&self, run: u64) {
        let mut queue = self.lock();
        if queue.run == run {
            let receiver = queue.receiver.take();
            drop(queue);
            drop(receiver);
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
        queue.displaced = false;
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
        if queue.displaced {
            return Poll::Ready(None);
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
