//! Arguments and replies of megabytes between brokers, and what happens beside them.

use std::future::IntoFuture;
use std::time::Duration;

use bowline_channel::bounded;
use bowline_concurrency::{TaskGroup, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{Caller, Certainty, Code, Error, Registry, TcpBroker, TcpBrokerBuilder};

use crate::backends::on_every_backend;

const LONG: Duration = Duration::from_secs(60);
const MIB: usize = 1024 * 1024;

fn serve(registry: Registry) -> TcpBrokerBuilder {
    TcpBroker::builder(AsyncExecutor::new(registry, 64)).listen("127.0.0.1:0")
}

fn client(server: &TcpBroker) -> TcpBrokerBuilder {
    TcpBroker::caller()
        .project("example")
        .connect(server.local_addrs()[0])
}

/// `echo` of a text, and `add`.
fn registry() -> Registry {
    let registry = Registry::new("example");
    registry
        .register_fn("echo", |(text,): (String,)| async move { text })
        .unwrap();
    registry
        .register_fn("add", |(a, b): (i64, i64)| async move { a + b })
        .unwrap();
    registry
}

fn text(length: usize) -> String {
    (0..length)
        .map(|n| char::from(b'a' + (n % 23) as u8))
        .collect()
}

on_every_backend! {
    // R14
    async fn megabytes_go_there_and_back_and_small_calls_beside_them() {
        serve(registry()).run(async |server| -> Result<(), Error> {
            client(&server).run(async |client| -> Result<(), Error> {
                let ended = task_group(|group: TaskGroup<Error>| {
                    let client = client.clone();
                    async move {
                        for length in [32 * 1024 - 8, 33_000, 65_536, MIB, 4 * MIB - 16] {
                            let caller = client.clone();
                            drop(group.spawn(async move {
                                let sent = text(length);
                                let echo: String = caller.call_named("echo", (sent.clone(),)).timeout(LONG).await?;
                                assert!(echo == sent, "{length}");
                                Ok(())
                            }));
                        }
                        for n in 0..50i64 {
                            assert_eq!(client.call_named::<i64>("add", (n, 1)).timeout(LONG).await?, n + 1);
                        }
                        Ok::<_, Error>(())
                    }
                });
                ended.await.expect("no call fails");
                // One byte too many fails that call alone.
                let error = client.call_named::<String>("echo", (text(4 * MIB),)).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::TooLarge, Certainty::NeverSent));
                assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                Ok(())
            }).await
        }).await.unwrap();
    }

    // R14
    async fn a_large_reply_that_is_under_way_is_not_cut_by_the_end_of_its_broker() {
        let ((starting, started), (let_go, waiting)) = (bounded::<()>(1), bounded::<()>(1));
        let registry = registry();
        registry.register_fn("held", move |(): ()| {
            let (starting, waiting) = (starting.clone(), waiting.clone());
            async move {
                let _ = starting.send(()).await;
                let _ = waiting.recv().await;
                text(3 * MIB)
            }
        }).unwrap();
        let (addresses, address) = bounded(1);
        let ended = task_group(|group: TaskGroup<Error>| async move {
            drop(group.spawn(async move {
                serve(registry).run(async |server| -> Result<(), Error> {
                    let _ = addresses.send(server.local_addrs()[0]).await;
                    let _ = started.recv().await;
                    // Its end begins now; the reply comes after that.
                    let _ = let_go.send(()).await;
                    Ok(())
                }).await
            }));
            let address = address.recv().await.expect("it starts");
            let client = TcpBroker::caller().project("example").connect(address);
            client.run(async |client| -> Result<(), Error> {
                let reply: String = timeout(LONG, async {
                    client.call_named("held", ()).timeout(LONG).await
                }).await.expect("it comes")?;
                assert!(reply == text(3 * MIB));
                Ok(())
            }).await
        });
        ended.await.expect("nothing fails");
    }

    async fn a_large_call_whose_caller_leaves_harms_nobody() {
        serve(registry()).run(async |server| -> Result<(), Error> {
            client(&server).run(async |client| -> Result<(), Error> {
                for n in 0..10u64 {
                    let gone = client.call_named::<String>("echo", (text(2 * MIB),));
                    // In the middle of its parts, or before, or after.
                    let _ = timeout(Duration::from_micros(200 * n), gone.into_future()).await;
                }
                let echo: String = client.call_named("echo", (text(MIB),)).timeout(LONG).await?;
                assert!(echo == text(MIB));
                assert_eq!(server.statistics().violations + client.statistics().violations, 0);
                assert_eq!(server.connections(), 1);
                Ok(())
            }).await
        }).await.unwrap();
    }
}
