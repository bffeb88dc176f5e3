//! What brokers know of the methods that their calls find.

use bowline_concurrency::timeout;
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Caller, DynBroker, Error, MemoryBroker, MethodOffer, MethodTable, Registry, Streaming,
    TcpBroker,
};
use futures_util::{FutureExt, stream};

use crate::backends::{div, on_every_backend, registry, within};
use crate::held::LONG;
use crate::wire::{Wire, over_every_wire};

/// Waits until the table has changed so that `holds`.
async fn until(table: &mut MethodTable, holds: impl Fn(&MethodTable) -> bool) {
    let held = timeout(LONG, async {
        while !holds(table) {
            assert!(table.changed().await, "the broker has ended");
        }
    });
    held.await.expect("it comes to hold");
}

fn streams() -> Registry {
    let registry = Registry::new("example");
    registry
        .register_stream("count", |(to,): (u32,)| stream::iter(0..to))
        .unwrap();
    registry
}

over_every_wire! {
    async fn methods_of_peers_come_and_go_with_what_they_offer(wire: Wire) {
        within(|group| async move {
            let first = wire.serve(registry()).start(&group).await?;
            let client = wire.client(&first).start(&group).await?;
            let mut table = client.methods();
            let names: Vec<_> = table.iter().map(|(name, _)| name.to_string()).collect();
            assert_eq!(names, ["add", "example.shop.math.div", "fall", "mul", "slow"]);
            let fall = table.get("fall").expect("it is offered");
            assert!(fall.idempotent && fall.named_arguments && fall.peers == 1);
            let add = table.get("add").expect("it is offered");
            assert!(!add.idempotent && !add.named_arguments && add.streaming == Streaming::No);
            assert!(table.changed().now_or_never().is_none());
            first.attach(&streams())?;
            until(&mut table, |table| table.contains("count")).await;
            assert_eq!(table.get("count").map(|offer| offer.streaming), Some(Streaming::Executor));
            first.pause("add").unwrap();
            until(&mut table, |table| !table.contains("add")).await;
            let second = wire.serve(registry()).start(&group).await?;
            client.connect(second.endpoints()[0].clone()).await?;
            until(&mut table, |table| {
                let peers = |name| table.get(name).map(|offer| offer.peers);
                peers("add") == Some(1) && peers("mul") == Some(2)
            }).await;
            first.close();
            until(&mut table, |table| table.get("mul").map(|offer| offer.peers) == Some(1)).await;
            assert!(!table.contains("count"));
            // It is what it is then.
            assert_eq!(table.len(), client.methods().len());
            client.close();
            let ended = timeout(LONG, async { while table.changed().await {} });
            ended.await.expect("it ends with its broker");
            Ok(())
        }).await;
    }
}

on_every_backend! {
    async fn a_broker_in_memory_knows_what_it_offers() {
        within(|group| async move {
            let broker = MemoryBroker::new(AsyncExecutor::new(registry(), 4)).start(&group).await?;
            let mut table = DynBroker::new(broker.clone()).methods();
            assert_eq!(table.len(), 5);
            assert!(table.get("fall").is_some_and(|fall| fall.idempotent && fall.peers == 1));
            assert!(table.changed().now_or_never().is_none());
            broker.attach(&streams())?;
            until(&mut table, |table| table.contains("count")).await;
            broker.pause("count").unwrap();
            until(&mut table, |table| !table.contains("count")).await;
            broker.close();
            let ended = timeout(LONG, async { while table.changed().await {} });
            ended.await.expect("it ends with its broker");
            Ok(())
        }).await;
    }

    async fn a_broker_that_may_call_itself_knows_its_own_methods() {
        let builder = TcpBroker::builder(AsyncExecutor::new(registry(), 4));
        builder.prefer_local().run(async |broker| -> Result<(), Error> {
            let mut table = broker.methods();
            assert_eq!((table.len(), table.contains("mul")), (5, true));
            broker.pause("mul").unwrap();
            until(&mut table, |table| !table.contains("mul")).await;
            Ok(())
        }).await.unwrap();
        let builder = TcpBroker::builder(AsyncExecutor::new(registry(), 4));
        builder.run(async |broker| -> Result<(), Error> {
            assert!(broker.methods().is_empty());
            Ok(())
        }).await.unwrap();
    }

    async fn a_call_by_value_asks_peers_for_the_declared_name() {
        let own = Registry::new("example");
        own.register_as("legacy.div", div).unwrap();
        let server = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).listen("127.0.0.1:0");
        server.run(async |server| -> Result<(), Error> {
            let client = TcpBroker::builder(AsyncExecutor::new(own, 4)).connect(server.local_addrs()[0]);
            client.run(async |client| -> Result<(), Error> {
                assert_eq!(client.call(div(7, 2)).fail_fast().await.unwrap(), 3);
                Ok(())
            }).await
        }).await.unwrap();
    }

    async fn a_fixed_table_never_changes() {
        let mut table = MethodTable::fixed([("add", MethodOffer::default())]);
        assert!(table.contains("add") && !table.is_empty());
        assert!(table.changed().now_or_never().is_none());
    }
}
