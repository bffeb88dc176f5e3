//! Which connections there are: who is let in, and how all of them end.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::{Routes, Table, Up};
use crate::connection::Mailbox;
use crate::tcp_broker::prefix::Prefix;
use crate::{Code, Limits};

/// Which side opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp_broker) enum Origin {
    /// This one.
    Dialed,
    /// A peer behind this prefix, if its address has one.
    Accepted(Option<Prefix>),
}

/// Why a connection is not taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp_broker) enum NoRoom {
    /// There are as many as may be; one of them will end.
    Full,
    /// Too many peers are in their handshake, in all or behind one prefix.
    Handshakes,
    /// No more connections are taken on.
    Closed,
}

impl Routes {
    /// Takes on a new connection.
    pub(in crate::tcp_broker) fn connect(
        &self,
        mailbox: &Arc<Mailbox>,
        origin: Origin,
        limits: &Limits,
    ) -> Result<u64, NoRoom> {
        let mut table = self.table();
        if table.closed || table.draining {
            return Err(NoRoom::Closed);
        }
        if table.connections.len() >= limits.connections {
            return Err(NoRoom::Full);
        }
        if let Origin::Accepted(prefix) = origin {
            let alike = prefix.and_then(|prefix| table.handshakes_from.get(&prefix));
            if table.handshakes >= limits.unauthenticated
                || alike.is_some_and(|alike| *alike >= limits.unauthenticated_per_prefix)
            {
                return Err(NoRoom::Handshakes);
            }
            table.handshakes += 1;
            if let Some(prefix) = prefix {
                *table.handshakes_from.entry(prefix).or_default() += 1;
            }
        }
        let connection = table.next_connection;
        table.next_connection += 1;
        let up = Up::new(mailbox.clone(), origin);
        table.connections.insert(connection, up);
        Ok(connection)
    }

    /// Whether no more connections are taken on.
    pub(in crate::tcp_broker) fn is_closing(&self) -> bool {
        let table = self.table();
        table.closed || table.draining
    }

    /// The handshake of `connection` is done.
    pub(in crate::tcp_broker) fn ready(&self, connection: u64) {
        let mut table = self.table();
        if let Some(up) = table.connections.get_mut(&connection) {
            let handshaking = !std::mem::replace(&mut up.ready, true);
            let origin = up.origin;
            if handshaking {
                table.handshake_ended(origin);
            }
        }
    }

    /// `connection` is gone.
    pub(in crate::tcp_broker) fn disconnect(&self, connection: u64) {
        let mut table = self.table();
        let Some(up) = table.connections.remove(&connection) else {
            return;
        };
        if !up.ready {
            table.handshake_ended(up.origin);
        }
        for route in up.methods.values() {
            table.retract(*route, connection);
        }
        let wakers = std::mem::take(&mut table.departures);
        drop(table);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// How many connections there are, and how many of them are past their handshake.
    pub(in crate::tcp_broker) fn connections(&self) -> (usize, usize) {
        let table = self.table();
        let ready = table.connections.values().filter(|up| up.ready).count();
        (table.connections.len(), ready)
    }

    /// Takes no more connections, and ends each as soon as no call is in flight on it. Peers are
    /// told that it will be within `within`.
    pub(in crate::tcp_broker) fn drain(&self, within: Duration) {
        let mut table = self.table();
        table.draining = true;
        let mailboxes = table.mailboxes();
        drop(table);
        for mailbox in mailboxes {
            mailbox.drain(within);
        }
    }

    /// Cancels the calls in flight on all connections.
    pub(in crate::tcp_broker) fn cancel_calls(&self) {
        let mailboxes = self.table().mailboxes();
        for mailbox in mailboxes {
            mailbox.cancel_all();
        }
    }

    /// Takes no more connections, closes those there are and ends calls that wait for a peer.
    pub(in crate::tcp_broker) fn close(&self, message: &'static str) {
        let mut table = self.table();
        table.closed = true;
        let mailboxes = table.mailboxes();
        let mut wakers: Vec<_> = table
            .routes
            .iter()
            .flat_map(|(_, route)| route.waiting.iter().map(|(_, w)| w.clone()))
            .collect();
        wakers.append(&mut table.departures);
        drop(table);
        for mailbox in mailboxes {
            mailbox.close(Code::Cancelled, message);
        }
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Completes when fewer than `most` connections are up.
    pub(in crate::tcp_broker) async fn fewer_than(&self, most: usize) {
        std::future::poll_fn(|cx| {
            let waker = cx.waker().clone();
            let mut table = self.table();
            if table.connections.len() < most {
                drop(table);
                return Poll::Ready(());
            }
            if !table.departures.iter().any(|known| known.will_wake(&waker)) {
                table.departures.push(waker);
            }
            Poll::Pending
        })
        .await;
    }
}

impl Table {
    fn handshake_ended(&mut self, origin: Origin) {
        let Origin::Accepted(prefix) = origin else {
            return;
        };
        self.handshakes -= 1;
        if let Some(prefix) = prefix
            && let Some(alike) = self.handshakes_from.get_mut(&prefix)
        {
            *alike -= 1;
            if *alike == 0 {
                self.handshakes_from.remove(&prefix);
            }
        }
    }

    fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        let up = self.connections.values();
        up.map(|up| up.mailbox.clone()).collect()
    }
}
