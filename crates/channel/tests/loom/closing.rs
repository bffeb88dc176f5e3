//! A close beside what waits and what is given up.

use bowline_channel::{RecvError, SendError, TryRecvError, bounded, select};
use loom::future::block_on;
use loom::thread;

use super::{drain, explore, give_up, send};

// CH17, CH43
#[test]
fn a_send_a_receive_that_is_dropped_and_a_close() {
    for capacity in [0, 1] {
        explore(3, move || {
            let (sender, receiver) = bounded(capacity);
            let closer = sender.clone();
            let sending = send(sender, 1);
            let closing = thread::spawn(move || closer.close());
            let first = give_up(receiver.recv());
            closing.join().unwrap();
            let sent = sending.join().unwrap();
            let mut seen = drain(&receiver);
            if first == Some(Err(RecvError)) {
                assert!(seen.is_empty(), "a value came after the end");
            }
            seen.extend(first.and_then(Result::ok));
            assert_eq!(seen, if sent { vec![1] } else { Vec::new() });
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
        });
    }
}

// CH15, CH43
#[test]
fn two_receives_and_a_close() {
    for capacity in [0, 1] {
        explore(3, move || {
            let (sender, receiver) = bounded::<u32>(capacity);
            let receiving = [receiver.clone(), receiver]
                .map(|receiver| thread::spawn(move || block_on(receiver.recv())));
            sender.close();
            for thread in receiving {
                assert_eq!(thread.join().unwrap(), Err(RecvError));
            }
        });
    }
}

// CH17, CH43
#[test]
fn two_receives_a_value_and_a_close() {
    for capacity in [0, 1] {
        explore(3, move || {
            let (sender, receiver) = bounded(capacity);
            let receiving = [receiver.clone(), receiver.clone()]
                .map(|receiver| thread::spawn(move || block_on(receiver.recv())));
            let sent = sender.try_send(1).is_ok();
            assert!(sent || capacity == 0);
            sender.close();
            let outcomes = receiving.map(|thread| thread.join().unwrap());
            let received = outcomes.iter().flatten().count();
            assert_eq!(received, usize::from(sent));
            assert_eq!(drain(&receiver), []);
        });
    }
}

// CH18, CH43
#[test]
fn a_promised_receive_that_is_dropped_another_receive_and_a_close() {
    for capacity in [0, 1] {
        explore(2, move || {
            let (sender, receiver) = bounded(capacity);
            let other = receiver.clone();
            let leaving = thread::spawn(move || give_up(other.recv()));
            let sending = thread::spawn(move || {
                let sent = block_on(sender.send(1));
                sender.close();
                sent
            });
            let stayed = block_on(receiver.recv());
            sending.join().unwrap().unwrap();
            match leaving.join().unwrap() {
                Some(Ok(1)) => assert_eq!(stayed, Err(RecvError)),
                // It left, or came too late: the value is for who stayed.
                None | Some(Err(RecvError)) => assert_eq!(stayed, Ok(1)),
                Some(Ok(_)) => unreachable!("it was never sent"),
            }
        });
    }
}

// CH16, CH43
#[test]
fn a_select_of_two_receives_and_a_close() {
    for capacity in [0, 1] {
        explore(3, move || {
            let (one, first) = bounded::<u32>(capacity);
            let (two, second) = bounded::<u32>(capacity);
            let closing = thread::spawn(move || one.close());
            let picked = block_on(async {
                select! {
                    value = first.recv() => value,
                    value = second.recv() => value,
                }
            });
            assert_eq!(picked, Err(RecvError));
            closing.join().unwrap();
            assert_eq!(two.statistics().waiting_receivers, 0);
        });
    }
}

// CH16, CH43
#[test]
fn a_select_of_a_send_and_a_receive_and_a_close_of_each() {
    for capacity in [0, 1] {
        explore(2, move || {
            let (one, first) = bounded(capacity);
            let (two, second) = bounded::<u32>(capacity);
            while one.try_send(0).is_ok() {}
            let closing = [
                thread::spawn(move || first.close()),
                thread::spawn(move || two.close()),
            ];
            block_on(async {
                select! {
                    sent = one.send(1) => assert_eq!(sent, Err(SendError(1))),
                    value = second.recv() => assert_eq!(value, Err(RecvError)),
                }
            });
            for thread in closing {
                thread.join().unwrap();
            }
            let statistics = one.statistics();
            assert_eq!(statistics.waiting_senders, 0);
            assert_eq!(second.statistics().waiting_receivers, 0);
        });
    }
}

// CH17, CH43
#[test]
fn a_select_a_send_and_a_close() {
    for capacity in [0, 1] {
        explore(3, move || {
            let (one, first) = bounded(capacity);
            let (_two, second) = bounded::<u32>(capacity);
            let closer = one.clone();
            let sending = send(one, 1);
            let closing = thread::spawn(move || closer.close());
            let picked = block_on(async {
                select! {
                    value = first.recv() => value,
                    value = second.recv() => value,
                }
            });
            closing.join().unwrap();
            assert_eq!(picked.is_ok(), sending.join().unwrap());
            assert_eq!(drain(&first), []);
        });
    }
}
