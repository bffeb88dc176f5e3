//! Peers that had no room for a call, and are left alone for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use bowline_backend::time::Instant;

use super::ConnectionId;

/// How long one is left alone that does not say how long it takes until it has room, and how long others are
/// kept from one that is asked again, which answers at once if it has none.
const SHORT: Duration = Duration::from_millis(100);
/// How long any is left alone at most, and how long it is known after that.
const LONGEST: Duration = Duration::from_secs(30);

/// The peers, by their connections, that have refused a call for want of room.
///
/// Each rests for as long as it said. Then one call asks it, and where that is not refused it is one of all
/// again; where it is, it rests twice as long. So a peer that stays full costs few calls an attempt.
#[derive(Debug, Default)]
pub(super) struct Rests(BTreeMap<ConnectionId, Rest>);

#[derive(Debug)]
struct Rest {
    until: Instant,
    length: Duration,
    /// A call has gone to it since it rested.
    asked: bool,
}

impl Rests {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it is to be left alone.
    pub(super) fn rests(&self, connection: ConnectionId, now: Instant) -> bool {
        let rest = self.0.get(&connection);
        rest.is_some_and(|rest| now < rest.until)
    }

    /// It has refused a call, and will have room after that time if it says so.
    pub(super) fn refused(
        &mut self,
        connection: ConnectionId,
        after: Option<Duration>,
        now: Instant,
    ) {
        let told = after.unwrap_or(SHORT).min(LONGEST);
        let rest = self.0.entry(connection).or_insert(Rest {
            until: now,
            length: told,
            asked: false,
        });
        // Those that were under way together are refused together.
        let length = match std::mem::take(&mut rest.asked) {
            true => told.max((rest.length * 2).min(LONGEST)),
            false => told,
        };
        rest.length = rest.length.max(length);
        rest.until = rest.until.max(now + length);
    }

    /// It is given a call.
    pub(super) fn asked(&mut self, connection: ConnectionId, now: Instant) {
        self.0.retain(|_, rest| now < rest.until + LONGEST);
        let Some(rest) = self.0.get_mut(&connection) else {
            return;
        };
        if now < rest.until {
            return;
        }
        if std::mem::replace(&mut rest.asked, true) {
            self.0.remove(&connection);
        } else {
            rest.until = now + SHORT;
        }
    }

    /// The connection takes no calls any more.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.0.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IT: ConnectionId = ConnectionId(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1) + Duration::from_millis(millis)
    }

    /// When it is asked again, in milliseconds, from `now` on.
    fn over(rests: &Rests, now: u64) -> u64 {
        (now..).find(|now| !rests.rests(IT, at(*now))).unwrap()
    }

    #[test]
    fn it_rests_as_long_as_it_says_and_longer_each_time_that_it_is_asked_in_vain() {
        let mut rests = Rests::default();
        rests.refused(IT, Some(Duration::from_millis(250)), at(0));
        assert_eq!(over(&rests, 0), 250);
        // Others that were under way say nothing new.
        rests.refused(IT, None, at(10));
        rests.refused(IT, Some(Duration::from_millis(250)), at(20));
        assert_eq!(over(&rests, 0), 270);
        rests.asked(IT, at(270));
        assert_eq!(over(&rests, 270), 370, "while one asks");
        rests.refused(IT, None, at(271));
        assert_eq!(over(&rests, 271), 771);
        rests.asked(IT, at(771));
        rests.refused(IT, Some(Duration::from_secs(3600)), at(771));
        assert_eq!(over(&rests, 771), 30_771, "at most");
    }

    #[test]
    fn it_is_one_of_all_when_it_takes_a_call_or_nobody_asks_for_long() {
        let mut rests = Rests::default();
        rests.refused(IT, None, at(0));
        // Where all others rest, too, it gets calls.
        rests.asked(IT, at(50));
        assert_eq!(over(&rests, 50), 100);
        rests.asked(IT, at(100));
        rests.asked(IT, at(200));
        assert!(rests.is_empty());
        rests.refused(IT, None, at(300));
        assert_eq!(over(&rests, 300), 400, "nothing is known of the former");
        rests.asked(ConnectionId(2), at(30_399));
        assert!(!rests.is_empty());
        rests.asked(ConnectionId(2), at(30_400));
        assert!(rests.is_empty());
        rests.refused(IT, None, at(0));
        rests.forget(IT);
        assert!(rests.is_empty());
    }
}
