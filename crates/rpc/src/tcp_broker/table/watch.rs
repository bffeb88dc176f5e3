//! Calls whose ends tell how peers are, and how long they take.

use std::time::Duration;

use bowline_backend::time::Instant;

use super::{ConnectionId, Table, draw};

/// A call whose end the table wants to hear of.
#[derive(Debug)]
#[must_use = "the table waits for the end of the call"]
pub(in crate::tcp_broker) struct Watch {
    pub(super) connection: ConnectionId,
    pub(super) began: Instant,
    /// How long calls take there, in nanoseconds, or at the others where that is not known.
    pub(super) usual: u64,
    /// It tells whether its peer is well.
    pub(super) tells: bool,
    /// It counts as in flight.
    pub(super) measured: bool,
    /// Its end does not tell how long calls take.
    pub(super) lasts: bool,
}

impl Watch {
    /// Whether it tells if its peer is well.
    pub(in crate::tcp_broker) fn tells(&self) -> bool {
        self.tells
    }
}

/// What a call that is watched came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tcp_broker) enum Answer {
    /// It ran.
    Ran,
    /// The peer did not take it, as it has too much to do.
    Full,
    /// The peer did not take it for another reason.
    Refused,
    /// It ended before the peer could hear of it, so it says nothing.
    NeverAsked,
    /// Its caller did not wait for its end.
    GivenUp,
    /// It ended otherwise: its time was over, or its connection.
    Missing,
}

impl Answer {
    /// Whether it came from the peer.
    pub(super) fn came(self) -> bool {
        matches!(self, Answer::Ran | Answer::Full | Answer::Refused)
    }
}

impl<P: Clone> Table<P> {
    /// The call behind `watch` has ended.
    pub(in crate::tcp_broker) fn settled(&mut self, watch: Watch, answer: Answer, now: Instant) {
        let Some(of) = self.connections.get_mut(&watch.connection) else {
            return;
        };
        let peer = of.peer;
        if watch.measured {
            of.in_flight -= 1;
            let took = now.saturating_duration_since(watch.began).as_nanos();
            let took = u64::try_from(took).unwrap_or(u64::MAX);
            let pace = self.peers.pace_mut(peer);
            match answer {
                Answer::Full => pace.failed(watch.began, watch.usual, now),
                _ if watch.lasts => {}
                Answer::Ran => pace.ran(took, now),
                Answer::Missing => pace.failed(watch.began, took.max(watch.usual), now),
                // That it takes so long is known, but not that it fails.
                Answer::GivenUp if took > watch.usual => {
                    pace.failed(Instant::from_nanos(0), took - watch.usual, now);
                }
                Answer::GivenUp | Answer::Refused | Answer::NeverAsked => {}
            }
        }
        if watch.tells {
            let jitter = draw(&mut self.random);
            self.peers
                .tried(peer, watch.connection, answer, now, jitter);
        }
    }

    /// The peer of `connection` has answered, whichever call, or has sent or taken an item.
    pub(in crate::tcp_broker) fn answered(&mut self, connection: ConnectionId) {
        if let Some(known) = self.connections.get(&connection) {
            self.peers.answered(known.peer, connection);
        }
    }

    /// The peer of `connection` has refused a call for want of room, and will have some `after` that time
    /// if it said so.
    pub(in crate::tcp_broker) fn refused(
        &mut self,
        connection: ConnectionId,
        after: Option<Duration>,
        now: Instant,
    ) {
        if self.connections.contains_key(&connection) {
            self.rests.refused(connection, after, now);
        }
    }
}
