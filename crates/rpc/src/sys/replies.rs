//! What the reserved methods answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The methods of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reflection {
    /// The project; empty is none.
    pub project: String,
    /// What it offers now, in the order it was registered; paused methods are left out.
    pub methods: Vec<MethodReflection>,
}

/// One method.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodReflection {
    /// Its full name.
    pub name: String,
    /// What a call of it is: `unary`, arguments and one reply; `executor_streams`, `caller_streams` or
    /// `both_stream`, with items besides.
    pub kind: String,
    /// Running it twice is as good as once.
    pub idempotent: bool,
    /// It runs to its end when its caller goes away.
    pub no_cancel: bool,
    /// It holds a thread.
    pub blocking: bool,
    /// The longest a call of it may last, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// How many handlers of it run at once at most.
    pub concurrency: Option<u32>,
    /// The hash of its argument and reply types; 0 is unknown.
    pub schema: u64,
    /// Typed calls with another hash are refused.
    pub strict_schema: bool,
    /// Bytes of its longest encoded arguments, if it has a limit of its own.
    pub max_args: Option<u64>,
    /// Bytes of its longest encoded reply, if it has a limit of its own.
    pub max_reply: Option<u64>,
}

/// Whether a broker takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthStatus {
    /// It does.
    Serving,
    /// It is about to end and takes no new ones.
    Draining,
    /// Its executor has no room for one more call: one that came now would be refused.
    Overloaded,
}

/// What a broker counted since it started, and what is under way now.
///
/// Numbers that calls change while they are read may be of different moments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Its executor, with the calls of every broker that uses it.
    pub executor: ExecutorStats,
    /// Each method it offers or has paused, and the last 1024 of those that it offered before, by name.
    pub methods: Vec<MethodStats>,
    /// Each connection that is past its handshake; none of a broker within one process.
    pub connections: Vec<ConnectionStats>,
}

/// How much an executor has to do, in handlers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExecutorStats {
    /// How many run at once at most.
    pub max_workers: u64,
    /// How many calls of peers wait at most.
    pub queue: u64,
    /// How many run.
    pub running: u64,
    /// How many calls wait.
    pub waiting: u64,
    /// Of those that run, how many go on though they were cancelled and their callers answered.
    #[serde(default)]
    pub abandoned: u64,
}

/// What is counted of one method.
///
/// Calls are counted that the executor was given, or that were refused though the method is known. One
/// that got the answer of its twin, by its idempotency key, is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MethodStats {
    /// Its full name.
    pub method: String,
    /// Calls that came, those under way included.
    pub calls: u64,
    /// Of those that ended, the ones without a reply, by code.
    pub failures: Vec<Failures>,
    /// Calls whose handler runs.
    pub running: u64,
    /// Calls that wait for their handler to begin.
    pub queued: u64,
    /// How long those that ended took, from their arrival to their answer.
    pub latencies: Latencies,
}

/// Calls that ended with one code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failures {
    /// The name of the [`Code`](crate::Code), `DeadlineExceeded` for instance.
    pub code: String,
    /// How many.
    pub calls: u64,
}

/// How long calls took, in powers of two.
///
/// # Examples
/// ```
/// use bowline_rpc::sys::Latencies;
/// use std::time::Duration;
///
/// // One call took less than a microsecond, and three took 4 to 8.
/// let latencies = Latencies { buckets: vec![1, 0, 0, 3] };
/// assert_eq!(latencies.calls(), 4);
/// assert_eq!(latencies.quantile(0.25), Some(Duration::from_micros(1)));
/// assert_eq!(latencies.quantile(0.5), Some(Duration::from_micros(8)));
/// assert_eq!(Latencies::default().quantile(0.5), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies {
    /// How many calls took less than 1, 2, 4, 8 and so on microseconds, each counted in the first place
    /// that holds it; the 32nd has all that took 2^30 microseconds and more. Empty places at the end are
    /// left out.
    pub buckets: Vec<u64>,
}

impl Latencies {
    pub(crate) fn new(counted: &[u64]) -> Self {
        let used = counted.iter().rposition(|calls| *calls > 0);
        let used = used.map_or(0, |last| last + 1);
        Self {
            buckets: counted[..used].to_vec(),
        }
    }

    /// How many calls were counted.
    pub fn calls(&self) -> u64 {
        // They may be a peer's, who can say anything.
        let buckets = self.buckets.iter();
        buckets.fold(0, |calls, bucket| calls.saturating_add(*bucket))
    }

    /// What this share of the calls, 0 to 1, took less than, to the next power of two; `None` if there
    /// was no call.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = (share * self.calls() as f64).ceil().max(1.0) as u64;
        let mut seen = 0_u64;
        let place = self.buckets.iter().position(|calls| {
            seen = seen.saturating_add(*calls);
            seen >= wanted
        })?;
        Some(Duration::from_micros(1 << place.min(63)))
    }
}

/// What is known of one connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// Where the peer is; empty if that has no address.
    pub peer: String,
    /// Whom the peer has proved to be.
    pub principal: String,
    /// Calls to the peer that it has not ended, and those that wait to be sent.
    pub calls_sent: u64,
    /// Calls of the peer that were not answered.
    pub calls_received: u64,
    /// How many more calls the peer takes at once now.
    pub call_credit: u64,
    /// How many more notifications the peer takes now.
    pub notify_credit: u64,
    /// Bytes that the peer may send now of messages beyond the windows of their calls.
    pub reassembly_credit: u64,
    /// What the last heartbeat took, in microseconds. There is none before the connection was idle for
    /// that long.
    pub round_trip_us: Option<u64>,
    /// Frames of the peer for calls that were over.
    pub late_frames: u64,
    /// Frames of a type not known here.
    pub unknown_frames: u64,
    /// Calls the peer opened after it was told not to.
    pub refused_calls: u64,
}

/// A call whose handler runs, and has waited for something since it began.
///
/// It is told of from the first time it waits until it has ended: also while it computes in between, while the
/// function of a blocking handler has its thread, and after the deadline if it goes on, as
/// [`cancelled`](Self::cancelled). A call in a child process is told of while it waits for its child too. Not
/// told of are
/// - a handler that computes, or blocks the thread of its task, before it waits for the first time:
///   [`MethodStats::running`] counts it from its beginning;
/// - a call that waits for its place, which [`MethodStats::queued`] counts;
/// - a handler that goes on though the [shutdown](crate::executor::Executor::shutdown) of its executor has given
///   it up, which the report of that counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunningCall {
    /// The full name of its method.
    pub method: String,
    /// Its number, unique among the calls of its connection.
    pub call: u64,
    /// Where its caller is; empty if that is this process, or has no address.
    pub peer: String,
    /// Whom its caller has proved to be.
    pub principal: String,
    /// How many calls it is nested in.
    pub hops: u8,
    /// How long ago it came, in microseconds.
    pub age_us: u64,
    /// How long its caller still waits, in microseconds; none if that has no end.
    pub left_us: Option<u64>,
    /// Nobody waits for it any more.
    pub cancelled: bool,
    /// Its scope, and the tasks, groups and scopes below it, parents before their children. Empty for
    /// handlers that are not dropped when they are cancelled.
    pub tasks: Vec<RunningTask>,
}

/// A task, group or scope of a call that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunningTask {
    /// The place of what it stands below, in the same list.
    pub parent: Option<u64>,
    /// `task`, `group` or `scope`.
    pub kind: String,
    /// Empty if it was given none.
    pub name: String,
    /// Where in the source it was made.
    pub location: String,
    /// `running`, `parked`, and so on.
    pub state: String,
    /// What it waits for, if that is of this library.
    pub waiting_on: Option<String>,
    /// How long until its deadline ends it, in microseconds.
    pub left_us: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_of_its_calls_may_be_beyond_all_bounds() {
        let latencies = Latencies {
            buckets: vec![u64::MAX; 70],
        };
        assert_eq!(latencies.calls(), u64::MAX);
        assert_eq!(latencies.quantile(0.5), Some(Duration::from_micros(1)));
        assert_eq!(latencies.quantile(f64::NAN), Some(Duration::from_micros(1)));
    }
}
