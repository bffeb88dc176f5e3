//! Values whose destructors panic, left in the hands of a broker: it goes on.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::{TaskGroup, task_group, timeout, yield_now};
use bowline_rpc::executor::{AsyncExecutor, Executor};
use bowline_rpc::{
    Broker, Call, Caller, Certainty, Code, Context, DeclaredName, Error, MemoryBroker, MethodSpec,
    NoError, TcpBroker,
};
use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};

use crate::backends::on_every_backend;
use crate::held::{LONG, client, held, hold};

/// Panics when it is dropped.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Bomb {
    #[serde(skip)]
    dropped: Arc<AtomicUsize>,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::SeqCst);
        std::panic::panic_any(Payload);
    }
}

/// What a panic carries whose payload panics when it is dropped.
struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("as it should");
    }
}

/// A call that says when it starts, and ends with its argument once it is let go; cancelling it
/// does not drop it.
#[derive(Debug)]
struct Keep {
    value: Bomb,
    starting: Sender<()>,
    waiting: Receiver<()>,
}

impl Call for Keep {
    type Args = (Bomb,);
    type Reply = Bomb;
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("keep");
    const SPEC: MethodSpec = MethodSpec::new().no_cancel();

    fn into_args(self) -> Self::Args {
        (self.value,)
    }

    fn from_args((value,): Self::Args) -> Self {
        Self {
            value,
            starting: bounded(1).0,
            waiting: bounded(1).1,
        }
    }

    async fn run(self, _: Context) -> Result<Bomb, NoError> {
        let _ = self.starting.send(()).await;
        let _ = self.waiting.recv().await;
        Ok(self.value)
    }
}

fn keep(value: Bomb) -> Keep {
    Keep::from_args((value,))
}

async fn a_payload_that_panics(broker: impl Broker) {
    for _ in 0..3 {
        let error = broker.call_named::<()>("explode", ()).await.unwrap_err();
        let outcome = (error.code(), error.certainty());
        assert_eq!(outcome, (Code::Panic, Certainty::Executed));
        assert_eq!(broker.call_named::<i64>("add", (2, 3)).await.unwrap(), 5);
    }
}

/// Waits until as many jobs wait in `executor`.
async fn waiting(executor: &AsyncExecutor, jobs: usize) {
    let reached = timeout(LONG, async {
        while executor.capacity().waiting != jobs {
            yield_now().await;
        }
    });
    assert!(reached.await.is_ok(), "{:?}", executor.capacity());
}

on_every_backend! {
    // EX6
    async fn a_panic_whose_payload_panics_fails_its_call_and_nothing_else() {
        let registry = crate::backends::registry();
        registry.register_fn("explode", |(): ()| async {
            if true {
                std::panic::panic_any(Payload);
            }
        }).unwrap();
        let executor = AsyncExecutor::new(registry, 1);
        MemoryBroker::new(executor.clone()).run(async |broker| -> Result<(), Error> {
            a_payload_that_panics(broker).await;
            Ok(())
        }).await.unwrap();
        TcpBroker::builder(executor).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            client(&server).run(async |client| -> Result<(), Error> {
                a_payload_that_panics(client).await;
                Ok(())
            }).await
        }).await.unwrap();
    }

    // EX6
    async fn a_reply_that_nobody_waits_for_may_panic_when_it_is_dropped() {
        let registry = crate::backends::registry();
        registry.register(keep).unwrap();
        MemoryBroker::new(AsyncExecutor::new(registry, 1)).run(async |broker| -> Result<(), Error> {
            let ((starting, started), (let_go, waiting)) = (bounded(1), bounded(1));
            let dropped = Arc::new(AtomicUsize::new(0));
            let value = Bomb { dropped: dropped.clone() };
            let call = broker.call(Keep { value, starting, waiting }).into_future();
            let both = select(call, Box::pin(started.recv())).await;
            assert!(matches!(both, Either::Right((Ok(()), _))), "it did not start");
            drop(both);
            let_go.send(()).await.unwrap();
            // There is one worker: the reply is dropped by now.
            assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
            Ok(())
        }).await.unwrap();
    }

    // EX6, EX7
    async fn arguments_of_a_call_that_never_runs_may_panic_when_they_are_dropped() {
        let held = held();
        held.registry.register(keep).unwrap();
        let executor = AsyncExecutor::new(held.registry, 1);
        let dropped = Arc::new(AtomicUsize::new(0));
        let of_bomb = dropped.clone();
        let call = move || keep(Bomb { dropped: of_bomb.clone() });
        task_group(|group: TaskGroup<Error>| async move {
            let stays = MemoryBroker::new(executor.clone()).start(&group).await?;
            let closes = MemoryBroker::new(executor.clone()).start(&group).await?;
            let running = hold(&group, &stays, 1);
            held.started.recv().await.expect("it starts");
            // Its caller gives up.
            let both = select(stays.call(call()).into_future(), Box::pin(waiting(&executor, 1))).await;
            assert!(matches!(both, Either::Right(_)), "the call ended");
            drop(both);
            waiting(&executor, 0).await;
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
            // Its broker closes.
            let calls: Vec<_> = (0..3).map(|_| {
                let (closes, call) = (closes.clone(), call());
                group.spawn_ok(async move { closes.call(call).await.map(std::mem::forget) })
            }).collect();
            waiting(&executor, 3).await;
            closes.close();
            for call in calls {
                let outcome = timeout(LONG, call.join()).await.expect("it ends").expect("it is not cancelled");
                assert_eq!(outcome.unwrap_err().code(), Code::Cancelled);
            }
            waiting(&executor, 0).await;
            assert_eq!(dropped.load(Ordering::SeqCst), 4);
            held.let_go.send(()).await.unwrap();
            assert_eq!(running.await.unwrap(), 1);
            assert_eq!(stays.call_named::<i64>("add", (2, 3)).await?, 5);
            group.cancel("done");
            Ok(())
        }).await.unwrap();
    }
}
