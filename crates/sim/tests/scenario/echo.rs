//! A racy world of three hosts: what the determinism tests run.

use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_sim::{Builder, Sim, host};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

pub(crate) async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, bytes)).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

pub(crate) async fn read_some(stream: &TcpStream, size: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; size];
    let read = poll_fn(|cx| stream.poll_read(cx, &mut buffer)).await?;
    buffer.truncate(read);
    Ok(buffer)
}

pub(crate) async fn read_to_end(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let part = read_some(stream, 4096).await?;
        if part.is_empty() {
            return Ok(all);
        }
        all.extend(part);
    }
}

pub(crate) async fn shutdown(stream: &TcpStream) -> io::Result<()> {
    poll_fn(|cx| stream.poll_shutdown(cx)).await
}

pub(crate) async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    Ok(poll_fn(|cx| listener.poll_accept(cx)).await?.0)
}

pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(
        SocketAddr::from(([0, 0, 0, 0], port)),
        TcpListenOptions::default(),
    )
}

pub(crate) async fn dial(name: &str, port: u16) -> io::Result<TcpStream> {
    let ip = host::resolve(name, host::Family::V4).await?[0];
    TcpStream::connect(SocketAddr::new(ip, port), TcpOptions::default()).await
}

async fn serve() -> io::Result<()> {
    let listener = listen(80)?;
    loop {
        let stream = accept(&listener).await?;
        host::spawn(async move {
            while let Ok(bytes) = read_some(&stream, 512).await {
                if bytes.is_empty() || write_all(&stream, &bytes).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn call() -> io::Result<()> {
    let stream = dial("server", 80).await?;
    for _ in 0..3 {
        let mut payload = vec![0; 700];
        host::fill(&mut payload);
        write_all(&stream, &payload).await?;
        let mut echoed = Vec::new();
        while echoed.len() < payload.len() {
            echoed.extend(read_some(&stream, 512).await?);
        }
        assert_eq!(echoed, payload);
        host::Sleep::new(host::now() + 1_000_000).await;
    }
    Sim::note("done", host::random_u64() % 100);
    Ok(())
}

/// The world: a server and two clients which call at once.
pub(crate) fn world(seed: u64) -> Builder {
    Sim::builder()
        .seed(seed)
        .scenario("echo")
        .host("server", serve)
        .client("a", call)
        .client("b", call)
}
