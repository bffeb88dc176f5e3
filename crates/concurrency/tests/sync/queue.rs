//! `Queue`.

use crate::every_backend::every_backend;
use crate::{Wakes, poll, ready};
use bowline_backend::Backend;
use bowline_concurrency::sync::{
    Closed, Queue, QueueSendError, QueueTryRecvError, QueueTrySendError, TooManyDone,
};
use bowline_concurrency::{CancelScope, Root, checkpoint, now, sleep, task_group, yield_now};
use bowline_sim::explore_drops;
use futures_util::future::join3;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

every_backend!(
    joining_waits_until_all_is_done,
    a_job_is_done_however_it_ends,
    frozen_ends_are_passed_over,
    workers_get_every_job_once,
);

fn bounded<T>(capacity: usize) -> Queue<T> {
    Queue::bounded(capacity).expect("it is not zero")
}

// SY28
#[test]
fn senders_wait_in_order_and_one_that_leaves_sends_nothing() {
    let queue = bounded(1);
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let counts = || wakes.each_ref().map(|wakes| wakes.count());
    ready(wakes[0].poll(&mut queue.send(0))).expect("it is open");
    let (mut first, mut leaves, mut last) = (queue.send(1), queue.send(2), queue.send(3));
    assert!(wakes[0].poll(&mut first).is_pending());
    assert!(wakes[1].poll(&mut leaves).is_pending());
    assert!(wakes[2].poll(&mut last).is_pending());
    assert_eq!((queue.len(), queue.unfinished()), (1, 1));
    assert_eq!(queue.try_recv(), Ok(0));
    assert_eq!(counts(), [1, 0, 0]);
    assert_eq!(queue.len(), 1, "the first one's value is in the room");
    drop(leaves);
    assert_eq!(queue.try_recv(), Ok(1));
    assert_eq!(counts(), [1, 0, 1]);
    assert!(ready(wakes[2].poll(&mut last)).is_ok());
    assert!(ready(wakes[0].poll(&mut first)).is_ok());
    assert_eq!(queue.try_recv(), Ok(3));
    assert_eq!(queue.try_recv(), Err(QueueTryRecvError::Empty));
    assert_eq!(queue.unfinished(), 3);
}

// SY29
#[test]
fn what_cannot_be_sent_comes_back() {
    let queue = bounded(1);
    assert_eq!(queue.try_recv(), Err(QueueTryRecvError::Empty));
    assert_eq!(queue.try_send("one"), Ok(()));
    assert_eq!(queue.try_send("two"), Err(QueueTrySendError::Full("two")));
    queue.close();
    assert_eq!(queue.try_send("two"), Err(QueueTrySendError::Closed("two")));
    assert_eq!(queue.try_recv(), Ok("one"));
    assert_eq!(queue.try_recv(), Err(QueueTryRecvError::Closed));
    assert_eq!(queue.send_blocking("two"), Err(QueueSendError("two")));
    assert_eq!(queue.recv_blocking(), Err(Closed));
    let error = QueueTrySendError::Full(7);
    assert_eq!(
        (error.to_string(), error.into_inner()),
        ("sending into a full queue".into(), 7)
    );
}

// SY30
fn joining_waits_until_all_is_done(root: Root) {
    root.block_on(async {
        let queue = bounded(3);
        assert!(poll(&mut queue.join()).await.is_some(), "nothing was sent");
        for n in 0..3 {
            queue.send(n).await.expect("it is open");
        }
        let mut join = queue.join();
        for left in (1..=3).rev() {
            assert_eq!(queue.unfinished(), left);
            assert!(poll(&mut join).await.is_none());
            assert_eq!(queue.recv().await, Ok(3 - left));
            assert!(poll(&mut join).await.is_none(), "received is not done");
            assert_eq!(queue.task_done(), Ok(()));
        }
        // All was done at one moment: what is sent now is for another join.
        queue.send(3).await.expect("it is open");
        assert!(poll(&mut join).await.is_some());
        assert!(poll(&mut queue.join()).await.is_none());
        assert_eq!(queue.task_done(), Ok(()));
        assert_eq!(queue.task_done(), Err(TooManyDone));
        assert_eq!(queue.unfinished(), 0);
    });
}

// SY31
#[test]
fn a_granted_receiver_that_leaves_puts_it_back_at_the_head() {
    let queue = bounded(4);
    let wakes: [Arc<Wakes>; 3] = Default::default();
    let counts = || wakes.each_ref().map(|wakes| wakes.count());
    let (mut first, mut second, mut third) = (queue.recv(), queue.recv(), queue.recv());
    assert!(wakes[0].poll(&mut first).is_pending());
    assert!(wakes[1].poll(&mut second).is_pending());
    for n in 0..4 {
        assert_eq!(queue.try_send(n), Ok(()));
    }
    assert_eq!(counts(), [1, 1, 0]);
    assert_eq!(
        queue.try_recv(),
        Ok(0),
        "the oldest that is promised to nobody else"
    );
    drop(first);
    // Its value is free again, and the order is as it was.
    assert_eq!(ready(wakes[2].poll(&mut third)), Ok(1));
    drop(second);
    assert_eq!((queue.try_recv(), queue.try_recv()), (Ok(2), Ok(3)));
    // With nothing left over the promise goes on to the next receiver.
    let (mut first, mut second) = (queue.recv(), queue.recv());
    assert!(wakes[0].poll(&mut first).is_pending());
    assert!(wakes[1].poll(&mut second).is_pending());
    assert_eq!(queue.try_send(4), Ok(()));
    assert_eq!(queue.try_recv(), Err(QueueTryRecvError::Empty));
    drop(first);
    assert_eq!(counts(), [2, 2, 0]);
    assert_eq!(ready(wakes[1].poll(&mut second)), Ok(4));
}

// SY32
fn a_job_is_done_however_it_ends(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let queue = Arc::new(bounded(4));
        for n in 0..4 {
            queue.send(n).await.expect("it is open");
        }
        // Dropped, taken out, by a panic, by a cancel.
        drop(queue.recv_job().await);
        assert_eq!(queue.unfinished(), 3);
        let job = queue.recv_job().await.expect("it is open");
        assert_eq!(job.into_inner(), 1);
        assert_eq!(queue.unfinished(), 2);
        let job = queue.recv_job().await.expect("it is open");
        let caught = catch_unwind(AssertUnwindSafe(|| {
            let _job = job;
            panic!("test");
        }));
        assert!(caught.is_err());
        assert_eq!(queue.unfinished(), 1);
        let there = queue.clone();
        let task = group.spawn_ok(async move {
            let mut job = there.recv_job().await.expect("it is open");
            *job += 1;
            bowline_concurrency::sleep_forever().await;
        });
        while !queue.is_empty() {
            yield_now().await;
        }
        assert_eq!(queue.unfinished(), 1);
        task.cancel("test");
        queue.join().await;
        Ok(())
    }));
    assert!(result.is_ok());
}

// SY32
#[test]
fn the_value_is_gone_before_the_job_is_done() {
    static QUEUE: Queue<Loud> = Queue::unbounded();
    static UNFINISHED: AtomicUsize = AtomicUsize::new(9);
    struct Loud;
    impl Drop for Loud {
        fn drop(&mut self) {
            UNFINISHED.store(QUEUE.unfinished(), Ordering::SeqCst);
        }
    }
    assert!(QUEUE.try_send(Loud).is_ok());
    drop(Arc::new(Wakes::default()).poll(&mut QUEUE.recv_job()));
    assert_eq!(UNFINISHED.load(Ordering::SeqCst), 1);
    assert_eq!(QUEUE.unfinished(), 0);
}

// SY6
fn frozen_ends_are_passed_over(root: Root) {
    root.block_on(async {
        let queue = bounded(1);
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut frozen = pin!(scope.run(queue.recv()));
        let mut second = queue.recv();
        assert!(poll(&mut frozen).await.is_none());
        assert!(poll(&mut second).await.is_none());
        handle.cancel("test");
        queue.send(1).await.expect("it is open");
        assert_eq!(poll(&mut second).await, Some(Ok(1)));
        assert!(frozen.await.cause().is_some());

        queue.send(2).await.expect("it is open");
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut frozen = pin!(scope.run(queue.send(3)));
        let mut second = queue.send(4);
        assert!(poll(&mut frozen).await.is_none());
        assert!(poll(&mut second).await.is_none());
        handle.cancel("test");
        assert_eq!(queue.recv().await, Ok(2));
        assert!(frozen.await.cause().is_some());
        assert_eq!(poll(&mut second).await, Some(Ok(())));
        assert_eq!(queue.recv().await, Ok(4));
        assert_eq!(queue.try_recv(), Err(QueueTryRecvError::Empty));
    });
}

fn workers_get_every_job_once(root: Root) {
    let result = root.block_on(task_group::<_, (), _, _>(|group| async move {
        let queue = Arc::new(bounded(2));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                group.spawn_ok(async move {
                    let mut seen = Vec::new();
                    while let Ok(job) = queue.recv_job().await {
                        seen.push(*job);
                        yield_now().await;
                    }
                    seen
                })
            })
            .collect();
        for n in 0..200 {
            queue.send(n).await.expect("it is open");
        }
        queue.join().await;
        queue.close();
        let mut seen = Vec::new();
        for worker in workers {
            let part = worker.join().await.expect("it ends");
            assert!(part.is_sorted());
            seen.extend(part);
        }
        seen.sort_unstable();
        Ok(seen)
    }));
    assert_eq!(result.ok(), Some((0..200).collect::<Vec<_>>()));
}

// SY34
#[test]
fn three_workers_do_twenty_seconds_of_work_in_seven() {
    const SECOND: Duration = Duration::from_secs(1);
    let spent = Root::new().backend(Backend::Sim).block_on(async {
        let start = now();
        let result = task_group::<_, (), _, _>(|group| async move {
            let queue = Arc::new(bounded(20));
            for n in 0..20 {
                queue.send(n).await.expect("it is open");
            }
            for _ in 0..3 {
                let queue = queue.clone();
                group.spawn_ok(async move {
                    while let Ok(job) = queue.recv_job().await {
                        sleep(SECOND).await;
                        drop(job);
                    }
                });
            }
            queue.join().await;
            let spent = now() - start;
            group.cancel("the work is done");
            Ok(spent)
        });
        let spent = result.await.expect("its body has finished");
        assert_eq!((now() - start).as_secs(), 7);
        spent
    });
    assert_eq!(spent.as_millis(), 7000);
}

// SY11
#[test]
fn it_can_be_static_and_used_by_plain_threads() {
    static QUEUE: Queue<u32> = Queue::unbounded();
    assert_eq!((QUEUE.capacity(), QUEUE.is_empty()), (None, true));
    let queue = bounded(1);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while let Ok(n) = queue.recv_blocking() {
                assert_eq!(QUEUE.send_blocking(n), Ok(()));
            }
        });
        for n in 0..100 {
            assert_eq!(queue.send_blocking(n), Ok(()));
        }
        queue.close();
    });
    assert_eq!(QUEUE.len(), 100);
    let in_order: Vec<_> = std::iter::from_fn(|| QUEUE.try_recv().ok()).collect();
    assert!(in_order.is_sorted());
    for call in [
        || assert!(QUEUE.recv_blocking().is_ok()),
        || assert!(QUEUE.send_blocking(1).is_ok()),
    ] {
        let inside = catch_unwind(|| {
            Root::new()
                .backend(Backend::Smol)
                .block_on(async { call() })
        });
        assert!(inside.is_err(), "refused in a task");
    }
}

#[test]
fn a_queue_without_room_is_refused() {
    let refused = Queue::<()>::bounded(0).expect_err("a rendezvous is a channel's");
    assert_eq!(
        (refused.given(), refused.what()),
        (0, "the capacity of a queue")
    );
}

// A part of CP8.
#[test]
fn dropped_at_any_await_all_that_was_sent_is_there() {
    let awaits = explore_drops(|| {
        let shared = Arc::new(bounded::<u32>(1));
        let sent = Arc::new(AtomicUsize::new(0));
        let received = Arc::new(AtomicUsize::new(0));
        let (queue, counts) = (shared.clone(), (sent.clone(), received.clone()));
        let future = async move {
            let (sent, received) = counts;
            let sends = async {
                for n in 0..3 {
                    queue.send(n).await.expect("it is open");
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            };
            let receives = async {
                checkpoint().await;
                for n in 0..3 {
                    let job = queue.recv_job().await.expect("it is open");
                    assert_eq!(*job, n);
                    received.fetch_add(1, Ordering::SeqCst);
                    checkpoint().await;
                }
            };
            join3(sends, receives, queue.join()).await;
        };
        (future, move || {
            let seen = shared.statistics();
            assert_eq!((seen.senders, seen.receivers, seen.joiners), (0, 0, 0));
            let (sent, received) = (sent.load(Ordering::SeqCst), received.load(Ordering::SeqCst));
            let left: Vec<_> = std::iter::from_fn(|| shared.try_recv().ok()).collect();
            // A value that got room is sent, also if its sender has not heard of it.
            let all = received + left.len();
            assert!(all == sent || all == sent + 1, "{sent} sent, {all} found");
            let rest: Vec<_> = (received as u32..all as u32).collect();
            assert_eq!(left, rest);
            assert_eq!(shared.unfinished(), left.len());
        })
    });
    assert!(awaits >= 3, "{awaits}");
}
