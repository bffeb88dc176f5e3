//! What a broker whose calls may go to its own executor does with them.

use std::collections::BTreeMap;
use std::future::{IntoFuture, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::{timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Call, Caller, Certainty, Code, Context, DeclaredName, Error, MethodDef, MethodSpec,
    NoError, Registry, Retry, TcpBroker,
};
use futures_util::FutureExt;
use futures_util::stream;

use crate::backends::{Div, DivError, div, on_every_backend, registry, within};
use crate::held::{Held, LONG, ended, held, hold};
use crate::wire::{Wire, over_every_wire};

const SOON: Duration = Duration::from_millis(50);

/// Methods that say who answered.
fn who(id: usize) -> Registry {
    let registry = registry();
    registry
        .register_fn("who", move |(): ()| async move { id })
        .unwrap();
    registry
}

over_every_wire! {
    async fn a_broker_is_one_of_the_peers_its_calls_go_to(wire: Wire) {
        within(|group| async move {
            let mut broker = wire.prepare(TcpBroker::builder(AsyncExecutor::new(who(0), 4))).prefer_local();
            let mut others = Vec::new();
            for id in 1..3 {
                let other = wire.serve(who(id)).start(&group).await?;
                broker = broker.connect(other.endpoints()[0].clone());
                others.push(other);
            }
            let broker = broker.start(&group).await?;
            assert_eq!(broker.connections(), 2);
            let turns = async || -> Result<Vec<(usize, usize)>, Error> {
                let mut turns = BTreeMap::new();
                for _ in 0..12 {
                    *turns.entry(broker.call_named("who", ()).await?).or_insert(0) += 1;
                }
                Ok(turns.into_iter().collect())
            };
            assert_eq!(turns().await?, [(0, 4), (1, 4), (2, 4)]);
            let outcomes = broker.broadcast(Div(7, 2)).await.unwrap();
            assert_eq!(outcomes.peers().len(), 3);
            assert_eq!(outcomes.peers().iter().filter(|peer| peer.address().is_none()).count(), 1);
            // What it offers itself no longer, others answer.
            broker.pause("who").unwrap();
            assert_eq!(turns().await?, [(1, 6), (2, 6)]);
            broker.resume("who").unwrap();
            assert_eq!(turns().await?, [(0, 4), (1, 4), (2, 4)]);
            for other in &others {
                other.close();
            }
            let lost = timeout(LONG, async {
                while broker.connections() > 0 {
                    yield_now().await;
                }
            });
            lost.await.expect("the connections are lost");
            assert_eq!(turns().await?, [(0, 12)]);
            let error = broker.call_named::<()>("nowhere", ()).fail_fast().await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::UnknownMethod, Certainty::NeverSent));
            Ok(())
        }).await;
    }
}

on_every_backend! {
    async fn calls_of_every_kind_run_at_the_broker_that_makes_them() {
        let registry = who(0);
        let (told, mut tells) = bowline_channel::oneshot::<(bool, Option<Duration>, u8)>();
        let told = std::sync::Mutex::new(Some(told));
        registry.register_fn("look", move |context: Context, (): ()| {
            let seen = (
                context.caller().is_some_and(|caller| caller.address().is_none()),
                context.remaining(),
                context.hops(),
            );
            let told = told.lock().unwrap().take();
            async move {
                if let Some(told) = told {
                    let _ = told.send(seen);
                }
            }
        }).unwrap();
        let begun = Arc::new(AtomicBool::new(false));
        let begins = begun.clone();
        registry.register_fn("begins", move |(): ()| {
            begins.store(true, Ordering::SeqCst);
            pending::<()>()
        }).unwrap();
        registry.register_fn("nests", |context: Context, (n,): (i64,)| async move {
            context.broker()?.call_named::<i64>("add", (n, 1)).await.ok()
        }).unwrap();
        registry.register_stream("count", |(to,): (u32,)| stream::iter(0..to)).unwrap();
        let builder = TcpBroker::builder(AsyncExecutor::new(registry, 4)).prefer_local();
        builder.run(async |broker| -> Result<(), Error> {
            assert_eq!(broker.connections(), 0);
            assert_eq!(broker.call_named::<i64>("add", (2, 3)).await?, 5);
            assert_eq!(broker.call(div(7, 2)).await.unwrap(), 3);
            let error = broker.call(div(7, 0)).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::Application, Certainty::Executed));
            assert_eq!(error.application(), Some(&DivError::ByZero { dividend: 7 }));
            assert_eq!(broker.call_named::<Option<i64>>("nests", (4,)).await?, Some(5));
            broker.notify_named("look", ()).timeout(LONG).await?;
            let (here, left, hops) = timeout(LONG, &mut tells).await.expect("it runs").unwrap();
            assert!(here && hops == 0 && left.is_some_and(|left| left <= LONG));
            let mut count = broker.call_named::<()>("count", (3_u32,)).open::<u32>().await?;
            for number in 0..3 {
                assert_eq!(count.recv().await?, Some(number));
            }
            assert_eq!(count.recv().await?, None);
            // The method has items, so it is opened.
            let error = broker.call_named::<()>("count", (3_u32,)).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::Unsupported, Certainty::NeverSent));
            let error = broker.call_named::<()>("begins", ()).timeout(SOON).await.unwrap_err();
            assert_eq!(error.code(), Code::DeadlineExceeded);
            // On a machine that does something else for so long it has not begun.
            let has_begun = begun.load(Ordering::SeqCst);
            assert!(has_begun || Backend::current() != Ok(Backend::Sim));
            assert!(error.certainty() == Certainty::MaybeExecuted || !has_begun);
            Ok(())
        }).await.unwrap();
    }

    async fn a_method_that_is_attached_is_found_by_a_call_that_waits_for_it() {
        let builder = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).prefer_local();
        builder.run(async |broker| -> Result<(), Error> {
            let mut call = broker.call_named::<usize>("late", ()).timeout(LONG).into_future();
            assert!((&mut call).now_or_never().is_none());
            let late = Registry::new("example");
            late.register_fn("late", |(): ()| async { 7_usize }).unwrap();
            broker.attach(&late)?;
            assert_eq!(timeout(LONG, call).await.expect("it is found")?, 7);
            assert!(broker.detach(&late));
            let error = broker.call_named::<usize>("late", ()).fail_fast().await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::UnknownMethod, Certainty::NeverSent));
            Ok(())
        }).await.unwrap();
    }

    async fn a_drain_waits_for_calls_of_the_broker_to_itself_and_takes_no_new_ones() {
        let Held { registry, started, let_go } = held();
        within(|group| async move {
            let builder = TcpBroker::builder(AsyncExecutor::new(registry, 4)).prefer_local();
            let broker = builder.start(&group).await?;
            let call = hold(&group, &broker, 7);
            started.recv().await.unwrap();
            let mut drain = Box::pin(broker.drain(LONG));
            assert!((&mut drain).now_or_never().is_none());
            let late = broker.call_named::<i64>("add", (2, 3)).await;
            assert_eq!(ended(late), (Code::Draining, Certainty::NeverSent));
            for _ in 0..100 {
                yield_now().await;
            }
            assert!((&mut drain).now_or_never().is_none());
            let_go.send(()).await.unwrap();
            assert_eq!(call.await.unwrap(), 7);
            timeout(LONG, drain).await.expect("nothing is left");
            Ok(())
        }).await;
    }

    // EX4
    async fn calls_that_have_no_room_here_go_to_a_peer() {
        let Held { registry, started, let_go } = held();
        within(|group| async move {
            registry.register_stream("count", |(to,): (u32,)| stream::iter(0..to))?;
            let peer = self::registry();
            peer.register_stream("count", |(to,): (u32,)| stream::iter(0..to))?;
            let peer = TcpBroker::builder(AsyncExecutor::new(peer, 64)).listen("127.0.0.1:0").start(&group).await?;
            let broker = TcpBroker::builder(AsyncExecutor::new(registry, 1).queue(0)).prefer_local();
            let broker = broker.start(&group).await?;
            // Its one place is taken, and nobody else offers what it does.
            let holds = hold(&group, &broker, 7);
            started.recv().await.unwrap();
            let alone = broker.call_named::<i64>("add", (2, 3)).retry(Retry::never()).await;
            assert_eq!(ended(alone), (Code::Overloaded, Certainty::Refused));
            // Nobody waits for its end.
            timeout(LONG, broker.notify_named("add", (2, 3))).await.expect("it is taken")?;
            broker.connect(peer.local_addrs()[0]).await?;
            for n in 0..20 {
                let call = broker.call_named::<i64>("add", (n, 1)).timeout(LONG);
                let call = match n % 2 {
                    0 => call,
                    _ => call.idempotency_key(format!("{n}")),
                };
                assert_eq!(call.await?, n + 1);
                let mut count = broker.call_named::<()>("count", (3_u32,)).timeout(LONG).open::<u32>().await?;
                for number in 0..3 {
                    assert_eq!(count.recv().await?, Some(number));
                }
                assert_eq!(count.recv().await?, None);
            }
            let_go.send(()).await.unwrap();
            assert_eq!(holds.await.unwrap(), 7);
            Ok(())
        }).await;
    }

    async fn without_it_calls_go_to_others_alone() {
        TcpBroker::builder(AsyncExecutor::new(registry(), 4)).run(async |broker| -> Result<(), Error> {
            let error = broker.call_named::<i64>("add", (2, 3)).timeout(SOON).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::NoPeer, Certainty::NeverSent));
            Ok(())
        }).await.unwrap();
    }

    async fn calls_of_another_version_are_refused_here_as_elsewhere() {
        let registry = Registry::new("example");
        registry.register_all([MethodDef::of::<Other<1>>()]).unwrap();
        let builder = TcpBroker::builder(AsyncExecutor::new(registry, 4)).prefer_local();
        builder.run(async |broker| -> Result<(), Error> {
            assert_eq!(broker.call(Other::<1>).await.unwrap(), 1);
            let error = broker.call(Other::<2>).await.unwrap_err();
            assert_eq!((error.code(), error.certainty()), (Code::WrongSchema, Certainty::NeverSent));
            Ok(())
        }).await.unwrap();
    }
}

/// On threads, for nothing comes between the choice of a peer and the call in a simulated world.
#[test]
#[expect(clippy::disallowed_methods, reason = "a thread beside the runtime")]
fn a_call_whose_method_has_just_gone_here_goes_to_a_peer() {
    let case = within(|group| async move {
        let peer = TcpBroker::builder(AsyncExecutor::new(who(1), 4)).listen("127.0.0.1:0");
        let peer = peer.start(&group).await?;
        let broker = TcpBroker::builder(AsyncExecutor::new(who(0), 4)).prefer_local();
        let broker = broker.connect(peer.local_addrs()[0]).start(&group).await?;
        let over = Arc::new(AtomicBool::new(false));
        let (ends, it) = (over.clone(), broker.clone());
        let comes_and_goes = thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                it.pause("who").unwrap();
                it.resume("who").unwrap();
            }
        });
        let mut answers = [0; 2];
        let mut failed = None;
        // More are refused here than there are retries for those that cost a peer anything.
        while answers.iter().sum::<usize>() < 2_000 && failed.is_none() {
            match broker.call_named::<usize>("who", ()).timeout(LONG).await {
                Ok(id) => answers[id] += 1,
                Err(error) => failed = Some(error),
            }
        }
        over.store(true, Ordering::SeqCst);
        comes_and_goes.join().unwrap();
        assert!(failed.is_none(), "{failed:?}");
        assert!(answers.iter().all(|calls| *calls > 0), "{answers:?}");
        Ok(())
    });
    crate::backends::run(Backend::Tokio, case);
}

/// A version of one method.
struct Other<const VERSION: u64>;

impl<const VERSION: u64> Call for Other<VERSION> {
    type Args = ();
    type Reply = u64;
    type Error = NoError;
    type Request = bowline_rpc::Typed<Self>;
    const NAME: DeclaredName = DeclaredName::explicit("version");
    const SPEC: MethodSpec = MethodSpec::new().schema(VERSION).strict_schema();

    fn into_args(self) {}

    fn from_args((): ()) -> Self {
        Other
    }

    async fn run(self, _: Context) -> Result<u64, NoError> {
        Ok(VERSION)
    }
}
