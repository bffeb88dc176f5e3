//! The reserved methods as calls that are values.

use serde::{Deserialize, Serialize};

use crate::sys::{BrokerStats, HealthStatus, Reflection, RunningCall};
use crate::{Call, Context, DeclaredName, MethodSpec};

/// Brokers alone answer this call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("brokers alone answer this call")]
#[non_exhaustive]
pub struct OfBrokers;

macro_rules! calls {
    ($($(#[$doc:meta])* $call:ident $name:literal -> $reply:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub struct $call;

            impl Call for $call {
                type Args = ();
                type Reply = $reply;
                type Error = OfBrokers;
                type Request = crate::Typed<Self>;
                const NAME: DeclaredName = DeclaredName::reserved($name);
                const SPEC: MethodSpec = MethodSpec::new().idempotent();

                fn into_args(self) {}

                fn from_args((): ()) -> Self {
                    $call
                }

                async fn run(self, _: Context) -> Result<Self::Reply, OfBrokers> {
                    Err(OfBrokers)
                }
            }
        )*
    };
}

calls! {
    /// Asks a broker for its methods: `sys.reflect`.
    Reflect "sys.reflect" -> Reflection;
    /// Asks a broker whether it takes calls: `sys.health`.
    Health "sys.health" -> HealthStatus;
    /// Asks a broker for what it counted: `sys.stats`.
    Stats "sys.stats" -> BrokerStats;
    /// Asks a broker for the calls that run: `sys.tasks`.
    Tasks "sys.tasks" -> Vec<RunningCall>;
}

/// Has a broker drain within so many milliseconds: `sys.drain`. It is answered when that has begun.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// How long calls in flight may take.
    pub timeout_ms: u64,
}

impl Call for Drain {
    type Args = (u64,);
    type Reply = ();
    type Error = OfBrokers;
    type Request = crate::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::reserved("sys.drain");
    const SPEC: MethodSpec = MethodSpec::new();

    fn into_args(self) -> (u64,) {
        (self.timeout_ms,)
    }

    fn from_args((timeout_ms,): (u64,)) -> Self {
        Drain { timeout_ms }
    }

    async fn run(self, _: Context) -> Result<(), OfBrokers> {
        Err(OfBrokers)
    }
}
