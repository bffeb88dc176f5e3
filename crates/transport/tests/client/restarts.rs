//! A server that restarts, and all of its clients.

use std::collections::BTreeMap;
#[cfg(target_os = "linux")]
use std::net::SocketAddr;
use std::pin::pin;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[cfg(target_os = "linux")]
use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::time::Instant;
use bowline_codec::Lines;
use bowline_concurrency::{now, sleep};
#[cfg(target_os = "linux")]
use bowline_transport::ClientState;
use bowline_transport::{
    Client, DynTransport, Error, ErrorKind, MemoryStream, MessageStream, Operation,
};
use futures_util::future::{Either, join, join_all, select};

use crate::{Text, in_sim};

const CLIENTS: usize = 5000;
const DOWN: Duration = Duration::from_secs(5);

/// The server: whether it is up, who is connected, and when somebody tried.
#[derive(Default)]
struct Server {
    down: bool,
    connections: Vec<MemoryStream>,
    attempts: BTreeMap<u128, usize>,
}

// CL3
#[test]
fn five_thousand_clients_do_not_come_back_together() {
    for seed in 0..5 {
        in_sim(seed, async {
            let server = Arc::new(Mutex::new(Server::default()));
            let begun = now();
            let clients: Vec<Text> = (0..CLIENTS)
                .map(|_| {
                    let server = server.clone();
                    Client::with_dial(move || {
                        let mut server = server.lock().unwrap();
                        *server
                            .attempts
                            .entry((now() - begun).as_millis() / 10)
                            .or_default() += 1;
                        let made = match server.down {
                            true => Err(Error::new(Operation::Connect, ErrorKind::Refused)),
                            false => {
                                let (here, there) = MemoryStream::pair();
                                server.connections.push(there);
                                let here = MessageStream::new(here, Lines::lf().text());
                                Ok(DynTransport::new(here))
                            }
                        };
                        async move { made }
                    })
                    .reconnecting()
                })
                .collect();
            join_all(clients.iter().map(|client| client.connect())).await;
            let restart = async {
                sleep(Duration::from_secs(20)).await;
                let gone = {
                    let mut server = server.lock().unwrap();
                    server.down = true;
                    server.attempts.clear();
                    std::mem::take(&mut server.connections)
                };
                drop(gone);
                sleep(DOWN).await;
                server.lock().unwrap().down = false;
            };
            let back = join_all(clients.iter().map(|client| async move {
                client.recv().await.unwrap_err();
                client.connect().await.unwrap();
            }));
            join(restart, back).await;
            let server = server.lock().unwrap();
            assert_eq!(server.connections.len(), CLIENTS);
            // The first pauses are of up to 100 ms: a tenth of all in each 10 ms, give or take.
            let most = server.attempts.values().max().copied().unwrap_or(0);
            assert!(most < CLIENTS / 6, "{most} of {CLIENTS} within 10 ms");
            // And less and less: of those that come back, none in a crowd.
            let up = (Duration::from_secs(20) + DOWN).as_millis() / 10;
            let crowd = server.attempts.range(up..).map(|(_, count)| *count).max();
            assert!(crowd < Some(CLIENTS / 50), "{crowd:?} within 10 ms");
            let attempts: usize = server.attempts.values().sum();
            assert!(attempts < CLIENTS * 12, "{attempts} attempts");
        });
    }
}

/// Accepts for ever, keeps who came, and counts them by the time at which they did.
async fn accept_all(
    listener: TcpListener,
    begun: Instant,
    connections: &Mutex<Vec<TcpStream>>,
    came: &Mutex<BTreeMap<u128, usize>>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.lock().unwrap().push(stream);
        let at = (now() - begun).as_millis() / 10;
        *came.lock().unwrap().entry(at).or_default() += 1;
    }
}

// CL3
#[test]
fn nor_do_those_of_a_server_over_tcp() {
    for seed in 0..2 {
        in_sim(seed, async {
            let (listener, at) = crate::listen();
            let begun = now();
            let (connections, came) = (Mutex::default(), Mutex::default());
            let clients: Vec<Text> = (0..CLIENTS)
                .map(|_| crate::client(at).reconnecting())
                .collect();
            let connecting = join_all(clients.iter().map(|client| client.connect()));
            let serving = accept_all(listener, begun, &connections, &came);
            match select(pin!(connecting), pin!(serving)).await {
                Either::Left((connected, _)) => connected.into_iter().for_each(Result::unwrap),
                Either::Right(_) => unreachable!("it accepts for ever"),
            }
            // The server ends, and with it all that it had; whoever was not accepted yet too.
            drop(std::mem::take(&mut *connections.lock().unwrap()));
            let back = join_all(clients.iter().map(|client| async move {
                client.recv().await.unwrap_err();
                client.connect().await.unwrap();
            }));
            let restarted = async {
                sleep(DOWN).await;
                came.lock().unwrap().clear();
                let listener = TcpListener::bind(at).unwrap();
                accept_all(listener, begun, &connections, &came).await;
            };
            match select(pin!(back), pin!(restarted)).await {
                Either::Left(_) => {}
                Either::Right(_) => unreachable!("it accepts for ever"),
            }
            let came = came.lock().unwrap();
            let crowd = came.values().max().copied();
            assert!(crowd < Some(CLIENTS / 50), "{crowd:?} within 10 ms");
            // The last ones may still be in the backlog.
            assert!(came.values().sum::<usize>() > CLIENTS / 2, "{came:?}");
        });
    }
}

/// Until when a client waits, each time, once its connection has broken and until it has another one.
#[cfg(target_os = "linux")]
async fn waits(client: &Text, all: &AtomicUsize) -> Vec<Instant> {
    let mut state = client.state();
    client.recv().await.unwrap_err();
    let watch = async {
        let mut waits = Vec::new();
        loop {
            match *state.changed().await.unwrap() {
                ClientState::Waiting(until) => {
                    waits.push(until);
                    all.fetch_add(1, Ordering::Relaxed);
                }
                ClientState::Ready => return waits,
                _ => {}
            }
        }
    };
    let (waits, connected) = join(watch, client.connect()).await;
    connected.unwrap();
    waits
}

/// The most that end within 10 ms of each other.
#[cfg(target_os = "linux")]
fn crowd<'a>(begun: Instant, waits: impl Iterator<Item = &'a Instant>) -> usize {
    let mut counts: BTreeMap<u128, usize> = BTreeMap::new();
    for until in waits {
        let at = until.saturating_duration_since(begun).as_millis() / 10;
        *counts.entry(at).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// An address of this process alone, any port: while the server is down nobody else takes its place,
/// be it a client, whose own address is 127.0.0.1.
#[cfg(target_os = "linux")]
fn own_address() -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    SocketAddr::from(([127, 128 | high, middle, low], 0))
}

/// The clients of a server that is down for as long as it takes that each has tried some times. What
/// they draw is looked at, not when a busy machine lets them try.
#[cfg(target_os = "linux")]
fn over_sockets(backend: Backend) {
    const MANY: u64 = 1000;
    const OTHERS: u64 = 300;
    const TRIES: usize = 4;
    /// Connecting at once: fewer than a backlog holds.
    const FEW: usize = 250;
    let descriptors = crate::child::descriptors(2 * MANY + OTHERS);
    let count = usize::try_from((descriptors - OTHERS) / 2).unwrap();
    crate::on(backend, async {
        let listener = TcpListener::bind(own_address()).unwrap();
        let at = listener.local_addr().unwrap();
        let begun = now();
        let (connections, came) = (Mutex::<Vec<_>>::default(), Mutex::default());
        let clients: Vec<Text> = (0..count)
            .map(|_| crate::client(at).reconnecting())
            .collect();
        let connecting = async {
            for (at, some) in clients.chunks(FEW).enumerate() {
                let connected = join_all(some.iter().map(|client| client.connect())).await;
                connected.into_iter().for_each(Result::unwrap);
                // Who was not accepted yet when a listener closes learns that by its keep-alive alone.
                while connections.lock().unwrap().len() < at * FEW + some.len() {
                    sleep(Duration::from_millis(1)).await;
                }
            }
        };
        let serving = accept_all(listener, begun, &connections, &came);
        let Either::Left(_) = select(pin!(connecting), pin!(serving)).await else {
            unreachable!("it accepts for ever")
        };
        let all = AtomicUsize::new(0);
        let back = join_all(clients.iter().map(|client| waits(client, &all)));
        let restarted = async {
            drop(std::mem::take(&mut *connections.lock().unwrap()));
            while all.load(Ordering::Relaxed) < TRIES * count {
                sleep(Duration::from_millis(10)).await;
            }
            let listener = TcpListener::bind(at).unwrap();
            accept_all(listener, begun, &connections, &came).await;
        };
        let Either::Left((waited, _)) = select(pin!(back), pin!(restarted)).await else {
            unreachable!("it accepts for ever")
        };
        // The first pauses are of up to 100 ms: a tenth of all in each 10 ms, give or take.
        let first = crowd(begun, waited.iter().filter_map(|waits| waits.first()));
        assert!(
            first > 0 && first < count / 5,
            "{first} of {count} within 10 ms"
        );
        // Those after which they come back are longer, each by itself.
        let last = crowd(begun, waited.iter().filter_map(|waits| waits.last()));
        assert!(
            last > 0 && last < count / 10,
            "{last} of {count} within 10 ms"
        );
        let most = waited.iter().map(Vec::len).max();
        assert!(most < Some(TRIES * 5), "{most:?} attempts of one");
    });
}

macro_rules! on_real_backends {
    ($($backend:ident: $name:ident,)*) => { $(
        mod $name {
            // CL3
            #[cfg(target_os = "linux")]
            #[test]
            fn nor_do_those_of_a_server_over_sockets() {
                let name = concat!(
                    "restarts::",
                    stringify!($name),
                    "::nor_do_those_of_a_server_over_sockets"
                );
                crate::child::run(name, bowline_backend::Backend::$backend, super::over_sockets);
            }
        }
    )* };
}

on_real_backends! {
    Tokio: on_tokio,
    Smol: on_smol,
    AsyncStd: on_async_std,
}
