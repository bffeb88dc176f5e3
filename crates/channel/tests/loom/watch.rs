//! A watch whose sender sets, and goes.

use bowline_channel::{RecvError, WatchReceiver, watch};
use loom::future::block_on;
use loom::thread;

use super::{explore, give_up};

/// Reads to the end; the last value.
fn last(mut receiver: WatchReceiver<u32>) -> u32 {
    let mut last = 0;
    while let Ok(value) = block_on(receiver.changed()) {
        assert!(*value > last);
        last = *value;
    }
    last
}

// CH40, CH43
#[test]
fn a_reader_sees_the_last_value_and_the_end() {
    explore(3, || {
        let (sender, receiver) = watch(0);
        let sending = thread::spawn(move || {
            sender.send(1).unwrap();
            sender.send(2).unwrap();
        });
        assert_eq!(last(receiver), 2);
        sending.join().unwrap();
    });
}

// CH40, CH43
#[test]
fn two_readers_both_see_the_last_value_and_the_end() {
    explore(2, || {
        let (sender, receiver) = watch(0);
        let other = receiver.clone();
        let reading = thread::spawn(move || last(other));
        let sending = thread::spawn(move || sender.send(1).unwrap());
        assert_eq!((last(receiver), reading.join().unwrap()), (1, 1));
        sending.join().unwrap();
    });
}

// CH40, CH43
#[test]
fn a_wait_that_is_dropped_leaves_the_value_to_the_next() {
    explore(3, || {
        let (sender, mut receiver) = watch(0);
        let sending = thread::spawn(move || sender.send(1).unwrap());
        let first = give_up(receiver.changed());
        let value = first.unwrap_or_else(|| block_on(receiver.changed()));
        assert_eq!(*value.unwrap(), 1);
        assert_eq!(block_on(receiver.changed()), Err(RecvError));
        sending.join().unwrap();
    });
}

// CH40, CH43
#[test]
fn a_value_for_readers_that_leave_is_set_or_given_back() {
    explore(3, || {
        let (sender, receiver) = watch(0);
        let leaving = thread::spawn(move || drop(receiver));
        let sent = sender.send(1).is_ok();
        assert_eq!(*sender.latest(), u32::from(sent));
        leaving.join().unwrap();
    });
}
