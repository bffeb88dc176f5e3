//! The floor: a framed echo by hand, with the 16-byte header of the peer protocol, ids and
//! coalesced writes, and nothing else.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use bowline_benches::server_process::say_port;

use crate::{Latencies, Work, elapsed};

const HEADER: usize = 16;

/// Echoes every frame, as many per write as one read gave.
pub(crate) async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    say_port(listener.local_addr().unwrap().port());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(echo(stream));
    }
}

async fn echo(mut stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut incoming = Vec::with_capacity(64 * 1024);
    let mut outgoing = Vec::with_capacity(64 * 1024);
    while stream
        .read_buf(&mut incoming)
        .await
        .is_ok_and(|count| count > 0)
    {
        let taken = frames(&incoming, |id, body| push(&mut outgoing, id, body));
        incoming.drain(..taken);
        stream.write_all(&outgoing).await.unwrap();
        outgoing.clear();
    }
}

/// Calls `each` with the id and body of every whole frame; the bytes they take.
fn frames(bytes: &[u8], mut each: impl FnMut(u64, &[u8])) -> usize {
    let mut at = 0;
    while bytes.len() - at >= HEADER {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if bytes.len() - at < HEADER + length {
            break;
        }
        let id = u64::from_be_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        each(id, &bytes[at + HEADER..at + HEADER + length]);
        at += HEADER + length;
    }
    at
}

fn push(out: &mut Vec<u8>, id: u64, body: &[u8]) {
    out.extend_from_slice(&(body.len() as u32).to_be_bytes());
    out.extend_from_slice(&[0x10, 0, 0, 0]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(body);
}

/// Makes the calls of all connections; the latency of each.
pub(crate) async fn call(port: u16, work: Work) -> Latencies {
    let connections = (0..work.connections).map(|_| tokio::spawn(converse(port, work)));
    let mut all = Vec::with_capacity(work.connections * work.calls);
    for connection in connections.collect::<Vec<_>>() {
        all.extend(connection.await.unwrap());
    }
    all
}

async fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Keeps as many calls on the wire as may be until all are answered.
async fn converse(port: u16, work: Work) -> Latencies {
    let mut stream = connect(port).await;
    let payload = work.payload().into_bytes();
    let (mut incoming, mut outgoing) = (Vec::with_capacity(64 * 1024), Vec::new());
    let mut started = VecDeque::with_capacity(work.in_flight);
    let (mut sent, mut latencies) = (0, Vec::with_capacity(work.calls));
    while latencies.len() < work.calls {
        while sent < work.calls && started.len() < work.in_flight {
            push(&mut outgoing, sent as u64, &payload);
            started.push_back(Instant::now());
            sent += 1;
        }
        stream.write_all(&outgoing).await.unwrap();
        outgoing.clear();
        stream.read_buf(&mut incoming).await.unwrap();
        let taken = frames(&incoming, |id, body| {
            assert_eq!((id, body), (latencies.len() as u64, &payload[..]));
            latencies.push(elapsed(started.pop_front().unwrap()));
        });
        incoming.drain(..taken);
    }
    latencies
}

/// Calls `up` while so many connections that have made a call are idle.
pub(crate) async fn idle(port: u16, connections: usize, up: impl FnOnce()) {
    let mut streams = Vec::with_capacity(connections);
    for _ in 0..connections {
        let mut stream = connect(port).await;
        let mut frame = Vec::new();
        push(&mut frame, 0, &[0; 32]);
        stream.write_all(&frame).await.unwrap();
        stream.read_exact(&mut frame).await.unwrap();
        streams.push(stream);
    }
    up();
}
