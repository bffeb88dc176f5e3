//! Listeners on TCP: L1 to L4 and L6 to L11.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::accept_error::AcceptErrorKind;
use bowline_backend::net::{TcpListenOptions, TcpListener, TcpStream};
use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_backend::task::{RunOptions, spawn_detached};
use bowline_tests::latch::{Latch, OnDrop};
use std::io::ErrorKind;

use crate::conformance;
use crate::own_address::own_address;
use crate::streams::{read_all, read_some};

conformance! {
    all: [
        port_zero_reports_the_port,
        two_tasks_accept_each_connection_once,
        a_dropped_accept_loses_none,
        a_connection_reset_before_accept_stalls_nothing,
        dropping_a_listener_ends_queued_connections,
        an_address_in_use_is_refused_and_reused_later,
        nobody_listens_at_the_source_port_of_a_connection,
        v6_listeners_leave_v4_alone,
        listeners_share_a_port,
        a_small_backlog_delays_and_refuses_nothing_else,
        a_listener_goes_with_its_task,
    ]
    real: [bad_accept_options_are_told]
    dropping: []
    real_dropping: []
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

// L1
fn port_zero_reports_the_port(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = TcpListener::bind(any()).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_ne!(port, 0);
        let stream = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        assert_eq!(stream.peer_addr().unwrap().as_inet().unwrap().port(), port);
    });
}

// L2
fn two_tasks_accept_each_connection_once(backend: Backend, options: RunOptions) {
    const CONNECTIONS: usize = 50;
    backend.block_on_with(options, async {
        let listener = std::sync::Arc::new(TcpListener::bind(any()).unwrap());
        let address = listener.local_addr().unwrap();
        let latch = Latch::new(CONNECTIONS);
        for _ in 0..2 {
            let (listener, latch) = (listener.clone(), latch.clone());
            spawn_detached(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    stream.write_all(b"!").await.unwrap();
                    latch.count_down();
                }
            });
        }
        let mut answers = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            answers.extend(read_all(&mut stream).await.unwrap());
        }
        latch.wait().await;
        assert_eq!(answers, vec![b'!'; CONNECTIONS]);
    });
}

// L3
fn a_dropped_accept_loses_none(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = TcpListener::bind(any()).unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..30 {
            let mut waiting = Box::pin(listener.accept());
            let pending = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
            assert!(pending.is_pending());
            let mut client = TcpStream::connect(address).await.unwrap();
            drop(waiting);
            let (mut server, _) = listener.accept().await.unwrap();
            server.write_all(b"x").await.unwrap();
            assert_eq!(read_some(&mut client).await.unwrap(), b"x");
        }
    });
}

// L4
fn a_connection_reset_before_accept_stalls_nothing(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = TcpListener::bind(any()).unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect(address).await.unwrap().abort();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"y").await.unwrap();
        loop {
            match listener.accept().await {
                Ok((mut stream, _)) => match read_some(&mut stream).await {
                    Ok(bytes) if bytes == b"y" => break,
                    Ok(bytes) => assert!(bytes.is_empty()),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
                },
                Err(error) => assert_eq!(AcceptErrorKind::of(&error), AcceptErrorKind::Skip),
            }
        }
    });
}

// L6
fn dropping_a_listener_ends_queued_connections(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = TcpListener::bind(any()).unwrap();
        let mut queued = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        drop(listener);
        match read_some(&mut queued).await {
            Ok(bytes) => assert!(bytes.is_empty()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    });
}

// L7
fn an_address_in_use_is_refused_and_reused_later(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = TcpListener::bind(own_address(backend)).unwrap();
        let address = listener.local_addr().unwrap();
        let taken = TcpListener::bind(address).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        // The accepting side closes first, so its end of the connection is the one in TIME_WAIT.
        let mut client = TcpStream::connect(address).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        drop(server);
        assert_eq!(read_all(&mut client).await.unwrap(), b"");
        drop(client);
        drop(listener);
        let again = TcpListener::bind(address).unwrap();
        assert_eq!(again.local_addr().unwrap(), address);
    });
}

// L7
fn nobody_listens_at_the_source_port_of_a_connection(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = TcpListener::bind(own_address(backend)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let source = client.local_addr().unwrap().as_inet().unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let taken = || TcpListener::bind(source).unwrap_err().kind();
        assert_eq!(taken(), ErrorKind::AddrInUse);
        // Who closes first has the port for a while more.
        drop(client);
        assert_eq!(taken(), ErrorKind::AddrInUse);
        drop(server);
        assert_eq!(taken(), ErrorKind::AddrInUse);
    });
}

// L8
fn v6_listeners_leave_v4_alone(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        // Somebody else may have the port on v4; of twenty ports nobody has them all.
        let leaves_v4_alone = (0..20).any(|_| {
            let six = TcpListener::bind("[::]:0".parse().unwrap()).unwrap();
            let port = six.local_addr().unwrap().port();
            TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).is_ok()
        });
        assert!(leaves_v4_alone);
        let both = TcpListenOptions::new().dual_stack();
        let both = TcpListener::bind_with("[::]:0".parse().unwrap(), both).unwrap();
        let port = both.local_addr().unwrap().port();
        for host in ["127.0.0.1", "::1"] {
            let address = SocketAddr::new(host.parse().unwrap(), port);
            drop(TcpStream::connect(address).await.unwrap());
            both.accept().await.unwrap();
        }
    });
}

// L9
fn listeners_share_a_port(backend: Backend, options: RunOptions) {
    if !backend.capabilities().reuse_port {
        return;
    }
    backend.block_on_with(options, async {
        let shared = TcpListenOptions::new().reuse_port();
        let one = TcpListener::bind_with(any(), shared.clone()).unwrap();
        let address = one.local_addr().unwrap();
        let two = TcpListener::bind_with(address, shared).unwrap();
        let mut served = [0, 0];
        for _ in 0..200 {
            let client = TcpStream::connect(address).await.unwrap();
            let (mut at_one, mut at_two) = (Box::pin(one.accept()), Box::pin(two.accept()));
            let by = poll_fn(|cx| {
                if at_one.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(0);
                }
                at_two.as_mut().poll(cx).map(|_| 1)
            })
            .await;
            served[by] += 1;
            drop(client);
        }
        assert!(served[0] > 0 && served[1] > 0, "{served:?}");
    });
}

// L10
fn a_small_backlog_delays_and_refuses_nothing_else(backend: Backend, options: RunOptions) {
    const CONNECTS: usize = 50;
    backend.block_on_with(options, async {
        let one = TcpListenOptions::new().backlog(1);
        let listener = TcpListener::bind_with(any(), one).unwrap();
        let address = listener.local_addr().unwrap();
        spawn_detached(async move {
            loop {
                let _ = listener.accept().await;
            }
        });
        let latch = Latch::new(CONNECTS);
        for _ in 0..CONNECTS {
            let latch = latch.clone();
            spawn_detached(async move {
                match TcpStream::connect(address).await {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::TimedOut),
                }
                latch.count_down();
            });
        }
        latch.wait().await;
    });
}

// S15
fn bad_accept_options_are_told(backend: Backend, options: RunOptions) {
    use bowline_backend::net::{Keepalive, TcpOptions};
    use std::time::Duration;
    backend.block_on_with(options, async {
        let second = Duration::from_secs(1);
        let bind = |keepalive| {
            let accept = TcpOptions::new().keepalive(keepalive);
            let listen = TcpListenOptions::new().accept_options(accept);
            TcpListener::bind_with(any(), listen).unwrap()
        };
        // Shorter than the system can: rounded up.
        let listener = bind(Keepalive::new(second / 2, second / 2, 3));
        let _client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        listener.accept().await.unwrap();
        // Longer than the system can: an error, not connections that close one after the other.
        let listener = bind(Keepalive::new(100_000 * second, second, 3));
        let _client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let error = listener.accept().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

// L11
fn a_listener_goes_with_its_task(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let listener = TcpListener::bind(any()).unwrap();
        let address = listener.local_addr().unwrap();
        let gone = Latch::new(1);
        let on_drop = OnDrop(gone.clone());
        let (parked, stop) = (Latch::new(1), Latch::new(1));
        let (parking, mut stopped) = (parked.clone(), Box::pin(stop.wait()));
        spawn_detached(async move {
            let _on_drop = on_drop;
            let mut accepting = Box::pin(async move { listener.accept().await.map(drop) });
            poll_fn(|cx| {
                if stopped.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
                assert!(accepting.as_mut().poll(cx).is_pending(), "nobody connected");
                parking.count_down();
                Poll::Pending
            })
            .await;
        });
        parked.wait().await;
        stop.count_down();
        gone.wait().await;
        let refused = TcpStream::connect(address).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}
