//! A bounded channel buffers so many values and serves in order.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::panic::catch_unwind;
use std::task::Poll;

use bowline_channel::{RecvError, TrySendError};
use flavors::for_each_flavor;
use task::Task;

for_each_flavor! {
    // CH2
    #[test]
    fn n_sends_complete_and_the_next_waits_for_a_receive() {
        for capacity in [1, 2, 7, 128] {
            let (sender, receiver) = bounded(capacity);
            for n in 0..capacity {
                assert_eq!(Task::new(sender.send(n)).poll(), Poll::Ready(Ok(())));
            }
            let mut extra = Task::parked(sender.send(capacity));
            assert!(extra.poll().is_pending());
            assert!(!extra.is_woken());
            assert_eq!((receiver.len(), receiver.is_full()), (capacity, true));

            assert_eq!(Task::new(receiver.recv()).poll(), Poll::Ready(Ok(0)));
            assert_eq!(extra.finish(), Ok(()));
            for n in 1..=capacity {
                assert_eq!(receiver.try_recv(), Ok(n));
            }
            assert!(receiver.is_empty());
        }
    }

    // CH2
    #[test]
    fn a_receiver_that_came_first_gets_the_value() {
        let (sender, receiver) = bounded(1);
        let waiting = Task::parked(receiver.recv());
        assert_eq!(Task::new(sender.send(5)).poll(), Poll::Ready(Ok(())));
        assert_eq!(waiting.finish(), Ok(5));
    }

    // CH34
    #[test]
    fn waiting_senders_are_served_in_order() {
        let (sender, receiver) = bounded(1);
        sender.try_send(0).unwrap();
        let waiting: Vec<_> = (1..=5).map(|n| Task::parked(sender.send(n))).collect();
        for (taken, task) in waiting.into_iter().enumerate() {
            assert!(!task.is_woken());
            assert_eq!(receiver.try_recv(), Ok(taken));
            assert_eq!(task.finish(), Ok(()));
        }
        assert_eq!(receiver.try_recv(), Ok(5));
    }

    // CH34
    #[test]
    fn waiting_receivers_are_served_in_order() {
        let (sender, receiver) = bounded(4);
        let waiting: Vec<_> = (0..4).map(|_| Task::parked(receiver.recv())).collect();
        for n in 0..4 {
            sender.try_send(n).unwrap();
        }
        for (n, task) in waiting.into_iter().enumerate() {
            assert_eq!(task.finish(), Ok(n));
        }
    }

    // CH35
    #[test]
    fn a_newcomer_does_not_overtake_a_waiting_sender() {
        let (sender, receiver) = bounded(1);
        sender.try_send(0).unwrap();
        let first = Task::parked(sender.send(1));
        assert_eq!(receiver.try_recv(), Ok(0));
        // `first` was woken but has not run: its value is in already.
        let second = Task::parked(sender.send(2));
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!((first.finish(), second.finish()), (Ok(()), Ok(())));
    }

    // CH35
    #[test]
    fn a_newcomer_does_not_overtake_a_granted_receiver() {
        let (sender, receiver) = bounded(2);
        let first = Task::parked(receiver.recv());
        sender.try_send(1).unwrap();
        let second = Task::parked(receiver.recv());
        assert!(receiver.try_recv().is_err());
        sender.try_send(2).unwrap();
        assert_eq!((first.finish(), second.finish()), (Ok(1), Ok(2)));
    }

    #[test]
    fn a_task_that_moved_is_woken_through_its_last_waker() {
        let (sender, receiver) = bounded(1);
        let future = std::cell::RefCell::new(receiver.recv());
        let poll = || std::future::poll_fn(|cx| std::pin::Pin::new(&mut *future.borrow_mut()).poll(cx));
        let before = Task::parked(poll());
        let after = Task::parked(poll());
        sender.try_send(1).unwrap();
        assert!(!before.is_woken());
        assert_eq!(after.finish(), Ok(1));
    }

    // CH1, CH3
    #[test]
    fn a_rendezvous_send_completes_when_its_value_is_taken() {
        for (sender, receiver) in [rendezvous(), bounded(0)] {
            let sending = Task::parked(sender.send(1));
            assert!(!sending.is_woken());
            assert_eq!(Task::new(receiver.recv()).poll(), Poll::Ready(Ok(1)));
            assert_eq!(sending.finish(), Ok(()));

            let receiving = Task::parked(receiver.recv());
            assert_eq!(Task::new(sender.send(2)).poll(), Poll::Ready(Ok(())));
            assert_eq!(receiving.finish(), Ok(2));
            assert_eq!((sender.capacity(), sender.len()), (Some(0), 0));
            drop(sender);
            assert_eq!(receiver.recv_blocking(), Err(RecvError));
        }
    }

    #[test]
    fn a_capacity_that_cannot_be_allocated_is_refused_with_its_number() {
        for capacity in [usize::MAX, usize::MAX / 2, 1 << 60] {
            let error = try_bounded::<[u64; 4]>(capacity).unwrap_err();
            assert_eq!(error.requested(), capacity);
            assert!(error.to_string().contains(&capacity.to_string()));
        }
        assert!(try_bounded::<()>(usize::MAX).is_err());
        assert!(try_bounded::<()>(1 << 40).is_ok());

        let panic = catch_unwind(|| bounded::<u64>(usize::MAX)).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains(&usize::MAX.to_string()), "{message}");
    }

    #[test]
    fn handles_are_counted() {
        let (sender, receiver) = bounded::<u8>(1);
        let (sender_2, receiver_2, receiver_3) = (sender.clone(), receiver.clone(), receiver.clone());
        assert_eq!((sender.sender_count(), sender.receiver_count()), (2, 3));
        assert!(sender.same_channel(&sender_2));
        assert!(!receiver.same_channel(&bounded(1).1));
        drop((sender, receiver_2, receiver_3));
        assert_eq!((receiver.sender_count(), receiver.receiver_count()), (1, 1));
        assert!(!sender_2.is_closed());
    }
}
