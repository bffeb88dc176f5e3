//! Dropping a future in any state loses nothing and blocks nobody.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::rc::Rc;

use bowline_channel::{RecvError, TryRecvError, TrySendError};
use flavors::for_each_flavor;
use task::Task;

for_each_flavor! {
    // CH18
    #[test]
    fn a_waiting_receive_that_is_dropped_takes_no_part() {
        for capacity in [0, 1, 3] {
            let (sender, receiver) = bounded(capacity);
            let first = Task::parked(receiver.recv());
            let second = Task::parked(receiver.recv());
            drop(first);
            sender.try_send(1).unwrap();
            assert_eq!(second.finish(), Ok(1));
        }
    }

    // CH18
    #[test]
    fn a_granted_receive_that_is_dropped_leaves_the_value_first_in_the_queue() {
        let (sender, receiver) = bounded(3);
        let waiting = Task::parked(receiver.recv());
        for n in 1..=3 {
            sender.try_send(n).unwrap();
        }
        assert!(waiting.is_woken());
        assert_eq!(
            receiver.try_recv(),
            Ok(1),
            "the oldest value, whoever takes it"
        );
        drop(waiting);
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(receiver.try_recv(), Ok(3));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }

    // CH8, CH18
    #[test]
    fn a_value_that_is_promised_is_not_buffered_until_the_promise_is_given_up() {
        let (sender, receiver) = bounded(9);
        let peak = || receiver.statistics().peak;
        let waiting = [(); 2].map(|()| Task::parked(receiver.recv()));
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert_eq!(peak(), 0, "both were promised");
        sender.try_send(3).unwrap();
        assert_eq!(peak(), 1);
        let [first, second] = waiting;
        assert_eq!(first.finish(), Ok(1));
        assert_eq!(peak(), 1);
        drop(second);
        assert_eq!(peak(), 2);
        for expected in [3, 4] {
            sender.try_send(0).unwrap();
            assert_eq!(peak(), expected);
        }
        assert_eq!(receiver.try_recv(), Ok(2));
        sender.try_send(0).unwrap();
        assert_eq!(peak(), 4);
    }

    // CH18
    #[test]
    fn a_granted_rendezvous_receive_that_is_dropped_leaves_the_value_to_the_next() {
        let (sender, receiver) = bounded(0);
        let waiting = Task::parked(receiver.recv());
        sender.try_send(1).unwrap();
        let sending = Task::parked(sender.send(2));
        drop(waiting);
        assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(sending.finish(), Ok(()));
    }

    // CH18
    #[test]
    fn a_granted_receive_that_is_dropped_passes_the_value_to_a_waiting_receive() {
        for capacity in [0, 1, 3] {
            let (sender, receiver) = bounded(capacity);
            let other = receiver.clone();
            let first = Task::parked(receiver.recv());
            let second = Task::parked(other.recv());
            let third = Task::parked(receiver.recv());
            sender.try_send(1).unwrap();
            assert!(first.is_woken() && !second.is_woken());
            drop(first);
            assert!(second.is_woken());
            drop(second);
            assert_eq!(third.finish(), Ok(1));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
    }

    // CH18
    #[test]
    fn promises_revoked_in_any_order_keep_the_order_of_the_values() {
        for (early, late) in [(0, 0), (1, 0)] {
            let (sender, receiver) = bounded(2);
            let mut granted: Vec<_> = (0..2).map(|_| Task::parked(receiver.recv())).collect();
            sender.try_send(1).unwrap();
            sender.try_send(2).unwrap();
            drop(granted.remove(early));
            drop(granted.remove(late));
            assert_eq!(receiver.try_recv(), Ok(1));
            assert_eq!(receiver.try_recv(), Ok(2));
        }
    }

    // CH18
    #[test]
    fn a_granted_receive_dropped_after_the_close_passes_the_value_to_a_waiting_receive() {
        for capacity in [0, 1, 3] {
            let (sender, receiver) = bounded(capacity);
            let first = Task::parked(receiver.recv());
            let second = Task::parked(receiver.recv());
            sender.try_send(1).unwrap();
            drop(sender);
            assert!(!second.is_woken(), "the value may still come to it");
            let third = Task::parked(receiver.recv());
            drop(first);
            assert!(!third.is_woken());
            assert_eq!(second.finish(), Ok(1));
            assert_eq!(third.finish(), Err(RecvError));
            assert_eq!(receiver.recv_blocking(), Err(RecvError));
        }
    }

    // CH18
    #[test]
    fn a_granted_receive_dropped_after_the_close_leaves_the_value_to_be_drained() {
        let (sender, receiver) = bounded(1);
        let first = Task::parked(receiver.recv());
        sender.try_send(1).unwrap();
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty), "not the end yet");
        drop(first);
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    // CH18
    #[test]
    fn of_values_promised_after_a_close_each_is_decided_before_the_end_is_told() {
        // Each is fetched or given up, in every combination.
        for fetched in 0..8 {
            let (sender, receiver) = bounded(3);
            let granted: Vec<_> = (0..3).map(|_| Task::parked(receiver.recv())).collect();
            let mut waiting: Vec<_> = (0..4).map(|_| Task::parked(receiver.recv())).collect();
            for n in 0..3 {
                sender.try_send(n).unwrap();
            }
            sender.close();
            let mut received = Vec::new();
            for (n, task) in granted.into_iter().enumerate() {
                assert!(!waiting.last().unwrap().is_woken(), "{fetched}: the end came early");
                if fetched & 1 << n == 0 {
                    drop(task);
                    received.push(waiting.remove(0).finish().unwrap());
                } else {
                    received.push(task.finish().unwrap());
                }
            }
            received.sort_unstable();
            assert_eq!(received, [0, 1, 2]);
            for task in waiting {
                assert_eq!(task.finish(), Err(RecvError));
            }
        }
    }

    // CH19
    #[test]
    fn a_value_sent_after_a_receive_was_cancelled_is_buffered() {
        let (sender, receiver) = bounded(1);
        drop(Task::parked(receiver.recv()));
        sender.try_send(1).unwrap();
        assert_eq!(receiver.len(), 1);
        assert_eq!(receiver.try_recv(), Ok(1));
    }

    // CH19
    #[test]
    fn a_rendezvous_send_after_a_receive_was_cancelled_waits_for_a_real_one() {
        let (sender, receiver) = bounded(0);
        drop(Task::parked(receiver.recv()));
        assert_eq!(sender.try_send(1), Err(TrySendError::Full(1)));
        let sending = Task::parked(sender.send(2));
        drop(Task::new(receiver.recv()));
        assert!(!sending.is_woken());
        assert_eq!(receiver.try_recv(), Ok(2));
        assert_eq!(sending.finish(), Ok(()));
    }

    // CH20
    #[test]
    fn those_behind_a_cancelled_sender_are_served_and_no_room_is_wasted() {
        for capacity in [0, 1, 2] {
            for gone in 0..3 {
                let (sender, receiver) = bounded(capacity);
                for n in 0..capacity {
                    sender.try_send(n).unwrap();
                }
                let mut waiting: Vec<_> = (0..3)
                    .map(|n| Task::parked(sender.send(capacity + n)))
                    .collect();
                drop(waiting.remove(gone));
                let expected: Vec<_> = (0..capacity + 3)
                    .filter(|n| *n != capacity + gone)
                    .collect();
                for (taken, n) in expected.iter().enumerate() {
                    assert_eq!(receiver.try_recv(), Ok(*n));
                    let buffered = capacity.min(expected.len() - taken - 1);
                    assert_eq!(receiver.len(), buffered);
                }
                for task in waiting {
                    assert_eq!(task.finish(), Ok(()));
                }
            }
        }
    }

    // CH20
    #[test]
    fn a_sender_cancelled_after_its_value_was_taken_keeps_its_room_filled() {
        let (sender, receiver) = bounded(1);
        sender.try_send(0).unwrap();
        let first = Task::parked(sender.send(1));
        let second = Task::parked(sender.send(2));
        assert_eq!(receiver.try_recv(), Ok(0));
        assert!(first.is_woken());
        drop(first);
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(second.finish(), Ok(()));
        assert_eq!(receiver.try_recv(), Ok(2));
    }

    // CH20
    #[test]
    fn a_cancelled_send_drops_its_value_once() {
        let (sender, receiver) = bounded(0);
        let value = Rc::new(());
        drop(Task::parked(sender.send(Rc::clone(&value))));
        assert_eq!(Rc::strong_count(&value), 1);
        drop(sender.send(Rc::clone(&value)));
        assert_eq!(Rc::strong_count(&value), 1);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }

    #[test]
    fn a_leaked_receive_does_no_more_harm_than_to_keep_its_promise() {
        let (sender, receiver) = bounded(2);
        let mut leaked = Box::pin(receiver.recv());
        let waiting = Task::parked(leaked.as_mut());
        sender.try_send(1).unwrap();
        assert!(waiting.is_woken());
        drop(waiting);
        std::mem::forget(leaked);
        sender.try_send(2).unwrap();
        assert_eq!(receiver.try_recv(), Ok(1));
        drop(receiver);
        assert_eq!(sender.try_send(3), Err(TrySendError::Closed(3)));
    }
}
