//! Options of sockets, asked for by who does not own them: S15, and what S14 says of who gives the
//! socket away.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{
    Keepalive, Nodelay, RawSocket, SocketClosed, TcpListenOptions, TcpListener, TcpStream,
    UdpOptions, UdpSocket, UnixDatagram, UnixListener, UnixStream,
};
use bowline_backend::stream::{Address, ByteStream, UnixAddress};
use bowline_backend::task::RunOptions;
use futures_lite::AsyncWriteExt;

use crate::conformance;
use crate::kinds::{Kind, Tcp};
use crate::streams::read_all;

conformance! {
    all: [what_has_no_descriptor_has_no_raw_socket]
    real: [
        options_are_changed_from_outside,
        sizes_and_times_are_rounded_as_for_their_owner,
        routers_are_told_of_every_family,
        options_of_other_kinds_are_refused,
        every_kind_of_socket_has_one,
        it_keeps_no_socket_open,
        a_descriptor_used_again_is_not_taken_for_the_old_one,
        who_is_asked_meanwhile_closes_afterwards,
        a_socket_is_given_away_while_it_is_asked,
        a_socket_is_asked_while_it_is_closed,
    ]
    dropping: []
    real_dropping: []
}

/// Nothing can be asked any more, and all say so one way.
fn assert_closed(raw: &RawSocket) {
    assert!(!raw.is_open());
    let asked = [
        raw.nodelay().map(drop),
        raw.set_nodelay(Nodelay::On),
        raw.keepalive().map(drop),
        raw.set_keepalive(None),
        raw.linger().map(drop),
        raw.set_linger(None),
        raw.user_timeout().map(drop),
        raw.set_user_timeout(None),
        raw.send_buffer().map(drop),
        raw.set_send_buffer(4096),
        raw.recv_buffer().map(drop),
        raw.set_recv_buffer(4096),
        raw.ttl().map(drop),
        raw.set_ttl(1),
        raw.tos().map(drop),
        raw.set_tos(0),
        raw.local_addr().map(drop),
        raw.peer_addr().map(drop),
        raw.with_fd(|_| panic!("there is no descriptor")),
    ];
    for (number, answer) in asked.into_iter().enumerate() {
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected, "{number}: {error}");
        let source = error.get_ref().and_then(|source| source.downcast_ref());
        assert_eq!(source, Some(&SocketClosed), "{number}");
    }
}

// S15
fn what_has_no_descriptor_has_no_raw_socket(backend: Backend, options: RunOptions) {
    let real = backend.capabilities().std_sockets;
    backend.block_on_with(options, async {
        let (stream, _other) = Tcp::pair().await;
        let udp = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (unix, _other) = UnixDatagram::pair().unwrap();
        for raw in [stream.raw_socket(), udp.raw_socket(), unix.raw_socket()] {
            match raw {
                Ok(raw) => assert!(real && raw.is_open()),
                Err(error) => {
                    assert_eq!((error.kind(), real), (ErrorKind::Unsupported, false));
                }
            }
        }
    });
}

// S15
fn options_are_changed_from_outside(backend: Backend, options: RunOptions) {
    use socket2::SockRef;
    backend.block_on_with(options, async {
        for stream in <[_; 2]>::from(Tcp::pair().await) {
            let raw = stream.raw_socket().unwrap().clone();
            let fd = stream.try_as_fd().unwrap();
            let socket = SockRef::from(&fd);
            let local = stream.local_addr().unwrap();
            assert_eq!(raw.local_addr().unwrap(), local);
            assert_eq!(raw.peer_addr().unwrap(), stream.peer_addr().unwrap());

            assert_eq!(raw.nodelay().unwrap(), Nodelay::On);
            raw.set_nodelay(Nodelay::Off).unwrap();
            assert!(!socket.tcp_nodelay().unwrap());
            assert_eq!(raw.nodelay().unwrap(), Nodelay::Off);

            let probes = Keepalive::new(Duration::from_secs(61), Duration::from_secs(21), 4);
            assert_eq!(raw.keepalive().unwrap(), None);
            raw.set_keepalive(Some(probes)).unwrap();
            assert_eq!(socket.tcp_keepalive_time().unwrap(), probes.idle);
            assert_eq!(raw.keepalive().unwrap(), Some(probes));
            raw.set_keepalive(None).unwrap();
            assert!(!socket.keepalive().unwrap());
            assert_eq!(raw.keepalive().unwrap(), None);

            let linger = Some(Duration::from_secs(3));
            assert_eq!(raw.linger().unwrap(), None);
            raw.set_linger(linger).unwrap();
            assert_eq!(socket.linger().unwrap(), linger);
            assert_eq!(raw.linger().unwrap(), linger);
            raw.set_linger(None).unwrap();

            #[cfg(target_os = "linux")]
            {
                let timeout = Some(Duration::from_millis(1500));
                assert_eq!(raw.user_timeout().unwrap(), None);
                raw.set_user_timeout(timeout).unwrap();
                assert_eq!(socket.tcp_user_timeout().unwrap(), timeout);
                assert_eq!(raw.user_timeout().unwrap(), timeout);
                raw.set_user_timeout(None).unwrap();
                assert_eq!(raw.user_timeout().unwrap(), None);
            }

            raw.set_send_buffer(8 * 1024).unwrap();
            assert_eq!(
                raw.send_buffer().unwrap(),
                socket.send_buffer_size().unwrap()
            );
            // Linux doubles what it is told, for its bookkeeping.
            assert!((8 * 1024..=16 * 1024).contains(&raw.send_buffer().unwrap()));
            raw.set_recv_buffer(16 * 1024).unwrap();
            assert_eq!(
                raw.recv_buffer().unwrap(),
                socket.recv_buffer_size().unwrap()
            );
            assert!((16 * 1024..=32 * 1024).contains(&raw.recv_buffer().unwrap()));

            // What has no method of its own.
            raw.with_fd(|fd| SockRef::from(&fd).set_out_of_band_inline(true))
                .unwrap();
            assert!(socket.out_of_band_inline().unwrap());
        }
    });
}

// S15
fn sizes_and_times_are_rounded_as_for_their_owner(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (stream, _other) = Tcp::pair().await;
        let raw = stream.raw_socket().unwrap();
        let second = Duration::from_secs(1);
        raw.set_linger(Some(Duration::from_nanos(1))).unwrap();
        assert_eq!(raw.linger().unwrap(), Some(second));
        raw.set_linger(Some(Duration::MAX)).unwrap();
        assert!(raw.linger().unwrap() > Some(second * 3600));
        raw.set_linger(Some(Duration::ZERO)).unwrap();
        assert_eq!(raw.linger().unwrap(), Some(Duration::ZERO));
        let short = Keepalive::new(Duration::ZERO, Duration::from_millis(1), 1);
        raw.set_keepalive(Some(short)).unwrap();
        let probes = Keepalive::new(second, second, 1);
        assert_eq!(raw.keepalive().unwrap(), Some(probes));
        #[cfg(target_os = "linux")]
        {
            let millisecond = Duration::from_millis(1);
            raw.set_user_timeout(Some(Duration::from_nanos(1))).unwrap();
            assert_eq!(raw.user_timeout().unwrap(), Some(millisecond));
            raw.set_user_timeout(Some(Duration::ZERO)).unwrap();
            assert_eq!(raw.user_timeout().unwrap(), None);
        }
        raw.set_send_buffer(1).unwrap();
        let least = raw.send_buffer().unwrap();
        raw.set_send_buffer(usize::MAX).unwrap();
        assert!(raw.send_buffer().unwrap() > least);
    });
}

// S15
fn routers_are_told_of_every_family(backend: Backend, options: RunOptions) {
    use socket2::SockRef;
    backend.block_on_with(options, async {
        let four = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let six: SocketAddr = "[::]:0".parse().unwrap();
        let only = UdpSocket::bind(six).unwrap();
        let both = UdpSocket::bind_with(six, UdpOptions::new().dual_stack()).unwrap();
        for (socket, has_four, has_six) in [
            (&four, true, false),
            (&only, false, true),
            (&both, true, true),
        ] {
            let raw = socket.raw_socket().unwrap();
            raw.set_ttl(7).unwrap();
            raw.set_tos(0xb8).unwrap(); // expedited forwarding
            assert_eq!((raw.ttl().unwrap(), raw.tos().unwrap()), (7, 0xb8));
            let fd = socket.try_as_fd().unwrap();
            let system = SockRef::from(&fd);
            if has_four {
                assert_eq!(system.ttl_v4().unwrap(), 7);
                assert_eq!(system.tos_v4().unwrap(), 0xb8);
            }
            if has_six {
                assert_eq!(system.unicast_hops_v6().unwrap(), 7);
                assert_eq!(system.tclass_v6().unwrap(), 0xb8);
            }
            raw.set_ttl(255).unwrap();
            raw.set_tos(0).unwrap();
            assert_eq!((raw.ttl().unwrap(), raw.tos().unwrap()), (255, 0));
            let refused = raw.set_ttl(0).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
            assert_eq!(raw.ttl().unwrap(), 255);
        }
        // An IPv4 connection that a listener of both families accepted.
        let listen = TcpListenOptions::new().dual_stack();
        let listener = TcpListener::bind_with(six, listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = SocketAddr::from(([127, 0, 0, 1], port));
        let _client = TcpStream::connect(to).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let raw = server.raw_socket().unwrap();
        raw.set_ttl(9).unwrap();
        let fd = server.try_as_fd().unwrap();
        assert_eq!(SockRef::from(&fd).ttl_v4().unwrap(), 9);
    });
}

// S15
fn options_of_other_kinds_are_refused(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let udp = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (stream, _other) = UnixStream::pair().unwrap();
        let (datagram, _other) = UnixDatagram::pair().unwrap();
        let probes = Keepalive::new(Duration::from_secs(1), Duration::from_secs(1), 1);
        let raws = [
            udp.raw_socket().unwrap(),
            stream.raw_socket().unwrap(),
            datagram.raw_socket().unwrap(),
        ];
        for raw in &raws {
            for refused in [
                raw.nodelay().map(drop),
                raw.set_nodelay(Nodelay::On),
                raw.keepalive().map(drop),
                raw.set_keepalive(Some(probes)),
                raw.user_timeout().map(drop),
                raw.set_user_timeout(Some(Duration::from_secs(1))),
            ] {
                let refused = refused.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::Unsupported, "{raw:?}: {refused}");
            }
            raw.set_recv_buffer(8 * 1024).unwrap();
        }
        for raw in &raws[1..] {
            for refused in [
                raw.ttl().map(drop),
                raw.set_ttl(1),
                raw.tos().map(drop),
                raw.set_tos(0),
            ] {
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
            }
        }
        let unconnected = raws[0].peer_addr().unwrap_err();
        assert_eq!(unconnected.kind(), ErrorKind::NotConnected);
        let source = unconnected.get_ref();
        assert!(!source.is_some_and(|source| source.is::<SocketClosed>()));
    });
}

// S15
fn every_kind_of_socket_has_one(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let any = "127.0.0.1:0".parse().unwrap();
        let tcp = TcpListener::bind(any).unwrap();
        let unix = UnixListener::bind(&UnixAddress::autobind()).unwrap();
        let datagram = UnixDatagram::bind(&UnixAddress::autobind()).unwrap();
        let udp = UdpSocket::bind(any).unwrap();
        let (stream, _other) = UnixStream::pair().unwrap();
        let raws = [
            (tcp.raw_socket(), tcp.local_addr().unwrap().into()),
            (unix.raw_socket(), unix.local_addr().unwrap()),
            (datagram.raw_socket(), datagram.local_addr().unwrap()),
            (udp.raw_socket(), udp.local_addr().unwrap().into()),
            (stream.raw_socket(), Address::from(UnixAddress::UNNAMED)),
        ];
        for (raw, local) in &raws {
            let raw = raw.as_ref().unwrap();
            assert_eq!(&raw.local_addr().unwrap(), local);
            assert!(raw.recv_buffer().unwrap() > 0);
        }
        drop((tcp, unix, datagram, udp, stream));
        for (raw, _) in raws {
            assert_closed(&raw.unwrap());
        }
    });
}

// S15
fn it_keeps_no_socket_open(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        // The peer sees the end, however the stream is closed.
        for how in ["whole", "halves", "aborted"] {
            let (stream, mut peer) = Tcp::pair().await;
            let raw = stream.raw_socket().unwrap();
            let again = raw.clone();
            match how {
                "whole" => drop(stream),
                "halves" => {
                    let (read, mut write) = stream.into_split();
                    write.close().await.unwrap();
                    drop(read);
                    assert!(raw.is_open(), "half of it is");
                    drop(write);
                }
                _ => stream.abort(),
            }
            assert_closed(&raw);
            assert_closed(&again);
            let ended = read_all(&mut peer).await;
            match how {
                "aborted" => assert_eq!(ended.unwrap_err().kind(), ErrorKind::ConnectionReset),
                _ => assert_eq!(ended.unwrap(), b""),
            }
        }
        let (stream, _peer) = Tcp::pair().await;
        let raw = stream.raw_socket().unwrap();
        let given = stream.into_std().unwrap();
        assert_closed(&raw);
        drop(given);
    });
}

// S15
fn a_descriptor_used_again_is_not_taken_for_the_old_one(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut raws = Vec::new();
        let mut numbers = Vec::new();
        for _ in 0..64 {
            let socket = UdpSocket::bind(any).unwrap();
            numbers.push(socket.try_as_fd().unwrap().as_raw_fd());
            raws.push(socket.raw_socket().unwrap());
        }
        // The system gives the lowest number that is free: they have come again.
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.len() < 64, "{numbers:?}");
        let sockets: Vec<UdpSocket> = (0..64).map(|_| UdpSocket::bind(any).unwrap()).collect();
        for raw in &raws {
            assert_closed(raw);
        }
        for socket in sockets {
            assert_eq!(socket.raw_socket().unwrap().ttl().unwrap(), 64);
        }
    });
}

// S15
fn who_is_asked_meanwhile_closes_afterwards(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (stream, mut peer) = Tcp::pair().await;
        let raw = stream.raw_socket().unwrap();
        let (lent, is_lent) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let asking = {
            let raw = raw.clone();
            thread::spawn(move || {
                raw.with_fd(|fd| {
                    lent.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    socket2::SockRef::from(&fd).tcp_nodelay() // of that socket still
                })
            })
        };
        is_lent.recv().unwrap();
        drop(stream);
        assert!(raw.is_open(), "as long as it is asked");
        go_on.send(()).unwrap();
        assert!(asking.join().unwrap().unwrap());
        assert_closed(&raw);
        assert_eq!(read_all(&mut peer).await.unwrap(), b"");
    });
}

// S14
fn a_socket_is_given_away_while_it_is_asked(backend: Backend, options: RunOptions) {
    use std::io::Write;
    backend.block_on_with(options, async {
        let (stream, mut peer) = Tcp::pair().await;
        let raw = stream.raw_socket().unwrap();
        let mut given = None;
        raw.with_fd(|_| {
            given = Some(stream.into_std()?);
            Ok(())
        })
        .unwrap();
        assert_closed(&raw);
        let mut given = given.unwrap();
        given.write_all(b"by hand").unwrap();
        drop(given);
        assert_eq!(read_all(&mut peer).await.unwrap(), b"by hand");
    });
}

// S15
fn a_socket_is_asked_while_it_is_closed(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let (give, take) = mpsc::channel::<RawSocket>();
        let asking = thread::spawn(move || {
            for raw in take {
                // It has another value in every other socket of this process.
                while let Ok(ttl) = raw.ttl() {
                    assert_eq!(ttl, 3);
                }
                assert_closed(&raw);
            }
        });
        for _ in 0..200 {
            let socket = UdpSocket::bind(any).unwrap();
            let raw = socket.raw_socket().unwrap();
            raw.set_ttl(3).unwrap();
            give.send(raw).unwrap();
            bowline_backend::task::yield_now().await;
            drop(socket);
            drop(UdpSocket::bind(any).unwrap()); // most often of the same number
        }
        drop(give);
        asking.join().unwrap();
    });
}
