//! How many connections a broker has: who is let in, who waits and who is sent away.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bowline_backend::net::{Family, Query, TcpStream, resolve};
use bowline_backend::stream::ByteStreamExt;
use bowline_channel::bounded;
use bowline_concurrency::{sleep, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::{
    Broker, Caller, Context, Endpoint, Error, Limits, Registry, Secret, TcpBroker, TcpBrokerBuilder,
};
use bowline_sim::{Link, Sim};
use bowline_transport::MemoryNetwork;
use bytes::BytesMut;

use crate::backends::{on_every_backend, registry, within};
use crate::raw_peer::{LONG, RawPeer, read_to_end};

fn serve(limits: Limits) -> TcpBrokerBuilder {
    serve_at("127.0.0.1:0", limits)
}

fn serve_at(address: impl Into<Endpoint>, mut limits: Limits) -> TcpBrokerBuilder {
    // The first of those who say nothing is not to be closed for that before the last has come.
    limits.handshake_timeout = 30 * LONG;
    TcpBroker::builder(AsyncExecutor::new(registry(), 64))
        .limits(limits)
        .unwrap()
        .listen(address)
        .allow_insecure_network()
}

/// A peer that connects and says nothing, once the broker has taken it on.
async fn silent(server: &TcpBroker, address: SocketAddr) -> TcpStream {
    let before = server.statistics().accepted;
    let stream = TcpStream::connect(address).await.unwrap();
    until(server, |server| server.statistics().accepted > before).await;
    stream
}

async fn until(server: &TcpBroker, holds: impl Fn(&TcpBroker) -> bool) {
    let held = timeout(LONG, async {
        while !holds(server) {
            yield_now().await;
        }
    });
    held.await.expect("it comes to hold");
}

on_every_backend! {
    async fn programs_of_one_machine_are_not_counted_by_their_address() {
        let mut limits = Limits::default();
        limits.unauthenticated_per_prefix = 1;
        limits.unauthenticated = 40;
        serve(limits).run(async |server| -> Result<(), Error> {
            let address = server.local_addrs()[0];
            let mut held = Vec::new();
            for _ in 0..40 {
                held.push(silent(&server, address).await);
            }
            assert_eq!((server.statistics().open, server.statistics().refused), (40, 0));
            // They count among all.
            let mut stream = TcpStream::connect(address).await.unwrap();
            assert_eq!(read_to_end(&mut stream).await, 0, "closed at once");
            assert_eq!((server.statistics().open, server.statistics().refused), (40, 1));
            Ok(())
        }).await.unwrap();
    }

    async fn all_addresses_have_only_so_many_handshakes_at_once() {
        let mut limits = Limits::default();
        limits.unauthenticated = 1;
        serve(limits).run(async |server| -> Result<(), Error> {
            let address = server.local_addrs()[0];
            let ready = RawPeer::dial(address, &Limits::default()).await;
            until(&server, |server| server.statistics().ready == 1).await;
            let first = silent(&server, address).await;
            let mut second = TcpStream::connect(address).await.unwrap();
            assert_eq!(read_to_end(&mut second).await, 0);
            assert_eq!((server.statistics().open, server.statistics().refused), (2, 1));
            drop((first, ready));
            Ok(())
        }).await.unwrap();
    }

    async fn at_the_most_connections_accepting_waits() {
        let mut limits = Limits::default();
        limits.connections = 2;
        serve(limits).run(async |server| -> Result<(), Error> {
            let address = server.local_addrs()[0];
            let first = RawPeer::dial(address, &Limits::default()).await;
            let client = TcpBroker::caller().project("example").connect(address);
            client.run(async |client| -> Result<(), Error> {
                // The third is connected by the system, and neither answered nor closed.
                let mut waiting = TcpStream::connect(address).await.unwrap();
                waiting.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
                let mut answer = BytesMut::new();
                let nothing = timeout(Duration::from_millis(50), waiting.read_into(&mut answer, NonZeroUsize::MIN)).await;
                assert!(nothing.is_err(), "{nothing:?}");
                assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                let seen = server.statistics();
                assert_eq!((seen.open, seen.accepted, seen.refused, seen.strangers.total()), (2, 2, 0, 0));
                // Its turn comes when another leaves.
                drop(first);
                assert_eq!(read_to_end(&mut waiting).await, 0);
                let seen = server.statistics();
                assert_eq!((seen.accepted, seen.refused, seen.strangers.http), (3, 0, 1));
                assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
                Ok(())
            }).await
        }).await.unwrap();
    }

    // BR5
    async fn clients_that_fill_every_place_keep_no_broker_from_the_peers_it_dials() {
        within(|group| async move {
            let network = MemoryNetwork::new();
            let backend = async || {
                let backend = TcpBroker::builder(AsyncExecutor::new(registry(), 4)).network(&network);
                backend.listen("mem://backend").start(&group).await
            };
            let relays = Registry::new("example");
            relays.register_fn("relay", |context: Context, (n,): (i64,)| async move {
                context.broker()?.call_named::<i64>("add", (n, 1)).timeout(LONG).await.ok()
            }).unwrap();
            let mut limits = Limits::default();
            limits.connections = 2;
            let gateway = TcpBroker::builder(AsyncExecutor::new(relays, 4)).limits(limits)?.network(&network);
            let gateway = gateway.listen("mem://gateway");
            // All places are taken before it dials anybody, and once more when it dials again.
            let gateway = gateway.start(&group).await?;
            let client = || TcpBroker::caller().project("example").network(&network).connect("mem://gateway");
            let clients = [client().start(&group).await?, client().start(&group).await?];
            let next = client().connect_timeout(30 * LONG);
            let waits = group.clone();
            let next = group.spawn_ok(async move { next.start(&waits).await });
            for round in 0..2 {
                let backend = backend().await?;
                timeout(LONG, gateway.connect("mem://backend")).await.expect("there is a place")?;
                let relayed = clients[0].call_named::<Option<i64>>("relay", (round,)).await?;
                assert_eq!(relayed, Some(round + 1));
                let seen = gateway.statistics();
                assert_eq!((seen.open, seen.accepted), (3, 2));
                backend.close();
                backend.closed().await;
                until(&gateway, |gateway| gateway.statistics().open == 2).await;
            }
            // Those that it dials take no place of those that it accepts.
            let _backend = backend().await?;
            timeout(LONG, gateway.connect("mem://backend")).await.expect("there is a place")?;
            clients[1].close();
            let next = timeout(LONG, next.join()).await.expect("it is its turn").expect("it is not cancelled")?;
            assert_eq!(next.call_named::<Option<i64>>("relay", (7,)).await?, Some(8));
            Ok(())
        }).await;
    }

    async fn two_listeners_share_the_most_connections() {
        let mut limits = Limits::default();
        limits.connections = 1;
        serve(limits).listen("127.0.0.1:0").run(async |server| -> Result<(), Error> {
            let (one, other) = (server.local_addrs()[0], server.local_addrs()[1]);
            let first = RawPeer::dial(one, &Limits::default()).await;
            let mut second = TcpStream::connect(other).await.unwrap();
            let mut third = TcpStream::connect(one).await.unwrap();
            for stream in [&mut second, &mut third] {
                stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
            }
            assert_eq!(server.statistics().open, 1);
            drop(first);
            assert_eq!(read_to_end(&mut second).await, 0);
            drop(second);
            assert_eq!(read_to_end(&mut third).await, 0);
            let seen = server.statistics();
            assert_eq!((seen.accepted, seen.refused, seen.strangers.ssh), (3, 0, 2));
            assert!(seen.open <= 1);
            Ok(())
        }).await.unwrap();
    }
}

/// Two hosts of a simulated world, as a real machine may have loopback addresses alone.
#[test]
fn one_address_has_only_so_many_handshakes_at_once() {
    let (sender, servers) = bounded(1);
    let world = Sim::builder()
        .host("server", move || {
            let sender = sender.clone();
            async move {
                let mut limits = Limits::default();
                limits.unauthenticated_per_prefix = 2;
                let server = serve_at("0.0.0.0:80", limits);
                server
                    .run(async |server| -> Result<(), Error> {
                        let _ = sender.send(server.clone()).await;
                        server.closed().await;
                        Ok(())
                    })
                    .await
            }
        })
        .client("client", move || {
            let servers = servers.clone();
            async move {
                let server = servers.recv().await.expect("it starts");
                let query = Query::host("server", 80).family(Family::V4);
                let address = resolve(query).await.expect("it has an address")[0];
                few_handshakes(&server, address).await;
                Ok::<(), Error>(())
            }
        });
    for seed in 0..5 {
        world.clone().seed(seed).run().expect("the client ends");
    }
}

/// At most 2 handshakes at `server` come from one address.
async fn few_handshakes(server: &TcpBroker, address: SocketAddr) {
    let first = silent(server, address).await;
    let _second = silent(server, address).await;
    for refused in 1..=3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(read_to_end(&mut stream).await, 0, "closed at once");
        assert_eq!(server.statistics().refused, refused);
    }
    let seen = server.statistics();
    assert_eq!((seen.open, seen.accepted), (2, 2));
    // A place is free again when one of them ends, and when one of them gets ready.
    drop(first);
    until(server, |server| server.statistics().open == 1).await;
    for _ in 0..3 {
        let peer = RawPeer::dial(address, &Limits::default()).await;
        until(server, |server| server.statistics().ready == 1).await;
        drop(peer);
        until(server, |server| server.statistics().ready == 0).await;
    }
    assert_eq!(server.statistics().refused, 3);
}

/// Hosts that connect and say nothing, and how often each does.
const SILENT: [&str; 10] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"];
const EACH: usize = 1000;

/// What the hosts of a flood know of each other.
#[derive(Default)]
struct Flood {
    began: bool,
    ended: usize,
    turned_away: u64,
    most_open: usize,
}

async fn flooded() -> Result<(), Error> {
    let secret = Secret::new([7; 16]).expect("it is long enough");
    TcpBroker::builder(AsyncExecutor::new(registry(), 64))
        .secret(secret)
        .listen("0.0.0.0:80")
        .allow_insecure_network()
        .run(async |server| -> Result<(), Error> {
            loop {
                let open = server.statistics().open;
                Sim::ghost(|flood: &mut Flood| flood.most_open = flood.most_open.max(open));
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await
}

async fn floods() {
    while !Sim::ghost(|flood: &mut Flood| flood.began) {
        sleep(Duration::from_millis(1)).await;
    }
    let query = Query::host("server", 80).family(Family::V4);
    let address = resolve(query).await.expect("it has an address")[0];
    let mut held = VecDeque::new();
    for _ in 0..EACH {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let mut nothing = BytesMut::new();
        // One that is turned away hears so at once, and one that is taken on much later.
        let end = stream.read_into(&mut nothing, NonZeroUsize::MIN);
        if let Ok(end) = timeout(Duration::from_millis(5), end).await {
            assert!(
                matches!(end, Ok(0) | Err(_)) && nothing.is_empty(),
                "{nothing:?}"
            );
            Sim::ghost(|flood: &mut Flood| flood.turned_away += 1);
        } else {
            held.push_back(stream);
            if held.len() > 100 {
                held.pop_front();
            }
        }
    }
    Sim::ghost(|flood: &mut Flood| flood.ended += 1);
}

/// Calls before the flood, and all through it.
async fn lives() -> Result<(), Error> {
    let secret = Secret::new([7; 16]).expect("it is long enough");
    TcpBroker::caller()
        .project("example")
        .secret(secret)
        .connect("server:80")
        .allow_insecure_network()
        .run(async |client| -> Result<(), Error> {
            let call = async |n: i64| -> Result<Duration, Error> {
                let began = Sim::now();
                assert_eq!(client.call_named::<i64>("add", (n, 1)).await?, n + 1);
                Ok(Sim::now() - began)
            };
            let mut longest = Duration::ZERO;
            for n in 0..100 {
                longest = longest.max(call(n).await?);
            }
            Sim::ghost(|flood: &mut Flood| flood.began = true);
            let mut calls = 0;
            while Sim::ghost(|flood: &mut Flood| flood.ended) < SILENT.len() {
                let took = call(calls).await?;
                // A tenth of a millisecond is for the work that the flood makes.
                assert!(
                    took < longest + Duration::from_micros(100),
                    "{took:?}, {longest:?} before"
                );
                calls += 1;
            }
            assert!(calls > 1000, "{calls} calls meanwhile");
            let limits = Limits::default();
            Sim::ghost(|flood: &mut Flood| {
                // Those in their handshake, and this one.
                assert_eq!(flood.most_open, limits.unauthenticated + 1);
                assert!(
                    flood.turned_away > 5000,
                    "{} turned away",
                    flood.turned_away
                );
            });
            assert_eq!((client.statistics().lost, client.connections()), (0, 1));
            Ok(())
        })
        .await
}

// A3
#[test]
fn ten_thousand_silent_connections_of_many_hosts_take_nobody_a_moment() {
    let latency = Duration::from_millis(1);
    let mut world = Sim::builder()
        .default_link(Link::lan().latency(latency..latency + Duration::from_nanos(1)))
        .host("server", flooded);
    for silent in SILENT {
        world = world.host(silent, floods).host_must_not_fail(silent);
    }
    world
        .client("live", lives)
        .run()
        .expect("nobody is kept waiting");
}
