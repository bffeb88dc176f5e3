//! Hosts that are killed: their kernel cleans up, and their programs do nothing any more.

#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/datagrams.rs"]
mod datagrams;
#[allow(dead_code, reason = "each test file uses a part of it")]
#[path = "scenario/echo.rs"]
mod echo;

use bowline_sim::host::{self, Signal, Sleep};
use bowline_sim::net::{
    TcpStream, UnixAddress, UnixDatagram, UnixListenOptions, UnixListener, UnixOptions, UnixStream,
};
use bowline_sim::{Crash, Keep, Sim, World};
use datagrams::{bind, recv};
use echo::{accept, dial, listen, read_to_end, write_all};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

const SECOND: u64 = 1_000_000_000;

fn at(path: &str) -> UnixAddress {
    UnixAddress::Path(path.into())
}

/// Binds a path for a stream, a listener and a datagram socket, which a program that goes on or
/// ends by itself would unlink, and waits.
async fn bind_paths() -> io::Result<()> {
    let mut options = UnixListenOptions::default();
    options.unlink_at_close = true;
    let _listener = UnixListener::bind(&at("/listener"), options)?;
    let full = UnixListener::bind(&at("/full"), {
        let mut options = UnixListenOptions::default();
        options.backlog = 0;
        options
    })?;
    let mut options = UnixOptions::default();
    options.unlink_at_close = true;
    let _datagram = UnixDatagram::bind(at("/datagram"), options)?;
    let _first = UnixStream::connect(at("/full"), UnixOptions::default()).await?;
    let mut options = UnixOptions::default();
    options.local = Some(at("/stream"));
    let waits = UnixStream::connect(at("/full"), options);
    waits.await?;
    drop(full);
    Ok(())
}

/// The paths that the second life of a host finds, whose first one ended so.
fn paths_after(end: impl Fn(&mut World) + 'static) -> Vec<&'static str> {
    let found = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let finds = std::sync::Arc::clone(&found);
    let world = Sim::builder()
        .client("client", || Sleep::new(4 * SECOND))
        .host("server", move || {
            let finds = std::sync::Arc::clone(&finds);
            async move {
                if host::now() < SECOND {
                    return bind_paths().await;
                }
                for path in ["/listener", "/datagram", "/stream", "/full"] {
                    if host::file(path).is_ok() {
                        finds.lock().expect("not poisoned").push(path);
                    }
                }
                Ok(())
            }
        })
        .at(Duration::from_secs(1), end)
        .at(Duration::from_secs(2), |world| world.restart("server"));
    world.run().unwrap_or_else(|failure| panic!("{failure}"));
    let found = found.lock().expect("not poisoned");
    found.clone()
}

// SIM41, SIM42
#[test]
fn a_killed_host_leaves_its_paths() {
    let all = ["/listener", "/datagram", "/stream", "/full"];
    assert_eq!(paths_after(|world| world.crash("server", Crash::Kill)), all);
    assert_eq!(
        paths_after(|world| world.crash("server", Crash::PowerLoss)),
        all
    );
    assert_eq!(
        paths_after(|world| world.signal("server", Signal::Interrupt)),
        all
    );
    assert_eq!(paths_after(|_| ()), all);
}

/// Says goodbye in its destructor.
struct Farewell {
    stream: TcpStream,
    to: SocketAddr,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        Sim::note("dropped", 0);
        let mut cx = Context::from_waker(Waker::noop());
        let _ = self.stream.poll_write(&mut cx, b"farewell");
        if let Ok(socket) = bind("0.0.0.0:0") {
            let _ = socket.poll_send_to(&mut cx, b"farewell", self.to);
        }
        let _ = host::create_file("/farewell");
        host::spawn(async { Sim::note("afterlife", 0) });
        assert!(pin!(Sleep::new(host::now() + 1)).poll(&mut cx).is_pending());
    }
}

// SIM41, SIM48
#[test]
fn destructors_of_a_killed_host_reach_nobody() {
    for seed in 0..20 {
        let world = Sim::builder()
            .seed(seed)
            .host("server", || async {
                let stream = accept(&listen(80)?).await?;
                let client = host::resolve("client", host::Family::V4).await?[0];
                write_all(&stream, b"hello").await?;
                let to = SocketAddr::new(client, 53);
                let _farewell = Farewell { stream, to };
                Sleep::new(Sleep::NEVER).await;
                Ok::<(), io::Error>(())
            })
            .client("client", || async {
                let socket = bind("0.0.0.0:53")?;
                host::spawn(async move {
                    let mut quiet = pin!(recv(&socket));
                    let mut over = pin!(Sleep::new(3 * SECOND));
                    std::future::poll_fn(|cx| {
                        assert!(quiet.as_mut().poll(cx).is_pending());
                        over.as_mut().poll(cx)
                    })
                    .await;
                });
                let stream = dial("server", 80).await?;
                // The kernel closes: the end comes, and nothing before it.
                assert_eq!(read_to_end(&stream).await?, b"hello");
                Sim::note("end", host::now());
                Ok::<(), io::Error>(())
            })
            .at(Duration::from_secs(1), |world| {
                world.crash("server", Crash::Kill);
            })
            .trace(Keep::Full);
        let report = world.run().unwrap_or_else(|failure| panic!("{failure}"));
        let notes = report.trace().iter().map(|line| *line.event());
        let notes = notes.filter(|event| event.kind() == bowline_sim::EventKind::Note);
        let notes: Vec<_> = notes
            .map(|event| (event.label(), event.values().0))
            .collect();
        assert_eq!(notes[0], ("dropped", 0));
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert_eq!(notes[1].0, "end");
        assert!(
            (SECOND..SECOND + SECOND / 10).contains(&notes[1].1),
            "{notes:?}"
        );
    }
}
