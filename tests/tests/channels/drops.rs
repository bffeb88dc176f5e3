//! Every future of the crate, dropped at each of its awaits in turn: nothing is lost (I2).
//!
//! Each case waits, is granted what it waits for, and uses it, with an await in between; so it is
//! dropped while it waits, when it was granted and has not run since, and when it has. Values are
//! numbered, and those that a case has seen and those that are left make all that were accepted.

mod arms;
mod others;

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

use bowline::channel::{Flavor, Receiver, Sender, bounded, local, rendezvous, unbounded};
use bowline::sim::explore_drops;
use bowline::sim::host::yield_now;
use futures_util::future::poll_immediate;

/// Polls a future that has to wait, makes `grant` grant it, and gives what it was granted; with an
/// await before the grant and one behind it.
async fn wait_for<U: Future>(future: U, grant: impl FnOnce()) -> U::Output {
    let mut future = pin!(future);
    assert!(
        poll_immediate(&mut future).await.is_none(),
        "it has to wait"
    );
    yield_now().await;
    grant();
    yield_now().await;
    future.await
}

/// What a case and its check both know.
#[derive(Clone, Default)]
struct Ledger {
    seen: Rc<RefCell<Vec<u32>>>,
    accepted: Rc<Cell<u32>>,
}

impl Ledger {
    fn see(&self, value: u32) {
        self.seen.borrow_mut().push(value);
    }

    /// The channel has accepted the values up to `last` by now.
    fn accept(&self, last: u32) {
        self.accepted.set(last);
    }

    /// With what is left in the channel there is every value once, in order, and the channel works.
    fn check<F: Flavor>(&self, sender: &Sender<u32, F>, receiver: &Receiver<u32, F>) {
        let mut all = self.seen.borrow().clone();
        all.extend(std::iter::from_fn(|| receiver.try_recv().ok()));
        assert_eq!(all, (1..=self.accepted.get()).collect::<Vec<_>>());

        let end = receiver.statistics();
        assert_eq!((end.waiting_senders, end.waiting_receivers), (0, 0));
        assert_eq!(
            (end.sent, end.received),
            (all.len() as u64, all.len() as u64)
        );
        for n in 0..receiver.capacity().unwrap_or(3) {
            assert_eq!(sender.try_send(n as u32), Ok(()), "no slot is taken");
        }
    }
}

fn receives<F: Flavor>(open: impl Fn() -> (Sender<u32, F>, Receiver<u32, F>)) {
    let awaits = explore_drops(|| {
        let (sender, receiver) = open();
        let (tx, rx) = (sender.clone(), receiver.clone());
        let ledger = Ledger::default();
        let (notes, send) = (ledger.clone(), ledger.clone());
        let send = move |value| {
            assert_eq!(tx.try_send(value), Ok(()));
            send.accept(value);
        };
        let work = async move {
            notes.see(wait_for(rx.recv(), || send(1)).await.unwrap());
            yield_now().await;
            // Two that wait: the later one is served first if the earlier one goes.
            let mut earlier = pin!(rx.recv());
            assert!(poll_immediate(&mut earlier).await.is_none());
            let later = wait_for(rx.recv(), || {
                send(2);
                send(3);
            });
            let later = later.await.unwrap();
            // The promise was not for a certain value: who comes first has the older one.
            assert_eq!(later, 2);
            notes.see(later);
            yield_now().await;
            notes.see(earlier.await.unwrap());
        };
        (work, move || ledger.check(&sender, &receiver))
    });
    assert_eq!(awaits, 6);
}

// CH18
#[test]
fn receives_that_wait_or_were_promised_a_value() {
    receives(rendezvous);
    receives(|| bounded(2));
    receives(unbounded);
    receives(local::rendezvous);
    receives(|| local::bounded(2));
}

fn sends<F: Flavor>(open: impl Fn() -> (Sender<u32, F>, Receiver<u32, F>)) {
    let awaits = explore_drops(|| {
        let (sender, receiver) = open();
        let (tx, rx) = (sender.clone(), receiver.clone());
        let ledger = Ledger::default();
        let notes = ledger.clone();
        let work = async move {
            let places = tx.capacity().unwrap() as u32;
            for value in 1..=places {
                tx.try_send(value).unwrap();
                notes.accept(value);
            }
            for value in places + 1..=places + 2 {
                let sent = wait_for(tx.send(value), || {
                    // Room for the value, which is accepted with that.
                    notes.see(rx.try_recv().unwrap());
                    notes.accept(value);
                });
                sent.await.unwrap();
                yield_now().await;
            }
        };
        (work, move || ledger.check(&sender, &receiver))
    });
    assert_eq!(awaits, 6);
}

// CH20
#[test]
fn sends_that_wait_or_were_taken() {
    sends(rendezvous);
    sends(|| bounded(1));
    sends(|| bounded(3));
    sends(local::rendezvous);
    sends(|| local::bounded(3));
}

// CH20
#[test]
fn a_send_behind_one_that_is_dropped() {
    let awaits = explore_drops(|| {
        let (sender, receiver) = bounded(1);
        let (tx, rx) = (sender.clone(), receiver.clone());
        let ledger = Ledger::default();
        let notes = ledger.clone();
        let work = async move {
            tx.try_send(1).unwrap();
            notes.accept(1);
            let mut dropped = Box::pin(tx.send(99));
            assert!(poll_immediate(&mut dropped).await.is_none());
            let behind = wait_for(tx.send(2), || {
                drop(dropped);
                notes.see(rx.try_recv().unwrap());
                notes.accept(2);
            });
            behind.await.unwrap();
            yield_now().await;
        };
        (work, move || ledger.check(&sender, &receiver))
    });
    assert_eq!(awaits, 3);
}

fn reservations<F: Flavor>(open: impl Fn() -> (Sender<u32, F>, Receiver<u32, F>)) {
    let awaits = explore_drops(|| {
        let (sender, receiver) = open();
        let (tx, rx) = (sender.clone(), receiver.clone());
        let ledger = Ledger::default();
        let notes = ledger.clone();
        let work = async move {
            tx.try_send(1).unwrap();
            notes.accept(1);
            let reserving = wait_for(tx.reserve(), || notes.see(rx.try_recv().unwrap()));
            let permit = reserving.await.unwrap();
            assert!(tx.try_send(99).is_err(), "the slot is taken");
            yield_now().await;
            permit.send(2);
            notes.accept(2);
            yield_now().await;
        };
        (work, move || ledger.check(&sender, &receiver))
    });
    assert_eq!(awaits, 4);
}

// CH9
#[test]
fn reservations_that_wait_and_permits() {
    reservations(|| bounded(1));
    reservations(|| local::bounded(1));
}

fn batches<F: Flavor>(open: impl Fn() -> (Sender<u32, F>, Receiver<u32, F>)) {
    let awaits = explore_drops(|| {
        let (sender, receiver) = open();
        let (tx, rx) = (sender.clone(), receiver.clone());
        let ledger = Ledger::default();
        let notes = ledger.clone();
        let work = async move {
            let mut sending = pin!(tx.send_all(1..=6));
            // Two fit, and the third is in hand.
            assert!(poll_immediate(&mut sending).await.is_none());
            notes.accept(2);
            yield_now().await;
            let mut values = Vec::new();
            // Those that fit and the one whose sender waits.
            assert_eq!(rx.recv_many(&mut values, 10).await, Ok(3));
            values.drain(..).for_each(|value| notes.see(value));
            notes.accept(3);
            yield_now().await;
            assert!(poll_immediate(&mut sending).await.is_none());
            assert_eq!(sending.sent(), 5);
            notes.accept(5);
            yield_now().await;
            assert_eq!(rx.recv_many(&mut values, 2).await, Ok(2));
            values.drain(..).for_each(|value| notes.see(value));
            notes.accept(6);
            yield_now().await;
            assert_eq!(sending.await, Ok(6));
            notes.see(rx.try_recv().unwrap());
            let received = wait_for(rx.recv_many(&mut values, 4), || {
                tx.try_send(7).unwrap();
                tx.try_send(8).unwrap();
                notes.accept(8);
            });
            assert_eq!(received.await, Ok(2));
            values.drain(..).for_each(|value| notes.see(value));
        };
        (work, move || ledger.check(&sender, &receiver))
    });
    assert_eq!(awaits, 6);
}

// CH10
#[test]
fn batches_that_wait() {
    batches(|| bounded(2));
    batches(|| local::bounded(2));
}
