//! The simulated TCP: bytes, back-pressure, backlog, and the ends a connection can have.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_sim::{Link, Sim, block_on, host};
use echo::{accept, read_some, read_to_end, shutdown, write_all};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn bind(options: TcpListenOptions) -> TcpListener {
    TcpListener::bind(SocketAddr::new(LOCAL, 0), options).expect("a free port")
}

async fn pair_with(options: TcpOptions, listen: TcpListenOptions) -> (TcpStream, TcpStream) {
    let listener = bind(listen);
    let at = listener.local_addr().expect("bound");
    let connected = TcpStream::connect(at, options).await.expect("it listens");
    let accepted = accept(&listener).await.expect("one waits");
    assert_eq!(connected.local_addr().ok(), accepted.peer_addr().ok());
    assert_eq!(connected.peer_addr().ok(), accepted.local_addr().ok());
    (connected, accepted)
}

async fn pair() -> (TcpStream, TcpStream) {
    pair_with(TcpOptions::default(), TcpListenOptions::default()).await
}

/// Waits until nothing is on its way any more.
async fn settle() {
    host::Sleep::new(host::now() + 1_000_000_000).await;
}

/// Writes until the stream takes no more for a second; returns how much it took.
async fn fill(stream: &TcpStream) -> usize {
    let mut taken = 0;
    let bytes = [7; 1000];
    loop {
        let wrote = poll_fn(|cx| {
            Poll::Ready(match stream.poll_write(cx, &bytes) {
                Poll::Ready(result) => result.expect("open"),
                Poll::Pending => 0,
            })
        })
        .await;
        taken += wrote;
        if wrote == 0 {
            let before = host::now();
            settle().await;
            assert!(host::now() > before);
            let more = poll_fn(|cx| Poll::Ready(stream.poll_write(cx, &bytes))).await;
            match more {
                Poll::Pending => return taken,
                Poll::Ready(more) => taken += more.expect("open"),
            }
        }
    }
}

// SIM61
#[test]
fn a_writer_stops_at_buffer_plus_window() {
    for (send, window) in [
        (1, 1),
        (1, 4096),
        (5000, 1),
        (3000, 2000),
        (131_072, 65_536),
    ] {
        for seed in 0..5 {
            block_on(seed, async {
                let mut options = TcpOptions::default();
                options.send_buffer = Some(send);
                options.nodelay = seed % 2 == 0;
                let mut listen = TcpListenOptions::default();
                listen.recv_buffer = Some(window);
                let (writer, reader) = pair_with(options, listen).await;
                assert_eq!(fill(&writer).await, send + window);
                // It resumes by as much as is read, when that much was announced.
                let mut read = 0;
                while read < window {
                    read += read_some(&reader, window - read).await.expect("open").len();
                }
                settle().await;
                assert_eq!(fill(&writer).await, window);
                shutdown(&writer).await.expect("always");
                let rest = read_to_end(&reader).await.expect("open");
                assert_eq!(rest.len(), send + window);
            });
        }
    }
}

// SIM61
#[test]
fn bytes_arrive_intact_and_in_order() {
    for seed in 0..10 {
        block_on(seed, async {
            let mut options = TcpOptions::default();
            options.nodelay = seed % 2 == 0;
            options.send_buffer = Some(1 << (seed + 7));
            let (writer, reader) = pair_with(options, TcpListenOptions::default()).await;
            let sent: Vec<u8> = (0..20_000_u32)
                .flat_map(|i| (i as u16).to_le_bytes())
                .collect();
            let expected = sent.clone();
            host::spawn(async move {
                let mut at = 0;
                while at < sent.len() {
                    let slices: Vec<_> =
                        sent[at..].chunks(97).take(1000).map(IoSlice::new).collect();
                    let write = poll_fn(|cx| writer.poll_write_vectored(cx, &slices));
                    at += write.await.expect("open");
                }
            });
            assert_eq!(read_to_end(&reader).await.expect("open"), expected);
        });
    }
}

// SIM62
#[test]
fn a_full_backlog_delays_and_never_resets() {
    for seed in 0..20 {
        let times = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&times);
        Sim::builder()
            .seed(seed)
            .default_link(Link::loopback())
            .host("slow", || async {
                let mut options = TcpListenOptions::default();
                options.backlog = 1;
                let at = SocketAddr::from(([0, 0, 0, 0], 80));
                let listener = TcpListener::bind(at, options)?;
                let mut streams = Vec::new();
                loop {
                    host::Sleep::new(host::now() + 100_000_000).await;
                    streams.push(accept(&listener).await?);
                    if streams.len() == 1000 {
                        return Ok::<(), std::io::Error>(());
                    }
                }
            })
            .client("many", move || {
                let seen = Arc::clone(&seen);
                async move {
                    for _ in 0..12 {
                        let seen = Arc::clone(&seen);
                        host::spawn(async move {
                            let start = host::now();
                            let stream = echo::dial("slow", 80).await.expect("never reset");
                            let took = Duration::from_nanos(host::now() - start);
                            seen.lock().expect("not poisoned").push(took);
                            let _ = read_some(&stream, 1).await;
                        });
                    }
                    host::Sleep::new(120_000_000_000).await;
                }
            })
            // They wait for bytes that nobody sends.
            .ignore_leaks()
            .run()
            .expect("nobody fails");
        let times = times.lock().expect("not poisoned");
        assert_eq!(times.len(), 12);
        assert!(times.iter().any(|took| *took < Duration::from_millis(100)));
        // Those that were dropped came again after 1, 3, 7, .. seconds.
        let delayed = times.iter().filter(|took| **took >= Duration::from_secs(1));
        assert!(delayed.count() >= 8, "{times:?}");
    }
}

/// What a read or write showed, small enough to collect.
type Outcome = Result<usize, ErrorKind>;

async fn read_outcome(stream: &TcpStream) -> Outcome {
    read_some(stream, 100)
        .await
        .map(|bytes| bytes.len())
        .map_err(|error| error.kind())
}

async fn write_outcome(stream: &TcpStream) -> Outcome {
    let write = poll_fn(|cx| stream.poll_write(cx, b"x"));
    write.await.map_err(|error| error.kind())
}

fn outcomes<F: Future<Output = Vec<Outcome>>>(script: impl Fn() -> F) -> BTreeSet<Vec<Outcome>> {
    (0..50).map(|seed| block_on(seed, script())).collect()
}

const RESET: Outcome = Err(ErrorKind::ConnectionReset);
const PIPE: Outcome = Err(ErrorKind::BrokenPipe);

// SIM64
#[test]
fn half_close_leaves_the_other_direction() {
    for seed in 0..20 {
        block_on(seed, async {
            let (a, b) = pair().await;
            write_all(&a, b"question").await.expect("open");
            shutdown(&a).await.expect("always");
            shutdown(&a).await.expect("again");
            assert_eq!(read_to_end(&b).await.expect("open"), b"question");
            write_all(&b, b"answer").await.expect("open");
            assert_eq!(write_outcome(&a).await, PIPE);
            drop(b);
            assert_eq!(read_to_end(&a).await.expect("open"), b"answer");
            assert_eq!(read_outcome(&a).await, Ok(0));
        });
    }
}

// SIM64
#[test]
fn closing_with_unread_bytes_resets() {
    let seen = outcomes(|| async {
        let (a, b) = pair().await;
        write_all(&b, b"reply").await.expect("open");
        write_all(&a, b"unread").await.expect("open");
        settle().await;
        drop(b);
        settle().await;
        let mut seen = vec![read_outcome(&a).await];
        while seen.last() != Some(&Ok(0)) && seen.len() < 10 {
            seen.push(read_outcome(&a).await);
        }
        shutdown(&a).await.expect("always ok");
        seen
    });
    let at_once = vec![RESET, Ok(0)];
    let after_data = vec![Ok(5), RESET, Ok(0)];
    assert!(
        seen.contains(&at_once) && seen.contains(&after_data),
        "{seen:?}"
    );
    for run in seen {
        let bytes: usize = run.iter().flatten().sum();
        assert!(bytes == 0 || bytes == 5);
        assert_eq!(run[run.len() - 2..], [RESET, Ok(0)]);
    }
}

// SIM64
#[test]
fn linger_zero_and_abort_reset() {
    for linger in [true, false] {
        let seen = outcomes(|| async move {
            let (a, b) = pair().await;
            if linger {
                b.set_linger(Some(Duration::ZERO)).expect("open");
                drop(b);
            } else {
                b.abort();
            }
            settle().await;
            vec![
                read_outcome(&a).await,
                read_outcome(&a).await,
                write_outcome(&a).await,
            ]
        });
        assert_eq!(seen, BTreeSet::from([vec![RESET, Ok(0), PIPE]]));
        let seen = outcomes(|| async move {
            let (a, b) = pair().await;
            b.abort();
            settle().await;
            vec![
                write_outcome(&a).await,
                write_outcome(&a).await,
                read_outcome(&a).await,
            ]
        });
        assert_eq!(seen, BTreeSet::from([vec![RESET, PIPE, Ok(0)]]));
    }
}

// SIM64
#[test]
fn writing_to_a_closed_peer_fails_the_second_time() {
    let seen = outcomes(|| async {
        let (a, b) = pair().await;
        drop(b);
        settle().await;
        let mut seen = vec![read_outcome(&a).await, write_outcome(&a).await];
        settle().await;
        seen.push(write_outcome(&a).await);
        seen.push(write_outcome(&a).await);
        seen.push(read_outcome(&a).await);
        seen
    });
    assert_eq!(
        seen,
        BTreeSet::from([vec![Ok(0), Ok(1), PIPE, PIPE, Ok(0)]])
    );
}

// SIM64
#[test]
fn both_close_at_once() {
    for seed in 0..50 {
        block_on(seed, async {
            let (a, b) = pair().await;
            let other = async move {
                shutdown(&b).await.expect("ok");
                assert_eq!(read_outcome(&b).await, Ok(0));
                shutdown(&b).await.expect("ok");
            };
            host::spawn(other);
            shutdown(&a).await.expect("ok");
            assert_eq!(read_outcome(&a).await, Ok(0));
            shutdown(&a).await.expect("ok");
            settle().await;
            drop(a);
            settle().await;
        });
    }
}

// SIM64
#[test]
fn connections_never_accepted_are_reset_with_their_listener() {
    let seen = outcomes(|| async {
        let listener = bind(TcpListenOptions::default());
        let at = listener.local_addr().expect("bound");
        let a = TcpStream::connect(at, TcpOptions::default())
            .await
            .expect("queued");
        settle().await;
        drop(listener);
        let again = TcpStream::connect(at, TcpOptions::default()).await;
        assert_eq!(
            again.expect_err("gone").kind(),
            ErrorKind::ConnectionRefused
        );
        vec![read_outcome(&a).await]
    });
    assert_eq!(seen, BTreeSet::from([vec![RESET]]));
}

// SIM64
#[test]
fn a_connection_aborted_before_accept_is_given_out_and_fails() {
    let seen = outcomes(|| async {
        let listener = bind(TcpListenOptions::default());
        let at = listener.local_addr().expect("bound");
        let first = TcpStream::connect(at, TcpOptions::default())
            .await
            .expect("queued");
        settle().await;
        first.abort();
        settle().await;
        let second = TcpStream::connect(at, TcpOptions::default())
            .await
            .expect("queued");
        write_all(&second, b"hello").await.expect("open");
        let broken = accept(&listener).await.expect("given out");
        let good = accept(&listener).await.expect("no stall");
        settle().await;
        assert!(matches!(read_outcome(&good).await, Ok(1..=5)));
        vec![read_outcome(&broken).await]
    });
    assert_eq!(seen, BTreeSet::from([vec![RESET]]));
}

// SIM64
#[test]
fn a_dropped_connect_leaves_nothing_behind() {
    for seed in 0..50 {
        block_on(seed, async {
            let listener = bind(TcpListenOptions::default());
            let at = listener.local_addr().expect("bound");
            for polls in 1..4 {
                let mut connect = Box::pin(TcpStream::connect(at, TcpOptions::default()));
                for _ in 0..polls {
                    let done = poll_fn(|cx| Poll::Ready(connect.as_mut().poll(cx).is_ready()));
                    if done.await {
                        break;
                    }
                    host::Sleep::new(host::now() + 10_000).await;
                }
                drop(connect);
            }
            settle().await;
            let live = TcpStream::connect(at, TcpOptions::default())
                .await
                .expect("open");
            write_all(&live, b"live").await.expect("open");
            // Those that were dropped show as ended or broken ones, or not at all.
            loop {
                let stream = accept(&listener).await.expect("one waits");
                if matches!(read_outcome(&stream).await, Ok(1..)) {
                    break;
                }
            }
        });
    }
}
