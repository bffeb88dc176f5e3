//! Watches, broadcasts and the only value of a oneshot.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::rc::Rc;

use bowline::channel::{Lag, broadcast, oneshot, watch};
use bowline::sim::explore_drops;
use bowline::sim::host::yield_now;
use futures_util::future::poll_immediate;

use super::{Ledger, wait_for};

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
