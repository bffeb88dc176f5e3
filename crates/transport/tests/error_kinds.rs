//! Each kind of error by something that really happens, and what it says.

#[path = "error_kinds/words.rs"]
mod words;

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::panic;
use std::pin::{Pin, pin};
use std::sync::mpsc::channel;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use bowline_backend::Backend;
use bowline_backend::net::{ResolveError, TcpListener, TcpStream, UdpSocket};
use bowline_backend::stream::{ByteReader, ByteSide, ByteStream, ByteStreamExt};
use bowline_codec::{
    DecodeError, DecodeErrorKind, Delimiter, EncodeError, Framing, LengthDelimited, Lines, Raw,
};
use bowline_concurrency::sleep;
use bowline_sim::{HostLimits, Sim};
use bowline_transport::{
    Break, Client, Delivery, Error, ErrorKind, Listeners, MemoryStream, MessageStream,
    MessageStreamBuilder, Operation, PacketLimits, ServerLimits, Shared, StapledStream,
    TcpConnector, Transport,
};
use bytes::{Bytes, BytesMut};
use futures_io::AsyncRead;
use futures_util::FutureExt;
use futures_util::future::join;

/// The predicates of an error.
fn says(error: &Error) -> [(&'static str, bool); 5] {
    [
        ("connection", error.is_connection()),
        ("message", error.is_message()),
        ("timeout", error.is_timeout()),
        ("closed", error.is_closed()),
        ("retryable", error.is_retryable()),
    ]
}

/// That `error` is of this kind, and says exactly `what` of itself.
fn expect(error: Error, kind: ErrorKind, what: &[&str]) -> Error {
    assert_eq!(error.kind(), kind, "{error:?}");
    let said = says(&error).into_iter().filter(|(_, is)| *is);
    assert_eq!(
        said.map(|(name, _)| name).collect::<Vec<_>>(),
        what,
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with(&error.operation().to_string()),
        "{error}"
    );
    error
}

fn local() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

async fn connecting() {
    let gone = TcpListener::bind(local()).unwrap().local_addr().unwrap();
    let error = TcpConnector::new(gone).connect().await.unwrap_err();
    let error = expect(error, ErrorKind::Refused, &["connection", "retryable"]);
    assert_eq!(
        (error.delivery(), error.peer()),
        (Delivery::NotSent, Some(&gone.into()))
    );

    let error = TcpConnector::new(("", 80)).connect().await.unwrap_err();
    let error = expect(error, ErrorKind::Connect, &["connection", "retryable"]);
    assert!(error.source().unwrap().is::<ResolveError>());

    let taken = TcpListener::bind(local()).unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Listeners::builder(port)
        .host("127.0.0.1")
        .bind()
        .await
        .unwrap_err();
    let error = expect(error, ErrorKind::Address, &[]);
    // The address is ours, or would be.
    assert_eq!(error.peer(), None);
    assert_eq!(
        error.attempts()[0].address().to_string(),
        format!("127.0.0.1:{port}")
    );

    let unconnected = UdpSocket::bind(local()).unwrap();
    let error = Error::from_io(Operation::Send, unconnected.peer_addr().unwrap_err());
    expect(error, ErrorKind::NotConnected, &["connection"]);
}

// TR7, TR12
#[test]
fn a_peer_that_the_system_gives_up_is_a_limit_that_passed() {
    let timed_out = |operation| Error::from_io(operation, std::io::ErrorKind::TimedOut.into());
    for operation in [Operation::Send, Operation::Recv, Operation::Flush] {
        let stalled = ErrorKind::Broken(Break::Stalled);
        expect(timed_out(operation), stalled, &["connection", "timeout"]);
    }
    let late = timed_out(Operation::Connect);
    assert_eq!(late.kind(), ErrorKind::ConnectTimeout);
}

async fn messages() {
    let codec = || LengthDelimited::u32().max_frame(10).with(Raw::new());
    let (here, there) = MemoryStream::pair();
    let builder = MessageStreamBuilder::default().read_idle_timeout(Duration::from_millis(1));
    let mut here = builder.over(here, codec());
    let mut there = MessageStream::new(there, codec());

    let large = Bytes::from(vec![0; 11]);
    let error = here.send(&large).await.unwrap_err();
    let error = expect(error, ErrorKind::TooLarge { limit: 10 }, &["message"]);
    assert!(error.source().unwrap().is::<EncodeError>());
    assert_eq!(error.delivery(), Delivery::NotSent);

    let error = here.recv().await.unwrap_err();
    let error = expect(error, ErrorKind::Elapsed, &["timeout"]);
    let limit = error.source().unwrap().to_string();
    assert_eq!(limit, "no byte came within 1ms");
    here.close().await.unwrap();
    let error = here.send(&Bytes::new()).await.unwrap_err();
    expect(error, ErrorKind::Closed, &["connection", "closed"]);
    assert_eq!(there.recv().await.unwrap(), None);

    let (here, there) = MemoryStream::pair();
    let shared = Shared::new(MessageStream::new(here, codec()));
    let mut there = MessageStream::new(there, codec());
    {
        let mut first = pin!(shared.recv());
        assert!(first.as_mut().now_or_never().is_none());
        expect(shared.recv().await.unwrap_err(), ErrorKind::Busy, &[]);
    }
    shared.abort();
    let error = there.recv().await.unwrap_err();
    let error = expect(error, ErrorKind::Broken(Break::Reset), &["connection"]);
    assert!(error.source().unwrap().is::<io::Error>());
    assert_eq!(error.delivery(), Delivery::MaybeSent);
    let error = there
        .send(&Bytes::new())
        .await
        .and(there.flush().await)
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    let unsent = there.send(&Bytes::new()).await.unwrap_err();
    expect(unsent, error.kind(), &["connection", "retryable"]);
}

async fn codecs() {
    let (here, there) = MemoryStream::pair();
    let mut here = MessageStream::new(here, Delimiter::new(b"--").with(Raw::new()));
    let mut there = MessageStream::new(there, Lines::lf().text());
    let error = here.send(&Bytes::from("a--b")).await.unwrap_err();
    let error = expect(error, ErrorKind::Encode, &["message"]);
    assert!(error.source().unwrap().is::<EncodeError>());

    here.send(&Bytes::from_static(b"\xff\n")).await.unwrap();
    let error = there.recv().await.unwrap_err();
    let error = expect(error, ErrorKind::Decode, &["message"]);
    let source = error
        .source()
        .unwrap()
        .downcast_ref::<DecodeError>()
        .unwrap();
    assert!(
        matches!(source.kind(), DecodeErrorKind::Text { .. }),
        "{source:?}"
    );

    let (here, mut there) = MemoryStream::pair();
    let mut here = MessageStream::new(here, LengthDelimited::u32().with(Raw::new()));
    there.write_all(b"GET / HTTP/1.0").await.unwrap();
    let error = here.recv().await.unwrap_err();
    let undecodable = ErrorKind::Broken(Break::Undecodable);
    let error = expect(error, undecodable, &["connection"]);
    assert_eq!(
        (error.to_string(), error.source().unwrap().to_string()),
        (
            "recv: the connection is broken: what came cannot be decoded, nor what follows it \
             (peer memory:b)"
                .to_owned(),
            "a frame of 1195725856 bytes is over the limit of 1048576".to_owned()
        )
    );
}

/// A line to something that has error codes of its own.
struct Serial;

impl ByteSide for Serial {}

impl AsyncRead for Serial {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let (transport, code) = ("serial", 7);
        let parity = Error::new(Operation::Recv, ErrorKind::Specific { transport, code });
        Poll::Ready(Err(io::Error::other(parity)))
    }
}

impl ByteReader for Serial {
    fn poll_read_into(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        _: &mut BytesMut,
        _: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        self.poll_read(cx, &mut [])
    }
}

async fn transports() {
    let (_, writing) = MemoryStream::pair().0.into_split();
    let stream = StapledStream::new(Serial, writing);
    let mut here = MessageStream::new(stream, Lines::lf().text());
    let error = here.recv().await.unwrap_err();
    let (transport, code) = ("serial", 7);
    let error = expect(error, ErrorKind::Specific { transport, code }, &[]);
    assert_eq!(
        error.to_string(),
        "recv: the transport serial failed with code 7"
    );
}

#[cfg(feature = "tls")]
async fn secure() {
    use bowline_transport::{CertStore, TlsClientConfig, TlsFailure};
    let error = CertStore::new("no certificate", "no key").unwrap_err();
    let error = expect(error, ErrorKind::Config, &[]);
    assert!(error.source().is_some());
    let chain = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let error = CertStore::new(chain, "").unwrap_err();
    let error = expect(error, ErrorKind::Config, &[]);
    assert_eq!(
        error.source().unwrap().to_string(),
        "there is no private key in the PEM text"
    );

    let tls = TlsClientConfig::builder()
        .danger_skip_verification()
        .build()
        .unwrap();
    let short = TlsClientConfig::builder().danger_skip_verification();
    let short = short
        .handshake_timeout(Duration::from_millis(1))
        .build()
        .unwrap();
    let (here, mut there) = MemoryStream::pair();
    let waits = short
        .handshake(here, "localhost")
        .unwrap()
        .await
        .unwrap_err();
    let waits = expect(waits, ErrorKind::Tls(TlsFailure::Timeout), &["timeout"]);
    let limit = waits.source().unwrap().to_string();
    assert_eq!(limit, "the handshake was not done within 1ms");
    drop(there);

    let (here, other) = MemoryStream::pair();
    there = other;
    there.write_all(b"hello, who is there?").await.unwrap();
    there.shutdown().await.unwrap();
    let refused = tls.handshake(here, "localhost").unwrap().await.unwrap_err();
    expect(refused, ErrorKind::Tls(TlsFailure::Plaintext), &[]);
    let error = tls
        .handshake(MemoryStream::pair().0, "no name")
        .unwrap_err();
    expect(error, ErrorKind::Config, &[]);
}

// TR12
#[test]
fn every_kind_has_its_condition() {
    for backend in [
        Backend::Tokio,
        Backend::Smol,
        Backend::AsyncStd,
        Backend::Sim,
    ] {
        backend.block_on(async {
            connecting().await;
            messages().await;
            codecs().await;
            transports().await;
            #[cfg(feature = "tls")]
            secure().await;
        });
    }
}

// TR12
#[test]
fn a_limit_that_cannot_be_is_refused_where_it_is_set() {
    let (told, heard) = channel();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _ = told.send((
            thread::current().id(),
            info.location().map(|at| at.to_string()),
        ));
        before(info);
    }));
    let limits: [fn(); 4] = [
        || drop(ServerLimits::new().max_connections(0)),
        || drop(ServerLimits::new().max_per_peer(0)),
        || drop(PacketLimits::new().max_packets(0)),
        || drop(MessageStreamBuilder::default().max_frame(0)),
    ];
    for limit in limits {
        panic::catch_unwind(limit).unwrap_err();
    }
    let ours = heard
        .try_iter()
        .filter(|(of, _)| *of == thread::current().id());
    let places: Vec<_> = ours.filter_map(|(_, place)| place).collect();
    assert_eq!(places.len(), 4);
    assert!(
        places.iter().all(|at| at.starts_with(file!())),
        "{places:?}"
    );
}

// TR12
#[test]
fn what_the_system_does_not_allow() {
    Backend::Tokio.block_on(async {
        let everybody = "255.255.255.255:9".parse().unwrap();
        let error = Error::from_io(
            Operation::Connect,
            UdpSocket::connect(everybody).unwrap_err(),
        );
        expect(error, ErrorKind::Permission, &[]);
    });
    bowline_sim::block_on(0, async {
        let listener = TcpListener::bind(local()).unwrap();
        let error = Error::from_io(Operation::Bind, listener.into_std().unwrap_err());
        expect(error, ErrorKind::Unsupported, &[]);
    });
}

// TR12
#[test]
fn a_host_without_descriptors_says_so() {
    let mut limits = HostLimits::default();
    limits.descriptors = 3;
    let world = Sim::builder().client("client", || async {
        let listener = TcpListener::bind(local()).unwrap();
        let to = listener.local_addr().unwrap();
        let mut kept: Vec<TcpStream> = Vec::new();
        let error = loop {
            match TcpConnector::new(to).connect().await {
                Ok(stream) => kept.push(stream),
                Err(error) => break error,
            }
            assert!(kept.len() < 3, "there is no limit");
        };
        expect(error, ErrorKind::Resource, &["retryable"]);
    });
    world.limits("client", limits).run().unwrap();
}

// TR12, CL2
#[test]
fn a_host_without_ports_says_so_and_is_tried_again() {
    let mut limits = HostLimits::default();
    limits.ephemeral_ports = 1;
    let world = Sim::builder().client("client", || async {
        let any = SocketAddr::from(([0, 0, 0, 0], 80));
        let listener = TcpListener::bind(any).unwrap();
        let to = SocketAddr::from(([127, 0, 0, 1], 80));
        let dialler = TcpConnector::new(to);
        let kept = dialler.connect().await.unwrap();
        let error = dialler.connect().await.unwrap_err();
        expect(error, ErrorKind::Resource, &["retryable"]);

        let client = Client::new(to, || Lines::lf().text()).reconnecting();
        let waits = async {
            sleep(Duration::from_millis(100)).await;
            kept.abort();
        };
        let (connected, ()) = join(client.connect(), waits).await;
        connected.unwrap();
        drop(listener);

        // Of an address that was asked for there is no other, now or later.
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        let error = dialler.bind(foreign).connect().await.unwrap_err();
        expect(error, ErrorKind::Address, &[]);
    });
    world.limits("client", limits).run().unwrap();
}
