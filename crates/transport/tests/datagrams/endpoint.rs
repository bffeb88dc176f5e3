//! Sockets without a peer.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io::ErrorKind as Io;
use std::pin::pin;

use bowline_backend::net::UdpSocket;
use bowline_backend::stream::Address;
use bowline_codec::{DecodeErrorKind, EncodeError, Encoding, Raw, Text};
use bowline_transport::{
    DatagramEndpoint, DatagramEndpointBuilder, Delivery, ErrorKind, Extra, LocalAddr,
    MemoryDatagram, PeerAddr,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join, join_all};

use crate::laws::decode_kind;
use crate::pairs::loopback;
use crate::scripted::Scripted;
use crate::{bytes, on_every_backend};

on_every_backend!(
    super::messages_from_anybody_are_answered as messages_from_anybody_are_answered,
    super::an_error_names_the_sender as an_error_names_the_sender,
    super::a_message_too_long_is_not_sent as a_message_too_long_is_not_sent,
    super::many_tasks_send_and_receive as many_tasks_send_and_receive,
    super::refusals_are_counted_where_there_is_no_peer
        as refusals_are_counted_where_there_is_no_peer,
    super::a_flood_of_what_is_nobodys_lets_others_run as a_flood_of_what_is_nobodys_lets_others_run,
    super::the_ends_of_memory_know_each_other_alone as the_ends_of_memory_know_each_other_alone,
);

type Udp<C> = DatagramEndpoint<UdpSocket, C>;

fn raw() -> Udp<Raw> {
    DatagramEndpoint::udp(loopback(), Raw::new()).unwrap()
}

fn at<S, C>(endpoint: &DatagramEndpoint<S, C>) -> Address {
    endpoint.local_addr().unwrap().clone()
}

// T9
async fn messages_from_anybody_are_answered() {
    let server = raw();
    assert_eq!(server.extra::<LocalAddr>(), Some(at(&server)));
    assert_eq!(server.extra::<PeerAddr>(), None);
    let clients = [raw(), raw(), raw()];
    for (n, client) in (0..).zip(&clients) {
        // An empty one too.
        client
            .send_to(&Bytes::from(vec![7; n]), &at(&server))
            .await
            .unwrap();
    }
    for _ in &clients {
        let (message, sender) = server.recv_from().await.unwrap();
        server.send_to(&message, &sender).await.unwrap();
    }
    for (n, client) in (0..).zip(&clients) {
        let (message, sender) = client.recv_from().await.unwrap();
        assert_eq!((message, sender), (Bytes::from(vec![7; n]), at(&server)));
    }
    assert_eq!(server.counters(), Default::default());
}

// T9
async fn an_error_names_the_sender() {
    let client = raw();
    let socket = UdpSocket::bind(loopback()).unwrap();
    let server = DatagramEndpointBuilder::default()
        .max_packet(bytes(8))
        .over(socket, Text::new());
    for packet in [&b"\xff"[..], b"nine byte", b"eight by"] {
        client
            .send_to(&Bytes::copy_from_slice(packet), &at(&server))
            .await
            .unwrap();
    }
    let error = server.recv_from().await.unwrap_err();
    assert_eq!(
        decode_kind(&error),
        DecodeErrorKind::Text {
            encoding: Encoding::Utf8,
            valid_up_to: 0
        }
    );
    assert_eq!(error.peer(), Some(&at(&client)));
    let error = server.recv_from().await.unwrap_err();
    let limit = DecodeErrorKind::TooLong {
        limit: 8,
        declared: None,
    };
    assert_eq!(decode_kind(&error), limit);
    assert_eq!(error.peer(), Some(&at(&client)));
    assert_eq!(
        server.recv_from().await.unwrap(),
        ("eight by".to_owned(), at(&client))
    );
    assert_eq!(server.counters().truncated, 1);
}

// T9
async fn a_message_too_long_is_not_sent() {
    let (here, there) = (raw(), raw());
    let error = here
        .send_to(&Bytes::from(vec![0; 65_508]), &at(&there))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge { limit: 65_507 });
    assert!(error.source().unwrap().is::<EncodeError>() && error.peer() == Some(&at(&there)));
    let longest = Bytes::from(vec![1; 65_507]);
    here.send_to(&longest, &at(&there)).await.unwrap();
    assert_eq!(there.recv_from().await.unwrap().0, longest);
    let nobody = "[::1]:9".parse().unwrap();
    let error = here
        .send_to(&Bytes::new(), &Address::Inet(nobody))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Address, Delivery::NotSent)
    );
}

// T9
async fn many_tasks_send_and_receive() {
    const EACH: usize = 20;
    let (here, there) = (raw(), raw());
    let to = at(&there);
    let received = std::sync::Mutex::new(BTreeMap::<Bytes, usize>::new());
    // What one receiver has is not lost when another is dropped.
    assert!(there.recv_from().now_or_never().is_none());
    let receiving = join_all((0..2).map(|_| async {
        while received.lock().unwrap().values().sum::<usize>() < 8 * EACH - 1 {
            let (message, _) = there.recv_from().await.unwrap();
            *received.lock().unwrap().entry(message).or_default() += 1;
        }
    }));
    let sending = join_all((0..8).map(|task| {
        let (here, to) = (&here, &to);
        async move {
            for n in 0..EACH {
                let message = Bytes::from(format!("{task}:{n}"));
                here.send_to(&message, to).await.unwrap();
            }
        }
    }));
    // The last receiver ends by one packet more.
    let ending = async {
        sending.await;
        here.send_to(&Bytes::from("end"), &to).await.unwrap();
    };
    join(receiving, ending).await;
    let received = received.into_inner().unwrap();
    assert!(received.values().all(|count| *count == 1), "{received:?}");
    assert!(received.len() >= 8 * EACH, "{}", received.len());
}

// T9
async fn refusals_are_counted_where_there_is_no_peer() {
    let socket = UdpSocket::bind(loopback()).unwrap();
    let scripted = Scripted::new(socket)
        .recv_errors([Io::ConnectionRefused, Io::ConnectionReset])
        .send_errors([Io::ConnectionRefused]);
    let (here, there) = (DatagramEndpoint::new(scripted, Raw::new()), raw());
    here.send_to(&Bytes::from("there"), &at(&there))
        .await
        .unwrap();
    assert_eq!(there.recv_from().await.unwrap().0, "there");
    there
        .send_to(&Bytes::from("and back"), &at(&here))
        .await
        .unwrap();
    assert_eq!(here.recv_from().await.unwrap().0, "and back");
    assert_eq!(here.counters().refused, 3);
    // What really is nobody's fault is said.
    let socket = Scripted::new(UdpSocket::bind(loopback()).unwrap()).recv_errors([Io::OutOfMemory]);
    let here = DatagramEndpoint::new(socket, Raw::new());
    assert!(here.recv_from().await.is_err());
}

// T9
async fn a_flood_of_what_is_nobodys_lets_others_run() {
    const FLOOD: usize = 1000;
    let socket = UdpSocket::bind(loopback()).unwrap();
    let scripted = Scripted::new(socket).recv_errors([Io::ConnectionRefused; FLOOD]);
    let (here, there) = (DatagramEndpoint::new(scripted, Raw::new()), raw());
    there
        .send_to(&Bytes::from("at last"), &at(&here))
        .await
        .unwrap();
    let mut receiving = pin!(here.recv_from());
    let mut refused = 0;
    let (message, _) = poll_fn(|cx| {
        let polled = receiving.as_mut().poll(cx);
        let now = here.counters().refused;
        assert!(now - refused <= 64, "{} in one poll", now - refused);
        refused = now;
        polled
    })
    .await
    .unwrap();
    assert_eq!((message, refused), (Bytes::from("at last"), FLOOD as u64));
}

// T9
async fn the_ends_of_memory_know_each_other_alone() {
    let (here, there) = MemoryDatagram::builder().names("a", "b").pair();
    let here = DatagramEndpoint::new(here, Raw::new());
    let there = DatagramEndpoint::new(there, Raw::new());
    here.send_to(&Bytes::from("hello"), &Address::Named("b".into()))
        .await
        .unwrap();
    let (message, sender) = there.recv_from().await.unwrap();
    assert_eq!(
        (message, sender.to_string()),
        (Bytes::from("hello"), "a".to_owned())
    );
    let nobody = Address::Named("c".into());
    let error = here.send_to(&Bytes::new(), &nobody).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.peer()),
        (ErrorKind::Refused, Some(&nobody))
    );
    let error = here
        .send_to(&Bytes::new(), &loopback().into())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Address);
}
