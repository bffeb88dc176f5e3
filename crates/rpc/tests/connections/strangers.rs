//! Peers that do not speak the protocol, do not fit or break it: told apart, counted and closed.

use std::num::NonZeroUsize;
use std::time::Duration;

use bowline_backend::net::{TcpListener, TcpStream};
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::{Backend, time};
use bowline_concurrency::{TaskGroup, sleep, task_group, timeout, yield_now};
use bowline_rpc::executor::AsyncExecutor;
use bowline_rpc::proto::Guess;
use bowline_rpc::{Caller, Error, ErrorKind, Limits, TcpBroker, TcpBrokerBuilder};

use crate::backends::{on_every_backend, registry};
use crate::raw_peer::{LONG, RawPeer, read_to_end};
use crate::wire::Wire;
use bytes::BytesMut;

fn serve() -> TcpBrokerBuilder {
    TcpBroker::builder(AsyncExecutor::new(registry(), 64)).listen("127.0.0.1:0")
}

fn client(server: &TcpBroker) -> TcpBrokerBuilder {
    TcpBroker::caller()
        .project("example")
        .connect(server.local_addrs()[0])
}

async fn still_serves(server: &TcpBroker) -> Result<(), Error> {
    client(server)
        .run(async |client| {
            assert_eq!(client.call_named::<i64>("add", (2, 3)).await?, 5);
            Ok(())
        })
        .await
}

const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const TLS: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.9\r\n";
const NOISE: &[u8] = b"\x00\xffwhat is this, it is long enough to be anything";

// A2
#[test]
fn a_stranger_behind_tls_has_no_more_time_than_any_other() {
    crate::backends::run(Backend::Sim, async {
        let wire = Wire::tls();
        let Wire::Tls(_, client) = &wire else {
            unreachable!()
        };
        wire.serve(registry())
            .run(async |server| -> Result<(), Error> {
                let address = server.local_addrs()[0];
                let began = time::now();
                let stream = TcpStream::connect(address).await.unwrap();
                sleep(Duration::from_secs(4)).await;
                let handshake = client.handshake(stream, "127.0.0.1").unwrap();
                let mut stream = handshake.await.unwrap();
                let mut bytes = BytesMut::new();
                let most = NonZeroUsize::new(1024).unwrap();
                // An end of any kind.
                while let Ok(1..) = stream.read_into(&mut bytes, most).await {}
                let took = time::now() - began;
                let five = Duration::from_secs(5);
                assert!(
                    (five..five + Duration::from_millis(200)).contains(&took),
                    "{took:?}"
                );
                assert_eq!(server.statistics().handshake_timeouts, 1);
                Ok(())
            })
            .await
            .unwrap();
    });
}

on_every_backend! {
    // R21
    async fn other_protocols_are_named_counted_and_closed() {
        serve().run(async |server| -> Result<(), Error> {
            for stranger in [HTTP, TLS, SSH, NOISE, HTTP2, NOISE] {
                let mut stream = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
                stream.write_all(stranger).await.unwrap();
                // It gets no byte, as it could not read it, and the end.
                assert_eq!(read_to_end(&mut stream).await, 0);
            }
            let seen = server.statistics();
            let strangers = seen.strangers;
            assert_eq!((strangers.http, strangers.tls, strangers.ssh, strangers.other), (2, 1, 1, 2));
            assert_eq!((strangers.total(), seen.accepted, seen.refused), (6, 6, 0));
            assert_eq!((seen.violations, seen.misfits, seen.lost, seen.calls_received), (0, 0, 0, 0));
            still_serves(&server).await
        }).await.unwrap();
    }

    // R21
    async fn a_stranger_that_answers_is_named_to_the_dialer() {
        let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        task_group(|group: TaskGroup<Error>| async move {
            drop(group.spawn_ok(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                read_to_end(&mut stream).await;
            }));
            let error = TcpBroker::caller().connect(address).run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotOurProtocol(Guess::Http), "{error}");
            Ok(())
        }).await.unwrap();
    }

    async fn peers_that_do_not_fit_or_break_the_rules_are_counted_apart() {
        serve().run(async |server| -> Result<(), Error> {
            let other = TcpBroker::caller().project("other").connect(server.local_addrs()[0]);
            other.run(async |_| -> Result<(), Error> { Ok(()) }).await.unwrap_err();
            let mut rude = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            // A header that declares 4 GiB, and no byte more.
            rude.stream.write_all(&[0xFF; 16]).await.unwrap();
            read_to_end(&mut rude.stream).await;
            let mut half = RawPeer::dial(server.local_addrs()[0], &Limits::default()).await;
            half.stream.write_all(&[0, 0, 0, 9, 6]).await.unwrap();
            half.stream.shutdown().await.unwrap();
            read_to_end(&mut half.stream).await;
            let counted = timeout(LONG, async {
                while server.statistics().misfits == 0 {
                    yield_now().await;
                }
            });
            counted.await.expect("the first is counted, whoever was faster");
            let seen = server.statistics();
            assert_eq!((seen.misfits, seen.violations, seen.lost), (1, 1, 1));
            assert_eq!((seen.accepted, seen.strangers.total()), (3, 0));
            still_serves(&server).await
        }).await.unwrap();
    }

    async fn a_peer_that_says_nothing_is_closed_and_counted() {
        let mut limits = Limits::default();
        limits.handshake_timeout = Duration::from_millis(50);
        serve().limits(limits).unwrap().run(async |server| -> Result<(), Error> {
            let mut silent = TcpStream::connect(server.local_addrs()[0]).await.unwrap();
            assert_eq!(read_to_end(&mut silent).await, 0);
            assert_eq!(server.statistics().handshake_timeouts, 1);
            Ok(())
        }).await.unwrap();
    }

    async fn what_a_broker_counts_is_what_happened() {
        serve().run(async |server| -> Result<(), Error> {
            client(&server).run(async |client| -> Result<(), Error> {
                for n in 0..3 {
                    assert_eq!(client.call_named::<i64>("add", (n, 1)).await?, n + 1);
                }
                let (there, here) = (server.statistics(), client.statistics());
                assert_eq!((there.accepted, there.open, there.ready, there.calls_received), (1, 1, 1, 3));
                assert_eq!((here.dialed, here.open, here.ready, here.calls_sent), (1, 1, 1, 3));
                assert_eq!((there.dialed, there.calls_sent, here.accepted, here.calls_received), (0, 0, 0, 0));
                Ok(())
            }).await?;
            let gone = timeout(LONG, async {
                while server.statistics().open > 0 {
                    yield_now().await;
                }
            });
            gone.await.expect("the client has left");
            assert_eq!(server.statistics().lost, 0, "it said goodbye");
            Ok(())
        }).await.unwrap();
    }
}
