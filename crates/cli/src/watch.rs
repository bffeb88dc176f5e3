//! `bowline watch`: what is called, again and again.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use bowline::backend::time::{self, Instant};
use bowline::concurrency::sleep;
use bowline::rpc::sys::{BrokerStats, HealthStatus, MethodStats};
use bowline::rpc::{Caller, TcpBroker};
use serde_json::{Value, json};

use crate::command_line::Watch;
use crate::failure::Failure;
use crate::table;

/// Asks for what is counted, prints it, and waits, for as long as it is wanted.
pub(crate) async fn run(broker: &TcpBroker, watch: &Watch) -> Result<(), Failure> {
    let mut before = BTreeMap::new();
    let mut since = time::now();
    let mut left = watch.count;
    loop {
        let health: HealthStatus = broker.call_named("sys.health", ()).fail_fast().await?;
        if watch.json {
            let stats: Value = broker.call_named("sys.stats", ()).fail_fast().await?;
            let told = json!({ "health": format!("{health:?}"), "stats": stats });
            writeln!(std::io::stdout(), "{told}")?;
        } else {
            let stats: BrokerStats = broker.call_named("sys.stats", ()).fail_fast().await?;
            print(health, &stats, &mut before, &mut since)?;
        }
        left = left.map(|left| left - 1);
        if left == Some(0) {
            return Ok(());
        }
        sleep(watch.interval).await;
    }
}

fn print(
    health: HealthStatus,
    stats: &BrokerStats,
    before: &mut BTreeMap<String, u64>,
    since: &mut Instant,
) -> Result<(), Failure> {
    let now = time::now();
    let passed = now.saturating_duration_since(*since).as_secs_f64();
    *since = now;
    let executor = &stats.executor;
    writeln!(
        std::io::stdout(),
        "{health:?}, {} of {} workers, {} of {} in the queue, {} connections",
        executor.running,
        executor.max_workers,
        executor.waiting,
        executor.queue,
        stats.connections.len(),
    )?;
    let head = [
        "METHOD",
        "CALLS",
        "PER SECOND",
        "FAILED",
        "RUNNING",
        "QUEUED",
        "HALF BELOW",
        "99% BELOW",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for method in &stats.methods {
        let former = before.insert(method.method.clone(), method.calls);
        let new = former.map(|former| method.calls.saturating_sub(former));
        rows.push(row(method, new.map(|new| new as f64 / passed)));
    }
    Ok(table::print(&rows)?)
}

fn row(method: &MethodStats, per_second: Option<f64>) -> Vec<String> {
    let failed: u64 = method.failures.iter().map(|failures| failures.calls).sum();
    let below = |share| match method.latencies.quantile(share) {
        Some(span) => span_text(span),
        None => "-".into(),
    };
    vec![
        method.method.clone(),
        method.calls.to_string(),
        per_second.map_or("-".into(), |rate| format!("{rate:.0}")),
        failed.to_string(),
        method.running.to_string(),
        method.queued.to_string(),
        below(0.5),
        below(0.99),
    ]
}

fn span_text(span: Duration) -> String {
    match span.as_micros() {
        micros @ ..1_000 => format!("{micros}us"),
        micros @ ..1_000_000 => format!("{}ms", micros / 1_000),
        micros => format!("{}s", micros / 1_000_000),
    }
}
