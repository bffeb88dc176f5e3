//! Calls that wait for a peer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Key, MAX_WAITING, Routes};
use crate::Code;
use crate::connection::Mailbox;
use crate::proto::MethodId;

/// A call that waits for a peer to offer its method. Fails if too many wait or the broker closes.
#[must_use = "a call waits while this is polled"]
pub(in crate::tcp_broker) struct FindPeer<'a> {
    routes: &'a Routes,
    key: Key<'a>,
    /// Its route, and its place among those who wait there.
    place: Option<(usize, usize)>,
}

impl<'a> FindPeer<'a> {
    pub(in crate::tcp_broker) fn new(routes: &'a Routes, key: Key<'a>) -> Self {
        Self {
            routes,
            key,
            place: None,
        }
    }
}

impl Future for FindPeer<'_> {
    type Output = Result<(Arc<Mailbox>, MethodId), Code>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let waker = cx.waker().clone();
        let mut table = this.routes.table();
        let route = table.route(this.key.name());
        if !table.closed
            && let Some(peer) = table.routes[route].pick()
        {
            drop(table);
            return Poll::Ready(Ok(peer));
        }
        let refused = if table.closed {
            Some(Code::Cancelled)
        } else if this.place.is_none() && table.waiting >= MAX_WAITING {
            Some(Code::Overloaded)
        } else {
            None
        };
        if let Some(code) = refused {
            table.forget_if_unused(route);
            drop(table);
            return Poll::Ready(Err(code));
        }
        let former = match this.place {
            Some((_, place)) => Some(std::mem::replace(
                &mut table.routes[route].waiting[place],
                waker,
            )),
            None => {
                table.waiting += 1;
                this.place = Some((route, table.routes[route].waiting.insert(waker)));
                None
            }
        };
        drop(table);
        drop(former);
        Poll::Pending
    }
}

impl Drop for FindPeer<'_> {
    fn drop(&mut self) {
        if let Some((route, place)) = self.place {
            let mut table = self.routes.table();
            table.waiting -= 1;
            let waker = table.routes[route].waiting.remove(place);
            table.forget_if_unused(route);
            drop(table);
            drop(waker);
        }
    }
}
