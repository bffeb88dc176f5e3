//! What a host buffers in all its sockets, and what happens when that is too much.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{TcpStream, UnixDatagram, UnixStream};
use bowline_sim::{Builder, Crash, HostLimits, Sim, World, host};
use datagrams::{bind, io_code, recv, send_to, settle};
use echo::{accept, dial, listen, read_to_end, shutdown, write_all};
use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// Of `ENOBUFS`, which the standard library has no kind for.
const NO_BUFFERS: i32 = 105;

fn limit(bytes: usize) -> HostLimits {
    let mut limits = HostLimits::default();
    limits.buffered_bytes = bytes;
    limits
}

/// Writes until nothing more goes, whatever was acknowledged; how much went.
async fn fill(stream: &TcpStream) -> io::Result<usize> {
    let bytes = [b'x'; 1024];
    let mut written = 0;
    loop {
        let before = written;
        poll_fn(|cx| {
            while let Poll::Ready(more) = stream.poll_write(cx, &bytes)? {
                written += more;
            }
            Poll::Ready(Ok::<(), io::Error>(()))
        })
        .await?;
        if written == before {
            return Ok(written);
        }
        host::Sleep::new(host::now() + SECOND / 10).await;
    }
}

/// A client with two connections to a server that reads the first to its end after ten seconds, and
/// ten seconds later the other.
fn two_connections<F>(main: impl Fn(TcpStream, TcpStream) -> F + Copy + 'static) -> Builder
where
    F: Future<Output = io::Result<()>> + 'static,
{
    Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            let (one, other) = (accept(&listener).await?, accept(&listener).await?);
            for stream in [&one, &other] {
                host::Sleep::new(host::now() + 10 * SECOND).await;
                let read = read_to_end(stream).await?.len();
                Sim::note("read", read as u64);
            }
            Ok::<(), io::Error>(())
        })
        .client("writer", move || async move {
            let (one, other) = (dial("server", 80).await?, dial("server", 80).await?);
            main(one, other).await
        })
}

fn read(world: &Builder) -> Vec<u64> {
    let report = world.run().expect("the world runs");
    let lines = report.trace().iter().map(|line| line.event());
    let notes = lines.filter(|event| event.label() == "read");
    notes.map(|event| event.values().0).collect()
}

// SIM44, SIM61
#[test]
fn a_tcp_write_waits_until_its_host_buffers_less() {
    let world = two_connections(|one, other| async move {
        // The server takes 64 KiB of it, the limit is on what it did not acknowledge.
        assert_eq!(fill(&one).await?, 64 * 1024 + 20_000);
        // All of that is the first connection's, but a connection always has a little.
        assert_eq!(fill(&other).await?, 64 * 1024 + 4096);
        assert!(host::now() < 10 * SECOND);
        shutdown(&one).await?;
        // What the first had is read; of this one nothing.
        write_all(&other, &[b'y'; 15_000]).await?;
        assert!(host::now() < 15 * SECOND);
        assert_eq!(fill(&other).await?, 20_000 - 4096 - 15_000);
        shutdown(&other).await?;
        // The server ends when it read both.
        read_to_end(&other).await.map(drop)
    });
    for seed in 0..50 {
        let world = world.clone().seed(seed).limits("writer", limit(20_000));
        let both = [64 * 1024 + 20_000; 2];
        assert_eq!(read(&world), both, "seed {seed}");
    }
}

// SIM44, SIM60
#[test]
fn no_limit_is_so_low_that_connections_stand_still() {
    let world = two_connections(|one, other| async move {
        host::spawn(async move {
            write_all(&one, &[b'x'; 30_000]).await.expect("it is read");
            shutdown(&one).await.expect("it is open");
            read_to_end(&one).await.expect("the server ends it");
        });
        write_all(&other, &[b'x'; 30_000]).await?;
        shutdown(&other).await?;
        // The server ends when it read both.
        read_to_end(&other).await.map(drop)
    });
    for seed in 0..100 {
        for bytes in [0, 1, 5000] {
            let world = world.clone().seed(seed).limits("writer", limit(bytes));
            assert_eq!(read(&world), [30_000, 30_000], "seed {seed}");
        }
    }
}

// SIM44
#[test]
fn unix_sockets_and_datagrams_say_enobufs() {
    let world = Sim::builder().client("small", || async {
        let bytes = [b'x'; 4000];
        let (one, other) = UnixStream::pair()?;
        let write = || poll_fn(|cx| one.poll_write(cx, &bytes));
        let mut held = 0;
        let full = loop {
            match write().await {
                Ok(written) => held += written,
                Err(full) => break full,
            }
        };
        assert_eq!((full.raw_os_error(), held), (io_code(NO_BUFFERS), 10_000));
        // No other socket has room then.
        let (from, _to) = UnixDatagram::pair()?;
        let full = poll_fn(|cx| from.poll_send(cx, b"x")).await;
        assert_eq!(full.expect_err("full").raw_os_error(), io_code(NO_BUFFERS));
        let udp = bind("127.0.0.1:0")?;
        let full = send_to(&udp, b"x", udp.local_addr()?).await;
        assert_eq!(full.expect_err("full").raw_os_error(), io_code(NO_BUFFERS));
        let mut part = [0; 4000];
        let read = poll_fn(|cx| other.poll_read(cx, &mut part)).await?;
        assert!(write().await? <= read);
        drop(other);
        // What nobody can read any more takes no room.
        send_to(&udp, &[0; 4000], udp.local_addr()?).await?;
        poll_fn(|cx| from.poll_send(cx, &[0; 4000])).await?;
        let full = send_to(&udp, &[0; 4000], udp.local_addr()?).await;
        assert_eq!(full.expect_err("full").raw_os_error(), io_code(NO_BUFFERS));
        Ok::<(), io::Error>(())
    });
    for seed in 0..50 {
        let world = world.clone().seed(seed).limits("small", limit(10_000));
        world.run().expect("room again each time");
    }
}

// SIM44
#[test]
fn datagrams_that_arrive_without_room_are_lost() {
    let world = Sim::builder()
        .client("small", || async {
            let socket = bind("0.0.0.0:7")?;
            host::Sleep::new(host::now() + 2 * SECOND).await;
            let mut heard = Vec::new();
            for _ in 0..3 {
                heard.push(recv(&socket).await?.payload[0]);
            }
            // Three of them fit with their records, then again one that came later.
            assert_eq!(heard, [0, 1, 2]);
            assert_eq!(recv(&socket).await?.payload[0], 9);
            Ok::<(), io::Error>(())
        })
        .client("speaker", || async {
            settle().await;
            let socket = bind("0.0.0.0:0")?;
            let to = host::resolve("small", host::Family::V4).await?[0];
            for number in 0..6 {
                send_to(&socket, &[number; 1000], (to, 7).into()).await?;
            }
            host::Sleep::new(host::now() + 3 * SECOND).await;
            send_to(&socket, &[9; 1000], (to, 7).into()).await
        });
    for seed in 0..50 {
        let world = world.clone().seed(seed).limits("small", limit(6_000));
        let report = world.run().expect("the rest is lost");
        assert_eq!(report.datagrams, 4);
    }
}

/// Leaves datagrams and bytes unread in all kinds of sockets, at itself and at the server.
async fn litter() -> io::Result<()> {
    let server = host::resolve("server", host::Family::V4).await?[0];
    let (udp, stream) = (bind("0.0.0.0:0")?, UnixStream::pair()?);
    let (from, to) = UnixDatagram::pair()?;
    loop {
        poll_fn(|cx| stream.0.poll_write(cx, b"some")).await?;
        poll_fn(|cx| from.poll_send(cx, b"more")).await?;
        let mut part = [0; 3];
        poll_fn(|cx| stream.1.poll_read(cx, &mut part)).await?;
        send_to(&udp, b"and more", udp.local_addr()?).await?;
        send_to(&udp, b"and more", (server, 80).into()).await?;
        host::Sleep::new(host::now() + 100_000).await;
        if host::random_u64().is_multiple_of(2) {
            poll_fn(|cx| to.poll_recv(cx, 2)).await?;
        }
    }
}

// SIM44
#[test]
fn what_is_buffered_is_counted_in_and_out() {
    let mut most = 0;
    for seed in 0..200 {
        let world = echo::world(seed).host("litter", litter);
        let world = world.client_may_crash("a").client_may_crash("b");
        let mut world = world
            .client("waits", || host::Sleep::new(10 * SECOND))
            .build();
        world
            .run_for(Duration::from_micros(seed * 40))
            .expect("it turns");
        let buffered = |world: &World| {
            let of = |host| world.stats(host).expect("a host").buffered;
            ["server", "a", "b", "litter"].map(of)
        };
        most = most.max(buffered(&world).into_iter().sum());
        for (host, crash) in [
            ("a", Crash::Kill),
            ("b", Crash::PowerLoss),
            ("server", Crash::PowerLoss),
            ("litter", Crash::Kill),
        ] {
            world.crash(host, crash);
        }
        // What a killed host had sent is answered by a server that knows nothing of it.
        world.restart("server");
        world.run_for(Duration::from_secs(8)).expect("it turns");
        assert_eq!(buffered(&world), [0; 4], "seed {seed}");
    }
    assert!(most > 4000, "{most}");
}

// SIM44
#[test]
fn the_peak_of_a_report_is_that_of_all_hosts() {
    let mut most = 0;
    for seed in 0..10 {
        let world = echo::world(seed).host("litter", litter);
        let world = world.client("waits", || host::Sleep::new(SECOND));
        let whole = world.run().expect("it runs").peak_buffered;
        let mut world = world.build();
        let mut peak = 0;
        world
            .run_until(|world| {
                let of = |host| world.stats(host).expect("a host").buffered;
                let hosts = ["server", "a", "b", "litter", "waits"];
                peak = peak.max(hosts.map(of).into_iter().sum());
                false
            })
            .expect("it turns");
        // Within one poll it may have been more.
        assert!(peak <= whole, "{peak} of {whole}");
        assert!(peak > whole / 2, "{peak} of {whole}");
        most = most.max(peak);
    }
    assert!(most > 4000, "{most}");
}

#[test]
fn what_a_stream_buffers_counts_at_the_host_that_made_it() {
    type Handed = Option<(UnixStream, UnixDatagram)>;
    let world = Sim::builder()
        .client("giver", || async {
            let (one, other) = UnixStream::pair().expect("room");
            let (sender, receiver) = UnixDatagram::pair().expect("room");
            poll_fn(|cx| one.poll_write(cx, b"stream")).await?;
            poll_fn(|cx| sender.poll_send(cx, b"datagram")).await?;
            Sim::ghost(|handed: &mut Handed| *handed = Some((other, receiver)));
            host::Sleep::new(2 * SECOND).await;
            let mut answer = [0; 9];
            let read = poll_fn(|cx| one.poll_read(cx, &mut answer)).await?;
            assert_eq!(&answer[..read], &b"answer"[..read]);
            Ok::<(), io::Error>(())
        })
        .client("taker", || async {
            host::Sleep::new(SECOND).await;
            let handed = Sim::ghost(|handed: &mut Handed| handed.take());
            let (stream, datagram) = handed.expect("it was handed over");
            let mut bytes = [0; 9];
            let read = poll_fn(|cx| stream.poll_read(cx, &mut bytes)).await?;
            assert_eq!(&bytes[..read], &b"stream"[..read]);
            poll_fn(|cx| datagram.poll_recv(cx, 9)).await?;
            poll_fn(|cx| stream.poll_write(cx, b"answer")).await?;
            host::Sleep::new(3 * SECOND).await;
            Ok::<(), io::Error>(())
        });
    for seed in 0..20 {
        let world = world.clone().seed(seed).ignore_leaks();
        world.run().expect("each byte is counted once");
    }
}
