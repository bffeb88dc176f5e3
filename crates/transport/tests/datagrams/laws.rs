//! What holds for any pair of connected sockets.

use std::error::Error as _;
use std::num::NonZeroUsize;
use std::time::Duration;

use bowline_backend::net::RawSocket;
use bowline_codec::{DecodeError, DecodeErrorKind, EncodeError, Encoding, Raw, Text};
use bowline_concurrency::sync::Semaphore;
use bowline_transport::{
    DatagramSocket, DatagramTransport, DatagramTransportBuilder, Delivery, Error, ErrorKind, Extra,
    LocalAddr, Operation, PeerAddr, Shared, SocketFamily, Transport, TransportRecv, TransportSend,
};
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{join, join_all};

use crate::{bytes, over};

pub(crate) fn decode_kind(error: &Error) -> DecodeErrorKind {
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::Decode, Operation::Recv)
    );
    error
        .source()
        .unwrap()
        .downcast_ref::<DecodeError>()
        .unwrap()
        .kind()
}

pub(crate) async fn messages_go_both_ways<S: DatagramSocket>(here: S, there: S) {
    let (mut here, mut there) = (over(here), over(there));
    here.connect().await.unwrap();
    for round in 0..50_u8 {
        let question = Bytes::from(vec![round; usize::from(round) * 7]);
        here.send(&question).await.unwrap();
        assert_eq!(there.recv().await.unwrap(), Some(question.clone()));
        there
            .send(&question.slice(..usize::from(round)))
            .await
            .unwrap();
        assert_eq!(
            here.recv().await.unwrap().unwrap().len(),
            usize::from(round)
        );
    }
}

pub(crate) async fn an_empty_packet_is_a_packet<S: DatagramSocket>(here: S, there: S) {
    let (mut here, mut there) = (over(here), over(there));
    for packet in ["", "", "not empty", ""] {
        here.send(&Bytes::from(packet)).await.unwrap();
        assert_eq!(
            there.recv().await.unwrap().as_deref(),
            Some(packet.as_bytes())
        );
    }
}

pub(crate) async fn a_cut_packet_is_an_error_and_the_next_one_is_good<S: DatagramSocket>(
    here: S,
    there: S,
) {
    let mut here = over(here);
    let mut there = DatagramTransportBuilder::default()
        .max_packet(bytes(8))
        .over(there, Raw::new());
    here.send(&Bytes::from("nine byte")).await.unwrap();
    here.send(&Bytes::from("eight by")).await.unwrap();
    let error = there.recv().await.unwrap_err();
    let limit = DecodeErrorKind::TooLong {
        limit: 8,
        declared: None,
    };
    assert_eq!(decode_kind(&error), limit);
    assert_eq!(
        there.recv().await.unwrap().as_deref(),
        Some(&b"eight by"[..])
    );
    assert_eq!(there.counters().truncated, 1);
}

pub(crate) async fn a_message_above_the_limit_leaves_the_transport_usable<S: DatagramSocket>(
    here: S,
    there: S,
) {
    let limit = here.max_packet().min(64 * 1024);
    let (mut here, mut there) = (over(here), over(there));
    let error = here
        .send(&Bytes::from(vec![0; limit + 1]))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge { limit });
    assert_eq!(error.delivery(), Delivery::NotSent);
    assert!(error.source().unwrap().is::<EncodeError>() && error.is_message());
    here.send(&Bytes::from("short")).await.unwrap();
    assert_eq!(there.recv().await.unwrap().as_deref(), Some(&b"short"[..]));
}

pub(crate) async fn the_longest_packet_arrives_whole<S: DatagramSocket>(here: S, there: S) {
    let longest = here.max_packet().min(64 * 1024);
    let (mut here, mut there) = (over(here), over(there));
    let packet: Bytes = (0..longest).map(|at| at as u8).collect();
    here.send(&packet).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Some(packet));
    assert_eq!(there.counters(), Default::default());
}

pub(crate) async fn no_more_room_is_made_than_a_packet_can_need<S: DatagramSocket>(
    here: S,
    there: S,
) {
    let longest = here.max_packet().min(128 * 1024);
    let all = || DatagramTransportBuilder::default().max_packet(NonZeroUsize::MAX);
    let (mut here, mut there) = (all().over(here, Raw::new()), all().over(there, Raw::new()));
    for length in [0, 1, longest] {
        let packet = Bytes::from(vec![7; length]);
        here.send(&packet).await.unwrap();
        assert_eq!(there.recv().await.unwrap(), Some(packet));
    }
    assert_eq!(there.counters(), Default::default());
}

pub(crate) async fn a_refused_packet_is_followed_by_a_good_one<S: DatagramSocket>(
    here: S,
    there: S,
) {
    let mut here = over(here);
    let mut there = DatagramTransport::new(there, Text::new());
    here.send(&Bytes::from_static(b"\xff")).await.unwrap();
    here.send(&Bytes::from("text")).await.unwrap();
    let error = there.recv().await.unwrap_err();
    assert_eq!(
        decode_kind(&error),
        DecodeErrorKind::Text {
            encoding: Encoding::Utf8,
            valid_up_to: 0
        }
    );
    assert_eq!(there.recv().await.unwrap().as_deref(), Some("text"));
}

pub(crate) async fn a_close_is_idempotent_and_final<S: DatagramSocket>(here: S, there: S) {
    let (mut here, mut there) = (over(here), over(there));
    here.send(&Bytes::from("last")).await.unwrap();
    here.close().await.unwrap();
    here.close().await.unwrap();
    let packet = Bytes::from("late");
    assert_eq!(here.connect().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(
        here.send(&packet).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(here.flush().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(here.recv().await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(there.recv().await.unwrap().as_deref(), Some(&b"last"[..]));
    there.abort();
    assert_eq!(there.recv().await.unwrap_err().kind(), ErrorKind::Closed);
    there.close().await.unwrap();
}

pub(crate) async fn a_shut_down_sender_still_receives<S: DatagramSocket>(here: S, there: S) {
    let (mut here, mut there) = (over(here), over(there));
    let packet = Bytes::from("reply");
    let (sender, receiver) = here.split();
    sender.shutdown().await.unwrap();
    sender.shutdown().await.unwrap();
    assert_eq!(
        sender.send(&packet).await.unwrap_err().kind(),
        ErrorKind::Closed
    );
    there.send(&packet).await.unwrap();
    assert_eq!(receiver.recv().await.unwrap(), Some(packet));
}

pub(crate) async fn halves_work_in_two_tasks_and_reunite<S: DatagramSocket>(here: S, there: S) {
    const COUNT: u32 = 300;
    let (mut sender, mut receiver) = over(here).into_split();
    let mut there = over(there);
    // One at a time is under way, for UDP loses what finds no room.
    let echoing = async {
        for _ in 0..COUNT {
            let packet = there.recv().await.unwrap().unwrap();
            there.send(&packet).await.unwrap();
        }
    };
    let turns = Semaphore::new(0);
    let sending = async {
        for round in 0..COUNT {
            sender
                .send(&Bytes::copy_from_slice(&round.to_be_bytes()))
                .await
                .unwrap();
            turns.acquire().await.forget();
        }
        sender
    };
    let receiving = async {
        for round in 0..COUNT {
            let packet = receiver.recv().await.unwrap().unwrap();
            assert_eq!(packet, round.to_be_bytes()[..]);
            turns.add_permits(1).unwrap();
        }
        receiver
    };
    let (sender, (receiver, ())) = join(sending, join(receiving, echoing)).await;
    let whole = DatagramTransport::reunite(sender, receiver);
    assert!(whole.unwrap().close().await.is_ok());
}

pub(crate) async fn many_tasks_share_one<S: DatagramSocket>(here: S, there: S) {
    const TASKS: u8 = 8;
    let here = Shared::new(over(here));
    let mut there = over(there);
    let packets: Vec<Bytes> = (0..TASKS).map(|task| Bytes::from(vec![task; 3])).collect();
    let sent = join_all(packets.iter().map(|packet| here.send(packet)));
    let receiving = async {
        let mut received = Vec::new();
        for _ in 0..TASKS {
            received.push(there.recv().await.unwrap().unwrap());
        }
        received
    };
    let (sent, received) = join(sent, receiving).await;
    assert!(sent.iter().all(Result::is_ok));
    assert_eq!(received, packets); // in the order in which the tasks came
    let waiting = here.recv();
    assert!(here.try_recv().is_err());
    let (closed, waited) = join(async { here.close().await }, waiting).await;
    closed.unwrap();
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::Closed);
}

// T10
pub(crate) async fn attributes_are_those_of_the_socket<S: DatagramSocket>(here: S, there: S) {
    let raw = here.extra::<RawSocket>();
    let known = (
        here.extra::<LocalAddr>(),
        here.extra::<PeerAddr>(),
        here.extra::<SocketFamily>(),
    );
    assert!(known.2.is_some());
    let here = over(here);
    assert_eq!(
        (here.local_addr(), here.peer_addr()),
        (known.0.as_ref(), known.1.as_ref())
    );
    assert_eq!(
        (
            here.extra::<LocalAddr>(),
            here.extra::<PeerAddr>(),
            here.extra::<SocketFamily>()
        ),
        known
    );
    let again = here.extra::<RawSocket>();
    assert_eq!(again.is_some(), raw.is_some());
    if let (Some(raw), Some(again)) = (raw, again) {
        again.set_linger(Some(Duration::from_secs(7))).unwrap();
        assert_eq!(raw.linger().unwrap(), Some(Duration::from_secs(7)));
        let shared = Shared::new(here);
        assert!(shared.extra::<RawSocket>().unwrap().is_open());
        drop(shared);
        assert!(!raw.is_open() && !again.is_open());
    }
    drop(there);
}

pub(crate) async fn a_permit_sends_without_waiting<S: DatagramSocket>(here: S, there: S) {
    let (mut here, mut there) = (over(here), over(there));
    let (sender, receiver) = here.split();
    assert!(receiver.recv().now_or_never().is_none());
    let permit = sender.reserve().await.unwrap();
    permit.send(&Bytes::from("with a permit")).unwrap();
    sender.try_send(&Bytes::from("if there is room")).unwrap();
    sender.flush().await.unwrap();
    for due in ["with a permit", "if there is room"] {
        assert_eq!(there.recv().await.unwrap().as_deref(), Some(due.as_bytes()));
    }
    drop(sender.reserve().await.unwrap()); // sends nothing
    assert!(there.recv().now_or_never().is_none());
}
