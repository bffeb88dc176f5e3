//! Bytes there and back, through faults of all kinds.

use std::io;
use std::num::NonZeroUsize;
use std::time::Duration;

use bowline::backend::entropy::random_u64;
use bowline::backend::net::{
    Family, Query, TcpListener, TcpReadHalf, TcpStream, TcpWriteHalf, resolve,
};
use bowline::backend::stream::{ByteStream, ByteStreamExt};
use bowline::backend::task::spawn_detached;
use bowline::concurrency::{sleep, timeout};
use bowline::sim::{Builder, Faults, Link, Sim, always, sometimes};
use bytes::BytesMut;
use futures_util::future::try_join;

use super::{HEAL, RECONNECTED, SETTLE, patience};

const PORT: u16 = 7;
const MOST: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

pub(super) fn world() -> Builder {
    let link = Link::lan().latency(Duration::from_millis(1)..Duration::from_millis(5));
    Sim::builder()
        .default_link(link)
        .faults(Faults::swarm())
        .heal_at(HEAL)
        .settle(SETTLE)
        .host("server", server)
        .client("a", || client(6, 200))
        .client("b", || client(12, 60))
}

async fn server() -> io::Result<()> {
    let listener = TcpListener::bind(([0, 0, 0, 0], PORT).into())?;
    loop {
        let (stream, _) = listener.accept().await?;
        spawn_detached(async move {
            // A client that goes away mid-way ends its echo and nothing else.
            let _ = echo(stream).await;
        });
    }
}

async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = BytesMut::new();
    while stream.read_into(&mut buffer, MOST).await? > 0 {
        stream.write_all(&buffer.split()).await?;
    }
    stream.shutdown().await
}

/// Sends so many parts of so many bytes, each until it was answered, on a new connection where the
/// former one failed or says nothing any more.
async fn client(parts: usize, length: usize) -> io::Result<()> {
    let mut connection = None;
    for _ in 0..parts {
        let part: Vec<u8> = (0..length).map(|_| random_u64() as u8).collect();
        let mut failures = 0;
        while !matches!(
            timeout(patience(failures), exchange(&mut connection, &part)).await,
            Ok(Ok(()))
        ) {
            connection = None;
            failures += 1;
            sleep(Duration::from_millis(100)).await;
        }
        sometimes!(RECONNECTED, failures > 0);
        sleep(Duration::from_millis(random_u64() % 1_000)).await;
    }
    let Some((mut reader, mut writer)) = connection else {
        return Ok(());
    };
    let end = timeout(patience(0), async {
        writer.shutdown().await?;
        reader.read_into(&mut BytesMut::new(), MOST).await
    });
    let end = end.await;
    // Unless a fault was faster the server ends what was ended.
    sometimes!("ended", matches!(end, Ok(Ok(_))));
    always!("nothing-after-the-echo", !matches!(end, Ok(Ok(1..))));
    Ok(())
}

type Halves = (TcpReadHalf, TcpWriteHalf);

/// Reads while it writes: where buffers are smaller than the part, the server does not take all of it
/// before its answer is taken.
async fn exchange(connection: &mut Option<Halves>, part: &[u8]) -> io::Result<()> {
    let (reader, writer) = match connection {
        Some(halves) => halves,
        None => {
            let server = resolve(Query::host("server", PORT).family(Family::V4)).await?[0];
            let stream = TcpStream::connect(server).await?;
            connection.insert(stream.into_split())
        }
    };
    let answer = async {
        let mut received = BytesMut::new();
        while received.len() < part.len() {
            if reader.read_into(&mut received, MOST).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            always!("echo-is-exact", part.starts_with(&received));
        }
        Ok(())
    };
    try_join(writer.write_all(part), answer).await.map(drop)
}
