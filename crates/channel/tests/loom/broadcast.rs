//! A broadcast whose senders wait for the slowest.

use bowline_channel::{BroadcastRecvError, Lag, SendError, broadcast};
use loom::future::block_on;
use loom::thread;

use super::{explore, give_up};

// CH41, CH43
#[test]
fn a_sender_waits_for_its_receiver() {
    explore(3, || {
        let (sender, mut receiver) = broadcast(1, Lag::Block);
        let sending = thread::spawn(move || {
            for n in 1..=2 {
                block_on(sender.send(n)).unwrap();
            }
        });
        assert_eq!(block_on(receiver.recv()), Ok(1));
        assert_eq!(block_on(receiver.recv()), Ok(2));
        assert_eq!(block_on(receiver.recv()), Err(BroadcastRecvError::Closed));
        sending.join().unwrap();
    });
}

// CH41, CH43
#[test]
fn two_receivers_have_everything() {
    explore(2, || {
        let (sender, receiver) = broadcast(1, Lag::Block);
        let readers = [receiver.clone(), receiver].map(|mut receiver| {
            thread::spawn(move || {
                assert_eq!(block_on(receiver.recv()), Ok(1));
                assert_eq!(block_on(receiver.recv()), Ok(2));
            })
        });
        for n in 1..=2 {
            block_on(sender.send(n)).unwrap();
        }
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

// CH41, CH43
#[test]
fn a_slow_receiver_that_leaves_lets_the_sender_in() {
    explore(3, || {
        let (sender, slow) = broadcast(1, Lag::Block);
        let mut quick = sender.subscribe();
        sender.try_send(1).unwrap();
        let leaving = thread::spawn(move || drop(slow));
        assert_eq!(block_on(quick.recv()), Ok(1));
        block_on(sender.send(2)).unwrap();
        assert_eq!(block_on(quick.recv()), Ok(2));
        leaving.join().unwrap();
    });
}

// CH41, CH43
#[test]
fn a_send_that_waits_and_a_close() {
    explore(3, || {
        let (sender, mut receiver) = broadcast(1, Lag::Block);
        sender.try_send(1).unwrap();
        let closer = sender.clone();
        let closing = thread::spawn(move || closer.close());
        let sending = thread::spawn(move || block_on(sender.send(2)));
        assert_eq!(block_on(receiver.recv()), Ok(1));
        let second = block_on(receiver.recv());
        closing.join().unwrap();
        match sending.join().unwrap() {
            Ok(()) => assert_eq!(second, Ok(2)),
            Err(SendError(value)) => {
                assert_eq!((value, second), (2, Err(BroadcastRecvError::Closed)));
            }
        }
    });
}

// CH41, CH43
#[test]
fn a_send_and_a_receive_that_are_given_up() {
    explore(3, || {
        let (sender, mut receiver) = broadcast(1, Lag::Block);
        sender.try_send(1).unwrap();
        let sending = thread::spawn(move || give_up(sender.send(2)).is_some());
        let first = give_up(receiver.recv());
        assert_eq!(first, Some(Ok(1)));
        let second = give_up(receiver.recv()).unwrap_or_else(|| block_on(receiver.recv()));
        let reported = sending.join().unwrap();
        assert!(second == Ok(2) || !reported, "reported but not received");
        assert!(second == Ok(2) || second == Err(BroadcastRecvError::Closed));
    });
}

// CH41, CH43
#[test]
fn a_receiver_that_is_overtaken_counts_what_it_missed() {
    explore(3, || {
        let (sender, mut receiver) = broadcast(1, Lag::DropOldest);
        let sending = thread::spawn(move || {
            for n in 0..3 {
                sender.try_send(n).unwrap();
            }
        });
        let mut next = 0;
        loop {
            match block_on(receiver.recv()) {
                Ok(n) => {
                    assert_eq!(n, next);
                    next += 1;
                }
                Err(BroadcastRecvError::Lagged(missed)) => next += missed as u32,
                Err(BroadcastRecvError::Closed) => break,
            }
        }
        assert_eq!(next, 3);
        sending.join().unwrap();
    });
}
