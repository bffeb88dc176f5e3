//! A partition: what a client does whose server is cut off for half a minute, under 100 seeds.
//!
//! TCP tells nobody of a partition: a connection waits for a quarter of an hour before it gives up.
//! So the client gives each ping two seconds, and connects anew when one is not answered. The world
//! cuts the link at 10 s and heals it at 40 s; whatever the seed draws, the client must notice within
//! its own patience, and be back soon after the heal.
//!
//! `cargo run -p bowline --example partition --all-features`

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bowline::Error;
use bowline::backend::net::{Family, Query, TcpListener, TcpStream, resolve};
use bowline::backend::stream::ByteStreamExt;
use bowline::backend::time::{now, sleep_until};
use bowline::concurrency::timeout;
use bytes::BytesMut;

const PATIENCE: Duration = Duration::from_secs(2);
const PING: &[u8] = b"ping";
const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// Sends back what comes, one connection after another and side by side.
async fn serve() -> io::Result<()> {
    let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 80)))?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        bowline::backend::task::spawn_detached(async move {
            let mut bytes = BytesMut::new();
            while let Ok(1..) = stream.read_into(&mut bytes, MOST).await {
                let echoed = bytes.split();
                if stream.write_all(&echoed).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn connect() -> io::Result<TcpStream> {
    let query = Query::host("server", 80).family(Family::V4);
    let found = resolve(query).await.map_err(io::Error::other)?;
    TcpStream::connect(found[0]).await
}

async fn ping(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(PING).await?;
    let mut answer = BytesMut::new();
    while answer.len() < PING.len() {
        if stream.read_into(&mut answer, MOST).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Pings every second for a minute, and says when it lost the server and had it back.
async fn watch(mut changed: impl FnMut(Duration, bool)) -> io::Result<()> {
    let start = now();
    let mut connection = None;
    let mut was_up = false;
    while now() - start < Duration::from_secs(60) {
        let attempt = async {
            let mut stream = match connection.take() {
                Some(stream) => stream,
                None => connect().await?,
            };
            ping(&mut stream).await?;
            Ok::<_, io::Error>(stream)
        };
        // An attempt that is given up drops its connection, and the answer that may still come.
        connection = timeout(PATIENCE, attempt).await.ok().and_then(Result::ok);
        if connection.is_some() != was_up {
            was_up = !was_up;
            changed(now() - start, was_up);
        }
        sleep_until(now() + Duration::from_secs(1)).await;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    simulated::run()
}

#[cfg(not(feature = "sim"))]
mod simulated {
    pub(crate) fn run() -> Result<(), bowline::Error> {
        let _ = (super::serve(), super::watch(|_, _| ()));
        Err("build with `--all-features` for the simulator".into())
    }
}

#[cfg(feature = "sim")]
mod simulated {
    use super::{Error, serve, watch};
    use bowline::sim::{Link, Sim, World};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    type Changes = Vec<(Duration, bool)>;

    fn run_seed(seed: u64) -> Result<Changes, Error> {
        let changes = Arc::new(Mutex::new(Changes::new()));
        let seen = Arc::clone(&changes);
        Sim::builder()
            .seed(seed)
            .host("server", serve)
            .client("client", move || {
                let seen = Arc::clone(&seen);
                watch(move |time, up| seen.lock().expect("not poisoned").push((time, up)))
            })
            .link("client", "server", Link::wan())
            .at(Duration::from_secs(10), |world| {
                world.partition(&["client"], &["server"]);
            })
            .at(Duration::from_secs(40), World::heal)
            .run()?;
        let changes = std::mem::take(&mut *changes.lock().expect("not poisoned"));
        Ok(changes)
    }

    pub(crate) fn run() -> Result<(), Error> {
        let seconds = Duration::from_secs;
        for seed in 0..100 {
            let changes = run_seed(seed)?;
            if seed == 0 {
                for (time, up) in &changes {
                    println!("{time:>12.3?} {}", if *up { "up" } else { "down" });
                }
            }
            let [up, down, again] = changes[..] else {
                return Err(format!("seed {seed}: one outage, not {changes:?}").into());
            };
            assert!(up.1 && !down.1 && again.1);
            // One ping a second, two seconds for each.
            assert!(down.0 > seconds(10) && down.0 < seconds(14), "{down:?}");
            // A new attempt every three seconds.
            assert!(again.0 > seconds(40) && again.0 < seconds(44), "{again:?}");
        }
        println!("100 seeds: lost within 4 s of the cut, back within 4 s of the heal");
        Ok(())
    }
}
