//! A receiver as a stream.

#[path = "stepping/task.rs"]
mod task;

use std::pin::pin;
use std::task::Poll;

use bowline_channel::{TryRecvError, bounded};
use futures_lite::StreamExt;
use futures_lite::future::block_on;
use task::Task;

#[test]
fn a_stream_ends_when_the_channel_is_closed_and_drained() {
    let (sender, receiver) = bounded(3);
    for n in 0..3 {
        sender.try_send(n).unwrap();
    }
    drop(sender);
    assert_eq!(block_on(receiver.collect::<Vec<_>>()), [0, 1, 2]);
}

#[test]
fn a_waiting_stream_is_woken_by_a_value_and_by_the_close() {
    for capacity in [0, 1] {
        let (sender, mut receiver) = bounded(capacity);
        let waiting = Task::parked(receiver.next());
        sender.try_send(1).unwrap();
        assert_eq!(waiting.finish(), Some(1));
        let waiting = Task::parked(receiver.next());
        sender.close();
        assert_eq!(waiting.finish(), None);
    }
}

#[test]
fn a_stream_that_nobody_polls_any_more_withholds_no_value() {
    for capacity in [0, 1, 2] {
        let (sender, mut abandoned) = bounded(capacity);
        let receiver = abandoned.clone();
        drop(Task::parked(abandoned.next()));

        let waiting = Task::parked(receiver.recv());
        sender.try_send(1).unwrap();
        assert_eq!(waiting.finish(), Ok(1));

        drop(Task::parked(abandoned.next()));
        sender.try_send(2).unwrap();
        assert_eq!(abandoned.try_recv(), Ok(2));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }
}

#[test]
fn a_stream_that_found_its_value_gone_waits_again() {
    let (sender, mut stream) = bounded(1);
    let receiver = stream.clone();
    let mut next = pin!(stream.next());
    let mut waiting = Task::parked(next.as_mut());
    sender.try_send(1).unwrap();
    assert!(waiting.is_woken());
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(waiting.poll(), Poll::Pending);
    sender.try_send(2).unwrap();
    assert_eq!(waiting.finish(), Some(2));
}
