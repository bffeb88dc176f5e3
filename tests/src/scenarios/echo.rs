//! Bytes there and back.

use std::num::NonZeroUsize;
use std::time::Duration;

use bowline::backend::entropy::random_u64;
use bowline::backend::net::{Family, Query, TcpListener, TcpStream, resolve};
use bowline::backend::stream::ByteStreamExt;
use bowline::backend::task::spawn_detached;
use bowline::sim::{Builder, Link, Sim};
use bytes::BytesMut;

const PORT: u16 = 7;
const MOST: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

pub(super) fn world() -> Builder {
    let link = Link::lan().latency(Duration::from_millis(1)..Duration::from_millis(20));
    Sim::builder()
        .horizon(Duration::from_secs(600))
        .default_link(link)
        .host("server", server)
        .client("a", || client(3_000))
        .client("b", || client(6_000))
}

async fn server() -> std::io::Result<()> {
    let listener = TcpListener::bind(([0, 0, 0, 0], PORT).into())?;
    loop {
        let (stream, _) = listener.accept().await?;
        spawn_detached(async move {
            // A client that goes away mid-way ends its echo and nothing else.
            let _ = echo(stream).await;
        });
    }
}

async fn echo(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = BytesMut::new();
    while stream.read_into(&mut buffer, MOST).await? > 0 {
        stream.write_all(&buffer.split()).await?;
    }
    stream.shutdown().await
}

async fn client(length: usize) -> std::io::Result<()> {
    let server = resolve(Query::host("server", PORT).family(Family::V4)).await?[0];
    let mut stream = TcpStream::connect(server).await?;
    let sent: Vec<u8> = (0..length).map(|_| random_u64() as u8).collect();
    let mut received = BytesMut::new();
    for part in sent.chunks(1_000) {
        stream.write_all(part).await?;
        let expected = received.len() + part.len();
        while received.len() < expected {
            assert_ne!(
                stream.read_into(&mut received, MOST).await?,
                0,
                "ended early"
            );
        }
    }
    stream.shutdown().await?;
    assert_eq!(stream.read_into(&mut received, MOST).await?, 0);
    bowline::sim::always!("echo-is-exact", received == sent);
    Ok(())
}
