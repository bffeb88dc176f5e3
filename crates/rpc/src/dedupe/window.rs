//! Which calls with a key run, and what those that ran came to, as long as there is room for that.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bowline_backend::time::Instant;

use super::{Admitted, CallerId, DedupeKey};
use crate::executor::JobEnd;
use crate::{Certainty, Code, Codec};

/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_secs(600);
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Calls that wait for the answer of one: whoever connects again and again leaves no more of them.
const MAX_WAITING: usize = 128;
/// What an entry costs besides its key and its answer.
const PER_ENTRY: usize = 256;

/// Which calls with a key run, and what those that ran came to. `W` waits for an answer.
///
/// Invariants:
/// - K1 an entry runs from [`admit`](Self::admit) to [`settle`](Self::settle); meanwhile everyone who
///   comes with its key waits in it, the first one included.
/// - K2 `ended` has the keys of the entries that have an answer, in the order they got it; `bytes` is
///   what those entries hold. Both are within their bounds after each operation.
/// - K3 a call that certainly did not run has no entry, nor has one that was cut off.
/// - K4 `shares` has the same entries, apart for each holder, in the same order, and `heaviest` the holders
///   by how much they hold. Who holds the most makes room, so nobody is pushed out by one who holds more.
#[derive(Debug)]
pub(super) struct Window<W> {
    entries: BTreeMap<DedupeKey, Entry<W>>,
    ended: BTreeMap<u64, DedupeKey>,
    shares: BTreeMap<CallerId, Share>,
    heaviest: BTreeSet<(usize, CallerId)>,
    bytes: usize,
    /// The number of the entry that ends next.
    next: u64,
    max_entries: usize,
    max_bytes: usize,
}

/// What one holder has.
#[derive(Debug, Default)]
struct Share {
    /// The numbers of its entries.
    ended: VecDeque<u64>,
    /// Their bytes, and for each of them the bytes that an entry may have on average.
    weight: usize,
}

#[derive(Debug)]
enum Entry<W> {
    Runs {
        codec: Codec,
        waiting: Vec<W>,
    },
    Ended {
        since: Instant,
        codec: Codec,
        end: JobEnd,
    },
}

impl<W> Default for Window<W> {
    fn default() -> Self {
        Self::new(MAX_ENTRIES, MAX_BYTES)
    }
}

impl<W> Window<W> {
    fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            ended: BTreeMap::new(),
            shares: BTreeMap::new(),
            heaviest: BTreeSet::new(),
            bytes: 0,
            next: 0,
            max_entries,
            max_bytes,
        }
    }

    pub(super) fn admit(
        &mut self,
        key: &DedupeKey,
        codec: Codec,
        waiter: W,
        now: Instant,
    ) -> Admitted {
        self.expire(now);
        match self.entries.get_mut(key) {
            Some(Entry::Runs { codec: its, .. } | Entry::Ended { codec: its, .. })
                if *its != codec =>
            {
                Admitted::Answered(JobEnd::Failed {
                    code: Code::BadArguments,
                    certainty: Certainty::Refused,
                    message: "its key is that of a call in another codec".into(),
                })
            }
            // It is not known what becomes of the one that runs.
            Some(Entry::Runs { waiting, .. }) if waiting.len() >= MAX_WAITING => {
                Admitted::Answered(JobEnd::Failed {
                    code: Code::Overloaded,
                    certainty: Certainty::MaybeExecuted,
                    message: format!("{MAX_WAITING} calls wait for the answer to its key already"),
                })
            }
            Some(Entry::Runs { waiting, .. }) => {
                waiting.push(waiter);
                Admitted::Waits
            }
            Some(Entry::Ended { end, .. }) => Admitted::Answered(end.clone()),
            None => {
                let runs = Entry::Runs {
                    codec,
                    waiting: vec![waiter],
                };
                self.entries.insert(key.clone(), runs);
                Admitted::Run
            }
        }
    }

    /// Those that wait for the call with `key`, and are not to wait any longer.
    pub(super) fn give_up(&mut self, key: &DedupeKey, who: impl Fn(&W) -> bool) -> Vec<W> {
        match self.entries.get_mut(key) {
            Some(Entry::Runs { waiting, .. }) => waiting.extract_if(.., |it| who(it)).collect(),
            _ => Vec::new(),
        }
    }

    /// The call with `key` came to `end` now, which is `kept` for others: who waits for that.
    pub(super) fn settle(
        &mut self,
        key: &DedupeKey,
        end: &JobEnd,
        kept: bool,
        now: Instant,
    ) -> Vec<W> {
        let Some(Entry::Runs { codec, waiting }) = self.entries.remove(key) else {
            return Vec::new();
        };
        if kept {
            let ended = Entry::Ended {
                since: now,
                codec,
                end: end.clone(),
            };
            self.entries.insert(key.clone(), ended);
            self.keep(key, held(key, end));
            while (self.ended.len() > self.max_entries || self.bytes > self.max_bytes)
                && let Some((_, holder)) = self.heaviest.last().cloned()
            {
                self.forget_oldest(&holder);
            }
        }
        waiting
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, oldest)) = self.ended.first_key_value()
            && let Some(Entry::Ended { since, .. }) = self.entries.get(oldest)
            && now.saturating_duration_since(*since) >= KEPT_FOR
        {
            // The oldest of all is the oldest of its holder.
            self.forget_oldest(&oldest.caller.holder());
        }
    }

    /// The entry of `key` has ended, and holds so many bytes.
    fn keep(&mut self, key: &DedupeKey, bytes: usize) {
        let number = self.next;
        self.next += 1;
        self.ended.insert(number, key.clone());
        self.bytes += bytes;
        let holder = key.caller.holder();
        let weighs = bytes + self.average();
        let share = self.shares.entry(holder.clone()).or_default();
        share.ended.push_back(number);
        let before = share.weight;
        share.weight += weighs;
        let weight = share.weight;
        self.weigh(holder, before, weight);
    }

    fn forget_oldest(&mut self, holder: &CallerId) {
        let average = self.average();
        let Some(share) = self.shares.get_mut(holder) else {
            return;
        };
        if let Some(number) = share.ended.pop_front()
            && let Some(key) = self.ended.remove(&number)
            && let Some(Entry::Ended { end, .. }) = self.entries.remove(&key)
        {
            let bytes = held(&key, &end);
            self.bytes -= bytes;
            let before = share.weight;
            share.weight -= bytes + average;
            let weight = share.weight;
            if share.ended.is_empty() {
                self.shares.remove(holder);
            }
            self.weigh(holder.clone(), before, weight);
        }
    }

    /// What `holder` has weighs something else; nothing, if it has nothing.
    fn weigh(&mut self, holder: CallerId, before: usize, now: usize) {
        let mut place = (before, holder);
        self.heaviest.remove(&place);
        place.0 = now;
        if now > 0 {
            self.heaviest.insert(place);
        }
    }

    /// Bytes that an entry may have if there are as many as may be.
    fn average(&self) -> usize {
        self.max_bytes / self.max_entries.max(1)
    }
}

fn held(key: &DedupeKey, end: &JobEnd) -> usize {
    PER_ENTRY + key.key.len() + end.bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use bytes::Bytes;

    fn key(n: u8) -> DedupeKey {
        DedupeKey {
            caller: CallerId::Proven("a".into(), [1; 16]),
            method: "pay".into(),
            key: Arc::from([n]),
        }
    }

    fn reply(bytes: usize) -> JobEnd {
        JobEnd::Reply(Bytes::from(vec![7; bytes]))
    }

    fn at(secs: u64) -> Instant {
        Instant::from_nanos(1) + Duration::from_secs(secs)
    }

    fn admit<W>(window: &mut Window<W>, key: &DedupeKey, waiter: W, now: Instant) -> Admitted {
        window.admit(key, Codec::Postcard, waiter, now)
    }

    fn runs(admitted: &Admitted) -> bool {
        matches!(admitted, Admitted::Run)
    }

    // R24
    #[test]
    fn twins_wait_for_the_first_and_later_ones_get_its_answer() {
        let mut window = Window::new(10, 10_000);
        assert!(runs(&admit(&mut window, &key(1), 'a', at(0))));
        assert!(matches!(
            admit(&mut window, &key(1), 'b', at(1)),
            Admitted::Waits
        ));
        assert!(runs(&admit(&mut window, &key(2), 'c', at(1))));
        // Another caller, or one that only says that it is this one, another method: other calls.
        let mut other = key(1);
        other.caller = CallerId::Proven("b".into(), [1; 16]);
        assert!(runs(&admit(&mut window, &other, 'd', at(1))));
        let mut other = key(1);
        other.caller = CallerId::Proven("a".into(), [2; 16]);
        assert!(runs(&admit(&mut window, &other, 'd', at(1))));
        for caller in [
            CallerId::Shown([1; 16], [1; 16]),
            CallerId::Shown([1; 16], [2; 16]),
            CallerId::Unknown(1),
            CallerId::Unknown(2),
        ] {
            other.caller = caller;
            assert!(runs(&admit(&mut window, &other, 'd', at(1))), "{other:?}");
        }
        let mut other = key(1);
        other.method = "refund".into();
        assert!(runs(&admit(&mut window, &other, 'e', at(1))));
        assert_eq!(window.settle(&key(1), &reply(3), true, at(500)), ['a', 'b']);
        let again = admit(&mut window, &key(1), 'f', at(1099));
        assert!(matches!(again, Admitted::Answered(JobEnd::Reply(body)) if body.len() == 3));
        // It could not read that answer, and must not run again.
        let other = window.admit(&key(1), Codec::Json, 'f', at(1099));
        let Admitted::Answered(JobEnd::Failed { code, message, .. }) = other else {
            panic!("{other:?}")
        };
        assert_eq!(code, Code::BadArguments);
        assert!(message.contains("another codec"), "{message}");
        assert!(runs(&admit(&mut window, &key(1), 'g', at(1100))));
    }

    #[test]
    fn no_more_than_so_many_wait_for_one() {
        let mut window = Window::new(10, 10_000);
        assert!(runs(&admit(&mut window, &key(1), 0, at(0))));
        for waiter in 1..MAX_WAITING {
            let twin = admit(&mut window, &key(1), waiter, at(0));
            assert!(matches!(twin, Admitted::Waits));
        }
        for _ in 0..3 {
            let twin = admit(&mut window, &key(1), MAX_WAITING, at(0));
            let refused = matches!(
                twin,
                Admitted::Answered(JobEnd::Failed {
                    code: Code::Overloaded,
                    certainty: Certainty::MaybeExecuted,
                    ..
                })
            );
            assert!(refused, "{twin:?}");
        }
        let waited = window.settle(&key(1), &reply(1), true, at(1));
        assert!(waited.into_iter().eq(0..MAX_WAITING));
    }

    #[test]
    fn the_oldest_answers_go_when_there_are_too_many_or_too_much() {
        let mut window = Window::new(3, 10_000);
        for n in 0..5 {
            admit(&mut window, &key(n), (), at(0));
            window.settle(&key(n), &reply(1), true, at(1));
        }
        let known = |window: &mut Window<()>, n| !runs(&admit(window, &key(n), (), at(1)));
        assert!(!known(&mut window, 0) && known(&mut window, 3) && known(&mut window, 4));
        let mut window = Window::new(3, 2000);
        for n in 0..2 {
            admit(&mut window, &key(n), (), at(0));
            window.settle(&key(n), &reply(1000), true, at(1));
        }
        assert!(!known(&mut window, 0) && known(&mut window, 1));
        // One that fits nowhere is not kept, and takes the others with it.
        admit(&mut window, &key(7), (), at(0));
        window.settle(&key(7), &reply(3000), true, at(1));
        assert_eq!((window.bytes, window.ended.len()), (0, 0));
        assert!(window.shares.is_empty() && window.heaviest.is_empty());
    }

    #[test]
    fn who_holds_the_most_makes_room() {
        let of = |caller: &CallerId, n: u8| DedupeKey {
            caller: caller.clone(),
            ..key(n)
        };
        let proven = |principal: &str, start| CallerId::Proven(principal.into(), [start; 16]);
        let shown = |start| CallerId::Shown([start; 16], [start; 16]);
        // Many small answers, and few large ones, push out no answer of another.
        for (quiet, loud, bytes) in [
            (proven("a", 1), [proven("b", 1), proven("b", 2)], 1),
            (proven("a", 1), [proven("b", 1), proven("b", 2)], 1500),
            (shown(1), [shown(2), shown(2)], 1),
            (shown(1), [CallerId::Unknown(1), CallerId::Unknown(1)], 1500),
        ] {
            let mut window = Window::new(10, 10_000);
            for n in 0..2 {
                admit(&mut window, &of(&quiet, n), (), at(0));
                window.settle(&of(&quiet, n), &reply(900), true, at(1));
            }
            for n in 0..100 {
                let loud = &loud[usize::from(n % 2)];
                admit(&mut window, &of(loud, n), (), at(1));
                window.settle(&of(loud, n), &reply(bytes), true, at(1));
            }
            for n in 0..2 {
                let known = !runs(&admit(&mut window, &of(&quiet, n), (), at(2)));
                assert!(known, "{quiet:?} {n} {bytes}");
            }
            let last = of(&loud[1], 99);
            assert!(!runs(&admit(&mut window, &last, (), at(2))), "{last:?}");
            // All go when they are old.
            admit(&mut window, &of(&quiet, 200), (), at(700));
            assert_eq!((window.bytes, window.ended.len()), (0, 0));
            assert!(window.shares.is_empty() && window.heaviest.is_empty());
        }
    }
}
