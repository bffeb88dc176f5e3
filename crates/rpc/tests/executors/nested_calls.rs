//! Calls that handlers make: they count as nested, have places of their own, and end with their
//! parents.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bowline_concurrency::{TaskGroup, sleep, task_group};
use bowline_rpc::executor::{AsyncExecutor, ThreadPoolExecutor};
use bowline_rpc::{
    Addressed, Broker, CallError, CallType, Caller, Certainty, CloseCause, Code, Context,
    DrainReport, DynBroker, Error, Limits, MemoryBroker, MethodName, MethodTable, OutCall,
    RawStream, Registry, RegistryError, Reply, TcpBroker, current_broker, named,
};

use crate::backends::{DivError, div, on_every_backend, registry, within};
use crate::held::{Held, LONG, client, held, hold};
use crate::made::Made;

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

async fn behind_memory<E: Made>(from: From) {
    let later = Later::<MemoryBroker>::default();
    let registry = down(&later, from, &Arc::default());
    MemoryBroker::new(E::made(registry, 1, 1))
        .run(async |broker| -> Result<(), Error> {
            let _ = later.set(broker.clone());
            eight_and_no_more(broker).await;
            Ok(())
        })
        .await
        .unwrap();
}

/// Two brokers with one worker each, whose handlers call each other over one connection.
async fn back_and_forth<E: Made>(from: From, log: Arc<Mutex<Vec<Duration>>>) {
    let (here, there) = (Later::<TcpBroker>::default(), Later::<TcpBroker>::default());
    let ours = E::made(down(&here, from, &log), 1, 1024);
    let theirs = E::made(down(&there, from, &log), 1, 1024);
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

/// A registry whose methods call `add(n, 1)` through the broker that runs them, which each finds in
/// another way.
fn finding() -> Registry {
    async fn add(broker: Option<DynBroker>, n: i64) -> Option<i64> {
        broker?.call_named("add", (n, 1)).await.ok()
    }
    let registry = registry();
    registry
        .register_fn("context", |context: Context, (n,): (i64,)| {
            add(context.broker(), n)
        })
        .unwrap();
    registry
        .register_fn("ambient", |(n,): (i64,)| async move {
            // Not only in the first poll.
            sleep(Duration::from_millis(1)).await;
            add(current_broker(), n).await
        })
        .unwrap();
    registry
        .register_fn("child", |(n,): (i64,)| async move {
            let sum = task_group(|group: TaskGroup<CallError>| async move {
                let child = group.spawn_ok(async move { add(current_broker(), n).await });
                Ok(child.join().await.expect("it ends"))
            });
            sum.await.expect("no child fails")
        })
        .unwrap();
    registry
        .register_blocking("thread", |context: Context, (n,): (i64,)| {
            (context.broker().is_some() && current_broker().is_some()).then_some(n + 1)
        })
        .unwrap();
    registry
}

async fn all_find<B: Broker>(broker: &B) -> Result<(), Error> {
    for method in ["context", "ambient", "child", "thread"] {
        let found = broker.call_named::<Option<i64>>(method, (7,)).await?;
        assert_eq!(found, Some(8), "{method}");
    }
    assert!(current_broker().is_none(), "this is no handler");
    Ok(())
}

/// A broker that this crate does not know, over one that it does.
#[derive(Clone)]
struct Foreign(MemoryBroker);

impl Broker for Foreign {
    async fn submit(&self, call: OutCall) -> Result<Reply, CallError> {
        self.0.submit(call).await
    }

    async fn open(&self, call: OutCall) -> Result<RawStream, CallError> {
        self.0.open(call).await
    }

    async fn notify_raw(&self, call: OutCall) -> Result<(), CallError> {
        self.0.notify_raw(call).await
    }

    async fn submit_each(&self, call: OutCall) -> Result<Vec<Addressed>, CallError> {
        self.0.submit_each(call).await
    }

    fn methods(&self) -> MethodTable {
        self.0.methods()
    }

    fn name_of(&self, call: CallType) -> Result<MethodName, RegistryError> {
        self.0.name_of(call)
    }

    async fn drain(&self, most: Duration) -> DrainReport {
        self.0.drain(most).await
    }

    fn close(&self) {
        self.0.close();
    }

    async fn closed(&self) -> CloseCause {
        self.0.closed().await
    }
}

async fn is_called_as_any_other(broker: DynBroker) -> Result<(), Error> {
    assert_eq!(broker.call(div(7, 2)).await.unwrap(), 3);
    let error = broker.call(div(7, 0)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.certainty()),
        (Code::Application, Certainty::Executed)
    );
    assert_eq!(
        error.into_application().unwrap(),
        DivError::ByZero { dividend: 7 }
    );
    assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
    let no_names = broker.call_named_with::<i64>("add", named! { a: 2, b: 3 });
    assert_eq!(no_names.await.unwrap_err().code(), Code::BadArguments);
    let mut all = broker.broadcast(div(9, 3)).await.unwrap();
    assert_eq!(all.next().await.expect("one peer").1.unwrap(), 3);
    assert!(all.next().await.is_none());
    broker.close();
    assert_eq!(broker.closed().await, CloseCause::Closed);
    let error = broker.call_named::<i64>("add", (2, 3)).await.unwrap_err();
    assert_eq!(
        (error.code(), error.certainty()),
        (Code::Cancelled, Certainty::NeverSent)
    );
    Ok(())
}

on_every_backend! {
    // P5
    async fn calls_of_handlers_go_where_the_calls_of_their_parents_fill_the_queue() {
        let mut limits = Limits::default();
        (limits.max_calls, limits.queue_calls) = (2, 2);
        let Held { registry, let_go, .. } = held();
        let server = TcpBroker::builder(AsyncExecutor::new(registry, 4)).limits(limits.clone()).unwrap();
        within(|group| async move {
            let server = server.listen("127.0.0.1:0").start(&group).await?;
            let back = Registry::new("example");
            back.register_fn("back", |context: Context, (): ()| async move {
                let broker = context.broker().expect("it runs");
                broker.call_named::<i64>("add", (2, 3)).await.map_err(|error| format!("{error:?}"))
            })?;
            let client = TcpBroker::builder(AsyncExecutor::new(back, 4)).limits(limits).unwrap();
            let client = client.connect(server.local_addrs()[0]).start(&group).await?;
            let parents: Vec<_> = (0..4).map(|n| hold(&group, &client, n)).collect();
            // Two have a slot, and two wait for one.
            while client.stats().connections[0].calls_sent < 4 {
                sleep(Duration::from_millis(1)).await;
            }
            let full = client.call_named::<i64>("held", (9,)).timeout(LONG);
            let error = full.await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::Overloaded, Certainty::NeverSent));
            let sum = server.call_named::<Result<i64, String>>("back", ()).await?;
            assert_eq!(sum, Ok(5));
            for _ in 0..4 {
                let_go.send(()).await.unwrap();
            }
            for (parent, n) in parents.into_iter().zip(0..) {
                assert_eq!(parent.await.unwrap(), n);
            }
            Ok(())
        }).await;
    }

    async fn handlers_find_the_broker_that_runs_them() {
        let executor = AsyncExecutor::new(finding(), 4);
        MemoryBroker::new(executor.clone()).run(async |broker| all_find(&broker).await).await.unwrap();
        // Over a network the broker of a handler is the one that serves it, and calls go to its peers.
        TcpBroker::builder(executor).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let client = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).connect(server.local_addrs()[0]);
            client.run(async |client| all_find(&client).await).await
        }).await.unwrap();
    }

    async fn a_broker_that_has_ended_is_found_no_more() {
        let kept = Arc::new(Mutex::new(None));
        let (registry, keeps) = (registry(), kept.clone());
        registry.register_fn("keep", move |context: Context, (): ()| {
            *keeps.lock().unwrap() = Some(context);
            async {}
        }).unwrap();
        MemoryBroker::new(AsyncExecutor::new(registry, 1)).run(async |broker| -> Result<(), Error> {
            broker.call_named::<()>("keep", ()).await?;
            let context = kept.lock().unwrap().clone();
            assert!(context.expect("it was called").broker().is_some());
            Ok(())
        }).await.unwrap();
        let context = kept.lock().unwrap().take().expect("it was called");
        assert!(context.broker().is_none());
        assert!(Context::empty().broker().is_none());
    }

    async fn any_broker_is_called_behind_one_type() {
        task_group(|group: TaskGroup<Error>| async move {
            let memory = || MemoryBroker::new(AsyncExecutor::new(registry(), 4));
            is_called_as_any_other(DynBroker::new(memory().start(&group).await?)).await?;
            let foreign = DynBroker::new(Foreign(memory().start(&group).await?));
            is_called_as_any_other(DynBroker::new(foreign)).await?;
            let server = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).listen("127.0.0.1:0");
            let server = server.start(&group).await?;
            is_called_as_any_other(DynBroker::new(client(&server).start(&group).await?)).await?;
            group.cancel("done");
            Ok(())
        }).await.unwrap();
    }

    // P5
    async fn handlers_with_one_worker_call_each_other_eight_deep() {
        for from in [From::Itself, From::Child] {
            back_and_forth::<AsyncExecutor>(from, Arc::default()).await;
            back_and_forth::<ThreadPoolExecutor>(from, Arc::default()).await;
        }
    }

    // P5
    async fn handlers_with_one_worker_call_themselves_eight_deep() {
        for from in [From::Itself, From::Child] {
            behind_memory::<AsyncExecutor>(from).await;
            behind_memory::<ThreadPoolExecutor>(from).await;
        }
    }

    async fn what_remains_gets_less_with_every_hop() {
        let log = Arc::new(Mutex::new(Vec::new()));
        back_and_forth::<AsyncExecutor>(From::Itself, log.clone()).await;
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
