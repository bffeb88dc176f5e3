//! What handlers do, and what becomes of them.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_backend::net::{RawSocket, UdpSocket};
use bowline_codec::Text;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{AnyError, TaskGroup, now, task_group, yield_now};
use bowline_transport::{
    DatagramEndpoint, DatagramEndpointBuilder, Error, ErrorKind, Extra, LocalAddr, PacketHandler,
    PacketLimits, PacketPeer, Packets, PeerAddr, Server, serve_packets,
};
use futures_util::future::join;

use crate::{bind, client, loopback, recv, send, until};

pub(crate) const SEEDS: u64 = 20;

const LONG: Duration = Duration::from_secs(60);

// SV7, T10
pub(crate) async fn a_peer_has_one_task_at_a_time() {
    let server = bind(PacketLimits::new()).await;
    let handle = server.handle();
    let (running, runs) = (
        Arc::new(Mutex::new(BTreeMap::new())),
        Arc::new(AtomicUsize::new(0)),
    );
    let socket = Arc::new(Mutex::new(None::<RawSocket>));
    let serving = {
        let (running, runs, socket) = (running.clone(), runs.clone(), socket.clone());
        // Each run takes one packet, so the others begin runs of their own.
        server.serve_fn(
            move |peer: PacketPeer<_, Text>, mut packets: Packets<_, Text>| {
                let (running, runs, socket) = (running.clone(), runs.clone(), socket.clone());
                async move {
                    assert_eq!(peer.extra::<PeerAddr>().as_ref(), Some(peer.peer_addr()));
                    assert!(peer.extra::<LocalAddr>().is_some());
                    if let Some(raw) = peer.extra::<RawSocket>() {
                        assert_eq!(Some(raw.local_addr().unwrap()), peer.extra::<LocalAddr>());
                        *socket.lock().unwrap() = Some(raw);
                    }
                    let before = running.lock().unwrap().insert(peer.peer_addr().clone(), ());
                    assert!(before.is_none(), "{peer:?} has two");
                    for _ in 0..3 {
                        yield_now().await;
                    }
                    let text = packets.recv().await?.unwrap();
                    peer.send(&text).await?;
                    runs.fetch_add(1, Ordering::Relaxed);
                    running.lock().unwrap().remove(peer.peer_addr());
                    Ok::<_, Error>(())
                }
            },
        )
    };
    let talking = async {
        let mut clients = [client(&handle), client(&handle), client(&handle)];
        for client in &mut clients {
            for n in 0..10 {
                send(client, n.to_string()).await;
            }
        }
        for client in &mut clients {
            for n in 0..10 {
                assert_eq!(recv(client).await, n.to_string());
            }
        }
        handle.drain(LONG).await;
    };
    join(serving, talking).await.0.unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 30);
    assert_eq!(
        (handle.counters().completed, handle.counters().panicked),
        (30, 0)
    );
    let socket = socket.lock().unwrap().take();
    assert!(socket.is_none_or(|socket| !socket.is_open()));
}

// SV7
pub(crate) async fn a_handler_that_takes_nothing_costs_one_packet() {
    let server = bind(PacketLimits::new()).await;
    let handle = server.handle();
    let serving = server.serve_fn(|_, _: Packets<_, Text>| async { Ok::<_, Error>(()) });
    let talking = async {
        let mut client = client(&handle);
        for _ in 0..10 {
            send(&mut client, "for nobody").await;
        }
        until(|| handle.counters().unhandled == 10 && handle.peers() == 0).await;
        handle.drain(LONG).await;
    };
    join(serving, talking).await.0.unwrap();
    let counters = handle.counters();
    assert_eq!(
        (counters.received, counters.taken, counters.completed),
        (10, 0, 10)
    );
}

// SV4, SV7
pub(crate) async fn failures_and_panics_are_counted() {
    let server = bind(PacketLimits::new()).await;
    let handle = server.handle();
    let serving = server.serve_each(|peer, text: String| async move {
        match text.as_str() {
            "fail" => Err("as asked".to_owned()),
            "panic" => panic!("as asked"),
            _ => peer.send(&text).await.map_err(|error| error.to_string()),
        }
    });
    let talking = async {
        let mut client = client(&handle);
        for text in ["fail", "one", "panic", "fail", "two"] {
            send(&mut client, text).await;
        }
        assert_eq!(recv(&mut client).await, "one");
        assert_eq!(recv(&mut client).await, "two");
        handle.drain(LONG).await;
    };
    join(serving, talking).await.0.unwrap();
    let counters = handle.counters();
    assert_eq!((counters.failed, counters.panicked), (2, 1));
    assert_eq!((counters.taken, counters.unhandled), (5, 0));
}

/// Panics when it is first called, before it gives a future.
struct Hasty(AtomicUsize);

impl PacketHandler<UdpSocket, Text> for Hasty {
    type Error = Error;

    fn handle(
        &self,
        peer: &PacketPeer<UdpSocket, Text>,
        packets: &mut Packets<UdpSocket, Text>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "too hasty");
        async {
            while let Some(text) = packets.recv().await? {
                peer.send(&text).await?;
            }
            Ok(())
        }
    }
}

// SV4, SV7
pub(crate) async fn a_panic_at_once_costs_one_packet() {
    let endpoint = DatagramEndpoint::udp(loopback(), Text::new()).unwrap();
    // In a group that ends with the first panic of a task.
    let served = task_group(|group: TaskGroup<AnyError>| async move {
        let serving = serve_packets(endpoint, &group, Hasty(AtomicUsize::new(0)));
        let handle = serving.handle();
        let talking = async {
            let mut client = client(&handle);
            for text in ["lost", "kept", "kept too"] {
                send(&mut client, text).await;
            }
            assert_eq!(recv(&mut client).await, "kept");
            assert_eq!(recv(&mut client).await, "kept too");
            handle.drain(LONG).await;
        };
        join(serving.into_future(), talking).await.0?;
        let counters = handle.counters();
        assert_eq!((counters.panicked, counters.cancelled), (1, 0));
        assert_eq!((counters.taken, counters.unhandled), (2, 1));
        Ok(())
    });
    served.await.unwrap();
}

/// Answers also what it does not understand.
struct Answering;

impl PacketHandler<UdpSocket, Text> for Answering {
    type Error = Error;

    async fn handle(
        &self,
        peer: &PacketPeer<UdpSocket, Text>,
        packets: &mut Packets<UdpSocket, Text>,
    ) -> Result<(), Error> {
        loop {
            let answer = match packets.recv().await {
                Ok(None) => return Ok(()),
                Ok(Some(text)) => format!("{text}, indeed"),
                Err(error) => {
                    assert_eq!(
                        (error.kind(), error.peer()),
                        (ErrorKind::Decode, Some(peer.peer_addr()))
                    );
                    "what?".to_owned()
                }
            };
            peer.send(&answer).await?;
        }
    }
}

// SV3, SV7
pub(crate) async fn what_cannot_be_decoded_reaches_the_handler() {
    let short = DatagramEndpointBuilder::default().max_packet(NonZeroUsize::new(16).unwrap());
    let server = Server::udp(loopback()).codec(Text::new).endpoint(short);
    let server = server.bind().await.unwrap();
    let handle = server.handle();
    let talking = async {
        let at = handle.local_addrs()[0].as_inet().unwrap();
        let client = UdpSocket::connect(at).unwrap();
        let mut heard = bytes::BytesMut::new();
        let most = NonZeroUsize::new(100).unwrap();
        for (said, answer) in [
            (&b"\xff"[..], &b"what?"[..]),
            (b"more than 16 bytes", b"what?"),
            (b"yes", b"yes, indeed"),
        ] {
            client.send(said).await.unwrap();
            heard.clear();
            client.recv_from(&mut heard, most).await.unwrap();
            assert_eq!(heard, answer);
        }
        handle.drain(LONG).await;
    };
    join(server.serve(Answering), talking).await.0.unwrap();
    assert_eq!(handle.counters().completed, 1);
}

// SV7
pub(crate) async fn a_silent_peer_ends_its_handler() {
    let server = bind(PacketLimits::new().peer_idle(Duration::from_millis(20))).await;
    let handle = server.handle();
    let serving = server.serve_fn(crate::echo);
    let talking = async {
        let mut client = client(&handle);
        for round in 1..=3 {
            send(&mut client, "hello").await;
            assert_eq!(recv(&mut client).await, "hello");
            until(|| handle.peers() == 0).await;
            assert_eq!(handle.counters().completed, round);
        }
        handle.drain(LONG).await;
    };
    join(serving, talking).await.0.unwrap();
}

// SV7
pub(crate) async fn a_peer_that_was_answered_takes_no_place() {
    let ages = Duration::from_secs(100_000);
    let server = bind(PacketLimits::new().max_peers(1).peer_idle(ages)).await;
    let handle = server.handle();
    let serving = server.serve_each(|peer, text: String| async move { peer.send(&text).await });
    let talking = async {
        let mut clients = [client(&handle), client(&handle), client(&handle)];
        for round in 0..3 {
            for client in &mut clients {
                for said in ["one", "two"] {
                    send(client, format!("{said} {round}")).await;
                }
                for said in ["one", "two"] {
                    assert_eq!(recv(client).await, format!("{said} {round}"));
                }
                until(|| handle.peers() == 0).await;
            }
        }
        handle.drain(LONG).await;
    };
    join(serving, talking).await.0.unwrap();
    let counters = handle.counters();
    assert_eq!((counters.taken, counters.refused), (18, 0));
}

// SV7
pub(crate) async fn packets_kept_beyond_their_run_are_empty() {
    let server = bind(PacketLimits::new()).await;
    let handle = server.handle();
    let kept = Arc::new(Mutex::new(None));
    let serving = {
        let kept = kept.clone();
        server.serve_fn(
            move |peer: PacketPeer<_, Text>, mut packets: Packets<_, Text>| {
                let kept = kept.clone();
                async move {
                    let text = packets.recv().await?.unwrap();
                    *kept.lock().unwrap() = Some(packets);
                    peer.send(&text).await
                }
            },
        )
    };
    let talking = async {
        let mut client = client(&handle);
        for _ in 0..3 {
            send(&mut client, "hello").await;
            assert_eq!(recv(&mut client).await, "hello");
            until(|| handle.peers() == 0).await;
            let mut old: Packets<UdpSocket, Text> = kept.lock().unwrap().take().unwrap();
            assert!(old.recv().await.unwrap().is_none());
        }
        handle.drain(LONG).await;
    };
    join(serving, talking).await.0.unwrap();
}

// SV7
pub(crate) async fn who_waits_beyond_a_run_is_told() {
    let server = bind(PacketLimits::new().peer_idle(60 * LONG)).await;
    let handle = server.handle();
    let (handed, over) = (Arc::new(Mutex::new(None)), Arc::new(Event::new()));
    let serving = {
        let (handed, over) = (handed.clone(), over.clone());
        server.serve_fn(
            move |peer: PacketPeer<_, Text>, mut packets: Packets<_, Text>| {
                let (handed, over) = (handed.clone(), over.clone());
                async move {
                    let text = packets.recv().await?.unwrap();
                    *handed.lock().unwrap() = Some(packets);
                    peer.send(&text).await?;
                    over.wait().await;
                    Ok::<_, Error>(())
                }
            },
        )
    };
    let talking = async {
        let mut client = client(&handle);
        send(&mut client, "hello").await;
        assert_eq!(recv(&mut client).await, "hello");
        let mut packets: Packets<UdpSocket, Text> = handed.lock().unwrap().take().unwrap();
        let begun = now();
        let waiting = async { packets.recv().await };
        let end = async {
            yield_now().await;
            over.set();
        };
        assert_eq!(join(waiting, end).await.0.unwrap(), None);
        let passed = now().saturating_duration_since(begun);
        assert!(passed < LONG, "{passed:?}: nobody woke it");
        handle.drain(LONG).await;
    };
    join(serving, talking).await.0.unwrap();
}
