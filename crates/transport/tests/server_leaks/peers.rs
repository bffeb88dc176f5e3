//! Peers that come and go, each in one of the ways in which peers do, by its number.

use std::num::NonZeroUsize;
use std::panic::panic_any;

use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_codec::{Framed, Lines, Text};
use bowline_transport::{Error, ErrorKind, Extra, MessageStream, Messages, Peer, Transport};
use bytes::BytesMut;

/// Longer than this no line may be.
const LONGEST: usize = 1000;

pub(crate) fn line() -> Framed<Lines, Text> {
    Lines::lf().max_frame(LONGEST).text()
}

/// What a panic says that a peer asked for.
pub(crate) const TOLD: &str = "told to panic";

/// How many ways there are.
const WAYS: usize = 13;

/// One connection, to a server that [obeys](obey).
pub(crate) async fn come_and_go<S: ByteStream + Extra>(mut stream: S, number: usize) {
    match number % WAYS {
        0 => say(stream, "leave").await,
        1 => say(stream, "fail").await,
        // A panic takes its time: there are some of them, but not too many.
        2 if number / WAYS % 100 == 2 => say(stream, "panic").await,
        3 => drop(told(stream, "hello").await),
        4 => told(stream, "hello").await.abort(),
        // In the middle of a message: an end, a reset, and nothing more for a while.
        5 => {
            let _ = stream.write_all(b"half a li").await;
            let _ = stream.shutdown().await;
            read_to_end(stream).await;
        }
        6 => {
            let _ = stream.write_all(b"whole\nhalf a li").await;
            stream.abort();
        }
        7 => {
            let _ = stream.write_all(b"half a li").await;
            drop(stream);
        }
        // What is no message.
        8 => {
            let _ = stream.write_all(b"\xff\xfe\0\x01\nhello\n").await;
            let _ = stream.shutdown().await;
            read_to_end(stream).await;
        }
        9 => {
            let _ = stream.write_all(&[b'x'; 2 * LONGEST]).await;
            stream.abort();
        }
        // Nothing at all.
        10 => drop(stream),
        11 => stream.abort(),
        // More answers than it stays for.
        12 => {
            let mut client = told(stream, "everything").await;
            let _ = client.recv().await;
            client.abort();
        }
        _ => say(stream, "hello").await,
    }
}

async fn told<S>(stream: S, word: &str) -> MessageStream<S, Framed<Lines, Text>>
where
    S: ByteStream + Extra,
{
    let mut client = MessageStream::new(stream, line());
    let _ = client.send(&word.to_owned()).await;
    client
}

async fn say<S: ByteStream + Extra>(stream: S, word: &str) {
    let mut client = told(stream, word).await;
    let _ = client.recv().await;
    let _ = client.close().await;
}

pub(crate) async fn read_to_end<S: ByteStream>(mut stream: S) {
    let most = NonZeroUsize::new(1024).unwrap();
    let mut read = BytesMut::new();
    while let Ok(1..) = stream.read_into(&mut read, most).await {
        read.clear();
    }
}

/// Serves one connection, as its words say.
pub(crate) async fn obey<T>(peer: Peer<T>, mut messages: Messages<T>) -> Result<(), String>
where
    T: Transport<Sent = String, Received = String> + 'static,
{
    let text = |error: Error| error.to_string();
    loop {
        let word = match messages.recv().await {
            Ok(Some(word)) => word,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Decode => "no".to_owned(),
            Err(error) => return Err(text(error)),
        };
        match &*word {
            "leave" => return Ok(()),
            "fail" => return Err("told to".to_owned()),
            "panic" => panic_any(TOLD),
            "everything" => {
                for _ in 0..1000 {
                    peer.send(&"x".repeat(LONGEST)).await.map_err(text)?;
                }
            }
            _ => {
                let _ = peer.send(&word).await;
            }
        }
    }
}
