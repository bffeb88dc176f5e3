//! That the deadline of a call with items is kept, whoever looks.

use std::time::Duration;

use bowline_concurrency::timeout;
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Broker, Caller, Code, Error, Incoming, MemoryBroker, TcpBroker};

use crate::backends::{on_every_backend, within};
use crate::held::{Held, LONG, client, held, hold};

const SOON: Duration = Duration::from_millis(50);

/// Sends until the call is over, and looks only then what became of it.
async fn ends_while_nobody_receives(broker: &impl Broker) -> Result<(), Error> {
    let call = broker.call_named::<u32>("sum", ()).timeout(SOON);
    let opened = call.open_sending::<u32>().await?;
    let (mut sender, receiver) = (opened.sender, opened.receiver);
    let sending = timeout(LONG, async { while sender.send(7).await.is_ok() {} });
    sending.await.expect("it ends with the call");
    let error = timeout(LONG, receiver.reply())
        .await
        .expect("it is known")
        .unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    Ok(())
}

/// With one place, which is taken.
fn taken() -> (Held, AsyncExecutor) {
    let held = held();
    held.registry
        .register_fn("sum", |(): (), mut items: Incoming<u32>| async move {
            let mut sum = 0;
            while let Ok(Some(item)) = items.recv().await {
                sum += item;
            }
            sum
        })
        .unwrap();
    let executor = AsyncExecutor::new(held.registry.clone(), 1);
    (held, executor)
}

on_every_backend! {
    async fn a_call_that_has_not_begun_ends_at_its_deadline_though_nobody_receives() {
        let (Held { started, let_go, .. }, executor) = taken();
        within(|group| async move {
            let broker = MemoryBroker::new(executor).start(&group).await?;
            let call = hold(&group, &broker, 1);
            started.recv().await.unwrap();
            ends_while_nobody_receives(&broker).await?;
            let_go.send(()).await.unwrap();
            assert_eq!(call.await.unwrap(), 1);
            // Its place in the queue is free as well.
            let opened = broker.call_named::<u32>("sum", ()).open_sending::<u32>().await?;
            opened.sender.close();
            assert_eq!(opened.receiver.reply().await?, 0);
            Ok(())
        }).await;
        let (Held { started, let_go, .. }, executor) = taken();
        within(|group| async move {
            let server = TcpBroker::builder(executor).listen("127.0.0.1:0").start(&group).await?;
            let client = client(&server).start(&group).await?;
            let call = hold(&group, &client, 1);
            started.recv().await.unwrap();
            ends_while_nobody_receives(&client).await?;
            let_go.send(()).await.unwrap();
            assert_eq!(call.await.unwrap(), 1);
            Ok(())
        }).await;
    }

    async fn a_call_with_a_deadline_that_is_dropped_leaves_nothing() {
        let (Held { started, let_go, .. }, executor) = taken();
        within(|group| async move {
            let broker = MemoryBroker::new(executor.clone()).start(&group).await?;
            let call = hold(&group, &broker, 1);
            started.recv().await.unwrap();
            let opened = broker.call_named::<u32>("sum", ()).timeout(LONG).open_sending::<u32>().await?;
            assert_eq!(bowline_rpc::executor::Executor::capacity(&executor).waiting, 1);
            drop(opened);
            let gone = timeout(LONG, async {
                while bowline_rpc::executor::Executor::capacity(&executor).waiting > 0 {
                    bowline_concurrency::yield_now().await;
                }
            });
            gone.await.expect("it is taken back");
            let_go.send(()).await.unwrap();
            assert_eq!(call.await.unwrap(), 1);
            Ok(())
        }).await;
    }
}
