//! Calls through a router: callers, one of which reads slowly, a router that calls on, two workers; items
//! in both directions, notifications, and calls that are made again; all of them share a secret, and there
//! are strangers. Faults of all kinds, callers that give up, deadlines over the hops. What callers are told
//! of how far a call got is checked against what handlers saw.

mod again;
mod items;
mod notices;
mod slow;
mod strangers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bowline::concurrency::{Deadline, current_effective_deadline, now, sleep, timeout};
use bowline::rpc::executor::AsyncExecutor;
use bowline::rpc::{
    CallError, Caller, Certainty, Code, Context, Error, Registry, Retry, Secret, TcpBroker,
    TcpBrokerBuilder,
};
use bowline::sim::checker::OneOutcome;
use bowline::sim::{Builder, Faults, Link, Sim, always, eventually, sometimes};
use serde::{Deserialize, Serialize};

use super::{HEAL, RECONNECTED, SETTLE, patience};

const AT: &str = "0.0.0.0:15383";
const PROJECT: &str = "scenario";
/// By which all but strangers are known.
const KEY_ID: &str = "insider";
const WORKERS: [&str; 2] = ["worker1", "worker2"];
/// Tasks of each caller.
const TASKS: u64 = 8;
/// What is asked for by the caller that reads slowly, in bytes.
const BULK: usize = 6000;

/// What handlers of one method saw, by the number of the call.
#[derive(Default)]
struct Seen {
    began: BTreeMap<u64, u64>,
    /// Calls whose callers were told that they did not run.
    did_not_run: BTreeSet<u64>,
}

/// What happened at the router, and at the workers.
#[derive(Default)]
struct Log {
    relay: Seen,
    work: Seen,
    bulk: Seen,
    notices: Seen,
    /// Calls with items: at the router, at the workers, and to the router.
    relay_items: Seen,
    items: Seen,
    gather: Seen,
    streams_done: u64,
    /// Calls that are made again, and those with a key.
    again: Seen,
    once: Seen,
    /// How often keys ran that several use, how each stands at each start of the router, and those of
    /// which all callers were told that they did not run.
    runs: u64,
    shared: BTreeMap<(u64, u64), again::Last>,
    did_not_run: BTreeSet<u64>,
    starts: u64,
    rounds_done: u64,
    strangers_told: u64,
    /// How long each call had left at the router.
    left: BTreeMap<u64, Duration>,
    done: u64,
}

impl Seen {
    fn begin(&mut self, call: u64) {
        self.begin_at_most(call, 1);
    }

    fn begin_at_most(&mut self, call: u64, times: u64) {
        let began = self.began.entry(call).or_default();
        *began += 1;
        always!("no-more-runs", *began <= times, "call {call}: {began}");
        let told = self.did_not_run.contains(&call);
        always!("did-not-run-means-never", !told, "call {call}");
    }

    /// Whether what the sender of a notification was told is true, which is never that it began.
    fn check_told<E>(&mut self, call: u64, outcome: &Result<(), CallError<E>>) {
        if outcome
            .as_ref()
            .is_err_and(|error| error.certainty().did_not_run())
        {
            let began = self.began.contains_key(&call);
            always!("did-not-run-means-never", !began, "call {call}");
            self.did_not_run.insert(call);
        }
    }

    /// Whether what the caller was told is true.
    fn check<T, E>(&mut self, call: u64, outcome: &Result<T, CallError<E>>) {
        let began = self.began.contains_key(&call);
        match outcome.as_ref().map_err(CallError::certainty) {
            Ok(_) | Err(Certainty::Executed) => {
                always!("executed-means-began", began, "call {call}");
            }
            Err(Certainty::NeverSent | Certainty::Refused) => {
                always!("did-not-run-means-never", !began, "call {call}");
                self.did_not_run.insert(call);
            }
            Err(Certainty::MaybeExecuted) => {
                sometimes!("lost after it ran", began);
                sometimes!("lost before it ran", !began);
            }
        }
    }
}

fn secret() -> Secret {
    Secret::new(*b"what they all share").expect("it is long enough")
}

/// A broker that the others know.
fn insider(builder: TcpBrokerBuilder) -> TcpBrokerBuilder {
    builder
        .project(PROJECT)
        .key_id(KEY_ID)
        .secret(secret())
        .allow_insecure_network()
}

/// Whether it is one of them that calls.
fn check_caller(context: &Context) {
    let known = context.caller().map(|peer| peer.principal());
    always!("known-by-its-key", known == Some(KEY_ID), "{known:?}");
}

/// Why the router has no answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NoAnswer;

pub(super) fn world() -> Builder {
    let link = Link::lan().latency(Duration::from_millis(1)..Duration::from_millis(5));
    let world = Sim::builder()
        .default_link(link)
        .faults(Faults::swarm())
        .heal_at(HEAL)
        .settle(SETTLE)
        .host("router", router)
        .client("a", || caller(0))
        .client("b", || caller(1))
        .client("slow", slow::reads_slowly)
        .client("reader", items::reads)
        .client("sender", items::sends)
        .client("notifier", notices::notifies)
        .client("again", again::calls)
        .client("stranger", strangers::try_to_call)
        .checker(|| OneOutcome::of("call", "outcome"));
    WORKERS
        .iter()
        .fold(world, |world, name| world.host(name, worker))
}

fn remaining() -> Duration {
    match current_effective_deadline() {
        Deadline::At(deadline) => deadline.saturating_duration_since(now()),
        Deadline::Never => Duration::MAX,
        Deadline::Cancelled => Duration::ZERO,
    }
}

async fn worker() -> Result<(), Error> {
    let registry = Registry::new(PROJECT);
    registry.register_fn("work", |context: Context, (call,): (u64,)| async move {
        check_caller(&context);
        let left = remaining();
        Sim::ghost(|log: &mut Log| {
            log.work.begin(call);
            let before = log.left.get(&call).copied().unwrap_or_default();
            always!("budgets-decrease", left < before, "{left:?} of {before:?}");
        });
        sleep(Duration::from_millis(call % 50)).await;
        call + 1
    })?;
    items::serve_items(&registry)?;
    insider(TcpBroker::builder(AsyncExecutor::new(registry, 2)))
        .listen(AT)
        .run(async |_| -> Result<(), Error> { std::future::pending().await })
        .await
}

async fn router() -> Result<(), Error> {
    let registry = Registry::new(PROJECT);
    let broker: Arc<OnceLock<TcpBroker>> = Arc::default();
    let workers = broker.clone();
    registry.register_fn("relay", move |context: Context, (call,): (u64,)| {
        let workers = workers.clone();
        async move {
            check_caller(&context);
            let left = remaining();
            Sim::ghost(|log: &mut Log| {
                log.relay.begin(call);
                log.left.insert(call, left);
            });
            let workers = workers.get().expect("it was set before it listened");
            // What the router may take is cut by what its caller still waits.
            let outcome = workers
                .call_named::<u64>("work", (call,))
                .no_deadline()
                .retry(Retry::never())
                .await;
            Sim::ghost(|log: &mut Log| log.work.check(call, &outcome));
            outcome.map_err(|_| NoAnswer)
        }
    })?;
    registry.register_fn("bulk", |(call,): (u64,)| async move {
        Sim::ghost(|log: &mut Log| log.bulk.begin(call));
        format!("{call} {}", "x".repeat(BULK))
    })?;
    items::serve_router(&registry)?;
    notices::serve(&registry)?;
    again::serve(&registry)?;
    insider(TcpBroker::builder(AsyncExecutor::new(registry, 4)))
        .limits(items::limits())
        .expect("they fit")
        .run(async |started| -> Result<(), Error> {
            let _ = broker.set(started.clone());
            started.listen(AT).await?;
            for name in WORKERS {
                // Not in time, it goes on trying.
                let _ = started.connect(format!("{name}:15383")).await;
            }
            std::future::pending().await
        })
        .await
}

/// Makes calls until each task has its answer.
async fn caller(number: u64) -> Result<(), Error> {
    eventually!("everybody is done", HEAL + SETTLE, || {
        Sim::ghost(|log: &mut Log| log.done == 2 * TASKS)
    });
    let (broker, unheard) = insider(TcpBroker::caller())
        .run(async |broker| -> Result<_, Error> {
            let _ = broker.connect("router:15383").await;
            let mut unheard = 0;
            for task in 0..TASKS {
                unheard += until_answered(&broker, 1000 * (TASKS * number + task)).await;
                Sim::ghost(|log: &mut Log| log.done += 1);
                sleep(Duration::from_millis(700)).await;
            }
            Ok((broker, unheard))
        })
        .await?;
    // An answer that nobody waits for is one to a call that was given up.
    let late = broker.statistics().protocol.late_frames;
    always!("one-answer-each", late <= unheard, "{late} of {unheard}");
    Ok(())
}

/// Calls until there is an answer, under the numbers from `first` on, each time with more patience; how
/// many calls it did not hear of.
async fn until_answered(broker: &TcpBroker, first: u64) -> u64 {
    let (mut lost, mut unheard) = (false, 0);
    for attempt in 0_u32.. {
        let call = first + u64::from(attempt);
        Sim::note("call", call);
        let relay = broker
            .call_named::<Result<u64, NoAnswer>>("relay", (call,))
            .timeout(patience(attempt))
            .retry(Retry::never());
        // Some give up before their deadline, and learn nothing of the call.
        let outcome = match attempt {
            0 if call.is_multiple_of(3000) => {
                timeout(Duration::from_millis(20), relay.into_future()).await
            }
            _ => Ok(relay.await),
        };
        Sim::note("outcome", call);
        let Ok(outcome) = outcome else {
            sometimes!("gave up", true);
            unheard += 1;
            continue;
        };
        Sim::ghost(|log: &mut Log| log.relay.check(call, &outcome));
        let late = |error: &CallError| error.code() == Code::DeadlineExceeded;
        unheard += u64::from(outcome.as_ref().is_err_and(late));
        lost |= outcome
            .as_ref()
            .is_err_and(|error| error.code() == Code::ConnectionLost);
        if let Ok(Ok(answer)) = outcome {
            always!("answer-is-its-own", answer == call + 1);
            sometimes!(RECONNECTED, lost);
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    unheard
}
