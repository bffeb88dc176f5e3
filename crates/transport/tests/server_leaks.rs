//! What very many connections, good and bad, leave behind: nothing.
#![cfg(target_os = "linux")]

use std::future::Future;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::ByteStream;
use bowline_codec::{Framed, Lines, Text};
use bowline_concurrency::{AnyError, GroupError, Root, TaskGroup, task_group};
use bowline_sim::Sim;
use bowline_transport::{
    Error, Extra, MemoryNetwork, MessageStream, Messages, Peer, Server, ServerHandle, TcpConnector,
    Transport,
};

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

// SV8
#[test]
fn nothing_is_left_after_very_many_connections() {
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        // The root returns once nothing runs below it.
        Root::new().backend(backend).block_on(Box::pin(async {
            over_tcp(10).await; // what runtimes open once
            let before = open();
            over_tcp(1000).await;
            in_memory(33_000).await;
            assert_eq!(open(), before, "{backend}");
        }));
    }
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
