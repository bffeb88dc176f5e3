//! Datagrams over UDP: U1 to U7.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::net::{Received, UdpOptions, UdpSocket};
use bowline_backend::stream::{Address, UnixAddress};
use bowline_backend::task::{RunOptions, spawn_detached, yield_now};
use bowline_tests::latch::Latch;
use bytes::BytesMut;

use crate::conformance;
use crate::own_address::own_address;
use crate::reality::{Outcome, check, done, failed};

conformance! {
    all: [
        datagrams_go_and_come_back,
        a_cut_datagram_says_so,
        a_datagram_too_long_is_refused_alone,
        a_connected_socket_hears_its_peer_alone,
        a_closed_port_refuses_or_says_nothing,
        each_datagram_goes_to_one_of_many_receivers,
        a_dropped_receive_loses_none,
        polls_send_and_receive,
        addresses_of_the_wrong_kind_are_refused,
    ]
    real: [
        options_of_udp_reach_the_kernel,
        groups_are_heard,
        std_sockets_come_and_go,
    ]
    dropping: []
    real_dropping: []
}

const MOST: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

/// The code of a datagram that is too long.
const MESSAGE_SIZE: i32 = rustix::io::Errno::MSGSIZE.raw_os_error();

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A bound socket and one connected to it.
fn server_and_client() -> (UdpSocket, UdpSocket) {
    let server = UdpSocket::bind(any()).unwrap();
    let client = UdpSocket::connect(server.local_addr().unwrap()).unwrap();
    (server, client)
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, Received) {
    let mut buffer = BytesMut::new();
    let received = socket.recv_from(&mut buffer, MOST).await.unwrap();
    assert_eq!(received.len, buffer.len());
    (buffer.to_vec(), received)
}

// U1
fn datagrams_go_and_come_back(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (server, client) = server_and_client();
        assert_eq!(server.backend(), backend);
        for length in [1, 0, 1_472, 0, 65_507] {
            let sent: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            client.send(&sent).await.unwrap();
            let (bytes, received) = receive(&server).await;
            assert!(bytes == sent, "{length} bytes came as {}", bytes.len());
            assert!(!received.truncated);
            let from = received.from.unwrap();
            assert_eq!(from, client.local_addr().unwrap().into());
            server.send_to(&sent, &from).await.unwrap();
            assert!(receive(&client).await.0 == sent, "{length} bytes back");
        }
        // What is received is appended, and nothing before it is touched.
        client.send(b"more").await.unwrap();
        let mut buffer = BytesMut::from(&b"some "[..]);
        server.recv_from(&mut buffer, MOST).await.unwrap();
        assert_eq!(buffer, "some more");
    });
}

// U2
fn a_cut_datagram_says_so(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (server, client) = server_and_client();
        client.send(b"longer than asked for").await.unwrap();
        client.send(b"next").await.unwrap();
        let mut buffer = BytesMut::new();
        let six = NonZeroUsize::new(6).unwrap();
        let received = server.recv_from(&mut buffer, six).await.unwrap();
        assert_eq!((&buffer[..], received.len), (&b"longer"[..], 6));
        assert!(received.truncated);
        // The rest is gone, and one of exactly that length is whole.
        let four = NonZeroUsize::new(4).unwrap();
        let mut buffer = BytesMut::with_capacity(1_000);
        let received = server.recv_from(&mut buffer, four).await.unwrap();
        assert_eq!(buffer, "next");
        assert!(!received.truncated);
        // Whatever is asked for, no more room is made than a datagram may need.
        client.send(&vec![7; 65_507]).await.unwrap();
        let mut buffer = BytesMut::new();
        let received = server.recv_from(&mut buffer, NonZeroUsize::MAX).await;
        assert_eq!((received.unwrap().len, buffer.len()), (65_507, 65_507));
        assert!(buffer.capacity() <= 128 * 1024, "{}", buffer.capacity());
    });
}

// U3
fn a_datagram_too_long_is_refused_alone(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (server, client) = server_and_client();
        let to = server.local_addr().unwrap().into();
        for length in [65_508, 70_000] {
            let long = vec![0; length];
            let error = client.send(&long).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(MESSAGE_SIZE), "{error}");
            let error = server.send_to(&long, &to).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(MESSAGE_SIZE), "{error}");
        }
        client.send(b"short").await.unwrap();
        assert_eq!(receive(&server).await.0, b"short");
    });
}

// U4
fn a_connected_socket_hears_its_peer_alone(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (server, client) = server_and_client();
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        let bound = server.peer_addr().unwrap_err();
        assert_eq!(bound.kind(), ErrorKind::NotConnected);
        let to = client.local_addr().unwrap().into();
        let stranger = UdpSocket::bind(any()).unwrap();
        for _ in 0..10 {
            stranger.send_to(b"a stranger's", &to).await.unwrap();
            server.send_to(b"the peer's", &to).await.unwrap();
            assert_eq!(receive(&client).await.0, b"the peer's");
        }
    });
}

// U5, S12
fn a_closed_port_refuses_or_says_nothing(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let situation = "UDP to a closed port, connected";
        let server = UdpSocket::bind(own_address(backend)).unwrap();
        let at = server.local_addr().unwrap();
        let client = UdpSocket::connect(at).unwrap();
        drop(server);
        client.send(b"to nobody").await.unwrap();
        let mut buffer = BytesMut::new();
        let mut outcome = Outcome::Waits;
        {
            let mut receiving = pin!(client.recv_from(&mut buffer, MOST));
            for _ in 0..50 {
                match poll_fn(|cx| Poll::Ready(receiving.as_mut().poll(cx))).await {
                    Poll::Ready(refused) => {
                        outcome = failed(&refused.unwrap_err());
                        break;
                    }
                    Poll::Pending => yield_now().await,
                }
            }
        }
        check(backend, situation, "recv", outcome);
        // Whoever opens the port later is heard and spoken to.
        let server = UdpSocket::bind(at).unwrap();
        let sent = client.send(b"to somebody").await;
        check(backend, situation, "send", done(&sent));
        if sent.is_err() {
            // It is told once.
            client.send(b"to somebody").await.unwrap();
        }
        assert_eq!(receive(&server).await.0, b"to somebody");

        // Nor does who waits already have to ask again.
        drop(server);
        let mut buffer = BytesMut::new();
        let mut receiving = pin!(client.recv_from(&mut buffer, MOST));
        let parked = poll_fn(|cx| Poll::Ready(receiving.as_mut().poll(cx)));
        assert!(parked.await.is_pending());
        client.send(b"to nobody").await.unwrap();
        let refused = receiving.await.unwrap_err();
        check(backend, situation, "recv", failed(&refused));
        let server = UdpSocket::bind(at).unwrap();

        // A socket that is only bound is never told.
        let bound = UdpSocket::bind(any()).unwrap();
        let nobody = UdpSocket::bind(own_address(backend)).unwrap();
        let to = nobody.local_addr().unwrap().into();
        drop(nobody);
        for _ in 0..10 {
            bound.send_to(b"to nobody", &to).await.unwrap();
        }
        client.send(b"on").await.unwrap();
        assert_eq!(receive(&server).await.0, b"on");
    });
}

// U6
fn each_datagram_goes_to_one_of_many_receivers(backend: Backend, options: RunOptions) {
    const SENDERS: u16 = 8;
    const RECEIVERS: usize = 2;
    // Few enough at a time for the buffer of any system.
    const ROUNDS: u16 = 20;
    const EACH: u16 = 10;
    backend.block_on_with(options, async {
        let server = Arc::new(UdpSocket::bind(any()).unwrap());
        let at: Address = server.local_addr().unwrap().into();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ended = Latch::new(RECEIVERS);
        let arrived: Vec<Latch> = (0..ROUNDS)
            .map(|_| Latch::new(usize::from(SENDERS * EACH)))
            .collect();
        for _ in 0..RECEIVERS {
            let (server, heard, ended) = (server.clone(), heard.clone(), ended.clone());
            let arrived = arrived.clone();
            spawn_detached(async move {
                loop {
                    let (bytes, _) = receive(&server).await;
                    if bytes.is_empty() {
                        break;
                    }
                    heard.lock().unwrap().push(bytes.clone());
                    arrived[usize::from(bytes[0])].count_down();
                }
                ended.count_down();
            });
        }
        let senders = Arc::new(UdpSocket::bind(any()).unwrap());
        for round in 0..ROUNDS {
            for sender in 0..SENDERS {
                let (socket, at) = (senders.clone(), at.clone());
                spawn_detached(async move {
                    for number in 0..EACH {
                        let datagram = [round as u8, sender as u8, number as u8];
                        socket.send_to(&datagram, &at).await.unwrap();
                    }
                });
            }
            arrived[usize::from(round)].wait().await;
        }
        for _ in 0..RECEIVERS {
            senders.send_to(b"", &at).await.unwrap();
        }
        ended.wait().await;
        let mut heard = std::mem::take(&mut *heard.lock().unwrap());
        heard.sort_unstable();
        let count = heard.len();
        heard.dedup();
        assert_eq!(heard.len(), count, "one came twice");
        assert_eq!(count, usize::from(ROUNDS * SENDERS * EACH));
    });
}

// U7
fn a_dropped_receive_loses_none(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (server, client) = server_and_client();
        for number in 0_u8..100 {
            let mut buffer = BytesMut::new();
            let mut waiting = Box::pin(server.recv_from(&mut buffer, MOST));
            let polled = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            client.send(&[number]).await.unwrap();
            if number.is_multiple_of(2) {
                yield_now().await;
            }
            // Woken or not: it was not polled again, so it took nothing.
            drop(waiting);
            assert!(buffer.is_empty());
            assert_eq!(receive(&server).await.0, [number]);
        }
    });
}

// U1
fn polls_send_and_receive(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (server, client) = server_and_client();
        poll_fn(|cx| client.poll_send(cx, b"by poll"))
            .await
            .unwrap();
        let mut buffer = BytesMut::new();
        let received = poll_fn(|cx| server.poll_recv_from(cx, &mut buffer, MOST)).await;
        let from = received.unwrap().from.unwrap();
        assert_eq!(buffer, "by poll");
        poll_fn(|cx| server.poll_send_to(cx, b"and back", &from))
            .await
            .unwrap();
        assert_eq!(receive(&client).await.0, b"and back");
        assert!(client.take_error().unwrap().is_none());
    });
}

// S15, S20
fn options_of_udp_reach_the_kernel(backend: Backend, options: RunOptions) {
    use socket2::SockRef;
    backend.block_on_with(options, async {
        let chosen = UdpOptions::new()
            .reuse_port()
            .broadcast()
            .send_buffer(8 * 1024)
            .recv_buffer(16 * 1024);
        let bound = UdpSocket::bind_with(any(), chosen.clone()).unwrap();
        let at = bound.local_addr().unwrap();
        let second = UdpSocket::bind_with(at, chosen.clone()).unwrap();
        let connected = UdpSocket::connect_with(at, chosen.local(any())).unwrap();
        for socket in [&bound, &second, &connected] {
            let fd = socket.try_as_fd().unwrap();
            let raw = SockRef::from(&fd);
            assert!(raw.broadcast().unwrap() && raw.reuse_port().unwrap());
            // Linux doubles what it is told, for its bookkeeping.
            assert!(raw.send_buffer_size().unwrap() <= 16 * 1024);
            assert!(raw.recv_buffer_size().unwrap() <= 32 * 1024);
            let flags = rustix::io::fcntl_getfd(fd).unwrap();
            assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
        }
        let taken = UdpSocket::bind(at).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);

        let six: SocketAddr = "[::]:0".parse().unwrap();
        let only = UdpSocket::bind(six).unwrap();
        let both = UdpSocket::bind_with(six, UdpOptions::new().dual_stack()).unwrap();
        for (socket, alone) in [(&only, true), (&both, false)] {
            let fd = socket.try_as_fd().unwrap();
            assert_eq!(SockRef::from(&fd).only_v6().unwrap(), alone);
        }
        // A socket of both families is spoken to by IPv4.
        let port = both.local_addr().unwrap().port();
        let four = UdpSocket::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
        four.send(b"four").await.unwrap();
        let (bytes, received) = receive(&both).await;
        assert_eq!(bytes, b"four");
        both.send_to(b"back", &received.from.unwrap())
            .await
            .unwrap();
        assert_eq!(receive(&four).await.0, b"back");
    });
}

// U1
fn groups_are_heard(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let group = [239, 255, 77, 1];
        let loopback = [127, 0, 0, 1].into();
        let hears = UdpOptions::new().join_v4(group.into(), loopback);
        let at = SocketAddr::from(([0, 0, 0, 0], 0));
        let member = UdpSocket::bind_with(at, hears).unwrap();
        let to = SocketAddr::from((group, member.local_addr().unwrap().port()));
        let sender = UdpSocket::bind(any()).unwrap();
        sender.send_to(b"to all", &to.into()).await.unwrap();
        assert_eq!(receive(&member).await.0, b"to all");
        for wrong in [
            UdpOptions::new().join_v4([10, 0, 0, 1].into(), loopback),
            UdpOptions::new().join_v6("ff02::1".parse().unwrap(), 0),
        ] {
            let error = UdpSocket::bind_with(at, wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
    });
}

// S13
fn addresses_of_the_wrong_kind_are_refused(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        for bad in ["0.0.0.0:80", "[::]:80", "127.0.0.1:0"] {
            let error = UdpSocket::connect(bad.parse().unwrap()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad}: {error}");
        }
        let (server, _client) = server_and_client();
        let six = UdpOptions::new().local("[::1]:0".parse().unwrap());
        let error = UdpSocket::connect_with(server.local_addr().unwrap(), six).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let four = server.local_addr().unwrap();
        let v6_socket = UdpSocket::bind("[::1]:0".parse().unwrap()).unwrap();
        let v6 = v6_socket.local_addr().unwrap();
        let unix = UnixAddress::from_path("/nowhere").unwrap();
        for (socket, to) in [
            (&server, Address::from(v6)),
            (&v6_socket, four.into()),
            (&server, unix.into()),
            (&server, Address::Named("memory".into())),
        ] {
            let error = socket.send_to(b"x", &to).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{to}: {error}");
            assert!(error.to_string().contains(&to.to_string()), "{error}");
        }
        let error = UdpSocket::bind("203.0.113.7:0".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    });
}

// S14
fn std_sockets_come_and_go(backend: Backend, options: RunOptions) {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let ours = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = ours.local_addr().unwrap();
    peer.send_to(b"queued", at).unwrap();
    ours.connect(peer.local_addr().unwrap()).unwrap();
    let back = backend.block_on_with(options.clone(), async move {
        let ours = UdpSocket::from_std(ours).unwrap();
        assert_eq!(receive(&ours).await.0, b"queued");
        ours.send(b"to the peer").await.unwrap();
        ours.into_std().unwrap()
    });
    let mut answer = [0; 32];
    let length = peer.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"to the peer");
    peer.send_to(b"blocking again", at).unwrap();
    let length = back.recv(&mut answer).unwrap();
    assert_eq!(&answer[..length], b"blocking again");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (unix, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    backend.block_on_with(options, async move {
        for wrong in [OwnedFd::from(stream), OwnedFd::from(unix)] {
            let error = UdpSocket::from_std(wrong.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        let error = UdpSocket::from_std(OwnedFd::from(file).into()).unwrap_err();
        assert_eq!(
            error.raw_os_error(),
            Some(rustix::io::Errno::NOTSOCK.raw_os_error())
        );
    });
}
