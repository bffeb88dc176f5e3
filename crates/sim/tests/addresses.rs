//! Addresses, ports, families and several acceptors.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_sim::{block_on, host};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn bind(text: &str) -> Result<TcpListener, ErrorKind> {
    TcpListener::bind(at(text), TcpListenOptions::default()).map_err(|error| error.kind())
}

async fn connect(text: &str) -> Result<TcpStream, ErrorKind> {
    let connect = TcpStream::connect(at(text), TcpOptions::default());
    connect.await.map_err(|error| error.kind())
}

// SIM64
#[test]
fn errors_are_the_kernels() {
    block_on(1, async {
        assert_eq!(
            connect("127.0.0.1:1").await.err(),
            Some(ErrorKind::ConnectionRefused)
        );
        assert_eq!(
            connect("127.0.0.1:0").await.err(),
            Some(ErrorKind::ConnectionRefused)
        );
        assert_eq!(
            bind("192.0.2.1:80").err(),
            Some(ErrorKind::AddrNotAvailable)
        );
        let _first = bind("127.0.0.1:80").expect("free");
        assert_eq!(bind("127.0.0.1:80").err(), Some(ErrorKind::AddrInUse));
        assert_eq!(bind("0.0.0.0:80").err(), Some(ErrorKind::AddrInUse));
        let _other = bind("127.0.0.2:80").expect("another address");
        let mut options = TcpOptions::default();
        options.local = Some(at("[::1]:0"));
        let mixed = TcpStream::connect(at("127.0.0.1:80"), options).await;
        assert_eq!(
            mixed.expect_err("two families").kind(),
            ErrorKind::InvalidInput
        );
        options.local = Some(at("127.0.0.1:4000"));
        let stream = TcpStream::connect(at("127.0.0.1:80"), options)
            .await
            .expect("open");
        assert_eq!(stream.local_addr().ok(), Some(at("127.0.0.1:4000")));
        let error = connect("127.0.0.1:1").await.err();
        assert_eq!(error, Some(ErrorKind::ConnectionRefused));
        // Nobody has this address: silence, for 127 s.
        let start = host::now();
        assert_eq!(
            connect("192.0.2.1:80").await.err(),
            Some(ErrorKind::TimedOut)
        );
        assert_eq!((host::now() - start) / 1_000_000_000, 127);
    });
}

// SIM64
#[cfg(target_os = "linux")]
#[test]
fn errors_have_the_kernels_numbers() {
    block_on(1, async {
        let refused = TcpStream::connect(at("127.0.0.1:1"), TcpOptions::default()).await;
        assert_eq!(
            refused.expect_err("nobody listens").raw_os_error(),
            Some(111)
        );
    });
}

// SIM64
#[test]
fn ports_are_freed() {
    block_on(1, async {
        for _ in 0..3 {
            let listener = bind("127.0.0.1:80").expect("free again");
            let a = connect("127.0.0.1:80").await.expect("open");
            let b = echo::accept(&listener).await.expect("one waits");
            drop(listener);
            drop((a, b));
        }
    });
}

// SIM64, SIM75
#[test]
fn families_are_apart_unless_dual_stack() {
    block_on(1, async {
        let _v6 = bind("[::]:80").expect("free");
        let _v4 = bind("0.0.0.0:80").expect("v4 stays free");
        let mut dual = TcpListenOptions::default();
        dual.v6only = false;
        assert!(TcpListener::bind(at("[::]:80"), dual).is_err());
        let both = TcpListener::bind(at("[::]:81"), dual).expect("free");
        let _four = connect("127.0.0.1:81").await.expect("v4");
        let first = echo::accept(&both).await.expect("one waits");
        let peer = first.peer_addr().expect("connected").ip();
        assert_eq!(peer.to_string(), "::ffff:127.0.0.1");
        let _six = connect("[::1]:81").await.expect("v6");
        let second = echo::accept(&both).await.expect("one waits");
        assert_eq!(
            second.peer_addr().expect("connected").ip(),
            at("[::1]:1").ip()
        );
        let refused = connect("[::1]:82").await;
        assert_eq!(refused.err(), Some(ErrorKind::ConnectionRefused));
    });
}

// SIM64
#[test]
fn shared_ports_are_all_served() {
    block_on(1, async {
        let mut options = TcpListenOptions::default();
        options.reuse_port = true;
        let counts = Arc::new(Mutex::new([0; 2]));
        for index in 0..2 {
            let listener = TcpListener::bind(at("127.0.0.1:80"), options).expect("shared");
            let counts = Arc::clone(&counts);
            host::spawn(async move {
                loop {
                    echo::accept(&listener).await.expect("open");
                    counts.lock().expect("not poisoned")[index] += 1;
                }
            });
        }
        host::yield_now().await;
        for _ in 0..200 {
            connect("127.0.0.1:80").await.expect("open");
        }
        host::Sleep::new(host::now() + 1_000_000_000).await;
        let counts = *counts.lock().expect("not poisoned");
        assert_eq!(counts[0] + counts[1], 200);
        assert!(counts[0] > 50 && counts[1] > 50, "{counts:?}");
    });
}

// SIM64
#[test]
fn several_tasks_accept_each_connection_once() {
    for seed in 0..20 {
        block_on(seed, async {
            let listener = Arc::new(bind("127.0.0.1:80").expect("free"));
            let ports = Arc::new(Mutex::new(Vec::new()));
            for _ in 0..3 {
                let (listener, ports) = (Arc::clone(&listener), Arc::clone(&ports));
                host::spawn(async move {
                    loop {
                        let stream = echo::accept(&listener).await.expect("open");
                        let port = stream.peer_addr().expect("connected").port();
                        ports.lock().expect("not poisoned").push(port);
                    }
                });
            }
            let mut streams = Vec::new();
            for _ in 0..30 {
                streams.push(connect("127.0.0.1:80").await.expect("open"));
            }
            host::Sleep::new(host::now() + 1_000_000_000).await;
            let mut seen = ports.lock().expect("not poisoned").clone();
            let mut made: Vec<u16> = streams
                .iter()
                .map(|stream| stream.local_addr().expect("connected").port())
                .collect();
            seen.sort_unstable();
            made.sort_unstable();
            assert_eq!(seen, made);
        });
    }
}

// SIM9
#[test]
fn names() {
    block_on(1, async {
        let resolve = |name: &'static str| host::resolve(name, host::Family::Any);
        let start = host::now();
        assert_eq!(resolve("192.0.2.7").await.expect("a number").len(), 1);
        assert_eq!(host::now(), start);
        let here = resolve("localhost").await.expect("known");
        assert!(here.len() == 2 && here.iter().all(|ip| ip.is_loopback()));
        assert!(host::now() > start);
        let missing = resolve("nowhere").await.expect_err("unknown");
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let six = host::resolve("127.0.0.1", host::Family::V6).await;
        assert_eq!(six.expect_err("v4").kind(), ErrorKind::AddrNotAvailable);
        let own = host::resolve("localhost", host::Family::V4)
            .await
            .expect("known")[0];
        let before = host::now();
        assert_eq!(host::reverse(own).await, "localhost");
        assert!(host::now() > before);
        assert_eq!(host::reverse(at("192.0.2.7:0").ip()).await, "192.0.2.7");
    });
}

// SIM64
#[test]
fn who_connects_to_any_connects_to_the_own_host() {
    block_on(1, async {
        let mut options = TcpListenOptions::default();
        options.v6only = false;
        let _listener = TcpListener::bind(at("[::]:80"), options).expect("free");
        for (any, own) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("[::ffff:0.0.0.0]:80", "[::ffff:127.0.0.1]:80"),
        ] {
            let stream = connect(any).await.expect("it listens at any");
            assert_eq!(stream.peer_addr().ok(), Some(at(own)));
        }
        let refused = connect("0.0.0.0:81").await.err();
        assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
    });
}
