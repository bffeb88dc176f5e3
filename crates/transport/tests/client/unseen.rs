//! Breaks that only one half of a connection has seen, and the order in which they are told.

use std::future::IntoFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bowline_backend::stream::{ByteStream, ByteStreamExt};
use bowline_codec::Lines;
use bowline_concurrency::yield_now;
use bowline_transport::{
    Break, Client, Delivery, DynTransport, Error, ErrorKind, MemoryStream, MessageStream,
    StapledStream, Transport,
};
use futures_util::FutureExt;
use futures_util::future::join;

use crate::losses::narrow;
use crate::pauses::dialled;
use crate::reconnecting::{MS, Peers, connected, plain};
use crate::{Count, Dialled, Lined, Text, Woken, on_every_backend, text};

on_every_backend!(
    a_break_that_only_a_sender_sees_is_told_to_who_waits,
    an_end_after_a_break_that_a_sender_saw_is_that_break,
    a_sender_that_waits_for_room_goes_on_when_the_peer_has_ended,
    the_first_error_of_a_connection_is_what_ended_it,
    breaks_are_told_where_they_were_in_what_came,
    breaks_that_a_call_finds_are_told_where_they_were,
    each_call_has_the_error_of_its_own_connection,
    a_closed_client_keeps_nothing_that_it_was_not_asked_for,
);

/// The far ends of a connection: what is sent comes out of the one, what is received goes into the
/// other.
struct Apart {
    sent: MemoryStream,
    received: MemoryStream,
}

/// A client each direction of whose connections ends by itself.
fn apart() -> (Text, Arc<Mutex<Vec<Apart>>>) {
    let made: Arc<Mutex<Vec<Apart>>> = Arc::default();
    let others = made.clone();
    let client = Client::with_dial(move || -> std::future::Ready<Dialled> {
        let ((sending, sent), (receiving, received)) = (MemoryStream::pair(), MemoryStream::pair());
        others.lock().unwrap().push(Apart { sent, received });
        let here = StapledStream::new(receiving.into_split().0, sending.into_split().1);
        let here = MessageStream::new(here, Lines::lf().text());
        std::future::ready(Ok(DynTransport::new(here)))
    });
    (client, made)
}

#[track_caller]
fn broke(error: &Error, frames: usize) {
    assert!(matches!(error.kind(), ErrorKind::Broken(_)), "{error}");
    let told = (error.delivery(), error.unsent_frames());
    assert_eq!(told, (Delivery::MaybeSent, frames), "{error}");
}

// CL2
async fn a_break_that_only_a_sender_sees_is_told_to_who_waits() {
    let (client, made) = apart();
    let client = client.reconnect(plain(MS));
    client.connect().await.unwrap();
    let mut receiving = Box::pin(client.recv());
    let waits = Woken::polled(&mut receiving);
    let first = made.lock().unwrap().pop().unwrap();
    first.sent.abort();
    for word in ["lost", "sent"] {
        client.send(&text(word)).await.unwrap();
    }
    assert!(waits.is_set(), "it is to be told");
    broke(&receiving.await.unwrap_err(), 1);
    let second = made.lock().unwrap().pop().unwrap();
    let mut second = MessageStream::new(second.sent, Lines::lf().text());
    assert_eq!(second.recv().await.unwrap().as_deref(), Some("sent"));
}

// CL2
async fn an_end_after_a_break_that_a_sender_saw_is_that_break() {
    let (client, made) = apart();
    let client = client.reconnect(plain(MS));
    client.connect().await.unwrap();
    let mut first = made.lock().unwrap().pop().unwrap();
    first.sent.abort();
    for word in ["lost", "sent"] {
        client.send(&text(word)).await.unwrap();
    }
    first.received.write_all(b"last\n").await.unwrap();
    first.received.shutdown().await.unwrap();
    assert_eq!(client.recv().await.unwrap().as_deref(), Some("last"));
    broke(&client.recv().await.unwrap_err(), 1);
    assert!(client.recv().now_or_never().is_none(), "it is told once");
}

// CL2
async fn a_sender_that_waits_for_room_goes_on_when_the_peer_has_ended() {
    let (client, peers) = narrow(8);
    for _ in 0..2 {
        client.send(&"x".repeat(60_000)).await.unwrap();
    }
    let next = text("next");
    let mut sending = Box::pin(client.send(&next));
    let waits = Woken::polled(&mut sending);
    let mut there = peers.lock().unwrap().pop().unwrap();
    there.shutdown().await.unwrap(); // and it reads nothing
    let ended = client.recv().await.unwrap_err();
    assert_eq!((ended.kind(), ended.unsent_frames()), (ErrorKind::Ended, 2));
    assert!(waits.is_set(), "it is to be told");
    sending.await.unwrap();
    let second = peers.lock().unwrap().pop().unwrap();
    let mut second = MessageStream::new(second, Lines::lf().text());
    assert_eq!(second.recv().await.unwrap().as_deref(), Some("next"));
}

// CL2
async fn the_first_error_of_a_connection_is_what_ended_it() {
    let (client, made) = apart();
    client.connect().await.unwrap();
    let mut there = made.lock().unwrap().pop().unwrap();
    there.sent.abort();
    let first = loop {
        if let Err(error) = client.send(&text("?")).await {
            break error.kind();
        }
    };
    there.received.write_all(b"half a li").await.unwrap();
    there.received.shutdown().await.unwrap();
    let second = client.recv().await.unwrap_err().kind();
    assert_eq!(second, ErrorKind::Broken(Break::Truncated));
    assert_ne!(first, second);
    assert_eq!(client.connect().await.unwrap_err().kind(), first);
}

/// A client whose connections are replaced at once, and their far ends.
fn replaced() -> (Text, Peers) {
    let peers = Peers::default();
    let made = peers.clone();
    let (client, _) = dialled(move |_| connected(&made));
    (client.reconnect(plain(Duration::ZERO)), peers)
}

async fn said(peer: &mut Lined<MemoryStream>, word: &str) {
    peer.send(&text(word)).await.unwrap();
    peer.flush().await.unwrap();
}

/// Has the connection of `peer` found broken by a sender alone, and another one made: its far end.
async fn found_by_sender(
    client: &Text,
    peers: &Peers,
    peer: Lined<MemoryStream>,
) -> Lined<MemoryStream> {
    let mut peer = peer;
    peer.abort();
    for word in ["lost", "sent"] {
        client.send(&text(word)).await.unwrap();
    }
    let mut next = peers.lock().unwrap().pop().unwrap();
    assert_eq!(next.recv().await.unwrap().as_deref(), Some("sent"));
    next
}

/// Three connections: the first said something and broke, so did the second, which said nothing.
async fn third(client: &Text, peers: &Peers) -> Lined<MemoryStream> {
    client.connect().await.unwrap();
    let mut first = peers.lock().unwrap().pop().unwrap();
    said(&mut first, "one").await;
    let second = found_by_sender(client, peers, first).await;
    found_by_sender(client, peers, second).await
}

async fn heard(client: &Text, due: &str) {
    assert_eq!(client.recv().await.unwrap().as_deref(), Some(due));
}

// CL2
async fn breaks_are_told_where_they_were_in_what_came() {
    let (client, peers) = replaced();
    let mut there = third(&client, &peers).await;
    heard(&client, "one").await;
    broke(&client.recv().await.unwrap_err(), 1);
    // The second break is untold still when the third connection breaks.
    said(&mut there, "three").await;
    let there = found_by_sender(&client, &peers, there).await;
    broke(&client.recv().await.unwrap_err(), 1);
    heard(&client, "three").await;
    broke(&client.recv().await.unwrap_err(), 1);
    assert!(client.recv().now_or_never().is_none());
    drop(there);
}

// CL2, CL4
async fn breaks_that_a_call_finds_are_told_where_they_were() {
    let (client, peers) = replaced();
    let mut there = third(&client, &peers).await;
    said(&mut there, "three").await;
    let asked = text("asked");
    let answer = async {
        assert_eq!(there.recv().await.unwrap().as_deref(), Some("asked"));
        said(&mut there, "re asked").await;
    };
    let (reply, ()) = join(client.call(&asked), answer).await;
    assert_eq!(reply.unwrap(), "re asked");
    heard(&client, "one").await;
    broke(&client.recv().await.unwrap_err(), 2);
    heard(&client, "three").await;
    assert!(client.recv().now_or_never().is_none());
}

// CL2, CL4
async fn each_call_has_the_error_of_its_own_connection() {
    let (dials, peers) = (Count::default(), Peers::default());
    let (counted, made) = (dials.clone(), peers.clone());
    let (client, _) = dialled(move |_| {
        let dialled = connected(&made);
        // The second connection breaks at once.
        if counted.up() == 2 {
            made.lock().unwrap().pop().unwrap().abort();
        }
        dialled
    });
    let client = client.reconnect(plain(Duration::ZERO));
    client.connect().await.unwrap();
    let mut first = peers.lock().unwrap().pop().unwrap();
    let answer = async {
        for n in 0..4 {
            assert_eq!(first.recv().await.unwrap(), Some(text(n)));
        }
        for n in 0..4 {
            first.send(&format!("re {n}")).await.unwrap();
        }
        first.flush().await.unwrap();
        first.abort();
        while dials.get() < 3 {
            yield_now().await;
        }
        let mut third = peers.lock().unwrap().pop().unwrap();
        let asked = third.recv().await.unwrap().unwrap();
        said(&mut third, &format!("re {asked}")).await;
        third
    };
    // One more is sent before each of the first replies: the fifth is lost with the first
    // connection, the sixth with the second.
    let calls = client.call_all((0..7).map(text), 4).into_future();
    let (results, _third) = join(calls, answer).await;
    for n in [0, 1, 2, 3, 6] {
        assert_eq!(results[n].as_deref().unwrap(), format!("re {n}"));
    }
    for n in [4, 5] {
        let error = results[n].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken(Break::Reset), "{n}");
        assert_eq!(error.delivery(), Delivery::MaybeSent, "{n}");
    }
}

// CL1, CL4, TR6
async fn a_closed_client_keeps_nothing_that_it_was_not_asked_for() {
    for finds in ["a sender", "a call"] {
        let (client, peers) = replaced();
        let mut there = third(&client, &peers).await;
        if finds == "a call" {
            let asked = text("asked");
            let answer = async {
                assert_eq!(there.recv().await.unwrap().as_deref(), Some("asked"));
                said(&mut there, "re asked").await;
            };
            join(client.call(&asked), answer).await.0.unwrap();
        }
        client.close().await.unwrap();
        for _ in 0..2 {
            let closed = client.recv().await.unwrap_err();
            assert_eq!(closed.kind(), ErrorKind::Closed, "{finds}");
        }
    }
}
