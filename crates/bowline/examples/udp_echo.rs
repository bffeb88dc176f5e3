//! A server of packets and its clients: echo over UDP, one task for each peer at a time.
//!
//! `cargo run -p bowline --example udp_echo`

use std::net::SocketAddr;
use std::time::Duration;

use bowline::Error;
use bowline::codec::Text;
use bowline::concurrency::{TaskGroup, task_group};
use bowline::transport::{DatagramTransport, PacketLimits, Server, Transport};

#[bowline::main]
async fn main() -> Result<(), Error> {
    let limits = PacketLimits::new().peer_idle(Duration::from_secs(5));
    let server = Server::udp("127.0.0.1:0".parse::<std::net::SocketAddr>()?)
        .codec(Text::new)
        .limits(limits);
    let server = server.bind().await?;
    let handle = server.handle();
    let address = handle.local_addrs()[0].as_inet().expect("a UDP address");
    println!("echo server at {address}");

    task_group(|group: TaskGroup<Error>| async move {
        let serving = server.serve_each(|peer, text: String| async move { peer.send(&text).await });
        group.spawn(async move { Ok(serving.await?) });
        let clients: Vec<_> = ["Ada", "Grace", "Edsger"]
            .map(|name| group.spawn(talk(address, name)))
            .into();
        for client in clients {
            client.join().await?;
        }
        let report = handle.drain(Duration::from_secs(5)).await;
        let counters = handle.counters();
        println!(
            "{} packets, {} peers said goodbye",
            counters.taken, report.finished
        );
        assert_eq!((counters.overflowed, counters.panicked), (0, 0));
        Ok(())
    })
    .await?;
    Ok(())
}

/// Says some things and hears them again. UDP may lose any of them; over loopback, one at a time,
/// it does not.
async fn talk(server: SocketAddr, name: &str) -> Result<(), Error> {
    let mut transport = DatagramTransport::udp(server, Text::new())?;
    for word in ["hello from", "", "goodbye from"] {
        let said = format!("{word} {name}");
        transport.send(&said).await?;
        assert_eq!(transport.recv().await?, Some(said));
    }
    Ok(transport.close().await?)
}
