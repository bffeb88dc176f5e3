//! Arms of selects.

use bowline::channel::{bounded, rendezvous, select};
use bowline::sim::explore_drops;
use bowline::sim::host::yield_now;
use futures_util::future::poll_immediate;

use super::{Ledger, wait_for};

// CH24, CH31
#[test]
fn receives_that_are_arms() {
    let awaits = explore_drops(|| {
        let (one, other) = ((rendezvous(), bounded(2)), Ledger::default());
        let ((sender, receiver), (full, drained)) = one;
        let (tx, rx, full_tx, full_rx) = (
            sender.clone(),
            receiver.clone(),
            full.clone(),
            drained.clone(),
        );
        let ledger = Ledger::default();
        let (notes, others) = (ledger.clone(), other.clone());
        let select = async move |grant: &dyn Fn()| {
            let picked = async {
                select! {
                    value = rx.recv() => Ok(value.unwrap()),
                    value = full_rx.recv() => Err(value.unwrap()),
                }
            };
            match wait_for(picked, grant).await {
                Ok(value) => notes.see(value),
                Err(value) => others.see(value),
            }
        };
        let (first, second) = (ledger.clone(), other.clone());
        let work = async move {
            select(&|| {
                tx.try_send(1).unwrap();
                first.accept(1);
            })
            .await;
            yield_now().await;
            // Both: the one that came second stays in its channel.
            select(&|| {
                full_tx.try_send(1).unwrap();
                full_tx.try_send(2).unwrap();
                second.accept(2);
            })
            .await;
            yield_now().await;
        };
        let check = move || {
            ledger.check(&sender, &receiver);
            other.check(&full, &drained);
        };
        (work, check)
    });
    assert_eq!(awaits, 6);
}

// CH25, CH31
#[test]
fn sends_that_are_arms() {
    for taken in [true, false] {
        let awaits = explore_drops(|| {
            let (sender, receiver) = rendezvous();
            let (quit, quitting) = rendezvous();
            let (tx, rx, ended) = (sender.clone(), receiver.clone(), quitting.clone());
            let ledger = Ledger::default();
            let notes = ledger.clone();
            let work = async move {
                let job = 1;
                let picked = async {
                    select! {
                        sent = tx.send(job) => { sent.unwrap(); None },
                        over = ended.recv() => { over.unwrap(); Some(job) },
                    }
                };
                let kept = wait_for(picked, || {
                    if taken {
                        notes.see(rx.try_recv().unwrap());
                        notes.accept(1);
                    } else {
                        quit.try_send(()).unwrap();
                    }
                });
                assert_eq!(kept.await, (!taken).then_some(1));
                yield_now().await;
            };
            let check = move || {
                ledger.check(&sender, &receiver);
                assert_eq!(quitting.statistics().waiting_receivers, 0);
            };
            (work, check)
        });
        assert_eq!(awaits, 3);
    }
}

// CH26, CH31
#[test]
fn a_select_that_meets_another() {
    let awaits = explore_drops(|| {
        let (sender, receiver) = rendezvous();
        let (tx, rx) = (sender.clone(), receiver.clone());
        let (silent, silence) = rendezvous::<u32>();
        let never = silence.clone();
        let ledger = Ledger::default();
        let notes = ledger.clone();
        let work = async move {
            let mut sending = Box::pin(async {
                select! {
                    sent = tx.send(1) => sent.is_ok(),
                    _ = never.recv() => false,
                }
            });
            assert!(poll_immediate(&mut sending).await.is_none());
            yield_now().await;
            let received = select! {
                value = rx.recv() => value,
                value = silence.recv() => value,
            };
            notes.accept(1);
            notes.see(received.unwrap());
            yield_now().await;
            assert!(sending.await);
        };
        let check = move || {
            ledger.check(&sender, &receiver);
            drop(silent);
        };
        (work, check)
    });
    assert_eq!(awaits, 2);
}
