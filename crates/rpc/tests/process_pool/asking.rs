//! Handlers in children that make calls, and what is called by them.

use std::time::Duration;

use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::sleep;
use bowline_rpc::{
    Call, CallError, Caller, Certainty, Code, Context, DeclaredName, Incoming, MethodDef,
    MethodName, MethodSpec, NoError, Registry, RegistryError, current_broker,
};
use futures_util::stream;
use serde::{Deserialize, Serialize};

use crate::methods::LONG;

/// Where a handler ran, and what its own call came to.
pub(crate) type Asked = (u32, Result<i64, (String, String)>);

pub(crate) fn told<T>(outcome: Result<T, CallError>) -> Result<T, (String, String)> {
    outcome.map_err(|error| {
        let (code, certainty) = (error.code(), error.certainty());
        (format!("{code:?}"), format!("{certainty:?}"))
    })
}

pub(crate) fn failed<T>(code: Code, certainty: Certainty) -> Result<T, (String, String)> {
    Err((format!("{code:?}"), format!("{certainty:?}")))
}

/// Calls `method` from a child, as long as its own caller waits.
async fn ask(context: Context, (method, n): (String, i64)) -> Asked {
    let broker = context.broker().expect("it is run by one");
    let call = broker.call_named::<i64>(method, (n,)).no_deadline();
    (std::process::id(), told(call.await))
}

/// The same, if somebody offers it now.
async fn ask_now((method, n): (String, i64)) -> Asked {
    let broker = current_broker().expect("it is run by one");
    let call = broker.call_named::<i64>(method, (n,)).fail_fast();
    (std::process::id(), told(call.await))
}

async fn ask_items(context: Context, (to,): (u32,)) -> Result<u32, (String, String)> {
    let broker = context.broker().expect("it is run by one");
    broker
        .notify_named("note", (to,))
        .await
        .expect("it is sent");
    let opened = broker.call_named::<u32>("sum_here", ());
    let opened = told(opened.open_sending::<u32>().await)?;
    let (mut sender, receiver) = (opened.sender, opened.receiver);
    let mut items = told(
        broker
            .call_named::<()>("count_here", (to,))
            .open::<u32>()
            .await,
    )?;
    while let Some(item) = told(items.recv().await)? {
        sender.send(item).await.expect("the call goes on");
    }
    sender.close();
    told(receiver.reply().await)
}

/// The processes of a call and of those nested in it, as deep as is asked for.
async fn deeper(context: Context, (levels,): (u32,)) -> Result<Vec<u32>, (String, String)> {
    let mut processes = vec![std::process::id()];
    if levels > 0 {
        let broker = context.broker().expect("it is run by one");
        let below =
            broker.call_named::<Result<Vec<u32>, (String, String)>>("deeper", (levels - 1,));
        processes.extend(told(below.no_deadline().await)??);
    }
    Ok(processes)
}

/// Two versions of a method, which say who they are by what they add.
macro_rules! echo {
    ($call:ident, $number:ty, $schema:literal, $adds:literal) => {
        pub(crate) struct $call($number);

        impl Call for $call {
            type Args = ($number,);
            type Reply = $number;
            type Error = NoError;
            type Request = bowline_rpc::Typed<Self>;
            const NAME: DeclaredName = DeclaredName::explicit("echo");
            const SPEC: MethodSpec = MethodSpec::new().schema($schema);

            fn into_args(self) -> ($number,) {
                (self.0,)
            }

            fn from_args((n,): ($number,)) -> Self {
                $call(n)
            }

            async fn run(self, _: Context) -> Result<$number, NoError> {
                Ok(self.0 + $adds)
            }
        }
    };
}

echo!(SignedEcho, i64, 1, 0);
echo!(UnsignedEcho, u64, 2, 1000);

/// What calls of both versions came to, the first one twice: peers take turns.
pub(crate) type Versions = ([Result<u64, String>; 2], Result<i64, String>);

/// Calls what may be declared otherwise where it runs.
async fn ask_versions((n,): (u32,)) -> Versions {
    let broker = current_broker().expect("it is run by one");
    let unsigned = async || {
        let outcome = broker.call(UnsignedEcho(n.into())).await;
        outcome.map_err(|error| format!("{:?}", error.code()))
    };
    let twice = [unsigned().await, unsigned().await];
    let signed = broker.call(SignedEcho(n.into())).await;
    let signed = signed.map_err(|error| format!("{:?}", error.code()));
    (twice, signed)
}

pub(crate) fn register(registry: &Registry) -> Result<MethodName, RegistryError> {
    registry.register_fn("ask_versions", ask_versions)?;
    registry.register_fn("ask", ask)?;
    registry.register_fn("ask_now", ask_now)?;
    registry.register_fn("ask_items", ask_items)?;
    registry.register_fn("deeper", deeper)
}

/// Always fails in its own terms.
struct Fail(i64);

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Failure(i64);

impl Call for Fail {
    type Args = (i64,);
    type Reply = i64;
    type Error = Failure;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("fail");
    const SPEC: MethodSpec = MethodSpec::new();

    fn into_args(self) -> (i64,) {
        (self.0,)
    }

    fn from_args((n,): (i64,)) -> Self {
        Fail(n)
    }

    async fn run(self, _: Context) -> Result<i64, Failure> {
        Err(Failure(self.0))
    }
}

/// What the client of the server with the pool runs, and hears of that.
pub(crate) struct Here {
    pub(crate) registry: Registry,
    /// The calls of `for_ever` that began, and how long each had.
    pub(crate) began: Receiver<(i64, Option<Duration>)>,
    /// Those that are over.
    pub(crate) dropped: Receiver<i64>,
    pub(crate) noted: Receiver<u32>,
}

struct OnDrop(Sender<i64>, i64);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.try_send(self.1);
    }
}

pub(crate) fn here() -> Here {
    let registry = Registry::new("example");
    let ((begin, began), (drops, dropped)) = (bounded(64), bounded(64));
    let (note, noted) = bounded(64);
    let made = registry
        .register_fn("twice", |(n,): (i64,)| async move { 2 * n })
        .and_then(|_| {
            registry.register_fn("hops", |context: Context, (_,): (i64,)| async move {
                i64::from(context.hops())
            })
        })
        .and_then(|_| {
            registry.register_fn("process", |(_,): (i64,)| async {
                i64::from(std::process::id())
            })
        })
        .and_then(|_| {
            registry.register_all([MethodDef::of::<Fail>(), MethodDef::of::<SignedEcho>()])
        })
        .and_then(|_| {
            registry.register_fn("for_ever", move |context: Context, (n,): (i64,)| {
                let (begin, drops) = (begin.clone(), OnDrop(drops.clone(), n));
                async move {
                    let _drops = drops;
                    let _ = begin.send((n, context.remaining())).await;
                    sleep(10 * LONG).await;
                    0_i64
                }
            })
        })
        .and_then(|_| registry.register_stream("count_here", |(to,): (u32,)| stream::iter(0..to)))
        .and_then(|_| {
            registry.register_fn("sum_here", |(): (), mut items: Incoming<u32>| async move {
                let mut sum = 0;
                while let Ok(Some(item)) = items.recv().await {
                    sum += item;
                }
                sum
            })
        })
        .and_then(|_| {
            registry.register_fn("note", move |(n,): (u32,)| {
                let note = note.clone();
                async move {
                    let _ = note.send(n).await;
                }
            })
        });
    made.expect("the names are names");
    Here {
        registry,
        began,
        dropped,
        noted,
    }
}
