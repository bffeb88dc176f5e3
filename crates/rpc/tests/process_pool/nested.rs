//! Calls that handlers in children make.

use std::collections::BTreeSet;
use std::time::Duration;

use bowline_channel::{Receiver, Sender, bounded};
use bowline_concurrency::{TaskGroup, sleep, task_group, timeout};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Call, CallError, Caller, Certainty, Code, Context, DeclaredName, Error, Incoming,
    MemoryBroker, MethodDef, MethodName, MethodSpec, NoError, Registry, RegistryError, TcpBroker,
    TcpBrokerBuilder, current_broker,
};
use futures_util::stream;
use serde::{Deserialize, Serialize};

use crate::methods::{LONG, SOON, ended, pool};

/// Where a handler ran, and what its own call came to.
type Asked = (u32, Result<i64, (String, String)>);

fn told<T>(outcome: Result<T, CallError>) -> Result<T, (String, String)> {
    outcome.map_err(|error| {
        let (code, certainty) = (error.code(), error.certainty());
        (format!("{code:?}"), format!("{certainty:?}"))
    })
}

fn failed<T>(code: Code, certainty: Certainty) -> Result<T, (String, String)> {
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
        processes.extend(told(below.await)??);
    }
    Ok(processes)
}

/// Two versions of a method, which say who they are by what they add.
macro_rules! echo {
    ($call:ident, $number:ty, $schema:literal, $adds:literal) => {
        struct $call($number);

        impl Call for $call {
            type Args = ($number,);
            type Reply = $number;
            type Error = NoError;
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
type Versions = ([Result<u64, String>; 2], Result<i64, String>);

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
struct Here {
    registry: Registry,
    began: Receiver<Option<Duration>>,
    dropped: Receiver<()>,
    noted: Receiver<u32>,
}

struct OnDrop(Sender<()>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

fn here() -> Here {
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
            registry.register_fn("for_ever", move |context: Context, (_,): (i64,)| {
                let (begin, drops) = (begin.clone(), OnDrop(drops.clone()));
                async move {
                    let _drops = drops;
                    let _ = begin.send(context.remaining()).await;
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

/// A server with a pool, and a client that it may call.
async fn between<F>(registry: Registry, body: impl FnOnce(TcpBroker, TaskGroup<Error>) -> F + Send)
where
    F: Future<Output = Result<(), Error>> + Send,
{
    let outcome = task_group(|group: TaskGroup<Error>| async move {
        let server = TcpBroker::builder(pool(2)).listen("127.0.0.1:0");
        let server = server.start(&group).await?;
        let client = TcpBroker::builder(AsyncExecutor::new(registry, 64));
        let client = client
            .connect(server.local_addrs()[0])
            .start(&group)
            .await?;
        let outcome = body(client, group.clone()).await;
        group.cancel("done");
        outcome
    });
    outcome.await.expect("the case holds");
}

async fn asked(client: &TcpBroker, method: &'static str, n: i64) -> Result<Asked, Error> {
    Ok(client
        .call_named::<Asked>("ask", (method, n))
        .timeout(LONG)
        .await?)
}

pub(crate) async fn children_call_through_the_broker_of_their_parent() {
    between(here().registry, |client, _| async move {
        let (process, outcome) = asked(&client, "twice", 21).await?;
        assert_eq!(outcome, Ok(42));
        assert_ne!(process, std::process::id());
        let (_, outcome) = asked(&client, "process", 0).await?;
        assert_eq!(outcome, Ok(i64::from(std::process::id())));
        // The call of the child is nested in the one that it handles, and in no other.
        assert_eq!(asked(&client, "hops", 0).await?.1, Ok(1));
        // How it failed is said, and whether it ran.
        let outcome = asked(&client, "fail", 7).await?.1;
        assert_eq!(outcome, failed(Code::Application, Certainty::Executed));
        let outcome = asked(&client, "note", -1).await?.1;
        assert_eq!(outcome, failed(Code::BadArguments, Certainty::Refused));
        let outcome = asked(&client, "count_here", 3).await?.1;
        assert_eq!(outcome, failed(Code::Unsupported, Certainty::Refused));
        let now = client.call_named::<Asked>("ask_now", ("nowhere", 0));
        assert_eq!(
            now.await?.1,
            failed(Code::UnknownMethod, Certainty::NeverSent)
        );
        Ok(())
    })
    .await;
}

pub(crate) async fn calls_of_children_to_other_types_are_never_misread() {
    between(here().registry, |client, group| async move {
        let ask = || client.call_named::<Versions>("ask_versions", (7_u32,));
        assert_eq!(ask().timeout(LONG).await?, ([Ok(7), Ok(7)], Ok(7)));
        // Now the two peers of the parent declare it differently.
        let unsigned = Registry::new("example");
        unsigned.register_all([MethodDef::of::<UnsignedEcho>()])?;
        let other = TcpBroker::builder(AsyncExecutor::new(unsigned, 4));
        let server = client.dials()[0].endpoint.clone();
        let _other = other.connect(server).start(&group).await?;
        let mut seen = BTreeSet::new();
        while seen.len() < 4 {
            let (unsigned, signed) = ask().timeout(LONG).await?;
            for unsigned in unsigned {
                let unsigned = unsigned.expect("its types go with it");
                assert!([7, 1007].contains(&unsigned), "{unsigned}");
                seen.insert(("unsigned", unsigned.to_string()));
            }
            match signed {
                Ok(signed) => {
                    assert!([7, 1007].contains(&signed), "{signed}");
                    seen.insert(("signed", signed.to_string()));
                }
                // Until the child has heard of the other peer.
                Err(code) => assert_eq!(code, "WrongSchema"),
            }
        }
        Ok(())
    })
    .await;
}

pub(crate) async fn children_hear_of_methods_that_come_and_go() {
    between(here().registry, |client, group| async move {
        // The child is there before the method is.
        assert_eq!(asked(&client, "twice", 1).await?.1, Ok(2));
        let caller = client.clone();
        let waits = group.spawn_ok(async move { asked(&caller, "late", 3).await });
        let now = async || -> Result<_, Error> {
            let call = client.call_named::<Asked>("ask_now", ("late", 3));
            Ok(call.await?.1)
        };
        assert_eq!(
            now().await?,
            failed(Code::UnknownMethod, Certainty::NeverSent)
        );
        let late = Registry::new("example");
        late.register_fn("late", |(n,): (i64,)| async move { 3 * n })?;
        client.attach(&late)?;
        let waited = timeout(LONG, waits.join()).await.expect("it is found");
        assert_eq!(waited.expect("it is not cancelled")?.1, Ok(9));
        assert_eq!(now().await?, Ok(9));
        client.detach(&late);
        let gone = timeout(LONG, async {
            while now().await.is_ok_and(|outcome| outcome.is_ok()) {}
        });
        gone.await.expect("it is told");
        let outcome = now().await?;
        assert_eq!(
            outcome.map_err(|(code, _)| code),
            Err("UnknownMethod".to_owned())
        );
        Ok(())
    })
    .await;
}

pub(crate) async fn calls_of_children_end_with_those_that_wait_for_them() {
    let Here {
        registry,
        began,
        dropped,
        ..
    } = here();
    between(registry, |client, group| async move {
        // The deadline is that of the first caller, over every process.
        let call = client
            .call_named::<Asked>("ask", ("for_ever", 0))
            .timeout(SOON);
        match call.await {
            // The child was faster to say so than the client.
            Ok((_, outcome)) => {
                assert_eq!(
                    outcome,
                    failed(Code::DeadlineExceeded, Certainty::MaybeExecuted)
                )
            }
            outcome => {
                let late = (Code::DeadlineExceeded, Certainty::MaybeExecuted);
                assert_eq!(ended(outcome), late);
            }
        }
        let left = timeout(LONG, began.recv())
            .await
            .expect("it began")
            .expect("it says so");
        assert!(left.is_some_and(|left| left <= SOON), "{left:?}");
        timeout(LONG, dropped.recv())
            .await
            .expect("it is cancelled")
            .expect("it says so");
        // A caller that goes ends them too.
        let caller = client.clone();
        let call = group.spawn_ok(async move { asked(&caller, "for_ever", 0).await });
        timeout(LONG, began.recv())
            .await
            .expect("it begins")
            .expect("it says so");
        call.cancel("no longer wanted");
        timeout(LONG, dropped.recv())
            .await
            .expect("it is cancelled")
            .expect("it says so");
        Ok(())
    })
    .await;
    // Where the one who answers is lost, nobody knows whether it ran.
    let registry = Registry::new("example");
    registry
        .register_fn("vanish", |context: Context, (_,): (i64,)| async move {
            context.broker().expect("it is run by one").close();
            sleep(LONG).await;
            0_i64
        })
        .expect("it is a name");
    let outcome = task_group(|group: TaskGroup<Error>| async move {
        let server = TcpBroker::builder(pool(2)).listen("127.0.0.1:0");
        let server = server.start(&group).await?;
        let connected = |builder: TcpBrokerBuilder| builder.connect(server.local_addrs()[0]);
        let vanishes = TcpBroker::builder(AsyncExecutor::new(registry, 4));
        let _vanishes = connected(vanishes).start(&group).await?;
        let client = connected(TcpBroker::caller().project("example"));
        let client = client.start(&group).await?;
        let outcome = asked(&client, "vanish", 0).await?.1;
        assert_eq!(
            outcome.map_err(|(_, certainty)| certainty),
            Err("MaybeExecuted".to_owned())
        );
        group.cancel("done");
        Ok(())
    });
    outcome.await.expect("the case holds");
}

pub(crate) async fn items_and_notifications_of_children_pass_through_their_parent() {
    let Here {
        registry, noted, ..
    } = here();
    between(registry, |client, _| async move {
        let call = client.call_named::<Result<u32, (String, String)>>("ask_items", (10_000_u32,));
        assert_eq!(call.await?, Ok((0..10_000).sum()));
        let note = timeout(LONG, noted.recv()).await.expect("it comes");
        assert_eq!(note.expect("it is heard"), 10_000);
        Ok(())
    })
    .await;
}

pub(crate) async fn a_child_calls_back_into_its_pool_eight_deep() {
    let outcome = MemoryBroker::new(pool(1)).run(async |broker| -> Result<(), Error> {
        type Processes = Result<Vec<u32>, (String, String)>;
        let deeper = async |levels: u32| broker.call_named::<Processes>("deeper", (levels,)).await;
        let mut processes = deeper(8).await?.expect("each has a child");
        assert_eq!(processes.len(), 9);
        processes.sort_unstable();
        processes.dedup();
        // Who waits for a call has its own child.
        assert_eq!(processes.len(), 9);
        let outcome = deeper(9).await?;
        assert_eq!(outcome, failed(Code::HopLimit, Certainty::NeverSent));
        Ok(())
    });
    outcome.await.expect("the case holds");
}
