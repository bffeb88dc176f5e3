//! What is sent before a close arrives; what is not, comes back.

#[path = "stepping/task.rs"]
mod task;

use std::rc::Rc;
use std::task::Poll;

use bowline_channel::{RecvError, SendError, TryRecvError, bounded, rendezvous};
use task::Task;

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

// CH13
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
