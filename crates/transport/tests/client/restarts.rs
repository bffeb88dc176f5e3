//! A server that restarts, and all of its clients.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::time::Instant;
use bowline_codec::Lines;
use bowline_concurrency::{now, sleep};
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
