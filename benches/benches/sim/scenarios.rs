//! The worlds that are measured.

use bowline_sim::host::{self, Sleep, yield_now};
use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_sim::{Builder, Faults, HostLimits, Sim};
use std::future::{pending, poll_fn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLISECOND;

fn listen(port: u16) -> io::Result<TcpListener> {
    let any = SocketAddr::from(([0, 0, 0, 0], port));
    TcpListener::bind(any, TcpListenOptions::default())
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    Ok(poll_fn(|cx| listener.poll_accept(cx)).await?.0)
}

async fn dial(name: &str) -> io::Result<TcpStream> {
    let ip = host::resolve(name, host::Family::V4).await?[0];
    let mut options = TcpOptions::default();
    options.nodelay = true;
    TcpStream::connect(SocketAddr::new(ip, 80), options).await
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| stream.poll_write(cx, bytes)).await?;
        bytes = &bytes[written..];
    }
    Ok(())
}

async fn read_exact(stream: &TcpStream, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        match poll_fn(|cx| stream.poll_read(cx, buffer)).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            read => buffer = &mut buffer[read..],
        }
    }
    Ok(())
}

async fn echo(stream: TcpStream) {
    let mut buffer = [0; 64];
    while read_exact(&stream, &mut buffer).await.is_ok()
        && write_all(&stream, &buffer).await.is_ok()
    {}
}

async fn serve() -> io::Result<()> {
    let listener = listen(80)?;
    loop {
        let stream = accept(&listener).await?;
        host::spawn(echo(stream));
    }
}

async fn call(stream: &TcpStream) -> io::Result<()> {
    write_all(stream, &[7; 64]).await?;
    read_exact(stream, &mut [0; 64]).await
}

/// Ten tasks that yield, `polls` times in all; a timer fires now and then.
pub(crate) fn trivial(polls: usize) -> Builder {
    Sim::builder().client("busy", move || async move {
        for _ in 0..9 {
            host::spawn(async move {
                for _ in 0..polls / 10 {
                    yield_now().await;
                }
            });
        }
        for _ in 0..polls / 1_000 {
            for _ in 0..100 {
                yield_now().await;
            }
            Sleep::new(host::now() + 1).await;
        }
    })
}

/// A server and `connections` clients on one host, each with so many calls.
pub(crate) fn echo_of_many(connections: usize, calls: usize) -> Builder {
    Sim::builder()
        .host("server", serve)
        .client("client", move || async move {
            for _ in 1..connections {
                host::spawn(async move {
                    let stream = dial("server").await.expect("the server listens");
                    for _ in 0..calls {
                        call(&stream).await.expect("the server answers");
                    }
                });
            }
            let stream = dial("server").await?;
            for _ in 0..calls {
                call(&stream).await?;
            }
            Ok::<(), io::Error>(())
        })
}

/// Three hosts that do nothing.
pub(crate) fn small() -> Builder {
    Sim::builder()
        .host("server", pending::<()>)
        .client("a", pending::<()>)
        .client("b", pending::<()>)
}

async fn within<T>(span: u64, future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let mut future = pin!(future);
    let mut over = pin!(Sleep::new(host::now() + span));
    poll_fn(|cx| {
        if let Poll::Ready(done) = future.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        over.as_mut()
            .poll(cx)
            .map(|()| Err(ErrorKind::TimedOut.into()))
    })
    .await
}

/// Three hosts, two of which call the third for a second of virtual time, through all faults.
pub(crate) fn faulty() -> Builder {
    let caller = || async {
        while host::now() < SECOND {
            let calls = within(SECOND / 4, async {
                let stream = dial("server").await?;
                loop {
                    call(&stream).await?;
                    Sleep::new(host::now() + 10 * MILLISECOND).await;
                    if host::now() >= SECOND {
                        return Ok(());
                    }
                }
            });
            if calls.await.is_err() {
                Sleep::new(host::now() + 10 * MILLISECOND).await;
            }
        }
    };
    Sim::builder()
        .host("server", serve)
        .client("a", caller)
        .client("b", caller)
        .faults(Faults::swarm())
        .heal_at(Duration::from_secs(1))
}

/// Hosts that call their neighbours in turn, 100 times a second in all, for so many seconds.
pub(crate) fn cluster(hosts: usize, seconds: u64) -> Builder {
    let gap = SECOND * hosts as u64 / 100;
    let name = |index: usize| format!("node-{index}");
    (0..hosts).fold(Sim::builder(), |world, index| {
        let next = name((index + 1) % hosts);
        world.client(&name(index), move || {
            let next = next.clone();
            async move {
                host::spawn(async {
                    serve().await.expect("it accepts");
                });
                let stream = loop {
                    // The neighbour may not listen yet.
                    match dial(&next).await {
                        Ok(stream) => break stream,
                        Err(_) => Sleep::new(host::now() + MILLISECOND).await,
                    }
                };
                while host::now() < seconds * SECOND {
                    // A neighbour that was done first is gone.
                    if call(&stream).await.is_err() {
                        break;
                    }
                    Sleep::new(host::now() + gap).await;
                }
            }
        })
    })
}

/// Hosts that wait for ever.
pub(crate) fn idle_hosts(count: usize) -> Builder {
    let idle = || Sleep::new(1_000_000 * SECOND);
    (0..count).fold(Sim::builder(), |world, index| {
        world.client(&format!("host-{index}"), idle)
    })
}

/// Connections over which nothing goes, from one host to another.
pub(crate) fn idle_connections(count: usize) -> Builder {
    let mut limits = HostLimits::default();
    limits.descriptors = count + 1;
    Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            let mut held = Vec::new();
            loop {
                held.push(accept(&listener).await?);
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .limits("server", limits)
        .client("client", move || async move {
            let mut held = Vec::new();
            for _ in 0..count {
                held.push(dial("server").await?);
            }
            Sleep::new(1_000_000 * SECOND).await;
            Ok::<(), io::Error>(())
        })
        .limits("client", limits)
}

/// Tasks that wait for ever.
pub(crate) fn idle_tasks(count: usize) -> Builder {
    Sim::builder().client("client", move || async move {
        for _ in 0..count {
            host::spawn(pending());
        }
        Sleep::new(1_000_000 * SECOND).await;
    })
}
