//! More packets than handlers take.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_codec::Text;
use bowline_concurrency::sync::Event;
use bowline_concurrency::{TaskGroup, task_group, yield_now};
use bowline_transport::{
    DatagramEndpoint, DatagramSocket, Error, Overflow, PacketHandler, PacketLimits, PacketPeer,
    PacketServerHandle, Packets, serve_packets,
};
use futures_util::future::{join, join_all};

use crate::{bind, client, loopback, recv, send, until};

pub(crate) const SEEDS: u64 = 20;

/// Floods a server with `count` packets of `length` bytes while its handler sleeps, and gives what the
/// handler finds afterwards.
async fn flood(
    limits: PacketLimits,
    (count, length): (usize, usize),
    bounds: (usize, usize),
) -> (Vec<usize>, PacketServerHandle) {
    let server = bind(limits).await;
    let handle = server.handle();
    let awake = Arc::new(Event::new());
    let found = Arc::new(Mutex::new(Vec::new()));
    let serving = {
        let (awake, found) = (awake.clone(), found.clone());
        server.serve_fn(move |peer, mut packets: Packets<_, Text>| {
            let (awake, found) = (awake.clone(), found.clone());
            async move {
                awake.wait().await;
                while let Some(text) = packets.recv().await? {
                    found.lock().unwrap().push(text.trim().parse().unwrap());
                }
                let dropped = peer.overflowed();
                assert_eq!(dropped as usize + found.lock().unwrap().len(), count);
                Ok::<_, Error>(())
            }
        })
    };
    let flooding = async {
        let mut client = client(&handle);
        for n in 0..count {
            send(&mut client, format!("{n:length$}")).await;
            // UDP loses what finds no room in the socket; that is not what this is about.
            if n % 16 == 15 || n == count - 1 {
                until(|| handle.counters().received == n as u64 + 1).await;
            }
            assert!(handle.waiting_packets() <= bounds.0, "{handle:?}");
            assert!(handle.waiting_bytes() <= bounds.1, "{handle:?}");
            assert!(handle.peers() <= 1);
        }
        awake.set();
        handle.drain(Duration::from_secs(60)).await
    };
    let (served, report) = join(serving, flooding).await;
    served.unwrap();
    assert_eq!(report.finished, 1);
    let found = std::mem::take(&mut *found.lock().unwrap());
    let counters = handle.counters();
    assert_eq!(counters.received, count as u64);
    assert_eq!(counters.taken, found.len() as u64);
    assert_eq!(counters.overflowed, (count - found.len()) as u64);
    assert_eq!((counters.refused, counters.unhandled), (0, 0));
    (found, handle)
}

// SV7
pub(crate) async fn a_flood_from_one_peer_leaves_the_newest() {
    let (found, _) = flood(PacketLimits::new(), (500, 8), (64, 256 * 1024)).await;
    assert_eq!(found, Vec::from_iter(436..500));
}

// SV7
pub(crate) async fn a_flood_from_one_peer_leaves_the_oldest_where_that_is_asked_for() {
    let limits = PacketLimits::new().overflow(Overflow::DropNewest);
    let (found, _) = flood(limits, (500, 8), (64, 256 * 1024)).await;
    assert_eq!(found, Vec::from_iter(0..64));
}

// SV7
pub(crate) async fn bytes_are_bounded_too() {
    let limits = PacketLimits::new().max_bytes(10_500);
    let (found, _) = flood(limits.clone(), (100, 1000), (10, 10_500)).await;
    assert_eq!(found, Vec::from_iter(90..100));
    let limits = limits.overflow(Overflow::DropNewest);
    let (found, _) = flood(limits, (100, 1000), (10, 10_500)).await;
    assert_eq!(found, Vec::from_iter(0..10));
}

// SV7
pub(crate) async fn a_packet_longer_than_all_may_be_begins_no_handler() {
    for policy in [Overflow::DropOldest, Overflow::DropNewest] {
        let limits = PacketLimits::new().max_bytes(7).overflow(policy);
        let server = bind(limits).await;
        let handle = server.handle();
        let serving = server.serve_each(|peer, text: String| async move {
            assert_eq!(peer.overflowed(), 0, "it is the first");
            peer.send(&text).await
        });
        let talking = async {
            let mut client = client(&handle);
            for n in 1..=20 {
                send(&mut client, "too long").await;
                until(|| handle.counters().received == n).await;
                assert_eq!((handle.peers(), handle.waiting_packets()), (0, 0));
            }
            send(&mut client, "short").await;
            assert_eq!(recv(&mut client).await, "short");
            handle.drain(Duration::from_secs(60)).await;
        };
        join(serving, talking).await.0.unwrap();
        let counters = handle.counters();
        assert_eq!((counters.overflowed, counters.unhandled), (20, 0));
        assert_eq!((counters.taken, counters.completed), (1, 1));
    }
}

/// Echoes; each number of a peer is to be greater than the one before, over all runs.
struct InOrder(Mutex<BTreeMap<String, u64>>);

impl<S: DatagramSocket> PacketHandler<S, Text> for InOrder {
    type Error = Error;

    async fn handle(
        &self,
        peer: &PacketPeer<S, Text>,
        packets: &mut Packets<S, Text>,
    ) -> Result<(), Error> {
        // Some runs take more than others.
        while let Some(text) = packets.recv().await? {
            let number: u64 = text.parse().unwrap();
            let due = {
                let mut seen = self.0.lock().unwrap();
                let next = seen.entry(peer.peer_addr().to_string()).or_default();
                std::mem::replace(next, number + 1)
            };
            assert_eq!(number, due, "of {}", peer.peer_addr());
            yield_now().await;
            peer.send(&text).await?;
            if number.is_multiple_of(3) {
                return Ok(());
            }
        }
        Ok(())
    }
}

// SV7
pub(crate) async fn each_peer_has_its_order() {
    const PEERS: usize = 12;
    const ROUNDS: u64 = 5;
    const BURST: u64 = 10;
    let served = task_group(|group: TaskGroup<Infallible>| async move {
        let endpoint = DatagramEndpoint::udp(loopback(), Text::new()).unwrap();
        let serving = serve_packets(endpoint, &group, InOrder(Mutex::default()));
        let handle = serving.handle();
        let talking = async {
            let clients = (0..PEERS).map(|_| async {
                let mut client = client(&handle);
                for round in 0..ROUNDS {
                    let numbers = round * BURST..(round + 1) * BURST;
                    for number in numbers.clone() {
                        send(&mut client, number.to_string()).await;
                    }
                    for number in numbers {
                        assert_eq!(recv(&mut client).await, number.to_string());
                    }
                }
            });
            join_all(clients).await;
            handle.drain(Duration::from_secs(60)).await;
        };
        let (served, ()) = join(serving.into_future(), talking).await;
        served.unwrap();
        let counters = handle.counters();
        let count = PEERS as u64 * ROUNDS * BURST;
        assert_eq!((counters.received, counters.taken), (count, count));
        assert_eq!(
            (counters.panicked, counters.failed, handle.peers()),
            (0, 0, 0)
        );
        Ok(())
    });
    served.await.unwrap();
}
