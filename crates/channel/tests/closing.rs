//! What is sent before a close arrives; what is not, comes back.

#[path = "stepping/flavors.rs"]
mod flavors;
#[path = "stepping/task.rs"]
mod task;

use std::rc::Rc;
use std::task::Poll;

use bowline_channel::{RecvError, Select, Selected, SendError, TryRecvError, select};
use flavors::for_each_flavor;
use futures_lite::StreamExt;
use task::Task;

for_each_flavor! {
    // CH13
    #[test]
    fn receivers_drain_a_channel_closed_by_either_end() {
        for by_sender in [true, false] {
            let (sender, receiver) = bounded(4);
            for n in 0..3 {
                sender.try_send(n).unwrap();
            }
            if by_sender {
                sender.close();
            } else {
                receiver.close();
            }
            assert!(sender.is_closed() && receiver.is_closed());
            assert_eq!(
                Task::new(sender.send(9)).poll(),
                Poll::Ready(Err(SendError(9)))
            );
            assert_eq!(sender.send_blocking(9), Err(SendError(9)));
            for n in 0..3 {
                assert_eq!(Task::new(receiver.recv()).poll(), Poll::Ready(Ok(n)));
            }
            assert_eq!(
                Task::new(receiver.recv()).poll(),
                Poll::Ready(Err(RecvError))
            );
            assert_eq!(receiver.recv_blocking(), Err(RecvError));
        }
    }

    // CH13
    #[test]
    fn the_last_sender_closes_and_what_it_sent_is_drained() {
        let (sender, receiver) = bounded(4);
        let other = sender.clone();
        sender.try_send(1).unwrap();
        drop(sender);
        assert!(!receiver.is_closed());
        other.try_send(2).unwrap();
        drop(other);
        assert!(receiver.is_closed());
        assert_eq!(receiver.recv_blocking(), Ok(1));
        assert_eq!(receiver.recv_blocking(), Ok(2));
        assert_eq!(receiver.recv_blocking(), Err(RecvError));
    }

    // CH13, CH16
    #[test]
    fn closing_twice_changes_nothing() {
        let (sender, receiver) = bounded(1);
        sender.try_send(1).unwrap();
        sender.close();
        receiver.close();
        sender.close();
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    // CH15
    #[test]
    fn waiting_senders_get_their_values_back_and_what_was_buffered_stays() {
        let (sender, receiver) = bounded(1);
        sender.try_send(0).unwrap();
        let waiting: Vec<_> = (1..4).map(|n| Task::parked(sender.send(n))).collect();
        receiver.close();
        for (n, task) in (1..).zip(waiting) {
            assert_eq!(task.finish(), Err(SendError(n)));
        }
        assert_eq!(receiver.try_recv(), Ok(0));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    }

    // CH15
    #[test]
    fn waiting_rendezvous_senders_get_their_values_back_when_the_receiver_goes() {
        let (sender, receiver) = rendezvous();
        let waiting: Vec<_> = (1..4).map(|n| Task::parked(sender.send(n))).collect();
        drop(receiver);
        for (n, task) in (1..).zip(waiting) {
            assert_eq!(task.finish(), Err(SendError(n)));
        }
    }

    // CH15
    #[test]
    fn waiting_receivers_wake_with_an_error() {
        let (sender, receiver) = bounded::<u8>(1);
        let waiting: Vec<_> = (0..3).map(|_| Task::parked(receiver.recv())).collect();
        drop(sender);
        for task in waiting {
            assert_eq!(task.finish(), Err(RecvError));
        }
    }

    // CH15
    #[test]
    fn a_returned_value_that_is_not_fetched_is_dropped_with_the_send() {
        let (sender, receiver) = rendezvous();
        let value = Rc::new(());
        let waiting = Task::parked(sender.send(Rc::clone(&value)));
        receiver.close();
        assert_eq!(Rc::strong_count(&value), 2);
        drop(waiting);
        assert_eq!(Rc::strong_count(&value), 1);
    }

    // CH17
    #[test]
    fn a_value_promised_before_the_close_is_still_delivered() {
        for capacity in [0, 1] {
            let (sender, receiver) = bounded(capacity);
            let waiting = Task::parked(receiver.recv());
            sender.try_send(7).unwrap();
            sender.close();
            assert_eq!(waiting.finish(), Ok(7));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        }
    }

    // CH17
    #[test]
    fn however_one_receives_the_end_is_not_told_while_a_value_is_promised_to_another() {
        for (capacity, dropped) in [(0, true), (1, true), (0, false), (1, false)] {
            let (sender, receiver) = bounded(capacity);
            let (idle_sender, idle) = bounded::<u8>(1);
            let mut granted = Some(Task::parked(receiver.recv()));
            let mut batch = Vec::new();
            let mut stream = receiver.clone();
            let mut set = Select::new().recv(&receiver).recv(&idle);
            sender.try_send(7).unwrap();
            sender.close();

            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            let alone = Task::parked(receiver.recv());
            let mut chosen = Task::parked(async {
                select! {
                    value = receiver.recv() => value,
                    value = idle.recv() => value,
                }
            });
            let dynamic = Task::parked(set.ready());
            let many = Task::parked(receiver.recv_many(&mut batch, 4));
            let streamed = Task::parked(stream.next());
            assert!(chosen.poll().is_pending());

            let granted = granted.take().unwrap();
            if dropped {
                drop(granted);
                assert_eq!(alone.finish(), Ok(7));
            } else {
                assert_eq!(granted.finish(), Ok(7));
                assert_eq!(alone.finish(), Err(RecvError));
            }
            assert_eq!(chosen.finish(), Err(RecvError));
            assert_eq!(dynamic.finish(), Selected::Received(0, Err(RecvError)));
            assert_eq!(many.finish(), Err(RecvError));
            assert_eq!(streamed.finish(), None);
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
            assert!(batch.is_empty());
            drop(idle_sender);
        }
    }

    // CH17
    #[test]
    fn a_value_promised_to_a_select_holds_the_end_back_until_it_is_fetched_or_given_up() {
        for dropped in [true, false] {
            let (sender, receiver) = rendezvous();
            let (_idle_sender, idle) = rendezvous();
            let granted = Task::parked(async {
                select! {
                    value = receiver.recv() => value,
                    value = idle.recv() => value,
                }
            });
            let waiting = Task::parked(receiver.recv());
            sender.try_send(7).unwrap();
            sender.close();
            assert!(!waiting.is_woken());
            if dropped {
                drop(granted);
                assert_eq!(waiting.finish(), Ok(7));
            } else {
                assert_eq!(granted.finish(), Ok(7));
                assert_eq!(waiting.finish(), Err(RecvError));
            }
        }
    }

    // CH17
    #[test]
    fn a_permit_and_a_promise_both_hold_the_end_back() {
        for permit_first in [true, false] {
            let (sender, receiver) = bounded(2);
            let granted = Task::parked(receiver.recv());
            let waiting = Task::parked(receiver.recv());
            let permit = sender.try_reserve().unwrap();
            sender.try_send(7).unwrap();
            sender.close();
            if permit_first {
                drop(permit);
                assert!(!waiting.is_woken());
                assert_eq!(granted.finish(), Ok(7));
            } else {
                assert_eq!(granted.finish(), Ok(7));
                assert!(!waiting.is_woken());
                drop(permit);
            }
            assert_eq!(waiting.finish(), Err(RecvError));
        }
    }

    // CH15, CH17
    #[test]
    fn nothing_is_handed_to_who_waits_for_a_promise_in_a_closed_channel() {
        for capacity in [0, 2] {
            let (sender, receiver) = bounded(capacity);
            let granted = Task::parked(receiver.recv());
            sender.try_send(7).unwrap();
            sender.close();
            let waiting = Task::parked(receiver.recv());
            assert_eq!(Task::new(sender.send(8)).poll(), Poll::Ready(Err(SendError(8))));
            assert!(sender.try_reserve().is_err());
            assert!(!waiting.is_woken());
            drop(granted);
            assert_eq!(waiting.finish(), Ok(7));
        }
    }

    #[test]
    fn buffered_values_are_dropped_when_the_last_receiver_goes() {
        let (sender, receiver) = bounded(2);
        let other = receiver.clone();
        let value = Rc::new(());
        sender.try_send(Rc::clone(&value)).unwrap();
        drop(receiver);
        assert_eq!(Rc::strong_count(&value), 2);
        drop(other);
        assert_eq!(Rc::strong_count(&value), 1);
        assert!(sender.is_closed());
    }

    // CH14
    #[test]
    fn closing_with_discard_returns_what_was_promised_to_nobody() {
        let (sender, receiver) = bounded(4);
        let waiting = Task::parked(receiver.recv());
        for n in 0..4 {
            sender.try_send(n).unwrap();
        }
        assert_eq!(sender.close_and_discard(), [1, 2, 3]);
        assert_eq!(waiting.finish(), Ok(0));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        assert_eq!(receiver.close_and_discard(), []);
        let statistics = sender.statistics();
        assert_eq!((statistics.sent, statistics.received), (4, 1));
    }

    // CH14, CH15
    #[test]
    fn closing_with_discard_gives_waiting_senders_their_values_back() {
        let (sender, receiver) = bounded(1);
        sender.try_send(0).unwrap();
        let waiting = Task::parked(sender.send(1));
        assert_eq!(receiver.close_and_discard(), [0]);
        assert_eq!(waiting.finish(), Err(SendError(1)));
    }

    // CH16
    #[test]
    fn a_weak_handle_keeps_nothing_open_and_becomes_a_real_one() {
        let (sender, receiver) = bounded::<u8>(2);
        let (weak_sender, weak_receiver) = (sender.downgrade(), receiver.downgrade());
        let other = weak_sender.upgrade().unwrap();
        assert!(other.same_channel(&sender));
        assert_eq!(sender.sender_count(), 2);
        drop((sender, other));
        assert!(receiver.is_closed());
        assert!(weak_sender.upgrade().is_none());
        let another = weak_receiver.clone().upgrade().unwrap();
        drop(receiver);
        assert_eq!(another.receiver_count(), 1);
        drop(another);
        assert!(weak_receiver.upgrade().is_none());
    }

    // CH16
    #[test]
    fn a_weak_sender_of_a_closed_channel_is_of_no_use() {
        let (sender, receiver) = bounded::<u8>(1);
        let weak = sender.downgrade();
        receiver.close();
        assert!(weak.upgrade().is_none());
        assert_eq!(sender.sender_count(), 1);
    }

    // CH16
    #[test]
    fn a_guard_closes_when_its_block_ends() {
        let (sender, receiver) = bounded(1);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let sending = sender.guard();
            sending.try_send(1).unwrap();
            panic!("the block fails");
        }));
        assert!(outcome.is_err());
        assert!(receiver.is_closed());
        assert_eq!(receiver.try_recv(), Ok(1));
    }
}
