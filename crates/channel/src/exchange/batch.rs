//! Many values under one lock.

use std::task::{Context, Poll};

use super::{Exchange, Interest};
use crate::error::RecvError;
use crate::flavor::Flavor;
use crate::wait_list::Key;
use crate::wakes::Wakes;

impl<T, F: Flavor> Exchange<T, F> {
    /// Reserves up to `most` slots that can be had at once.
    pub(crate) fn reserve_many(&self, most: usize) -> usize {
        self.lock().reserve_many(most)
    }

    /// Puts `values` into slots that were reserved, and gives up those left.
    pub(crate) fn fill_slots(&self, values: &mut Vec<T>, slots: usize) {
        let mut wakes = Wakes::default();
        self.lock().fill_slots(values, slots, &mut wakes);
        wakes.wake();
        // What nobody is left to receive goes here, without the lock.
        values.clear();
    }

    /// Appends up to `most` values that can be had at once; how many.
    pub(crate) fn recv_more(&self, into: &mut Vec<T>, most: usize) -> usize {
        let before = into.len();
        let mut wakes = Wakes::default();
        self.lock().recv_more(into, most, &mut wakes);
        wakes.wake();
        into.len() - before
    }

    /// Advances a receive of up to `most` values, at least one.
    pub(crate) fn poll_recv_many(
        &self,
        parked: &mut Option<Key>,
        into: &mut Vec<T>,
        most: usize,
        context: &mut Context<'_>,
    ) -> Poll<Result<usize, RecvError>> {
        if most == 0 {
            return Poll::Ready(Ok(0));
        }
        let Poll::Ready(first) = self.poll_recv(parked, Interest::Promise, context) else {
            return Poll::Pending;
        };
        match first {
            Ok(value) => {
                into.push(value);
                Poll::Ready(Ok(1 + self.recv_more(into, most - 1)))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}
