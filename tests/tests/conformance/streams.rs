//! Streams on TCP that go well: S1 to S9, S11, S14, S15.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bowline_backend::Backend;
use bowline_backend::entropy::random_u64;
use bowline_backend::net::{
    Keepalive, Nodelay, TcpListenOptions, TcpListener, TcpOptions, TcpStream,
};
use bowline_backend::stream::{ByteReader, ByteStream, ByteStreamExt, ByteWriter};
use bowline_backend::task::{RunOptions, spawn_detached, yield_now};
use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};

use crate::conformance;

conformance! {
    all: [
        echoes_come_back_whole,
        each_side_can_half_close,
        the_end_is_sticky,
        a_full_pipe_makes_the_writer_wait,
        vectored_writes_take_many_slices,
        dropped_futures_lose_no_byte,
        halves_work_in_two_tasks_and_reunite,
        addresses_outlive_the_peer,
        one_half_is_woken_without_the_other,
        idle_connections_are_not_woken,
        connects_and_closes_leak_nothing,
    ]
    real: [std_streams_come_and_go, options_reach_the_kernel]
    dropping: []
    real_dropping: []
}

pub(crate) const MOST: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// Two connected streams.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    pair_with(TcpOptions::new()).await
}

pub(crate) async fn pair_with(options: TcpOptions) -> (TcpStream, TcpStream) {
    let at = "127.0.0.1:0".parse().unwrap();
    let listen = TcpListenOptions::new().accept_options(options.clone());
    let listener = TcpListener::bind_with(at, listen).unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect_with(address, options).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

/// What one read gives; nothing at the end.
pub(crate) async fn read_some(stream: &mut impl ByteReader) -> io::Result<Vec<u8>> {
    let mut buffer = BytesMut::new();
    stream.read_into(&mut buffer, MOST).await?;
    Ok(buffer.to_vec())
}

/// What comes until the end.
pub(crate) async fn read_all(stream: &mut impl ByteReader) -> io::Result<Vec<u8>> {
    let mut buffer = BytesMut::new();
    while stream.read_into(&mut buffer, MOST).await? > 0 {}
    Ok(buffer.to_vec())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 251) as u8).collect()
}

// S1
fn echoes_come_back_whole(backend: Backend, options: RunOptions) {
    let lengths = [1, 2, 1_000, 65_536, 1 << 20, 8 << 20];
    backend.block_on_with(options, async {
        for length in lengths {
            let (client, mut server) = pair().await;
            spawn_detached(async move {
                let mut buffer = BytesMut::new();
                loop {
                    let most = NonZeroUsize::new(1 + random_u64() as usize % 200_000).unwrap();
                    if server.read_into(&mut buffer, most).await.unwrap() == 0 {
                        break;
                    }
                    server.write_all(&buffer.split()).await.unwrap();
                }
                server.shutdown().await.unwrap();
            });
            let sent = pattern(length);
            let (mut reader, mut writer) = client.into_split();
            let to_send = sent.clone();
            spawn_detached(async move {
                writer.write_all(&to_send).await.unwrap();
                writer.shutdown().await.unwrap();
            });
            assert!(
                read_all(&mut reader).await.unwrap() == sent,
                "{length} bytes"
            );
        }
    });
}

// S2, S3
fn each_side_can_half_close(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"last words").await.unwrap();
        client.shutdown().await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_all(&mut server).await.unwrap(), b"last words");
        // The other direction still works, both ways round.
        server.write_all(b"an answer").await.unwrap();
        assert_eq!(read_some(&mut client).await.unwrap(), b"an answer");
        let late = client.write_all(b"too late").await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::BrokenPipe);
        server.shutdown().await.unwrap();
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
    });
}

// S4
fn the_end_is_sticky(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut client, mut server) = pair().await;
        client.shutdown().await.unwrap();
        let mut buffer = BytesMut::new();
        for _ in 0..5 {
            assert_eq!(server.read_into(&mut buffer, MOST).await.unwrap(), 0);
        }
        assert_eq!(
            poll_fn(|cx| Pin::new(&mut server).poll_read(cx, &mut [0; 8]))
                .await
                .unwrap(),
            0
        );
    });
}

// S5
fn a_full_pipe_makes_the_writer_wait(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let small = TcpOptions::new()
            .send_buffer(16 * 1024)
            .recv_buffer(16 * 1024);
        let (mut client, mut server) = pair_with(small).await;
        let chunk = pattern(64 * 1024);
        let (mut sent, mut waited) = (0, false);
        // Until the system has been full for many turns in a row.
        let mut turns_full = 0;
        while turns_full < 200 {
            let outcome =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut client).poll_write(cx, &chunk))).await;
            match outcome {
                Poll::Ready(written) => {
                    sent += written.unwrap();
                    turns_full = 0;
                }
                Poll::Pending => {
                    waited = true;
                    turns_full += 1;
                }
            }
            assert!(
                sent < 32 << 20,
                "the system took {sent} bytes that nobody reads"
            );
            yield_now().await;
        }
        assert!(waited);
        spawn_detached(async move {
            client.write_all(&chunk).await.unwrap();
            client.shutdown().await.unwrap();
        });
        let read = read_all(&mut server).await.unwrap().len();
        assert_eq!(
            read,
            sent + 64 * 1024,
            "writing went on when there was room"
        );
    });
}

// S6
fn vectored_writes_take_many_slices(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut client, mut server) = pair().await;
        assert!(client.is_write_vectored());
        let parts: Vec<Vec<u8>> = (0..3_000)
            .map(|index| vec![(index % 251) as u8; 7])
            .collect();
        let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let all = parts.concat();
        let written = poll_fn(|cx| Pin::new(&mut client).poll_write_vectored(cx, &slices)).await;
        let written = written.unwrap();
        assert!(written > 0 && written <= all.len());
        let mut rest = bytes::Bytes::copy_from_slice(&all[written..]);
        client.write_all_vectored(&mut rest).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(read_all(&mut server).await.unwrap() == all);
    });
}

// S8
fn dropped_futures_lose_no_byte(backend: Backend, options: RunOptions) {
    const ROUNDS: usize = 10_000;
    backend.block_on_with(options, async {
        let (client, mut server) = pair().await;
        let (mut reader, mut writer) = client.into_split();
        let sent = pattern(ROUNDS);
        let to_send = sent.clone();
        spawn_detached(async move {
            let mut rest = &to_send[..];
            while !rest.is_empty() {
                let length = (1 + random_u64() as usize % 30).min(rest.len());
                server.write_all(&rest[..length]).await.unwrap();
                rest = &rest[length..];
                if random_u64().is_multiple_of(4) {
                    yield_now().await;
                }
            }
            server.shutdown().await.unwrap();
            let _ = read_all(&mut server).await;
        });
        let (mut buffer, mut drops) = (BytesMut::new(), 0);
        loop {
            let most = NonZeroUsize::new(1 + random_u64() as usize % 5).unwrap();
            let mut read = reader.read_into(&mut buffer, most);
            let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut read).poll(cx))).await;
            match polled {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(result) => assert!(result.unwrap() <= most.get()),
                // Dropped while it waits.
                Poll::Pending => {
                    drops += 1;
                    yield_now().await;
                }
            }
        }
        writer.shutdown().await.unwrap();
        assert!(
            buffer == sent,
            "{} of {ROUNDS} bytes after {drops} drops",
            buffer.len()
        );
    });
}

// S9
fn halves_work_in_two_tasks_and_reunite(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let ((client, server), (other, _keep)) = (pair().await, pair().await);
        let (mut reader, mut writer) = client.into_split();
        let (mut server_reader, mut server_writer) = server.into_split();
        spawn_detached(async move {
            writer.write_all(b"from a task").await.unwrap();
            // Dropped: the sending side ends, reading goes on.
        });
        assert_eq!(read_all(&mut server_reader).await.unwrap(), b"from a task");
        drop(server_reader);
        server_writer.write_all(b"without a reader").await.unwrap();
        drop(server_writer);
        assert_eq!(read_all(&mut reader).await.unwrap(), b"without a reader");
        drop(reader);

        let (client, mut server) = pair().await;
        let (reader, writer) = client.into_split();
        let (_, other_writer) = other.into_split();
        let refused = TcpStream::reunite(reader, other_writer).unwrap_err();
        let mut whole = TcpStream::reunite(refused.0, writer).unwrap();
        whole.write_all(b"whole").await.unwrap();
        assert_eq!(read_some(&mut server).await.unwrap(), b"whole");
    });
}

// S11
fn addresses_outlive_the_peer(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (mut client, server) = pair().await;
        assert_eq!(client.local_addr().unwrap(), server.peer_addr().unwrap());
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        let (local, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
        drop(server);
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
        assert_eq!(client.local_addr().unwrap(), local);
        assert_eq!(client.peer_addr().unwrap(), peer);
    });
}

// S14
fn std_streams_come_and_go(backend: Backend, options: RunOptions) {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    Write::write_all(&mut client, b"queued").unwrap();
    let mut back = backend.block_on_with(options.clone(), async move {
        let mut server = TcpStream::from_std(server).unwrap();
        assert_eq!(read_some(&mut server).await.unwrap(), b"queued");
        server.into_std().unwrap()
    });
    Write::write_all(&mut back, b"blocking again").unwrap();
    let mut answer = [0; 14];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"blocking again");
    let (unix, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let wrong = std::net::TcpStream::from(std::os::fd::OwnedFd::from(unix));
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let datagrams = std::net::TcpStream::from(std::os::fd::OwnedFd::from(udp));
    backend.block_on_with(options, async move {
        for refused in [wrong, datagrams] {
            let error = TcpStream::from_std(refused).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    });
}

// S15, S20
fn options_reach_the_kernel(backend: Backend, options: RunOptions) {
    use socket2::SockRef;
    use std::time::Duration;
    let keepalive = Keepalive::new(Duration::from_secs(61), Duration::from_secs(21), 4);
    backend.block_on_with(options, async {
        let chosen = TcpOptions::new()
            .nodelay(Nodelay::Off)
            .keepalive(keepalive)
            .linger(Duration::from_secs(3))
            .recv_buffer(32 * 1024);
        let (client, server) = pair_with(chosen).await;
        for (side, stream) in [("connected", &client), ("accepted", &server)] {
            let fd = stream.try_as_fd().unwrap();
            let socket = SockRef::from(&fd);
            assert!(!socket.tcp_nodelay().unwrap(), "{side}");
            assert!(socket.keepalive().unwrap(), "{side}");
            assert_eq!(
                socket.tcp_keepalive_time().unwrap(),
                keepalive.idle,
                "{side}"
            );
            assert_eq!(
                socket.tcp_keepalive_interval().unwrap(),
                keepalive.interval,
                "{side}"
            );
            assert_eq!(
                socket.tcp_keepalive_retries().unwrap(),
                keepalive.count,
                "{side}"
            );
            assert_eq!(
                socket.linger().unwrap(),
                Some(Duration::from_secs(3)),
                "{side}"
            );
            // Linux doubles what it is told, for its bookkeeping.
            assert!(socket.recv_buffer_size().unwrap() <= 64 * 1024, "{side}");
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(
                flags.contains(rustix::io::FdFlags::CLOEXEC),
                "{side} survives exec"
            );
        }
        let (client, server) = pair().await;
        for stream in [&client, &server] {
            let fd = stream.try_as_fd().unwrap();
            assert!(
                SockRef::from(&fd).tcp_nodelay().unwrap(),
                "nodelay is the default"
            );
        }
        client.set_linger(None).unwrap();
        assert!(client.take_error().unwrap().is_none());
    });
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

// S18
fn one_half_is_woken_without_the_other(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (client, mut server) = pair().await;
        let (mut reader, mut writer) = client.into_split();
        let idle = Arc::new(Wakes::default());
        let waker = Waker::from(idle.clone());
        let mut buffer = BytesMut::new();
        let mut cx = Context::from_waker(&waker);
        let waits = Pin::new(&mut reader).poll_read_into(&mut cx, &mut buffer, MOST);
        assert!(waits.is_pending());
        for _ in 0..50 {
            writer.write_all(b"only writes").await.unwrap();
            read_some(&mut server).await.unwrap();
        }
        let wakes = idle.0.load(Ordering::SeqCst);
        assert!(wakes <= 2, "the reader was woken {wakes} times by writes");
    });
}

// S16
fn idle_connections_are_not_woken(backend: Backend, options: RunOptions) {
    const IDLE: usize = 200;
    backend.block_on_with(options, async {
        let mut idle = Vec::new();
        for _ in 0..IDLE {
            idle.push(pair().await);
        }
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(wakes.clone());
        let mut buffer = BytesMut::new();
        for (client, _) in &mut idle {
            let mut cx = Context::from_waker(&waker);
            let waits = Pin::new(client).poll_read_into(&mut cx, &mut buffer, MOST);
            assert!(waits.is_pending());
        }
        let (mut busy, mut server) = pair().await;
        for _ in 0..50 {
            busy.write_all(b"traffic").await.unwrap();
            read_some(&mut server).await.unwrap();
        }
        // A reactor may report each once when it is first registered.
        assert!(wakes.0.load(Ordering::SeqCst) <= IDLE);
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

// S19
fn connects_and_closes_leak_nothing(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let refused = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let nobody: SocketAddr = refused.local_addr().unwrap();
        drop(refused);
        let rounds = 500;
        for _ in 0..rounds {
            let client = TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            drop((client, server));
            assert!(TcpStream::connect(nobody).await.is_err());
            drop(Box::pin(TcpStream::connect(address)));
        }
        // Other tests of this process hold descriptors too, but not as many as rounds.
        assert!(
            descriptors() < rounds,
            "{} descriptors are open",
            descriptors()
        );
    });
}
