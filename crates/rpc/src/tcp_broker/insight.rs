//! What a broker tells of itself.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::{Shared, TcpBroker};
use crate::Peer;
use crate::method_table::{MethodSource, Methods};
use crate::sys::{
    BrokerStats, ConnectionStats, HealthStatus, Inspected, Reflection, RunningCall, micros,
    reflection,
};

impl TcpBroker {
    /// The methods it offers now, as [`sys.reflect`](crate::sys) tells peers.
    pub fn reflect(&self) -> Reflection {
        self.shared.reflect()
    }

    /// Whether it takes calls, as [`sys.health`](crate::sys) tells peers.
    pub fn health(&self) -> HealthStatus {
        self.shared.health()
    }

    /// What it counted of methods and connections, as [`sys.stats`](crate::sys) tells peers. How
    /// connections came and went is told by [`statistics`](Self::statistics).
    pub fn stats(&self) -> BrokerStats {
        self.shared.stats()
    }

    /// The calls of peers that run now, as [`sys.tasks`](crate::sys) tells peers.
    pub fn tasks(&self) -> Vec<RunningCall> {
        self.shared.tasks()
    }
}

impl MethodSource for TcpBroker {
    fn methods(&self) -> Methods {
        self.shared.routes.methods()
    }

    fn over(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(TcpBroker::over(self))
    }
}

impl Inspected for Arc<Shared> {
    fn reflect(&self) -> Reflection {
        let offered = self.offers.now();
        reflection(
            self.registry.project(),
            offered.iter().map(|served| &served.method),
        )
    }

    fn health(&self) -> HealthStatus {
        HealthStatus::of(self.routes.is_closing(), self.executor.capacity())
    }

    fn stats(&self) -> BrokerStats {
        let connections = self.routes.peers().into_iter().map(|(peer, mailbox)| {
            let gauges = mailbox.gauges().read();
            ConnectionStats {
                peer: peer.place(),
                principal: Peer::principal(&peer).into(),
                calls_sent: gauges.calls_sent,
                calls_received: gauges.calls_received,
                call_credit: gauges.call_credit,
                notify_credit: gauges.notify_credit,
                reassembly_credit: gauges.reassembly_credit,
                round_trip_us: gauges.round_trip.map(micros),
                late_frames: gauges.counted.late_frames,
                unknown_frames: gauges.counted.unknown_frames,
                refused_calls: gauges.counted.refused_calls,
            }
        });
        BrokerStats {
            executor: self.executor.capacity().into(),
            methods: self.offers.stats(),
            connections: connections.collect(),
        }
    }

    fn tasks(&self) -> Vec<RunningCall> {
        self.executor.calls(self.attachment.origin())
    }

    fn begin_drain(&self, within: Duration) {
        let broker = TcpBroker {
            shared: self.clone(),
        };
        drop(self.group.spawn_ok(async move {
            broker.drain_in_order(within).await;
        }));
    }
}
