//! Very many connections, and very busy ones.

use std::fmt::Debug;
use std::ops::Mul;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::stream::ByteStream;
#[cfg(target_os = "linux")]
use bowline_backend::task::{RunOptions, Threads};
use bowline_concurrency::{AnyError, Root, TaskGroup, now, task_group};
use bowline_transport::{
    Error, Extra, MemoryNetwork, MessageStream, MessageStreamBuilder, Peer, Server, ServerHandle,
    ServerLimits, TcpConnector, Transport,
};
use futures_util::future::BoxFuture;

use crate::{Line, line};

type Client<S> = MessageStream<S, Line>;

/// A handler that answers all but noise, and counts.
fn answering<T>(
    handled: &Arc<AtomicUsize>,
) -> impl Fn(Peer<T>, String) -> BoxFuture<'static, Result<(), Error>> + Send + Sync + 'static
where
    T: Transport<Sent = String, Received = String> + 'static,
{
    let handled = handled.clone();
    move |peer, message| {
        handled.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match &*message {
                "noise" => Ok(()),
                _ => peer.send(&message).await,
            }
        })
    }
}

/// How many there are, and what they do.
#[derive(Clone, Copy)]
struct Crowd {
    connections: usize,
    /// How many of them wait for answers at the same time.
    asking: usize,
    /// How often.
    rounds: usize,
    /// Whether one more speaks without a pause.
    chatty: bool,
}

async fn in_memory(crowd: Crowd) -> Vec<Waited> {
    let network = MemoryNetwork::new();
    let bound = Server::memory(&network, "crowd").codec(line).bind().await;
    let (bound, handled) = (bound.unwrap(), Arc::default());
    let handle = bound.handle();
    let serving = bound.serve_each(answering(&handled));
    everybody_is_served(crowd, handle, serving, handled, move || {
        let network = network.clone();
        async move { network.connect("crowd").await.unwrap() }
    })
    .await
}

async fn over_tcp(crowd: Crowd) -> Vec<Waited> {
    let bound = Server::tcp(("127.0.0.1", 0)).codec(line).bind().await;
    let (bound, handled) = (bound.unwrap(), Arc::default());
    let handle = bound.handle();
    let at = handle.local_addrs()[0].as_inet().unwrap();
    let serving = bound.serve_each(answering(&handled));
    everybody_is_served(crowd, handle, serving, handled, move || async move {
        TcpConnector::new(at).connect().await.unwrap()
    })
    .await
}

#[cfg(unix)]
async fn over_unix(crowd: Crowd) -> Vec<Waited> {
    use bowline_backend::net::UnixStream;
    use bowline_backend::stream::UnixAddress;

    let at = UnixAddress::from_abstract("bowline-crowd").unwrap();
    let bound = Server::unix(at.clone()).codec(line).bind().await;
    let (bound, handled) = (bound.unwrap(), Arc::default());
    let handle = bound.handle();
    let serving = bound.serve_each(answering(&handled));
    everybody_is_served(crowd, handle, serving, handled, move || {
        let at = at.clone();
        async move { UnixStream::connect(&at).await.unwrap() }
    })
    .await
}

#[cfg(feature = "tls")]
async fn over_tls(crowd: Crowd) -> Vec<Waited> {
    let (bound, config) = crate::secure::secure(ServerLimits::new(), line).await;
    let (handle, handled) = (bound.handle(), Arc::default());
    let at = handle.local_addrs()[0].as_inet().unwrap();
    let serving = bound.serve_each(answering(&handled));
    everybody_is_served(crowd, handle, serving, handled, move || {
        let config = config.clone();
        async move {
            let stream = TcpConnector::new(at).connect().await.unwrap();
            let shaking = config.handshake(stream, crate::secure::NAME).unwrap();
            shaking.await.unwrap()
        }
    })
    .await
}

/// From a question to its answer.
struct Waited {
    /// Messages that the server handled.
    handled: usize,
    time: Duration,
}

/// So many connections are open, and each gets its answer while one asks without a pause.
async fn everybody_is_served<S, Fut>(
    crowd: Crowd,
    handle: ServerHandle,
    serving: impl Future<Output = Result<(), Error>> + Send + 'static,
    handled: Arc<AtomicUsize>,
    connect: impl Fn() -> Fut + Send,
) -> Vec<Waited>
where
    S: ByteStream + Extra,
    Fut: Future<Output = S> + Send,
{
    let Crowd {
        connections,
        asking,
        rounds,
        chatty,
    } = crowd;
    let waited = task_group(|group: TaskGroup<AnyError>| async move {
        group.spawn(async move { Ok(serving.await?) });
        let mut clients = Vec::with_capacity(connections);
        while clients.len() < connections - 1 {
            clients.push(MessageStream::new(connect().await, line()));
        }
        let done = Arc::new(AtomicBool::new(false));
        let (loud, told) = (MessageStreamBuilder::default(), done.clone());
        let stream = connect().await;
        let noise = group.spawn(async move {
            let mut client: Client<S> = loud.over(stream, line());
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
                    let (before, start) = (handled.load(Ordering::Relaxed), now());
                    client.send(&round.to_string()).await?;
                    assert_eq!(client.recv().await?, Some(round.to_string()));
                    waited.push(Waited {
                        handled: handled.load(Ordering::Relaxed) - before,
                        time: now().saturating_duration_since(start),
                    });
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
        assert_eq!(handle.counters().completed, connections as u64);
        // The one who was chatty may have ended before.
        assert!(report.finished >= connections - 1, "{report:?}");
        Ok(waited)
    });
    waited.await.unwrap()
}

/// One answer for each of ten thousand.
const ALL: Crowd = Crowd {
    connections: 10_000,
    asking: 9_999,
    rounds: 1,
    chatty: true,
};

/// Ten thousand, or as many as a process may have descriptors for; a tenth of them ask at once.
#[cfg(target_os = "linux")]
fn over_sockets(backend: Backend) {
    const OTHERS: u64 = 500;
    let descriptors = crate::child::descriptors(2 * ALL.connections as u64 + OTHERS);
    let connections = usize::try_from((descriptors - OTHERS) / 2).unwrap();
    let connections = connections.min(ALL.connections);
    let crowd = Crowd {
        connections,
        asking: connections / 10,
        rounds: 3,
        chatty: true,
    };
    let one = RunOptions::default().threads(Threads::One);
    let root = Root::new().backend(backend).options(one);
    let asked = root.block_on(Box::pin(over_tcp(crowd)));
    assert_eq!(asked.len(), crowd.asking * crowd.rounds);
    // Without the one who never pauses, an answer waits for those who ask at the same time. With it the
    // messages of both are counted, not the time, which is also that of others on this machine.
    let mut handled: Vec<usize> = asked.iter().map(|asked| asked.handled).collect();
    handled.sort_unstable();
    let p99 = handled[handled.len() * 99 / 100];
    assert!(
        p99 < 5 * crowd.asking,
        "{p99} before an answer of {}",
        crowd.asking
    );
}

macro_rules! on_every_backend {
    ($($backend:ident: $name:ident,)*) => { $(
        mod $name {
            // SV6
            #[test]
            fn ten_thousand_connections() {
                crate::within(crate::Backend::$backend, async {
                    super::in_memory(super::ALL).await;
                });
            }

            // SV6
            #[cfg(target_os = "linux")]
            #[test]
            fn a_chatty_connection_over_sockets_starves_nobody() {
                let name = concat!(
                    "crowds::",
                    stringify!($name),
                    "::a_chatty_connection_over_sockets_starves_nobody"
                );
                crate::child::run(name, crate::Backend::$backend, super::over_sockets);
            }
        }
    )* };
}

on_every_backend! {
    Tokio: on_tokio,
    Smol: on_smol,
    AsyncStd: on_async_std,
}

/// What others wait beside one who never pauses is less than five times what they wait without, at
/// the 99th of a hundred.
fn nobody_starves<T: Ord + Debug + Mul<u32, Output = T>, F: Future<Output = Vec<Waited>>>(
    measure: impl Fn(Waited) -> T,
    crowd: impl Fn(bool) -> F,
) {
    for seed in 0..3 {
        let p99 = |chatty| {
            let root = Root::new().backend(Backend::Sim);
            let waited = bowline_sim::block_on(seed, root.entered(crowd(chatty)));
            let mut waited: Vec<T> = waited.into_iter().map(&measure).collect();
            waited.sort_unstable();
            waited.swap_remove(waited.len() * 99 / 100)
        };
        let (alone, beside) = (p99(false), p99(true));
        let seen = format!("seed {seed}: {beside:?} before an answer, {alone:?} without");
        assert!(beside < alone * 5, "{seen}");
    }
}

// SV6
#[test]
fn a_chatty_connection_in_memory_starves_nobody() {
    // Where nothing takes time, what the server does meanwhile is what is waited for.
    let handled = |waited: Waited| u32::try_from(waited.handled).unwrap();
    nobody_starves(handled, |chatty| {
        in_memory(Crowd {
            connections: 1000,
            asking: 100,
            rounds: 10,
            chatty,
        })
    });
}

const SIMULATED: Crowd = Crowd {
    connections: 300,
    asking: 100,
    rounds: 10,
    chatty: false,
};

// SV6
#[test]
fn a_chatty_connection_over_simulated_tcp_starves_nobody() {
    let time = |waited: Waited| waited.time;
    nobody_starves(time, |chatty| {
        over_tcp(Crowd {
            chatty,
            ..SIMULATED
        })
    });
}

// SV6
#[cfg(unix)]
#[test]
fn a_chatty_connection_over_simulated_unix_sockets_starves_nobody() {
    let time = |waited: Waited| waited.time;
    nobody_starves(time, |chatty| {
        over_unix(Crowd {
            chatty,
            ..SIMULATED
        })
    });
}

// SV6
#[cfg(feature = "tls")]
#[test]
fn a_chatty_connection_over_simulated_tls_starves_nobody() {
    let time = |waited: Waited| waited.time;
    nobody_starves(time, |chatty| {
        over_tls(Crowd {
            chatty,
            connections: 40,
            asking: 25,
            ..SIMULATED
        })
    });
}
