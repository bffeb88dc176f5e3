//! A oneshot carries one value, or tells either end that there will be none.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use bowline_channel::{RecvError, SendError, TryRecvError};
use flavors::for_each_flavor;
use task::Task;

fn panics(act: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

/// A waker that panics as it is dropped.
struct Thorn;

impl Wake for Thorn {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Thorn {
    fn drop(&mut self) {
        panic!("a waker panicked as it was dropped");
    }
}

for_each_flavor! {
    // CH23, CH42
    #[test]
    fn either_end_is_woken_even_if_the_waker_of_the_other_panics() {
        let (mut sender, receiver) = oneshot();
        let thorn = Waker::from(Arc::new(Thorn));
        assert!(sender.poll_closed(&mut Context::from_waker(&thorn)).is_pending());
        drop(thorn);
        let waiting = Task::parked(receiver);
        assert!(panics(|| sender.send(1).unwrap()));
        assert_eq!(waiting.finish(), Ok(1));

        let (mut sender, mut receiver) = oneshot::<u8>();
        let thorn = Waker::from(Arc::new(Thorn));
        let polled = Pin::new(&mut receiver).poll(&mut Context::from_waker(&thorn));
        assert!(polled.is_pending());
        drop(thorn);
        let watching = Task::parked(sender.closed());
        assert!(panics(|| receiver.close()));
        watching.finish();
    }

    // CH42
    #[test]
    fn the_value_arrives_whoever_comes_first() {
        let (sender, receiver) = oneshot();
        sender.send(1).unwrap();
        assert_eq!(Task::new(receiver).poll(), Poll::Ready(Ok(1)));

        let (sender, receiver) = oneshot();
        let waiting = Task::parked(receiver);
        sender.send(2).unwrap();
        assert_eq!(waiting.finish(), Ok(2));
    }

    // CH42
    #[test]
    fn a_sender_dropped_without_sending_is_an_error() {
        let (sender, mut receiver) = oneshot::<u8>();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert!(!receiver.is_closed());
        let waiting = Task::parked(&mut receiver);
        drop(sender);
        assert_eq!(waiting.finish(), Err(RecvError));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        assert!(receiver.is_closed());
        assert_eq!(receiver.recv_blocking(), Err(RecvError));
    }

    // CH42
    #[test]
    fn a_value_for_a_receiver_that_is_gone_is_given_back() {
        let (sender, receiver) = oneshot();
        assert!(!sender.is_closed());
        drop(receiver);
        assert!(sender.is_closed());
        assert_eq!(sender.send("back"), Err(SendError("back")));

        let (sender, mut receiver) = oneshot();
        receiver.close();
        assert_eq!(sender.send("back"), Err(SendError("back")));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    // CH42
    #[test]
    fn the_sender_sees_that_nobody_waits_any_more() {
        let (mut sender, receiver) = oneshot::<u8>();
        let watching = Task::parked(poll_fn(|cx| sender.poll_closed(cx)));
        drop(receiver);
        watching.finish();
        assert_eq!(Task::new(sender.closed()).poll(), Poll::Ready(()));

        let (mut sender, mut receiver) = oneshot::<u8>();
        let watching = Task::parked(sender.closed());
        receiver.close();
        watching.finish();
    }

    // CH42
    #[test]
    fn a_value_sent_before_the_close_is_kept() {
        let (sender, mut receiver) = oneshot();
        sender.send(1).unwrap();
        receiver.close();
        receiver.close();
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    // CH42
    #[test]
    fn a_wait_that_is_given_up_loses_nothing() {
        let (sender, mut receiver) = oneshot();
        let waiting = Task::parked(&mut receiver);
        sender.send(1).unwrap();
        assert!(waiting.is_woken());
        drop(waiting);
        assert_eq!(receiver.recv_blocking(), Ok(1));
    }

    // CH42
    #[test]
    fn a_receiver_that_had_its_value_gets_no_other() {
        let (sender, mut receiver) = oneshot();
        sender.send(1).unwrap();
        assert_eq!(Task::new(&mut receiver).poll(), Poll::Ready(Ok(1)));
        assert_eq!(Task::new(&mut receiver).poll(), Poll::Ready(Err(RecvError)));
    }

    // CH42
    #[test]
    fn a_value_nobody_fetches_is_dropped_with_the_receiver() {
        let value = Rc::new(());
        let (sender, receiver) = oneshot();
        sender.send(Rc::clone(&value)).unwrap();
        assert_eq!(Rc::strong_count(&value), 2);
        drop(receiver);
        assert_eq!(Rc::strong_count(&value), 1);
    }
}

#[test]
fn threads_meet_and_a_value_is_delivered_or_given_back() {
    for round in 0..2_000 {
        let (sender, mut receiver) = bowline_channel::oneshot();
        let sending = thread::spawn(move || sender.send(round));
        let received = if round % 2 == 0 {
            receiver.recv_blocking().ok()
        } else {
            receiver.close();
            receiver.try_recv().ok()
        };
        match sending.join().unwrap() {
            Ok(()) => assert_eq!(received, Some(round)),
            Err(SendError(value)) => assert_eq!((value, received), (round, None)),
        }
    }
}
