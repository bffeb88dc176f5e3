//! The echo on tokio with tokio-util's frames, and tokio-rustls below them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bowline_benches::certificates;
use bowline_benches::server_process::say_port;
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{FutureExt, SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::Work;

/// What carries the frames.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Io for S {}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

pub(crate) fn serve(tls: bool) {
    let acceptor = tls.then(|| {
        let chain = CertificateDer::from_pem_slice(certificates::certificate().as_bytes());
        let key = PrivateKeyDer::from_pem_slice(certificates::key().as_bytes());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![chain.expect("PEM")], key.expect("PEM"));
        TlsAcceptor::from(Arc::new(config.expect("they belong together")))
    });
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        say_port(listener.local_addr().expect("it is bound").port());
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            stream.set_nodelay(true).expect("an option");
            match acceptor.clone() {
                None => tokio::spawn(echo(stream)),
                Some(acceptor) => tokio::spawn(async move {
                    echo(acceptor.accept(stream).await.expect("a handshake")).await;
                }),
            };
        }
    });
}

/// Answers what is there by one write.
async fn echo(stream: impl Io) {
    let mut frames = Framed::new(stream, LengthDelimitedCodec::new());
    while let Some(Ok(frame)) = frames.next().await {
        frames.feed(frame.freeze()).await.expect("room");
        while let Some(Some(Ok(frame))) = frames.next().now_or_never() {
            frames.feed(frame.freeze()).await.expect("room");
        }
        if SinkExt::<Bytes>::flush(&mut frames).await.is_err() {
            break;
        }
    }
}

pub(crate) fn converse(port: u16, work: Work) -> Duration {
    runtime().block_on(async {
        let streams = connect_all(port, work.tls, work.connections).await;
        let start = Instant::now();
        join_all(streams.into_iter().map(|stream| ask(stream, work))).await;
        start.elapsed()
    })
}

/// Connections that are made before any is waited for.
const TOGETHER: usize = 100;

/// What `look` says while so many connections, which have echoed once, say nothing.
pub(crate) fn hold<T>(port: u16, tls: bool, connections: usize, look: impl FnOnce() -> T) -> T {
    runtime().block_on(async {
        let mut held = Vec::new();
        // Some at a time: fewer turns of both processes, and no more than the backlog has room for.
        while held.len() < connections {
            let more = TOGETHER.min(connections - held.len());
            let mut asking = Vec::new();
            for stream in connect_all(port, tls, more).await {
                let mut frames = Framed::new(stream, LengthDelimitedCodec::new());
                let frame = Bytes::from_static(&[7; 64]);
                frames.send(frame).await.expect("a connection");
                asking.push(frames);
            }
            for frames in &mut asking {
                frames.next().await.expect("an answer").expect("a frame");
            }
            held.append(&mut asking);
        }
        look()
    })
}

async fn connect_all(port: u16, tls: bool, connections: usize) -> Vec<Box<dyn Io>> {
    let connector = tls.then(|| {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(certificates::certificate().as_bytes());
        roots.add(root.expect("PEM")).expect("an authority");
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    });
    let mut streams: Vec<Box<dyn Io>> = Vec::with_capacity(connections);
    for _ in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        let stream = stream.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        match &connector {
            None => streams.push(Box::new(stream)),
            Some(connector) => {
                let name = ServerName::try_from(certificates::NAME).expect("a name");
                let stream = connector.connect(name, stream).await;
                streams.push(Box::new(stream.expect("a handshake")));
            }
        }
    }
    streams
}

async fn ask(stream: impl Io, work: Work) {
    let mut frames = Framed::new(stream, LengthDelimitedCodec::new());
    let payload = Bytes::from(vec![7; work.size]);
    let (mut sent, mut back) = (0, 0);
    while back < work.frames {
        while sent < work.frames && sent - back < work.in_flight {
            frames.feed(payload.clone()).await.expect("room");
            sent += 1;
        }
        SinkExt::<Bytes>::flush(&mut frames)
            .await
            .expect("a connection");
        frames.next().await.expect("an answer").expect("a frame");
        back += 1;
        while let Some(Some(frame)) = frames.next().now_or_never() {
            frame.expect("a frame");
            back += 1;
        }
    }
}
