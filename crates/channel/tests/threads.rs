//! The same channels between threads, with blocking and async ends mixed.

use std::collections::BTreeMap;
use std::future::{self, Future};
use std::pin::pin;
use std::task::Poll;
use std::thread;

use bowline_channel::{Receiver, bounded};
use futures_lite::future::block_on;

/// Receives, but gives up a wait once before each value.
fn recv_with_second_thoughts<T>(receiver: &Receiver<T>) -> Option<T> {
    {
        let mut first = pin!(receiver.recv());
        let polled = block_on(future::poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))));
        if let Poll::Ready(outcome) = polled {
            return outcome.ok();
        }
        thread::yield_now();
    }
    receiver.recv_blocking().ok()
}

// CH2, CH11, CH18
#[test]
fn values_between_threads_arrive_once_and_in_the_order_of_their_sender() {
    const PER_SENDER: u32 = 5_000;
    for capacity in [0, 1, 16] {
        let (sender, receiver) = bounded(capacity);
        let senders: Vec<_> = (0..3)
            .map(|who| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for n in 0..PER_SENDER {
                        if n % 2 == 0 {
                            sender.send_blocking((who, n)).unwrap();
                        } else {
                            block_on(sender.send((who, n))).unwrap();
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..3)
            .map(|who| {
                let receiver = receiver.clone();
                thread::spawn(move || {
                    let next = || match who {
                        0 => receiver.recv_blocking().ok(),
                        1 => block_on(receiver.recv()).ok(),
                        _ => recv_with_second_thoughts(&receiver),
                    };
                    std::iter::from_fn(next).collect::<Vec<(i32, u32)>>()
                })
            })
            .collect();
        drop(receiver);
        for sender in senders {
            sender.join().unwrap();
        }

        let mut all: BTreeMap<i32, Vec<u32>> = BTreeMap::new();
        for receiver in receivers {
            let mut latest = BTreeMap::new();
            for (who, n) in receiver.join().unwrap() {
                assert!(latest.insert(who, n) < Some(n), "out of order");
                all.entry(who).or_default().push(n);
            }
        }
        for values in all.values_mut() {
            values.sort_unstable();
            assert!(values.iter().copied().eq(0..PER_SENDER));
        }
        assert_eq!(all.len(), 3);
    }
}

// CH15
#[test]
fn a_close_releases_every_blocked_thread() {
    let (sender, receiver) = bounded::<u8>(1);
    let receiving: Vec<_> = (0..3)
        .map(|_| {
            let receiver = receiver.clone();
            thread::spawn(move || receiver.recv_blocking())
        })
        .collect();
    sender.close();
    for thread in receiving {
        assert!(thread.join().unwrap().is_err());
    }

    let (sender, receiver) = bounded(1);
    sender.try_send(0).unwrap();
    let sending: Vec<_> = (1..4)
        .map(|n| {
            let sender = sender.clone();
            thread::spawn(move || sender.send_blocking(n))
        })
        .collect();
    receiver.close();
    for (n, thread) in (1..).zip(sending) {
        assert_eq!(thread.join().unwrap().unwrap_err().into_inner(), n);
    }
    assert_eq!(receiver.try_recv(), Ok(0));
}
