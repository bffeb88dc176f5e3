//! The same echo over our streams and by our server, on tokio.

use std::time::{Duration, Instant};

use bowline::backend::Backend;
use bowline::backend::net::TcpListener;
use bowline::backend::stream::ByteStream;
use bowline::backend::task::{RunOptions, Threads};
use bowline::codec::{Codec, Framing, LengthDelimited, Raw};
use bowline::concurrency::{AnyError, GroupError, Root, TaskGroup, task_group};
use bowline::transport::{
    CertStore, Error, Extra, MessageStream, Messages, Peer, Server, TcpConnector, TlsClientConfig,
    TlsServerConfig, Transport, TransportRecv, TransportSend,
};
use bowline_benches::certificates;
use bowline_benches::server_process::say_port;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use crate::Work;

fn root() -> Root {
    let options = RunOptions::default().threads(Threads::One);
    Root::new().backend(Backend::Tokio).options(options)
}

fn codec() -> impl Codec<Sent = Bytes, Item = Bytes> {
    LengthDelimited::u32().with(Raw::new())
}

fn server_config() -> TlsServerConfig {
    let store = CertStore::new(&certificates::certificate(), &certificates::key());
    let config = TlsServerConfig::builder(&store.expect("they belong together")).build();
    config.expect("a configuration")
}

/// By message streams alone, each in a task of a group.
pub(crate) fn serve_streams(tls: bool) {
    let served = root().block_on(task_group(|group: TaskGroup<AnyError>| async move {
        let config = tls.then(server_config);
        let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
        say_port(listener.local_addr()?.port());
        loop {
            let (stream, _) = listener.accept().await?;
            let config = config.clone();
            group.spawn(async move {
                match config {
                    None => echo(stream).await?,
                    Some(config) => echo(config.handshake(stream)?.await?).await?,
                }
                Ok(())
            });
        }
    }));
    let never: Result<(), GroupError<AnyError>> = served;
    never.expect("it serves for ever");
}

/// Answers what is there by one write.
async fn echo<S: ByteStream + Extra>(stream: S) -> Result<(), Error> {
    let (mut answers, mut frames) = MessageStream::new(stream, codec()).into_split();
    while let Ok(Some(frame)) = frames.recv().await {
        answers.feed(&frame).await?;
        while let Ok(Some(frame)) = frames.try_recv() {
            answers.feed(&frame).await?;
        }
        answers.flush().await?;
    }
    Ok(())
}

/// By a server.
pub(crate) fn serve(tls: bool) {
    let served: Result<(), Error> = root().block_on(async {
        let server = Server::tcp(("127.0.0.1", 0)).codec(codec);
        if tls {
            let server = server.tls(server_config()).bind().await?;
            say_port(server.local_addrs()[0].as_inet().expect("TCP").port());
            server.serve_fn(answer).await
        } else {
            let server = server.bind().await?;
            say_port(server.local_addrs()[0].as_inet().expect("TCP").port());
            server.serve_fn(answer).await
        }
    });
    served.expect("it serves for ever");
}

async fn answer<T>(peer: Peer<T>, mut messages: Messages<T>) -> Result<(), Error>
where
    T: Transport<Sent = Bytes, Received = Bytes> + 'static,
{
    while let Some(frame) = messages.recv().await? {
        peer.feed(&frame).await?;
    }
    Ok(())
}

pub(crate) fn converse(port: u16, work: Work) -> Duration {
    let took: Result<Duration, AnyError> = root().block_on(async move {
        let config = match work.tls {
            false => None,
            true => {
                let root = certificates::certificate();
                Some(TlsClientConfig::builder().root_pem(root).build()?)
            }
        };
        let mut conversations: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
        for _ in 0..work.connections {
            let stream = TcpConnector::new(("127.0.0.1", port)).connect().await?;
            conversations.push(match &config {
                None => ask(stream, work).boxed(),
                Some(config) => {
                    let stream = config.handshake(stream, certificates::NAME)?.await?;
                    ask(stream, work).boxed()
                }
            });
        }
        let start = Instant::now();
        for conversation in join_all(conversations).await {
            conversation?;
        }
        Ok(start.elapsed())
    });
    took.expect("every frame comes back")
}

async fn ask<S: ByteStream + Extra>(stream: S, work: Work) -> Result<(), Error> {
    let (mut frames, mut answers) = MessageStream::new(stream, codec()).into_split();
    let payload = Bytes::from(vec![7; work.size]);
    let (mut sent, mut back) = (0, 0);
    while back < work.frames {
        while sent < work.frames && sent - back < work.in_flight {
            frames.feed(&payload).await?;
            sent += 1;
        }
        frames.flush().await?;
        assert!(answers.recv().await?.is_some());
        back += 1;
        while let Ok(Some(_)) = answers.try_recv() {
            back += 1;
        }
    }
    frames.shutdown().await
}
