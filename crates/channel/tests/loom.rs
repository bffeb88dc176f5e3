//! The races of channels, in every interleaving with up to three preemptions: `cargo xtask loom`.
//!
//! A lost wake-up shows as a deadlock of the model, a value lost or doubled as a wrong count.
#![cfg(loom)]

#[path = "loom/broadcast.rs"]
mod broadcast;
#[path = "loom/closing.rs"]
mod closing;
#[path = "loom/oneshot.rs"]
mod oneshot;
#[path = "loom/watch.rs"]
mod watch;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bowline_channel::{Receiver, Sender, bounded, select};
use loom::future::block_on;
use loom::model::Builder;
use loom::thread;

/// Explores `model` with up to so many preemptions.
fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

/// Polls once, maybe once more, and drops.
fn give_up<U: Future>(future: U) -> Option<U::Output> {
    let mut future = pin!(future);
    block_on(poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => {
                thread::yield_now();
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => Some(output),
                    Poll::Pending => None,
                }
            }
        })
    }))
}

fn send(sender: Sender<u32>, value: u32) -> thread::JoinHandle<bool> {
    thread::spawn(move || block_on(sender.send(value)).is_ok())
}

fn drain(receiver: &Receiver<u32>) -> Vec<u32> {
    std::iter::from_fn(|| receiver.try_recv().ok()).collect()
}

// CH43
#[test]
fn send_and_receive() {
    for capacity in [0, 1] {
        explore(3, move || {
            let (sender, receiver) = bounded(capacity);
            let sending = send(sender.clone(), 1);
            assert_eq!(block_on(receiver.recv()), Ok(1));
            assert!(sending.join().unwrap());
            let statistics = sender.statistics();
            assert_eq!((statistics.sent, statistics.received), (1, 1));
        });
    }
}

// CH43
#[test]
fn two_sends_and_a_receive() {
    for capacity in [0, 1] {
        explore(2, move || {
            let (sender, receiver) = bounded(capacity);
            let sending = [send(sender.clone(), 1), send(sender, 2)];
            let first = block_on(receiver.recv()).unwrap();
            let second = block_on(receiver.recv()).unwrap();
            assert_eq!(first + second, 3);
            for thread in sending {
                assert!(thread.join().unwrap());
            }
            assert!(block_on(receiver.recv()).is_err());
        });
    }
}

// CH43
#[test]
fn send_and_a_receive_that_is_dropped() {
    for capacity in [0, 1] {
        explore(3, move || {
            let (sender, receiver) = bounded(capacity);
            let sending = send(sender, 1);
            let value = give_up(receiver.recv()).unwrap_or_else(|| block_on(receiver.recv()));
            assert_eq!(value, Ok(1));
            assert!(sending.join().unwrap());
        });
    }
}

// CH43
#[test]
fn send_beside_a_receive_and_one_that_is_dropped() {
    for capacity in [0, 1] {
        explore(2, move || {
            let (sender, receiver) = bounded(capacity);
            let other = receiver.clone();
            let receiving = thread::spawn(move || give_up(other.recv()));
            let sending = send(sender, 1);
            // The sender is gone, yet the end is not told while the value is promised to one that
            // leaves.
            let mine = block_on(receiver.recv()).ok();
            let theirs = receiving.join().unwrap().and_then(Result::ok);
            assert!(sending.join().unwrap());
            let seen: Vec<_> = mine.into_iter().chain(theirs).collect();
            assert_eq!(seen, [1]);
        });
    }
}

// CH43
#[test]
fn send_that_is_dropped_and_a_receive() {
    for capacity in [0, 1] {
        explore(3, move || {
            let (sender, receiver) = bounded(capacity);
            let sending = thread::spawn(move || give_up(sender.send(1)).is_some());
            let received = block_on(receiver.recv()).is_ok();
            let reported = sending.join().unwrap();
            assert!(received || !reported, "reported but not received");
        });
    }
}

// CH43
#[test]
fn send_receive_and_close() {
    for capacity in [0, 1] {
        explore(2, move || {
            let (sender, receiver) = bounded(capacity);
            let closer = sender.clone();
            let sending = send(sender, 1);
            let closing = thread::spawn(move || closer.close());
            let received = block_on(receiver.recv()).is_ok();
            closing.join().unwrap();
            assert_eq!(sending.join().unwrap(), received);
            assert_eq!(drain(&receiver), []);
        });
    }
}

// CH43
#[test]
fn a_permit_and_a_close() {
    explore(3, || {
        let (sender, receiver) = bounded(1);
        let permit = sender.try_reserve().unwrap();
        let closer = receiver.clone();
        let closing = thread::spawn(move || {
            closer.close();
            block_on(closer.recv())
        });
        permit.send(1);
        assert_eq!(closing.join().unwrap(), Ok(1));
    });
}

// CH43
#[test]
fn a_select_of_two_and_a_send_to_each() {
    for capacity in [0, 1] {
        explore(2, move || {
            let (one, first) = bounded(capacity);
            let (two, second) = bounded(capacity);
            let sending = [send(one, 1), send(two, 2)];
            let (picked, rest) = block_on(async {
                select! {
                    value = first.recv() => (value, &second),
                    value = second.recv() => (value, &first),
                }
            });
            let other = block_on(rest.recv());
            assert_eq!(picked.unwrap() + other.unwrap(), 3);
            for thread in sending {
                assert!(thread.join().unwrap());
            }
        });
    }
}

// CH43
#[test]
fn a_select_that_is_dropped_and_a_send() {
    for capacity in [0, 1] {
        explore(2, move || {
            let (one, first) = bounded(capacity);
            let (_two, second) = bounded::<u32>(capacity);
            let sending = send(one, 1);
            let picked = give_up(async {
                select! {
                    value = first.recv() => value,
                    value = second.recv() => value,
                }
            });
            assert_eq!(picked.unwrap_or_else(|| block_on(first.recv())), Ok(1));
            assert!(sending.join().unwrap());
        });
    }
}

// CH43
#[test]
fn two_selects_that_meet_on_two_channels() {
    explore(2, || {
        let (one, first) = bounded(0);
        let (two, second) = bounded(0);
        let other = thread::spawn(move || {
            block_on(async {
                select! {
                    sent = one.send(1) => sent.map(|()| 0).unwrap(),
                    value = second.recv() => value.unwrap(),
                }
            })
        });
        let mine = block_on(async {
            select! {
                sent = two.send(2) => sent.map(|()| 0).unwrap(),
                value = first.recv() => value.unwrap(),
            }
        });
        let theirs = other.join().unwrap();
        assert!((mine, theirs) == (1, 0) || (mine, theirs) == (0, 2));
    });
}

// CH43
#[test]
fn two_selects_with_both_ends_of_one_channel() {
    explore(2, || {
        let (sender, receiver) = bounded(0);
        let (sender_2, receiver_2) = (sender.clone(), receiver.clone());
        let other = thread::spawn(move || {
            block_on(async {
                select! {
                    sent = sender_2.send(1) => sent.map(|()| 0).unwrap(),
                    value = receiver_2.recv() => value.unwrap(),
                }
            })
        });
        let mine = block_on(async {
            select! {
                sent = sender.send(2) => sent.map(|()| 0).unwrap(),
                value = receiver.recv() => value.unwrap(),
            }
        });
        let theirs = other.join().unwrap();
        assert!((mine, theirs) == (1, 0) || (mine, theirs) == (0, 2));
    });
}
