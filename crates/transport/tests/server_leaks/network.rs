//! The same on either side of a network with faults.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::entropy::random_u64;
use bowline_concurrency::{Root, sleep, timeout};
use bowline_sim::{FaultKind, Faults, Sim};
use bowline_transport::{Break, Client, ErrorKind, MessageStreamBuilder, Server, TcpConnector};
use futures_util::future::join;

use crate::peers::{come_and_go, line, obey};

const PORT: u16 = 80;

/// Serves until the clients are done with it.
async fn serve_until(over: &AtomicBool) {
    let bound = Server::tcp(("0.0.0.0", PORT)).codec(line).bind().await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    let serving = bound.serve_fn(obey);
    let ending = async {
        while !over.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(100)).await;
        }
        handle.drain(Duration::from_secs(20)).await;
    };
    join(serving, ending).await.0.unwrap();
    let counters = handle.counters();
    let ends = counters.completed + counters.broken + counters.failed + counters.panicked;
    assert_eq!(ends + counters.cancelled, counters.accepted, "{counters:?}");
    assert_eq!((handle.connections(), handle.is_serving()), (0, false));
}

/// Cycles that end somehow, for nothing can be relied on.
async fn cycles_among_faults(over: &AtomicBool, connected: &AtomicUsize) {
    for number in 0..100 {
        let server = TcpConnector::new(("server", PORT));
        let server = server.connect_timeout(Duration::from_secs(2));
        if let Ok(stream) = server.connect().await {
            connected.fetch_add(1, Ordering::Relaxed);
            let _ = timeout(Duration::from_secs(3), come_and_go(stream, number)).await;
        }
        sleep(Duration::from_millis(random_u64() % 200)).await;
    }
    over.store(true, Ordering::Relaxed);
}

/// Some of those that a network has, and others that leave hosts and programs running.
fn faults() -> Faults {
    let fatal = [
        FaultKind::Kill,
        FaultKind::PowerLoss,
        FaultKind::Descriptors,
        FaultKind::Ports,
        FaultKind::Names,
    ];
    fatal.into_iter().fold(Faults::swarm(), Faults::without)
}

// SV8
#[test]
fn nothing_is_left_on_either_side_of_a_network_with_faults() {
    let _alone = crate::alone();
    let connected = Arc::new(AtomicUsize::new(0));
    for seed in 0..40 {
        let (over, connected) = (Arc::new(AtomicBool::new(false)), connected.clone());
        let done = over.clone();
        let root = || Root::new().backend(Backend::Sim);
        let world = Sim::builder()
            .seed(seed)
            .faults(faults())
            .heal_at(Duration::from_secs(100))
            .settle(Duration::from_secs(1000))
            // Of both the world names every task, socket and timer that is left once they are done.
            .client("server", move || {
                let over = over.clone();
                async move { root().entered(serve_until(&over)).await }
            })
            .client("client", move || {
                let (done, connected) = (done.clone(), connected.clone());
                async move { root().entered(cycles_among_faults(&done, &connected)).await }
            });
        if let Err(failure) = world.run() {
            panic!("seed {seed}: {failure}");
        }
    }
    let connected = connected.load(Ordering::Relaxed);
    assert!(connected > 1000, "{connected}: there was little but faults");
}

/// A power cut, or a router that forgets: with the data that is on its way to it nobody probes a peer.
// SV8
#[test]
fn who_vanishes_with_something_on_its_way_to_it_is_given_up_after_two_minutes() {
    let _alone = crate::alone();
    let cut = Duration::from_secs(5);
    let given_up = cut + Duration::from_secs(200);
    let world = Sim::builder()
        .client("server", move || async move {
            let bound = Server::tcp(("0.0.0.0", PORT)).codec(line).bind().await?;
            let handle = bound.handle();
            let serving = bound.serve_fn(async |peer, mut messages| {
                while let Some(asked) = messages.recv().await? {
                    sleep(Duration::from_secs(10)).await;
                    peer.send(&asked).await?;
                }
                Ok::<_, bowline_transport::Error>(())
            });
            let ending = async {
                sleep(cut).await;
                assert_eq!(handle.connections(), 2);
                sleep(given_up - cut).await;
                // The other one only listens, and is probed.
                let counters = handle.counters();
                assert_eq!(
                    (handle.connections(), counters.broken),
                    (0, 2),
                    "{counters:?}"
                );
                handle.drain(Duration::ZERO).await;
            };
            join(serving, ending).await.0
        })
        .client("client", move || async move {
            let silent = TcpConnector::new(("server", PORT)).connect().await?;
            let client = Client::new(("server", PORT), line);
            client.send(&"a".to_owned()).await?;
            sleep(cut + Duration::from_secs(1)).await;
            // What it says now is not acknowledged by anybody.
            client.send(&"b".to_owned()).await?;
            let received = timeout(given_up - cut, client.recv()).await;
            let error = received.expect("it is told").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken(Break::Stalled), "{error}");
            assert!(error.is_timeout(), "{error}");
            drop(silent);
            Ok::<_, bowline_transport::Error>(())
        })
        .at(cut, |world| world.partition(&["client"], &["server"]));
    world.run().unwrap();
}

// SV8
#[test]
fn who_vanishes_in_silence_is_given_up_after_two_minutes_whatever_a_stall_may_last() {
    let _alone = crate::alone();
    let cut = Duration::from_secs(5);
    for stall in [None, Some(Duration::from_secs(3600))] {
        let world = Sim::builder()
            .client("server", move || async move {
                let stream = MessageStreamBuilder::default().write_stall_timeout(stall);
                let server = Server::tcp(("0.0.0.0", PORT)).codec(line).stream(stream);
                let bound = server.bind().await?;
                let handle = bound.handle();
                let serving = bound.serve_fn(obey);
                let ending = async {
                    sleep(cut).await;
                    assert_eq!(handle.connections(), 1);
                    sleep(Duration::from_secs(200)).await;
                    assert_eq!((handle.connections(), handle.counters().broken), (0, 1));
                    handle.drain(Duration::ZERO).await;
                };
                join(serving, ending).await.0
            })
            .client("client", move || async move {
                let silent = TcpConnector::new(("server", PORT)).connect().await?;
                sleep(Duration::from_secs(300)).await;
                drop(silent);
                Ok::<_, bowline_transport::Error>(())
            })
            .at(cut, |world| world.partition(&["client"], &["server"]));
        world.run().unwrap();
    }
}
