//! What very many connections, good and bad, leave behind: nothing.
#![cfg(target_os = "linux")]

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::entropy::random_u64;
use bowline_backend::stream::ByteStream;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, sleep, task_group, timeout};
use bowline_sim::{FaultKind, Faults, Sim};
use bowline_transport::{
    Error, Extra, MemoryNetwork, MessageStream, Messages, Peer, Server, ServerHandle, TcpConnector,
    Transport,
};
use futures_util::future::join;

fn line() -> Framed<Lines, Text> {
    Lines::lf().text()
}

/// One connection that ends in the way that its number says.
async fn cycle<S: ByteStream + Extra>(stream: S, number: usize) {
    let mut client = MessageStream::new(stream, line());
    let word = match number % 6 {
        0 => "leave",
        1 => "fail",
        // Panics are printed: there are some of them, but not too many.
        2 if number % 1000 == 2 => "panic",
        _ => "hello",
    };
    let _ = client.send(&word.to_owned()).await;
    match number % 6 {
        3 => drop(client),
        4 => client.abort(),
        _ => {
            let _ = client.recv().await;
            let _ = client.close().await;
        }
    }
}

/// Runs a server, and so many clients one after another.
async fn cycles<S, Fut>(
    handle: ServerHandle,
    serving: impl Future<Output = Result<(), Error>> + Send + 'static,
    count: usize,
    connect: impl Fn(ServerHandle) -> Fut + Send,
) where
    S: ByteStream + Extra,
    Fut: Future<Output = S> + Send,
{
    let ended: Result<(), GroupError<AnyError>> =
        task_group(|group: TaskGroup<AnyError>| async move {
            group.spawn(async move { Ok(serving.await?) });
            for number in 0..count {
                cycle(connect(handle.clone()).await, number).await;
            }
            // The last of them may have been reset before it was accepted.
            let report = handle.drain(Duration::from_secs(60)).await;
            let counters = handle.counters();
            let ends = counters.completed + counters.broken + counters.failed + counters.panicked;
            assert_eq!(ends + counters.cancelled, counters.accepted, "{counters:?}");
            // A drain waits for all but those who have not begun, who left at once.
            assert_eq!(counters.cancelled, report.handshaking as u64, "{report:?}");
            assert_eq!(report.cancelled + report.aborted, 0, "{report:?}");
            assert_eq!(counters.handshakes_failed, 0);
            assert_eq!((handle.connections(), handle.is_serving()), (0, false));
            Ok(())
        })
        .await;
    ended.unwrap();
}

async fn handle(word: &str) -> Result<bool, &'static str> {
    match word {
        "leave" => Ok(false),
        "fail" => Err("told to"),
        "panic" => panic!("told to"),
        _ => Ok(true),
    }
}

/// Serves one connection, as its words say.
async fn obey<T>(peer: Peer<T>, mut messages: Messages<T>) -> Result<(), String>
where
    T: Transport<Sent = String, Received = String> + 'static,
{
    while let Some(word) = messages.recv().await.map_err(|error| error.to_string())? {
        if !handle(&word).await? {
            break;
        }
        let _ = peer.send(&word).await;
    }
    Ok(())
}

async fn over_tcp(count: usize) {
    let bound = Server::tcp(("127.0.0.1", 0)).codec(line).bind().await;
    let bound = bound.unwrap();
    let server = bound.handle();
    let serving = bound.serve_fn(obey);
    cycles(server, serving, count, |server| async move {
        let address = server.local_addrs()[0].as_inet().unwrap();
        TcpConnector::new(address).connect().await.unwrap()
    })
    .await;
}

/// Over TCP to some addresses in turn, so that no port has to be used again too early.
async fn over_addresses(count: usize) {
    let bound = Server::tcp(("0.0.0.0", 0)).codec(line).bind().await;
    let bound = bound.unwrap();
    let server = bound.handle();
    let serving = bound.serve_fn(obey);
    let next = AtomicU8::new(0);
    cycles(server, serving, count, |server| {
        let host = next.fetch_add(1, Ordering::Relaxed) % 16 + 1;
        async move {
            let port = server.local_addrs()[0].as_inet().unwrap().port();
            let address = SocketAddr::from(([127, 0, 0, host], port));
            TcpConnector::new(address).connect().await.unwrap()
        }
    })
    .await;
}

async fn in_memory(count: usize) {
    let network = MemoryNetwork::new();
    let bound = Server::memory(&network, "shop").codec(line).bind().await;
    let bound = bound.unwrap();
    let server = bound.handle();
    let serving = bound.serve_fn(obey);
    cycles(server, serving, count, |_| {
        let network = network.clone();
        async move { network.connect("shop").await.unwrap() }
    })
    .await;
}

fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn nothing_is_left_on(backend: Backend) {
    // The root returns once nothing runs below it.
    Root::new().backend(backend).block_on(Box::pin(async {
        over_tcp(10).await; // what runtimes open once
        let before = open();
        over_addresses(25_000).await;
        in_memory(9000).await;
        assert_eq!(open(), before, "{backend}");
    }));
}

// SV8
#[test]
fn nothing_is_left_after_very_many_connections_on_tokio() {
    nothing_is_left_on(Backend::Tokio);
}

// SV8
#[test]
fn nothing_is_left_after_very_many_connections_on_smol() {
    nothing_is_left_on(Backend::Smol);
}

// SV8
#[test]
fn nothing_is_left_after_very_many_connections_on_async_std() {
    nothing_is_left_on(Backend::AsyncStd);
}

// SV8
#[test]
fn a_simulated_host_is_left_as_it_was() {
    for seed in 0..10 {
        let world = Sim::builder().seed(seed);
        // The world names every task, socket and timer that is left once the client is done.
        let world = world.client("client", || async {
            let root = Root::new().backend(Backend::Sim);
            root.entered(over_tcp(100)).await;
        });
        world.run().unwrap();
    }
}

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
            let _ = timeout(Duration::from_secs(3), cycle(stream, number)).await;
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
