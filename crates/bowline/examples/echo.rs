//! An echo server and its client: messages over TCP, each connection a task of a group.
//!
//! `cargo run -p bowline --example echo`

use std::net::SocketAddr;

use bowline::Error;
use bowline::backend::net::{TcpListener, TcpStream};
use bowline::codec::{Framing, LengthDelimited, Raw};
use bowline::concurrency::{TaskGroup, task_group};
use bowline::transport::{MessageStream, Transport};
use bytes::Bytes;

#[bowline::main]
async fn main() -> Result<(), Error> {
    let listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    let address = listener.local_addr()?;
    println!("echo server at {address}");
    let sent = task_group(|group: TaskGroup<Error>| async move {
        let server = group.spawn(serve(listener, group.clone()));
        let sent = say_hello(address).await?;
        server.cancel("the client is done");
        Ok(sent)
    })
    .await?;
    println!("{sent} messages came back as they were");
    Ok(())
}

/// Accepts for ever. A connection that fails ends alone.
async fn serve(listener: TcpListener, group: TaskGroup<Error>) -> Result<(), Error> {
    loop {
        let (stream, peer) = listener.accept().await?;
        group.spawn_ok(async move {
            if let Err(error) = echo(stream).await {
                eprintln!("{peer}: {error}");
            }
        });
    }
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let mut messages = MessageStream::new(stream, LengthDelimited::u32().with(Raw::new()));
    while let Some(message) = messages.recv().await? {
        messages.send(&message).await?;
    }
    Ok(messages.close().await?)
}

async fn say_hello(address: SocketAddr) -> Result<usize, Error> {
    let stream = TcpStream::connect(address).await?;
    let mut messages = MessageStream::new(stream, LengthDelimited::u32().with(Raw::new()));
    let greetings = ["hello", "", "привет", "a knot that holds"];
    for greeting in greetings {
        messages.send(&Bytes::from(greeting)).await?;
        let answer = messages.recv().await?;
        assert_eq!(answer.as_deref(), Some(greeting.as_bytes()));
    }
    messages.close().await?;
    Ok(greetings.len())
}
