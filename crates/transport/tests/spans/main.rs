//! What a `tracing` subscriber hears of connections and messages, on every backend.
#![cfg(feature = "tracing")]

mod once;
mod recorder;

use bowline_backend::net::TcpListener;
use bowline_codec::{Framing, LengthDelimited, Raw};
use bowline_concurrency::{AnyError, GroupError, TaskGroup, task_group};
use bowline_transport::{
    Client, DatagramEndpoint, DatagramTransport, MemoryDatagram, MemoryStream, MessageStream,
    Server, Shared, TcpConnector, Transport, TransportRegistry,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::join;
use tracing::{Instrument, info_span};

use once::names_and_outcomes;
use recorder::{Recorded, below};

/// One test for each backend.
#[macro_export]
macro_rules! on_every_backend {
    ($($case:ident,)*) => {
        mod on_tokio { $(#[test] fn $case() { $crate::recorder::record(); bowline_backend::Backend::Tokio.block_on(super::$case()); })* }
        mod on_smol { $(#[test] fn $case() { $crate::recorder::record(); bowline_backend::Backend::Smol.block_on(super::$case()); })* }
        mod on_async_std { $(#[test] fn $case() { $crate::recorder::record(); bowline_backend::Backend::AsyncStd.block_on(super::$case()); })* }
        mod in_sim { $(#[test] fn $case() { $crate::recorder::record(); bowline_sim::block_on(1, super::$case()); })* }
    };
}

on_every_backend! {
    a_connect_tells_where_to,
    a_connect_that_fails_tells_why,
    a_client_connects_in_one_span,
    messages_are_traced_in_the_span_of_the_child_that_sends_them,
    a_receive_that_is_dropped_says_so,
    an_error_has_its_kind,
    shared_transports_and_datagrams_are_traced,
    packets_of_a_server_are_traced,
    sockets_without_a_peer_are_traced,
}

type Messages = MessageStream<MemoryStream, bowline_codec::Framed<LengthDelimited, Raw>>;

fn pair() -> (Messages, Messages) {
    let (here, there) = MemoryStream::builder().names("here", "there").pair();
    let codec = || LengthDelimited::u32().with(Raw::new());
    (
        MessageStream::new(here, codec()),
        MessageStream::new(there, codec()),
    )
}

const HELLO: Bytes = Bytes::from_static(b"hello");

// TR16
async fn a_connect_tells_where_to() {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    let outer = info_span!("outer");
    let connecting = async { TcpConnector::new(at).connect().await.unwrap() };
    let stream = connecting.instrument(outer.clone()).await;
    let spans = below(&outer);
    assert_eq!(
        spans,
        [Recorded::new("connect").peer(&at.to_string()).outcome("ok")]
    );
    drop(stream);
}

// TR16
async fn a_connect_that_fails_tells_why() {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let outer = info_span!("outer");
    let connecting = async { TcpConnector::new(at).connect().await.unwrap_err() };
    let error = connecting.instrument(outer.clone()).await;
    let failed = Recorded::new("connect").peer(&at.to_string());
    assert_eq!(below(&outer), [failed.error("Refused", &error.to_string())]);
}

// TR16
async fn a_client_connects_in_one_span() {
    let codec = || LengthDelimited::u32().with(Raw::new());
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    let client = Client::new(at, codec);
    let outer = info_span!("outer");
    client.connect().instrument(outer.clone()).await.unwrap();
    let connect = |peer: &str| Recorded::new("connect").peer(peer);
    assert_eq!(below(&outer), [connect(&at.to_string()).outcome("ok")]);

    let registry = TransportRegistry::with_builtin(codec);
    let _listener = registry.memory().listen("shop").unwrap();
    for (name, outcome) in [("shop", "ok"), ("nowhere", "Refused")] {
        let mut transport = registry.open(&format!("mem://{name}")).unwrap();
        let outer = info_span!("outer");
        let connected = transport.connect().instrument(outer.clone()).await;
        let span = match connected {
            Ok(()) => connect(name).outcome(outcome),
            Err(error) => connect(name).error(outcome, &error.to_string()),
        };
        assert_eq!(below(&outer), [span]);
    }
}

// TR16
async fn messages_are_traced_in_the_span_of_the_child_that_sends_them() {
    let (mut here, mut there) = pair();
    let outer = info_span!("outer");
    let parent = outer.clone();
    let group = task_group(|group: TaskGroup<AnyError>| async move {
        parent.in_scope(|| {
            group.spawn(async move {
                here.send(&HELLO).await?;
                here.close().await?;
                Ok(())
            })
        });
        Ok(())
    });
    let ended: Result<(), GroupError<AnyError>> = group.await;
    ended.unwrap();
    let ok = |name| Recorded::new(name).peer("there").outcome("ok");
    assert_eq!(below(&outer), [ok("send"), ok("close")]);

    let outer = info_span!("outer");
    let receiving = async {
        assert_eq!(there.recv().await.unwrap(), Some(HELLO));
        assert_eq!(there.recv().await.unwrap(), None);
    };
    receiving.instrument(outer.clone()).await;
    let recv = || Recorded::new("recv").peer("here");
    assert_eq!(below(&outer), [recv().outcome("ok"), recv().outcome("end")]);
}

// TR16
async fn a_receive_that_is_dropped_says_so() {
    let (mut here, _there) = pair();
    let outer = info_span!("outer");
    outer.in_scope(|| assert!(here.recv().now_or_never().is_none()));
    let dropped = Recorded::new("recv").peer("there").outcome("dropped");
    assert_eq!(below(&outer), [dropped]);
}

// TR16
async fn an_error_has_its_kind() {
    let (mut here, mut there) = pair();
    here.close().await.unwrap();
    there.abort();
    let outer = info_span!("outer");
    let failing = async {
        (
            here.send(&HELLO).await.unwrap_err(),
            here.recv().await.unwrap_err(),
        )
    };
    let (sent, received) = failing.instrument(outer.clone()).await;
    let failed = |name, error: &dyn std::fmt::Display| {
        let span = Recorded::new(name).peer("there");
        span.error("Closed", &error.to_string())
    };
    assert_eq!(
        below(&outer),
        [failed("send", &sent), failed("recv", &received)]
    );
}

// TR16
async fn shared_transports_and_datagrams_are_traced() {
    let (here, there) = pair();
    let (here, there) = (Shared::new(here), Shared::new(there));
    let outer = info_span!("outer");
    let talking = async {
        here.send(&HELLO).await.unwrap();
        assert_eq!(there.recv().await.unwrap(), Some(HELLO));
        here.close().await.unwrap();
    };
    talking.instrument(outer.clone()).await;
    let ok = |name, peer| Recorded::new(name).peer(peer).outcome("ok");
    let spans = [
        ok("send", "there"),
        ok("recv", "here"),
        ok("close", "there"),
    ];
    assert_eq!(below(&outer), spans);

    let (here, there) = MemoryDatagram::pair();
    let mut here = DatagramTransport::new(here, Raw::new());
    let mut there = DatagramTransport::new(there, Raw::new());
    let outer = info_span!("outer");
    let talking = async {
        here.send(&HELLO).await.unwrap();
        assert_eq!(there.recv().await.unwrap(), Some(HELLO));
        here.close().await.unwrap();
    };
    talking.instrument(outer.clone()).await;
    let names: Vec<_> = below(&outer)
        .iter()
        .map(Recorded::name_and_outcome)
        .collect();
    assert_eq!(names, ["send ok", "recv ok", "close ok"]);
}

// TR16
async fn packets_of_a_server_are_traced() {
    let (here, there) = MemoryDatagram::pair();
    let server = Server::over_datagrams(there).codec(Raw::new);
    let bound = server.bind().await.unwrap();
    let handle = bound.handle();
    let outer = info_span!("outer");
    let serving = bound.serve_each(|peer, packet: Bytes| async move { peer.send(&packet).await });
    let mut here = DatagramTransport::new(here, Raw::new());
    let talking = async {
        here.send(&HELLO).await.unwrap();
        assert_eq!(here.recv().await.unwrap(), Some(HELLO));
        handle.drain(std::time::Duration::from_secs(9)).await;
    };
    let (served, ()) = join(serving.instrument(outer.clone()), talking).await;
    served.unwrap();
    let names = names_and_outcomes(&outer);
    assert!(names.contains(&"recv ok".to_owned()), "{names:?}");
    assert!(names.contains(&"send ok".to_owned()), "{names:?}");
}

// TR16
async fn sockets_without_a_peer_are_traced() {
    let any = "127.0.0.1:0".parse().unwrap();
    let here = DatagramEndpoint::udp(any, Raw::new()).unwrap();
    let there = DatagramEndpoint::udp(any, Raw::new()).unwrap();
    let at = there.local_addr().unwrap().clone();
    let outer = info_span!("outer");
    let talking = async {
        here.send_to(&HELLO, &at).await.unwrap();
        assert_eq!(there.recv_from().await.unwrap().0, HELLO);
        here.send_to(&Bytes::from(vec![0; 100_000]), &at).await
    };
    let error = talking.instrument(outer.clone()).await.unwrap_err();
    let send = || Recorded::new("send").peer(&at.to_string());
    let kind = format!("{:?}", error.kind());
    let spans = [
        send().outcome("ok"),
        Recorded::new("recv").outcome("ok"),
        send().error(&kind, &error.to_string()),
    ];
    assert_eq!(below(&outer), spans);
}

// TR16
#[cfg(feature = "tls")]
#[test]
fn a_handshake_is_traced_on_both_sides() {
    use bowline_transport::{CertStore, TlsClientConfig, TlsServerConfig};

    recorder::record();
    bowline_backend::Backend::Smol.block_on(async {
        let made = rcgen::generate_simple_self_signed(["there".to_owned()]).unwrap();
        let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let store = CertStore::new(&certificate, &key).unwrap();
        let server = TlsServerConfig::builder(&store).build().unwrap();
        let client = TlsClientConfig::builder().root_pem(certificate).build();
        let client = client.unwrap();

        for (name, accepted) in [("there", true), ("elsewhere", false)] {
            let (here, there) = MemoryStream::builder().names("here", "there").pair();
            let theirs = info_span!("server");
            let serving = async { server.handshake(there)?.await };
            let ours = info_span!("client");
            let shaking = async { client.handshake(here, name)?.await };
            let (shaken, served) = join(
                shaking.instrument(ours.clone()),
                serving.instrument(theirs.clone()),
            )
            .await;
            let handshake = |peer| Recorded::new("handshake").peer(peer);
            if accepted {
                assert!(shaken.is_ok() && served.is_ok());
                assert_eq!(below(&ours), [handshake("there").outcome("ok")]);
                assert_eq!(below(&theirs), [handshake("here").outcome("ok")]);
            } else {
                let failed = |peer, error: &bowline_transport::Error| {
                    handshake(peer).error(&format!("{:?}", error.kind()), &error.to_string())
                };
                assert_eq!(below(&ours), [failed("there", &shaken.unwrap_err())]);
                assert_eq!(below(&theirs), [failed("here", &served.unwrap_err())]);
            }
        }
    });
}
