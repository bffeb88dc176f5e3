//! Calls over packets, which come late, twice or not at all: no reply is that of another call.

use std::future::IntoFuture;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bowline_backend::Backend;
use bowline_backend::net::{Received, UdpSocket};
use bowline_backend::stream::Address;
use bowline_codec::Text;
use bowline_concurrency::{sleep, yield_now};
use bowline_transport::{
    AttributeRequest, Client, DatagramEndpoint, DatagramRecv, DatagramSend, DatagramTransport,
    Delivery, DynTransport, Error, ErrorKind, Extra, MemoryDatagram,
};
use bytes::BytesMut;
use futures_util::future::{Either, join, select};
use futures_util::{FutureExt, StreamExt};
use std::pin::pin;

use crate::reconnecting::{MS, plain};
use crate::{Dialled, on_every_backend, text};

on_every_backend!(
    a_server_that_comes_back_shifts_no_reply,
    a_late_reply_after_a_refusal_is_nobodys,
    a_late_reply_after_noise_is_nobodys,
    what_comes_twice_is_no_reply_to_the_next,
    many_calls_take_no_reply_that_came_twice,
    many_calls_take_no_reply_of_one_that_was_lost,
    more_packets_than_are_kept_hold_up_no_call,
    a_pair_whose_other_end_is_gone_fails_each_call,
    a_socket_that_refuses_without_end_holds_up_no_call,
    a_refusal_is_not_the_end_of_the_stream,
    a_packet_that_is_not_sent_costs_no_other_call,
    packets_that_were_sent_are_no_loss_of_their_socket,
);

/// When a socket says that nobody was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refuses {
    Never,
    /// To who receives, once something was sent.
    Once,
    Always,
    /// To who sends the second packet, which is tried twice.
    Sender,
}

/// An end of a pair in memory that tells that nobody was there.
struct Refusing {
    end: MemoryDatagram,
    refuses: Mutex<Refuses>,
    sent: AtomicUsize,
}

impl Refusing {
    fn refuses(&self, when: Refuses) -> bool {
        let mut refuses = self.refuses.lock().unwrap();
        let now = *refuses == when;
        if now && when == Refuses::Once {
            *refuses = Refuses::Never;
        }
        now
    }
}

impl DatagramRecv for Refusing {
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        let was_sent = self.sent.load(Ordering::SeqCst) > 0;
        if self.refuses(Refuses::Always) || was_sent && self.refuses(Refuses::Once) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        self.end.poll_recv_from(cx, buffer, max)
    }

    async fn recv_from(&self, _: &mut BytesMut, _: NonZeroUsize) -> io::Result<Received> {
        unreachable!("a transport polls")
    }

    fn hears(&self) -> Option<Address> {
        self.end.hears()
    }
}

impl DatagramSend for Refusing {
    fn poll_send(&self, cx: &mut Context<'_>, packet: &[u8]) -> Poll<io::Result<()>> {
        let before = self.sent.fetch_add(1, Ordering::SeqCst);
        if (1..=2).contains(&before) && self.refuses(Refuses::Sender) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        self.end.poll_send(cx, packet)
    }

    async fn send_to(&self, _: &[u8], _: &Address) -> io::Result<()> {
        unreachable!("a transport polls")
    }

    fn max_packet(&self) -> usize {
        self.end.max_packet()
    }
}

impl Extra for Refusing {
    fn provide(&self, request: &mut AttributeRequest<'_>) {
        self.end.provide(request);
    }
}

/// The far ends of what was dialled, in that order.
type Peers = Arc<Mutex<Vec<MemoryDatagram>>>;

/// A client of packets in memory; the first socket of it may refuse.
fn packets(refuses: Refuses) -> (crate::Text, Peers) {
    let peers = Peers::default();
    let other = peers.clone();
    let client = Client::with_dial(move || -> std::future::Ready<Dialled> {
        let (end, there) = MemoryDatagram::pair();
        let mut peers = other.lock().unwrap();
        let is_first = peers.is_empty();
        peers.push(there);
        let here = Refusing {
            end,
            refuses: Mutex::new(if is_first { refuses } else { Refuses::Never }),
            sent: AtomicUsize::new(0),
        };
        std::future::ready(Ok(DynTransport::new(DatagramTransport::new(
            here,
            Text::new(),
        ))))
    });
    (client, peers)
}

/// What was asked at this far end, if anything was.
fn asked(there: &MemoryDatagram) -> Option<String> {
    let (mut packet, most) = (BytesMut::new(), NonZeroUsize::new(100).unwrap());
    let received = there.recv_from(&mut packet, most).now_or_never()?;
    received.ok()?;
    Some(String::from_utf8(packet.to_vec()).unwrap())
}

/// Sends these packets from a far end, if somebody is still at the other.
fn say(there: &MemoryDatagram, packets: &[&[u8]]) {
    for packet in packets {
        let _ = there.send(packet).now_or_never().expect("there is room");
    }
}

/// Waits until one of the far ends has been asked something; which, and what.
async fn next_asked(peers: &Peers) -> (usize, String) {
    loop {
        let asked = {
            let peers = peers.lock().unwrap();
            let mut each = peers.iter().enumerate();
            each.find_map(|(n, there)| asked(there).map(|word| (n, word)))
        };
        match asked {
            Some(asked) => return asked,
            None => yield_now().await,
        }
    }
}

/// Calls, and answers with these packets at the first far end, before the reply at the one that was asked.
async fn call_after(client: &crate::Text, peers: &Peers, first: &[&[u8]]) -> Result<String, Error> {
    let word = text("second");
    let answer = async {
        let (at, word) = next_asked(peers).await;
        let peers = peers.lock().unwrap();
        say(&peers[0], first);
        say(&peers[at], &[format!("re {word}").as_bytes()]);
    };
    join(client.call(&word), answer).await.0
}

// CL4
async fn a_late_reply_after_a_refusal_is_nobodys() {
    let (client, peers) = packets(Refuses::Once);
    let refused = client.call(&text("first")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert_eq!(refused.delivery(), Delivery::MaybeSent);
    assert_eq!(next_asked(&peers).await, (0, text("first")));
    let reply = call_after(&client, &peers, &[b"re first"]).await;
    assert_eq!(reply.unwrap(), "re second");
}

// CL4
async fn a_late_reply_after_noise_is_nobodys() {
    let (client, peers) = packets(Refuses::Never);
    let answer = async {
        assert_eq!(next_asked(&peers).await, (0, text("first")));
        say(&peers.lock().unwrap()[0], &[b"\xff"]);
    };
    let word = text("first");
    let (noise, ()) = join(client.call(&word), answer).await;
    assert_eq!(noise.unwrap_err().kind(), ErrorKind::Decode);
    let reply = call_after(&client, &peers, &[b"re first"]).await;
    assert_eq!(reply.unwrap(), "re second");
}

// CL4
async fn what_comes_twice_is_no_reply_to_the_next() {
    for reconnects in [false, true] {
        let (client, peers) = packets(Refuses::Never);
        let client = match reconnects {
            true => client.reconnect(plain(MS)),
            false => client,
        };
        for round in 0..3 {
            let word = text(round);
            let answer = async {
                assert_eq!(next_asked(&peers).await, (0, word.clone()));
                let reply = format!("re {word}");
                say(
                    &peers.lock().unwrap()[0],
                    &[reply.as_bytes(), reply.as_bytes()],
                );
            };
            let (reply, ()) = join(client.call(&word), answer).await;
            assert_eq!(reply.unwrap(), format!("re {round}"));
        }
        // It is what nobody asked for.
        for round in 0..3 {
            assert_eq!(client.recv().await.unwrap(), Some(format!("re {round}")));
        }
        assert!(client.recv().now_or_never().is_none());
    }
}

// CL4
async fn many_calls_take_no_reply_that_came_twice() {
    let (client, peers) = packets(Refuses::Never);
    let words = ["a", "b", "c", "d"];
    let answer = async {
        for word in words {
            assert_eq!(next_asked(&peers).await, (0, text(word)));
            let (reply, peers) = (format!("re {word}"), peers.lock().unwrap());
            assert_eq!(asked(&peers[0]), None, "two in flight");
            say(&peers[0], &[reply.as_bytes(), reply.as_bytes()]);
        }
    };
    let all = client.call_all(words.map(text), 4);
    let (replies, ()) = join(all.into_future(), answer).await;
    for (reply, word) in replies.into_iter().zip(words) {
        assert_eq!(reply.unwrap(), format!("re {word}"));
    }
    for word in words {
        assert_eq!(client.recv().await.unwrap(), Some(format!("re {word}")));
    }
    assert!(client.recv().now_or_never().is_none());
}

// CL4
async fn many_calls_take_no_reply_of_one_that_was_lost() {
    let (client, peers) = packets(Refuses::Never);
    let answer = async {
        loop {
            sleep(MS).await;
            let peers = peers.lock().unwrap();
            while let Some(word) = peers.iter().find_map(asked) {
                if word != "lost" {
                    say(&peers[0], &[format!("re {word}").as_bytes()]);
                }
            }
        }
    };
    let all = client.call_all(["lost", "b", "c"].map(text), 2);
    let all = all.timeout(200 * MS).into_future();
    let replies = match select(all, pin!(answer)).await {
        Either::Left((replies, _)) => replies,
        Either::Right((never, _)) => never,
    };
    let due = [Delivery::MaybeSent, Delivery::NotSent, Delivery::NotSent];
    for (reply, delivery) in replies.into_iter().zip(due) {
        let error = reply.unwrap_err();
        assert_eq!(
            (error.kind(), error.delivery()),
            (ErrorKind::Elapsed, delivery)
        );
    }
    while asked(&peers.lock().unwrap()[0]).is_some() {} // it may have had no turn
    let reply = call_after(&client, &peers, &[b"re lost"]).await;
    assert_eq!(reply.unwrap(), "re second");
}

// CL4
async fn more_packets_than_are_kept_hold_up_no_call() {
    let (client, peers) = packets(Refuses::Never);
    client.connect().await.unwrap();
    say(&peers.lock().unwrap()[0], &[b"\xff", b"early"]);
    say(&peers.lock().unwrap()[0], &[b"noise" as &[u8]; 200]);
    let reply = call_after(&client, &peers, &[]).await;
    assert_eq!(reply.unwrap(), "re second");
    let lagged = client.recv().await.unwrap_err();
    assert_eq!(lagged.kind(), ErrorKind::Lagged { missed: 202 - 16 });
    for _ in 0..16 {
        assert_eq!(client.recv().await.unwrap(), Some(text("noise")));
    }
    assert!(client.recv().now_or_never().is_none());
}

// CL4
async fn a_pair_whose_other_end_is_gone_fails_each_call() {
    let (client, peers) = packets(Refuses::Never);
    client.connect().await.unwrap();
    peers.lock().unwrap().clear();
    for _ in 0..3 {
        let gone = client.call(&text("anybody?")).await.unwrap_err();
        assert!(gone.is_connection(), "{gone}");
    }
    client.recv().await.unwrap_err();
    assert!(peers.lock().unwrap().is_empty(), "it is over");
}

// CL4
async fn a_socket_that_refuses_without_end_holds_up_no_call() {
    let (client, peers) = packets(Refuses::Always);
    client.connect().await.unwrap();
    let refused = client.call(&text("first")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    assert_eq!(next_asked(&peers).await, (0, text("first")));
}

// CL6, T9
async fn a_refusal_is_not_the_end_of_the_stream() {
    let (client, peers) = packets(Refuses::Once);
    client.send(&text("anybody?")).await.unwrap();
    let mut messages = pin!(client.messages());
    let refused = messages.next().await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Refused);
    say(&peers.lock().unwrap()[0], &[b"me"]);
    assert_eq!(messages.next().await.unwrap().unwrap(), "me");
}

// CL4
async fn a_packet_that_is_not_sent_costs_no_other_call() {
    let (client, peers) = packets(Refuses::Sender);
    let answer = async {
        for word in ["one", "three"] {
            assert_eq!(next_asked(&peers).await, (0, text(word)));
            say(
                &peers.lock().unwrap()[0],
                &[format!("re {word}").as_bytes()],
            );
        }
    };
    let calls = client.call_all(["one", "two", "three"].map(text), 1);
    let (results, ()) = join(calls.into_future(), answer).await;
    assert_eq!(results[0].as_deref().unwrap(), "re one");
    assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::Refused);
    assert_eq!(results[2].as_deref().unwrap(), "re three");
}

// CL2
async fn packets_that_were_sent_are_no_loss_of_their_socket() {
    let (client, peers) = packets(Refuses::Sender);
    let client = client.reconnect(plain(MS));
    client.send(&text("one")).await.unwrap();
    // The socket refuses it, and another one takes it.
    client.send(&text("two")).await.unwrap();
    assert_eq!(peers.lock().unwrap().len(), 2);
    client.flush().await.unwrap();
    assert_eq!(client.recv().await.unwrap_err().kind(), ErrorKind::Refused);
}

// CL4, T9
async fn a_server_that_comes_back_shifts_no_reply() {
    let closed = UdpSocket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let at = closed.local_addr().unwrap();
    drop(closed);
    let client = Client::datagrams(at, Text::new);
    let _ = client.send(&text("before")).await;
    if Backend::current() == Ok(Backend::Sim) {
        sleep(1000 * MS).await; // the refusal comes back as slowly as a packet
    }
    let server = DatagramEndpoint::udp(at, Text::new()).unwrap();
    let echo = async {
        loop {
            let (word, from) = server.recv_from().await.unwrap();
            let _ = server.send_to(&format!("re {word}"), &from).await;
        }
    };
    let talk = async {
        for word in ["A", "B", "C"] {
            match client.call(&text(word)).await {
                Ok(reply) => assert_eq!(reply, format!("re {word}")),
                // The system told of it by the send.
                Err(error) => {
                    let (kind, delivery) = (error.kind(), error.delivery());
                    assert_eq!((kind, delivery), (ErrorKind::Refused, Delivery::MaybeSent));
                    assert_eq!(word, "A");
                }
            }
        }
        let all = client.call_all(["D", "E", "F"].map(text), 1).await;
        for (reply, word) in all.into_iter().zip(["D", "E", "F"]) {
            assert_eq!(reply.unwrap(), format!("re {word}"));
        }
        // It is told to who receives.
        let refused = client.recv().now_or_never();
        if let Some(refused) = refused {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Refused);
        }
    };
    match select(pin!(talk), pin!(echo)).await {
        Either::Left(((), _)) => {}
        Either::Right((never, _)) => never,
    }
}
