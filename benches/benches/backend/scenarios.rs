//! The scenarios, as text that each entrant compiles against its own runtime.
//!
//! An entrant brings `block_on`, `spawn`, `pair` (two connected streams without Nagle's delay),
//! `sleep`, and the traits that give its streams `read`, `read_exact`, `write_all` and `flush`.

/// Writes the scenarios into a module.
macro_rules! scenarios {
    () => {
        use std::future::Future;
        use std::sync::Arc;
        use std::time::{Duration, Instant};

        use crate::measure::{AllDone, Scenarios};

        pub(crate) const SCENARIOS: Scenarios = Scenarios {
            echo,
            echo_allocations,
            stream,
            spawned,
            timers,
            idle_polls,
            idle_heap,
        };

        /// Answers what it reads, in pieces of 64 bytes, until the peer ends.
        async fn answer(mut stream: Stream) {
            let mut buffer = [0; 64];
            while stream.read_exact(&mut buffer).await.is_ok() {
                stream.write_all(&buffer).await.unwrap();
            }
        }

        async fn round_trip(stream: &mut Stream) {
            let mut reply = [0; 64];
            stream.write_all(&[0x42; 64]).await.unwrap();
            stream.read_exact(&mut reply).await.unwrap();
            assert_eq!(reply, [0x42; 64]);
        }

        fn echo(rounds: usize) -> Vec<Duration> {
            block_on(async move {
                let (mut client, server) = pair().await;
                spawn(answer(server));
                let mut latencies = Vec::with_capacity(rounds);
                for _ in 0..rounds {
                    let start = Instant::now();
                    round_trip(&mut client).await;
                    latencies.push(start.elapsed());
                }
                latencies
            })
        }

        /// Allocations of `rounds` round trips, after as many that warm up.
        fn echo_allocations(rounds: usize) -> u64 {
            block_on(async move {
                let (mut client, server) = pair().await;
                spawn(answer(server));
                let mut before = 0;
                for round in 0..2 * rounds {
                    if round == rounds {
                        before = bowline_benches::allocations::count();
                    }
                    round_trip(&mut client).await;
                }
                bowline_benches::allocations::count() - before
            })
        }

        fn stream(bytes: usize) -> Duration {
            block_on(async move {
                let (mut client, mut server) = pair().await;
                let start = Instant::now();
                spawn(async move {
                    let buffer = vec![0x42; 64 * 1024];
                    for _ in 0..bytes / buffer.len() {
                        client.write_all(&buffer).await.unwrap();
                    }
                });
                let mut buffer = vec![0; 64 * 1024];
                let mut received = 0;
                loop {
                    match server.read(&mut buffer).await.unwrap() {
                        0 => break,
                        count => received += count,
                    }
                }
                assert_eq!(received, bytes);
                start.elapsed()
            })
        }

        fn spawned(tasks: usize) -> Duration {
            const BATCH: usize = 1000;
            block_on(async move {
                let start = Instant::now();
                for _ in 0..tasks / BATCH {
                    let done = Arc::new(AllDone::new(BATCH));
                    for _ in 0..BATCH {
                        let done = Arc::clone(&done);
                        spawn(async move { done.one() });
                    }
                    done.wait().await;
                }
                start.elapsed()
            })
        }

        fn timers(count: usize) -> Duration {
            block_on(async move {
                let start = Instant::now();
                for _ in 0..count {
                    let sleep = std::pin::pin!(sleep(Duration::from_secs(3600)));
                    assert!(futures_util::poll!(sleep).is_pending());
                }
                start.elapsed()
            })
        }

        fn idle_polls(count: usize) -> Duration {
            block_on(async move {
                let (mut client, _server) = pair().await;
                let mut buffer = [0; 64];
                let start = Instant::now();
                for _ in 0..count {
                    let read = std::pin::pin!(client.read(&mut buffer));
                    assert!(futures_util::poll!(read).is_pending());
                }
                start.elapsed()
            })
        }

        /// Heap bytes of a connection whose task waits for something to read.
        fn idle_heap(connections: usize) -> i64 {
            async fn wait(mut stream: Stream, polled: Arc<AllDone>) {
                // The shortest way to wait without a buffer of the program's own.
                let mut byte = [0; 1];
                let mut read = std::pin::pin!(stream.read(&mut byte));
                assert!(futures_util::poll!(read.as_mut()).is_pending());
                polled.one();
                let _ = read.await;
            }
            block_on(async move {
                let polled = Arc::new(AllDone::new(2 * connections));
                let before = bowline_benches::allocations::live_bytes();
                for _ in 0..connections {
                    let (client, server) = pair().await;
                    spawn(wait(client, Arc::clone(&polled)));
                    spawn(wait(server, Arc::clone(&polled)));
                }
                polled.wait().await;
                let held = bowline_benches::allocations::live_bytes() - before;
                held / (2 * connections) as i64
            })
        }
    };
}

pub(crate) use scenarios;
