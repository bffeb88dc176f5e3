//! Peers that lost calls and are tried by one that lasts, or are forgotten beside many that did.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_concurrency::sleep;
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::{Advertised, Command, Config, Event, MethodId, Side};
use bowline_rpc::{Broker, Caller, Error, Incoming, Registry, Retry, TcpBroker};
use bowline_transport::MemoryNetwork;
use futures_util::future::{Either, join, select};
use futures_util::stream;

use crate::backends::{registry, within};
use crate::raw_peer::RawPeer;

const MS: Duration = Duration::from_millis(1);

/// `work`, which counts and takes so many milliseconds, `ticks`, which has an item every tenth of a second, and `sum`,
/// which takes items.
fn methods(runs: &Arc<AtomicUsize>) -> Result<Registry, Error> {
    let (registry, runs) = (registry(), runs.clone());
    registry.register_fn("work", move |(millis,): (u64,)| {
        runs.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(millis))
    })?;
    registry.register_stream("ticks", |(): ()| {
        stream::unfold(0_u32, |n| async move {
            sleep(100 * MS).await;
            Some((n, n + 1))
        })
    })?;
    registry.register_fn("sum", |(): (), mut items: Incoming<Vec<u8>>| async move {
        let mut sum = 0_usize;
        while let Ok(Some(item)) = items.recv().await {
            sum += item.len();
        }
        sum
    })?;
    Ok(registry)
}

/// What the first call does that tries a peer which lost calls and is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tries {
    /// It gets items.
    Gets,
    /// It sends some.
    Sends,
}

// BR11
#[test]
fn a_peer_that_is_tried_by_a_call_that_lasts_gets_others_by_its_first_item() {
    for tries in [Tries::Gets, Tries::Sends] {
        crate::backends::run(
            Backend::Sim,
            within(|group| async move {
                let network = MemoryNetwork::new();
                let runs = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
                let serve = async |n: usize| {
                    let executor = AsyncExecutor::new(methods(&runs[n])?, 64);
                    let broker = TcpBroker::builder(executor).network(&network);
                    broker.listen(format!("mem://s{n}")).start(&group).await
                };
                let dies = serve(0).await?;
                let client = TcpBroker::caller().project("example").network(&network);
                let client = client.connect("mem://s0").start(&group).await?;
                for _ in 0..5 {
                    let client = client.clone();
                    drop(group.spawn_ok(async move {
                        let work = client.call_named::<()>("work", (60_000_u64,));
                        let _ = work.retry(Retry::never()).await;
                    }));
                }
                sleep(100 * MS).await;
                dies.close();
                dies.closed().await;
                let _again = serve(0).await?;
                let _other = serve(1).await?;
                client.connect("mem://s1").await?;
                // Its pause is over, and nobody else has tried it for as long.
                sleep(5000 * MS).await;
                assert_eq!(client.connections(), 2);
                runs.iter().for_each(|runs| runs.store(0, Ordering::SeqCst));
                let work = async || client.call_named::<()>("work", (1_u64,)).await;
                let work_elsewhere = async || {
                    work().await?;
                    let here = runs[0].load(Ordering::SeqCst);
                    assert_eq!(here, 0, "it is being tried, {tries:?}");
                    Ok::<(), Error>(())
                };
                let (mut gets, mut sends) = (None, None);
                match tries {
                    Tries::Gets => {
                        let ticks = client.call_named::<()>("ticks", ()).no_deadline();
                        let ticks = gets.insert(ticks.open::<u32>().await?);
                        work_elsewhere().await?;
                        assert_eq!(ticks.recv().await?, Some(0));
                    }
                    Tries::Sends => {
                        let sum = client.call_named::<usize>("sum", ()).no_deadline();
                        let sum = sends.insert(sum.open_sending::<Vec<u8>>().await?);
                        work_elsewhere().await?;
                        // More than a window, so that some is taken.
                        for _ in 0..5 {
                            sum.sender.send(vec![7; 32 * 1024]).await.unwrap();
                        }
                    }
                }
                for _ in 0..20 {
                    work().await?;
                }
                let each = runs.each_ref().map(|runs| runs.load(Ordering::SeqCst));
                assert_eq!(each, [10, 11], "{tries:?}");
                Ok(())
            }),
        );
    }
}

// BR11
#[test]
fn who_loses_calls_is_left_out_though_many_others_have_died_of_one() {
    crate::backends::run(
        Backend::Sim,
        within(|group| async move {
            let runs = Arc::new(AtomicUsize::new(0));
            let executor = AsyncExecutor::new(methods(&runs)?, 64);
            let well = TcpBroker::builder(executor)
                .listen("127.0.0.1:0")
                .start(&group)
                .await?;
            let hub = TcpBroker::caller().project("example").listen("127.0.0.1:0");
            let hub = hub.connect(well.local_addrs()[0]).start(&group).await?;
            let at = hub.local_addrs()[0];
            // A worker that takes one call and dies of it: whether it got one.
            let worker = async |instance: u32, method: &'static str| {
                let mut id = [0xAA; 16];
                id[..4].copy_from_slice(&instance.to_be_bytes());
                let stream = TcpStream::connect(at).await.unwrap();
                let mut peer = RawPeer::with(stream, Side::Dialer, Config::new("example", id));
                peer.until(|event| matches!(event, Event::Ready(_))).await;
                let offered = vec![Advertised::new(MethodId(1), method)];
                peer.command(Command::Advertise(offered));
                peer.flush().await;
                peer
            };
            let calls = async |method: &'static str| {
                let call = hub.call_named::<()>(method, (1_u64,)).retry(Retry::never());
                call.await.is_ok()
            };
            let is_call = |event: &Event| matches!(event, Event::Opened(_));
            for n in 0..1030 {
                let mut peer = worker(n, "job").await;
                let dies = async {
                    peer.until(is_call).await;
                    drop(peer);
                };
                let (answered, ()) = join(calls("job"), dies).await;
                assert!(!answered);
            }
            // One that comes back each time, beside one that is well.
            let mut lost = 0;
            for _ in 0..40 {
                let mut peer = worker(5000, "work").await;
                let mut methods = hub.methods();
                while methods.get("work").is_none_or(|work| work.peers < 2) {
                    assert!(methods.changed().await);
                }
                for _ in 0..2 {
                    let mut call = Box::pin(calls("work"));
                    let opened = Box::pin(peer.until_end(is_call));
                    let dies = match select(&mut call, opened).await {
                        Either::Left((answered, _)) => {
                            assert!(answered);
                            false
                        }
                        Either::Right(_) => true,
                    };
                    if dies {
                        lost += 1;
                        drop(peer);
                        assert!(!call.await);
                        break;
                    }
                }
            }
            assert_eq!(lost, 5, "of 40");
            Ok(())
        }),
    );
}
