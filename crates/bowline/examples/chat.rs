//! A chat over lines of text: whoever connects says a name, and hears what the others say. It ends
//! well: everybody is told, and what is on its way arrives.
//!
//! `cargo run -p bowline --example chat` shows it with three clients; with `-- --serve` it runs at
//! port 7878 until SIGTERM or SIGINT.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bowline::Error;
use bowline::backend::net::TcpStream;
use bowline::backend::signal::{Signal, listen};
use bowline::channel::select_biased;
use bowline::codec::{Framed, Lines, Text};
use bowline::concurrency::{TaskGroup, task_group, timeout};
use bowline::transport::{
    self, AtLimit, ConnectionHandler, ConnectionId, End, MessageStream, Messages, Peer, Server,
    ServerLimits, TcpConnector, Transport,
};

/// What conversations get to come to their end.
const DRAIN: Duration = Duration::from_secs(5);

/// What somebody gets to read what the others said.
const MOMENT: Duration = Duration::from_millis(100);

fn line() -> Framed<Lines, Text> {
    Lines::lf().max_frame(1024).text()
}

struct Chat<T: Transport> {
    room: Mutex<BTreeMap<ConnectionId, (String, Peer<T>)>>,
}

impl<T: Transport<Sent = String, Received = String> + 'static> Chat<T> {
    fn new() -> Self {
        Chat {
            room: Mutex::default(),
        }
    }

    /// Says `line` to everybody but `except`.
    async fn tell(&self, except: ConnectionId, line: &str) {
        let line = line.to_owned();
        for peer in self.others(except) {
            // Who reads too slowly holds up the others for a moment, once, and is not told half of it either.
            if !matches!(timeout(MOMENT, peer.send(&line)).await, Ok(Ok(()))) {
                peer.abort();
            }
        }
    }

    fn others(&self, except: ConnectionId) -> Vec<Peer<T>> {
        let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let others = room.iter().filter(|(id, _)| **id != except);
        others.map(|(_, (_, peer))| peer.clone()).collect()
    }
}

impl<T> ConnectionHandler<T> for Chat<T>
where
    T: Transport<Sent = String, Received = String> + 'static,
{
    type Error = transport::Error;

    async fn on_connection(
        &self,
        peer: &Peer<T>,
        messages: &mut Messages<T>,
    ) -> Result<(), transport::Error> {
        peer.send(&"who are you?".to_owned()).await?;
        let name = messages.recv().await?.unwrap_or_default();
        self.tell(peer.id(), &format!("* {name} comes")).await;
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        room.insert(peer.id(), (name, peer.clone()));
        Ok(())
    }

    async fn handle(
        &self,
        peer: &Peer<T>,
        messages: &mut Messages<T>,
    ) -> Result<(), transport::Error> {
        let name = {
            let room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            room[&peer.id()].0.clone()
        };
        peer.send(&format!("welcome, {name}")).await?;
        loop {
            match messages.recv().await {
                Ok(Some(line)) => self.tell(peer.id(), &format!("{name}: {line}")).await,
                Ok(None) if messages.is_draining() => {
                    return peer.send(&"* good night".to_owned()).await;
                }
                Ok(None) => return Ok(()),
                Err(error) if error.is_message() => peer.send(&"pardon?".to_owned()).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn on_end(&self, peer: &Peer<T>, end: End) {
        let left = {
            let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
            room.remove(&peer.id())
        };
        if let Some((name, _)) = left
            && end != End::Drained
        {
            self.tell(peer.id(), &format!("* {name} goes")).await;
        }
    }
}

#[bowline::main]
async fn main() -> Result<(), Error> {
    let until_signal = std::env::args().any(|argument| argument == "--serve");
    let port = if until_signal { 7878 } else { 0 };
    let limits = ServerLimits::new()
        .max_connections(1000)
        .at_limit(AtLimit::Refuse);
    let server = Server::tcp(("127.0.0.1", port)).codec(line).limits(limits);
    let bound = server.bind().await?;
    let (address, handle) = (bound.local_addrs()[0].clone(), bound.handle());
    println!("chat at {address}");
    task_group(|group: TaskGroup<Error>| async move {
        group.spawn(async move { Ok(bound.serve(Chat::new()).await?) });
        let mut left = match until_signal {
            true => wait_for_signal().await.map(|()| Vec::new())?,
            false => demonstrate(address.as_inet().unwrap()).await?,
        };
        let report = handle.drain(DRAIN).await;
        println!("{} left by themselves", report.finished);
        assert!(until_signal || report.finished >= left.len());
        for client in &mut left {
            assert_eq!(client.recv().await?.as_deref(), Some("* good night"));
            assert_eq!(client.recv().await?, None);
        }
        Ok(())
    })
    .await?;
    Ok(())
}

async fn wait_for_signal() -> Result<(), Error> {
    let (mut terminate, mut interrupt) = (listen(Signal::Terminate)?, listen(Signal::Interrupt)?);
    select_biased! {
        heard = terminate.recv() => heard?,
        heard = interrupt.recv() => heard?,
    }
    Ok(())
}

type Client = MessageStream<TcpStream, Framed<Lines, Text>>;

/// Joins as `name`.
async fn join(address: std::net::SocketAddr, name: &str) -> Result<Client, Error> {
    let stream = TcpConnector::new(address).connect().await?;
    let mut client = MessageStream::new(stream, line());
    assert_eq!(client.recv().await?.as_deref(), Some("who are you?"));
    client.send(&name.to_owned()).await?;
    assert_eq!(client.recv().await?, Some(format!("welcome, {name}")));
    Ok(client)
}

/// Three clients, of whom two stay.
async fn demonstrate(address: std::net::SocketAddr) -> Result<Vec<Client>, Error> {
    let mut ada = join(address, "Ada").await?;
    let mut grace = join(address, "Grace").await?;
    let mut edsger = join(address, "Edsger").await?;
    ada.send(&"is anybody there?".to_owned()).await?;
    assert_eq!(grace.recv().await?.as_deref(), Some("* Edsger comes"));
    assert_eq!(
        grace.recv().await?.as_deref(),
        Some("Ada: is anybody there?")
    );
    edsger.send(&"x".repeat(2000)).await.unwrap_err(); // too long: not even sent
    edsger.close().await?;
    assert_eq!(grace.recv().await?.as_deref(), Some("* Edsger goes"));
    // Ada does not hear herself.
    for heard in ["* Grace comes", "* Edsger comes", "* Edsger goes"] {
        assert_eq!(ada.recv().await?.as_deref(), Some(heard));
    }
    Ok(vec![ada, grace])
}
