//! Where every value of a schedule ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bowline_channel::{Flavor, SendAllFuture};

/// Where a value was seen to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Received,
    Returned,
    Discarded,
    Dropped,
}

/// What is known of one value.
#[derive(Debug, Default)]
struct Account {
    ends: Vec<End>,
    /// Its send reported success.
    sent: bool,
    /// Its place in the order of sends, from when its send was first polled.
    place: Option<u64>,
}

/// All values of a schedule, by number.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    accounts: Rc<RefCell<Vec<Account>>>,
    places: Rc<Cell<u64>>,
}

impl Ledger {
    /// A value that enters its end here, whatever happens to it.
    pub(crate) fn parcel(&self) -> Parcel {
        let id = self.accounts.borrow().len();
        self.accounts.borrow_mut().push(Account::default());
        Parcel {
            id,
            ledger: self.clone(),
            end: Cell::new(End::Dropped),
        }
    }

    pub(crate) fn take_place(&self, id: usize) {
        self.accounts.borrow_mut()[id].place = Some(self.places.replace(self.places.get() + 1));
    }

    pub(crate) fn note_sent(&self, id: usize) {
        self.accounts.borrow_mut()[id].sent = true;
    }

    /// Closes the books, when everything of the schedule is gone.
    pub(crate) fn check(&self, keeps_values: bool) {
        for (id, account) in self.accounts.borrow().iter().enumerate() {
            let [end] = account.ends[..] else {
                panic!("value {id} ended other than once: {account:?}");
            };
            let there = matches!(end, End::Received | End::Discarded);
            let lost = account.sent && keeps_values && !there;
            assert!(!lost, "value {id} was sent but not received: {account:?}");
        }
    }
}

pub(crate) struct Parcel {
    pub(crate) id: usize,
    ledger: Ledger,
    end: Cell<End>,
}

impl Parcel {
    pub(crate) fn place(&self) -> Option<u64> {
        self.ledger.accounts.borrow()[self.id].place
    }

    pub(crate) fn end(self, end: End) {
        self.end.set(end);
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        self.ledger.accounts.borrow_mut()[self.id]
            .ends
            .push(self.end.get());
    }
}

/// A send of many that enters which of them it has sent, also when it is dropped.
pub(crate) struct Counted<'a, I: Iterator<Item = Parcel>, F: Flavor> {
    pub(crate) sending: SendAllFuture<'a, Parcel, I, F>,
    pub(crate) first: usize,
    pub(crate) ledger: Ledger,
}

impl<I: Iterator<Item = Parcel>, F: Flavor> Drop for Counted<'_, I, F> {
    fn drop(&mut self) {
        (self.first..self.first + self.sending.sent()).for_each(|id| self.ledger.note_sent(id));
    }
}
