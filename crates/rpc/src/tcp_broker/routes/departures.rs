//! Those who wait for connections to end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::{Routes, State};

/// The wakers of those who look again whenever a connection has ended. A place is never used twice, so
/// one that was woken meanwhile takes nobody else's away.
#[derive(Debug, Default)]
pub(super) struct Departures {
    waiting: BTreeMap<u64, Waker>,
    next: u64,
}

impl Departures {
    /// Whom to wake.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Waker> + use<> {
        std::mem::take(&mut self.waiting).into_values()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

impl Routes {
    /// Completes when the connections were told to close.
    pub(in crate::tcp_broker) async fn closed(&self) {
        self.until(State::is_closed).await;
    }

    /// Completes when no connection is up.
    pub(in crate::tcp_broker) async fn none_left(&self) {
        self.until(|state| state.connections.is_empty()).await;
    }

    /// Completes when fewer than `most` connections that peers opened are up.
    pub(in crate::tcp_broker) async fn fewer_accepted(&self, most: usize) {
        self.until(|state| state.accepted < most).await;
    }

    /// Completes when no connection brings calls of its peer any more, once the broker drains.
    pub(in crate::tcp_broker) async fn all_left(&self) {
        self.until(|state| state.taking == 0).await;
    }

    fn until<F: Fn(&State) -> bool + Unpin>(&self, holds: F) -> Until<'_, F> {
        Until {
            routes: self,
            holds,
            place: None,
        }
    }

    /// How many wait for connections to end.
    #[cfg(test)]
    pub(in crate::tcp_broker) fn departures(&self) -> usize {
        self.state().departures.len()
    }
}

/// Completes when something holds, looking whenever a connection has ended.
#[must_use = "it looks while it is polled"]
struct Until<'a, F> {
    routes: &'a Routes,
    holds: F,
    place: Option<u64>,
}

impl<F: Fn(&State) -> bool + Unpin> Future for Until<'_, F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut state = self.routes.state();
        if (self.holds)(&state) {
            drop(state);
            return Poll::Ready(());
        }
        let departures = &mut state.departures;
        let place = self.place.unwrap_or(departures.next);
        departures.next = departures.next.max(place + 1);
        let former = departures.waiting.insert(place, waker);
        drop(state);
        drop(former);
        self.place = Some(place);
        Poll::Pending
    }
}

impl<F> Drop for Until<'_, F> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let waker = self.routes.state().departures.waiting.remove(&place);
            drop(waker);
        }
    }
}
