//! What the primitives answer where they are used against their purpose: one exact value each.

use crate::Wakes;
use bowline_backend::Backend;
use bowline_concurrency::sync::{
    AlreadyBorrowed, Barrier, CapacityLimiter, Closed, Condition, Event, Lock, Once, Queue,
    QueueSendError, QueueTryRecvError, QueueTrySendError, ResourceGuard, Semaphore, TooManyDone,
    TryAcquireError, WouldDeadlock,
};
use bowline_concurrency::{CancelScope, InvalidValue, Root, sleep_forever, task_group};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

/// The three parts of a refusal: what, given, most.
fn parts<T>(result: Result<T, InvalidValue>) -> (&'static str, u64, u64) {
    let refused = result.err().expect("it is refused");
    (refused.what(), refused.given(), *refused.allowed().end())
}

const MOST: u64 = usize::MAX as u64;

// SY37
#[test]
fn counts_that_make_no_sense_are_refused() {
    assert_eq!(
        parts(Barrier::new(0)),
        ("the number of tasks at a barrier", 0, MOST)
    );
    assert_eq!(
        parts(Queue::<()>::bounded(0)),
        ("the capacity of a queue", 0, MOST)
    );
    assert_eq!(
        parts(Semaphore::with_max(2, 1)),
        ("the number of permits", 2, 1)
    );
    let semaphore = Semaphore::with_max(1, 2).expect("it is allowed");
    let added = semaphore.add_permits(usize::MAX);
    assert_eq!(parts(added), ("the number of permits to add", MOST, 1));
    assert_eq!(semaphore.statistics().available, 1);
    let wakes = Arc::new(Wakes::default());
    let Poll::Ready(refused) = wakes.poll(&mut semaphore.acquire_many(3)) else {
        panic!("it is refused at once");
    };
    assert_eq!(parts(refused), ("the number of permits to acquire", 3, 2));
    let Poll::Ready(none) = wakes.poll(&mut semaphore.acquire_many(0)) else {
        panic!("nothing is there at once");
    };
    assert_eq!(none.map(|permit| permit.count()), Ok(0));
}

// SY37
#[test]
fn nothing_at_all_is_a_valid_number_to_start_with() {
    let wakes = Arc::new(Wakes::default());
    let (semaphore, limiter) = (Semaphore::new(0), CapacityLimiter::new(0));
    let (mut acquire, mut borrow) = (semaphore.acquire(), limiter.acquire());
    assert!(wakes.poll(&mut acquire).is_pending());
    assert!(wakes.poll(&mut borrow).is_pending());
    assert_eq!(semaphore.add_permits(1), Ok(()));
    limiter.set_total(1);
    assert!(wakes.poll(&mut acquire).is_ready());
    assert!(wakes.poll(&mut borrow).is_ready());
}

// SY37
#[test]
fn what_is_used_twice_or_too_late_is_answered_exactly() {
    Root::new().backend(Backend::Sim).block_on(async {
        let once = Once::new();
        assert_eq!((once.set(1), once.set(2)), (Ok(()), Err(2)));

        let lock = Arc::new(Lock::new(0));
        let guard = lock.lock().await;
        let busy = lock.try_lock().map(|n| *n).expect_err("it is held");
        assert_eq!(busy.action(), "the lock is held");
        assert_eq!(lock.lock_checked().await.err(), Some(WouldDeadlock));
        let condition = Condition::new(lock.clone());
        condition.notify(&guard, 0);
        condition.notify(&guard, 9);
        assert_eq!(condition.statistics().waiting, 0);

        let semaphore = Semaphore::new(1);
        let permit = semaphore.acquire().await;
        let busy = semaphore.try_acquire().map(drop).expect_err("it is taken");
        assert_eq!(busy.action(), "no permit is free");
        drop(permit);

        let limiter = CapacityLimiter::new(1);
        let place = limiter.acquire_for(1).await.expect("it is free");
        assert_eq!(limiter.acquire_for(1).await.err(), Some(AlreadyBorrowed));
        let again = limiter.try_acquire_for(1).err();
        assert_eq!(again, Some(TryAcquireError::AlreadyBorrowed));
        let busy = limiter.try_acquire().map(drop).expect_err("it is taken");
        assert_eq!(busy.action(), "no place is free");
        let other = limiter.try_acquire_for(2).err();
        assert_eq!(other, Some(TryAcquireError::Busy(busy)));
        drop(place);

        let resource = ResourceGuard::new("reading");
        let entered = resource.enter().expect("nobody is there");
        assert_eq!(
            resource.enter().map(drop).map_err(|b| b.action()),
            Err("reading")
        );
        drop(entered);

        let queue = Queue::bounded(1).expect("it is not zero");
        assert_eq!(queue.task_done(), Err(TooManyDone));
        assert_eq!(queue.unfinished(), 0);
        assert_eq!(queue.try_recv(), Err(QueueTryRecvError::Empty));
        assert_eq!(queue.try_send(1), Ok(()));
        assert_eq!(queue.try_send(2), Err(QueueTrySendError::Full(2)));
        queue.close();
        assert_eq!(queue.try_send(2), Err(QueueTrySendError::Closed(2)));
        assert_eq!(queue.send(2).await, Err(QueueSendError(2)));
        assert_eq!(queue.recv().await, Ok(1));
        assert_eq!(queue.recv().await, Err(Closed));
        assert_eq!(queue.try_recv(), Err(QueueTryRecvError::Closed));
    });
}

// CP4
#[test]
fn what_does_not_wait_is_no_checkpoint() {
    Root::new().backend(Backend::Sim).block_on(async {
        let polls = AtomicUsize::new(0);
        let result = task_group::<_, (), _, _>(|group| async {
            let group = group;
            let scope = CancelScope::new();
            scope.handle().cancel("beforehand");
            let body = async {
                polls.fetch_add(1, Ordering::SeqCst);
                let event = Event::new();
                event.set();
                event.reset();
                let lock = Arc::new(Lock::new(0));
                let guard = lock.try_lock().expect("it is free");
                Condition::new(lock.clone()).notify_all(&guard);
                let semaphore = Semaphore::new(1);
                assert!(semaphore.try_acquire().is_ok());
                assert_eq!(semaphore.add_permits(1), Ok(()));
                let limiter = CapacityLimiter::new(1);
                assert!(limiter.try_acquire().is_ok());
                limiter.set_total(2);
                let queue = Queue::unbounded();
                assert_eq!((queue.try_send(1), queue.try_recv()), (Ok(()), Ok(1)));
                assert_eq!(queue.task_done(), Ok(()));
                assert_eq!(Once::new().set(1), Ok(()));
                let child = group.spawn_ok(sleep_forever());
                assert!(child.cancel("at once"));
                assert!(group.try_spawn(async { Ok(()) }).is_ok());
                7
            };
            Ok(scope.run(body).await.done())
        });
        assert_eq!(
            result.await.ok(),
            Some(Some(7)),
            "cancelled, yet it ran to its end"
        );
        assert_eq!(polls.load(Ordering::SeqCst), 1);
    });
}
