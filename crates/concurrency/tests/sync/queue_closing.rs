//! `Queue` at its ends: closed while both sides wait, woken by a waker that panics.

use crate::every_backend::every_backend;
use crate::{Wakes, poll, ready};
use bowline_concurrency::Root;
use bowline_concurrency::sync::{Closed, Queue, QueueSendError, QueueTryRecvError};
use std::sync::Arc;

every_backend!(closing_lets_receivers_drain);

fn bounded<T>(capacity: usize) -> Queue<T> {
    Queue::bounded(capacity).expect("it is not zero")
}

// SY33
fn closing_lets_receivers_drain(root: Root) {
    root.block_on(async {
        let queue = bounded(2);
        for n in 0..2 {
            queue.send(n).await.expect("it is open");
        }
        let (mut one, mut other) = (queue.send(2), queue.send(3));
        let mut join = queue.join();
        assert!(poll(&mut one).await.is_none());
        assert!(poll(&mut other).await.is_none());
        assert!(poll(&mut join).await.is_none());
        queue.close();
        assert!(queue.statistics().closed);
        assert_eq!(one.await, Err(QueueSendError(2)));
        assert_eq!(other.await, Err(QueueSendError(3)));
        assert_eq!(queue.send(4).await, Err(QueueSendError(4)));
        assert_eq!(queue.recv().await, Ok(0));
        assert_eq!(queue.recv().await, Ok(1));
        assert_eq!(queue.recv().await, Err(Closed));
        assert!(queue.recv_job().await.is_err());
        assert!(poll(&mut join).await.is_none());
        assert_eq!((queue.task_done(), queue.task_done()), (Ok(()), Ok(())));
        join.await;
        queue.join().await;
        queue.close();
    });
}

// SY33
#[test]
fn a_value_promised_at_the_close_is_not_lost() {
    let queue = bounded(1);
    let wakes: [Arc<Wakes>; 2] = Default::default();
    let mut promised = queue.recv();
    assert!(wakes[0].poll(&mut promised).is_pending());
    assert_eq!(queue.try_send(7), Ok(()));
    queue.close();
    // It may come free yet: nobody is told that nothing will come.
    let mut waits = queue.recv();
    assert!(wakes[1].poll(&mut waits).is_pending());
    assert_eq!(queue.try_recv(), Err(QueueTryRecvError::Empty));
    drop(promised);
    assert_eq!(ready(wakes[1].poll(&mut waits)), Ok(7));
    // And if it is fetched, who waits is told.
    let queue = bounded(1);
    let (mut promised, mut waits) = (queue.recv(), queue.recv());
    assert!(wakes[0].poll(&mut promised).is_pending());
    assert_eq!(queue.try_send(7), Ok(()));
    queue.close();
    assert!(wakes[1].poll(&mut waits).is_pending());
    assert_eq!(ready(wakes[0].poll(&mut promised)), Ok(7));
    assert_eq!(wakes[1].count(), 2);
    assert_eq!(ready(wakes[1].poll(&mut waits)), Err(Closed));
    // Receivers that wait on an empty queue are told at once.
    let queue = Queue::<()>::unbounded();
    let mut waits = queue.recv();
    assert!(wakes[1].poll(&mut waits).is_pending());
    queue.close();
    assert_eq!(ready(wakes[1].poll(&mut waits)), Err(Closed));
}

#[test]
fn a_waker_that_panics_loses_nothing() {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("test");
        }
    }
    let waker = std::task::Waker::from(Arc::new(Panics));
    let queue = bounded(1);
    assert_eq!(queue.try_send(1), Ok(()));
    let mut send = queue.send(2);
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(std::pin::Pin::new(&mut send).poll(&mut cx).is_pending());
    // Receiving wakes the sender.
    let wakes = Arc::new(Wakes::default());
    assert_eq!(ready(wakes.poll(&mut queue.recv())), Ok(1));
    assert_eq!(ready(wakes.poll(&mut send)), Ok(()));
    assert_eq!(queue.try_recv(), Ok(2));
}
