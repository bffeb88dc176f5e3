//! Handshakes that are good, bad and never end.

use std::future::IntoFuture as _;
use std::pin::pin;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::TcpStream;
use bowline_backend::stream::ByteStreamExt;
use bowline_concurrency::{Root, checkpoint, now, sleep};
use bowline_transport::{
    Bound, CertStore, DrainReport, End, Listeners, MessageStream, Server, ServerHandle,
    ServerLimits, TcpConnector, TlsClientConfig, TlsListener, TlsServerConfig, Transport,
};
use futures_util::future::{Either, select};

use crate::certificates::Authority;
use crate::script::{Script, Scripted};
use crate::{Line, beside, line};

const NAME: &str = "server.test";

async fn secure<F: Fn() -> Line + Send + Sync + 'static>(
    limits: ServerLimits,
    codec: F,
) -> (Bound<TlsListener<Listeners>, F>, TlsClientConfig) {
    let authority = Authority::new();
    let identity = authority.sign(NAME);
    let store = CertStore::new(&identity.chain, &identity.key).unwrap();
    let config = TlsServerConfig::builder(&store).build();
    let server = Server::tcp(("127.0.0.1", 0)).tls(config.unwrap());
    let bound = server.codec(codec).limits(limits).bind().await.unwrap();
    let client = TlsClientConfig::builder().root_pem(authority.pem()).build();
    (bound, client.unwrap())
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
            silent.push(raw(&handle).await);
        }
        while handle.connections() < 4 {
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

// SV5
#[test]
fn a_flood_of_half_open_handshakes_ends_in_time() {
    for seed in 0..20 {
        let root = Root::new().backend(Backend::Sim);
        bowline_sim::block_on(seed, root.entered(flood()));
    }
}

async fn flood() {
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
        // Who is past it is not disturbed.
        for n in 0..10 {
            client.send(&n.to_string()).await.unwrap();
            assert_eq!(client.recv().await.unwrap(), Some(n.to_string()));
        }
        let mut plain = raw(&handle).await;
        plain.write_all(b"hello\n").await.unwrap();
        // Those who came at the same time are over theirs when it has a turn.
        let _later = shaken("later").await.unwrap();
        while handle.connections() > 2 {
            bowline_concurrency::sleep(Duration::from_millis(10)).await;
        }
        let counters = handle.counters();
        assert!(counters.handshakes_failed >= 21, "{counters:?}");
        handle.drain(Duration::from_secs(10)).await;
        let mut names = [told.end().await.0, told.end().await.0];
        names.sort();
        assert_eq!(names, ["first", "later"], "no handler for the others");
        assert!(told.ends.try_recv().is_err());
    })
    .await;
}
