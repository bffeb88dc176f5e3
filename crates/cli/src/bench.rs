//! `bowline bench`: how fast a method is.

use std::io::Write;
use std::time::Duration;

use bowline::backend::time;
use bowline::concurrency::{AnyError, TaskGroup, task_group};
use bowline::rpc::{CallError, TcpBroker};
use serde_json::{Value, json};

use crate::call;
use crate::command_line::Bench;
use crate::failure::Failure;
use crate::table;

/// What callers saw.
#[derive(Default)]
struct Seen {
    /// How long the calls took that succeeded, in nanoseconds.
    took: Vec<u64>,
    failed: usize,
    first: Option<CallError>,
}

/// Calls as often as it is said, and prints how long that took.
pub(crate) async fn run(broker: &TcpBroker, bench: &Bench) -> Result<(), Failure> {
    let callers = bench.in_flight.min(bench.calls);
    let began = time::now();
    let mut seen = Seen::default();
    let all = task_group(|group: TaskGroup<AnyError>| async move {
        let mut callers: Vec<_> = (0..callers)
            .map(|number| {
                let share = bench.calls / callers + usize::from(number < bench.calls % callers);
                let (broker, call) = (broker.clone(), bench.call.clone());
                group.spawn_ok(async move {
                    let mut seen = Seen::default();
                    for _ in 0..share {
                        let began = time::now();
                        let outcome = call::submit(&broker, &call).await;
                        let took = time::now().saturating_duration_since(began);
                        match outcome {
                            Ok(_) => seen.took.push(nanos(took)),
                            Err(error) => {
                                seen.failed += 1;
                                seen.first.get_or_insert(error);
                            }
                        }
                    }
                    seen
                })
            })
            .collect();
        let mut all = Vec::new();
        for caller in callers.drain(..) {
            all.extend(caller.join().await);
        }
        Ok(all)
    });
    for each in all.await.unwrap_or_default() {
        seen.took.extend(each.took);
        seen.failed += each.failed;
        seen.first = seen.first.or(each.first);
    }
    let took = time::now().saturating_duration_since(began);
    if seen.took.is_empty()
        && let Some(error) = seen.first
    {
        return Err(error.into());
    }
    print(bench, &mut seen, took)
}

fn print(bench: &Bench, seen: &mut Seen, took: Duration) -> Result<(), Failure> {
    seen.took.sort_unstable();
    let quantile = |share: f64| {
        let last = seen.took.len().saturating_sub(1);
        let place = (last as f64 * share).round() as usize;
        seen.took.get(place).copied().unwrap_or(0) / 1_000
    };
    let per_second = seen.took.len() as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE);
    let facts = [
        ("calls", json!(bench.calls)),
        ("failed", json!(seen.failed)),
        ("in_flight", json!(bench.in_flight.min(bench.calls))),
        ("per_second", json!(per_second.round() as u64)),
        ("p50_us", json!(quantile(0.5))),
        ("p90_us", json!(quantile(0.9))),
        ("p99_us", json!(quantile(0.99))),
        ("max_us", json!(quantile(1.0))),
    ];
    if bench.json {
        let facts = facts.map(|(name, fact)| (name.to_owned(), fact));
        writeln!(std::io::stdout(), "{}", Value::from_iter(facts))?;
        return Ok(());
    }
    let rows = facts.map(|(name, fact)| vec![name.to_owned(), fact.to_string()]);
    Ok(table::print(&rows)?)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}
