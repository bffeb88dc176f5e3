//! What Go's own tests of channels and select check, as far as it can be said here.

use std::collections::BTreeSet;

use bowline::channel::{
    Receiver, RecvError, Select, Selected, Sender, bounded, never, rendezvous, select,
    select_blocking,
};
use futures_lite::future::poll_once;

use crate::{go, run};

const LENGTH: u32 = 10;

// CH39
#[test]
fn fifo_buffered() {
    run(async {
        let (sender, receiver) = bounded(LENGTH as usize);
        for n in 0..LENGTH {
            sender.send(n).await.unwrap();
        }
        for n in 0..LENGTH {
            assert_eq!(receiver.recv().await, Ok(n));
        }
    });
}

// CH39
#[test]
fn fifo_through_a_chain_of_rendezvous() {
    async fn chain(n: u32, before: Receiver<u32>, after: Sender<u32>, values: Sender<u32>) {
        before.recv().await.unwrap();
        values.send(n).await.unwrap();
        after.send(1).await.unwrap();
    }
    run(async {
        let (values, received) = rendezvous();
        let (start, mut before) = rendezvous();
        for n in 0..LENGTH {
            let (sender, receiver) = rendezvous();
            go(chain(n, before, sender, values.clone()));
            before = receiver;
        }
        start.send(0).await.unwrap();
        for n in 0..LENGTH {
            assert_eq!(received.recv().await, Ok(n));
        }
        before.recv().await.unwrap();
    });
}

/// Whether an operation waits.
async fn waits<R>(operation: impl Future<Output = R>) -> bool {
    let mut operation = std::pin::pin!(operation);
    poll_once(operation.as_mut()).await.is_none()
}

// CH39
#[test]
fn what_blocks_and_what_does_not() {
    run(async {
        let nil = never::<u32>();
        assert!(waits(nil.recv()).await, "receive from nil");
        assert!(
            waits(async {
                select! { _ = nil.recv() => () }
            })
            .await,
            "select on nil only"
        );
        assert!(
            waits(async {
                select! {}
            })
            .await,
            "empty select waits for ever"
        );
        let (sender, receiver) = rendezvous();
        assert!(waits(sender.send(1)).await, "send without a receiver");
        assert!(waits(receiver.recv()).await, "receive without a sender");
        assert!(
            waits(async {
                select! { _ = sender.send(1) => (), _ = receiver.recv() => () }
            })
            .await,
            "both ends in one select"
        );
        let chosen = select! { _ = receiver.recv() => false, default => true };
        assert!(chosen, "default if nothing is ready");
        let chosen = select! { _ = nil.recv() => false, default => true };
        assert!(chosen, "default beside nil");

        let (sender, receiver) = bounded(10);
        assert!(!waits(sender.send(1)).await, "send into a buffer");
        assert!(!waits(receiver.recv()).await, "receive from a buffer");
        assert!(waits(receiver.recv()).await, "receive from an empty buffer");
        for n in 0..10 {
            assert!(!waits(sender.send(n)).await);
        }
        assert!(waits(sender.send(10)).await, "send into a full buffer");
        let chosen = select! { _ = sender.send(10) => false, default => true };
        assert!(chosen, "default beside a full buffer");

        receiver.close();
        assert!(!waits(sender.send(1)).await, "send into a closed channel");
        for _ in 0..10 {
            assert!(!waits(receiver.recv()).await);
        }
        assert_eq!(receiver.recv().await, Err(RecvError));
        let chosen = select! { value = receiver.recv() => value.is_err(), default => false };
        assert!(chosen, "a closed channel is ready");
    });
}

// CH39
#[test]
fn random_programs_of_one_task() {
    let mut state = 0x2545_F491_u32;
    let mut draw = |sides: u32| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state % sides
    };
    for _ in 0..20_000 {
        let channels: Vec<_> = (0..1 + draw(5))
            .map(|_| bounded(draw(3) as usize))
            .collect();
        for (sender, _) in &channels {
            for n in 0..draw(3) {
                let _ = sender.try_send(n);
            }
            if draw(6) == 0 {
                sender.close();
            }
        }
        let before: Vec<_> = channels.iter().map(|(sender, _)| sender.len()).collect();
        let mut set = Select::new();
        let mut ready = BTreeSet::new();
        let mut plan = Vec::new();
        for arm in 0..draw(8) as usize {
            let at = draw(channels.len() as u32) as usize;
            let (sender, receiver) = &channels[at];
            if draw(2) == 0 {
                set.add_recv(receiver);
                plan.push((at, true));
                if !receiver.is_empty() || receiver.is_closed() {
                    ready.insert(arm);
                }
            } else {
                set.add_send(sender, 100 + arm as u32);
                plan.push((at, false));
                if !sender.is_full() || sender.is_closed() {
                    ready.insert(arm);
                }
            }
        }
        let mut expected = before;
        match set.try_ready() {
            None => assert!(ready.is_empty()),
            Some(Selected::Received(arm, outcome)) => {
                assert!(ready.contains(&arm) && plan[arm].1);
                expected[plan[arm].0] -= usize::from(outcome.is_ok());
            }
            Some(Selected::Sent(arm, outcome)) => {
                assert!(ready.contains(&arm) && !plan[arm].1);
                expected[plan[arm].0] += usize::from(outcome.is_ok());
            }
        }
        let after: Vec<_> = channels.iter().map(|(sender, _)| sender.len()).collect();
        assert_eq!(after, expected, "one operation took effect and no other");
    }
}

// CH39
#[test]
fn a_select_that_was_decided_leaves_the_other_queues() {
    run(async {
        let ((s1, r1), (s2, r2), (s3, r3)) = (rendezvous(), rendezvous(), rendezvous());
        let receiver = r1.clone();
        go(async move {
            receiver.recv().await.unwrap();
        });
        let (receiver, sender) = (r1.clone(), s3.clone());
        let quit = r2.clone();
        go(async move {
            select! {
                _ = receiver.recv() => panic!("not for this one"),
                _ = quit.recv() => sender.send(true).await.unwrap(),
            }
            receiver.recv().await.unwrap();
        });
        let sender = s2.clone();
        go(async move { sender.send(true).await.unwrap() });
        r3.recv().await.unwrap();
        s1.send(true).await.unwrap();
        s1.send(true).await.unwrap();

        let (sender, other) = (s1.clone(), s3.clone());
        let quit = r2.clone();
        go(async move {
            select! {
                _ = sender.send(true) => panic!("not for this one"),
                _ = quit.recv() => other.send(true).await.unwrap(),
            }
            sender.send(true).await.unwrap();
        });
        tokio::task::yield_now().await;
        s2.send(true).await.unwrap();
        r3.recv().await.unwrap();
        assert_eq!(r1.recv().await, Ok(true));
        assert_eq!(s1.statistics().waiting_senders, 0);
    });
}

// CH39
#[test]
fn no_value_is_sent_twice_by_a_select_over_four_sends() {
    const VALUES: u32 = 50_000;
    let channels: [_; 4] = std::array::from_fn(|_| rendezvous());
    let senders = channels.clone().map(|(sender, _)| sender);
    let sending = std::thread::spawn(move || {
        let [a, b, c, d] = senders;
        for n in 0..VALUES {
            select_blocking! {
                sent = a.send(n) => sent.unwrap(),
                sent = b.send(n) => sent.unwrap(),
                sent = c.send(n) => sent.unwrap(),
                sent = d.send(n) => sent.unwrap(),
            }
        }
    });
    let (all, received) = bounded(16);
    let forwarding: Vec<_> = channels
        .map(|(sender, receiver)| {
            drop(sender);
            let all = all.clone();
            std::thread::spawn(move || {
                while let Ok(n) = receiver.recv_blocking() {
                    all.send_blocking(n).unwrap();
                }
            })
        })
        .into();
    drop(all);
    let mut seen = vec![false; VALUES as usize];
    while let Ok(n) = received.recv_blocking() {
        assert!(
            !std::mem::replace(&mut seen[n as usize], true),
            "{n} came twice"
        );
    }
    assert!(seen.iter().all(|seen| *seen));
    sending.join().unwrap();
    for thread in forwarding {
        thread.join().unwrap();
    }
}
