//! Small writes that wait for acknowledgements, and acknowledgements that wait for company.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::net::{TcpOptions, TcpStream};
use bowline_sim::{Sim, host};
use echo::{accept, listen, read_some, write_all};
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// More than some round trips of a local network.
const SOON: Duration = Duration::from_millis(8);
const LONGEST: Duration = Duration::from_millis(40);

async fn dial(nodelay: bool) -> io::Result<TcpStream> {
    // A server that does not listen yet refuses.
    host::Sleep::new(1_000_000).await;
    let ip = host::resolve("server", host::Family::V4).await?[0];
    let mut options = TcpOptions::default();
    options.nodelay = nodelay;
    TcpStream::connect(SocketAddr::new(ip, 80), options).await
}

async fn read_exactly(stream: &TcpStream, mut size: usize) -> io::Result<()> {
    while size > 0 {
        let read = read_some(stream, size).await?.len();
        assert_ne!(read, 0, "the peer is there");
        size -= read;
    }
    Ok(())
}

/// Answers each `size` bytes by a byte.
async fn answer(size: usize) -> io::Result<()> {
    let stream = accept(&listen(80)?).await?;
    loop {
        match read_some(&stream, 1).await?.len() {
            0 => return Ok(()),
            read => read_exactly(&stream, size - read).await?,
        }
        write_all(&stream, b"!").await?;
    }
}

/// How long `call` takes with a server that answers each `size` bytes, at least and at most over
/// seeds.
fn takes<F>(
    size: usize,
    call: impl Fn(Arc<Mutex<Duration>>) -> F + Copy + 'static,
) -> RangeInclusive<Duration>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let all = (0..200).map(|seed| {
        let took = Arc::new(Mutex::new(Duration::ZERO));
        let told = Arc::clone(&took);
        Sim::builder()
            .seed(seed)
            .host("server", move || answer(size))
            .client("caller", move || call(Arc::clone(&told)))
            .run()
            .expect("it is answered");
        *took.lock().expect("nobody panics")
    });
    let all: Vec<_> = all.collect();
    *all.iter().min().expect("some")..=*all.iter().max().expect("some")
}

fn since(start: u64) -> Duration {
    Duration::from_nanos(host::now() - start)
}

async fn write_twice_and_read(nodelay: bool, took: Arc<Mutex<Duration>>) -> io::Result<()> {
    let stream = dial(nodelay).await?;
    let start = host::now();
    write_all(&stream, b"a").await?;
    write_all(&stream, b"b").await?;
    read_exactly(&stream, 1).await?;
    *took.lock().expect("nobody panics") = since(start);
    Ok(())
}

#[test]
fn who_writes_twice_and_then_reads_may_wait_for_40_ms() {
    let took = takes(2, |took| write_twice_and_read(false, took));
    assert!(*took.start() < SOON, "{took:?}");
    assert!(*took.end() > LONGEST / 2, "{took:?}");
    assert!(*took.end() < LONGEST + SOON, "{took:?}");
}

#[test]
fn without_nagle_nobody_waits() {
    let took = takes(2, |took| write_twice_and_read(true, took));
    assert!(*took.end() < SOON, "{took:?}");
}

#[test]
fn what_goes_back_acknowledges() {
    let took = takes(1, |took| async move {
        let stream = dial(false).await?;
        let start = host::now();
        for _ in 0..5 {
            write_all(&stream, b"a").await?;
            read_exactly(&stream, 1).await?;
        }
        *took.lock().expect("nobody panics") = since(start);
        Ok(())
    });
    assert!(*took.end() < SOON, "{took:?}");
}

#[test]
fn turning_nagle_off_sends_what_waits() {
    let took = takes(2, |took| async move {
        let stream = dial(false).await?;
        write_all(&stream, b"a").await?;
        write_all(&stream, b"b").await?;
        let start = host::now();
        stream.set_nodelay(true)?;
        read_exactly(&stream, 1).await?;
        *took.lock().expect("nobody panics") = since(start);
        Ok(())
    });
    assert!(*took.end() < SOON, "{took:?}");
}

// Only small segments wait, and only for small ones: else the end of each write would wait.
#[test]
fn the_end_of_a_long_write_does_not_wait() {
    let took = takes(2_000, |took| async move {
        let stream = dial(false).await?;
        let start = host::now();
        let bytes = [7; 2_000];
        let written = std::future::poll_fn(|cx| stream.poll_write(cx, &bytes)).await?;
        if written < bytes.len() {
            // Cut in two by draw: another story.
            return Ok(());
        }
        read_exactly(&stream, 1).await?;
        *took.lock().expect("nobody panics") = since(start);
        Ok(())
    });
    assert!(
        *took.end() < SOON && *took.end() > Duration::ZERO,
        "{took:?}"
    );
}
