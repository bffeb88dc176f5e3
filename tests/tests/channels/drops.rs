//! Every future of the crate, dropped at each of its awaits in turn: nothing is lost (I2).
//!
//! Each case waits, is granted what it waits for, and uses it, with an await in between; so it is
//! dropped while it waits, when it was granted and has not run since, and when it has. Values are
//! numbered, and those that a case has seen and those that are left make all that were accepted.

use std::cell::{Cell, RefCell};
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::rc::Rc;

use bowline::channel::{
    Flavor, Lag, Receiver, Sender, bounded, broadcast, local, oneshot, rendezvous, select,
    unbounded, watch,
};
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

/// Lends a value to a case that is going to be dropped; its check has it then.
struct Lent<V> {
    value: Option<V>,
    back: Rc<Cell<Option<V>>>,
}

impl<V> Lent<V> {
    fn new(value: V) -> (Self, Rc<Cell<Option<V>>>) {
        let back = Rc::new(Cell::new(None));
        let lent = Self {
            value: Some(value),
            back: Rc::clone(&back),
        };
        (lent, back)
    }
}

impl<V> Deref for Lent<V> {
    type Target = V;

    fn deref(&self) -> &V {
        self.value.as_ref().expect("it is lent until the end")
    }
}

impl<V> DerefMut for Lent<V> {
    fn deref_mut(&mut self) -> &mut V {
        self.value.as_mut().expect("it is lent until the end")
    }
}

impl<V> Drop for Lent<V> {
    fn drop(&mut self) {
        self.back.set(self.value.take());
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

// CH40
#[test]
fn waits_for_a_new_value() {
    let awaits = explore_drops(|| {
        let (sender, reader) = watch(0);
        let sender = Rc::new(sender);
        let tx = Rc::clone(&sender);
        let (mut reader, back) = Lent::new(reader);
        let told = Rc::new(Cell::new(0));
        let noted = Rc::clone(&told);
        let work = async move {
            for value in 1..=2 {
                let changed = wait_for(reader.changed(), || tx.send(value).unwrap());
                noted.set(*changed.await.unwrap());
                yield_now().await;
            }
        };
        let check = move || {
            let mut reader = back.take().expect("it was given back");
            let latest = *sender.latest();
            assert_eq!(reader.has_changed(), told.get() != latest);
            let mut changed = pin!(reader.changed());
            let now = futures_lite::future::block_on(poll_immediate(&mut changed));
            let expected = (told.get() != latest).then_some(latest);
            assert_eq!(now.map(|value| *value.unwrap()), expected);
        };
        (work, check)
    });
    assert_eq!(awaits, 6);
}

// CH41
#[test]
fn broadcasts_that_wait_for_the_slowest() {
    let awaits = explore_drops(|| {
        let (sender, receiver) = broadcast(1, Lag::Block);
        let tx = sender.clone();
        let (mut rx, back) = Lent::new(receiver);
        let ledger = Ledger::default();
        let notes = ledger.clone();
        let work = async move {
            let received = wait_for(rx.recv(), || {
                tx.try_send(1).unwrap();
                notes.accept(1);
            });
            notes.see(received.await.unwrap());
            yield_now().await;
            tx.try_send(2).unwrap();
            notes.accept(2);
            let sent = wait_for(tx.send(3), || {
                notes.see(rx.try_recv().unwrap());
                notes.accept(3);
            });
            sent.await.unwrap();
            yield_now().await;
        };
        let check = move || {
            let mut rx = back.take().expect("it was given back");
            let mut all = ledger.seen.borrow().clone();
            all.extend(std::iter::from_fn(|| rx.try_recv().ok()));
            assert_eq!(all, (1..=ledger.accepted.get()).collect::<Vec<_>>());
            assert_eq!(sender.try_send(9), Ok(()), "no place is taken");
            assert_eq!(rx.try_recv(), Ok(9));
        };
        (work, check)
    });
    assert_eq!(awaits, 6);
}

// CH42
#[test]
fn a_receive_of_the_only_value() {
    let awaits = explore_drops(|| {
        let (sender, receiver) = oneshot();
        let (value, shared) = (Rc::new(7), Rc::new(Cell::new(false)));
        let sent = Rc::clone(&shared);
        let alive = Rc::downgrade(&value);
        // The sender outlives the receiver, unless it is used up.
        let (mut sender, back) = Lent::new(Some(sender));
        let work = async move {
            let received = wait_for(receiver, || {
                assert!(sender.take().expect("once").send(value).is_ok());
                sent.set(true);
            });
            assert_eq!(*received.await.unwrap(), 7);
            yield_now().await;
        };
        let check = move || {
            assert_eq!(alive.upgrade(), None, "it goes with who owned it");
            let sender = back.take().expect("it was given back");
            assert_eq!(sender.is_none(), shared.get());
            assert!(sender.is_none_or(|sender| sender.is_closed()));
        };
        (work, check)
    });
    assert_eq!(awaits, 3);
}
