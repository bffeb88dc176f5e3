//! What the broker tells of itself, and how what it offers changes.

use std::pin::Pin;
use std::time::Duration;

use super::{MemoryBroker, closed};
use crate::executor::JobEnd;
use crate::method_table::{MethodOffer, MethodSource, Methods};
use crate::offers::check_runs;
use crate::sys::{
    BrokerStats, HealthStatus, Inspected, Reflection, Reserved, RunningCall, reflection,
};
use crate::{CallError, Error, OutCall, Registry, RegistryError, Reply};

impl MemoryBroker {
    /// Offers the methods of `registry` as well, run by the broker's executor. It is locked for good.
    ///
    /// # Errors
    /// Those of [`TcpBroker::attach`](crate::TcpBroker::attach).
    pub fn attach(&self, registry: &Registry) -> Result<(), Error> {
        check_runs(&*self.shared.executor)?;
        self.shared.offers.attach(registry)
    }

    /// Offers the methods of `registry` no longer; whether it did. Calls that run go on.
    pub fn detach(&self, registry: &Registry) -> bool {
        self.shared.offers.detach(registry)
    }

    /// Offers the method with this full name no longer, until it is [resumed](Self::resume). Calls that
    /// run go on, new ones wait for it.
    ///
    /// # Errors
    /// There is no such method here.
    pub fn pause(&self, name: &str) -> Result<(), RegistryError> {
        self.shared.offers.pause(name, true)
    }

    /// Offers a paused method again.
    ///
    /// # Errors
    /// There is no such method here.
    pub fn resume(&self, name: &str) -> Result<(), RegistryError> {
        self.shared.offers.pause(name, false)
    }

    /// The methods it offers now, as [`sys.reflect`](crate::sys) tells.
    pub fn reflect(&self) -> Reflection {
        Inspected::reflect(self)
    }

    /// Whether it takes calls, as [`sys.health`](crate::sys) tells.
    pub fn health(&self) -> HealthStatus {
        Inspected::health(self)
    }

    /// What it counted of its methods, as [`sys.stats`](crate::sys) tells.
    pub fn stats(&self) -> BrokerStats {
        Inspected::stats(self)
    }

    /// The calls that run now, as [`sys.tasks`](crate::sys) tells.
    pub fn tasks(&self) -> Vec<RunningCall> {
        Inspected::tasks(self)
    }

    /// Calls a reserved method.
    pub(super) fn ask(&self, reserved: Reserved, call: &OutCall) -> Result<Reply, CallError> {
        if self.shared.cancel.cancel_called() {
            return Err(closed());
        }
        let codec = call.options.codec;
        match reserved.answer(self, |_| true, codec, &call.body) {
            JobEnd::Failed {
                code,
                certainty,
                message,
            } => Err(CallError::new(code, certainty).with_message(message)),
            JobEnd::Reply(body) | JobEnd::Application(body) => Ok(Reply::new(codec, body)),
        }
    }
}

impl MethodSource for MemoryBroker {
    fn methods(&self) -> Methods {
        if self.shared.attachment.is_over() {
            return Methods::new();
        }
        let offered = self.shared.offers.now();
        let known = offered.iter().map(|served| {
            let entry = &served.method.entry;
            let offer = MethodOffer {
                peers: 1,
                idempotent: entry.spec.is_idempotent(),
                named_arguments: entry.knows_names(),
                streaming: entry.spec.streams(),
                schema: entry.spec.schema_hash(),
            };
            (served.method.name.shared().clone(), offer)
        });
        known
            .filter(|(name, _)| !name.starts_with("sys."))
            .collect()
    }

    fn over(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.shared.attachment.over())
    }
}

impl Inspected for MemoryBroker {
    fn reflect(&self) -> Reflection {
        let offered = self.shared.offers.now();
        let methods = offered.iter().map(|served| &served.method);
        reflection(self.shared.executor.registry().project(), methods)
    }

    fn health(&self) -> HealthStatus {
        let shared = &self.shared;
        let over = shared.cancel.cancel_called() || shared.offers.gate().is_closed();
        HealthStatus::of(over, self.shared.executor.capacity())
    }

    fn stats(&self) -> BrokerStats {
        BrokerStats {
            executor: self.shared.executor.capacity().into(),
            methods: self.shared.offers.stats(),
            connections: Vec::new(),
        }
    }

    fn tasks(&self) -> Vec<RunningCall> {
        let shared = &self.shared;
        shared.executor.calls(shared.attachment.origin())
    }

    fn begin_drain(&self, within: Duration) {
        let broker = self.clone();
        drop(self.shared.group.spawn_ok(async move {
            broker.end_calls(within).await;
        }));
    }
}
