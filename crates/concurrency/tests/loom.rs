//! The races of the sync primitives, in every interleaving: `cargo xtask loom`.
//!
//! A lost wake-up shows as a deadlock of the model.
#![cfg(loom)]

#[path = "loom/branches.rs"]
mod branches;
#[path = "loom/tree.rs"]
mod tree;

use bowline_concurrency::sync::{Closed, Event, Lock, Queue, Semaphore};
use bowline_concurrency::{Pool, PoolError};
use loom::future::block_on;
use loom::model::Builder;
use loom::thread::{self, JoinHandle};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

/// Explores `model` with up to three preemptions.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// The same with up to two, of a model that has many steps.
fn explore_two(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

/// Starts a thread with its own handle of what the others use.
fn start<T: Send + Sync + 'static>(
    shared: &Arc<T>,
    body: impl FnOnce(&T) + Send + 'static,
) -> JoinHandle<()> {
    let shared = shared.clone();
    thread::spawn(move || body(&shared))
}

fn end(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

/// Polls once and drops: a waiter that leaves, before or after it was granted something.
fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    block_on(poll_fn(move |cx| {
        Poll::Ready(match Pin::new(&mut future).poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    }))
}

// SY38
#[test]
fn lock_acquired_and_released_by_three() {
    for make in [Lock::new, Lock::barging] {
        explore(move || {
            let lock = Arc::new(make(0));
            let threads = [(); 2].map(|()| start(&lock, |lock| *block_on(lock.lock()) += 1));
            *block_on(lock.lock()) += 1;
            end(threads);
            assert_eq!(lock.try_lock().map(|n| *n), Ok(3));
        });
    }
}

// SY38
#[test]
fn lock_with_a_waiter_that_leaves() {
    for make in [Lock::new, Lock::barging] {
        explore(move || {
            let lock = Arc::new(make(0));
            let leaves = start(&lock, |lock| drop(poll_once(lock.lock())));
            let stays = start(&lock, |lock| *block_on(lock.lock()) += 1);
            *block_on(lock.lock()) += 1;
            end([leaves, stays]);
            assert_eq!(lock.try_lock().map(|n| *n), Ok(2));
            assert_eq!(lock.statistics().waiting, 0);
        });
    }
}

// SY38
#[test]
fn barging_lock_with_one_that_only_tries() {
    explore(|| {
        let lock = Arc::new(Lock::barging(0));
        let tries = start(&lock, |lock| drop(lock.try_lock()));
        let waits = start(&lock, |lock| *block_on(lock.lock()) += 1);
        *block_on(lock.lock()) += 1;
        end([tries, waits]);
        assert_eq!(lock.try_lock().map(|n| *n), Ok(2));
    });
}

// SY38
#[test]
fn semaphore_acquired_and_released() {
    explore(|| {
        let semaphore = Arc::new(Semaphore::new(2));
        let many = start(&semaphore, |s| drop(block_on(s.acquire_many(2))));
        let one = start(&semaphore, |s| drop(block_on(s.acquire())));
        drop(block_on(semaphore.acquire()));
        end([many, one]);
        assert_eq!(semaphore.statistics().available, 2);
    });
}

// SY38
#[test]
fn semaphore_with_a_large_request_that_leaves() {
    explore(|| {
        let semaphore = Arc::new(Semaphore::new(2));
        let leaves = start(&semaphore, |s| drop(poll_once(s.acquire_many(2))));
        let one = start(&semaphore, |s| drop(block_on(s.acquire())));
        drop(block_on(semaphore.acquire()));
        end([leaves, one]);
        let end = semaphore.statistics();
        assert_eq!((end.available, end.waiting), (2, 0));
    });
}

// SY38
#[test]
fn event_set_while_two_wait_and_one_leaves() {
    explore(|| {
        let event = Arc::new(Event::new());
        let waits = start(&event, |event| block_on(event.wait()));
        let leaves = start(&event, |event| _ = poll_once(event.wait()));
        event.set();
        end([waits, leaves]);
        assert_eq!(event.statistics().waiting, 0);
    });
}

// SY38
#[test]
fn event_reset_does_not_take_back_who_was_let_pass() {
    explore(|| {
        let event = Arc::new(Event::new());
        let waits = start(&event, |event| block_on(event.wait()));
        // Until it waits or has passed, so that the first `set` reaches it or a later one does.
        event.set();
        event.reset();
        event.set();
        end([waits]);
        assert_eq!(event.statistics().waiting, 0);
    });
}

// SY38
#[test]
fn queue_sent_and_received() {
    explore(|| {
        let queue = Arc::new(Queue::bounded(1).expect("one is not zero"));
        let sends = start(&queue, |queue| {
            for n in 0..2 {
                assert!(block_on(queue.send(n)).is_ok());
            }
        });
        for n in 0..2 {
            assert_eq!(block_on(queue.recv()), Ok(n));
            assert_eq!(queue.task_done(), Ok(()));
        }
        block_on(queue.join());
        end([sends]);
        assert_eq!(queue.unfinished(), 0);
    });
}

// SY38
#[test]
fn queue_with_a_receiver_that_leaves() {
    explore(|| {
        let queue = Arc::new(Queue::bounded(2).expect("two is not zero"));
        let leaves = start(&queue, |queue| {
            // What it got it sends again: nothing may be lost.
            if let Some(Ok(value)) = poll_once(queue.recv()) {
                assert_eq!(queue.try_send(value), Ok(()));
            }
        });
        let sends = start(&queue, |queue| assert_eq!(queue.try_send(7), Ok(())));
        assert_eq!(block_on(queue.recv()), Ok(7));
        end([leaves, sends]);
        assert!(queue.is_empty());
        assert_eq!(queue.statistics().receivers, 0);
    });
}

// SY38
#[test]
fn queue_closed_while_both_ends_wait() {
    explore(|| {
        let queue = Arc::new(Queue::bounded(1).expect("one is not zero"));
        assert_eq!(queue.try_send(0), Ok(()));
        let sends = start(&queue, |queue| {
            if let Err(back) = block_on(queue.send(1)) {
                assert_eq!(back.0, 1);
            }
        });
        let closes = start(&queue, |queue| queue.close());
        assert_eq!(block_on(queue.recv()), Ok(0));
        match block_on(queue.recv()) {
            Ok(value) => assert_eq!(value, 1),
            Err(Closed) => assert!(queue.statistics().closed),
        }
        end([sends, closes]);
        assert_eq!(queue.statistics().senders, 0);
    });
}

/// A pool of one place, and how many items it has made and closed.
struct Counted {
    pool: Pool<(), ()>,
    made: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Counted {
    fn new() -> Counted {
        let (made, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (makes, closes) = (made.clone(), closed.clone());
        let factory = Pool::builder(move || {
            makes.fetch_add(1, Ordering::SeqCst);
            async { Ok(()) }
        });
        let pool = factory.max(1).close_with(move |()| {
            closes.fetch_add(1, Ordering::SeqCst);
            async {}
        });
        let pool = pool.build().expect("one is not zero");
        Counted { pool, made, closed }
    }

    /// Items made and closed.
    fn counts(&self) -> (usize, usize) {
        let read = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
        (read(&self.made), read(&self.closed))
    }
}

// PT1, PT3
#[test]
fn pool_whose_granted_waiter_is_dropped() {
    explore(|| {
        let counted = Arc::new(Counted::new());
        let leaves = start(&counted, |counted| {
            drop(poll_once(Box::pin(counted.pool.acquire())));
        });
        let uses = start(&counted, |counted| {
            let lease = block_on(counted.pool.acquire());
            lease.expect("it is open").discard();
        });
        drop(block_on(counted.pool.acquire()));
        end([leaves, uses]);
        let seen = counted.pool.statistics();
        assert_eq!((seen.held, seen.waiting), (0, 0));
        let (made, closed) = counted.counts();
        assert_eq!(made, seen.idle + seen.retired + closed);
    });
}

// PT6
#[test]
fn pool_closed_by_two_while_it_is_in_use() {
    explore(|| {
        let counted = Arc::new(Counted::new());
        let uses = start(&counted, |counted| {
            let lease = block_on(counted.pool.acquire());
            assert!(matches!(lease, Ok(_) | Err(PoolError::Closed)));
        });
        let closes = start(&counted, |counted| block_on(counted.pool.close()));
        block_on(counted.pool.close());
        let (made, closed) = counted.counts();
        assert_eq!(made, closed, "closed for whoever closes");
        end([uses, closes]);
        let seen = counted.pool.statistics();
        assert_eq!((seen.held, seen.idle, seen.retired), (0, 0, 0));
    });
}
