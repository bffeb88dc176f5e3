//! What two sockets of datagrams in memory share: a queue in each direction.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::memory::Side;

/// What a packet takes beside its bytes, so that empty ones are bounded too.
const OVERHEAD: usize = 256;

/// Both directions.
///
/// Invariants:
/// 1. A queue holds at most `capacity`, counted with [`OVERHEAD`], or one packet.
/// 2. A waker is stored in the same critical section that found nothing to do, and all who wait are
///    woken by what they may wait for, so no wake is lost and a lost race strands nobody.
/// 3. Wakers are cloned, woken and dropped only while the lock is not held.
pub(super) struct Link {
    capacity: usize,
    names: [Arc<str>; 2],
    queues: Mutex<[Queue; 2]>,
    /// The last place given; that of the poll functions is not.
    last_id: AtomicU64,
}

/// The packets that one side sent and the other has not received.
#[derive(Default)]
struct Queue {
    packets: VecDeque<Bytes>,
    /// What they count.
    taken: usize,
    /// The sending end is dropped.
    ended: bool,
    /// The receiving end is dropped.
    deaf: bool,
    senders: Waiters,
    receivers: Waiters,
}

type Waiters = BTreeMap<u64, Waker>;

impl Link {
    pub(super) fn new(capacity: usize, names: [Arc<str>; 2]) -> Self {
        Link {
            capacity,
            names,
            queues: Mutex::default(),
            last_id: AtomicU64::new(Waiting::POLL),
        }
    }

    pub(super) fn name(&self, side: Side) -> Arc<str> {
        self.names[side as usize].clone()
    }

    pub(super) fn poll_send(
        &self,
        side: Side,
        id: u64,
        cx: &mut Context<'_>,
        packet: &[u8],
    ) -> Poll<io::Result<()>> {
        let waker = cx.waker().clone();
        let mut queues = self.lock();
        let queue = &mut queues[side as usize];
        if queue.deaf {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        let takes = packet.len() + OVERHEAD;
        if !queue.packets.is_empty() && queue.taken + takes > self.capacity {
            let old = queue.senders.insert(id, waker);
            drop(queues);
            drop(old);
            return Poll::Pending;
        }
        queue.packets.push_back(Bytes::copy_from_slice(packet));
        queue.taken += takes;
        let (woken, own) = (mem::take(&mut queue.receivers), queue.senders.remove(&id));
        drop(queues);
        drop(own);
        wake(woken);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_recv(
        &self,
        side: Side,
        id: u64,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        let waker = cx.waker().clone();
        let mut queues = self.lock();
        let queue = &mut queues[side.peer() as usize];
        if let Some(packet) = queue.packets.pop_front() {
            queue.taken -= packet.len() + OVERHEAD;
            let (woken, own) = (mem::take(&mut queue.senders), queue.receivers.remove(&id));
            drop(queues);
            drop(own);
            wake(woken);
            return Poll::Ready(Ok(packet));
        }
        if queue.ended {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let old = queue.receivers.insert(id, waker);
        drop(queues);
        drop(old);
        Poll::Pending
    }

    /// One end is dropped.
    pub(super) fn close(&self, side: Side) {
        let mut queues = self.lock();
        let sent = &mut queues[side as usize];
        sent.ended = true;
        let receivers = mem::take(&mut sent.receivers);
        let received = &mut queues[side.peer() as usize];
        received.deaf = true;
        received.taken = 0;
        let senders = mem::take(&mut received.senders);
        let packets = mem::take(&mut received.packets);
        drop(queues);
        drop(packets);
        wake(receivers);
        wake(senders);
    }

    fn lock(&self) -> MutexGuard<'_, [Queue; 2]> {
        // Nothing of the user's runs under the lock, so nothing can leave it half changed.
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(waiters: Waiters) {
    for waker in waiters.into_values() {
        waker.wake();
    }
}

/// One future's place among those who wait; dropped, it is given up.
pub(super) struct Waiting<'a> {
    link: &'a Link,
    id: u64,
    /// Where its waker is.
    place: fn(&mut Queue) -> &mut Waiters,
    queue: Side,
}

impl<'a> Waiting<'a> {
    /// The place of the poll functions, which are for one task.
    pub(super) const POLL: u64 = 0;

    pub(super) fn to_send(link: &'a Link, side: Side) -> Self {
        Waiting::new(link, side, |queue| &mut queue.senders)
    }

    pub(super) fn to_recv(link: &'a Link, side: Side) -> Self {
        Waiting::new(link, side.peer(), |queue| &mut queue.receivers)
    }

    fn new(link: &'a Link, queue: Side, place: fn(&mut Queue) -> &mut Waiters) -> Self {
        let id = link.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        Waiting {
            link,
            id,
            place,
            queue,
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut queues = self.link.lock();
        let own = (self.place)(&mut queues[self.queue as usize]).remove(&self.id);
        drop(queues);
        drop(own);
    }
}
