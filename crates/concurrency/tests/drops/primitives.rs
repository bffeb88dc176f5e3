//! Synchronisation: what a dropped waiter had or was given is there for the next one.

use bowline_concurrency::sync::{
    Barrier, CapacityLimiter, Condition, Event, Lock, Once, Queue, Semaphore,
};
use bowline_concurrency::yield_now;
use bowline_sim::explore_drops;
use futures_util::future::poll_immediate;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Polls a future that has to wait, makes `grant` grant it, and gives what it was granted; with an
/// await before the grant and one behind it.
async fn wait_for<F: Future>(future: F, grant: impl FnOnce()) -> F::Output {
    let mut future = pin!(future);
    assert!(
        poll_immediate(&mut future).await.is_none(),
        "it has to wait"
    );
    yield_now().await;
    grant();
    yield_now().await;
    future.await
}

// CP8
#[test]
fn locks() {
    for make in [Lock::new, Lock::barging] {
        let awaits = explore_drops(|| {
            let lock = Arc::new(make(0));
            let shared = lock.clone();
            let work = async move {
                let first = lock.lock().await;
                *wait_for(lock.lock(), || drop(first)).await += 1;
                let first = lock.lock().await;
                let owned = wait_for(lock.clone().lock_owned(), || drop(first)).await;
                yield_now().await;
                drop(owned);
                let first = lock.lock().await;
                let second = wait_for(lock.lock(), || drop(first)).await;
                yield_now().await;
                drop(second);
                *lock.lock_checked().await.expect("nobody has it") += 1;
            };
            let check = move || {
                assert!(shared.try_lock().is_ok_and(|n| *n <= 2));
                assert_eq!(shared.statistics().waiting, 0);
            };
            (work, check)
        });
        assert_eq!(awaits, 8);
    }
}

// CP8
#[test]
fn semaphores() {
    let awaits = explore_drops(|| {
        let semaphore = Arc::new(Semaphore::new(3));
        let shared = semaphore.clone();
        let work = async move {
            let all = semaphore.acquire_many(3).await.expect("there are three");
            let one = wait_for(semaphore.acquire(), || drop(all)).await;
            yield_now().await;
            // Half-satisfied first.
            let rest = semaphore.acquire().await;
            let all = wait_for(semaphore.acquire_many(3), || drop((one, rest))).await;
            yield_now().await;
            drop(all);
        };
        let check = move || {
            let end = shared.statistics();
            assert_eq!((end.available, end.waiting), (3, 0));
            assert!(shared.try_acquire().is_ok());
        };
        (work, check)
    });
    assert_eq!(awaits, 6);
}

// CP8
#[test]
fn limiters() {
    let awaits = explore_drops(|| {
        let limiter = Arc::new(CapacityLimiter::new(1));
        let shared = limiter.clone();
        let work = async move {
            let first = limiter.acquire().await;
            let second = wait_for(limiter.acquire(), || drop(first)).await;
            yield_now().await;
            let third = wait_for(limiter.acquire_for(7_u64), || drop(second)).await;
            let third = third.expect("it has none yet");
            yield_now().await;
            let owned = wait_for(limiter.clone().acquire_owned(), || drop(third)).await;
            yield_now().await;
            drop(owned);
        };
        let check = move || {
            let end = shared.statistics();
            assert_eq!((end.borrowed, end.waiting), (0, 0));
            assert!(shared.try_acquire().is_ok());
        };
        (work, check)
    });
    assert_eq!(awaits, 9);
}

// CP8
#[test]
fn events_and_values() {
    let awaits = explore_drops(|| {
        let event = Arc::new(Event::new());
        let once = Arc::new(Once::new());
        let (set, value) = (event.clone(), once.clone());
        let work = async move {
            wait_for(event.wait(), || event.set()).await;
            let value = wait_for(once.wait(), || assert_eq!(once.set(7), Ok(()))).await;
            assert_eq!(*value, 7);
        };
        let check = move || {
            assert_eq!(set.statistics().waiting, 0);
            assert_eq!(value.statistics().waiting, 0);
            // What was set stays so.
            assert!(set.is_set() || value.get().is_none());
        };
        (work, check)
    });
    assert_eq!(awaits, 4);
}

// CP8
#[test]
fn conditions() {
    let awaits = explore_drops(|| {
        let lock = Arc::new(Lock::new(0));
        let condition = Arc::new(Condition::new(lock.clone()));
        let (shared, notified) = (lock.clone(), condition.clone());
        let work = async move {
            let tell = || {
                let mut guard = lock.try_lock().expect("who waits does not hold it");
                *guard += 1;
                condition.notify(&guard, 1);
            };
            let guard = condition.lock().await;
            let guard = wait_for(condition.wait(guard), tell).await;
            yield_now().await;
            let until = condition.wait_until(guard, |n| *n == 2);
            let guard = wait_for(until, tell).await;
            assert_eq!(*guard, 2);
        };
        let check = move || {
            assert!(shared.try_lock().is_ok(), "nothing stays locked");
            assert_eq!(notified.statistics().waiting, 0);
            assert_eq!(shared.statistics().waiting, 0);
        };
        (work, check)
    });
    assert_eq!(awaits, 5);
}

// CP8
#[test]
fn barriers() {
    let awaits = explore_drops(|| {
        let barrier = Arc::new(Barrier::new(2).expect("two is not zero"));
        let shared = barrier.clone();
        let work = async move {
            for generation in 0..2 {
                let mut other = pin!(barrier.wait());
                assert!(poll_immediate(&mut other).await.is_none());
                yield_now().await;
                let leader = barrier.wait().await;
                yield_now().await;
                assert_eq!((leader.leader, leader.generation), (true, generation));
                assert!(!other.await.leader);
            }
        };
        // Who leaves is not counted: it takes two to pass.
        let check = move || assert_eq!(shared.statistics().waiting, 0);
        (work, check)
    });
    assert_eq!(awaits, 4);
}

/// What was sent and what was received.
#[derive(Default)]
struct Flow {
    sent: AtomicUsize,
    received: AtomicUsize,
}

// CP8
#[test]
fn queues() {
    let awaits = explore_drops(|| {
        let queue = Arc::new(Queue::bounded(1).expect("one is not zero"));
        let flow = Arc::new(Flow::default());
        let (shared, seen) = (queue.clone(), flow.clone());
        let work = async move {
            let sent = || _ = flow.sent.fetch_add(1, Ordering::SeqCst);
            let received = || _ = flow.received.fetch_add(1, Ordering::SeqCst);
            let first = wait_for(queue.recv(), || {
                assert_eq!(queue.try_send(0), Ok(()));
                sent();
            });
            assert_eq!(first.await, Ok(0));
            received();
            assert_eq!(queue.send(1).await, Ok(()));
            sent();
            let second = wait_for(queue.send(2), || {
                assert_eq!(queue.try_recv(), Ok(1));
                received();
            });
            assert_eq!(second.await, Ok(()));
            sent();
            let job = queue.recv_job().await.expect("it is open");
            received();
            assert_eq!(*job, 2);
            let done = wait_for(queue.join(), || {
                drop(job);
                assert_eq!((queue.task_done(), queue.task_done()), (Ok(()), Ok(())));
            });
            done.await;
        };
        let check = move || {
            let end = shared.statistics();
            assert_eq!((end.senders, end.receivers, end.joiners), (0, 0, 0));
            let sent = seen.sent.load(Ordering::SeqCst);
            let received = seen.received.load(Ordering::SeqCst);
            // A send that is dropped when it was granted has sent, and nobody was told.
            let left = sent - received;
            assert!(end.len == left || end.len == left + 1, "{end:?}");
            let mut next = received;
            while let Ok(value) = shared.try_recv() {
                assert_eq!(value, next, "in order, and none of them twice");
                next += 1;
            }
        };
        (work, check)
    });
    assert_eq!(awaits, 6);
}
