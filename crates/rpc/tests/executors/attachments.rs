//! What holds when brokers share an executor or end before their handlers, and where handlers begin.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bowline_backend::time;
use bowline_channel::{Receiver, bounded};
use bowline_concurrency::{
    CancelHandle, CancelScope, Outcome, TaskGroup, sleep, task_group, timeout,
};
use bowline_rpc::executor::{AsyncExecutor, Executor};
use bowline_rpc::{
    Broker, Call, CallError, Caller, Certainty, Code, Context, DeclaredName, Error, MemoryBroker,
    MethodDef, MethodSpec, NoError, Registry, TcpBroker, Typed,
};
use futures_util::future::{Either, select};
use serde::{Deserialize, Deserializer, Serialize};

use crate::backends::{on_every_backend, registry};
use crate::held::{LONG, client, ended, held, hold};
use crate::made::of_both_kinds;

const SOON: Duration = Duration::from_millis(50);

on_every_backend! {
    async fn brokers_that_share_an_executor_end_apart() {
        let held = held();
        let executor = AsyncExecutor::new(held.registry, 4);
        task_group(|group: TaskGroup<Error>| async move {
            let (memory, server) = of_both_kinds(&executor, &group).await?;
            let other = MemoryBroker::new(executor).start(&group).await?;
            client(&server).run(async |client| -> Result<(), Error> {
                let first = hold(&group, &memory, 1);
                let second = hold(&group, &client, 2);
                let third = hold(&group, &other, 3);
                for _ in 0..3 {
                    held.started.recv().await.expect("it starts");
                }
                memory.close();
                memory.closed().await;
                assert_eq!(ended(first.await), (Code::Cancelled, Certainty::MaybeExecuted));
                held.let_go.send(()).await.unwrap();
                held.let_go.send(()).await.unwrap();
                assert_eq!((second.await.unwrap(), third.await.unwrap()), (2, 3));
                // A broker that came first or last, and one that ended, change nothing for another.
                let third = hold(&group, &other, 4);
                held.started.recv().await.expect("it starts");
                server.close();
                held.let_go.send(()).await.unwrap();
                assert_eq!(third.await.unwrap(), 4);
                let error = memory.call_named::<i64>("add", (2, 3)).await.unwrap_err();
                assert_eq!((error.code(), error.certainty()), (Code::Cancelled, Certainty::NeverSent));
                assert_eq!(other.call_named::<i64>("add", (2, 3)).await?, 5);
                Ok(())
            }).await?;
            group.cancel("done");
            Ok(())
        }).await.unwrap();
    }

    async fn a_broker_that_ends_takes_its_waiting_calls_along_and_no_others() {
        let held = held();
        let executor = AsyncExecutor::new(held.registry, 1);
        task_group(|group: TaskGroup<Error>| async move {
            let one = MemoryBroker::new(executor.clone()).start(&group).await?;
            let other = MemoryBroker::new(executor).start(&group).await?;
            let running = hold(&group, &one, 1);
            held.started.recv().await.expect("it starts");
            let closing = hold(&group, &other, 2);
            let waiting = hold(&group, &one, 3);
            other.close();
            // It never ran; the place is still taken.
            assert!(matches!(ended(closing.await), (Code::Cancelled, Certainty::Refused | Certainty::NeverSent)));
            assert!(held.started.try_recv().is_err());
            held.let_go.send(()).await.unwrap();
            assert_eq!(running.await.unwrap(), 1);
            held.let_go.send(()).await.unwrap();
            assert_eq!(waiting.await.unwrap(), 3);
            group.cancel("done");
            Ok(())
        }).await.unwrap();
    }

    // RG16
    async fn a_methods_timeout_ends_a_call_whose_handler_goes_on() {
        behind_both(GoesOn).await;
    }
}

/// One case on every backend whose blocking work runs beside its tasks.
macro_rules! where_blocking_work_has_threads {
    ($($name:ident)*) => {
        $(
            mod $name {
                #[test]
                fn tokio() {
                    crate::backends::run(bowline_backend::Backend::Tokio, super::cases::$name());
                }

                #[test]
                fn smol() {
                    crate::backends::run(bowline_backend::Backend::Smol, super::cases::$name());
                }

                #[test]
                fn async_std() {
                    crate::backends::run(bowline_backend::Backend::AsyncStd, super::cases::$name());
                }
            }
        )*
    };
}

where_blocking_work_has_threads! {
    a_blocking_handler_is_told_when_nobody_waits
    a_methods_timeout_ends_a_call_whose_handler_holds_a_thread
    a_function_keeps_its_place_though_its_call_is_cancelled_while_it_begins
}

/// An argument that cancels a scope when it is decoded: where a call begins.
#[derive(Serialize)]
struct Cancels(bool);

thread_local! {
    /// The scope of the call that this thread begins.
    static CANCELLED: Cell<Option<CancelHandle>> = const { Cell::new(None) };
}

impl<'de> Deserialize<'de> for Cancels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cancels = Cancels(bool::deserialize(deserializer)?);
        if let Some(scope) = CANCELLED.take() {
            scope.cancel("nobody waits");
        }
        Ok(cancels)
    }
}

/// Calls that may end, by their number.
static RELEASED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
static NEXT: AtomicU64 = AtomicU64::new(0);

fn is_released(number: u64) -> bool {
    RELEASED.lock().unwrap().contains(&number)
}

macro_rules! stubborn {
    ($(#[$meta:meta])* $name:ident, $wire:literal, $spec:expr, |$number:ident, $context:ident| $run:block) => {
        $(#[$meta])*
        #[derive(Debug)]
        struct $name(u64);

        impl Call for $name {
            type Args = (u64,);
            type Reply = ();
            type Error = NoError;
            type Request = bowline_rpc::Typed<Self>;
            const NAME: DeclaredName = DeclaredName::explicit($wire);
            const SPEC: MethodSpec = $spec.timeout(SOON);

            fn into_args(self) -> (u64,) {
                (self.0,)
            }

            fn from_args((number,): (u64,)) -> Self {
                $name(number)
            }

            async fn run(self, $context: Context) -> Result<(), NoError> {
                let $number = self.0;
                $run
                Ok(())
            }
        }
    };
}

stubborn! {
    /// Holds a thread until it is told that nobody waits, and then until it is released.
    HoldsThread, "holds_thread", MethodSpec::new().blocking(), |number, context| {
        let patience = time::now() + LONG;
        while !(context.is_cancelled() && is_released(number)) && time::now() < patience {
            std::thread::yield_now();
        }
    }
}

stubborn! {
    /// Goes on until it is told that nobody waits, and then until it is released.
    GoesOn, "goes_on", MethodSpec::new().no_cancel(), |number, context| {
        let patience = time::now() + LONG;
        while !(context.is_cancelled() && is_released(number)) && time::now() < patience {
            sleep(SOON).await;
        }
    }
}

/// Calls until a handler has begun when the deadline of its call passes: on a busy machine it may pass
/// before, and then nothing ran.
async fn late<E, F>(call: impl Fn() -> F)
where
    F: Future<Output = Result<(), CallError<E>>>,
{
    for _ in 0..50 {
        let error = call().await.expect_err("it goes on");
        assert_eq!(error.code(), Code::DeadlineExceeded);
        if error.certainty() != Certainty::Refused {
            assert_eq!(error.certainty(), Certainty::MaybeExecuted);
            return;
        }
    }
    panic!("no handler begins")
}

/// The caller hears of the deadline while the handler goes on and keeps its place.
async fn ends_in_time<C: Call<Reply = (), Error = NoError, Request = Typed<C>>>(
    broker: impl Broker,
    executor: AsyncExecutor,
    call: fn(u64) -> C,
) {
    let number = NEXT.fetch_add(1, Ordering::SeqCst);
    late(|| broker.call(call(number)).timeout(LONG * 2).into_future()).await;
    assert_eq!(executor.capacity().running, 1);
    RELEASED.lock().unwrap().insert(number);
    timeout(LONG, async {
        while executor.capacity().running > 0 {
            sleep(SOON).await;
        }
    })
    .await
    .expect("it was told, so it ends");
}

async fn behind_both<C>(call: fn(u64) -> C)
where
    C: Call<Reply = (), Error = NoError, Request = Typed<C>>,
{
    let registry = registry();
    registry.register_all([MethodDef::of::<C>()]).unwrap();
    let executor = AsyncExecutor::new(registry, 4);
    MemoryBroker::new(executor.clone())
        .run(async |broker| -> Result<(), Error> {
            ends_in_time(broker, executor.clone(), call).await;
            Ok(())
        })
        .await
        .unwrap();
    TcpBroker::builder(executor.clone())
        .listen("127.0.0.1:0")
        .run(async |server| -> Result<(), Error> {
            client(&server)
                .run(async |client| -> Result<(), Error> {
                    ends_in_time(client, executor.clone(), call).await;
                    Ok(())
                })
                .await
        })
        .await
        .unwrap();
}

mod cases {
    use super::*;

    // RG16
    pub(super) async fn a_methods_timeout_ends_a_call_whose_handler_holds_a_thread() {
        behind_both(HoldsThread).await;
    }

    // EX3, EX9
    pub(super) async fn a_function_keeps_its_place_though_its_call_is_cancelled_while_it_begins() {
        let (let_go, waits) = std::sync::mpsc::channel::<()>();
        let waits = Mutex::new(waits);
        let registry = Registry::new("example");
        let function = move |(_,): (Cancels,)| waits.lock().unwrap().recv().is_ok();
        registry.register_blocking("holds", function).unwrap();
        let executor = AsyncExecutor::new(registry, 1);
        MemoryBroker::new(executor.clone())
            .run(async |broker| -> Result<(), Error> {
                let scope = CancelScope::new();
                CANCELLED.set(Some(scope.handle()));
                let call = broker
                    .call_named::<bool>("holds", (Cancels(true),))
                    .no_deadline();
                // It is given up, or has the answer of a handler that was dropped with it.
                let outcome = scope.run(call.into_future()).await;
                assert!(!matches!(outcome, Outcome::Done(Ok(_))), "it waited");
                let capacity = executor.capacity();
                assert_eq!((capacity.running, capacity.abandoned), (1, 1));
                let_go.send(()).expect("the function goes on");
                let idle = async {
                    while executor.capacity().running > 0 {
                        sleep(SOON).await;
                    }
                };
                timeout(LONG, idle).await.expect("it has returned");
                assert_eq!(executor.capacity().abandoned, 0);
                Ok(())
            })
            .await
            .unwrap();
    }

    pub(super) async fn a_blocking_handler_is_told_when_nobody_waits() {
        let ((starting, started), (telling, told)) = (bounded(8), bounded(8));
        let registry = Registry::new("example");
        registry
            .register_blocking("until_told", move |context: Context, (): ()| {
                let _ = starting.try_send(());
                let patience = time::now() + LONG;
                while time::now() < patience {
                    if context.is_cancelled() {
                        let _ = telling.try_send(());
                        break;
                    }
                    std::thread::yield_now();
                }
            })
            .unwrap();
        let executor = AsyncExecutor::new(registry, 4);
        let next = async |events: &Receiver<()>| {
            timeout(LONG * 2, events.recv())
                .await
                .expect("in time")
                .expect("the handler lives")
        };
        let call = |broker: &MemoryBroker| {
            Box::pin(
                broker
                    .call_named::<()>("until_told", ())
                    .no_deadline()
                    .into_future(),
            )
        };
        let (next, call, executor) = (&next, &call, &executor);
        let (started, told) = (&started, &told);
        MemoryBroker::new(executor.clone())
            .run(async |broker| -> Result<(), Error> {
                // Its caller's deadline passed.
                let soon = || broker.call_named::<()>("until_told", ()).timeout(SOON);
                late(|| soon().into_future()).await;
                next(started).await;
                next(told).await;
                // Its caller is gone.
                let dropped = select(call(&broker), Box::pin(next(started))).await;
                assert!(matches!(dropped, Either::Right(_)));
                drop(dropped);
                next(told).await;
                Ok(())
            })
            .await
            .unwrap();
        // Its broker is closed; its caller is no task of that broker, so it goes on.
        task_group(|group: TaskGroup<Error>| async move {
            let broker = MemoryBroker::new(executor.clone()).start(&group).await?;
            let calling = select(call(&broker), Box::pin(next(started))).await;
            let Either::Right(((), calling)) = calling else {
                panic!("it ended")
            };
            broker.close();
            // The handler may end at once, but nobody takes what it returns any more.
            let error = calling.await.unwrap_err();
            assert_eq!(
                (error.code(), error.certainty()),
                (Code::Cancelled, Certainty::MaybeExecuted)
            );
            next(told).await;
            Ok(())
        })
        .await
        .unwrap();
        // The future of its broker is dropped.
        let running = MemoryBroker::new(executor.clone())
            .run(async |broker| -> Result<(), Error> { Ok(call(&broker).await?) });
        let dropped = select(Box::pin(running), Box::pin(next(started))).await;
        assert!(matches!(dropped, Either::Right(_)));
        drop(dropped);
        next(told).await;
    }
}
