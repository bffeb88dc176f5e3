//! A rolling restart: three hosts of a service are restarted one after another under clients that
//! must not notice, under 50 seeds.
//!
//! A host that is told to stop accepts nothing more, finishes the requests at hand and ends; the world
//! starts it again a little later. A client that finds nobody, or whose connection ends before the
//! answer, goes to the next host. `sometimes!` makes sure that this happens at all.
//!
//! `cargo run -p bowline --example rolling_restart --all-features`

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bowline::Error;
use bowline::backend::net::{Family, Query, TcpListener, TcpStream, resolve};
use bowline::backend::signal::{Signal, listen};
use bowline::backend::stream::ByteStreamExt;
use bowline::channel::select_biased;
use bowline::concurrency::{TaskGroup, sleep, task_group, timeout};
use bytes::BytesMut;

const NODES: [&str; 3] = ["node-0", "node-1", "node-2"];
const REQUEST: &[u8; 4] = b"work";
const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");
/// What a request takes at the server.
const WORK: Duration = Duration::from_millis(30);
/// What a client gives one host.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves until it is told to stop, and returns when the requests at hand are answered.
async fn serve() -> Result<(), Error> {
    let mut stop = listen(Signal::Terminate)?;
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 80)))?;
    task_group(|connections: TaskGroup<Error>| async move {
        loop {
            select_biased! {
                told = stop.recv() => {
                    told?;
                    return Ok(()); // the group waits for the connections
                },
                accepted = listener.accept() => {
                    let (stream, _) = accepted?;
                    connections.spawn_ok(async move {
                        // A client that goes away ends its own request only.
                        let _ = answer(stream).await;
                    });
                },
            }
        }
    })
    .await?;
    Ok(())
}

/// One request and its answer.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut request = BytesMut::new();
    while request.len() < REQUEST.len() {
        if stream.read_into(&mut request, MOST).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    sleep(WORK).await;
    stream.write_all(b"done").await?;
    stream.shutdown().await
}

async fn ask(node: &str) -> io::Result<()> {
    let query = Query::host(node, 80).family(Family::V4);
    let address = resolve(query).await.map_err(io::Error::other)?[0];
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(REQUEST).await?;
    let mut reply = BytesMut::new();
    while stream.read_into(&mut reply, MOST).await? > 0 {}
    match &reply[..] {
        b"done" => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Asks for ten seconds, each time another host first. `answered` hears how many hosts it took.
async fn client(number: usize, answered: impl Fn(usize)) -> Result<(), Error> {
    for request in 0..100 {
        let mut tried = 0;
        let mut done = false;
        while !done && tried < NODES.len() {
            let node = NODES[(number + request + tried) % NODES.len()];
            done = matches!(timeout(PATIENCE, ask(node)).await, Ok(Ok(())));
            tried += 1;
        }
        if !done {
            return Err(format!("request {request}: no host answered").into());
        }
        answered(tried);
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    simulated::run()
}

#[cfg(not(feature = "sim"))]
mod simulated {
    pub(crate) fn run() -> Result<(), bowline::Error> {
        let _ = (super::serve(), super::client(0, |_| ()));
        Err("build with `--all-features` for the simulator".into())
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use super::{Error, NODES, client, serve};
    use bowline::sim::host::Signal;
    use bowline::sim::{Builder, Sim, sometimes};
    use std::time::Duration;

    /// Each host is told to stop two seconds after the one before, and started again a second
    /// later.
    fn world() -> Builder {
        let mut world = Sim::builder();
        for node in NODES {
            world = world.host(node, serve).host_must_not_fail(node);
        }
        for number in 0..4 {
            let answered = |tried| sometimes!("another host answered", tried > 1);
            // The hosts listen by then.
            world = world.client(&format!("client-{number}"), move || async move {
                bowline::concurrency::sleep(Duration::from_millis(100)).await;
                client(number, answered).await
            });
        }
        for (node, second) in NODES.into_iter().zip([2, 4, 6]) {
            world = world
                .at(Duration::from_secs(second), move |world| {
                    world.signal(node, Signal::Terminate);
                })
                .at(Duration::from_secs(second + 1), move |world| {
                    let stats = world.stats(node).expect("it is a host");
                    assert!(!stats.running, "{node} had the time to finish");
                    world.restart(node);
                });
        }
        world
    }

    pub(crate) fn run() -> Result<(), Error> {
        let report = Sim::seeds(0..50).run(|_| world())?;
        println!(
            "{} seeds: three hosts restarted, every request answered",
            report.seeds
        );
        Ok(())
    }
}
