//! What the kernel knows of a stream: S14, S15, S20.

use std::io::ErrorKind;

use bowline_backend::Backend;
use bowline_backend::net::{
    Keepalive, Nodelay, TcpListenOptions, TcpListener, TcpOptions, TcpStream,
};
use bowline_backend::task::RunOptions;

use crate::conformance;
use crate::kinds::{Kind, Tcp};
use crate::streams::read_whole;

conformance! {
    all: []
    real: [
        std_streams_come_and_go,
        options_reach_the_kernel,
        spans_and_sizes_beyond_the_kernels_units_keep_their_meaning,
    ]
    dropping: []
    real_dropping: []
}

/// Two connected streams, both with these options.
async fn pair_with(options: TcpOptions) -> (TcpStream, TcpStream) {
    let listen = TcpListenOptions::new().accept_options(options.clone());
    let listener = TcpListener::bind_with("127.0.0.1:0".parse().unwrap(), listen).unwrap();
    let address = listener.local_addr().unwrap();
    let client = TcpStream::connect_with(address, options).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
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
        assert_eq!(read_whole(&mut server, 6).await.unwrap(), b"queued");
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
        let (client, server) = Tcp::pair().await;
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

// S15: what is rounded down to zero would be a reset, or no timeout at all.
fn spans_and_sizes_beyond_the_kernels_units_keep_their_meaning(
    backend: Backend,
    options: RunOptions,
) {
    use socket2::SockRef;
    use std::time::Duration;
    backend.block_on_with(options, async {
        let short = TcpOptions::new()
            .linger(Duration::from_millis(300))
            .user_timeout(Duration::from_nanos(1))
            .keepalive(Keepalive::new(Duration::ZERO, Duration::from_millis(1), 1));
        let (client, server) = pair_with(short).await;
        for stream in [&client, &server] {
            let fd = stream.try_as_fd().unwrap();
            let socket = SockRef::from(&fd);
            assert_eq!(socket.linger().unwrap(), Some(Duration::from_secs(1)));
            let second = Duration::from_secs(1);
            assert_eq!(socket.tcp_keepalive_time().unwrap(), second);
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), second);
            #[cfg(target_os = "linux")]
            assert_eq!(
                socket.tcp_user_timeout().unwrap(),
                Some(Duration::from_millis(1))
            );
        }
        client.set_linger(Some(Duration::from_nanos(1))).unwrap();
        let fd = client.try_as_fd().unwrap();
        let linger = || SockRef::from(&fd).linger().unwrap();
        assert_eq!(linger(), Some(Duration::from_secs(1)));
        client.set_linger(Some(Duration::ZERO)).unwrap();
        assert_eq!(linger(), Some(Duration::ZERO));
        client.set_linger(Some(Duration::MAX)).unwrap();
        assert!(linger() > Some(Duration::from_secs(3_600)));
        client.set_linger(None).unwrap();

        let long = TcpOptions::new()
            .user_timeout(Duration::MAX)
            .send_buffer(usize::MAX)
            .recv_buffer(1 << 32);
        let (client, _server) = pair_with(long).await;
        let fd = client.try_as_fd().unwrap();
        let socket = SockRef::from(&fd);
        let plain = TcpOptions::new().send_buffer(1).recv_buffer(1);
        let (least, _other) = pair_with(plain).await;
        let fd = least.try_as_fd().unwrap();
        let least = SockRef::from(&fd);
        assert!(socket.send_buffer_size().unwrap() > least.send_buffer_size().unwrap());
        assert!(socket.recv_buffer_size().unwrap() > least.recv_buffer_size().unwrap());
    });
}
