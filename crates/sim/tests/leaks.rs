//! What leaks into a world from outside is found by running it twice.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{UdpOptions, UdpSocket, UnixDatagram, UnixStream};
use bowline_sim::{Builder, EventKind, Sim, host};
use echo::{accept, dial, listen, read_to_end, write_all};
use std::collections::HashMap;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

// SIM3
#[test]
#[expect(clippy::iter_over_hash_type, reason = "the leak that is to be found")]
fn hash_order_is_found() {
    let builder = Sim::builder().seed(1).client("leaky", || async {
        Sim::note("start", 1);
        let map: HashMap<u64, ()> = (0..64).map(|key| (key, ())).collect();
        for key in map.keys() {
            Sim::note("key", *key);
        }
    });
    let difference = builder.compare().expect_err("hash order leaks");
    let (first, second) = (difference.first(), difference.second());
    let (first, second) = (
        first.last().expect("an event"),
        second.last().expect("an event"),
    );
    assert_eq!(first.event().kind(), EventKind::Note);
    assert_eq!(first.event().label(), "key");
    assert_ne!(first.event().values(), second.event().values());
    assert_eq!(first.event().index(), difference.index() as u64);
    // What came before is the same, and shown.
    assert!(difference.to_string().contains("note start 1"));
}

// SIM3
#[test]
fn the_system_clock_is_found() {
    let builder = Sim::builder().seed(1).client("leaky", || async {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let nanos = now.expect("after 1970").subsec_nanos();
        host::Sleep::new(1_000_000 + u64::from(nanos)).await;
    });
    let difference = builder.compare().expect_err("the clock leaks");
    let last = difference.first().last().expect("an event");
    assert_eq!(last.event().kind(), EventKind::Timer);
}

// SIM3
#[test]
fn an_honest_world_has_no_difference() {
    echo::world(8).compare().expect("nothing leaks");
}

/// Writes bytes of each run's own, all of one length.
fn writes<F>(client: impl Fn([u8; 40]) -> F + 'static) -> Builder
where
    F: Future<Output = io::Result<()>> + 'static,
{
    static RUNS: AtomicU8 = AtomicU8::new(0);
    Sim::builder()
        .seed(1)
        .host("server", || async {
            let listener = listen(80)?;
            read_to_end(&accept(&listener).await?).await.map(drop)
        })
        .client("client", move || {
            let mut bytes = [7; 40];
            bytes[0] = RUNS.fetch_add(1, Ordering::Relaxed);
            let client = client(bytes);
            async move {
                host::Sleep::new(1_000_000).await;
                client.await
            }
        })
}

// SIM3
#[test]
fn bytes_that_differ_are_found() {
    let worlds = [
        writes(|bytes| async move { write_all(&dial("server", 80).await?, &bytes).await }),
        writes(|bytes| async move {
            let to = SocketAddr::from(([127, 0, 0, 1], 53));
            let socket = UdpSocket::connect(to, UdpOptions::default())?;
            poll_fn(|cx| socket.poll_send(cx, &bytes)).await
        }),
        writes(|bytes| async move {
            let (one, _other) = UnixStream::pair()?;
            poll_fn(|cx| one.poll_write(cx, &bytes)).await.map(drop)
        }),
        writes(|bytes| async move {
            let (one, _other) = UnixDatagram::pair()?;
            poll_fn(|cx| one.poll_send(cx, &bytes)).await
        }),
    ];
    for world in worlds {
        let difference = world.compare().expect_err("a byte differs");
        let last = |lines: &[bowline_sim::TraceLine]| *lines.last().expect("an event").event();
        let (first, second) = (last(difference.first()), last(difference.second()));
        assert_eq!(first.kind(), EventKind::Write);
        assert_eq!(first.values(), second.values());
        assert_ne!(first.payload(), second.payload());
        // Where they are of no matter they are not looked at.
        let world = world.ignore_payloads();
        world.compare().expect("nothing else differs");
        let report = world.run().expect("it runs");
        assert_eq!(report.trace_hash, world.run().expect("again").trace_hash);
    }
}

// SIM3
#[test]
fn bytes_that_are_equal_are_no_difference_however_they_are_cut() {
    let hashes = |cut: usize| {
        let world = Sim::builder().client("client", move || async move {
            let (one, _other) = UnixStream::pair()?;
            let bytes = [7; 40];
            let slices = [&bytes[..cut], &bytes[cut..]].map(io::IoSlice::new);
            poll_fn(|cx| one.poll_write_vectored(cx, &slices))
                .await
                .map(drop)
        });
        let report = world.run().expect("it runs");
        let events = report.trace().iter().map(|line| line.event().payload());
        events.flatten().collect::<Vec<u32>>()
    };
    assert_eq!(hashes(40).len(), 1);
    assert_eq!(hashes(40), hashes(13));
}
