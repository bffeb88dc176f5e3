//! How many system calls messages take: one write and at most two reads for an echo, and one of each
//! for many that are on their way together. A test binary of its own, for a thread that is counted
//! stays so.

#![cfg(target_os = "linux")]

use std::future::poll_fn;
use std::ops::AddAssign;
use std::pin::pin;

use bowline::codec::{Framed, Framing, LengthDelimited, Raw};
use bowline::transport::{Extra, MessageStream, Transport, TransportSend};
use bowline_backend::Backend;
use bowline_backend::net::{TcpListener, TcpStream, UnixStream};
use bowline_backend::stream::ByteStream;
use bowline_backend::task::{RunOptions, Threads};
use bowline_tests::system_calls::SystemCalls;
use bytes::Bytes;

/// Calls that read and that write.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Made {
    reads: usize,
    writes: usize,
}

impl Made {
    /// Of a text as `recvfrom 2, sendto 1`.
    fn of(text: &str) -> Made {
        let mut made = Made::default();
        for call in text.split(", ").filter(|call| !call.is_empty()) {
            let (name, count) = call.split_once(' ').expect("a name and a count");
            let count: usize = count.parse().expect("a count");
            match name {
                "recvfrom" | "recvmsg" | "read" | "readv" => made.reads += count,
                "sendto" | "sendmsg" | "write" | "writev" => made.writes += count,
                _ => {}
            }
        }
        made
    }
}

impl AddAssign for Made {
    fn add_assign(&mut self, other: Made) {
        self.reads += other.reads;
        self.writes += other.writes;
    }
}

/// Awaits `act`, and adds the calls of its polls to `sum`.
async fn counted<T>(calls: &SystemCalls, sum: &mut Made, act: impl Future<Output = T>) -> T {
    let mut act = pin!(act);
    poll_fn(|cx| {
        let (polled, made) = calls.during(|| act.as_mut().poll(cx));
        *sum += Made::of(&made);
        polled
    })
    .await
}

type Messages<S> = MessageStream<S, Framed<LengthDelimited, Raw>>;

fn over<S: ByteStream + Extra>((here, there): (S, S)) -> (Messages<S>, Messages<S>) {
    let codec = || LengthDelimited::u32().with(Raw::new());
    (
        MessageStream::new(here, codec()),
        MessageStream::new(there, codec()),
    )
}

/// Sends. A runtime may have to ask first whether a new socket takes anything, hence the flush.
async fn tell<S: ByteStream + Extra>(to: &mut Messages<S>, message: &Bytes) {
    to.send(message).await.unwrap();
    to.flush().await.unwrap();
}

async fn one_by_one<S: ByteStream + Extra>(calls: &SystemCalls, pair: (S, S), size: usize) {
    let (mut client, mut server) = over(pair);
    let message = Bytes::from(vec![7; size]);
    for round in 0..8 {
        let (mut asks, mut answers) = (Made::default(), Made::default());
        let (client, server) = (&mut client, &mut server);
        counted(calls, &mut asks, tell(client, &message)).await;
        let asked = counted(calls, &mut answers, server.recv()).await;
        let asked = asked.unwrap().expect("a message");
        counted(calls, &mut answers, tell(server, &asked)).await;
        let answer = counted(calls, &mut asks, client.recv()).await;
        assert_eq!(answer.unwrap().as_ref(), Some(&message));
        // In the first rounds runtimes and streams learn.
        if round >= 4 {
            for made in [asks, answers] {
                assert_eq!(made.writes, 1, "{made:?}");
                assert!((1..=2).contains(&made.reads), "{made:?}");
            }
        }
    }
    client.abort();
}

/// How many messages are under way.
const MANY: usize = 64;

async fn together<S: ByteStream + Extra>(calls: &SystemCalls, pair: (S, S)) {
    let (mut client, mut server) = over(pair);
    let message = Bytes::from(vec![7; 64]);
    for round in 0..8 {
        let (mut asks, mut answers) = (Made::default(), Made::default());
        counted(calls, &mut asks, async {
            let (sender, _) = client.split();
            for _ in 0..MANY {
                sender.feed(&message).await.unwrap();
            }
            sender.flush().await.unwrap();
        })
        .await;
        counted(calls, &mut answers, async {
            let (sender, receiver) = server.split();
            use bowline::transport::TransportRecv;
            for _ in 0..MANY {
                let asked = receiver.recv().await.unwrap().expect("a message");
                sender.feed(&asked).await.unwrap();
            }
            sender.flush().await.unwrap();
        })
        .await;
        counted(calls, &mut asks, async {
            for _ in 0..MANY {
                client.recv().await.unwrap().expect("a message");
            }
        })
        .await;
        if round >= 4 {
            for made in [asks, answers] {
                // A receiver lets others run after some messages, and writes before it waits.
                assert!(made.writes * 20 <= MANY, "{made:?}");
                assert!(made.reads <= 3, "{made:?}");
            }
        }
    }
    client.abort();
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let near = TcpStream::connect(address).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

fn on_every_backend(test: impl AsyncFn(&SystemCalls)) {
    let calls = match SystemCalls::of_this_thread() {
        Ok(calls) => calls,
        Err(error) => return eprintln!("not checked, for system calls are not counted: {error}"),
    };
    for backend in [Backend::Tokio, Backend::Smol, Backend::AsyncStd] {
        let options = RunOptions::default().threads(Threads::One);
        backend.block_on_with(options, test(&calls));
    }
}

// SV6
#[test]
fn an_echo_is_one_write_and_at_most_two_reads_on_each_side() {
    on_every_backend(async |calls| {
        for size in [0, 64, 1000] {
            one_by_one(calls, tcp().await, size).await;
            one_by_one(calls, UnixStream::pair().unwrap(), size).await;
        }
    });
}

// SV6
#[test]
fn messages_on_their_way_together_share_their_calls() {
    on_every_backend(async |calls| {
        together(calls, tcp().await).await;
        together(calls, UnixStream::pair().unwrap()).await;
    });
}
