//! A watch shows what is true now and never misses the last value.

#[path = "stepping/task.rs"]
mod task;

use std::task::Poll;
use std::thread;

use bowline_channel::{RecvError, SendError, watch};
use futures_lite::future::block_on;
use task::Task;

// CH40
#[test]
fn values_in_between_are_passed_over() {
    let (sender, mut receiver) = watch(0);
    assert!(!receiver.has_changed());
    for n in 1..=5 {
        sender.send(n).unwrap();
    }
    assert!(receiver.has_changed());
    assert_eq!(*block_on(receiver.changed()).unwrap(), 5);
    assert!(!receiver.has_changed());
    assert!(Task::new(receiver.changed()).poll().is_pending());
}

// CH40
#[test]
fn the_last_value_is_seen_after_the_sender_is_gone() {
    let (sender, mut receiver) = watch(0);
    let mut late = sender.subscribe();
    sender.send(1).unwrap();
    drop(sender);
    assert!(receiver.is_closed());
    assert_eq!(*block_on(receiver.changed()).unwrap(), 1);
    assert_eq!(block_on(receiver.changed()), Err(RecvError));
    assert_eq!(*block_on(late.changed()).unwrap(), 1);
    assert_eq!(*late.latest(), 1);
}

// CH40
#[test]
fn everybody_who_waits_is_woken_and_a_dropped_wait_sees_the_value_later() {
    let (sender, receiver) = watch('a');
    let mut receivers = [receiver.clone(), receiver.clone(), receiver];
    let [first, second, third] = &mut receivers;
    let (one, two) = (
        Task::parked(first.changed()),
        Task::parked(second.changed()),
    );
    drop(Task::parked(third.changed()));
    sender.send('b').unwrap();
    assert_eq!(*one.finish().unwrap(), 'b');
    assert!(two.is_woken());
    drop(two);
    assert_eq!(*block_on(second.changed()).unwrap(), 'b');
    assert_eq!(*block_on(third.changed()).unwrap(), 'b');
    let waiting = Task::parked(third.changed());
    drop(sender);
    assert_eq!(waiting.finish(), Err(RecvError));
}

// CH40
#[test]
fn without_a_receiver_the_value_is_given_back() {
    let (sender, receiver) = watch(1);
    drop(receiver);
    assert_eq!(sender.send(2), Err(SendError(2)));
    assert_eq!((*sender.latest(), sender.receiver_count()), (1, 0));
    let mut again = sender.subscribe();
    sender.send(3).unwrap();
    assert_eq!(
        Task::new(again.changed())
            .poll()
            .map(|value| *value.unwrap()),
        Poll::Ready(3)
    );
}

// CH40
#[test]
fn threads_see_growing_values_and_the_last_one() {
    let (sender, receiver) = watch(0);
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let mut receiver = receiver.clone();
            thread::spawn(move || {
                let mut last = 0;
                while let Ok(value) = block_on(receiver.changed()) {
                    assert!(*value > last);
                    last = *value;
                }
                last
            })
        })
        .collect();
    for n in 1..=20_000 {
        sender.send(n).unwrap();
    }
    drop(sender);
    for reader in readers {
        assert_eq!(reader.join().unwrap(), 20_000);
    }
}

// CH11, CH40
#[test]
fn a_thread_that_waits_hears_the_change_and_the_end() {
    for _ in 0..500 {
        let (sender, mut receiver) = watch(0);
        let reading = thread::spawn(move || {
            let mut seen = Vec::new();
            loop {
                match receiver.changed_blocking() {
                    Ok(value) => seen.push(*value),
                    Err(RecvError) => return seen,
                }
            }
        });
        sender.send(1).unwrap();
        thread::yield_now();
        sender.send(2).unwrap();
        drop(sender);
        let seen = reading.join().unwrap();
        assert!(seen == [1, 2] || seen == [2], "{seen:?}");
    }
}

// CH11, CH40
#[test]
fn a_thread_that_has_seen_everything_is_woken_by_the_end() {
    for _ in 0..500 {
        let (sender, mut receiver) = watch(0);
        let reading = thread::spawn(move || receiver.changed_blocking());
        drop(sender);
        assert_eq!(reading.join().unwrap(), Err(RecvError));
    }
}
