//! Very many connections, and very busy ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_concurrency::{AnyError, Root, TaskGroup, task_group};
use bowline_transport::{
    Error, MemoryNetwork, MemoryStream, MessageStream, MessageStreamBuilder, Server, Transport,
};

use crate::{Line, line, within};

const CONNECTIONS: usize = 10_000;

/// In the simulator, where a poll costs more.
const SIMULATED: usize = 1000;

/// Those of them that wait for answers at the same time, again and again.
const ASKING: usize = 100;

type Client = MessageStream<MemoryStream, Line>;

async fn client(network: &MemoryNetwork) -> Client {
    MessageStream::new(network.connect("crowd").await.unwrap(), line())
}

/// So many connections are open, and each gets its answer while one asks without a pause.
/// Returns how many messages the server handled from a question to its answer, sorted.
async fn everybody_is_served(
    connections: usize,
    asking: usize,
    rounds: usize,
    chatty: bool,
) -> Vec<usize> {
    let network = MemoryNetwork::new();
    let bound = Server::memory(&network, "crowd").codec(line).bind().await;
    let bound = bound.unwrap();
    let handle = bound.handle();
    let handled = Arc::new(AtomicUsize::new(0));
    let counted = handled.clone();
    let serving = bound.serve_each(move |peer, message: String| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            match &*message {
                "noise" => Ok::<(), Error>(()),
                _ => peer.send(&message).await,
            }
        }
    });
    let waited = task_group(|group: TaskGroup<AnyError>| async move {
        group.spawn(async move { Ok(serving.await?) });
        let mut clients = Vec::with_capacity(connections);
        while clients.len() < connections - 1 {
            clients.push(client(&network).await);
        }
        let done = Arc::new(AtomicBool::new(false));
        let (loud, told) = (MessageStreamBuilder::default(), done.clone());
        let stream = network.connect("crowd").await?;
        let noise = group.spawn(async move {
            let mut client: Client = loud.over(stream, line());
            let mut sent = 0;
            while chatty && !told.load(Ordering::Relaxed) {
                client.send(&"noise".to_owned()).await?;
                sent += 1;
                if sent % 1000 == 0 {
                    bowline_concurrency::yield_now().await;
                }
            }
            client.close().await?;
            Ok(sent)
        });
        let mut asked = Vec::new();
        for mut client in clients.drain(..asking) {
            let handled = handled.clone();
            asked.push(group.spawn(async move {
                let mut waited = Vec::new();
                for round in 0..rounds {
                    let before = handled.load(Ordering::Relaxed);
                    client.send(&round.to_string()).await?;
                    assert_eq!(client.recv().await?, Some(round.to_string()));
                    waited.push(handled.load(Ordering::Relaxed) - before);
                }
                Ok((waited, client))
            }));
        }
        let mut waited = Vec::new();
        for asked in asked {
            let (times, client) = asked.join().await?;
            waited.extend(times);
            clients.push(client);
        }
        done.store(true, Ordering::Relaxed);
        let noise = noise.join().await?;
        assert_eq!(chatty, noise > 0);
        // And so has each of the others.
        for client in &mut clients {
            client.send(&"hello".to_owned()).await?;
            assert_eq!(client.recv().await?.as_deref(), Some("hello"));
        }
        assert_eq!(handle.counters().accepted, connections as u64);
        let report = handle.drain(Duration::from_secs(60)).await;
        assert_eq!(report.finished, handle.counters().completed as usize - 1);
        waited.sort_unstable();
        Ok(waited)
    });
    waited.await.unwrap()
}

// SV6
#[test]
fn ten_thousand_connections_on_tokio() {
    within(Backend::Tokio, async {
        everybody_is_served(CONNECTIONS, CONNECTIONS - 1, 1, true).await;
    });
}

// SV6
#[test]
fn ten_thousand_connections_on_smol() {
    within(Backend::Smol, async {
        everybody_is_served(CONNECTIONS, CONNECTIONS - 1, 1, true).await;
    });
}

// SV6
#[test]
fn ten_thousand_connections_on_async_std() {
    within(Backend::AsyncStd, async {
        everybody_is_served(CONNECTIONS, CONNECTIONS - 1, 1, true).await;
    });
}

// SV6
#[test]
fn a_chatty_connection_starves_nobody() {
    for seed in 0..3 {
        let run = |chatty| {
            let root = Root::new().backend(Backend::Sim);
            bowline_sim::block_on(
                seed,
                root.entered(everybody_is_served(SIMULATED, ASKING, 10, chatty)),
            )
        };
        let p99 = |waited: Vec<usize>| waited[waited.len() * 99 / 100];
        let (alone, beside) = (p99(run(false)), p99(run(true)));
        assert!(
            beside < 5 * alone,
            "seed {seed}: {beside} handled before an answer, {alone} without"
        );
    }
}
