//! Datagrams between processes of one system: U8, and what U1 to U7 and S12 say of them.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;

use bowline_backend::Backend;
use bowline_backend::net::{Received, UnixDatagram, UnixOptions};
use bowline_backend::stream::{Address, UnixAddress};
use bowline_backend::task::{RunOptions, spawn_detached, yield_now};
use bowline_tests::files::Files;
use bowline_tests::latch::Latch;
use bowline_tests::temp_dir::TempDir;
use bytes::BytesMut;

use crate::conformance;
use crate::reality::{check, failed};

conformance! {
    all: [
        datagrams_keep_their_order_and_sender,
        a_connected_sender_waits_for_room,
        an_unconnected_sender_waits_for_room,
        a_sender_waits_for_room_that_others_took,
        many_senders_wait_for_one_receiver,
        a_cut_datagram_says_so,
        a_connected_socket_hears_its_peer_alone,
        a_receiver_that_went_is_told,
        a_waiting_sender_is_told_that_the_receiver_went,
        a_dropped_receive_loses_none,
        wrong_addresses_are_refused,
    ]
    real: []
    dropping: []
    real_dropping: []
}

const MOST: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

async fn receive(socket: &UnixDatagram) -> (Vec<u8>, Received) {
    let mut buffer = BytesMut::new();
    let received = socket.recv_from(&mut buffer, MOST).await.unwrap();
    (buffer.to_vec(), received)
}

/// A socket with a name that the system chose, and that name.
fn named() -> (UnixDatagram, UnixAddress) {
    let socket = UnixDatagram::bind(&UnixAddress::autobind()).unwrap();
    let at = socket.local_addr().unwrap().as_unix().unwrap().clone();
    (socket, at)
}

// U8, U1
fn datagrams_keep_their_order_and_sender(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let at = UnixAddress::from_path(dir.join("receiver")).unwrap();
        let receiver = UnixDatagram::bind(&at).unwrap();
        assert_eq!(receiver.backend(), backend);
        let unnamed = UnixDatagram::connect(&at).unwrap();
        assert_eq!(unnamed.peer_addr().unwrap(), Address::Unix(at.clone()));
        unnamed.send(b"first").await.unwrap();
        unnamed.send(b"").await.unwrap();
        let ours = UnixAddress::from_path(dir.join("sender")).unwrap();
        let named = UnixOptions::new().local(ours.clone());
        let named = UnixDatagram::connect_with(&at, named).unwrap();
        named.send(b"second").await.unwrap();
        let unbound = UnixDatagram::unbound().unwrap();
        unbound.send_to(b"third", &at.clone().into()).await.unwrap();
        let (bytes, received) = receive(&receiver).await;
        assert_eq!((&bytes[..], received.from), (&b"first"[..], None));
        let (bytes, received) = receive(&receiver).await;
        assert_eq!((&bytes[..], received.len), (&b""[..], 0));
        let (bytes, received) = receive(&receiver).await;
        let from = received.from.unwrap();
        assert_eq!((&bytes[..], from.as_unix()), (&b"second"[..], Some(&ours)));
        receiver.send_to(b"answer", &from).await.unwrap();
        assert_eq!(receive(&named).await.0, b"answer");
        assert_eq!(receive(&receiver).await.0, b"third");
        let (one, two) = UnixDatagram::pair().unwrap();
        one.send(b"of a pair").await.unwrap();
        let (bytes, received) = receive(&two).await;
        assert_eq!((&bytes[..], received.from), (&b"of a pair"[..], None));
        assert_eq!(two.peer_addr().unwrap().to_string(), "<unnamed>");
    });
}

const MANY: u32 = 3_000;

/// Counts what is sent, and reads nothing until the sender waits.
async fn fill_then_drain(receiver: &UnixDatagram, sent: &AtomicU32) {
    let (mut last, mut turns) = (0, 0);
    // Until the sender got no further for many turns in a row.
    while last == 0 || turns < 300 {
        let now = sent.load(Ordering::SeqCst);
        turns = if now == last { turns + 1 } else { 0 };
        last = now;
        yield_now().await;
    }
    assert!(last < MANY, "{last} were taken that nobody reads");
    for number in 0..MANY {
        let (bytes, _) = receive(receiver).await;
        assert_eq!(bytes, number.to_be_bytes(), "in order, and none lost");
    }
}

// U8
fn a_connected_sender_waits_for_room(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (receiver, at) = named();
        let sent = Arc::new(AtomicU32::new(0));
        let counted = sent.clone();
        spawn_detached(async move {
            let sender = UnixDatagram::connect(&at).unwrap();
            for number in 0..MANY {
                sender.send(&number.to_be_bytes()).await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        fill_then_drain(&receiver, &sent).await;
    });
}

// U8
fn an_unconnected_sender_waits_for_room(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (receiver, at) = named();
        let sent = Arc::new(AtomicU32::new(0));
        let counted = sent.clone();
        spawn_detached(async move {
            let sender = UnixDatagram::unbound().unwrap();
            let to = at.into();
            for number in 0..MANY {
                sender.send_to(&number.to_be_bytes(), &to).await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        fill_then_drain(&receiver, &sent).await;
    });
}

// U8
fn a_sender_waits_for_room_that_others_took(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (receiver, at) = named();
        let other = UnixDatagram::connect(&at).unwrap();
        let (mut taken, mut turns_full) = (0, 0);
        // A reactor may have to look at a socket first.
        while taken == 0 || turns_full < 200 {
            match poll_fn(|cx| Poll::Ready(other.poll_send(cx, b"other's"))).await {
                Poll::Ready(sent) => {
                    sent.unwrap();
                    (taken, turns_full) = (taken + 1, 0);
                }
                Poll::Pending => turns_full += 1,
            }
            yield_now().await;
        }
        let (waiting, sent) = (Latch::new(1), Latch::new(1));
        let polls = Arc::new(AtomicU32::new(0));
        let (said, done, counted) = (waiting.clone(), sent.clone(), polls.clone());
        spawn_detached(async move {
            let sender = UnixDatagram::unbound().unwrap();
            let to = at.into();
            let mut sending = Box::pin(sender.send_to(b"ours", &to));
            poll_fn(|cx| {
                counted.fetch_add(1, Ordering::SeqCst);
                let polled = sending.as_mut().poll(cx);
                said.count_down();
                polled
            })
            .await
            .unwrap();
            done.count_down();
        });
        waiting.wait().await;
        for _ in 0..200 {
            yield_now().await;
        }
        assert_eq!(sent.left(), 1, "it has no room");
        let polls = polls.load(Ordering::SeqCst);
        assert!(polls <= 5, "polled {polls} times while nothing happened");
        for _ in 0..taken {
            assert_eq!(receive(&receiver).await.0, b"other's");
        }
        assert_eq!(receive(&receiver).await.0, b"ours");
        sent.wait().await;
    });
}

// U6, U8
fn many_senders_wait_for_one_receiver(backend: Backend, options: RunOptions) {
    const SENDERS: u32 = 8;
    const EACH: u32 = 200;
    backend.block_on_with(options, async {
        let (receiver, at) = named();
        let shared = Arc::new(UnixDatagram::unbound().unwrap());
        for sender in 0..SENDERS {
            let (shared, at) = (shared.clone(), at.clone());
            spawn_detached(async move {
                let connected = UnixDatagram::connect(&at).unwrap();
                for number in 0..EACH {
                    let datagram = (sender * EACH + number).to_be_bytes();
                    if number.is_multiple_of(2) {
                        connected.send(&datagram).await.unwrap();
                    } else {
                        shared.send_to(&datagram, &at.clone().into()).await.unwrap();
                    }
                }
            });
        }
        let mut heard = Vec::new();
        for _ in 0..SENDERS * EACH {
            let (bytes, _) = receive(&receiver).await;
            heard.push(u32::from_be_bytes(bytes.try_into().unwrap()));
        }
        heard.sort_unstable();
        assert!(heard.into_iter().eq(0..SENDERS * EACH));
    });
}

// U2
fn a_cut_datagram_says_so(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (one, two) = UnixDatagram::pair().unwrap();
        one.send(b"longer than asked for").await.unwrap();
        one.send(b"next").await.unwrap();
        let mut buffer = BytesMut::new();
        let six = NonZeroUsize::new(6).unwrap();
        let received = two.recv_from(&mut buffer, six).await.unwrap();
        assert_eq!((&buffer[..], received.truncated), (&b"longer"[..], true));
        let (bytes, received) = receive(&two).await;
        assert_eq!((&bytes[..], received.truncated), (&b"next"[..], false));
        // Longer than any of UDP, into whatever room it needs.
        one.send(&vec![7; 100_000]).await.unwrap();
        let mut buffer = BytesMut::new();
        let received = two.recv_from(&mut buffer, NonZeroUsize::MAX).await.unwrap();
        assert_eq!((buffer.len(), received.truncated), (100_000, false));
        // Longer than any send buffer: refused, and the next one works.
        let error = one.send(&vec![0; 16 << 20]).await.unwrap_err();
        let too_long = rustix::io::Errno::MSGSIZE.raw_os_error();
        assert_eq!(error.raw_os_error(), Some(too_long), "{error}");
        one.send(b"short").await.unwrap();
        assert_eq!(receive(&two).await.0, b"short");
    });
}

// U4
fn a_connected_socket_hears_its_peer_alone(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (server, at) = named();
        let own = UnixOptions::new().local(UnixAddress::autobind());
        let client = UnixDatagram::connect_with(&at, own).unwrap();
        let to = client.local_addr().unwrap();
        let stranger = UnixDatagram::unbound().unwrap();
        let error = stranger.send_to(b"a stranger's", &to).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        server.send_to(b"the peer's", &to).await.unwrap();
        assert_eq!(receive(&client).await.0, b"the peer's");
    });
}

// S12
fn a_receiver_that_went_is_told(backend: Backend, options: RunOptions) {
    let dir = TempDir::new();
    backend.block_on_with(options, async {
        let situation = "Unix datagram, receiver gone";
        let path = dir.join("receiver");
        let at = UnixAddress::from_path(&path).unwrap();
        let receiver = UnixDatagram::bind(&at).unwrap();
        let connected = UnixDatagram::connect(&at).unwrap();
        let unbound = UnixDatagram::unbound().unwrap();
        drop(receiver);
        let to = Address::from(at);
        for error in [
            connected.send(b"x").await.unwrap_err(),
            unbound.send_to(b"x", &to).await.unwrap_err(),
        ] {
            check(backend, situation, "send", failed(&error));
        }
        Files(backend).remove(path).unwrap();
        let error = unbound.send_to(b"x", &to).await.unwrap_err();
        check(backend, situation, "send", failed(&error));
        assert_eq!(error.kind(), ErrorKind::NotFound, "after an unlink");
        let error = unbound.send(b"x").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
    });
}

// S12, U8
fn a_waiting_sender_is_told_that_the_receiver_went(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (receiver, at) = named();
        let told = Latch::new(2);
        let waiting = Latch::new(2);
        for connects in [true, false] {
            let (at, told, waiting) = (at.clone(), told.clone(), waiting.clone());
            spawn_detached(async move {
                let sender = match connects {
                    true => UnixDatagram::connect(&at).unwrap(),
                    false => UnixDatagram::unbound().unwrap(),
                };
                let to = at.into();
                let mut said = false;
                let error = loop {
                    let mut sending: std::pin::Pin<Box<dyn Future<Output = _> + Send>> =
                        match connects {
                            true => Box::pin(sender.send(b"x")),
                            false => Box::pin(sender.send_to(b"x", &to)),
                        };
                    let sent = poll_fn(|cx| {
                        let polled = sending.as_mut().poll(cx);
                        if polled.is_pending() && !said {
                            said = true;
                            waiting.count_down();
                        }
                        polled
                    });
                    if let Err(error) = sent.await {
                        break error;
                    }
                };
                let situation = "Unix datagram, receiver gone";
                check(backend, situation, "send", failed(&error));
                told.count_down();
            });
        }
        waiting.wait().await;
        drop(receiver);
        told.wait().await;
    });
}

// U7
fn a_dropped_receive_loses_none(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let (one, two) = UnixDatagram::pair().unwrap();
        for number in 0_u8..100 {
            let mut buffer = BytesMut::new();
            let mut waiting = Box::pin(two.recv_from(&mut buffer, MOST));
            let polled = poll_fn(|cx| Poll::Ready(waiting.as_mut().poll(cx))).await;
            assert!(polled.is_pending());
            poll_fn(|cx| one.poll_send(cx, &[number])).await.unwrap();
            drop(waiting);
            let received = poll_fn(|cx| two.poll_recv_from(cx, &mut buffer, MOST)).await;
            assert_eq!((received.unwrap().len, &buffer[..]), (1, &[number][..]));
        }
    });
}

// U8
fn wrong_addresses_are_refused(backend: Backend, options: RunOptions) {
    backend.block_on_with(options, async {
        let unbound = UnixDatagram::unbound().unwrap();
        for to in [
            Address::Inet("127.0.0.1:9".parse().unwrap()),
            UnixAddress::UNNAMED.into(),
            Address::Named("memory".into()),
        ] {
            let error = unbound.send_to(b"x", &to).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{to}: {error}");
        }
        let (_socket, at) = named();
        let taken = UnixDatagram::bind(&at).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        let alone = unbound.peer_addr().unwrap_err();
        assert_eq!(alone.kind(), ErrorKind::NotConnected);
    });
}
