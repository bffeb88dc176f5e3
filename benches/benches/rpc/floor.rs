//! The floor: a framed echo by hand, with the 16-byte header of the peer protocol, ids and
//! coalesced writes, and nothing else.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use bowline_benches::server_process::say_port;

use crate::PAYLOAD;

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

/// Keeps `in_flight` calls on the wire until `calls` are answered; the latency of each.
pub(crate) async fn call(port: u16, calls: usize, in_flight: usize) -> Vec<Duration> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut incoming, mut outgoing) = (Vec::with_capacity(64 * 1024), Vec::new());
    let mut started = VecDeque::with_capacity(in_flight);
    let (mut sent, mut latencies) = (0, Vec::with_capacity(calls));
    while latencies.len() < calls {
        while sent < calls && started.len() < in_flight {
            push(&mut outgoing, sent as u64, &PAYLOAD);
            started.push_back(Instant::now());
            sent += 1;
        }
        stream.write_all(&outgoing).await.unwrap();
        outgoing.clear();
        stream.read_buf(&mut incoming).await.unwrap();
        let taken = frames(&incoming, |id, body| {
            assert_eq!((id, body), (latencies.len() as u64, &PAYLOAD[..]));
            latencies.push(started.pop_front().unwrap().elapsed());
        });
        incoming.drain(..taken);
    }
    latencies
}
