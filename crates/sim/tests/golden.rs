//! Hashes that do not change unawares, of worlds with all there is: loss, datagrams, Unix sockets,
//! blocking jobs, names, crashes and other drawn faults.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Sleep};
use bowline_sim::net::{UdpOptions, UdpSocket, UnixStream};
use bowline_sim::{Builder, Faults, Link, Report, Sim};
use datagrams::{bind, recv, send, send_to};
use echo::{accept, dial, listen, read_some, write_all};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

/// Answers over TCP and with datagrams.
async fn serve() -> io::Result<()> {
    let listener = listen(80)?;
    host::spawn(async move {
        while let Ok(stream) = accept(&listener).await {
            host::spawn(async move {
                while let Ok(bytes) = read_some(&stream, 512).await {
                    if bytes.is_empty() || write_all(&stream, &bytes).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let socket = bind("0.0.0.0:53")?;
    loop {
        // A client that is gone is no matter.
        if let Ok(datagram) = recv(&socket).await {
            let _ = send_to(&socket, &datagram.payload, datagram.from).await;
        }
    }
}

/// What a future comes to within five seconds of this host.
async fn soon<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut future = pin!(future);
    let mut over = Box::pin(Sleep::new(host::now() + 5 * SECOND));
    poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        let over = over.as_mut().poll(cx);
        over.map(|()| Err(ErrorKind::TimedOut.into()))
    })
    .await
}

async fn call() -> io::Result<()> {
    let stream = dial("server", 80).await?;
    let mut payload = [0; 8];
    host::fill(&mut payload);
    write_all(&stream, &payload).await?;
    let mut echoed = Vec::new();
    while echoed.len() < payload.len() {
        let part = read_some(&stream, 512).await?;
        if part.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        echoed.extend(part);
    }
    assert_eq!(echoed, payload);
    Ok(())
}

async fn ask(number: u64) -> io::Result<()> {
    let server = host::resolve("server", host::Family::V4).await?[0];
    let socket = UdpSocket::connect(SocketAddr::new(server, 53), UdpOptions::default())?;
    send(&socket, &number.to_le_bytes()).await?;
    let answer = recv(&socket).await?;
    assert_eq!(answer.payload[..], number.to_le_bytes());
    Ok(())
}

async fn talk_to_itself() -> io::Result<()> {
    let (one, other) = UnixStream::pair()?;
    host::spawn(async move {
        let _ = poll_fn(|cx| one.poll_write(cx, b"over a Unix socket")).await;
    });
    let mut buffer = [0; 64];
    poll_fn(|cx| other.poll_read(cx, &mut buffer)).await?;
    host::spawn_blocking(Box::new(|| Sim::note("job", host::random_u64() % 100)));
    Ok(())
}

async fn persist() {
    for number in 0..8 {
        while soon(call()).await.is_err() || soon(ask(number)).await.is_err() {
            Sleep::new(host::now() + SECOND / 10).await;
        }
        soon(talk_to_itself()).await.expect("it needs nobody");
        Sleep::new(host::now() + SECOND).await;
    }
}

fn world(seed: u64) -> Builder {
    let latency = Duration::from_millis(1)..Duration::from_millis(20);
    let link = Link::lan().latency(latency).loss(0.02).duplication(0.05);
    Sim::builder()
        .seed(seed)
        .default_link(link)
        .link("a", "server", Link::wan().bandwidth(100_000))
        .faults(Faults::swarm())
        .heal_at(Duration::from_secs(15))
        .host("server", serve)
        .client("a", persist)
        .client("b", persist)
}

fn run(seed: u64) -> Report {
    let report = world(seed).run();
    report.unwrap_or_else(|failure| panic!("{failure}"))
}

/// Hashes of seeds 0 to 19. They change only with the model, and on purpose.
const GOLDEN: [u64; 20] = [
    0xf7b3_5688_52f1_3f71,
    0x0a38_616d_34ea_36be,
    0xb6ba_098d_ab2d_139b,
    0x5fc6_1d55_0f19_d866,
    0xedd4_3517_4ebb_5b87,
    0xab66_f35e_96f5_04cf,
    0x5324_8797_3dff_57f7,
    0x7a18_4c5d_a502_e69e,
    0x0e8d_442c_78d0_50c3,
    0x270f_042c_9083_78bd,
    0xf428_4d62_f63c_5dd9,
    0xea27_f30b_95c0_11ee,
    0x8afb_ca99_3734_6376,
    0xf57c_7fc6_de01_eeaf,
    0x20e4_a3a0_4991_a0e2,
    0xeb4f_186d_875d_546c,
    0x76da_b45e_23e1_6d24,
    0xca03_0695_3e06_6cab,
    0x3dc0_c809_b6a3_d6db,
    0x8dba_8243_83dc_675b,
];

// SIM1, SIM7
#[test]
fn golden_hashes_of_worlds_with_everything() {
    let reports: Vec<Report> = (0..20).map(run).collect();
    let hashes: Vec<u64> = reports.iter().map(|report| report.trace_hash).collect();
    assert_eq!(
        hashes, GOLDEN,
        "the trace changed: if it was meant to, take {hashes:#018x?}"
    );
    let kinds = reports
        .iter()
        .flat_map(|report| report.faults_by_kind.keys());
    let kinds: BTreeSet<_> = kinds.collect();
    assert!(kinds.len() > 15, "{kinds:?}");
    assert!(reports.iter().map(|report| report.lost).sum::<u64>() > 20);
    assert!(reports.iter().map(|report| report.datagrams).sum::<u64>() > 300);
    assert!(reports.iter().any(|report| report.crashes > 0));
}
