//! How many system calls an operation takes, counted by the kernel on the thread that makes them.
//! A test binary of its own, for a thread that is counted stays so.

#![cfg(target_os = "linux")]

use std::future::{Future as _, poll_fn};
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bowline_backend::Backend;
use bowline_backend::entropy::random_u64;
use bowline_backend::net::{TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixStream};
use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_backend::task::{RunOptions, Threads, spawn_detached, yield_now};
use bowline_backend::time::now;
use bowline_tests::system_calls::SystemCalls;
use bytes::BytesMut;
use futures_lite::{AsyncRead, AsyncWrite};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::ioctl_fionread;

const ONE: NonZeroUsize = NonZeroUsize::MIN;
const MOST: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// Runs `test` on this thread, whose calls are counted, with each backend. Nothing is checked where
/// the system lets no thread filter its own calls, as in some sandboxes; it says so.
fn on_every_backend(test: impl AsyncFn(&SystemCalls, Backend)) {
    let calls = match SystemCalls::of_this_thread() {
        Ok(calls) => calls,
        Err(error) => return eprintln!("not checked, for system calls are not counted: {error}"),
    };
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let options = RunOptions::default().threads(Threads::One);
        backend.block_on_with(options, test(&calls, backend));
    }
}

async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let near = TcpStream::connect(address).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// Checks that `act` is done in one poll, by the system calls `expected`.
async fn costs<T>(
    calls: &SystemCalls,
    expected: &str,
    mut act: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> T {
    poll_fn(|cx| {
        let (done, made) = calls.during(|| act(cx));
        assert_eq!(made, expected);
        assert!(done.is_ready(), "it waits");
        done
    })
    .await
}

/// Waits, past the runtime, until the kernel has something to receive for `socket`.
fn arrived(socket: io::Result<BorrowedFd<'_>>) {
    let socket = socket.unwrap();
    poll(&mut [PollFd::new(&socket, PollFlags::IN)], None).unwrap();
}

/// Both ends of a stream, of which `lend` lends the descriptor.
async fn check_stream<S: ByteStream>(
    calls: &SystemCalls,
    (mut near, mut far): (S, S),
    lend: impl Fn(&S) -> io::Result<BorrowedFd<'_>>,
) {
    near.write_all(&[7; 100]).await.unwrap();
    let mut buffer = BytesMut::with_capacity(2 * MOST.get());
    // Whoever has to ask the runtime whether there is something to read has asked now.
    far.read_into(&mut buffer, ONE).await.unwrap();

    let written = costs(calls, "sendto 1", |cx| {
        Pin::new(&mut near).poll_write(cx, &[7; 10])
    });
    assert_eq!(written.await.unwrap(), 10);
    let slices = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"c")];
    let written = costs(calls, "sendmsg 1", |cx| {
        Pin::new(&mut near).poll_write_vectored(cx, &slices)
    });
    assert_eq!(written.await.unwrap(), 3);
    let flushed = costs(calls, "", |cx| Pin::new(&mut near).poll_flush(cx));
    flushed.await.unwrap();

    while ioctl_fionread(lend(&far).unwrap()).unwrap() < 112 {
        std::thread::yield_now();
    }
    let read = costs(calls, "recvfrom 1", |cx| {
        Pin::new(&mut far).poll_read(cx, &mut [0; 1])
    });
    assert_eq!(read.await.unwrap(), 1);
    let read = costs(calls, "recvfrom 1", |cx| {
        Pin::new(&mut far).poll_read_into(cx, &mut buffer, ONE)
    });
    assert_eq!(read.await.unwrap(), 1);
    let read = costs(calls, "recvfrom 1", |cx| {
        Pin::new(&mut far).poll_read_into(cx, &mut buffer, MOST)
    });
    assert_eq!(read.await.unwrap(), 110);

    let ended = costs(calls, "shutdown 1", |cx| Pin::new(&mut near).poll_close(cx));
    ended.await.unwrap();
}

// S6: a vectored write is one system call, as everything is that needs not wait.
#[test]
fn an_operation_of_a_stream_is_one_call() {
    on_every_backend(async |calls, _| {
        check_stream(calls, tcp_pair().await, TcpStream::try_as_fd).await;
        let pair = UnixStream::pair().unwrap();
        check_stream(calls, pair, UnixStream::try_as_fd).await;
    });
}

#[test]
fn a_stream_of_tcp_that_was_emptied_is_not_tried_again_on_tokio() {
    on_every_backend(async |calls, backend| {
        let (mut near, mut far) = tcp_pair().await;
        for _ in 0..3 {
            near.write_all(&[7; 100]).await.unwrap();
            let mut buffer = BytesMut::with_capacity(MOST.get());
            assert_eq!(far.read_into(&mut buffer, MOST).await.unwrap(), 100);
            // The reactor of the others is told of each wait, so they do well to try before.
            if backend == Backend::Tokio {
                let mut bytes = [0; 8];
                let waits = costs(calls, "", |cx| {
                    let read = Pin::new(&mut far).poll_read(cx, &mut bytes);
                    Poll::Ready(read.is_pending())
                });
                assert!(waits.await);
            }
        }
        // The end is not missed that comes with the last bytes.
        near.write_all(&[7; 100]).await.unwrap();
        near.shutdown().await.unwrap();
        let mut buffer = BytesMut::with_capacity(MOST.get());
        while far.read_into(&mut buffer, MOST).await.unwrap() > 0 {}
        assert_eq!(buffer.len(), 100);
    });
}

// S6
#[test]
fn a_new_stream_is_written_to_at_once() {
    on_every_backend(async |calls, _| {
        let (mut near, mut far) = UnixStream::pair().unwrap();
        let (mut connected, mut accepted) = tcp_pair().await;
        for stream in [&mut near, &mut far] {
            let write = |cx: &mut Context<'_>| Pin::new(&mut *stream).poll_write(cx, &[7; 10]);
            assert_eq!(costs(calls, "sendto 1", write).await.unwrap(), 10);
        }
        for stream in [&mut connected, &mut accepted] {
            let write = |cx: &mut Context<'_>| Pin::new(&mut *stream).poll_write(cx, &[7; 10]);
            assert_eq!(costs(calls, "sendto 1", write).await.unwrap(), 10);
        }
    });
}

#[test]
fn a_datagram_is_one_call() {
    on_every_backend(async |calls, _| {
        let any = "127.0.0.1:0".parse().unwrap();
        let (near, far) = (UdpSocket::bind(any).unwrap(), UdpSocket::bind(any).unwrap());
        let to = far.local_addr().unwrap().into();
        let mut buffer = BytesMut::with_capacity(4 * MOST.get());
        for _ in 0..3 {
            near.send_to(b"datagram", &to).await.unwrap();
        }
        far.recv_from(&mut buffer, MOST).await.unwrap();
        arrived(far.try_as_fd());
        let received = costs(calls, "recvmsg 1", |cx| {
            far.poll_recv_from(cx, &mut buffer, MOST)
        });
        assert_eq!(received.await.unwrap().len, 8);
        arrived(far.try_as_fd());
        let received = costs(calls, "recvmsg 1", |cx| {
            pin!(far.recv_from(&mut buffer, MOST)).poll(cx)
        });
        assert_eq!(received.await.unwrap().len, 8);
        let sent = costs(calls, "sendto 1", |cx| {
            pin!(near.send_to(b"datagram", &to)).poll(cx)
        });
        sent.await.unwrap();

        let (near, far) = UnixDatagram::pair().unwrap();
        near.send(b"first").await.unwrap();
        near.send(b"second").await.unwrap();
        far.recv_from(&mut buffer, ONE).await.unwrap();
        let received = costs(calls, "recvmsg 1", |cx| {
            far.poll_recv_from(cx, &mut buffer, ONE)
        });
        assert!(received.await.unwrap().truncated);
        let sent = costs(calls, "sendto 1", |cx| pin!(near.send(b"third")).poll(cx));
        sent.await.unwrap();
    });
}

#[test]
fn an_accepted_connection_is_a_call_and_one_for_each_option() {
    on_every_backend(async |calls, _| {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(TcpStream::connect(address).await.unwrap());
        }
        streams.push(listener.accept().await.unwrap().0);
        for _ in 0..2 {
            arrived(listener.try_as_fd());
            let accepted = costs(calls, "accept4 1, epoll_ctl 1, setsockopt 1", |cx| {
                listener.poll_accept(cx)
            });
            streams.push(accepted.await.unwrap().0);
        }
    });
}

#[test]
fn a_task_the_clock_and_the_backend_in_use_need_no_call() {
    on_every_backend(async |calls, backend| {
        // What threads and executors do once is done.
        for _ in 0..10 {
            spawn_detached(async {});
            yield_now().await;
        }
        random_u64();
        costs(calls, "", |_| {
            assert_eq!(Backend::current().unwrap(), backend);
            Poll::Ready((now(), random_u64()))
        })
        .await;
        if backend != Backend::AsyncStd {
            let spawn = |_: &mut Context<'_>| {
                spawn_detached(async {});
                Poll::Ready(())
            };
            costs(calls, "", spawn).await;
        }
    });
}
