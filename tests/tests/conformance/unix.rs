//! Unix listeners, addresses and credentials: L12, and what S13, S14, S15 and S20 say of them.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::net::{Stale, UnixDatagram, UnixListenOptions, UnixListener, UnixOptions};
use bowline_backend::net::{TcpStream, UnixStream};
use bowline_backend::stream::{Address, ByteStream, ByteStreamExt, UnixAddress};
use bowline_backend::task::{RunOptions, spawn_detached, yield_now};
use bowline_tests::files::Files;
use bowline_tests::latch::Latch;
use bowline_tests::temp_dir::TempDir;

use crate::conformance;
use crate::reality::{Outcome, check, failed};
use crate::streams::{read_all, read_whole};

conformance! {
    all: [
        streams_connect_at_a_path,
        a_path_in_use_is_refused_or_replaced_if_stale,
        what_is_no_socket_is_never_removed,
        the_mode_holds_before_anybody_connects,
        bad_addresses_are_refused,
        abstract_names_end_with_their_socket,
        credentials_are_our_own,
        connects_fail_as_they_should,
        a_connect_waits_at_a_full_backlog,
        two_tasks_accept_each_once,
    ]
    real: [
        links_and_directories_are_never_removed,
        a_failed_bind_leaves_no_path,
        std_sockets_come_and_go,
        options_reach_the_kernel,
    ]
    dropping: []
    real_dropping: []
}

pub(crate) fn path(dir: &TempDir, name: &str) -> UnixAddress {
    UnixAddress::from_path(dir.join(name)).unwrap()
}

// L12, S11
fn streams_connect_at_a_path(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let at = path(&dir, "listener");
        let listener = UnixListener::bind(&at).unwrap();
        assert_eq!(listener.backend(), backend);
        assert_eq!(listener.local_addr().unwrap(), Address::Unix(at.clone()));
        let mut unnamed = UnixStream::connect(&at).await.unwrap();
        let (mut server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, Address::Unix(UnixAddress::UNNAMED));
        assert_eq!(peer.to_string(), "<unnamed>");
        assert_eq!(unnamed.peer_addr().unwrap(), Address::Unix(at.clone()));
        assert_eq!(unnamed.peer_addr().unwrap().to_string(), at.to_string());
        unnamed.write_all(b"over a path").await.unwrap();
        assert_eq!(read_whole(&mut server, 11).await.unwrap(), b"over a path");

        let ours = path(&dir, "client");
        let named = UnixOptions::new().local(ours.clone());
        let named = UnixStream::connect_with(&at, named).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, Address::Unix(ours.clone()));
        assert_eq!(server.peer_addr().unwrap().as_unix(), Some(&ours));
        assert_eq!(named.local_addr().unwrap(), server.peer_addr().unwrap());
        // A drop removes no path: who made it knows whether it is still his.
        drop((listener, named));
        let files = Files(backend);
        assert!(files.exist(dir.join("listener")) && files.exist(dir.join("client")));
    });
}

// L12
fn a_path_in_use_is_refused_or_replaced_if_stale(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let at = path(&dir, "socket");
        let replace = UnixListenOptions::new().stale(Stale::ReplaceIfRefused);
        let listener = UnixListener::bind(&at).unwrap();
        // Somebody listens: neither takes his place.
        for options in [UnixListenOptions::new(), replace.clone()] {
            let error = UnixListener::bind_with(&at, options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
        }
        let mut client = UnixStream::connect(&at).await.unwrap();
        client.write_all(b"still heard").await.unwrap();
        // The second bind looked, which the listener did not notice.
        let (mut server, _) = listener.accept().await.unwrap();
        assert_eq!(read_whole(&mut server, 11).await.unwrap(), b"still heard");
        drop((listener, server));
        let error = UnixListener::bind(&at).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "stale, and refused");
        let listener = UnixListener::bind_with(&at, replace.clone()).unwrap();
        UnixStream::connect(&at).await.unwrap();
        listener.accept().await.unwrap();
        // A live socket of datagrams is nobody's to replace either.
        let other = path(&dir, "datagrams");
        let _receiver = UnixDatagram::bind(&other).unwrap();
        let error = UnixListener::bind_with(&other, replace).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

/// What `future` gives within a hundred turns.
pub(crate) async fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    for _ in 0..100 {
        let polled = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = polled {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

// L12
fn what_is_no_socket_is_never_removed(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let file = dir.join("file");
        Files(backend).create(&file).unwrap();
        let at = UnixAddress::from_path(&file).unwrap();
        let replace = UnixListenOptions::new().stale(Stale::ReplaceIfRefused);
        let error = UnixListener::bind_with(&at, replace).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse, "{at}");
        // A socket would have other permissions.
        assert_eq!(Files(backend).mode(&file).unwrap() & 0o111, 0);
    });
}

// L12
fn links_and_directories_are_never_removed(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let target = dir.join("target");
        let stale = UnixListener::bind(&UnixAddress::from_path(&target).unwrap()).unwrap();
        drop(stale);
        let link = dir.join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        for path in [&link, &dir.path().to_owned()] {
            let at = UnixAddress::from_path(path).unwrap();
            let replace = UnixListenOptions::new().stale(Stale::ReplaceIfRefused);
            let error = UnixListener::bind_with(&at, replace).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AddrInUse, "{at}");
        }
        assert!(link.is_symlink() && target.exists());
    });
}

// L12
fn the_mode_holds_before_anybody_connects(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        for mode in [0o600, 0o660, 0o777, 0o000] {
            let name = format!("mode-{mode:o}");
            let at = path(&dir, &name);
            let listen = UnixListenOptions::new().mode(mode);
            let _listener = UnixListener::bind_with(&at, listen).unwrap();
            assert_eq!(Files(backend).mode(dir.join(&name)).unwrap(), mode);
            let name = format!("packets-{mode:o}");
            let options = UnixOptions::new().mode(mode);
            let _packets = UnixDatagram::bind_with(&path(&dir, &name), options).unwrap();
            assert_eq!(Files(backend).mode(dir.join(&name)).unwrap(), mode);
        }
        for (options, said) in [
            (UnixOptions::new().mode(0o1_777), "0o1777"),
            (UnixOptions::new().mode(0o600), "no mode"),
        ] {
            let error = UnixDatagram::bind_with(&UnixAddress::autobind(), options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(said), "{error}");
        }
        let at = path(&dir, "refused");
        let listen = UnixListenOptions::new().mode(0o1_777);
        let error = UnixListener::bind_with(&at, listen).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("0o1777"), "{error}");
        let name = UnixAddress::autobind();
        let listen = UnixListenOptions::new().mode(0o600);
        let error = UnixListener::bind_with(&name, listen).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "no path, no mode");
        assert!(!Files(backend).exist(dir.join("refused")));
    });
}

// L12
fn a_failed_bind_leaves_no_path(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let missing = UnixAddress::from_path(dir.join("no/such/directory")).unwrap();
        let error = UnixListener::bind(&missing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let under_file = dir.join("file");
        std::fs::write(&under_file, "").unwrap();
        let under = UnixAddress::from_path(under_file.join("socket")).unwrap();
        assert!(UnixListener::bind(&under).is_err());
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    });
}

// L12
fn bad_addresses_are_refused(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    for bad in [
        "a\0b".to_owned(),
        "x".repeat(108),
        "x".repeat(300),
        String::new(),
    ] {
        let error = UnixAddress::from_path(&bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{bad:?}");
        if !bad.contains('\0') {
            assert!(
                error.to_string().contains(&bad.len().to_string()),
                "{error}"
            );
            let error = UnixAddress::from_abstract(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
    backend.block_on_with(options, async {
        // The longest ones that are allowed, and a name with a NUL in it.
        let room = 107 - dir.path().as_os_str().len() - 1;
        let long = path(&dir, &"x".repeat(room));
        let name = UnixAddress::from_abstract(format!("{:-<107}", std::process::id())).unwrap();
        let odd = format!("bowline\0{}", std::process::id());
        let odd = UnixAddress::from_abstract(odd).unwrap();
        for at in [long, name, odd] {
            let listener = UnixListener::bind(&at).unwrap();
            assert_eq!(listener.local_addr().unwrap().as_unix(), Some(&at));
            let stream = UnixStream::connect(&at).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap().as_unix(), Some(&at));
        }
        let error = UnixStream::connect(&UnixAddress::UNNAMED)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = UnixDatagram::connect(&UnixAddress::UNNAMED).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

// L12
fn abstract_names_end_with_their_socket(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = UnixListener::bind(&UnixAddress::autobind()).unwrap();
        let chosen = listener.local_addr().unwrap();
        let name = chosen.as_unix().unwrap().clone();
        assert!(name.as_abstract().is_some_and(|name| !name.is_empty()));
        assert!(chosen.to_string().starts_with('@'), "{chosen}");
        let taken = UnixListener::bind(&name).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        UnixStream::connect(&name).await.unwrap();
        drop(listener);
        let error = UnixStream::connect(&name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        UnixListener::bind(&name).unwrap();
    });
}

// L12
fn credentials_are_our_own(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = UnixListener::bind(&UnixAddress::autobind()).unwrap();
        let at = listener.local_addr().unwrap().as_unix().unwrap().clone();
        let client = UnixStream::connect(&at).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (one, two) = UnixStream::pair().unwrap();
        let own = match backend {
            // Every simulated host runs one process of one user.
            Backend::Sim => (Some(1000), 1000, 1000),
            _ => (
                Some(std::process::id()),
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            ),
        };
        for stream in [client, server, one, two] {
            let peer = stream.peer_credentials().unwrap();
            assert_eq!((peer.pid, peer.uid, peer.gid), own);
        }
    });
}

// S12, S13
fn connects_fail_as_they_should(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let missing = path(&dir, "missing");
        let error = UnixStream::connect(&missing).await.unwrap_err();
        check(backend, "Unix path missing", "connect", failed(&error));
        let error = UnixDatagram::connect(&missing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let stale = path(&dir, "stale");
        drop(UnixListener::bind(&stale).unwrap());
        let error = UnixStream::connect(&stale).await.unwrap_err();
        check(backend, "Unix path stale", "connect", failed(&error));
        // Of another type.
        let at = path(&dir, "datagrams");
        let _receiver = UnixDatagram::bind(&at).unwrap();
        let error = UnixStream::connect(&at).await.unwrap_err();
        let wrong = rustix::io::Errno::PROTOTYPE.raw_os_error();
        assert_eq!(error.raw_os_error(), Some(wrong), "{error}");
        let taken = UnixOptions::new().local(at.clone());
        let error = UnixStream::connect_with(&stale, taken).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

// S12
fn a_connect_waits_at_a_full_backlog(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        const CLIENTS: usize = 20;
        let small = UnixListenOptions::new().backlog(2);
        let listener = UnixListener::bind_with(&UnixAddress::autobind(), small).unwrap();
        let at = listener.local_addr().unwrap().as_unix().unwrap().clone();
        let connected = Latch::new(CLIENTS);
        for _ in 0..CLIENTS {
            let (at, connected) = (at.clone(), connected.clone());
            spawn_detached(async move {
                UnixStream::connect(&at).await.unwrap();
                connected.count_down();
            });
        }
        for _ in 0..200 {
            yield_now().await;
        }
        let outcome = match connected.left() >= CLIENTS - 3 {
            true => Outcome::Waits,
            false => Outcome::Done,
        };
        check(backend, "Unix backlog full", "connect", outcome);
        for _ in 0..CLIENTS {
            listener.accept().await.unwrap();
        }
        connected.wait().await;
    });
}

// L2, L3
fn two_tasks_accept_each_once(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        const CONNECTIONS: usize = 50;
        let listener = UnixListener::bind(&UnixAddress::autobind()).unwrap();
        let at = listener.local_addr().unwrap().as_unix().unwrap().clone();
        let listener = std::sync::Arc::new(listener);
        let latch = Latch::new(CONNECTIONS);
        for _ in 0..2 {
            let (listener, latch) = (listener.clone(), latch.clone());
            spawn_detached(async move {
                while latch.left() > 0 {
                    // Dropped once while it waits, and asked again.
                    let _ = now_or_never(listener.accept()).await.map(|accepted| {
                        drop(accepted.unwrap());
                        latch.count_down();
                    });
                }
            });
        }
        for _ in 0..CONNECTIONS {
            let mut stream = UnixStream::connect(&at).await.unwrap();
            assert_eq!(read_all(&mut stream).await.unwrap(), b"");
        }
        latch.wait().await;
    });
}

// S14
fn std_sockets_come_and_go(backend: Backend, options: RunOptions) {
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::os::unix::net;
    let (mut client, server) = net::UnixStream::pair().unwrap();
    Write::write_all(&mut client, b"queued").unwrap();
    let (client_end, datagrams) = net::UnixDatagram::pair().unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let inet = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let dir = TempDir::new();
    let listener = net::UnixListener::bind(dir.join("std")).unwrap();
    let mut back = backend.block_on_with(options.clone(), async {
        let mut server = UnixStream::from_std(server).unwrap();
        assert_eq!(read_whole(&mut server, 6).await.unwrap(), b"queued");
        let listener = UnixListener::from_std(listener).unwrap();
        UnixStream::connect(&path(&dir, "std")).await.unwrap();
        listener.accept().await.unwrap();
        let listener = OwnedFd::from(listener.into_std().unwrap());
        let datagrams = UnixDatagram::from_std(datagrams).unwrap();
        datagrams.send(b"one").await.unwrap();
        let datagrams = OwnedFd::from(datagrams.into_std().unwrap());
        for wrong in [listener, datagrams, inet.into()] {
            let error = UnixStream::from_std(wrong.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        }
        server.into_std().unwrap()
    });
    Write::write_all(&mut back, b"blocking again").unwrap();
    let mut answer = [0; 14];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"blocking again");
    let mut one = [0; 8];
    assert_eq!(client_end.recv(&mut one).unwrap(), 3);
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let unconnected = net::UnixStream::from(OwnedFd::from(
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap(),
    ));
    backend.block_on_with(options, async move {
        let error = TcpStream::from_std(bound.into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let error = UnixStream::from_std(unconnected).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        let error = UnixListener::from_std(OwnedFd::from(client).into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        let error = UnixDatagram::from_std(OwnedFd::from(back).into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    });
}

// S15, S20
fn options_reach_the_kernel(backend: Backend, options: RunOptions) {
    use socket2::SockRef;
    use std::os::fd::BorrowedFd;
    let closes_on_exec = |fd: BorrowedFd<'_>| {
        let flags = rustix::io::fcntl_getfd(fd).unwrap();
        flags.contains(rustix::io::FdFlags::CLOEXEC)
    };
    backend.block_on_with(options, async {
        let listener = UnixListener::bind(&UnixAddress::autobind()).unwrap();
        let at = listener.local_addr().unwrap().as_unix().unwrap().clone();
        let chosen = UnixOptions::new()
            .send_buffer(8 * 1024)
            .recv_buffer(16 * 1024);
        let client = UnixStream::connect_with(&at, chosen.clone()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let name = UnixAddress::autobind();
        let datagrams = UnixDatagram::bind_with(&name, chosen).unwrap();
        for fd in [client.try_as_fd().unwrap(), datagrams.try_as_fd().unwrap()] {
            // Linux doubles what it is told, for its bookkeeping.
            assert!(SockRef::from(&fd).send_buffer_size().unwrap() <= 16 * 1024);
            assert!(SockRef::from(&fd).recv_buffer_size().unwrap() <= 32 * 1024);
        }
        let (one, two) = UnixStream::pair().unwrap();
        let (three, four) = UnixDatagram::pair().unwrap();
        for fd in [
            listener.try_as_fd(),
            client.try_as_fd(),
            server.try_as_fd(),
            datagrams.try_as_fd(),
            one.try_as_fd(),
            two.try_as_fd(),
            three.try_as_fd(),
            four.try_as_fd(),
        ] {
            assert!(closes_on_exec(fd.unwrap()));
        }
        let (stranger, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        rustix::io::fcntl_setfd(&stranger, rustix::io::FdFlags::empty()).unwrap();
        let adopted = UnixStream::from_std(stranger).unwrap();
        assert!(closes_on_exec(adopted.try_as_fd().unwrap()));
    });
}
