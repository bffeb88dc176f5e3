//! The worlds that are measured.

use bowline_sim::host::{self, Sleep, yield_now};
use bowline_sim::net::{TcpListenOptions, TcpListener, TcpOptions, TcpStream};
use bowline_sim::{Builder, Faults, HostLimits, Sim};
use std::future::{pending, poll_fn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// A task that writes into the trace, `notes` times in one poll.
pub(crate) fn notes(notes: u64) -> Builder {
    Sim::builder().client("noting", move || async move {
        for note in 0..notes {
            Sim::note("note", note);
        }
    })
}

async fn call_often(calls: usize, pause: Duration) -> io::Result<()> {
    let stream = dial("server").await?;
    for _ in 0..calls {
        call(&stream).await?;
        if !pause.is_zero() {
            Sleep::new(host::now() + pause.as_nanos() as u64).await;
        }
    }
    Ok(())
}

/// A server and `connections` clients on one host, each with so many calls.
pub(crate) fn echo_of_many(connections: usize, calls: usize) -> Builder {
    echo_with_pauses(connections, calls, Duration::ZERO)
}

/// The same with a pause after each call.
pub(crate) fn echo_with_pauses(connections: usize, calls: usize, pause: Duration) -> Builder {
    Sim::builder()
        .host("server", serve)
        .client("client", move || async move {
            // The server listens by then, whoever else there is to be polled first.
            Sleep::new(SECOND).await;
            let left = Arc::new(AtomicUsize::new(connections));
            for _ in 0..connections {
                let left = Arc::clone(&left);
                host::spawn(async move {
                    call_often(calls, pause).await.expect("the server answers");
                    left.fetch_sub(1, Ordering::Relaxed);
                });
            }
            while left.load(Ordering::Relaxed) > 0 {
                Sleep::new(host::now() + 10 * MILLISECOND).await;
            }
        })
}

/// The same beside so many hosts that do nothing.
pub(crate) fn echo_beside(idle: usize, connections: usize, calls: usize) -> Builder {
    (0..idle).fold(echo_of_many(connections, calls), |world, index| {
        world.host(&format!("idle-{index}"), pending::<()>)
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

/// Hosts that wait for ever.
pub(crate) fn idle_hosts(count: usize) -> Builder {
    let idle = || Sleep::new(1_000_000 * SECOND);
    (0..count).fold(Sim::builder(), |world, index| {
        world.client(&format!("host-{index}"), idle)
    })
}

/// Connections over which nothing goes, from hosts that have at most 20 000 each to one host.
pub(crate) fn idle_connections(count: usize) -> Builder {
    const EACH: usize = 20_000;
    let mut limits = HostLimits::default();
    limits.descriptors = count + 1;
    let server = Sim::builder()
        .host("server", || async {
            let listener = listen(80)?;
            let mut held = Vec::new();
            loop {
                held.push(accept(&listener).await?);
            }
            #[allow(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), io::Error>(())
        })
        .limits("server", limits);
    (0..count.div_ceil(EACH)).fold(server, |world, index| {
        let name = format!("client-{index}");
        let connections = EACH.min(count - index * EACH);
        let world = world.client(&name, move || async move {
            let mut held = Vec::new();
            for _ in 0..connections {
                held.push(dial("server").await?);
            }
            Sleep::new(1_000_000 * SECOND).await;
            Ok::<(), io::Error>(())
        });
        world.limits(&name, limits)
    })
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
