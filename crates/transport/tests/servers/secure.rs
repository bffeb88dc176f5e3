//! Handshakes that are good, bad and never end.

use std::future::IntoFuture as _;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_backend::stream::ByteStreamExt;
use bowline_backend::time::Instant;
use bowline_concurrency::{Root, checkpoint, now, sleep, yield_now};
use bowline_transport::{
    Bound, CertStore, DrainReport, DynTransport, End, ErrorKind, Extra, Listeners, MessageStream,
    MessageStreamBuilder, Server, ServerHandle, ServerLimits, TcpConnector, TlsClientConfig,
    TlsInfo, TlsListener, TlsServerConfig, Transport,
};
use bytes::BytesMut;
use futures_util::future::{Either, join, join_all, select};

use crate::certificates::Authority;
use crate::limits::reads_late;
use crate::script::{Script, Scripted};
use crate::{Line, beside, line};

pub(crate) const NAME: &str = "server.test";

pub(crate) async fn secure<F: Fn() -> Line + Send + Sync + 'static>(
    limits: ServerLimits,
    codec: F,
) -> (Bound<TlsListener<Listeners>, F>, TlsClientConfig) {
    let authority = Authority::new();
    let identity = authority.sign(NAME);
    let store = CertStore::new(&identity.chain, &identity.key).unwrap();
    (bind(&store, limits, codec).await, trusting(&authority))
}

async fn bind<F: Fn() -> Line + Send + Sync + 'static>(
    store: &CertStore,
    limits: ServerLimits,
    codec: F,
) -> Bound<TlsListener<Listeners>, F> {
    let config = TlsServerConfig::builder(store).build();
    let server = Server::tcp(("127.0.0.1", 0)).tls(config.unwrap());
    server.codec(codec).limits(limits).bind().await.unwrap()
}

fn trusting(authority: &Authority) -> TlsClientConfig {
    let client = TlsClientConfig::builder().root_pem(authority.pem());
    client.build().unwrap()
}

async fn raw(server: &ServerHandle) -> TcpStream {
    let address = server.local_addrs()[0].as_inet().unwrap();
    TcpConnector::new(address).connect().await.unwrap()
}

// SV5
pub(crate) async fn handshakes_do_not_delay_a_drain() {
    let told = Scripted::new();
    let (bound, config) = secure(ServerLimits::new(), line).await;
    let handle = bound.handle();
    beside(bound.serve(Script::new(&told)), async {
        let mut half_open = Vec::new();
        for _ in 0..5 {
            half_open.push(raw(&handle).await);
        }
        let stream = config.handshake(raw(&handle).await, NAME).unwrap();
        let mut client = MessageStream::new(stream.await.unwrap(), line());
        client.send(&"Ada".to_owned()).await.unwrap();
        let welcome = client.recv().await.unwrap();
        assert_eq!(welcome.as_deref(), Some("welcome Ada"));
        while handle.connections() < 6 {
            checkpoint().await;
        }
        let begun = now();
        let drained = handle.drain(Duration::from_secs(100)).await;
        let passed = now().saturating_duration_since(begun);
        let mut expected = DrainReport::default();
        (expected.finished, expected.handshaking) = (1, 5);
        assert_eq!(drained, expected);
        if Backend::current() == Ok(Backend::Sim) {
            assert!(passed < Duration::from_secs(1), "{passed:?}");
        }
        assert_eq!(client.recv().await.unwrap(), None);
        assert_eq!(told.end().await, ("Ada".to_owned(), End::Drained));
    })
    .await;
}

// SV5
pub(crate) async fn no_more_handshakes_begin_than_may() {
    let told = Scripted::new();
    let (bound, config) = secure(ServerLimits::new().max_handshakes(4), line).await;
    let handle = bound.handle();
    beside(bound.serve(Script::new(&told)), async {
        let mut silent = Vec::new();
        for _ in 0..4 {
            let mut begun = raw(&handle).await;
            begun.write_all(&[22]).await.unwrap(); // of a record of a handshake
            silent.push(begun);
        }
        // Who has said nothing is no matter.
        let _mute = (raw(&handle).await, raw(&handle).await);
        while handle.connections() < 6 {
            checkpoint().await;
        }
        let stream = config.handshake(raw(&handle).await, NAME).unwrap();
        let mut handshake = Box::pin(stream.into_future());
        if Backend::current() == Ok(Backend::Sim) {
            // No timeout: it would cut the handshake for good.
            let pause = pin!(sleep(Duration::from_secs(30)));
            let first = select(&mut handshake, pause).await;
            assert!(matches!(first, Either::Right(_)), "there was a turn for it");
        }
        drop(silent.pop());
        let mut client = MessageStream::new(handshake.await.unwrap(), line());
        client.send(&"Ada".to_owned()).await.unwrap();
        assert!(client.recv().await.unwrap().is_some());
        handle.drain(Duration::from_secs(10)).await;
        assert_eq!(told.end().await, ("Ada".to_owned(), End::Drained));
    })
    .await;
}

/// Waits until the server closes the connection; how long it was there since `begun`.
async fn closed(mut stream: TcpStream, begun: Instant) -> Duration {
    let (mut read, most) = (BytesMut::new(), NonZeroUsize::new(64).unwrap());
    while let Ok(1..) = stream.read_into(&mut read, most).await {}
    now().saturating_duration_since(begun)
}

// SV5, T3
pub(crate) async fn who_speaks_late_has_less_time_for_its_handshake() {
    let patience = Duration::from_millis(500);
    let limits = ServerLimits::new()
        .max_handshakes(1)
        .handshake_timeout(patience);
    let (bound, _) = secure(limits, line).await;
    let handle = bound.handle();
    beside(bound.serve(Script::new(&Scripted::new())), async {
        let begun = now();
        let silent = async { closed(raw(&handle).await, begun).await };
        // One that has said nothing for a while, and then begins.
        let speaks = async |after: Duration| {
            let mut stream = raw(&handle).await;
            sleep(after).await;
            let _ = stream.write_all(&[22]).await; // of a record of a handshake
            closed(stream, begun).await
        };
        let late = speaks(patience * 4 / 5);
        let (silent, late) = join(silent, late).await;
        let other = async {
            sleep(patience * 2 / 5).await;
            speaks(Duration::ZERO).await
        };
        let waits = async {
            // It speaks after the other one, and has as long for its turn as that has for its handshake.
            let stayed = speaks(patience * 4 / 5).await;
            stayed - late
        };
        let (_, waited) = join(other, waits).await;
        if Backend::current() == Ok(Backend::Sim) {
            let about = |due: Duration, is: Duration| {
                let late = Duration::from_millis(50);
                assert!(is >= due && is < due + late, "{is:?} for {due:?}");
            };
            about(patience, silent);
            about(patience, late);
            // Of the turn 700 ms after it came, and the fifth of its time that was left.
            about(patience * 8 / 5, waited);
        }
        // A drain would cancel who is closed and not counted yet.
        while handle.connections() > 0 {
            checkpoint().await;
        }
        let counters = handle.counters();
        assert_eq!((counters.accepted, counters.handshakes_failed), (4, 4));
        handle.drain(Duration::from_secs(10)).await;
    })
    .await;
}

// SV5, T3
#[test]
fn a_handshake_has_a_minute_unless_it_is_said() {
    let law = async {
        let (bound, _) = secure(ServerLimits::new(), line).await;
        let handle = bound.handle();
        beside(bound.serve(Script::new(&Scripted::new())), async {
            let begun = now();
            let mut begins = raw(&handle).await;
            begins.write_all(&[22]).await.unwrap();
            let silent = closed(raw(&handle).await, begun);
            let (silent, begins) = join(silent, closed(begins, begun)).await;
            let minute = Duration::from_secs(60);
            for stayed in [silent, begins] {
                assert!(stayed >= minute && stayed < minute + Duration::from_secs(1));
            }
            handle.drain(Duration::from_secs(10)).await;
        })
        .await;
    };
    bowline_sim::block_on(0, Root::new().backend(Backend::Sim).entered(law));
}

// SV5, T3
pub(crate) async fn a_flood_of_half_open_handshakes_ends_in_time() {
    let told = Scripted::new();
    let patience = Duration::from_millis(500);
    let limits = ServerLimits::new()
        .max_handshakes(4)
        .handshake_timeout(patience);
    let (bound, config) = secure(limits, line).await;
    let handle = bound.handle();
    beside(bound.serve(Script::new(&told)), async {
        let shaken = async |name: &str| {
            let stream = config.handshake(raw(&handle).await, NAME).unwrap();
            let mut client = MessageStream::new(stream.await?, line());
            client.send(&name.to_owned()).await?;
            client.recv().await?;
            Ok::<_, bowline_transport::Error>(client)
        };
        let mut client = shaken("first").await.unwrap();
        let mut flood = Vec::new();
        for _ in 0..20 {
            flood.push(raw(&handle).await);
        }
        while handle.connections() < 21 {
            checkpoint().await;
        }
        // While they say nothing they keep nobody out.
        drop(shaken("second").await.unwrap());
        for begun in &mut flood {
            begun.write_all(&[22]).await.unwrap(); // of a record of a handshake
        }
        // Who is past it is not disturbed.
        for n in 0..10 {
            client.send(&n.to_string()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), Some(n.to_string()));
        }
        let mut plain = raw(&handle).await;
        plain.write_all(b"hello\n").await.unwrap();
        // While they have every turn, one that waits for its own as long as they do is closed like them.
        let begun = now();
        let _later = loop {
            if let Ok(client) = shaken("later").await {
                break client;
            }
        };
        while handle.connections() > 2 {
            bowline_concurrency::sleep(Duration::from_millis(10)).await;
        }
        if Backend::current() == Ok(Backend::Sim) {
            // One time for the turn, and one for what is done in it: not one for each four of them.
            let passed = now().saturating_duration_since(begun);
            assert!(passed < patience * 5 / 2, "{passed:?}");
        }
        let counters = handle.counters();
        assert!(counters.handshakes_failed >= 21, "{counters:?}");
        handle.drain(Duration::from_secs(10)).await;
        let mut names = [told.end().await.0, told.end().await.0, told.end().await.0];
        names.sort();
        assert_eq!(
            names,
            ["first", "later", "second"],
            "no handler for the others"
        );
        assert!(told.ends.try_recv().is_err());
    })
    .await;
}

/// Lets others run, and time pass where it passes only for those who wait for it.
async fn pass() {
    match Backend::current() {
        Ok(Backend::Sim) => sleep(Duration::from_micros(300)).await,
        _ => yield_now().await,
    }
}

// T6
pub(crate) async fn certificates_change_under_load() {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 8;
    let authority = Authority::new();
    let identities = [authority.sign(NAME), authority.sign(NAME)];
    let store = CertStore::new(&identities[0].chain, &identities[0].key).unwrap();
    let told = Scripted::new();
    let bound = bind(&store, ServerLimits::new(), line).await;
    let handle = bound.handle();
    let made = AtomicUsize::new(0);
    beside(bound.serve(Script::new(&told)), async {
        let connect = join_all((0..CLIENTS).map(|number| {
            let (authority, handle, made) = (&authority, &handle, &made);
            async move {
                let mut shown = Vec::new();
                let mut open = Vec::new();
                for round in 0..ROUNDS {
                    // One that remembers a connection is shown no certificate.
                    let config = trusting(authority);
                    let stream = config.handshake(raw(handle).await, NAME).unwrap();
                    let stream = stream.await.unwrap();
                    let details = stream.extra::<TlsInfo>().unwrap();
                    shown.push(details.peer_certificates.clone());
                    let mut client = MessageStream::new(stream, line());
                    let name = format!("{number}.{round}");
                    client.send(&name).await.unwrap();
                    let welcome = client.recv().await.unwrap();
                    assert_eq!(welcome, Some(format!("welcome {name}")));
                    open.push(client);
                    made.fetch_add(1, Ordering::Relaxed);
                }
                // Whatever was replaced since, all of them go on.
                for client in &mut open {
                    client.send(&"still here".to_owned()).await.unwrap();
                    let heard = client.recv().await.unwrap();
                    assert_eq!(heard.as_deref(), Some("still here"));
                }
                (shown, open)
            }
        }));
        let replace = async {
            for (number, identity) in identities.iter().cycle().enumerate() {
                store.replace(&identity.chain, &identity.key).unwrap();
                let other = &identities[(number + 1) % 2];
                // Until one that began after it is made.
                let enough = made.load(Ordering::Relaxed) + CLIENTS + 1;
                while made.load(Ordering::Relaxed) < enough {
                    let refused = store.replace(&identity.chain, &other.key).unwrap_err();
                    assert_eq!(refused.kind(), ErrorKind::Config);
                    pass().await;
                }
            }
        };
        let Either::Left((clients, _)) = select(pin!(connect), pin!(replace)).await else {
            unreachable!("replacing goes on for ever")
        };
        let (shown, open): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
        let mut shown: Vec<_> = shown.into_iter().flatten().collect();
        assert_eq!(shown.len(), CLIENTS * ROUNDS);
        shown.sort();
        shown.dedup();
        assert_eq!(shown.len(), 2, "both were shown, and nothing else");
        handle.drain(Duration::from_secs(10)).await;
        let counters = handle.counters();
        assert_eq!(counters.handshakes_failed, 0);
        assert_eq!(counters.completed, (CLIENTS * ROUNDS) as u64);
        drop(open);
    })
    .await;
}

// TR7, SV6
#[test]
fn who_may_read_nothing_for_ever_is_waited_for_over_tls() {
    let in_sim = Root::new().backend(Backend::Sim).entered(async {
        let authority = Authority::new();
        let identity = authority.sign(NAME);
        let store = CertStore::new(&identity.chain, &identity.key).unwrap();
        let (server, client) = (
            TlsServerConfig::builder(&store).build(),
            trusting(&authority),
        );
        let server = Server::tcp(("127.0.0.1", 0)).tls(server.unwrap());
        let codec: fn() -> Line = line;
        let stream = MessageStreamBuilder::default().write_stall_timeout(None);
        reads_late(server.codec(codec).stream(stream), async move |stream| {
            let stream = client.handshake(stream, NAME).unwrap().await.unwrap();
            DynTransport::new(MessageStream::new(stream, line()))
        })
        .await;
    });
    bowline_sim::block_on(7, in_sim);
}
