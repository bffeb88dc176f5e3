//! A oneshot whose ends meet, leave and close.

use std::sync::Arc;

use bowline_channel::{RecvError, SendError, TryRecvError, oneshot};
use loom::future::block_on;
use loom::thread;

use super::{explore, give_up};

// CH42, CH43
#[test]
fn a_value_meets_its_receiver() {
    explore(3, || {
        let (sender, receiver) = oneshot();
        let sending = thread::spawn(move || sender.send(1));
        assert_eq!(block_on(receiver), Ok(1));
        assert_eq!(sending.join().unwrap(), Ok(()));
    });
}

// CH42, CH43
#[test]
fn a_sender_that_leaves_ends_the_wait() {
    explore(3, || {
        let (sender, receiver) = oneshot::<u32>();
        let leaving = thread::spawn(move || drop(sender));
        assert_eq!(block_on(receiver), Err(RecvError));
        leaving.join().unwrap();
    });
}

// CH42, CH43
#[test]
fn a_receiver_that_leaves_drops_the_value_or_it_is_given_back() {
    explore(3, || {
        let value = Arc::new(());
        let (sender, receiver) = oneshot();
        let parcel = Arc::clone(&value);
        let sending = thread::spawn(move || sender.send(parcel));
        drop(receiver);
        match sending.join().unwrap() {
            // Nothing of the channel is left, so the value must be gone, too.
            Ok(()) => assert_eq!(Arc::strong_count(&value), 1),
            Err(SendError(back)) => assert!(Arc::ptr_eq(&back, &value)),
        }
    });
}

// CH42, CH43
#[test]
fn a_wait_that_is_given_up_a_close_and_a_send() {
    explore(3, || {
        let (sender, mut receiver) = oneshot();
        let sending = thread::spawn(move || sender.send(1));
        let first = give_up(&mut receiver);
        receiver.close();
        let received = match first {
            Some(outcome) => outcome.is_ok(),
            None => receiver.try_recv().is_ok(),
        };
        assert_eq!(sending.join().unwrap().is_ok(), received);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    });
}

// CH42, CH43
#[test]
fn a_sender_hears_that_its_receiver_leaves() {
    explore(3, || {
        let (mut sender, receiver) = oneshot::<u32>();
        let leaving = thread::spawn(move || drop(receiver));
        block_on(sender.closed());
        assert!(sender.send(1).is_err());
        leaving.join().unwrap();
    });
}
