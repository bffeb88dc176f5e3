//! Which of several peers gets calls when some of them are full, hang or have just come.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::{TaskGroup, now, sleep};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Command, Event, Failure};
use bowline_rpc::{Balance, Broker, Caller, Certainty, Code, Error, Registry, Retry, TcpBroker};
use futures_util::future::{Either, join_all, select};
use futures_util::stream;

use crate::backends::{on_every_backend, registry, within};
use crate::held::{Held, held, hold};
use crate::raw_listener::RawListener;
use crate::wire::{Wire, over_every_wire};

const MS: Duration = Duration::from_millis(1);

/// A broker with `work`, which takes so long, and how often it began.
async fn works(
    wire: &Wire,
    group: &TaskGroup<Error>,
    takes: Duration,
) -> Result<(TcpBroker, Arc<AtomicUsize>), Error> {
    let (registry, began) = (registry(), Arc::new(AtomicUsize::new(0)));
    let counted = began.clone();
    registry.register_fn("work", move |(): ()| {
        counted.fetch_add(1, Ordering::SeqCst);
        sleep(takes)
    })?;
    let executor = AsyncExecutor::new(registry, 1000);
    Ok((wire.serve_by(executor).start(group).await?, began))
}

over_every_wire! {
    // BR18, BR20
    async fn a_peer_that_is_full_fails_no_call_while_another_has_room(wire: Wire) {
        let Held { registry, started, let_go } = held();
        within(|group| async move {
            // Its one place is taken for as long as this goes on.
            let full = wire.serve_by(AsyncExecutor::new(registry, 1).queue(0)).start(&group).await?;
            let free = wire.serve(self::registry()).start(&group).await?;
            let other = wire.client(&full).start(&group).await?;
            let holds = hold(&group, &other, 7);
            started.recv().await.unwrap();
            let mut asked = full.statistics().calls_received;
            for balance in [Balance::RoundRobin, Balance::PowerOfTwo, Balance::Hash] {
                let client = wire.client(&full).connect(free.endpoints()[0].clone()).balance(balance);
                let client = client.start(&group).await?;
                for n in 0..50_u64 {
                    let call = client.call_named::<i64>("add", (n, 1)).key(n);
                    assert_eq!(call.await.map_err(|error| format!("{balance:?}: {error}")), Ok(n as i64 + 1));
                }
                let before = std::mem::replace(&mut asked, full.statistics().calls_received);
                assert!(asked > before, "nobody asked the full one, {balance:?}");
                // What knows where it belongs waits for room there.
                if balance == Balance::Hash {
                    let keyed = async |n: u64| {
                        let call = client.call_named::<i64>("add", (n, 1)).key(n).idempotency_key(format!("{n}"));
                        call.retry(Retry::never()).await
                    };
                    let mut refused = 0;
                    for n in 0..20 {
                        if let Err(error) = keyed(n).await {
                            assert_eq!((error.code(), error.certainty()), (Code::Overloaded, Certainty::Refused));
                            refused += 1;
                        }
                    }
                    assert!((1..20).contains(&refused), "{refused}");
                    asked = full.statistics().calls_received;
                }
                client.close();
            }
            let_go.send(()).await.unwrap();
            assert_eq!(holds.await.unwrap(), 7);
            Ok(())
        }).await;
    }
}

on_every_backend! {
    // BR20
    async fn items_too_come_from_who_has_room() {
        let Held { registry, started, let_go } = held();
        within(|group| async move {
            registry.register_stream("count", |(to,): (u32,)| stream::iter(0..to))?;
            let full = TcpBroker::builder(AsyncExecutor::new(registry, 1).queue(0)).listen("127.0.0.1:0").start(&group).await?;
            let free = self::registry();
            free.register_stream("count", |(to,): (u32,)| stream::iter(0..to))?;
            let free = TcpBroker::builder(AsyncExecutor::new(free, 4)).listen("127.0.0.1:0").start(&group).await?;
            let client = crate::held::client(&full).connect(free.local_addrs()[0]).start(&group).await?;
            let _holds = hold(&group, &crate::held::client(&full).start(&group).await?, 7);
            started.recv().await.unwrap();
            // A call that is refused says that the peer has no room, for a tenth of a second at least.
            let mut refused = 0;
            for _ in 0..4 {
                let call = client.call_named::<i64>("add", (2, 3)).retry(Retry::never());
                refused += usize::from(call.await.is_err());
            }
            assert!(refused >= 1);
            let mut items = 0;
            for _ in 0..2 {
                let mut count = client.call_named::<()>("count", (3_u32,)).open::<u32>().await?;
                while let Ok(Some(_)) = count.recv().await {
                    items += 1;
                }
            }
            // On a machine that stands still for so long it is asked once more.
            let at_once = Backend::current() == Ok(Backend::Sim);
            assert!(items == 6 || items == 3 && !at_once, "{items}");
            drop(let_go);
            Ok(())
        }).await;
    }
}

/// In a simulated world, `test` with a group.
fn simulated<F>(test: impl FnOnce(TaskGroup<Error>) -> F + Send)
where
    F: Future<Output = Result<(), Error>> + Send,
{
    crate::backends::run(Backend::Sim, within(test));
}

// BR20
#[test]
fn a_peer_that_hangs_gets_few_calls_of_who_chooses_by_what_peers_have_to_do() {
    simulated(|group| async move {
        let wire = Wire::memory();
        let (hangs, hung) = works(&wire, &group, Duration::from_secs(36_000)).await?;
        let (free, _) = works(&wire, &group, 20 * MS).await?;
        // Its callers give up at the deadline of the call, or before.
        for by_deadline in [true, false] {
            let client = wire.client(&hangs).connect(free.endpoints()[0].clone());
            let client = client.balance(Balance::PowerOfTwo).start(&group).await?;
            let before = hung.load(Ordering::SeqCst);
            let mut failed = 0;
            for _ in 0..200 {
                let call = client.call_named::<()>("work", ());
                failed += usize::from(match by_deadline {
                    true => call.timeout(1000 * MS).await.is_err(),
                    false => {
                        let call = call.no_deadline().into_future();
                        let ended = select(call, Box::pin(sleep(1000 * MS))).await;
                        matches!(ended, Either::Right(_))
                    }
                });
            }
            let asked = hung.load(Ordering::SeqCst) - before;
            assert_eq!(asked, failed);
            assert!((1..=2).contains(&failed), "{failed} of 200");
        }
        Ok(())
    });
}

// BR20
#[test]
fn a_new_peer_gets_its_share_of_many_calls_at_once() {
    simulated(|group| async move {
        let wire = Wire::memory();
        let client = wire.prepare(TcpBroker::caller().project("example"));
        let client = client.balance(Balance::PowerOfTwo).start(&group).await?;
        let mut peers = Vec::new();
        for _ in 0..4 {
            let (broker, began) = works(&wire, &group, 20 * MS).await?;
            client.connect(broker.endpoints()[0].clone()).await?;
            peers.push((broker, began));
            if peers.len() == 3 {
                for _ in 0..100 {
                    client.call_named::<()>("work", ()).await?;
                }
            }
        }
        let counts = || peers.iter().map(|(_, began)| began.load(Ordering::SeqCst));
        let before: Vec<_> = counts().collect();
        let calls = (0..400).map(|_| client.call_named::<()>("work", ()).into_future());
        assert!(join_all(calls).await.iter().all(Result::is_ok));
        let each: Vec<_> = counts()
            .zip(before)
            .map(|(now, before)| now - before)
            .collect();
        assert!(
            each.iter().all(|calls| (80..=120).contains(calls)),
            "{each:?}"
        );
        Ok(())
    });
}

// BR20
#[test]
fn a_peer_that_says_when_it_has_room_is_asked_then() {
    simulated(|group| async move {
        let wire = Wire::memory();
        let (free, _) = works(&wire, &group, MS).await?;
        let (mut listener, full) = RawListener::of(&wire).await;
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        drop(group.spawn_ok(async move {
            let mut peer = listener.accept(&["work"]).await;
            let is_call = |event: &Event| matches!(event, Event::Opened(_));
            while let Some(Event::Opened(call)) = peer.until_end(is_call).await {
                counted.fetch_add(1, Ordering::SeqCst);
                let failure = Failure::new(Code::Overloaded).retry_after(5000 * MS);
                let call = call.call;
                peer.command(Command::Fail { call, failure });
            }
        }));
        let client = wire.client(&free).connect(full).start(&group).await?;
        let began = now();
        let mut times = Vec::new();
        while times.len() < 4 {
            client.call_named::<()>("work", ()).await?;
            if asked.load(Ordering::SeqCst) > times.len() {
                times.push((now() - began).as_secs());
            }
        }
        // The third time is twice as long after the second, as it was asked in vain.
        assert_eq!(times, [0, 5, 15, 35]);
        Ok(())
    });
}

/// A broker whose one place is taken for an hour, and one that has room; both with `add`, `count` and `work`.
async fn full_and_free(
    wire: &Wire,
    group: &TaskGroup<Error>,
) -> Result<(TcpBroker, TcpBroker), Error> {
    let serve = async |executor: fn(Registry) -> AsyncExecutor| {
        let registry = registry();
        registry.register_stream("count", |(to,): (u32,)| stream::iter(0..to))?;
        registry.register_fn("work", |(): ()| sleep(Duration::from_secs(3600)))?;
        wire.serve_by(executor(registry)).start(group).await
    };
    let full = serve(|registry| AsyncExecutor::new(registry, 1).queue(0)).await?;
    let free = serve(|registry| AsyncExecutor::new(registry, 1000)).await?;
    let other = wire.client(&full).start(group).await?;
    drop(group.spawn_ok(async move {
        drop(other.call_named::<()>("work", ()).no_deadline().await);
    }));
    while full.tasks().is_empty() {
        sleep(MS).await;
    }
    Ok((full, free))
}

// BR20, R25
#[test]
fn of_many_calls_at_once_none_fails_while_another_peer_has_room() {
    simulated(|group| async move {
        let wire = Wire::memory();
        let (full, free) = full_and_free(&wire, &group).await?;
        for balance in [Balance::RoundRobin, Balance::PowerOfTwo] {
            let client = wire.client(&full).connect(free.endpoints()[0].clone());
            let client = client.balance(balance).start(&group).await?;
            let before = full.statistics().calls_received;
            let calls = (0..200).map(|n| client.call_named::<i64>("add", (n, 1)).into_future());
            let ended = join_all(calls).await;
            assert!(ended.iter().all(Result::is_ok), "{balance:?}");
            // More than there are retries that cost anything.
            let refused = full.statistics().calls_received - before;
            assert!(refused > 10, "{refused} with {balance:?}");
            client.close();
        }
        Ok(())
    });
}

// BR20
#[test]
fn items_that_are_refused_say_that_their_peer_has_no_room() {
    simulated(|group| async move {
        let wire = Wire::memory();
        let (full, free) = full_and_free(&wire, &group).await?;
        for balance in [Balance::RoundRobin, Balance::PowerOfTwo, Balance::Hash] {
            let client = wire.client(&full).connect(free.endpoints()[0].clone());
            let client = client.balance(balance).start(&group).await?;
            let mut refused = 0;
            for n in 0..100_u64 {
                let count = client.call_named::<()>("count", (3_u32,)).key(n % 10);
                let mut count = count.open::<u32>().await?;
                refused += loop {
                    match count.recv().await {
                        Ok(Some(_)) => {}
                        Ok(None) => break 0,
                        Err(_) => break 1,
                    }
                };
                sleep(MS).await;
            }
            assert!((1..=3).contains(&refused), "{refused} with {balance:?}");
            client.close();
        }
        Ok(())
    });
}
