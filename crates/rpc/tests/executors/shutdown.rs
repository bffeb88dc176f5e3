//! The end of an executor, the limits of a method, and the order of those that wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::{TaskGroup, now, on_cancel, sleep, task_group, timeout, yield_now};
use bowline_rpc::executor::{AsyncExecutor, Executor, ThreadPoolExecutor};
use bowline_rpc::{
    Broker, Call, CallError, Caller, Certainty, Code, Context, DeclaredName, Error, MemoryBroker,
    MethodDef, MethodSpec, NoError, Registry,
};

use crate::backends::{on_every_backend, registry};
use crate::goes_on::GoesOn;
use crate::held::{LONG, client, ended, held, hold};
use crate::made::{Made, of_both_kinds};

const SOON: Duration = Duration::from_millis(50);

/// How many of a method run now, and ran at once at most.
#[derive(Default)]
struct Counted {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// One that runs.
struct Runs(Arc<Counted>);

impl Runs {
    fn begin(context: &Context) -> Self {
        let counted = context.state::<Arc<Counted>>().expect("it was given");
        let now = counted.now.fetch_add(1, Ordering::SeqCst) + 1;
        counted.most.fetch_max(now, Ordering::SeqCst);
        Runs(Arc::clone(&counted))
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// One at a time.
#[derive(Debug)]
struct Alone;

impl Call for Alone {
    type Args = ();
    type Reply = ();
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("alone");
    const SPEC: MethodSpec = MethodSpec::new().concurrency(1);

    fn into_args(self) {}

    fn from_args((): ()) -> Self {
        Alone
    }

    async fn run(self, context: Context) -> Result<(), NoError> {
        let _runs = Runs::begin(&context);
        for _ in 0..5 {
            yield_now().await;
        }
        Ok(())
    }
}

/// Ten calls of `alone` by each of two brokers over one executor, and others beside them.
async fn ten_each(memory: impl Broker, client: impl Broker) {
    task_group(|group: TaskGroup<CallError>| async move {
        for n in 0..10_i64 {
            let (memory, client) = (memory.clone(), client.clone());
            group.spawn({
                let memory = memory.clone();
                async move {
                    memory.call(Alone).await.expect("it is answered");
                    Ok(())
                }
            });
            group.spawn(async move { client.call_named::<()>("alone", ()).await });
            // One given up leaves its place.
            let given_up = timeout(Duration::ZERO, async { memory.call(Alone).await });
            drop(given_up.await);
            assert_eq!(memory.call_named::<i64>("add", (n, 1)).await?, n + 1);
        }
        Ok(())
    })
    .await
    .unwrap();
}

async fn answers_every_caller<E: Made>() {
    let held = held();
    let executor = E::made(held.registry, 2, 1024);
    task_group(|group: TaskGroup<Error>| async move {
        let (memory, server) = of_both_kinds(&executor, &group).await?;
        client(&server)
            .run(async |client| -> Result<(), Error> {
                let running = [hold(&group, &memory, 1), hold(&group, &client, 2)];
                for _ in 0..2 {
                    held.started.recv().await.expect("it starts");
                }
                let waiting = [hold(&group, &memory, 3), hold(&group, &client, 4)];
                timeout(LONG, async {
                    while executor.capacity().waiting < 2 {
                        sleep(Duration::from_millis(1)).await;
                    }
                })
                .await
                .expect("they wait");
                let shutdown = group.spawn_ok({
                    let executor = executor.clone();
                    async move { executor.shutdown(LONG).await }
                });
                for call in waiting {
                    assert_eq!(ended(call.await), (Code::Draining, Certainty::Refused));
                }
                // Nothing new meanwhile.
                let refused = client.call_named::<i64>("add", (2, 3)).await;
                assert_eq!(ended(refused), (Code::Draining, Certainty::Refused));
                // One ends by itself, and so does the other.
                for _ in 0..2 {
                    held.let_go.send(()).await.unwrap();
                }
                for (call, n) in running.into_iter().zip(1..) {
                    assert_eq!(call.await.unwrap(), n);
                }
                let report = shutdown.join().await.expect("it ends");
                assert_eq!(
                    (
                        report.finished,
                        report.refused,
                        report.cancelled,
                        report.abandoned
                    ),
                    (2, 2, 0, 0)
                );
                let refused = memory.call_named::<i64>("add", (2, 3)).await;
                assert_eq!(ended(refused), (Code::Draining, Certainty::Refused));
                assert!(held.started.try_recv().is_err(), "a refused call ran");

                // The next broker opens it.
                let again = MemoryBroker::new(executor.clone()).start(&group).await?;
                assert_eq!(again.call_named::<i64>("add", (2, 3)).await?, 5);
                // What runs at its end is cancelled.
                let running = [hold(&group, &again, 5), hold(&group, &client, 6)];
                for _ in 0..2 {
                    held.started.recv().await.expect("it starts");
                }
                let report = executor.shutdown(SOON).await;
                assert_eq!(
                    (
                        report.finished,
                        report.refused,
                        report.cancelled,
                        report.abandoned
                    ),
                    (0, 0, 2, 0)
                );
                for call in running {
                    assert_eq!(
                        ended(call.await),
                        (Code::Cancelled, Certainty::MaybeExecuted)
                    );
                }
                Ok(())
            })
            .await?;
        group.cancel("done");
        Ok(())
    })
    .await
    .unwrap();
}

async fn is_answered_for<E: Made>() {
    let registry = registry();
    registry.register_all([MethodDef::of::<GoesOn>()]).unwrap();
    let executor = E::made(registry, 2, 1024).grace(SOON);
    task_group(|group: TaskGroup<Error>| async move {
        let (memory, server) = of_both_kinds(&executor, &group).await?;
        client(&server)
            .run(async |client| -> Result<(), Error> {
                let calls = [
                    group.spawn_ok({
                        let memory = memory.clone();
                        async move { memory.call(GoesOn).no_deadline().await.unwrap_err().code() }
                    }),
                    group.spawn_ok(async move {
                        client.call(GoesOn).no_deadline().await.unwrap_err().code()
                    }),
                ];
                timeout(LONG, async {
                    while executor.capacity().running < 2 {
                        sleep(Duration::from_millis(1)).await;
                    }
                })
                .await
                .expect("they run");
                let report = executor.shutdown(SOON).await;
                assert_eq!(
                    (
                        report.finished,
                        report.refused,
                        report.cancelled,
                        report.abandoned
                    ),
                    (0, 0, 0, 2)
                );
                for call in calls {
                    let code = timeout(LONG, call.join()).await.expect("it has its answer");
                    assert_eq!(code.expect("it is not cancelled"), Code::Cancelled);
                }
                assert_eq!(executor.capacity().running, 2);
                Ok(())
            })
            .await?;
        group.cancel("done");
        Ok(())
    })
    .await
    .unwrap();
}

on_every_backend! {
    // RG17
    async fn a_method_with_a_limit_never_runs_oftener_than_that() {
        let registry = registry();
        registry.register_all([MethodDef::of::<Alone>()]).unwrap();
        let counted = Arc::<Counted>::default();
        let executor = AsyncExecutor::new(registry, 4).state(counted.clone());
        task_group(|group: TaskGroup<Error>| async move {
            let (memory, server) = of_both_kinds(&executor, &group).await?;
            client(&server).run(async |client| -> Result<(), Error> {
                ten_each(memory, client).await;
                Ok(())
            }).await?;
            assert_eq!((executor.capacity().waiting, counted.most.load(Ordering::SeqCst)), (0, 1));
            group.cancel("done");
            Ok(())
        }).await.unwrap();
    }

    // EX8
    async fn a_shutdown_answers_every_caller_and_a_new_broker_opens_it_again() {
        answers_every_caller::<AsyncExecutor>().await;
        answers_every_caller::<ThreadPoolExecutor>().await;
    }

    // EX8
    async fn a_handler_that_goes_on_is_answered_for_at_the_end_of_the_grace() {
        is_answered_for::<AsyncExecutor>().await;
        is_answered_for::<ThreadPoolExecutor>().await;
    }

    async fn handlers_share_the_values_of_their_executor() {
        let registry = registry();
        registry.register_fn("state", |context: Context, (): ()| async move {
            let count = context.state::<Arc<AtomicUsize>>().expect("it was given");
            let none = context.state::<String>().is_none();
            (count.fetch_add(1, Ordering::SeqCst), none, context.metadata("tenant").is_none())
        }).unwrap();
        let count = Arc::new(AtomicUsize::new(7));
        let executor = AsyncExecutor::new(registry, 2).state(0_u8).state(count.clone());
        MemoryBroker::new(executor).run(async |broker| -> Result<(), Error> {
            let seen = broker.call_named::<(usize, bool, bool)>("state", ()).await?;
            assert_eq!((seen, count.load(Ordering::SeqCst)), ((7, true, true), 8));
            Ok(())
        }).await.unwrap();
    }
}

#[test]
fn the_clean_up_of_a_cancelled_handler_has_the_grace_of_its_executor() {
    crate::backends::run(Backend::Sim, async {
        let (begun, cancelled) = (Duration::from_secs(1), Duration::from_millis(1200));
        let registry = Registry::new("example");
        registry
            .register_fn("lingers", |(): ()| async {
                let _on_cancel = on_cancel(|_| sleep(LONG));
                sleep(LONG).await;
            })
            .unwrap();
        registry.register_fn("free", |(): ()| async {}).unwrap();
        let executor = AsyncExecutor::new(registry, 1).cancel_grace(cancelled - begun);
        MemoryBroker::new(executor)
            .run(async |broker| -> Result<(), Error> {
                let start = now();
                let lingers = broker.call_named::<()>("lingers", ()).timeout(begun);
                assert_eq!(lingers.await.unwrap_err().code(), Code::DeadlineExceeded);
                broker.call_named::<()>("free", ()).await?;
                let took = now() - start;
                let on_time = cancelled..cancelled + Duration::from_millis(10);
                assert!(on_time.contains(&took), "{took:?}");
                Ok(())
            })
            .await
            .unwrap();
    });
}
