//! Wakers that misbehave lose nothing.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use bowline_channel::{RecvError, SendError, TryRecvError, select};
use flavors::for_each_flavor;
use task::Task;

struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic!("a waker panicked");
    }
}

thread_local! {
    /// What a [`ReentrantWaker`] does.
    static REACTION: RefCell<Option<Box<dyn FnMut()>>> = const { RefCell::new(None) };
}

struct ReentrantWaker;

impl Wake for ReentrantWaker {
    fn wake(self: Arc<Self>) {
        let reaction = REACTION.take();
        if let Some(mut reaction) = reaction {
            reaction();
        }
    }
}

fn poll_with<U: Future>(waker: impl Wake + Send + Sync + 'static, future: Pin<&mut U>) {
    let waker = Waker::from(Arc::new(waker));
    let polled = future.poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
}

fn panics(act: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(act)).is_err()
}

for_each_flavor! {
    // CH23
    #[test]
    fn a_value_is_not_lost_to_a_sender_whose_waker_panics() {
        let (sender, receiver) = bounded(1);
        sender.try_send(1).unwrap();
        let mut bad = pin!(sender.send(2));
        poll_with(PanickingWaker, bad.as_mut());
        let good = Task::parked(sender.send(3));

        assert!(panics(|| { let _ = receiver.try_recv(); }));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(good.finish(), Ok(()));
        assert_eq!(receiver.try_recv(), Ok(3));
    }

    // CH23
    #[test]
    fn a_value_is_not_lost_to_a_receiver_whose_waker_panics() {
        let (sender, receiver) = bounded(1);
        let mut bad = Box::pin(receiver.recv());
        poll_with(PanickingWaker, bad.as_mut());
        assert!(panics(|| sender.try_send(1).unwrap()));
        let next = Task::parked(receiver.recv());
        drop(bad);
        assert_eq!(next.finish(), Ok(1));
    }

    // CH23
    #[test]
    fn a_select_whose_waker_panics_loses_nothing() {
        let (sender, receiver) = rendezvous();
        let (_other_sender, other) = rendezvous();
        let mut bad = Box::pin(async {
            select! {
                value = receiver.recv() => value,
                value = other.recv() => value,
            }
        });
        poll_with(PanickingWaker, bad.as_mut());
        assert!(panics(|| sender.try_send(1).unwrap()));
        drop(bad);
        assert_eq!(receiver.try_recv(), Ok(1));
    }

    // CH23
    #[test]
    fn a_select_leaves_every_queue_even_if_the_waker_of_a_peer_panics() {
        let (sender, receiver) = bounded(1);
        let (_other_sender, other) = bounded(1);
        let mut decided = Box::pin(async {
            select! {
                value = receiver.recv() => value,
                value = other.recv() => value,
            }
        });
        poll_with(ReentrantWaker, decided.as_mut());
        let mut behind = Box::pin(receiver.recv());
        poll_with(PanickingWaker, behind.as_mut());
        sender.try_send(1).unwrap();

        assert!(panics(|| drop(decided)));
        assert_eq!(other.statistics().waiting_receivers, 0);
        drop(behind);
        assert_eq!(receiver.try_recv(), Ok(1));
    }

    // CH23
    #[test]
    fn a_select_that_wakes_a_panicking_peer_as_it_parks_leaves_every_queue() {
        let (sender, receiver) = rendezvous::<u8>();
        let (_other_sender, other) = rendezvous();
        let mut permit = Box::pin(sender.reserve());
        poll_with(PanickingWaker, permit.as_mut());
        let mut parks = Box::pin(async {
            select! {
                value = receiver.recv() => value,
                value = other.recv() => value,
            }
        });
        assert!(panics(|| poll_with(ReentrantWaker, parks.as_mut())));
        drop(parks);
        assert_eq!(receiver.statistics().waiting_receivers, 0);
        assert_eq!(other.statistics().waiting_receivers, 0);
    }

    // CH23
    #[test]
    fn everybody_is_woken_by_a_close_even_if_one_waker_panics() {
        let (sender, receiver) = bounded::<u8>(1);
        let mut bad = pin!(receiver.recv());
        poll_with(PanickingWaker, bad.as_mut());
        let good = Task::parked(receiver.recv());
        assert!(panics(|| sender.close()));
        assert_eq!(good.finish(), Err(RecvError));
    }

    // CH14, CH23
    #[test]
    fn values_to_be_discarded_are_not_lost_to_a_sender_whose_waker_panics() {
        let (sender, receiver) = bounded(2);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        let mut bad = Box::pin(sender.send(3));
        poll_with(PanickingWaker, bad.as_mut());
        let good = Task::parked(sender.send(4));

        assert!(panics(|| drop(receiver.close_and_discard())));
        assert!(sender.is_closed());
        assert_eq!(Task::new(bad).poll(), Poll::Ready(Err(SendError(3))));
        assert_eq!(good.finish(), Err(SendError(4)));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.close_and_discard(), [2]);
        let statistics = sender.statistics();
        assert_eq!((statistics.sent, statistics.received), (2, 1));
    }

    // CH23
    #[test]
    fn a_waker_may_use_the_channel_it_is_woken_by() {
        let (sender, receiver) = bounded(1);
        let (sender_2, receiver_2) = (sender.clone(), receiver.clone());
        REACTION.set(Some(Box::new(move || {
            assert_eq!(receiver_2.try_recv(), Err(TryRecvError::Empty), "it is promised");
            sender_2.try_send(2).unwrap();
            sender_2.close();
        })));
        let mut waiting = Box::pin(receiver.recv());
        poll_with(ReentrantWaker, waiting.as_mut());
        sender.try_send(1).unwrap();
        assert_eq!(Task::new(waiting).poll(), Poll::Ready(Ok(1)));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        assert!(matches!(Task::new(sender.send(3)).poll(), Poll::Ready(Err(SendError(3)))));
    }
}
