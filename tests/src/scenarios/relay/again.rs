//! Calls that are made again: of a method that may run twice, with a key that nobody else uses, and with
//! one that several use at once. How often each runs, and that its callers are told no less than what any
//! attempt may have done.

use std::time::Duration;

use bowline::concurrency::sleep;
use bowline::rpc::{CallError, Caller, Error, Limits, Registry, RegistryError, TcpBroker};
use bowline::sim::{Sim, always, eventually, sometimes};
use futures_util::future::join;
use serde::{Deserialize, Serialize};

use super::{HEAL, Log, SETTLE, insider, patience};

/// How often there is a call of each kind.
const ROUNDS: u64 = 6;
/// Attempts of one call, where nothing else is said.
const ATTEMPTS: u64 = 3;

/// How long a call of one caller waits at least: longer than it takes to see that a peer is silent, so that
/// another attempt is in time.
const PATIENT: Duration = Duration::from_secs(30);
/// How long a handler takes: so long that its connection is lost meanwhile now and then.
const WORK: Duration = Duration::from_millis(600);
const SHARED_WORK: Duration = Duration::from_millis(150);
/// A peer that is silent for three of these is given up.
const HEARTBEAT: Duration = Duration::from_millis(700);

/// The numbers of the calls, apart from those of others: of each kind, and of those of one key.
const AGAIN: u64 = 5_000_000;
const ONCE: u64 = 6_000_000;
const SHARED: u64 = 7_000_000;
const OTHERS: u64 = 100_000;

/// Which start of the router ran a call, and as which of all runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ran {
    start: u64,
    run: u64,
}

#[bowline::rpc(name = "again", idempotent)]
async fn again(call: u64) -> u64 {
    Sim::ghost(|log: &mut Log| log.again.begin_at_most(call, ATTEMPTS));
    sleep(WORK).await;
    call + 1
}

/// `again`, `once` and `shared`, which the router has.
pub(super) fn serve(registry: &Registry) -> Result<(), RegistryError> {
    let start = Sim::ghost(|log: &mut Log| {
        log.starts += 1;
        log.starts
    });
    registry.register(again)?;
    registry.register_fn("once", |(call,): (u64,)| async move {
        Sim::ghost(|log: &mut Log| log.once.begin(call));
        sleep(WORK).await;
        call + 1
    })?;
    let shared = move |(key,): (u64,)| async move {
        let running = Running::begin(key, start);
        sleep(SHARED_WORK).await;
        running.finish()
    };
    registry.register_fn("shared", shared).map(drop)
}

/// How the last run of a key stands, in one start of the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Runs,
    /// Its handler was dropped before its end: there is no answer, and another may run.
    CutOff,
    /// Its answer, of the run of this number.
    Ended(u64),
}

/// A run of a key that several use, until it ends or is dropped.
struct Running {
    key: u64,
    ran: Ran,
}

impl Running {
    fn begin(key: u64, start: u64) -> Self {
        let ran = Sim::ghost(|log: &mut Log| log.begin_shared(key, start));
        Self { key, ran }
    }

    fn finish(self) -> Ran {
        self.is_now(Last::Ended(self.ran.run));
        self.ran
    }

    fn is_now(&self, last: Last) {
        Sim::ghost(|log: &mut Log| {
            let now = log.shared.get_mut(&(self.key, self.ran.start));
            let now = now.expect("it began");
            if *now == Last::Runs {
                *now = last;
            }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.is_now(Last::CutOff);
    }
}

impl Log {
    fn begin_shared(&mut self, key: u64, start: u64) -> Ran {
        self.runs += 1;
        let former = self.shared.insert((key, start), Last::Runs);
        let cut_off = former == Some(Last::CutOff);
        always!(
            "one-run-for-a-key",
            former.is_none() || cut_off,
            "key {key}: {former:?}"
        );
        sometimes!("ran after one that was cut off", cut_off);
        let told = self.did_not_run.contains(&key);
        always!("did-not-run-means-never", !told, "key {key}");
        let run = self.runs;
        Ran { start, run }
    }

    /// Whether what those were told is true who used a key: their calls are one.
    fn check_shared(&mut self, key: u64, outcomes: &[Result<Ran, CallError>]) {
        let began = self.shared.keys().any(|(known, _)| *known == key);
        for ran in outcomes.iter().flatten() {
            let last = self.shared.get(&(key, ran.start));
            let its_own = last == Some(&Last::Ended(ran.run));
            always!("the-answer-of-its-key", its_own, "key {key}: {last:?}");
        }
        let denies = |outcome: &Result<Ran, CallError>| {
            let error = outcome.as_ref().err();
            error.is_some_and(|error| error.certainty().did_not_run())
        };
        if outcomes.iter().all(denies) {
            always!("did-not-run-means-never", !began, "key {key}");
            self.did_not_run.insert(key);
        }
    }
}

/// Makes calls of each kind until each has its answer.
pub(super) async fn calls() -> Result<(), Error> {
    eventually!("everybody is answered", HEAL + SETTLE, || {
        Sim::ghost(|log: &mut Log| log.rounds_done == ROUNDS)
    });
    let mut limits = Limits::default();
    limits.heartbeat = HEARTBEAT;
    insider(TcpBroker::caller())
        .limits(limits)
        .expect("they fit")
        .run(async |broker| -> Result<(), Error> {
            let _ = broker.connect("router:15383").await;
            for round in 0..ROUNDS {
                for kind in [Kind::Again, Kind::Once, Kind::Shared] {
                    until_answered(&broker, kind, round * 1000).await;
                }
                Sim::ghost(|log: &mut Log| log.rounds_done += 1);
                sleep(Duration::from_millis(700)).await;
            }
            Ok(())
        })
        .await
}

#[derive(Clone, Copy)]
enum Kind {
    Again,
    Once,
    Shared,
}

/// Calls under the numbers from `first` on of their kind, each time with more patience, until there is an
/// answer.
async fn until_answered(broker: &TcpBroker, kind: Kind, first: u64) {
    for failures in 0_u32.. {
        let (call, patience) = (first + u64::from(failures), patience(failures));
        let is_answered = match kind {
            Kind::Again => may_run_again(broker, AGAIN + call, patience).await,
            Kind::Once => runs_once(broker, ONCE + call, patience).await,
            Kind::Shared => share_a_key(broker, SHARED + call, patience).await,
        };
        if is_answered {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

async fn may_run_again(broker: &TcpBroker, call: u64, patience: Duration) -> bool {
    Sim::note("call", call);
    let outcome = broker.call(again(call)).timeout(PATIENT + patience).await;
    Sim::note("outcome", call);
    Sim::ghost(|log: &mut Log| {
        log.again.check(call, &outcome);
        sometimes!("ran again", log.again.began.get(&call) > Some(&1));
    });
    outcome.is_ok_and(|answer| {
        always!("answer-is-its-own", answer == call + 1);
        true
    })
}

async fn runs_once(broker: &TcpBroker, call: u64, patience: Duration) -> bool {
    let lost = broker.statistics().lost;
    Sim::note("call", call);
    let once = broker.call_named::<u64>("once", (call,));
    let once = once.idempotency_key(call.to_be_bytes());
    let outcome = once.timeout(PATIENT + patience).await;
    Sim::note("outcome", call);
    Sim::ghost(|log: &mut Log| log.once.check(call, &outcome));
    outcome.is_ok_and(|answer| {
        always!("answer-is-its-own", answer == call + 1);
        let over = broker.statistics().lost > lost;
        sometimes!("got its answer over the next connection", over);
        true
    })
}

/// Two calls at once, and one more if they do not have the same answer. In some rounds the first of them
/// has less time than its handler takes.
async fn share_a_key(broker: &TcpBroker, key: u64, patience: Duration) -> bool {
    let short = key.is_multiple_of(2000);
    let first = if short { SHARED_WORK / 2 } else { patience };
    let shared = |others, patience| one_of_a_key(broker, key, others, patience);
    let (one, other) = join(shared(0, first), shared(1, patience)).await;
    let same = matches!((&one, &other), (Ok(one), Ok(other)) if one == other);
    sometimes!("two had one answer", same);
    let mut outcomes = vec![one, other];
    if !same {
        outcomes.push(shared(2, patience).await);
    }
    Sim::ghost(|log: &mut Log| log.check_shared(key, &outcomes));
    outcomes.iter().any(Result::is_ok)
}

async fn one_of_a_key(
    broker: &TcpBroker,
    key: u64,
    others: u64,
    patience: Duration,
) -> Result<Ran, CallError> {
    let number = key + others * OTHERS;
    Sim::note("call", number);
    let call = broker.call_named::<Ran>("shared", (key,));
    let call = call.idempotency_key(key.to_be_bytes()).timeout(patience);
    let outcome = call.await;
    Sim::note("outcome", number);
    outcome
}
