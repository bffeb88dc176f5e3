//! The reading end of a pipe in the program.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::bunch::Bunch;
use super::pipe::{End, InHand, Pipe};
use crate::proto::Items;
use crate::small_bodies::SmallBodies;

/// An encoded item.
#[derive(Debug)]
pub(crate) enum Item<'a> {
    /// Among others.
    Among(&'a [u8]),
    Alone(Bytes),
}

impl Item<'_> {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Item::Among(item) => item,
            Item::Alone(item) => item,
        }
    }

    /// The item in memory that is not shared with many others.
    pub(crate) fn into_bytes(self, bodies: &mut SmallBodies) -> Bytes {
        match self {
            Item::Among(item) => bodies.copy(item),
            Item::Alone(item) => item,
        }
    }
}

/// Takes items out of a pipe, many at a time, and gives them one by one.
///
/// Invariants:
/// - Y1 `items` from `at` on are in hand: they count as items that wait.
/// - Y2 `taken` is below `reports_at`: see the pipe.
#[derive(Debug)]
pub(crate) struct Reader {
    pipe: Arc<Pipe>,
    items: Items,
    at: usize,
    /// Charge of items that were given, of which the pipe has not heard.
    taken: u64,
    reports_at: u64,
}

impl Reader {
    pub(crate) fn new(pipe: Arc<Pipe>) -> Self {
        Self {
            pipe,
            items: Items::new(),
            at: 0,
            taken: 0,
            reports_at: u64::MAX,
        }
    }

    pub(crate) fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    /// Gives the next item to `take` if it is there.
    pub(crate) fn try_item<R>(
        &mut self,
        take: &mut impl FnMut(Item<'_>) -> R,
    ) -> Option<Result<R, End>> {
        if let Some(given) = self.take_in_hand(take) {
            return Some(Ok(given));
        }
        let next = self.pipe.try_items(&mut self.taken)?;
        Some(self.begin(next, take))
    }

    /// The same for who waits.
    pub(crate) fn poll_item<R>(
        &mut self,
        cx: &mut Context<'_>,
        take: &mut impl FnMut(Item<'_>) -> R,
    ) -> Poll<Result<R, End>> {
        if let Some(given) = self.take_in_hand(take) {
            return Poll::Ready(Ok(given));
        }
        let next = std::task::ready!(self.pipe.poll_items(cx, &mut self.taken));
        Poll::Ready(self.begin(next, take))
    }

    fn begin<R>(
        &mut self,
        next: Result<InHand, End>,
        take: &mut impl FnMut(Item<'_>) -> R,
    ) -> Result<R, End> {
        let next = next?;
        self.reports_at = next.reports_at;
        match next.items {
            Bunch::Several(items) => {
                self.items = items;
                // A bunch has an item.
                self.take_in_hand(take).ok_or(End::Broken)
            }
            Bunch::One(item) => {
                self.took(crate::proto::charge(item.len()));
                Ok(take(Item::Alone(item)))
            }
        }
    }

    /// Gives the next item to `take` if it is in hand.
    #[inline]
    pub(crate) fn take_in_hand<R>(&mut self, take: &mut impl FnMut(Item<'_>) -> R) -> Option<R> {
        let (item, next) = self.items.item_at(self.at)?;
        let charge = next - self.at;
        self.at = next;
        let given = take(Item::Among(item));
        if self.items.charge() == next as u64 {
            // They may keep a large buffer.
            self.items = Items::new();
            self.at = 0;
        }
        self.took(charge as u64);
        Some(given)
    }

    #[inline]
    fn took(&mut self, charge: u64) {
        self.taken += charge;
        if self.taken >= self.reports_at {
            self.reports_at = self.pipe.report(std::mem::take(&mut self.taken));
        }
    }
}
