//! A client that outlives its server: it logs in again on each connection, and asks once more what
//! the server did not answer.
//!
//! `cargo run -p bowline --example reconnecting`

use std::net::SocketAddr;
use std::time::Duration;

use bowline::Error;
use bowline::codec::Lines;
use bowline::concurrency::{Backoff, TaskGroup, task_group};
use bowline::transport::{Client, Server, ServerHandle, Transport};

#[bowline::main]
async fn main() -> Result<(), Error> {
    task_group(|group: TaskGroup<Error>| async move {
        let first = serve(&group, "127.0.0.1:0".parse()?, "first").await?;
        let address = first.local_addrs()[0].as_inet().expect("a TCP address");

        let pauses = Backoff::exponential(Duration::from_millis(20)).max(Duration::from_secs(1));
        let client = Client::new(address, || Lines::lf().text())
            .reconnect(pauses) // with jitter, so that not all clients come back at once
            .on_connect(|mut transport| async move {
                transport.send(&"I am Ada".to_owned()).await?;
                let welcome = transport.recv().await?;
                println!("{}", welcome.as_deref().unwrap_or("refused"));
                Ok(transport)
            });
        let question = "who are you?".to_owned();
        assert_eq!(client.call(&question).await?, "the first, Ada");

        // The server is replaced by another one at the same address.
        first.drain(Duration::from_secs(1)).await;
        let second = serve(&group, address, "second").await?;

        // Nothing is sent twice behind our back: what broke is told, and may be asked again.
        let answer = loop {
            match client.call(&question).await {
                Err(error) if error.is_connection() => println!("again, for {error}"),
                answered => break answered?,
            }
        };
        assert_eq!(answer, "the second, Ada");
        client.close().await?;
        second.drain(Duration::from_secs(1)).await;
        Ok(())
    })
    .await?;
    Ok(())
}

/// A server that wants to know whom it answers.
async fn serve(
    group: &TaskGroup<Error>,
    at: SocketAddr,
    name: &'static str,
) -> Result<ServerHandle, Error> {
    let server = Server::tcp(at).codec(|| Lines::lf().text()).bind().await?;
    let handle = server.handle();
    let serving = server.serve_fn(move |peer, mut messages| async move {
        let Some(login) = messages.recv().await? else {
            return Ok(());
        };
        let user = login.trim_start_matches("I am ").to_owned();
        peer.send(&format!("welcome to the {name}, {user}")).await?;
        while messages.recv().await?.is_some() {
            peer.send(&format!("the {name}, {user}")).await?;
        }
        Ok::<(), bowline::transport::Error>(())
    });
    group.spawn(async move { Ok(serving.await?) });
    Ok(handle)
}
