//! Calls with an idempotency key: each runs once, and those after it get its answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bowline_backend::time::Instant;

use crate::executor::{CallRef, JobEnd, ReplySink};
use crate::proto::PeerHello;
use crate::{Certainty, Code, Codec};

/// How long an answer is kept, from the begin of its call.
const KEPT_FOR: Duration = Duration::from_secs(600);
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// What an entry costs besides its key and its answer.
const PER_ENTRY: usize = 256;

/// What makes two calls one: who calls, which method, and the key it gave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DedupeKey {
    pub(crate) caller: CallerId,
    pub(crate) method: Arc<str>,
    pub(crate) key: Arc<[u8]>,
}

/// By what a caller is recognised: never by what it says of itself alone, as another can say that too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallerId {
    /// By whom it has proved to be, and which start of its broker it is.
    Proven(Arc<str>, [u8; 16]),
    /// It has proved nothing: by which start of its broker it is, and the pass that it shows this broker alone.
    Shown([u8; 16], [u8; 16]),
    /// Not at all: another connection, of this number, is another caller.
    Unknown(u64),
}

impl CallerId {
    /// The peer of `connection`, by what it said there.
    pub(crate) fn of(hello: &PeerHello, connection: u64) -> Self {
        match (hello.is_known, hello.pass) {
            (true, _) => Self::Proven(hello.proven.clone(), hello.instance),
            (false, Some(pass)) => Self::Shown(hello.instance, pass),
            (false, None) => Self::Unknown(connection),
        }
    }
}

/// Which calls with a key run, and what those that ran came to. `W` waits for an answer.
///
/// Invariants:
/// - K1 an entry runs from [`admit`](Self::admit) to [`settle`](Self::settle); meanwhile everyone who
///   comes with its key waits in it, the first one included.
/// - K2 `ended` has the keys of the entries that have an answer, in the order they got it; `bytes` is
///   what those entries hold. Both are within their bounds after each operation.
/// - K3 a call that certainly did not run has no entry.
#[derive(Debug)]
struct Window<W> {
    entries: BTreeMap<DedupeKey, Entry<W>>,
    ended: VecDeque<DedupeKey>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

#[derive(Debug)]
enum Entry<W> {
    Runs {
        began: Instant,
        codec: Codec,
        waiting: Vec<W>,
    },
    Ended {
        began: Instant,
        codec: Codec,
        end: JobEnd,
    },
}

/// What to do with a call.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Run it; its end is to be settled.
    Run,
    /// Its twin runs; it gets the same answer.
    Waits,
    /// This is the answer: of its twin, which ran, or that its twin is in another codec, so that what that
    /// is answered says nothing to this one.
    Answered(JobEnd),
}

impl<W> Window<W> {
    fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            ended: VecDeque::new(),
            bytes: 0,
            max_entries,
            max_bytes,
        }
    }

    fn admit(&mut self, key: &DedupeKey, codec: Codec, waiter: W, now: Instant) -> Admitted {
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
            Some(Entry::Runs { waiting, .. }) => {
                waiting.push(waiter);
                Admitted::Waits
            }
            Some(Entry::Ended { end, .. }) => Admitted::Answered(end.clone()),
            None => {
                let runs = Entry::Runs {
                    began: now,
                    codec,
                    waiting: vec![waiter],
                };
                self.entries.insert(key.clone(), runs);
                Admitted::Run
            }
        }
    }

    /// The call with `key` came to `end`: who waits for that.
    fn settle(&mut self, key: &DedupeKey, end: &JobEnd) -> Vec<W> {
        let Some(Entry::Runs {
            began,
            codec,
            waiting,
        }) = self.entries.remove(key)
        else {
            return Vec::new();
        };
        if !end.did_not_run() {
            let ended = Entry::Ended {
                began,
                codec,
                end: end.clone(),
            };
            self.bytes += held(key, end);
            self.entries.insert(key.clone(), ended);
            self.ended.push_back(key.clone());
            while self.ended.len() > self.max_entries || self.bytes > self.max_bytes {
                self.forget_oldest();
            }
        }
        waiting
    }

    fn expire(&mut self, now: Instant) {
        while let Some(oldest) = self.ended.front()
            && let Some(Entry::Ended { began, .. }) = self.entries.get(oldest)
            && now.saturating_duration_since(*began) >= KEPT_FOR
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(key) = self.ended.pop_front()
            && let Some(Entry::Ended { end, .. }) = self.entries.remove(&key)
        {
            self.bytes -= held(&key, &end);
        }
    }
}

fn held(key: &DedupeKey, end: &JobEnd) -> usize {
    PER_ENTRY + key.key.len() + end.bytes()
}

/// The calls with a key of one broker.
pub(crate) struct Dedupe {
    window: Mutex<Window<Waiter>>,
}

/// A call that waits for the answer, and where it gets it.
type Waiter = (Arc<dyn ReplySink>, CallRef);

impl Default for Dedupe {
    fn default() -> Self {
        Self {
            window: Mutex::new(Window::new(MAX_ENTRIES, MAX_BYTES)),
        }
    }
}

impl Dedupe {
    /// Whether the call is to be run, and where its end goes then.
    pub(crate) fn admit(
        self: &Arc<Self>,
        key: DedupeKey,
        codec: Codec,
        waiter: Waiter,
        now: Instant,
    ) -> (Admitted, Arc<dyn ReplySink>) {
        let admitted = self.window().admit(&key, codec, waiter, now);
        let dedupe = self.clone();
        (admitted, Arc::new(Settles { dedupe, key }))
    }

    fn window(&self) -> MutexGuard<'_, Window<Waiter>> {
        // Nothing that can panic runs under the lock, so a poisoned window is whole.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells the end of one call to all who wait for it.
struct Settles {
    dedupe: Arc<Dedupe>,
    key: DedupeKey,
}

impl ReplySink for Settles {
    fn settle(&self, _: CallRef, end: JobEnd) {
        let waiting = self.dedupe.window().settle(&self.key, &end);
        for (sink, call) in waiting {
            sink.settle(call, end.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(window.settle(&key(1), &reply(3)), ['a', 'b']);
        let again = admit(&mut window, &key(1), 'f', at(2));
        assert!(matches!(again, Admitted::Answered(JobEnd::Reply(body)) if body.len() == 3));
        // It could not read that answer, and must not run again.
        let other = window.admit(&key(1), Codec::Json, 'f', at(2));
        let Admitted::Answered(JobEnd::Failed { code, message, .. }) = other else {
            panic!("{other:?}")
        };
        assert_eq!(code, Code::BadArguments);
        assert!(message.contains("another codec"), "{message}");
        assert!(runs(&admit(&mut window, &key(1), 'g', at(600))));
    }

    #[test]
    fn what_did_not_run_is_not_kept() {
        for (certainty, kept) in [
            (Certainty::Refused, false),
            (Certainty::MaybeExecuted, true),
            (Certainty::Executed, true),
        ] {
            let mut window = Window::new(10, 10_000);
            assert!(runs(&admit(&mut window, &key(1), (), at(0))));
            let end = JobEnd::Failed {
                code: Code::Overloaded,
                certainty,
                message: String::new(),
            };
            window.settle(&key(1), &end);
            assert_eq!(
                runs(&admit(&mut window, &key(1), (), at(1))),
                !kept,
                "{certainty:?}"
            );
        }
    }

    #[test]
    fn the_oldest_answers_go_when_there_are_too_many_or_too_much() {
        let mut window = Window::new(3, 10_000);
        for n in 0..5 {
            admit(&mut window, &key(n), (), at(0));
            window.settle(&key(n), &reply(1));
        }
        let known = |window: &mut Window<()>, n| !runs(&admit(window, &key(n), (), at(1)));
        assert!(!known(&mut window, 0) && known(&mut window, 3) && known(&mut window, 4));
        let mut window = Window::new(3, 2000);
        for n in 0..2 {
            admit(&mut window, &key(n), (), at(0));
            window.settle(&key(n), &reply(1000));
        }
        assert!(!known(&mut window, 0) && known(&mut window, 1));
        // One that fits nowhere is not kept, and takes the others with it.
        admit(&mut window, &key(7), (), at(0));
        window.settle(&key(7), &reply(3000));
        assert_eq!((window.bytes, window.ended.len()), (0, 0));
    }
}
