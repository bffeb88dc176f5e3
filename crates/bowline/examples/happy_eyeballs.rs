//! Happy eyeballs (RFC 8305): connects to a host of many addresses, some of which do not answer.
//!
//! Each attempt gives those before it a head start; one that fails ends its head start at once.
//! The first connection wins, and `race` drops the other attempts before it returns, so no socket
//! is left over. If all fail, all errors are there.
//!
//! `cargo run -p bowline --example happy_eyeballs --all-features` shows it in the simulator, where a
//! head start is exactly 250 ms and costs no time; `-- HOST PORT` connects to a real one.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bowline::Error;
use bowline::backend::net::{Query, TcpStream, resolve};
use bowline::backend::stream::ByteStream;
use bowline::concurrency::{GroupError, Root, race, sync::Event, timeout};

const HEAD_START: Duration = Duration::from_millis(250);

async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, GroupError<io::Error>> {
    let failed: Vec<Event> = addresses.iter().map(|_| Event::new()).collect();
    let attempts = addresses.iter().enumerate().map(|(n, address)| {
        let failed = &failed;
        async move {
            for earlier in &failed[..n] {
                let _ = timeout(HEAD_START, earlier.wait()).await;
            }
            let attempt = TcpStream::connect(*address).await;
            attempt.inspect_err(|_| failed[n].set())
        }
    });
    race(attempts).await
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments[..] {
        [host, port] => Root::new().block_on(real(host, port.parse()?)),
        _ => simulated::run(),
    }
}

async fn real(host: &str, port: u16) -> Result<(), Error> {
    let addresses = resolve(Query::host(host, port)).await?;
    println!("{host} has {addresses:?}");
    println!("connected to {}", connect(&addresses).await?.peer_addr()?);
    Ok(())
}

#[cfg(not(feature = "sim"))]
mod simulated {
    pub(crate) fn run() -> Result<(), bowline::Error> {
        Err("give a host and a port, or build with `--all-features` for the simulator".into())
    }
}

/// Three addresses: a far one that takes ten seconds, one that refuses, one that is near.
#[cfg(feature = "sim")]
mod simulated {
    use super::{ByteStream, Error, SocketAddr, connect};
    use bowline::backend::net::{Family, Query, TcpListener, resolve};
    use bowline::concurrency::now;
    use bowline::sim::{Link, Sim};
    use std::time::Duration;

    async fn listening() -> std::io::Result<()> {
        let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 80)))?;
        loop {
            listener.accept().await?;
        }
    }

    async fn client() -> Result<(), Error> {
        let mut addresses = Vec::new();
        for host in ["far", "refusing", "near"] {
            let found = resolve(Query::host(host, 80).family(Family::V4)).await?;
            addresses.extend(found);
        }
        let start = now();
        let stream = connect(&addresses).await?;
        let (peer, took) = (stream.peer_addr()?, now() - start);
        println!("{addresses:?}: connected to {peer} after {took:?}");
        assert_eq!(peer.to_string(), addresses[2].to_string());
        // One head start, for the far one; the one that refuses lost its own at once.
        assert!(took >= Duration::from_millis(250) && took < Duration::from_millis(300));

        let nobody = connect(&addresses[1..2]).await.unwrap_err();
        println!("and where nobody listens: {nobody}");
        assert_eq!(nobody.children().len(), 1);
        Ok(())
    }

    pub(crate) fn run() -> Result<(), Error> {
        let far = Link::lan().latency(Duration::from_secs(10)..Duration::from_secs(11));
        let world = Sim::builder()
            .host("far", listening)
            .host("near", listening)
            .host("refusing", async || {
                std::future::pending::<std::io::Result<()>>().await
            })
            .client("client", client)
            .link("client", "far", far);
        println!("took {:?} of virtual time", world.run()?.virtual_time);
        Ok(())
    }
}
