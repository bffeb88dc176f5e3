//! Calls that handlers make: they count as nested, have places of their own, and end with their
//! parents.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bowline_concurrency::{TaskGroup, sleep, task_group};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, CallError, Caller, Certainty, Code, Context, Error, MemoryBroker, Registry, TcpBroker,
};

use crate::backends::{on_every_backend, registry};
use crate::held::client;

/// A handle that a handler finds once its broker runs.
type Later<B> = Arc<OnceLock<B>>;

/// Where a handler makes its call.
#[derive(Clone, Copy)]
enum From {
    Itself,
    Child,
}

/// A registry with `down(n)`, which calls `down(n - 1)` through `broker`, and says by how many calls
/// it was reached.
fn down<B: Broker>(broker: &Later<B>, from: From, log: &Arc<Mutex<Vec<Duration>>>) -> Registry {
    let (broker, log) = (broker.clone(), log.clone());
    let registry = registry();
    registry
        .register_fn("down", move |context: Context, (n,): (u8,)| {
            let (broker, log) = (broker.clone(), log.clone());
            async move {
                log.lock().unwrap().extend(context.remaining());
                // The clock goes on between any two hops.
                sleep(Duration::from_millis(2)).await;
                let Some(less) = n.checked_sub(1) else {
                    return Ok(vec![context.hops()]);
                };
                let broker = broker.get().expect("it runs").clone();
                let call = async move {
                    let deeper = broker.call_named::<Result<Vec<u8>, String>>("down", (less,));
                    deeper
                        .no_deadline()
                        .await
                        .unwrap_or_else(|error| Err(format!("{error:?}")))
                };
                let deeper: Result<Vec<u8>, String> = match from {
                    From::Itself => call.await,
                    From::Child => task_group(|group: TaskGroup<CallError>| async move {
                        Ok(group.spawn_ok(call).join().await.expect("it ends"))
                    })
                    .await
                    .expect("no child fails"),
                };
                deeper.map(|mut hops| {
                    hops.insert(0, context.hops());
                    hops
                })
            }
        })
        .unwrap();
    registry
}

async fn goes_down<B: Broker>(broker: &B, n: u8) -> Result<Vec<u8>, String> {
    let call = broker.call_named::<Result<Vec<u8>, String>>("down", (n,));
    call.await.expect("the first call is answered")
}

async fn eight_and_no_more<B: Broker>(broker: B) {
    assert_eq!(goes_down(&broker, 7).await, Ok((0..=7).collect()));
    assert_eq!(goes_down(&broker, 8).await, Ok((0..=8).collect()));
    let deeper = goes_down(&broker, 9).await.expect_err("nine is too deep");
    assert!(
        deeper.contains("HopLimit") && deeper.contains("NeverSent"),
        "{deeper}"
    );
    // Nothing was left behind.
    assert_eq!(goes_down(&broker, 8).await, Ok((0..=8).collect()));
}

async fn behind_memory(from: From) {
    let later = Later::<MemoryBroker>::default();
    let registry = down(&later, from, &Arc::default());
    MemoryBroker::new(AsyncExecutor::new(registry, 1).queue(1))
        .run(async |broker| -> Result<(), Error> {
            let _ = later.set(broker.clone());
            eight_and_no_more(broker).await;
            Ok(())
        })
        .await
        .unwrap();
}

/// Two brokers with one worker each, whose handlers call each other over one connection.
async fn back_and_forth(from: From, log: Arc<Mutex<Vec<Duration>>>) {
    let (here, there) = (Later::<TcpBroker>::default(), Later::<TcpBroker>::default());
    let ours = AsyncExecutor::new(down(&here, from, &log), 1);
    let theirs = AsyncExecutor::new(down(&there, from, &log), 1);
    TcpBroker::builder(theirs)
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            let _ = there.set(server.clone());
            TcpBroker::builder(ours)
                .connect(server.local_addrs()[0])
                .run(async |client| -> Result<(), Error> {
                    let _ = here.set(client.clone());
                    eight_and_no_more(client).await;
                    Ok(())
                })
                .await
        })
        .await
        .unwrap();
}

on_every_backend! {
    // P5
    async fn handlers_with_one_worker_call_each_other_eight_deep() {
        back_and_forth(From::Itself, Arc::default()).await;
        back_and_forth(From::Child, Arc::default()).await;
    }

    // P5
    async fn handlers_with_one_worker_call_themselves_eight_deep() {
        behind_memory(From::Itself).await;
        behind_memory(From::Child).await;
    }

    async fn what_remains_gets_less_with_every_hop() {
        let log = Arc::new(Mutex::new(Vec::new()));
        back_and_forth(From::Itself, log.clone()).await;
        let log = log.lock().unwrap();
        // 8 handlers, 9, 9 and 9, each with less time than the one that called it.
        assert_eq!(log.len(), 8 + 9 + 9 + 9);
        for chain in [&log[..8], &log[8..17], &log[17..26], &log[26..]] {
            assert!(chain.windows(2).all(|two| two[1] < two[0]), "{chain:?}");
        }
    }

    async fn a_call_of_the_program_is_not_nested() {
        let registry = registry();
        registry.register_fn("hops", |context: Context, (): ()| async move { context.hops() }).unwrap();
        TcpBroker::builder(AsyncExecutor::new(registry, 1)).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            client(&server).run(async |client| -> Result<(), Error> {
                assert_eq!(client.call_named::<u8>("hops", ()).await?, 0);
                let error = client.call_named::<u8>("nobody", ()).fail_fast().await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::UnknownMethod, Certainty::NeverSent));
                Ok(())
            }).await
        }).await.unwrap();
    }
}
