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
    0xafb7_ef3c_d3cf_ed51,
    0x7209_89ba_4cbf_f079,
    0x40fd_464f_91db_b5d4,
    0x186d_5de2_bb22_327d,
    0x3b37_6c4e_61a8_caaa,
    0xa006_b0d5_fdb2_0ca6,
    0x7901_a925_b30e_7dbf,
    0x11ae_68d4_a95c_4a5d,
    0x3455_6720_1de8_2681,
    0x3b96_dea8_97f9_5b30,
    0x25b3_162b_0826_1639,
    0x6d8c_9d46_e421_7a13,
    0xd2bd_a63a_fb7d_0840,
    0x216b_a0c7_d144_cc80,
    0x643a_e3c6_8b20_f827,
    0xd065_9509_b2ca_1720,
    0x8a93_e66e_5957_e316,
    0x64d7_a70e_50d8_9aaf,
    0x73b8_5fdd_fcbd_6727,
    0xfb44_dab1_d602_b20c,
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
