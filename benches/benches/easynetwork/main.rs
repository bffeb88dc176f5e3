//! EasyNetwork's scenario: ten clients, messages of 1 and 10 KiB, each sent when the last one is back. Its
//! server on uvloop and ours, on one CPU each, with the same clients on another, in alternating rounds.
//!
//! `cargo xtask bench easynetwork` makes the Python environment that `EASYNETWORK_PYTHON` names.

use std::process::Command;
use std::time::{Duration, Instant};

use bowline::backend::Backend;
use bowline::backend::task::{RunOptions, Threads};
use bowline::codec::{Lines, Text};
use bowline::concurrency::{AnyError, Root, timeout};
use bowline::transport::{
    CertStore, DatagramTransport, Error, MessageStream, PacketPeer, Peer, Server, TcpConnector,
    TlsClientConfig, TlsServerConfig, Transport,
};
use bowline_benches::rounds::median;
use bowline_benches::server_process::{self, ServerProcess, say_port};
use bowline_benches::{certificates, cpus};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

const ROUNDS: usize = 5;
const CLIENTS: usize = 10;
/// Messages of each client in a round.
const MESSAGES: usize = 1_000;
/// A packet that is not back by then is lost.
const LOST: Duration = Duration::from_millis(200);
const TRANSPORTS: [&str; 3] = ["tcp", "tls", "udp"];
const SIZES: [usize; 2] = [1_024, 10 * 1_024];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["--serve", transport, cpu] = arguments[1..] {
        cpus::stay_on(cpu.parse().expect("a number"));
        server_process::answer_questions();
        serve(transport).expect("it serves for ever");
        return;
    }
    let python = std::env::var("EASYNETWORK_PYTHON");
    let python = python.expect("`cargo xtask bench easynetwork` says which Python");
    let server_cpu = cpus::take_one_of_two().to_string();
    certificates::make();
    println!("<!-- bench:easynetwork -->");
    println!(
        "| messages/s, 10 clients | EasyNetwork on uvloop | bowline | times as many | target |"
    );
    println!("|---|---|---|---|---|");
    for transport in TRANSPORTS {
        for size in SIZES {
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                let script = concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/benches/easynetwork/echo_server.py"
                );
                let mut server = Command::new(&python);
                theirs.push(measure(
                    &ServerProcess::of(server.args([script, transport, &server_cpu])),
                    transport,
                    size,
                ));
                let server = ServerProcess::start(&["--serve", transport, &server_cpu]);
                ours.push(measure(&server, transport, size));
            }
            let (theirs, ours) = (median(&theirs), median(&ours));
            println!(
                "| {transport}, {} KiB | {theirs:.0} | {ours:.0} | {:.1} | >= 5 |",
                size / 1_024,
                ours / theirs,
            );
        }
    }
    println!("<!-- /bench:easynetwork -->");
}

fn root() -> Root {
    let options = RunOptions::default().threads(Threads::One);
    Root::new().backend(Backend::Tokio).options(options)
}

fn serve(transport: &str) -> Result<(), AnyError> {
    root().block_on(async {
        if transport == "udp" {
            let any = "127.0.0.1:0".parse::<std::net::SocketAddr>()?;
            let server = Server::udp(any).codec(Text::new).bind().await?;
            say_port(server.local_addrs()[0].as_inet().expect("UDP").port());
            let answer = |peer: PacketPeer<_, _>, line| async move { peer.send(&line).await };
            return Ok(server.serve_each(answer).await?);
        }
        let server = Server::tcp(("127.0.0.1", 0)).codec(|| Lines::lf().text());
        if transport == "tls" {
            let store = CertStore::new(&certificates::certificate(), &certificates::key())?;
            let config = TlsServerConfig::builder(&store).build()?;
            let server = server.tls(config).bind().await?;
            say_port(server.local_addrs()[0].as_inet().expect("TCP").port());
            let answer = |peer: Peer<_>, line| async move { peer.send(&line).await };
            Ok(server.serve_each(answer).await?)
        } else {
            let server = server.bind().await?;
            say_port(server.local_addrs()[0].as_inet().expect("TCP").port());
            let answer = |peer: Peer<_>, line| async move { peer.send(&line).await };
            Ok(server.serve_each(answer).await?)
        }
    })
}

/// Messages per second, after some to warm up.
fn measure(server: &ServerProcess, transport: &str, size: usize) -> f64 {
    let asked = root().block_on(async {
        ask_all(server.port(), transport, size, MESSAGES / 10).await?;
        ask_all(server.port(), transport, size, MESSAGES).await
    });
    let took = asked.expect("every message comes back");
    (CLIENTS * MESSAGES) as f64 / took.as_secs_f64()
}

async fn ask_all(
    port: u16,
    transport: &str,
    size: usize,
    messages: usize,
) -> Result<Duration, AnyError> {
    let mut clients: Vec<BoxFuture<'_, Result<(), Error>>> = Vec::new();
    for _ in 0..CLIENTS {
        if transport == "udp" {
            let to = ([127, 0, 0, 1], port).into();
            let server = DatagramTransport::udp(to, Text::new())?;
            clients.push(ask(server, size, messages).boxed());
            continue;
        }
        let stream = TcpConnector::new(("127.0.0.1", port)).connect().await?;
        clients.push(if transport == "tls" {
            let tls = TlsClientConfig::builder().root_pem(certificates::certificate());
            let stream = tls.build()?.handshake(stream, certificates::NAME)?.await?;
            ask(
                MessageStream::new(stream, Lines::lf().text()),
                size,
                messages,
            )
            .boxed()
        } else {
            ask(
                MessageStream::new(stream, Lines::lf().text()),
                size,
                messages,
            )
            .boxed()
        });
    }
    let start = Instant::now();
    for asked in join_all(clients).await {
        asked?;
    }
    Ok(start.elapsed())
}

async fn ask<T>(mut server: T, size: usize, messages: usize) -> Result<(), Error>
where
    T: Transport<Sent = String, Received = String>,
{
    let message = "x".repeat(size);
    for _ in 0..messages {
        // A packet may be lost where a receive buffer is full; then it is sent once more.
        let answer = loop {
            server.send(&message).await?;
            if let Ok(answer) = timeout(LOST, server.recv()).await {
                break answer?;
            }
        };
        assert_eq!(answer.map(|answer| answer.len()), Some(size));
    }
    server.close().await
}
