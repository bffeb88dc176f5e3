//! How a broker answers them.

use std::time::Duration;

use bowline_concurrency::Tree;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::executor::{Capacity, JobEnd};
use crate::method::Resolved;
use crate::sys::{
    BrokerStats, ExecutorStats, HealthStatus, MethodReflection, Reflection, RunningCall,
    RunningTask,
};
use crate::{Certainty, Code, Codec, Streaming};

/// One of the reserved methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reserved {
    Reflect,
    Health,
    Stats,
    Tasks,
    Drain,
}

impl Reserved {
    pub(crate) const ALL: [Reserved; 5] = [
        Reserved::Reflect,
        Reserved::Health,
        Reserved::Stats,
        Reserved::Tasks,
        Reserved::Drain,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Reserved::Reflect => "sys.reflect",
            Reserved::Health => "sys.health",
            Reserved::Stats => "sys.stats",
            Reserved::Tasks => "sys.tasks",
            Reserved::Drain => "sys.drain",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Reserved> {
        Reserved::ALL
            .into_iter()
            .find(|reserved| reserved.name() == name)
    }

    /// Calls it at `broker`, for a caller who is told of those methods alone that it `sees`.
    pub(crate) fn answer(
        self,
        broker: &impl Inspected,
        sees: impl Fn(&str) -> bool,
        codec: Codec,
        body: &[u8],
    ) -> JobEnd {
        let answered = match self {
            Reserved::Reflect => asked(codec, body).and_then(|()| {
                let mut reflection = broker.reflect();
                reflection.methods.retain(|method| sees(&method.name));
                told(codec, &reflection)
            }),
            Reserved::Health => asked(codec, body).and_then(|()| told(codec, &broker.health())),
            Reserved::Stats => asked(codec, body).and_then(|()| {
                let mut stats = broker.stats();
                stats.methods.retain(|method| sees(&method.method));
                told(codec, &stats)
            }),
            Reserved::Tasks => asked(codec, body).and_then(|()| {
                let mut tasks = broker.tasks();
                tasks.retain(|call| sees(&call.method));
                told(codec, &tasks)
            }),
            Reserved::Drain => asked(codec, body).and_then(|(timeout_ms,)| {
                broker.begin_drain(Duration::from_millis(timeout_ms));
                told(codec, &())
            }),
        };
        answered.unwrap_or_else(|end| end)
    }
}

fn asked<T: DeserializeOwned>(codec: Codec, body: &[u8]) -> Result<T, JobEnd> {
    codec.decode(body).map_err(|error| JobEnd::Failed {
        code: Code::BadArguments,
        certainty: Certainty::Refused,
        message: error.to_string(),
    })
}

fn told<T: Serialize>(codec: Codec, value: &T) -> Result<JobEnd, JobEnd> {
    let encoded = codec.encode(value);
    encoded.map(JobEnd::Reply).map_err(|error| JobEnd::Failed {
        code: Code::Internal,
        certainty: Certainty::Executed,
        message: error.to_string(),
    })
}

/// A broker that can be asked.
pub(crate) trait Inspected {
    fn reflect(&self) -> Reflection;

    fn health(&self) -> HealthStatus;

    fn stats(&self) -> BrokerStats;

    fn tasks(&self) -> Vec<RunningCall>;

    /// Begins to drain, within this time.
    fn begin_drain(&self, within: Duration);
}

/// What is told of the tasks of a call.
pub(crate) fn tasks(tree: &Tree) -> Vec<RunningTask> {
    let entries = tree.entries().iter();
    entries
        .map(|entry| RunningTask {
            parent: entry.parent.map(|parent| parent as u64),
            kind: entry.kind.as_str().into(),
            name: entry.name.to_string(),
            location: entry.location.to_string(),
            state: entry.state.as_str().into(),
            waiting_on: entry.waiting_on.map(str::to_owned),
            left_us: entry.deadline.map(micros),
        })
        .collect()
}

pub(crate) fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

/// What is told of these methods.
pub(crate) fn reflection<'a>(
    project: &str,
    methods: impl IntoIterator<Item = &'a Resolved>,
) -> Reflection {
    let methods = methods.into_iter().map(|method| {
        let spec = method.entry.spec;
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        MethodReflection {
            name: method.name.to_string(),
            kind: match spec.streams() {
                Streaming::No => "unary",
                Streaming::Executor => "executor_streams",
                Streaming::Caller => "caller_streams",
                Streaming::Both => "both_stream",
            }
            .into(),
            idempotent: spec.is_idempotent(),
            no_cancel: spec.is_no_cancel(),
            blocking: spec.is_blocking(),
            timeout_ms: spec.max_duration().map(millis),
            concurrency: spec.max_concurrency(),
            schema: spec.schema_hash(),
            strict_schema: spec.is_strict_schema(),
            max_args: spec.longest_args().map(|bytes| bytes as u64),
            max_reply: spec.longest_reply().map(|bytes| bytes as u64),
        }
    });
    Reflection {
        project: project.into(),
        methods: methods.collect(),
    }
}

impl From<Capacity> for ExecutorStats {
    fn from(capacity: Capacity) -> Self {
        Self {
            max_workers: capacity.max_workers as u64,
            queue: capacity.queue as u64,
            running: capacity.running as u64,
            waiting: capacity.waiting as u64,
            abandoned: capacity.abandoned as u64,
        }
    }
}

impl HealthStatus {
    /// That of a broker with an executor of this capacity.
    pub(crate) fn of(draining: bool, capacity: Capacity) -> Self {
        if draining {
            HealthStatus::Draining
        } else if capacity.is_full {
            HealthStatus::Overloaded
        } else {
            HealthStatus::Serving
        }
    }
}
